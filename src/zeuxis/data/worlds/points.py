"""The worlds of points: two numbers each, from a few narrow Gaussians, on which it is counted how many a model found.

Eight on a ring: Metz, Poole, Pfau & Sohl-Dickstein 2016, "Unrolled generative adversarial networks" (arXiv:1611.02163),
section 3.3.1; 25 on a grid: Srivastava, Valkov, Russell, Gutmann & Sutton 2017, "VEEGAN" (arXiv:1705.07761), section 4.
Here both lie within [-1, 1], which pictures do. A point is a picture of one pixel and two channels, x and y.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.counter import uniforms
from zeuxis.data.worlds.world import SPLITS, World
from zeuxis.errors import UnknownName, Unsupported
from zeuxis.rng import Device, derive_seed
from zeuxis.spec import DataSpec, Shape

RADIUS, SPACING, STD = 0.7, 0.4, 0.02
POINT = Shape(2, 1, 1)


def ring(device: Device = "cpu") -> Tensor:
    """The eight centres ``(8, 2)``."""
    angle = torch.arange(8, device=device) * (2 * math.pi / 8)
    return RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


def grid(device: Device = "cpu") -> Tensor:
    """The 25 centres ``(25, 2)``."""
    line = SPACING * (torch.arange(5, device=device) - 2).float()
    return torch.cartesian_prod(line, line)


CENTRES = {"ring": ring, "grid": grid}


class Points(World):
    """Points around the centres of the world; ``label`` is the centre's number. Splits share no point."""

    natural: ClassVar[DataSpec]

    def __init__(self, size: int = 1, split: str = "train", length: int = 1_000_000) -> None:
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
        if size != 1:
            raise Unsupported(f"'{self.name}' holds points, which have no size: leave --size out")
        self.spec, self.length = self.natural, length
        self.key = derive_seed(0, self.name, split)

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64."""
        u = uniforms(self.key, self.checked(index), 3)
        label = (u[:, 0] * self.spec.classes).long().clamp(max=self.spec.classes - 1)
        distance = (-2 * torch.log1p(-u[:, 1])).sqrt()  # Box and Muller 1958
        angle = 2 * math.pi * u[:, 2]
        around = distance[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        point = CENTRES[self.name](index.device)[label] + STD * around
        return Batch(point[:, :, None, None].float().clamp(-1, 1), Condition(label=label), index)


class RingPoints(Points):
    """Eight Gaussians on a ring."""

    name = "ring"
    natural = DataSpec(POINT, class_names=tuple(map(str, range(8))), provides=frozenset({"label"}))


class GridPoints(Points):
    """25 Gaussians on a grid of five by five."""

    name = "grid"
    natural = DataSpec(POINT, class_names=tuple(map(str, range(25))), provides=frozenset({"label"}))
