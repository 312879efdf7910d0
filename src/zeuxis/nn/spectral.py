"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

EPSILON = 1e-12


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight, as a matrix ``(C_out, C_in k k)``, is divided by its largest singular value.

    That is u^T W v: in training each pass brings the vectors a step of power iteration nearer to the singular ones.
    They are buffers, so a checkpoint holds them. torch's parametrisation computes the same, and takes seconds to build.
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
