"""Layers whose weights are divided by their largest singular value, so that none stretches what it is given.

Miyato, Kataoka, Koyama and Yoshida 2018, "Spectral normalization for generative adversarial networks" (1802.05957),
algorithm 1: that value is followed by one step of power iteration a pass, from the vector ``u`` of the pass before.

In training every layer here computes the same. They differ in evaluation, where nothing is kept of a step:

    SpectralConv2d, SpectralLinear   take the step from ``u`` and use what it finds, as the authors of SAGAN and BigGAN
    SpectralConv2dUV                 use ``u`` and ``v`` as the last step of training left them, as
                                     `torch.nn.utils.spectral_norm`, so that published files hold both (SPADE's)

Before the iteration has converged, and after the optimiser has moved the weight, the two are not the same picture.

Axes: I and O channels in and out, k side of a kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from zeuxis.nn.box_conv import Resample, conv2d_resampled


def _divided(weight: Tensor, value: Tensor) -> Tensor:
    """``weight`` over its singular ``value``; one of zeros alone as it is, for 0 / 0 would end a training."""
    return weight / torch.where(value == 0, torch.ones_like(value), value)


def _follows(vector: Tensor, later: Tensor) -> None:
    """Move a kept singular ``vector`` on, but not to zeros, which it would never leave."""
    vector.copy_(torch.where(later.any(), later, vector))


def spectral(weight: Tensor, u: Tensor, follow: bool) -> Tensor:
    """``weight`` ``(O, ...)`` over its largest singular value, as far as ``u`` ``(O,)`` knows it.

    The value is differentiable, the singular vectors are held. ``follow``: ``u`` is moved on.
    """
    with torch.autocast(weight.device.type, enabled=False):  # a norm of thousands of numbers, in full precision
        matrix = weight.flatten(1).float()  # (O, I k k)
        with torch.no_grad():
            v = normalize(u @ matrix, dim=0)
            later = normalize(matrix @ v, dim=0)
            if follow:
                _follows(u, later)
        return _divided(weight, later @ (matrix @ v))


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
    """A convolution ``(B, I, H, W)`` to ``(B, O, h, w)`` that keeps both singular vectors; in evaluation both stay.

    torch's parametrisation computes the same, and takes seconds to build.
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
        return self._conv_forward(x, self.normalised(), self.bias)

    def normalised(self) -> Tensor:
        """The weight ``(O, I, k, k)`` over u^T W v."""
        with torch.autocast(self.weight.device.type, enabled=False):  # as in `spectral`
            matrix = self.weight.flatten(1).float()  # (O, I k k)
            if self.training:
                with torch.no_grad():
                    _follows(self.v, normalize(self.u @ matrix, dim=0))
                    _follows(self.u, normalize(matrix @ self.v, dim=0))
            # copies, for a later pass of the same round changes the buffers
            return _divided(self.weight, self.u.clone() @ (matrix @ self.v.clone()))


class SpectralLinear(nn.Linear):
    """``(B, I)`` to ``(B, O)``."""

    u: Tensor

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.register_buffer("u", torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, spectral(self.weight, self.u, self.training), self.bias)
