"""Layers of the style-based generators: an equalised learning rate, and convolutions that a style modulates.

Weights are stored as N(0, 1) and scaled where they are used (Karras et al. 2018, 1710.10196, section 4.1), so that Adam
moves all of them at the same relative pace. A leaky ReLU is followed by a gain of sqrt(2); as it is homogeneous, that
gain goes into the weights, which are few.

Axes: I and O channels in and out, k side of a kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear

from zeuxis.nn.upfirdn import BLUR, upfirdn2d

SLOPE = 0.2  # of the leaky ReLU below zero
GAIN = math.sqrt(2.0)  # which keeps its output's deviation at 1
EPSILON = 1e-8


class EqualLinear(nn.Module):
    """``(B, I)`` to ``(B, O)`` in the weights' precision, followed by a leaky ReLU if ``active``.

    ``rate`` multiplies its learning rate; the bias begins at ``bias``.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0, active: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.active = active
        gain = rate * (GAIN if active else 1.0)
        self.weight_gain, self.bias_gain = gain / math.sqrt(inputs), gain

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # styles scale whole maps: a rounding there is seen
            kind = self.bias.dtype  # matrices alone are kept in half precision
            y = linear(x.to(kind), self.weight.to(kind) * self.weight_gain, self.bias * self.bias_gain)
        return leaky_relu(y, SLOPE) if self.active else y


class EqualConv2d(nn.Module):
    """A convolution ``(B, I, H, W)`` to ``(B, O, H, W)``, or to half the sides if ``down``, blurred first.

    ``active``: a bias and a leaky ReLU follow. Values beyond ``clamp`` are cut off, for half precision's sake.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        down: bool = False,
        active: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if active else None
        self.weight_gain = 1 / math.sqrt(inputs * kernel**2)
        self.down, self.clamp = down, clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """``gain`` scales what comes out."""
        scale = gain * (1.0 if self.bias is None else GAIN)
        weight = self.weight * (self.weight_gain * scale)
        half = self.weight.shape[-1] // 2
        stride = 1
        if self.down:
            around = half + (len(BLUR) - 1) // 2, half + (len(BLUR) - 2) // 2
            point = half == 0  # then what the stride leaves out need not be blurred
            x, half = upfirdn2d(x, BLUR, down=2 if point else 1, padding=around), 0
            stride = 1 if point else 2
        y = conv2d(x, weight, None if self.bias is None else self.bias * scale, stride=stride, padding=half)
        if self.bias is not None:
            y = leaky_relu(y, SLOPE)
        return y if self.clamp is None else y.clamp(-self.clamp * gain, self.clamp * gain)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    *,
    up: bool = False,
    demodulate: bool = True,
    gain: float | Tensor = 1.0,
    padding: int | None = None,
) -> Tensor:
    """``x`` ``(B, I, H, W)`` under weights ``(O, I, k, k)`` whose inputs ``style`` ``(B, I)`` scales: ``(B, O, H, W)``.

    Karras et al. 2019 (1912.04958), Eq. 1 and 3. ``demodulate`` divides by the deviation that the outputs would have of
    inputs of deviation 1; ``up`` doubles the sides, ``padding`` zeros go around (by default as many as keep them). What
    comes out is multiplied by ``gain``, a number. Not the weights are scaled but the maps before and after the
    convolution, which comes to the same and needs no kernel for each picture.
    """
    _, inputs, kernel, _ = weight.shape
    weight = weight * (1 / math.sqrt(inputs * kernel**2))
    if demodulate:
        # The scale of a style falls out again; without it, maps stay within the range of half precision.
        style = style / style.detach().abs().amax(1, keepdim=True).clamp_min(EPSILON)
        with torch.autocast(x.device.type, enabled=False):
            power = style.square() @ weight.square().sum((2, 3)).t().to(style.dtype)  # (B, O)
        scale = gain * (power + EPSILON / (inputs * kernel**2)).rsqrt()
    x = x * style.to(x.dtype)[:, :, None, None]
    if up:
        x = conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # (B, O, 2H + 1, 2W + 1)
        x = upfirdn2d(x, BLUR, padding=(1, 1), gain=4.0)
    else:
        x = conv2d(x, weight, padding=kernel // 2 if padding is None else padding)
    return x * scale.to(x.dtype)[:, :, None, None] if demodulate else x * gain
