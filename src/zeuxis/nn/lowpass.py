"""Low-pass filters, and the leaky ReLU between two of them: what keeps a network of pictures free of aliasing.

Karras et al. 2021 (arXiv:2106.12423), sections 2 and 3.1, appendices B and C: a non-linearity is applied at a higher
rate than its input's, and the new frequencies that it makes are taken away before the rate goes down again. Plain
convolutions, so that every derivative exists.

Axes: H and W rows and columns, before and after; n taps of a filter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu, pad

from zeuxis.nn.upfirdn import Taps, upfirdn2d

Square = Sequence[Taps]  # a filter that is no product of a row and a column
Filter = Taps | Square
KEEP: Taps = (1.0,)  # the filter that changes nothing


def kaiser(n: int, cutoff: float, half_width: float, rate: float) -> Taps:
    """A windowed sinc of ``n`` taps at ``rate`` samples a picture: half the amplitude is left at ``cutoff``.

    ``half_width`` is f_h: from ``cutoff - f_h`` to ``cutoff + f_h`` the amplitude falls from 1 to 0. Its sum is 1. One
    tap changes nothing.
    """
    if n == 1:
        return KEEP
    x = _places(n, rate)
    ideal = torch.sinc(2 * cutoff * x) * _window(n, half_width, rate)
    return tuple((ideal / ideal.sum()).tolist())


def jinc(n: int, cutoff: float, half_width: float, rate: float) -> Square:
    """The same all around, ``n`` by ``n`` taps (appendix C.2): what rotation leaves as it is. ``n`` is even."""
    x = _places(n, rate)
    r = torch.hypot(x[:, None], x)  # nowhere 0
    window = _window(n, half_width, rate)
    ideal = torch.special.bessel_j1(2 * math.pi * cutoff * r) / r * torch.outer(window, window)
    return tuple(tuple(row) for row in (ideal / ideal.sum()).tolist())


def _places(n: int, rate: float) -> Tensor:
    """Where the taps are, in shares of a picture. On the CPU, wherever a network is being built."""
    return (torch.arange(n, dtype=torch.float64, device="cpu") - (n - 1) / 2) / rate


def _window(n: int, half_width: float, rate: float) -> Tensor:
    """Kaiser's window for a transition band that wide (Kaiser 1974; Eq. 6 and 7 of appendix A of the paper)."""
    attenuation = 2.285 * (n - 1) * math.pi * 2 * half_width / (rate / 2) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    return torch.kaiser_window(n, periodic=False, beta=beta, dtype=torch.float64, device="cpu")


def filtered_leaky_relu(
    x: Tensor,
    bias: Tensor,
    up_filter: Taps,
    down_filter: Filter,
    *,
    up: int,
    down: int,
    padding: tuple[int, int],
    gain: float,
    slope: float,
    clamp: float | None = None,
) -> Tensor:
    """``(B, C, H, W)`` and a bias ``(C,)``, at ``up`` times the rate, through a leaky ReLU, at a ``down``-th of that.

    ``padding`` counts samples of the higher rate, those that both filters use up included. Values are cut off beyond
    ``clamp`` between the filters.
    """
    x = x + bias.to(x.dtype)[:, None, None]
    x = upfirdn2d(x, up_filter, up=up, padding=padding, gain=up**2 * gain)  # the leaky ReLU is homogeneous
    x = x if slope == 1 else leaky_relu(x, slope)
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return lowered(x, down_filter, down)


def lowered(x: Tensor, taps: Filter, down: int) -> Tensor:
    """Filtered without padding, every ``down``-th row and column kept."""
    if isinstance(taps[0], float):
        return x if len(taps) == 1 and down == 1 else upfirdn2d(x, taps, down=down)  # type: ignore[arg-type]
    kernel = torch.tensor(taps, dtype=x.dtype, device=x.device)  # symmetric: convolved or correlated
    return conv2d(x, kernel.expand(x.shape[1], 1, *kernel.shape), stride=down, groups=x.shape[1])


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Pictures ``(B, C, H, W)`` under a Gaussian whose amplitude halves ``sigma`` pixels away; below 1/3 as they are.

    Beyond the edge is 0.
    """
    reach = math.floor(sigma * 3)
    if reach < 1:
        return image
    x = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu") / sigma
    line = (-x.square()).exp2()
    taps: Taps = tuple((line / line.sum()).tolist())
    return upfirdn2d(pad(image, (reach,) * 4), taps)
