"""What a scanner adds to the signal: uneven sensitivity, noise, and a window of grey levels.

The coil's sensitivity is the same for every contrast of a slice. Noise is Rician, as in Gudbjartsson and Patz 1995,
"The Rician distribution of noisy MRI data" (doi:10.1002/mrm.1910340618): the magnitude of a complex signal with
independent normal noise in either part; in air it is Rayleigh's, of mean sigma sqrt(pi / 2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import to_float
from zeuxis.counter import uniforms
from zeuxis.data.worlds.exact import normals
from zeuxis.data.worlds.tissue import Sequence

BIAS = 0.2  # the most by which the sensitivity departs from 1, either way
BIASES = 5  # uniform numbers that it takes
SIGMA = 0.012  # of either part of the noise: 3 % of white matter's signal under T1


def sensitivity(u: Tensor, size: int) -> Tensor:
    """A smooth field ``(B, size, size)`` in [1 - BIAS, 1 + BIAS], from uniform numbers ``u`` (B, BIASES).

    A polynomial of degree 2 in Legendre's products x, y, xy, P2(x), P2(y) on [-1, 1]: none leaves [-1, 1], and
    neither does their sum, because the weights' sizes are made to sum to at most 1.
    """
    weight = 2 * u - 1
    a, b, c, d, e = weight.abs().unbind(1)
    weight = BIAS * weight / (a + b + c + d + e).clamp(min=1)[:, None]
    x = (torch.arange(size, device=u.device) + 0.5) * (2 / size) - 1  # (size,)
    p2 = 1.5 * x * x - 0.5
    wx, wy, wxy, wxx, wyy = (weight[:, k, None] for k in range(BIASES))
    along_y = 1 + wy * x + wyy * p2  # (B, H)
    along_x = wxx * p2  # (B, W)
    tilt = wx + wxy * x  # (B, H): what x is multiplied by in each row
    return tilt[:, :, None] * x + along_x[:, None, :] + along_y[:, :, None]


def magnitude(signal: Tensor, key: int, index: Tensor) -> Tensor:
    """The magnitude of ``signal`` (B, H, W) with noise; example ``index`` (B,) has its own under ``key``."""
    real, imaginary = normals(uniforms(key, index, signal.shape[1] * signal.shape[2]).view(signal.shape))
    real.mul_(SIGMA).add_(signal)
    imaginary.mul_(SIGMA)
    return (real * real).add_(imaginary * imaginary).sqrt_()


def grey_window(signal: Tensor, sequence: Sequence) -> Tensor:
    """Pictures in [-1, 1], on the 256 levels of a file: no signal is black, ``sequence.white`` and more is white."""
    return to_float((signal * (255 / sequence.white)).round_().clamp_(0, 255))
