"""Pad, put zeros between pixels, filter, leave pixels out: how pictures change their size without aliasing.

Plain convolutions, so that every derivative exists: zeros are never multiplied (a transposed convolution with a stride
is polyphase), pixels that are left out are never computed (a convolution with a stride). A short filter is applied in
one pass, whose memory traffic is half that of two; a long one first along rows, then along columns.

Axes: H and W rows and columns, before and after.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad

Taps = Sequence[float]
SHORT = 6  # taps up to which one pass is faster than two
BLUR: Taps = (1 / 8, 3 / 8, 3 / 8, 1 / 8)  # of StyleGAN2, at either side of a resampling


def upfirdn2d(
    x: Tensor,
    taps: Taps,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
    flip: bool = False,
) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C, H', W')``, H' = (H up + padding - taps) // down + 1, along both axes alike.

    After every pixel come ``up - 1`` zeros; ``padding`` zeros go before and after (fewer than 0: as many pixels are cut
    off); ``taps`` are convolved with the rows and with the columns, and correlated if ``flip``; every ``down``-th pixel
    stays. Everything is multiplied by ``gain``. All of it is linear in ``x``, to which gradients of any order flow.
    """
    if up == 1:
        return _filtered(x, taps if flip else taps[::-1], down, padding, gain)
    # A full convolution of what zeros were put between, from which the wanted window is cut out.
    begin = len(taps) - 1 - padding[0]
    ends = tuple(
        (side - 1) * up + len(taps) - begin - (side * up + sum(padding) - len(taps) + 1) for side in x.shape[2:]
    )
    even = max(0, min(begin, *ends))  # what is cut off everywhere need not be computed
    x = _spread(x, taps[::-1] if flip else taps, up, even, gain)
    if begin > even or begin < 0 or any(end != even for end in ends):
        x = pad(x, (even - begin, even - ends[1], even - begin, even - ends[0]))
    return x if down == 1 else x[:, :, ::down, ::down]


def upsample(x: Tensor, taps: Taps = BLUR, times: int = 2) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C, times H, times W)``, as bright as before."""
    before, after = (len(taps) + times - 1) // 2, (len(taps) - times) // 2
    return upfirdn2d(x, taps, up=times, padding=(before, after), gain=times**2)


def downsample(x: Tensor, taps: Taps = BLUR, times: int = 2, *, crop: int = 0, flip: bool = False) -> Tensor:
    """``(B, C, H, W)`` without ``crop`` pixels at each side to a ``times``-th of the sides."""
    before, after = (len(taps) - times + 1) // 2, (len(taps) - times) // 2
    return upfirdn2d(x, taps, down=times, padding=(before - crop, after - crop), flip=flip)


def normalised(taps: Taps) -> Taps:
    """The same filter, of the sum 1."""
    total = sum(taps)
    return tuple(tap / total for tap in taps)


def _kernels(x: Tensor, taps: Taps, gain: float) -> list[Tensor]:
    """The filter for each channel of ``x``: one square, or a row and a column, of which the first takes the gain."""
    line = torch.tensor(taps, dtype=x.dtype, device=x.device)
    shapes = [torch.outer(line, line) * gain] if len(taps) <= SHORT else [line[None] * gain, line[:, None]]
    return [shape.expand(x.shape[1], 1, *shape.shape) for shape in shapes]


def _filtered(x: Tensor, taps: Taps, down: int, padding: tuple[int, int], gain: float) -> Tensor:
    """Correlated with ``taps``; zeros at both sides alike are the convolution's own affair."""
    even = padding[0] if padding[0] == padding[1] and padding[0] >= 0 else 0
    if not even:
        x = pad(x, (*padding, *padding))
    for kernel in _kernels(x, taps, gain):
        rows, columns = (int(side > 1) for side in kernel.shape[2:])  # along which it filters
        stride = (down if rows else 1, down if columns else 1)
        x = conv2d(x, kernel, stride=stride, padding=(even * rows, even * columns), groups=x.shape[1])
    return x


def _spread(x: Tensor, taps: Taps, up: int, cut: int, gain: float) -> Tensor:
    """The full convolution of ``taps`` with ``x`` between whose pixels are zeros, less ``cut`` pixels at each side."""
    for kernel in _kernels(x, taps, gain):
        rows, columns = (int(side > 1) for side in kernel.shape[2:])
        stride = (up if rows else 1, up if columns else 1)
        x = conv_transpose2d(x, kernel, stride=stride, padding=(cut * rows, cut * columns), groups=x.shape[1])
    return x
