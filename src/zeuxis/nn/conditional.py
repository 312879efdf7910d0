"""The two networks of a conditional game, which take a vector ``(B, Y)`` beside their own input.

Perceptrons as in Mirza and Osindero 2014 (arXiv:1411.1784, section 4.1; 28x28x1, ten classes, width 240: 2,413,984 and
1,224,351 parameters), and the convolutions of :mod:`zeuxis.nn.lucic`. Discriminators drop out by the generator that
they are given, if they do.

Axes: Y numbers of the condition's vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.nn.lucic import LucicCritic, LucicGenerator
from zeuxis.nn.maxout import Maxout, drop, uniform
from zeuxis.rng import Rng

KEEP = 0.5  # of the units that dropout leaves


class ConditionalPerceptron(nn.Module):
    """``(B, nz)`` and ``(B, Y)`` to images ``(B, C, H, W)`` in [-1, 1]: a layer of each, then one of both."""

    def __init__(self, shape: Shape, nz: int, y_width: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        of_z, of_y = 5 * width // 6, 25 * width // 6  # 200 and 1000 of the paper's 240
        self.of_z, self.of_y = nn.Linear(nz, of_z), nn.Linear(y_width, of_y)
        self.both = nn.Linear(of_z + of_y, of_z + of_y)
        self.last = nn.Linear(of_z + of_y, shape.channels * shape.height * shape.width)
        uniform(self, 0.05)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        h = torch.cat([self.of_z(z), self.of_y(y)], 1).relu()
        image: Tensor = self.last(self.both(h).relu())
        return (2 * image.sigmoid() - 1).unflatten(1, self.shape)


class ConditionalMaxout(nn.Module):
    """Images ``(B, C, H, W)`` and ``(B, Y)`` to logits ``(B,)``: maxout units of each, then of both, dropped out."""

    def __init__(self, shape: Shape, y_width: int, width: int) -> None:
        super().__init__()
        of_y = 5 * width // 24  # 50 of the paper's 240
        self.of_x = Maxout(shape.channels * shape.height * shape.width, width, 5)
        self.of_y = Maxout(y_width, of_y, 5)
        self.both = Maxout(width + of_y, width, 4)
        self.last = nn.Linear(width, 1)
        uniform(self, 0.05)

    def forward(self, image: Tensor, y: Tensor, rng: Rng | None = None) -> Tensor:
        h = drop(torch.cat([self.of_x(image.flatten(1)), self.of_y(y)], 1), KEEP, rng)
        logit: Tensor = self.last(drop(self.both(h), KEEP, rng))
        return logit.squeeze(1)


class ConditionalGenerator(LucicGenerator):
    """``(B, nz)`` and ``(B, Y)`` to images: the vector follows the latent."""

    def __init__(self, shape: Shape, nz: int, y_width: int, width: int) -> None:
        super().__init__(shape, nz=nz + y_width, width=width)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([z, y], 1))


class ConditionalCritic(LucicCritic):
    """Images and ``(B, Y)`` to logits: a linear map of the vector makes constant channels beside the image's.

    With ``batch_norm`` the inner layers are normalised. Nothing is dropped out.
    """

    PLANES = 8

    def __init__(self, shape: Shape, y_width: int, width: int, *, batch_norm: bool = False) -> None:
        both = Shape(shape.channels + self.PLANES, shape.height, shape.width)
        super().__init__(both, width=width, batch_norm=batch_norm)
        self.planes = nn.Linear(y_width, self.PLANES)

    def forward(self, image: Tensor, y: Tensor, rng: Rng | None = None) -> Tensor:  # type: ignore[override]
        planes = self.planes(y)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return super().forward(torch.cat([image, planes.to(image.dtype)], 1))
