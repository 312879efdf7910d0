"""A network over a picture of any size, in tiles, its result row by row: memory does not grow with the picture's area.

Each tile is given with a margin that is thrown away, because there the network sees the tile's border in place of the
picture; where what is kept of two tiles overlaps, one passes into the other. With a margin of the network's reach the
result is that of the whole picture, within rounding.

Axes: s the scale, h and w rows and columns of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.rng import Stream

GRID = 4  # tiles begin at multiples of it, and of a network's own step
MOST_MARGIN, FEATHER = 16, 8  # pixels
LEAST_TILE, MOST_TILE = 96, 512
MOST_MADE = 1024  # of the result of a tile: a row of them is held, which is much of a wide picture
MOST_DRAWN = 256  # of a network that draws, whose attention grows with the square of a tile's area
MOST_ASKED = 16  # tiles that speak for the whole picture, of a network that takes means of it
Place = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class Tiling:
    """``tile`` pixels a side are given at a time; ``margin`` of them are thrown away and ``feather`` shared.

    They begin at multiples of ``grid``: a network that puts pixels together then sees the same squares as in the whole.
    """

    tile: int
    margin: int
    feather: int = FEATHER
    grid: int = GRID

    def __post_init__(self) -> None:
        if self.margin < 0 or self.feather < 0 or self.tile < self.least:
            raise ValueError(
                f"tiles of {self.tile} pixels, half of which are less than the {self.overlap} that overlap, or which "
                f"do not move on by steps of {self.grid}"
            )

    @property
    def least(self) -> int:
        """Pixels a side, at least, with such an overlap and grid."""
        return max(2 * self.overlap, self.overlap + 2 * self.grid)

    @property
    def overlap(self) -> int:
        """Pixels that two neighbours share, at least."""
        return 2 * self.margin + self.feather


def tiling_for(network: PictureNetwork, budget: int, batch: int = 1) -> Tiling:
    """The tiling whose tiles need about ``budget`` bytes for ``batch`` pictures at a time."""
    margin, grid = margin_for(network), grid_for(network)
    most = MOST_DRAWN if network.drawn_at is not None else min(MOST_TILE, MOST_MADE // network.scale)
    side = min(math.isqrt(max(1, budget // (4 * network.floats * batch))), most)
    least = max(LEAST_TILE, 2 * margin + FEATHER + 2 * grid)
    return Tiling(max(side // grid, -(-least // grid)) * grid, margin, grid=grid)


def grid_for(network: PictureNetwork) -> int:
    """At multiples of what tiles begin that are given to a network."""
    return math.lcm(GRID, network.step)


def margin_for(network: PictureNetwork) -> int:
    """As far as the network sees; of one that sees very far, as far as what it sees there changes a level at all."""
    return min(network.reach, MOST_MARGIN)


def tile_places(height: int, width: int, tiling: Tiling) -> list[list[Place]]:
    """The tiles of a picture, row by row; neighbours share at least the overlap."""
    rows, columns = _spans(height, tiling), _spans(width, tiling)
    return [[(top, bottom, left, right) for left, right in columns] for top, bottom in rows]


def in_rows(
    network: PictureNetwork,
    read: Callable[[Place], Tensor],
    height: int,
    width: int,
    tiling: Tiling,
    seen: Callable[[Place, Tensor, Tensor], None],
) -> Iterator[Tensor]:
    """Rows ``(B, C, n, s w)`` of what the network makes of a picture of h x w, from the top to the bottom.

    ``read`` gives a tile ``(B, C, h, w)``; ``seen`` is told of each one where it lies, what was given and what was
    made, and may raise.
    """
    scale = network.scale
    down, across = (_weights(_spans(side, tiling), side, tiling, scale) for side in (height, width))
    places = tile_places(height, width, tiling)
    every = [place for row in places for place in row]
    if len(every) > 1:
        some = Stream(0, "asked").permutation(len(every)).tolist()[:MOST_ASKED]
        network = network.agreed(lambda: (read(every[k]) for k in sorted(some)))
    waiting: Tensor | None = None  # rows that a later tile may add to; the first is row ``first``
    first = 0
    for k, row in enumerate(places):
        top, bottom = row[0][:2]
        band: Tensor | None = None
        for place, weight in zip(row, across, strict=True):
            given = read(place)
            made = network.placed_at(place[0], place[2])(given).float()
            seen(place, given, made)
            if band is None:
                band = made.new_zeros(*made.shape[:3], scale * width)
            band[..., scale * place[2] : scale * place[3]] += made * weight.to(made)
        assert band is not None
        band *= down[k].to(band)[:, None]
        grown = band.new_zeros(*band.shape[:2], scale * (bottom - first), scale * width)
        if waiting is not None:
            grown[:, :, : waiting.shape[2]] += waiting
        grown[:, :, scale * (top - first) :] += band
        ends = places[k + 1][0][0] if k + 1 < len(places) else height
        yield grown[:, :, : scale * (ends - first)]
        waiting, first = grown[:, :, scale * (ends - first) :].clone(), ends


def _spans(side: int, tiling: Tiling) -> list[tuple[int, int]]:
    """Where tiles begin and end along one axis: as few as cover it, evenly spread, beginning on the grid.

    They are as small as so many can be: what neighbours share beyond the overlap would be work for nothing.
    """
    if side <= tiling.tile:
        return [(0, side)]
    shared, grid = tiling.overlap + tiling.grid, tiling.grid  # what rounding to the grid may take
    count = -(-(side - shared) // (tiling.tile - shared))
    tile = min(tiling.tile, -(-(side + (count - 1) * shared) // count // grid) * grid)
    starts = [round(k * (side - tile) / (count - 1)) // grid * grid for k in range(count)]
    return [(start, side if k == count - 1 else start + tile) for k, start in enumerate(starts)]


def _weights(spans: list[tuple[int, int]], side: int, tiling: Tiling, scale: int) -> list[Tensor]:
    """For each span its share in every pixel of the result that it covers; the shares of a pixel sum to 1."""
    total = torch.zeros(scale * side)
    raw = []
    for start, end in spans:
        at = torch.arange(scale * (end - start)) + 0.5  # of the result
        margin, feather = scale * tiling.margin, max(1, scale * tiling.feather)
        rising = ((at - margin) / feather).clamp(0, 1) if start else torch.ones_like(at)
        falling = ((at.flip(0) - margin) / feather).clamp(0, 1) if end < side else torch.ones_like(at)
        weight = rising * falling
        total[scale * start : scale * end] += weight
        raw.append(weight)
    return [weight / total[scale * start : scale * end] for weight, (start, end) in zip(raw, spans, strict=True)]
