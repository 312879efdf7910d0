"""The game of StyleGAN3, for generators that move with their input and for those that also turn with it.

Karras et al. 2021 (2106.12423), section 3 and appendix F. Symbols -> code: sigma -> blur    The rest: see
:mod:`zeuxis.systems.adversarial._styles`.

Axes: L codes (of the input and each layer).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar, Literal

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.game import Player, Turn
from zeuxis.nn.lowpass import blurred
from zeuxis.nn.stylegan2 import StyleDiscriminator, StyleGenerator, StyleMapping, must_be_clamp
from zeuxis.nn.stylegan3 import AliasFreeSynthesis
from zeuxis.rng import Rng
from zeuxis.systems.adversarial._style_space import classes_told
from zeuxis.systems.adversarial._styles import StyleGame

BLUR = 10.0  # of R at first, in pixels


class AliasFreeGame(StyleGame):
    """The game of styles without noise, mixing or path lengths; the discriminator, StyleGAN2's, may see blurred.

    Its Gaussian, of ``blur`` pixels at first, narrows to nothing in ``fade`` rounds (appendix F.5).
    """

    generator: StyleGenerator[AliasFreeSynthesis]
    turns: ClassVar[bool]  # R: what the generator draws turns with its input, by 1x1 kernels, twice as many channels

    started_keys = (
        *("nz", "width", "mapping", "depth", "critical", "channel_base", "channel_max"),
        *("judge_mapping", "judge_base", "judge_max"),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: Literal["none", "label"] = "none",
        nz: int = 512,
        width: int = 512,
        mapping: int = 2,
        depth: int = 14,
        critical: int = 2,
        channel_base: int = 32768,
        channel_max: int = 512,
        judge_mapping: int = 8,
        judge_base: int = 32768,
        judge_max: int = 512,
        group: int = 4,
        clamp: float | None = None,
        gamma: float = 32.8,
        r1_every: int = 16,
        blur: float | None = None,
        fade: int = 6250,
        mean_decay: float = 0.998,
        half_life: float = 20_000,
        lr: float = 2.5e-3,
        judge_lr: float = 2e-3,
    ) -> None:
        known = classes_told(condition, classes)
        must_be_clamp(clamp)
        super().__init__(shape, nz=nz, classes=known, gamma=gamma, r1_every=r1_every, mean_decay=mean_decay, lr=lr)
        if fade < 1 or not half_life > 0:
            raise UsageError(f"fade is {fade} and half_life {half_life:g}: the one is 1 or more, the other above 0")
        most = max(self.shape.height, BLUR)
        if blur is not None and not 0 <= blur <= most:
            raise UsageError(f"blur is {blur:g}: it counts pixels, from 0 to {most:g} here; 0 leaves it out")
        self.fade, self.half_life, self.judge_lr = fade, half_life, judge_lr
        self.blur = (BLUR if self.turns else 0.0) if blur is None else blur
        # First, for it says what sides there are.
        self.discriminator = StyleDiscriminator(
            self.shape,
            channel_base=judge_base,
            channel_max=judge_max,
            group=group,
            mapping=judge_mapping,
            classes=known,
            clamp=clamp,
        )
        synthesis = AliasFreeSynthesis(
            self.shape,
            width,
            depth=depth,
            critical=critical,
            kernel=1 if self.turns else 3,
            radial=self.turns,
            channel_base=channel_base << self.turns,
            channel_max=channel_max << self.turns,
            clamp=clamp,
        )
        self.generator = StyleGenerator(StyleMapping(nz, width, layers=mapping, classes=known), synthesis, width)
        self.style_layers = synthesis.layers

    def players(self) -> tuple[Player, ...]:
        return (
            super().players()[0],
            self._lazy("discriminator", self.discriminator, self.r1_every, self.judge_lr),
        )

    def shown(self, image: Tensor, turn: Turn) -> Tensor:
        return blurred(image, self.blur * max(1 - turn.round / self.fade, 0.0))

    def made(self, codes: Tensor, turn: Turn) -> Tensor:
        image, turn.memo["squares"] = self.generator.synthesis.measured(codes)
        return image

    def after_round(self, turn: Turn) -> None:
        """The running mean of codes, and the running magnitudes of the layers' inputs (appendix F.3)."""
        super().after_round(turn)
        squares = turn.whole("squares")  # (B, L - 1)
        self.generator.synthesis.follow(squares, 0.5 ** (len(squares) / self.half_life))

    def drawn(self, codes: Tensor, rng: Rng, settings: SimpleNamespace) -> Tensor:
        return self.still(codes)

    def still(self, codes: Tensor, transform: Tensor | None = None) -> Tensor:
        image: Tensor = self.generator.synthesis(codes, transform)
        return image
