"""Layers whose weights are divided by their largest singular value, so that none stretches what it is given.

Miyato, Kataoka, Koyama and Yoshida 2018, "Spectral normalization for generative adversarial networks" (1802.05957),
algorithm 1: that value is followed by one step of power iteration a pass, from the vector ``u`` of the pass before.
In evaluation ``u`` stays.

Axes: I and O channels in and out, k side of a kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from zeuxis.nn.box_conv import Resample, conv2d_resampled

EPSILON = 1e-12


def spectral(weight: Tensor, u: Tensor, follow: bool) -> Tensor:
    """``weight`` ``(O, ...)`` over its largest singular value, as far as ``u`` ``(O,)`` knows it.

    The value is differentiable, the singular vectors are held. ``follow``: ``u`` is moved on.
    """
    with torch.autocast(weight.device.type, enabled=False):  # a norm of thousands of numbers, in full precision
        matrix = weight.flatten(1)  # (O, I k k)
        with torch.no_grad():
            v = normalize(u @ matrix, dim=0)
            later = normalize(matrix @ v, dim=0)
            if follow:
                u.copy_(later)
        return weight / (later @ (matrix @ v))


class SpectralConv2d(nn.Conv2d):
    """A convolution ``(B, I, H, W)`` to ``(B, O, H, W)``, or to twice or half the sides."""

    u: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, resample: Resample = Resample.NONE
    ) -> None:
        super().__init__(inputs, outputs, kernel, bias=bias)
        self.register_buffer("u", torch.randn(outputs))
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        return conv2d_resampled(x, spectral(self.weight, self.u, self.training), self.bias, self.resample)


class SpectralConv2dUV(nn.Conv2d):
    """A convolution whose weight, as a matrix ``(C_out, C_in k k)``, is divided by its largest singular value.

    That is u^T W v: in training each pass brings the vectors a step of power iteration nearer to the singular ones.
    Both are buffers, and in evaluation both stay, as in `torch.nn.utils.spectral_norm` and so in published files that
    were trained with it (SPADE's). torch's parametrisation computes the same, and takes seconds to build.
    """

    u: Tensor
    v: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        self.register_buffer("u", normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", normalize(torch.randn(inputs * kernel**2), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.weight.flatten(1)
        if self.training:
            with torch.no_grad():
                self.v.copy_(normalize(matrix.T.mv(self.u), dim=0, eps=EPSILON))
                self.u.copy_(normalize(matrix.mv(self.v), dim=0, eps=EPSILON))
        # copies, for a later pass of the same round changes the buffers
        sigma = self.u.clone().dot(matrix.mv(self.v.clone()))
        return self._conv_forward(x, self.weight / sigma, self.bias)


class SpectralLinear(nn.Linear):
    """``(B, I)`` to ``(B, O)``."""

    u: Tensor

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.register_buffer("u", torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, spectral(self.weight, self.u, self.training), self.bias)
