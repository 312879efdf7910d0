"""The normalisations that a convolutional stack may choose from, and DCGAN's initialisation."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from torch import nn

from zeuxis.nn.resblock import group_norm


class Norm(StrEnum):
    """``Norm.BATCH(channels)`` builds one; ``affine`` says whether it has a bias of its own."""

    BATCH = "batch"
    INSTANCE = "instance"  # without weights, as in CycleGAN
    INSTANCE_AFFINE = "instance-affine"  # with weights: batch normalisation of one picture at a time, as in pix2pix
    LAYER = "layer"  # over channels and pixels of one picture
    GROUP = "group"
    NONE = "none"

    def __call__(self, channels: int) -> nn.Module:
        return _FACTORIES[self](channels)

    @property
    def affine(self) -> bool:
        return self not in (Norm.INSTANCE, Norm.NONE)


_FACTORIES: dict[Norm, Callable[[int], nn.Module]] = {
    Norm.BATCH: nn.BatchNorm2d,
    Norm.INSTANCE: nn.InstanceNorm2d,
    Norm.INSTANCE_AFFINE: lambda channels: nn.InstanceNorm2d(channels, affine=True),
    Norm.LAYER: lambda channels: nn.GroupNorm(1, channels),
    Norm.GROUP: group_norm,
    Norm.NONE: lambda channels: nn.Identity(),
}


def initialise_normal(net: nn.Module, std: float = 0.02) -> None:
    """Convolutions from N(0, std), norms' gains from N(1, std), biases zero (Radford et al. 2015, Section 4)."""
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(m.weight, 0.0, std)
        elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)) and m.affine:
            nn.init.normal_(m.weight, 1.0, std)
        else:
            continue
        if m.bias is not None:
            nn.init.zeros_(m.bias)
