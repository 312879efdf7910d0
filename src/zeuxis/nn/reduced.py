"""A network that enlarges by more than is wanted, with what it makes reduced."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.nn.picture_network import PictureNetwork, Tiles

SUPPORT = 4  # pixels of what is reduced that one pixel of the result sees on either side, at most


class Reduced(PictureNetwork):
    """``network`` by ``scale`` instead of its own.

    Args:
        network: enlarges by more than ``scale``.
        scale: by which the sides grow in the end.
        antialias: whether the cubic kernel is as wide as the reduction asks for, as good practice has it; published
            graphs that end in a reduction have the narrow one.
    """

    def __init__(self, network: PictureNetwork, scale: int, antialias: bool = True) -> None:
        super().__init__()
        self.network, self.scale, self.antialias = network, scale, antialias
        self.channels, self.floats, self.reach = network.channels, network.floats, network.reach + SUPPORT
        self.step, self.drawn_at = network.step, network.drawn_at
        if not 1 <= scale < network.scale:
            raise ValueError(f"a network that enlarges by {network.scale} cannot be reduced to {scale}")

    def forward(self, x: Tensor) -> Tensor:
        size = [side * self.scale for side in x.shape[2:]]
        return interpolate(self.network(x), size, mode="bicubic", align_corners=False, antialias=self.antialias)

    def seeded(self, seed: int) -> PictureNetwork:
        return Reduced(self.network.seeded(seed), self.scale, self.antialias)

    def placed_at(self, top: int, left: int) -> PictureNetwork:
        return Reduced(self.network.placed_at(top, left), self.scale, self.antialias)

    def agreed(self, tiles: Tiles) -> PictureNetwork:
        return Reduced(self.network.agreed(tiles), self.scale, self.antialias)
