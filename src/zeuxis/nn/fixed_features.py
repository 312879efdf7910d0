"""Feature spaces that nobody trained: filters drawn once, from a fixed seed, the same for all data.

What a trained network was taught to ignore, as noise within a class, these do not ignore: no label shaped them.
Axes: K filters, D features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.rng import Stream

LEVEL = 2 / 255  # between neighbouring grey levels in [-1, 1]
SOFT = 4 * LEVEL  # responses below it count as none: four grey levels, or rounding alone would be a grain
FILTERS, SCALES = 16, (1, 2, 4)
WIDTHS = (16, 32, 64)


def _filters() -> Tensor:
    """``(K, 1, 3, 3)``: random, each of mean 0, so that flat areas answer nothing, and of length 1."""
    weight = Stream(0, "grain").normal(FILTERS, 1, 3, 3)
    weight = weight - weight.mean((2, 3), keepdim=True)
    return weight / weight.square().sum((2, 3), keepdim=True).sqrt()


@dataclass(frozen=True)
class GrainFeatures:
    """How strong the fine detail of a picture is: energies of random high-pass filters at three scales.

    For every channel, scale and filter two numbers: the mean logarithm of the response's magnitude, which grain in
    flat areas moves, and the logarithm of its root mean square, which the sharpness of edges moves. Averages over
    filters and scales as in the scattering transform (Bruna & Mallat 2013, arXiv:1203.1513, of one layer); that random
    filters serve, Saxe et al. 2011, "On random weights and unsupervised feature learning", ICML. Where things are
    in a picture, and what they are, these do not see.
    """

    weight: Tensor = field(default_factory=_filters)

    def __call__(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] to ``(B, D)`` with D = 2 K C for each scale that fits."""
        if min(image.shape[-2:]) < 3:
            raise UsageError(f"the grain of pictures of {image.shape[-2]}x{image.shape[-1]} cannot be seen: 3 at least")
        weight, found = self.weight.to(image.device), []
        for scale in SCALES:
            if min(image.shape[-2:]) // scale >= 3:
                coarse = F.avg_pool2d(image.float(), scale)
                response = F.conv2d(coarse.flatten(0, 1)[:, None], weight).unflatten(0, image.shape[:2])
                found.append((response.abs() + SOFT).log().mean((-2, -1)))  # (B, C, K)
                found.append((response.square().mean((-2, -1)) + SOFT**2).log() / 2)
        return torch.cat([x.flatten(1) for x in found], 1)


def _layers() -> tuple[Tensor, ...]:
    """Kernels of three layers of an untrained network, He et al. 2015, for up to 4 channels of a picture."""
    rng = Stream(0, "untrained")
    sizes = zip((4, *WIDTHS[:-1]), WIDTHS, strict=True)
    return tuple(rng.normal(outputs, inputs, 3, 3) * math.sqrt(2 / (9 * inputs)) for inputs, outputs in sizes)


@dataclass(frozen=True)
class UntrainedFeatures:
    """A network of three layers that learnt nothing: the control of what was learnt from labels.

    The means of the maps over quarters of the picture, after each layer: they see where things are as well.
    """

    weights: tuple[Tensor, ...] = field(default_factory=_layers)

    def __call__(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] to ``(B, D)`` with D = 4 times 112."""
        inputs = self.weights[0].shape[1]
        x = image.float()
        if x.shape[1] > inputs:  # several frames or more bands: the mean of each group of them
            x = torch.stack([group.mean(1) for group in x.tensor_split(inputs, 1)], 1)
        found = []
        for k, weight in enumerate(self.weights):
            weight = weight[:, : x.shape[1]].to(x.device)
            x = F.relu(F.conv2d(x, weight, stride=1 if k == 0 else 2, padding=1))
            found.append(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return torch.cat(found, 1)
