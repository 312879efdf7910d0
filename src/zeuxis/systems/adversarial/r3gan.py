"""R3GAN: the relativistic game with both zero-centred penalties, which needs none of the tricks.

Huang, Gokaslan, Kuleshov and Tompkin 2025, "The GAN is dead; long live the GAN! A modern baseline GAN"
(arXiv:2501.05441). Symbols -> code:
    D_psi -> discriminator, logits    G_theta -> generator    z -> z, (B, nz)    f(t) = -log(1 + e^-t), in the loss
    gamma -> gamma    R_1, R_2 -> r1, r2
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import lookup, must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import Relativistic
from zeuxis.losses.penalty import judged, zero_centred
from zeuxis.nn.condition_vector import ClassVector
from zeuxis.nn.r3gan import R3Discriminator, R3Generator
from zeuxis.nn.within import within
from zeuxis.rng import ImageRng


class R3GAN(System):
    """Each fake is judged beside a real picture, so no mode of the data can be given up; both slopes are held down.

    Pictures are square, of 4 pixels a side times 2 for each width after the first.

    Args:
        condition: "none" or "label".
        nz: numbers, normally distributed, that drive a picture.
        widths: channels of each level, from 4 pixels up; each level has twice the sides of the one before.
        blocks: residual blocks of a level.
        group: channels of a group of the grouped convolutions.
        gamma: weight of the penalties, each of which counts half.
        gamma_end: to which it falls on a cosine over the budget; none keeps it.
        lr: learning rate of both players.
        betas: Adam's, of both players: without momentum.
    """

    card = Card(
        "r3gan",
        title="R3GAN",
        family="adversarial",
        year=2025,
        paper="2501.05441",
        verbs={"sample", "decode", "draw_latents"},
        accepts={"label"},
        knobs=("temperature",),
        departures=(
            "beta_2 stays, where the paper raises it from 0.9 to 0.99.",
            "No augmentation.",
            "Pictures are clamped to [-1, 1] when they are drawn; in training nothing bounds them, as in the paper.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: Literal["none", "label"] = "none",
        nz: int = 64,
        widths: tuple[int, ...] = (768, 768, 768, 768),
        blocks: int = 2,
        group: int = 16,
        gamma: float = 0.05,
        gamma_end: float | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.0, 0.9),
    ) -> None:
        super().__init__()
        must_be_within(1, blocks=blocks)
        must_be_within(0, gamma=gamma, gamma_end=gamma if gamma_end is None else gamma_end)
        self.shape = Shape(*shape)
        labelled = lookup("condition", condition, {"none": False, "label": True})
        self.vector = ClassVector(classes) if labelled else None
        self.nz, self.gamma, self.gamma_end = nz, gamma, gamma if gamma_end is None else gamma_end
        self.lr, self.betas = lr, (betas[0], betas[1])
        widths, known = tuple(widths), classes if labelled else 0
        self.generator = R3Generator(self.shape, nz=nz, widths=widths, blocks=blocks, group=group, classes=known)
        self.discriminator = R3Discriminator(self.shape, widths=widths, blocks=blocks, group=group, classes=known)
        self.told_in_latent = known
        self.loss = Relativistic()

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset() if self.vector is None else frozenset({self.vector.field})

    def players(self) -> tuple[Player, ...]:
        return (
            Player("discriminator", (self.discriminator,), lr=self.lr, betas=self.betas),
            Player("generator", (self.generator,), lr=self.lr, betas=self.betas),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("discriminator", self.discriminate), Move("generator", self.generate))

    def discriminate(self, turn: Turn) -> Tensor:
        """-f(D(x) - D(G(z))) + gamma / 2 (R_1 + R_2) (Eq. 2, section 3.2)."""
        y = self.told(turn.batch.condition)
        with torch.no_grad():
            fake = self.fake(turn, y)
        real_logit, real_slope = judged(lambda x: self.discriminator(x, y), turn.batch.image)
        fake_logit, fake_slope = judged(lambda x: self.discriminator(x, y), fake)
        r1, r2 = zero_centred(real_slope), zero_centred(fake_slope)
        turn.note(r1=r1, r2=r2, margin=(real_logit - fake_logit).mean())
        return self.loss.critic(real_logit, fake_logit) + 0.5 * self._gamma(turn.progress) * (r1 + r2)

    def generate(self, turn: Turn) -> Tensor:
        """-f(D(G(z)) - D(x))."""
        y = self.told(turn.batch.condition)
        with torch.no_grad():
            real_logit = self.discriminator(turn.batch.image, y)
        return self.loss.generator(real_logit, self.discriminator(self.fake(turn, y), y))

    def _gamma(self, progress: float) -> float:
        """From ``gamma`` to ``gamma_end`` on a cosine."""
        return self.gamma_end + 0.5 * (self.gamma - self.gamma_end) * (1 + math.cos(math.pi * progress))

    def told(self, condition: Condition) -> Tensor | None:
        """Classes as one-hot rows ``(B, K)``; None where there is nothing to tell."""
        return None if self.vector is None else self.vector(condition).to(self.device)

    def fake(self, turn: Turn, y: Tensor | None) -> Tensor:
        """As many fresh pictures as the batch has, of its classes."""
        real = turn.batch.image
        image: Tensor = self.generator(turn.rng.normal(len(real), self.nz, device=real.device), y)
        return image

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z and after it the class, if any is told, ``(B, nz + K)``; ``temperature`` scales z."""
        z = self.settings(how).temperature * rng.normal(len(rng), self.nz, device=self.device)
        y = self.told(condition)
        return z if y is None else torch.cat([z, y], 1)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of what :meth:`draw_latents` makes."""
        z, y = latent[:, : self.nz], latent[:, self.nz :] if self.told_in_latent else None
        image: Tensor = self.generator(z, y)
        return within(image.float())
