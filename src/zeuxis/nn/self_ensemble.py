"""A network asked of a picture in all its eight orientations, and the mean of its answers.

Timofte, Rothe and Van Gool 2016, "Seven ways to improve example-based single image super resolution" (arXiv:1511.02228,
section 3.5), the geometric self-ensemble of Lim et al. 2017 (arXiv:1707.02921, section 3.3): turned back, the eight
pictures differ by what the network cannot know, and their mean is nearer to the truth. It takes eight times as long.

Symbols -> code: T_i -> turned, f -> network, (1/8) sum T_i^-1 f(T_i x) -> forward
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from zeuxis.nn.picture_network import PictureNetwork, Tiles

ORIENTATIONS = tuple((quarters, mirrored) for mirrored in (False, True) for quarters in range(4))


class SelfEnsemble(PictureNetwork):
    """The mean of what ``network`` makes of the eight orientations of a picture; what a mask leaves stays as it is."""

    def __init__(self, network: PictureNetwork, each: Sequence[PictureNetwork] = ()) -> None:
        super().__init__()
        self.network = network
        self._each = tuple(each) or (network,) * len(ORIENTATIONS)  # of each orientation
        self.channels, self.scale, self.floats = network.channels, network.scale, network.floats
        self.reach, self.step, self.masked = network.reach, network.step, network.masked

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        total = x.new_zeros((), dtype=torch.float32)
        for by, network in zip(ORIENTATIONS, self._each, strict=True):
            total = total + turned_back(network(self._turned(x, *by)), *by).float()
        mean = (total / len(ORIENTATIONS))[..., : height * self.scale, : width * self.scale]
        return mean.where(x[:, self.channels :] > 0, x[:, : self.channels]) if self.masked else mean

    def _turned(self, x: Tensor, quarters: int, mirrored: bool) -> Tensor:
        height, width = x.shape[2:]
        whole = pad(x, (0, -width % self.step, 0, -height % self.step), mode="replicate")  # squares stay where they are
        return turned(whole, quarters, mirrored)

    def agreed(self, tiles: Tiles) -> PictureNetwork:
        """The means of a turned picture are others."""

        def each(quarters: int, mirrored: bool) -> PictureNetwork:
            return self.network.agreed(lambda: (self._turned(tile, quarters, mirrored) for tile in tiles()))

        return SelfEnsemble(self.network, [each(*by) for by in ORIENTATIONS])


def turned(x: Tensor, quarters: int, mirrored: bool) -> Tensor:
    """Pictures ``(B, C, H, W)`` from left to right if ``mirrored``, then turned by as many quarters."""
    return (x.flip(3) if mirrored else x).rot90(quarters, (2, 3))


def turned_back(x: Tensor, quarters: int, mirrored: bool) -> Tensor:
    """The inverse of :func:`turned`."""
    back = x.rot90(-quarters, (2, 3))
    return back.flip(3) if mirrored else back
