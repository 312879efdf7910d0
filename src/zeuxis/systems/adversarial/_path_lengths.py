"""The game of StyleGAN2, with or without pictures being changed before the discriminator sees them.

Karras et al. 2019 (1912.04958), sections 3.1 and 3.2. Symbols -> code: J_w -> the Jacobian of g    a -> path_mean
The rest: see :mod:`zeuxis.systems.adversarial._styles`.

Axes: L layers of the generator, W numbers of a style code.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import torch
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.errors import UsageError, must_be_within
from zeuxis.game import Move, Player, Turn
from zeuxis.losses.path_length import path_length_penalty, path_lengths
from zeuxis.nn.stylegan2 import StyleDiscriminator, StyleGenerator, StyleMapping, StyleSynthesis, must_be_clamp
from zeuxis.rng import Rng
from zeuxis.systems.adversarial._style_space import classes_told
from zeuxis.systems.adversarial._styles import StyleGame

SHRINK = 2  # the share of a batch that path lengths are measured on: one in so many (appendix B)
PATH_DECAY = 0.01  # of a


class PathLengthGame(StyleGame):
    """The game of styles with noise, style mixing, and a penalty on how path lengths vary every few rounds."""

    started_parts = frozenset({"generator", "discriminator"})  # one with augmentation may start from one without
    started_keys = ("nz", "width", "mapping", "judge_mapping", "channel_base", "channel_max")

    generator: StyleGenerator[StyleSynthesis]
    path_mean: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: Literal["none", "label"] = "none",
        nz: int = 512,
        width: int = 512,
        mapping: int = 8,
        judge_mapping: int | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        input_maps: Literal["constant", "fourier"] = "constant",
        group: int = 4,
        clamp: float | None = None,
        gamma: float = 10.0,
        r1_every: int = 16,
        path_weight: float = 2.0,
        path_every: int = 4,
        mixing: float = 0.9,
        mean_decay: float = 0.995,
        lr: float = 2e-3,
    ) -> None:
        known = classes_told(condition, classes)
        must_be_clamp(clamp)
        super().__init__(shape, nz=nz, classes=known, gamma=gamma, r1_every=r1_every, mean_decay=mean_decay, lr=lr)
        must_be_within(0, path_weight=path_weight)
        must_be_within(0, 1, mixing=mixing)
        if path_every < 1:
            raise UsageError("path_every is 1 or more; a weight of 0 leaves the penalty out")
        self.mixing = mixing
        self.path_weight, self.path_every = path_weight, path_every if path_weight else 0
        widths = {"channel_base": channel_base, "channel_max": channel_max}
        synthesis = StyleSynthesis(self.shape, width, input_maps=input_maps, clamp=clamp, **widths)
        self.generator = StyleGenerator(StyleMapping(nz, width, layers=mapping, classes=known), synthesis, width)
        self.style_layers = synthesis.layers
        self.discriminator = StyleDiscriminator(
            self.shape,
            group=group,
            mapping=mapping if judge_mapping is None else judge_mapping,
            classes=known,
            clamp=clamp,
            **widths,
        )
        self.register_buffer("path_mean", torch.zeros(()))

    def players(self) -> tuple[Player, ...]:
        return (self._lazy("generator", self.generator, self.path_every, self.lr), super().players()[1])

    def moves(self) -> tuple[Move, ...]:
        generate, *others = super().moves()
        smooth = [Move("generator", self.smooth, every=self.path_every)] if self.path_every else []
        return (generate, *smooth, *others)

    def smooth(self, turn: Turn) -> Tensor:
        """E(|J_w^T y| - a)^2 (Eq. 4), on half the batch."""
        half = turn.batch[: max(1, len(turn.batch) // SHRINK)]
        codes = self.codes_of(turn, half)
        if not codes.requires_grad:  # a mapping of no layers learns nothing
            codes = codes.detach().requires_grad_()
        lengths = path_lengths(self.made(codes, turn), codes, turn.rng)  # (B / 2,)
        turn.memo["lengths"] = lengths.detach()
        penalty = path_length_penalty(lengths, self.path_mean, PATH_DECAY)
        turn.note(path_length=lengths.mean(), path_penalty=penalty)
        return self.path_every * self.path_weight * penalty

    def after_round(self, turn: Turn) -> None:
        """The running means of codes and of path lengths."""
        super().after_round(turn)
        if "lengths" in turn.memo:
            self.path_mean.lerp_(turn.whole("lengths").mean(), PATH_DECAY)

    def codes_of(self, turn: Turn, batch: Batch) -> Tensor:
        return self._mixed(turn, batch, self.mixing)

    def made(self, codes: Tensor, turn: Turn) -> Tensor:
        image: Tensor = self.generator.synthesis(codes, turn.rng)
        return image

    def drawn(self, codes: Tensor, rng: Rng, settings: SimpleNamespace) -> Tensor:
        image: Tensor = self.generator.synthesis(codes, rng if settings.noise == "random" else settings.noise)
        return image

    def still(self, codes: Tensor, transform: Tensor | None = None) -> Tensor:
        image: Tensor = self.generator.synthesis(codes, "constant", transform)
        return image
