"""The residual generator and critic of WGAN-GP on CIFAR-10 (Gulrajani et al. 2017, appendix F, table 4).

Pre-activation blocks; the generator normalises by batch and the critic not at all, because the gradient
penalty holds each image to account on its own. Counts at 32x32x3, 128 channels: 1,204,483 and 1,053,825.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from zeuxis.batch import Shape
from zeuxis.nn.dcgan import halvings


def uniform_(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Weights uniform with variance gain / (fan_in + fan_out), biases 0: 4 before a ReLU (He), 2 elsewhere."""
    window = layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
    bound = math.sqrt(3 * gain / ((layer.weight.shape[0] + layer.weight.shape[1]) * window))
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def conv(inputs: int, outputs: int, width: int, gain: float) -> nn.Conv2d:
    """A convolution that keeps the size."""
    layer = nn.Conv2d(inputs, outputs, width, padding=width // 2)
    uniform_(layer, gain)
    return layer


class UpBlock(nn.Module):
    """``(B, C, H, W) -> (B, C, 2H, 2W)``: BN, ReLU, double, conv, BN, ReLU, conv, beside double, 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv1, self.conv2 = conv(channels, channels, 3, 4.0), conv(channels, channels, 3, 4.0)
        self.shortcut = conv(channels, channels, 1, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(interpolate(relu(self.norm1(x)), scale_factor=2))
        h = self.conv2(relu(self.norm2(h)))
        return h + interpolate(self.shortcut(x), scale_factor=2)  # a 1x1 commutes with doubling, and is cheaper before


class FirstDownBlock(nn.Module):
    """``(B, C, H, W) -> (B, channels, H/2, W/2)`` from pixels: no ReLU before the first convolution."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, channels, 3, 4.0), conv(channels, channels, 3, 4.0)
        self.shortcut = conv(inputs, channels, 1, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(self.conv2(relu(self.conv1(x))), 2) + self.shortcut(avg_pool2d(x, 2))


class CriticBlock(nn.Module):
    """ReLU, conv, ReLU, conv, and half the size if ``down``; the shortcut is then a 1x1, else the identity."""

    def __init__(self, channels: int, down: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(channels, channels, 3, 4.0), conv(channels, channels, 3, 4.0)
        self.shortcut = conv(channels, channels, 1, 2.0) if down else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(relu(self.conv1(relu(x))))
        if self.shortcut is None:
            return h + x
        return avg_pool2d(h, 2) + self.shortcut(avg_pool2d(x, 2))


class WGANGenerator(nn.Module):
    """``(B, nz) -> (B, C, H, W)`` in [-1, 1]; pictures are square, 4 times a power of two a side."""

    def __init__(self, shape: Shape, *, nz: int = 128, width: int = 128) -> None:
        super().__init__()
        self.nz, self.width = nz, width
        self.first = nn.Linear(nz, width * 16)
        uniform_(self.first, 2.0)
        self.blocks = nn.Sequential(*[UpBlock(width) for _ in range(halvings(shape))])
        self.norm = nn.BatchNorm2d(width)
        self.last = conv(width, shape.channels, 3, 2.0)

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z).view(len(z), self.width, 4, 4)
        return self.last(relu(self.norm(self.blocks(h)))).tanh()


class WGANCritic(nn.Module):
    """``(B, C, H, W) -> (B,)``, halving the picture down to 8x8, then two blocks at that size."""

    def __init__(self, shape: Shape, *, width: int = 128) -> None:
        super().__init__()
        more = max(halvings(shape) - 2, 0)  # beyond the first block's
        self.blocks = nn.Sequential(
            FirstDownBlock(shape.channels, width),
            *[CriticBlock(width, down=True) for _ in range(more)],
            *[CriticBlock(width, down=False) for _ in range(2)],
        )
        self.last = nn.Linear(width, 1)
        uniform_(self.last, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(relu(self.blocks(x)).mean((2, 3))).squeeze(1)
