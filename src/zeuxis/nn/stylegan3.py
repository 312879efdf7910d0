"""The generator of StyleGAN3: every layer knows the frequencies that its maps may hold, and lets no others in.

Karras, Aittala, Laine, Hærkönen, Hellsten, Lehtinen and Aila 2021 (2106.12423), sections 3.1 and 3.2, appendix F. With
3x3 kernels a moved code of Fourier features gives a moved picture (configuration T); with 1x1 kernels and filters that
are alike all around, a turned one a turned picture (R). Counts at 1024 pixels in colour: T 22,313,167, R 15,093,151.

Symbols -> code: f_c -> cutoff    f_t -> stopband    f_h -> half_width    s -> rate    N -> layers

Axes: W numbers of a style code, L codes (of the input and each layer), S side of a square map or picture, I and O
channels in and out, M rows of the map from a code to the styles of a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.fourier import FourierInput
from zeuxis.nn.lowpass import filtered_leaky_relu, jinc, kaiser
from zeuxis.nn.modulated import GAIN, SLOPE, EqualLinear, modulated_conv2d

FIRST_CUTOFF, FIRST_STOPBAND, LAST_STOPBAND = 2.0, 2.0**2.1, 2.0**0.3  # the last relative to its cutoff
MARGIN = 10  # samples around the picture that maps carry along
REACH = 6  # taps of a filter for each sample of the lower of its rates
FINER = 2  # times the rate at which the non-linearity is applied
SCALE = 0.25  # of the picture


@dataclass(frozen=True)
class Band:
    """What the maps between two layers are: their channels, their side, their rate, and the frequencies they hold."""

    channels: int
    size: int
    rate: int
    cutoff: float
    half_width: float


def bands(
    side: int, channels: int, layers: int, critical: int, channel_base: int, channel_max: int
) -> tuple[Band, ...]:
    """Of each layer's output, those that follow the geometric progression of section 3.1 and appendix F.1.

    The last ``critical`` layers before the pixels sample critically: sharp edges need the highest frequencies.
    """
    last_cutoff = side / 2
    found = []
    for k in range(layers + 1):
        share = min(k / (layers - critical), 1.0)
        cutoff = FIRST_CUTOFF * (last_cutoff / FIRST_CUTOFF) ** share
        stopband = FIRST_STOPBAND * (last_cutoff * LAST_STOPBAND / FIRST_STOPBAND) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, side)))
        width = channels if k == layers else round(min(channel_base / 2 / cutoff, channel_max))
        if width < 1:
            raise UsageError(
                f"no channel is left at a cutoff of {cutoff:g}: give channel_base of {side} or more, and channel_max of"
                " 1 or more"
            )
        size = side if k >= layers - 1 else rate + 2 * MARGIN
        found.append(Band(width, size, rate, cutoff, max(stopband, rate / 2) - cutoff))
    return tuple(found)


class AliasFreeLayer(nn.Module):
    """A modulated convolution, then a leaky ReLU between two filters: from one band to another (Figure 4b).

    The inputs' magnitude is divided out: whoever trains moves ``magnitude``, the running mean of their squares. The
    layer of ``pixels`` has no non-linearity and no demodulation.
    """

    magnitude: Tensor

    def __init__(
        self, before: Band, after: Band, width: int, kernel: int, *, radial: bool, pixels: bool, clamp: float | None
    ) -> None:
        super().__init__()
        kernel = 1 if pixels else kernel
        self.affine = EqualLinear(width, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude", torch.ones(()))
        self.pixels, self.clamp = pixels, clamp
        finer = max(before.rate, after.rate) * (1 if pixels else FINER)
        self.up, self.down = finer // before.rate, finer // after.rate
        up_taps, down_taps = (REACH * n if n > 1 else 1 for n in (self.up, self.down))
        self.up_filter = kaiser(up_taps, before.cutoff, before.half_width, finer)
        design = jinc if radial and down_taps > 1 else kaiser
        self.down_filter = design(down_taps, after.cutoff, after.half_width, finer)
        # So many samples that both filters, and the convolution's own border, end at the size wanted; the places of
        # samples are symmetric about the centre (appendix C.3).
        total = (after.size - 1) * self.down + 1 - (before.size + kernel - 1) * self.up + up_taps + down_taps - 2
        begin = (total + self.up) // 2
        self.padding = (begin, total - begin)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """``(B, I, S, S)`` and codes ``(B, W)`` to ``(B, O, S', S')``."""
        border = self.weight.shape[-1] - 1
        scale = self.magnitude.rsqrt()
        style = self.affine(code)
        x = modulated_conv2d(x, self.weight, style, demodulate=not self.pixels, gain=scale, padding=border)
        gain, slope = (1.0, 1.0) if self.pixels else (GAIN, SLOPE)
        return filtered_leaky_relu(
            x,
            self.bias,
            self.up_filter,
            self.down_filter,
            up=self.up,
            down=self.down,
            padding=self.padding,
            gain=gain,
            slope=slope,
            clamp=self.clamp,
        )


class AliasFreeSynthesis(nn.Module):
    """Codes ``(B, L, W)`` to pictures ``(B, C, S, S)`` float32, not bounded.

    Raises :class:`UsageError` for fewer layers than the critical ones and one, and where one has no channel.
    """

    def __init__(
        self,
        shape: Shape,
        width: int,
        *,
        depth: int = 14,
        critical: int = 2,
        kernel: int = 3,
        radial: bool = False,
        channel_base: int = 32768,
        channel_max: int = 512,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= critical < depth:
            raise UsageError(f"{depth} layers cannot hold {critical} critical ones: set model.depth to more")
        plan = bands(shape.height, shape.channels, depth, critical, channel_base, channel_max)
        first = plan[0]
        self.input = FourierInput(first.channels, first.size, first.rate, first.cutoff, width)
        self.convolutions = nn.ModuleList(
            AliasFreeLayer(
                plan[max(k - 1, 0)],
                band,
                width,
                kernel,
                radial=radial and k < depth - critical,
                pixels=k == depth,
                clamp=clamp,
            )
            for k, band in enumerate(plan)
        )
        self.layers = depth + 2  # L

    def forward(self, codes: Tensor, transform: Tensor | None = None) -> Tensor:
        """``transform``: see :class:`FourierInput`."""
        return self.measured(codes, transform)[0]

    def measured(self, codes: Tensor, transform: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pictures, and the mean square of what each convolution was given, ``(B, L - 1)``."""
        first, *rest = codes.unbind(1)
        x = self.input(first, transform)
        squares = []
        for layer, code in zip(self.convolutions, rest, strict=True):
            squares.append(x.detach().float().square().mean((1, 2, 3)))
            x = layer(x, code)
        return x.float() * SCALE, torch.stack(squares, 1)

    @torch.no_grad()
    def follow(self, squares: Tensor, decay: float) -> None:
        """Move the running magnitudes to those of :meth:`measured`."""
        for layer, now in zip(self.convolutions, squares.mean(0), strict=True):
            assert isinstance(layer, AliasFreeLayer)
            layer.magnitude.copy_(now.lerp(layer.magnitude, decay))

    def affine_weights(self) -> list[Tensor]:
        """The maps ``(M, W)`` from the code of each layer to its styles, in order, the input's first."""
        found = [each.affine for each in (self.input, *self.convolutions) if isinstance(each.affine, EqualLinear)]
        return [affine.weight for affine in found]
