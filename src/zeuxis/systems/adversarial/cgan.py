"""The conditional GAN: both players are told something of the picture, and it must fit.

Mirza and Osindero 2014, "Conditional generative adversarial nets" (arXiv:1411.1784). Symbols -> code:
    x -> real    y -> told, (B, Y)    z -> z, (B, nz)    G(z|y) -> generator    D(x|y) -> discriminator, logits

Axes: Y numbers of what is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError, lookup, must_be_within
from zeuxis.game import CaptionLimit, Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.nn.condition_vector import LONGEST, VECTORS, ConditionVector, TextVector
from zeuxis.nn.conditional import ConditionalCritic, ConditionalGenerator, ConditionalMaxout, ConditionalPerceptron
from zeuxis.rng import ImageRng

Pair = tuple[nn.Module, nn.Module]
NETWORKS: Mapping[str, Callable[[Shape, int, int, int, bool], Pair]] = {
    "maxout": lambda shape, nz, y_width, width, batch_norm: (
        ConditionalPerceptron(shape, nz, y_width, width),
        ConditionalMaxout(shape, y_width, width),
    ),
    "lucic": lambda shape, nz, y_width, width, batch_norm: (
        ConditionalGenerator(shape, nz, y_width, width),
        ConditionalCritic(shape, y_width, width, batch_norm=batch_norm),
    ),
}


IN_LATENT = ("label", "caption")  # what is told in so few numbers that they are a part of a latent


class CGAN(System):
    """The game of ``gan``, in which both players see the condition: the discriminator refuses what does not fit it.

    Args:
        network: "maxout", the paper's perceptrons for pictures of any shape, or "lucic", the convolutions of the study
            of objectives, for sides that 4 divides.
        condition: what both are told: the "label", a "caption" as the set of its words, or a "source", a picture.
        reader: a trained model that makes vectors of texts, such as clip, which a caption is then told as.
        nz: numbers, normally distributed, that drive a picture.
        batch_norm: whether the inner layers of lucic's discriminator are normalised by batch; the study tried both.
        width: base channels of the convolutions; of the perceptrons, whose layers all scale with it, 240 is the
            paper's.
        critic_steps: moves of the discriminator a round.
        lr: learning rate of both players.
        betas: Adam's, of both players.
    """

    card = Card(
        "cgan",
        title="Conditional GAN",
        family="adversarial",
        year=2014,
        paper="1411.1784",
        verbs={"sample", "decode", "draw_latents"},
        accepts={"label", "caption", "source"},
        knobs=("temperature",),
        departures=(
            "Adam, which the recipe may replace; the paper's gradient descent has lr 0.1 and a momentum that rises.",
            "Latents are normal; the paper's are uniform.",
            "A caption is the set of its words, or the vector of a trained reader; the paper makes words for pictures,"
            " from features of both.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        words: tuple[str, ...] = (),
        source_shape: Shape | None = None,
        network: Literal["maxout", "lucic"] = "maxout",
        batch_norm: bool = False,
        condition: Literal["label", "caption", "source"] = "label",
        reader: System | None = None,
        nz: int = 100,
        width: int = 240,
        critic_steps: int = 1,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__()
        must_be_within(1, critic_steps=critic_steps)
        if batch_norm and network == "maxout":
            raise UsageError(
                "batch_norm of maxout's perceptrons: they drop units out and have no norms; set network to lucic"
            )
        self.shape = Shape(*shape)
        self.nz, self.critic_steps = nz, critic_steps
        self.lr, self.betas = lr, (betas[0], betas[1])
        self.reader = reader
        self.vector: ConditionVector
        if reader is None:
            self.vector = lookup("condition", condition, VECTORS)(classes, words, source_shape)
            self.caption_limit = CaptionLimit(LONGEST) if condition == "caption" else None
        elif condition != "caption" or "encode_text" not in reader.can:
            raise UsageError(
                f"reader '{reader.card.id}' for condition '{condition}': it makes vectors of captions, as clip does;"
                " set condition to caption and reader to such a model"
            )
        else:
            self.freeze(reader)
            self.vector = TextVector(reader.encode_text, words)
        self.generator, self.discriminator = lookup("network", network, NETWORKS)(
            self.shape, nz, self.vector.width, width, batch_norm
        )
        self.told_in_latent = self.vector.width if condition in IN_LATENT else 0
        self.loss = NonSaturating()

    @property
    def can(self) -> frozenset[str]:
        """What a source tells is a picture, not a part of a latent."""
        return frozenset(self.card.verbs - (set() if self.told_in_latent else {"decode", "draw_latents"}))

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({self.vector.field})

    def players(self) -> tuple[Player, ...]:
        return tuple(
            Player(name, (net,), lr=self.lr, betas=self.betas)
            for name, net in (("discriminator", self.discriminator), ("generator", self.generator))
        )

    def moves(self) -> tuple[Move, ...]:
        return (
            Move("discriminator", self.discriminate, times=self.critic_steps),
            Move("generator", self.generate),
        )

    def discriminate(self, turn: Turn) -> Tensor:
        """-log D(x|y) - log(1 - D(G(z|y)|y)) (Eq. 2)."""
        y = self.told(turn.batch.condition)
        with torch.no_grad():
            fake = self.fake(turn, y)
        real_logit = self.discriminator(turn.batch.image, y, turn.rng)  # (B,)
        fake_logit = self.discriminator(fake, y, turn.rng)
        turn.note(real=real_logit.float().sigmoid().mean(), fake=fake_logit.float().sigmoid().mean())
        return self.loss.critic(real_logit, fake_logit)

    def generate(self, turn: Turn) -> Tensor:
        """-log D(G(z|y)|y)."""
        y = self.told(turn.batch.condition)
        return self.loss.generator(self.discriminator(self.fake(turn, y), y, turn.rng))

    def told(self, condition: Condition) -> Tensor:
        """y, ``(B, Y)``."""
        return self.vector(condition).to(self.device)

    def fake(self, turn: Turn, y: Tensor) -> Tensor:
        """G(z|y), a picture for each y."""
        image: Tensor = self.generator(turn.rng.normal(len(y), self.nz, device=y.device), y)
        return image

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z and after it y, ``(B, nz + Y)``; ``temperature`` scales z. Between two y lie pictures of neither."""
        z = self.settings(how).temperature * rng.normal(len(rng), self.nz, device=self.device)
        return torch.cat([z, self.told(condition)], 1)

    def decode(self, latent: Tensor) -> Tensor:
        """G(z|y): pictures ``(B, C, H, W)`` in [-1, 1] of what :meth:`draw_latents` makes."""
        image: Tensor = self.generator(latent[:, : self.nz], latent[:, self.nz :])
        return image
