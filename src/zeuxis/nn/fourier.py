"""Fourier features: the maps that a generator free of aliasing begins with, defined at every point of the plane.

Karras et al. 2021 (arXiv:2106.12423), section 3.1 (a fixed signal in place of StyleGAN2's learnt constant) and appendix
F (its learnt transformation). As every map is a wave, moving or turning the whole picture is exact.

Axes: F waves, which are channels; S rows and columns of the maps; W numbers of a style code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zeuxis.nn.modulated import EqualLinear


class FourierInput(nn.Module):
    """Maps ``(B, F, S, S)``: sines of frequencies drawn once from a disc, mixed by a learnt matrix.

    ``rate`` counts samples across the picture, which the maps surround with a margin where ``size`` is more; no
    frequency is above ``bandwidth`` cycles a picture. With a ``width`` the waves are moved and turned as a learnt
    function of the code has it; without, they stay where they are.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, channels: int, size: int, rate: float, bandwidth: float, width: int | None) -> None:
        super().__init__()
        self.size, self.rate, self.bandwidth = size, rate, bandwidth
        where = torch.randn(channels, 2)
        radius = where.square().sum(1, keepdim=True).sqrt()
        where = where / (radius * radius.square().exp().pow(0.25)) * bandwidth  # nearly uniform on the disc
        self.register_buffer("frequencies", where)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = None if width is None else EqualLinear(width, 4)
        if self.affine is not None:
            with torch.no_grad():  # at first it is the identity, whatever the code
                self.affine.weight.zero_()
                self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, code: Tensor, transform: Tensor | None = None) -> Tensor:
        """``transform``, ``(3, 3)`` or one a code, is the inverse of what the picture undergoes: where points are from.

        Its unit is the picture's side, its origin the centre, its axes x (to the right) and y (down).
        """
        matrix = self.placed(code)  # (B, 3, 3)
        if transform is not None:
            matrix = matrix @ transform.to(matrix)
        waves = self.frequencies.to(matrix)
        phases = self.phases.to(matrix) + (waves @ matrix[:, :2, 2:])[:, :, 0]  # (B, F)
        waves = waves @ matrix[:, :2, :2]  # (B, F, 2)
        # What a transformation makes too fast for the rate is faded out.
        room = max(self.rate / 2 - self.bandwidth, 1e-6)
        over = (waves.norm(dim=2) - self.bandwidth) / room
        amplitude = (1 - over).clamp(0, 1)
        at = (torch.arange(self.size, device=waves.device) + 0.5 - self.size / 2) / self.rate
        x, y = waves[:, :, :1] * at, waves[:, :, 1:] * at  # (B, F, S)
        angle = x[:, :, None, :] + y[:, :, :, None] + phases[:, :, None, None]
        maps = (2 * math.pi * angle).sin() * amplitude[:, :, None, None]
        mix = self.weight / math.sqrt(len(self.weight))
        return torch.einsum("of,bfhw->bohw", mix, maps)

    def placed(self, code: Tensor) -> Tensor:
        """The inverse of a rotation, then a move, ``(B, 3, 3)``, as each code ``(B, W)`` has it."""
        eye = torch.eye(3, device=code.device).expand(len(code), 3, 3)
        if self.affine is None:
            return eye
        told = self.affine(code)  # (r_c, r_s, t_x, t_y)
        told = told / told[:, :2].norm(dim=1, keepdim=True)
        cos, sin, x, y = told.unbind(1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).view(-1, 3, 3)
        move = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).view(-1, 3, 3)
        return turn @ move
