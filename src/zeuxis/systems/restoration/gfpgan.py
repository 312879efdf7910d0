"""GFP-GAN: restore faces by steering a generator of faces that was trained before.

Wang, Li, Zhang and Shan 2021, "Towards real-world blind face restoration with generative facial prior"
(arXiv:2101.04061). Symbols -> code:
    x -> source    y -> image    y^ -> made    U-Net -> network    W -> codes    alpha, beta -> modulations
    StyleGAN -> base    D -> discriminator    phi -> features    eta -> identity
What is measured: L_l1 -> pixel, L_per -> perceptual, L_adv -> adversarial, L_id -> identity_weight.

Axes: S pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.penalty import r1
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.gfpgan import DegradationRemoval, steered, synthesis_of, widths_in
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.nn.stylegan2 import Noise, StyleDiscriminator, StyleSynthesis
from zeuxis.rng import ImageRng
from zeuxis.systems.restoration._family import AnySizeRestorer, FeatureSpace, scale_between


class GFPGAN(AnySizeRestorer):
    """Two players: a U-Net that steers a given generator, and StyleGAN2's discriminator, with R1 every few rounds.

    Args:
        base: a trained stylegan2 that draws faces of this shape, by name or run folder; never trained here.
        features: a trained system whose ``encode`` is the space of the perceptual loss; none leaves that loss out.
        identity: a trained recogniser of faces, whose ``encode`` is the space of the identity loss; none leaves it out.
        judge_base: channels of a resolution of the discriminator times its side.
        judge_max: channels of a resolution of it at most.
        group: pictures whose variety the discriminator sees at once.
        pixel: weight of L1.
        pyramid: weight of L1 at every level of the U-Net.
        pyramid_until: share of the budget, in [0, 1], after which the levels are no longer asked for pictures.
        perceptual: weight of the perceptual loss; idle without ``features``.
        adversarial: weight of the loss against the discriminator.
        identity_weight: weight of the identity loss; idle without ``identity``.
        gamma: weight of R1; 0 leaves it out.
        r1_every: rounds from one R1 to the next.
        lr: learning rate of both players, the discriminator's before it is corrected for the steps of R1.
    """

    card = Card(
        "gfpgan",
        title="GFP-GAN",
        family="restoration",
        year=2021,
        paper="2101.04061",
        needs={"source"},
        departures=(
            "No discriminators of eyes and mouth: they are told where those are, and the data do not say.",
            "The perceptual loss compares codes of a given system, and the identity loss those of ours: the weights of "
            "VGG and ArcFace do not ship. No style loss.",
            "Restoring is told the noise that the generator keeps, and is therefore always the same.",
            "A level's picture is compared with the whole picture averaged down, which ours does with antialiasing.",
            "The learning rate does not fall.",
            "What is trained here steers StyleGAN2 itself; files of version 1.2 and later hold one that enlarges "
            "bilinearly.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        base: System,
        features: System | None = None,
        identity: System | None = None,
        source_shape: Shape | None = None,
        judge_base: int = 16384,
        judge_max: int = 512,
        group: int = 4,
        pixel: float = 0.1,
        pyramid: float = 1.0,
        pyramid_until: float = 0.0625,
        perceptual: float = 1.0,
        adversarial: float = 0.1,
        identity_weight: float = 10.0,
        gamma: float = 10.0,
        r1_every: int = 16,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        if scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "gfpgan") != 1:
            raise UsageError("'gfpgan' keeps a picture's size: use --pair blind-face, or esrgan to enlarge")
        if tuple(base.shape) != tuple(self.shape):
            mine, theirs = ("x".join(map(str, one)) for one in (self.shape, base.shape))
            raise UsageError(f"'{base.card.id}' draws pictures of {theirs}, the data has {mine}: set size to its")
        if not 0 <= pyramid_until <= 1:
            raise UsageError(f"model.pyramid_until is {pyramid_until}: give a share of the budget, from 0 to 1")
        if r1_every < 1:
            raise UsageError("r1_every is 1 or more; a weight of 0 (gamma) leaves R1 out")
        self.pixel, self.pyramid, self.pyramid_until = pixel, pyramid, pyramid_until
        self.perceptual, self.adversarial, self.identity_weight = perceptual, adversarial, identity_weight
        self.gamma, self.r1_every = gamma, r1_every if gamma else 0
        self.base = base
        self.freeze(base)
        width = self.synthesis.affine_weights()[0].shape[1]
        self.network = DegradationRemoval(widths_in(self.synthesis), self.synthesis.layers, width, self.shape.channels)
        self.discriminator = StyleDiscriminator(self.shape, channel_base=judge_base, channel_max=judge_max, group=group)
        self.loss = NonSaturating()
        self.space = None if features is None else FeatureSpace(features, self.shape)
        if features is not None:
            self.features = self.freeze(features)
        self.identity = identity
        if identity is not None:
            self.freeze(identity)

    @property
    def synthesis(self) -> StyleSynthesis:
        """What draws the faces."""
        return synthesis_of(self.base, self.base.card.id)

    def players(self) -> tuple[Player, ...]:
        """The discriminator makes R1's steps too: its rates are those of an Adam that does (StyleGAN2, appendix B)."""
        share = self.r1_every / (self.r1_every + 1) if self.r1_every else 1.0
        return (
            Player("network", (self.network,), lr=self.lr, betas=(0.0, 0.99)),
            Player("discriminator", (self.discriminator,), lr=self.lr * share, betas=(0.0, 0.99**share)),
        )

    def moves(self) -> tuple[Move, ...]:
        lazy = (Move("discriminator", self.flatten, every=self.r1_every),) if self.r1_every else ()
        return (Move("network", self.restore), Move("discriminator", self.discriminate), *lazy)

    def made_of(self, source: Tensor, noise: Noise) -> tuple[Tensor, list[Tensor]]:
        """Faces of sources ``(B, C, S, S)``, not bounded, and the U-Net's last maps (sections 3.2 to 3.4)."""
        codes, modulations, maps = self.network(source)
        return steered(self.synthesis, codes, modulations, noise), maps

    def restore(self, turn: Turn) -> Tensor:
        """L_total (section 3.5), without L_comp."""
        image, source = turn.batch.image, self.source_of(turn.batch.condition)  # (B, C, S, S)
        made, maps = self.made_of(source, turn.rng)
        content = self.content(made, image)
        if turn.progress <= self.pyramid_until:
            content = content + self.pyramid * self.levelled(maps, image)
        logit, turn.memo["fake"] = shared_pass(self.discriminator, made, keep=turn.alone)
        fooled = self.loss.generator(logit)
        turn.note(content=content, fooled=fooled)
        return content + self.adversarial * fooled

    def content(self, made: Tensor, image: Tensor) -> Tensor:
        """L_rec and L_id (section 3.5)."""
        found = self.pixel * l1(made, image)
        if self.space is not None:
            found = found + self.perceptual * self.space.distance(made, image)
        if self.identity is not None:
            made, image = (_resized(x, self.identity.shape[1:]) for x in (made, image))
            with torch.no_grad():
                wanted = self.identity.encode(image)
            found = found + self.identity_weight * l1(self.identity.encode(made), wanted)
        return found

    def levelled(self, maps: list[Tensor], image: Tensor) -> Tensor:
        """L1 at every level of the U-Net (section 3.2)."""
        wanted = [_resized(image, x.shape[2:]) for x in maps]
        return torch.stack([l1(*pair) for pair in zip(self.network.pictures(maps), wanted, strict=True)]).sum()

    def discriminate(self, turn: Turn) -> Tensor:
        """-log D(y) - log(1 - D(y^)); the fakes are those that the network has just been judged by."""
        real, fake = self.discriminator(turn.batch.image), turn.memo["fake"]()
        turn.note(real=real.float().mean(), fake=fake.float().mean())
        return self.loss.critic(real, fake)

    def flatten(self, turn: Turn) -> Tensor:
        """gamma / 2 E|grad D(y)|^2: R1."""
        slope = r1(self.discriminator, turn.batch.image)
        turn.note(r1=slope)
        return self.r1_every * self.gamma / 2 * slope

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        self.settings(how)  # which refuses knobs that there are not
        return self.made_of(self.source_of(condition), "constant")[0].float().clamp(-1, 1)

    def picture_network(self, how: Sampling = Sampling()) -> PictureNetwork:
        self.settings(how)
        return RestoredFace(self)


class RestoredFace(PictureNetwork):
    """Faces ``(B, C, S, S)`` in [0, 1] to better ones."""

    scale = 1

    def __init__(self, system: GFPGAN) -> None:
        super().__init__()
        self.system, self.channels, self.side = system, system.shape.channels, system.shape.height
        self.reach, self.floats = self.side, 8 * max(widths_in(system.synthesis))

    def forward(self, x: Tensor) -> Tensor:
        made, _ = self.system.made_of(2 * x - 1, "constant")
        return (made + 1) / 2


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    return image if image.shape[2:] == size else interpolate(image, tuple(size), mode="bilinear", antialias=True)
