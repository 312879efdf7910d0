"""StyleGAN: a picture is painted from a constant, and a style of its own says at every layer how.

Karras, Laine and Aila 2018, "A style-based generator architecture for generative adversarial networks"
(arXiv:1812.04948). Symbols -> code:
    D -> discriminator    gamma -> gamma    y_s, y_b -> the scale and shift of nn/stylegan.py
The codes z and w and what is drawn of them: see :mod:`zeuxis.systems.adversarial._style_space`.

Axes: L layers of the generator, W numbers of a style code, s side of the pictures at a level.
"""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import Unsupported, must_be_within
from zeuxis.game import Move, Player, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.penalty import judged, zero_centred
from zeuxis.nn.growing import Growth, brought_to, seen_at
from zeuxis.nn.progressive import HeLinear, ProgressiveDiscriminator
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.nn.stylegan import AdaptiveSynthesis
from zeuxis.nn.stylegan2 import MAPPING_RATE, Noise, StyleGenerator, StyleMapping
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.adversarial._style_space import StyleSpace, ToldDiscriminator


class StyleGAN(StyleSpace):
    """Two players that grow as those of ``progan`` do, on the non-saturating loss with R1 in every round.

    Pictures are square, 8 or more and a power of two a side. Until they have grown to that, what is drawn is coarse.

    Args:
        nz: numbers, normally distributed, that drive a picture; they are brought to the same length.
        width: numbers of a style code.
        mapping: layers from latent to code.
        channel_base: channels of a resolution times its side, for both networks.
        channel_max: channels of a resolution at most.
        group: pictures whose variety the discriminator sees at once.
        start: side of the first pictures.
        grow: share of the budget within which the last layers are reached; 0 trains all of them from the beginning.
        gamma: weight of R1; 0 leaves it out.
        mixing: how often a picture's later layers are given the code of another latent.
        mean_decay: a round, of the mean code towards which truncation draws.
        lr: learning rate of both players, up to pictures of 64 pixels; it rises to three times that at 512. The
            mapping's is a hundredth.
    """

    card = Card(
        "stylegan",
        title="StyleGAN",
        family="adversarial",
        year=2018,
        paper="1812.04948",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        latents="styles",
        knobs=(
            "truncation",
            Knob("truncated", "int", "layers, from the coarsest, that truncation reaches", 8, least=0, most=64),
            Knob(
                "noise",
                "choice",
                "of the details: drawn for each picture, the same for all, or none",
                "random",
                choices=("random", "constant", "none"),
            ),
        ),
        departures=(
            "The generator moves first, and the discriminator judges the same pictures, drawn once.",
            "The mean code is moved once a round, by the generator's codes; the authors' program also by others.",
            "One size of batch; theirs is larger at coarse resolutions. Adam's means are kept where they begin anew.",
            "Truncation is asked for; the authors' program truncates to 0.7 unless told otherwise.",
        ),
    )
    level: Tensor

    started_keys = ("nz", "width", "mapping", "channel_base", "channel_max")

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 512,
        width: int = 512,
        mapping: int = 8,
        channel_base: int = 16384,
        channel_max: int = 512,
        group: int = 4,
        start: int = 8,
        grow: float = 0.3,
        gamma: float = 10.0,
        mixing: float = 0.9,
        mean_decay: float = 0.995,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        must_be_within(0, gamma=gamma)
        must_be_within(0, 1, mixing=mixing, mean_decay=mean_decay)
        self.shape = Shape(*shape)
        self.nz, self.mixing, self.mean_decay = nz, mixing, mean_decay
        self.gamma, self.lr, self.classes = gamma, lr, 0
        self.growth = Growth.of(self.shape, start, grow)
        synthesis = AdaptiveSynthesis(self.shape, width, channel_base=channel_base, channel_max=channel_max)
        codes = StyleMapping(nz, width, layers=mapping, layer=partial(HeLinear, rate=MAPPING_RATE))
        self.generator, self.style_layers = StyleGenerator(codes, synthesis, width), synthesis.layers
        self.discriminator = ProgressiveDiscriminator(
            self.shape, channel_base=channel_base, channel_max=channel_max, group=group, blur=True
        )
        self.register_buffer("level", torch.tensor(self.growth.level(0.0)))
        self.loss = NonSaturating()

    def players(self) -> tuple[Player, ...]:
        return tuple(
            Player(name, (net,), lr=self.lr, betas=(0.0, 0.99), decay=self.growth.rate)
            for name, net in (("generator", self.generator), ("discriminator", self.discriminator))
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("generator", self.generate), Move("discriminator", self.discriminate))

    def generate(self, turn: Turn) -> Tensor:
        """-log D(g(f(z))), of pictures at this level."""
        level = self.growth.level(turn.progress)
        codes = self._mixed(turn, turn.batch, self.mixing, 2 * (math.ceil(level) + 1))
        turn.memo["code"] = codes[:, 0].detach()  # the first layer's is never mixed
        fake = self.generator.synthesis(codes, turn.rng, level)  # (B, C, s, s)
        logit, turn.memo["fake logit"] = shared_pass(
            ToldDiscriminator(self.discriminator, level), fake, keep=turn.alone
        )
        return self.loss.generator(logit)

    def discriminate(self, turn: Turn) -> Tensor:
        """-log D(x) - log(1 - D(g(f(z)))) + gamma / 2 E|grad D(x)|^2: R1, on real pictures alone."""
        level = self.growth.level(turn.progress)
        real = seen_at(turn.batch.image, level)
        logit, slope = judged(lambda x: self.discriminator(x, level), real)
        # By pictures of full size, of whose pixels these are means: so R1 does not jump where the resolution does.
        r1 = zero_centred(slope) * (real.shape[-1] / self.shape.height) ** 2
        fake = turn.memo["fake logit"]()
        turn.note(real=logit.float().mean(), fake=fake.float().mean(), r1=r1, level=level)
        return self.loss.critic(logit, fake) + self.gamma / 2 * r1

    def after_round(self, turn: Turn) -> None:
        """The running mean of codes, and the level at which is drawn."""
        self.generator.mean.copy_(turn.whole("code").mean(0).lerp(self.generator.mean, self.mean_decay))
        self.level.fill_(self.growth.level(turn.progress))

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The codes ``(B, L, W)`` that a sample's layers are given; ``truncation`` draws the first to their mean."""
        settings = self.settings(how)
        codes = self.styles(rng.normal(len(rng), self.nz, device=self.device))
        return self.generator.truncated(codes, settings.truncation, settings.truncated)

    def drawn(self, codes: Tensor, rng: Rng, settings: SimpleNamespace) -> Tensor:
        return self._grown(codes, rng if settings.noise == "random" else settings.noise)

    def still(self, codes: Tensor, transform: Tensor | None = None) -> Tensor:
        if transform is not None:
            raise Unsupported("a generator that begins with a constant cannot be moved or turned")
        return self._grown(codes, "constant")

    def _grown(self, codes: Tensor, noise: Noise) -> Tensor:
        """Of codes for each layer ``(B, L, W)``, as fine as it has grown."""
        return brought_to(self.generator.synthesis(codes, noise, float(self.level)), self.shape.height)
