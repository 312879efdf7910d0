"""A picture in tiles is the picture at once: seams, borders, scales, and how little is held."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from zeuxis.nn.compact import CompactNet
from zeuxis.nn.dncnn import DnCNNNet
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.reduced import Reduced
from zeuxis.nn.rrdb import RRDBNet
from zeuxis.nn.streamed_tiles import GRID, Place, Tiling, in_rows, margin_for, tile_places, tiling_for


def lively(network: PictureNetwork) -> PictureNetwork:
    rng = torch.Generator().manual_seed(0)
    for value in network.parameters():
        value.data = torch.randn(value.shape, generator=rng) * (0.3 if value.ndim > 1 else 0.1)
    return network.eval()


def tiled(network: PictureNetwork, picture: Tensor, tiling: Tiling) -> tuple[Tensor, list[Place]]:
    places: list[Place] = []

    def read(place: Place) -> Tensor:
        top, bottom, left, right = place
        return picture[:, :, top:bottom, left:right]

    with torch.inference_mode():
        rows = in_rows(network, read, *picture.shape[2:], tiling, lambda place, given, made: places.append(place))
        return torch.cat(list(rows), 2), places


def picture(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(1))


NETWORKS = {
    "compact": CompactNet(width=6, inner=2, scale=3),
    "dncnn": DnCNNNet(depth=4, width=6),
    "rrdb, pixels together": RRDBNet(blocks=0, width=6, growth=4, unshuffle=2),
    "reduced": Reduced(CompactNet(width=6, inner=2, scale=4), 3),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(61, 90), (24, 24), (23, 101), (100, 7), (1, 1), (24, 25)])
def test_a_picture_in_tiles_is_the_picture_at_once(name: str, size: tuple[int, int]) -> None:
    network = lively(NETWORKS[name])
    given = picture(*size, network.channels)
    tiling = Tiling(tile=4 * network.reach + 16, margin=network.reach, feather=4)
    made, places = tiled(network, given, tiling)
    with torch.inference_mode():
        whole = network(given)
    assert made.shape == whole.shape
    assert (made - whole).abs().max() < 1 / 255 / 100 * max(1.0, whole.abs().max().item())
    assert (max(size) > tiling.tile) == (len(places) > 1)


def test_a_margin_that_is_too_small_shows() -> None:
    """Else the test above could not fail."""
    network = lively(NETWORKS["compact"])
    made, _ = tiled(network, picture(61, 90), Tiling(tile=32, margin=0, feather=4))
    with torch.inference_mode():
        assert (made - network(picture(61, 90))).abs().max() > 1 / 255


def test_seams_are_feathered() -> None:
    """What tiles make differently passes from one into the other; it does not jump."""

    class Numbered(PictureNetwork):
        channels, scale, reach, floats = 1, 1, 0, 1
        count = 0

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return torch.full_like(x, float(self.count))

    made, places = tiled(Numbered(), picture(16, 32, 1), Tiling(tile=24, margin=2, feather=8))
    steps = made[0, 0, 3].diff().abs()
    assert len(places) == 2 and made[0, 0, 3, 0] == 1 and made[0, 0, 3, -1] == 2
    assert 0 < steps.max() < 0.2


@pytest.mark.parametrize("side", [97, 200, 1000, 4321])
def test_tiles_cover_a_side_and_share_what_they_should(side: int) -> None:
    tiling = Tiling(96, 16)
    row = tile_places(side, 50, tiling)
    spans = [places[0][:2] for places in row]
    assert spans[0][0] == 0 and spans[-1][1] == side
    assert all(start % GRID == 0 and end - start < tiling.tile + GRID for start, end in spans)
    assert all(before[1] - after[0] >= tiling.overlap for before, after in itertools.pairwise(spans))
    assert len(spans) <= -(-side // (tiling.tile - tiling.overlap - GRID))
    shared = (len(spans) - 1) * (tiling.overlap + GRID)
    assert sum(end - start for start, end in spans) < side + shared + 2 * len(spans) * GRID, "no more work than needed"


def test_tiles_follow_the_memory_and_a_whole_picture_is_never_asked_for() -> None:
    network = RRDBNet(blocks=1, width=64, growth=32)
    small, large = tiling_for(network, 256 << 20), tiling_for(network, 1 << 40)
    assert small.tile < large.tile == 1024 // network.scale and margin_for(network) == 16
    network.scale = 1
    assert tiling_for(network, 1 << 40).tile == 512
    network.drawn_at = (64, 64)
    assert tiling_for(network, 1 << 40).tile == 256, "attention over a tile"
    assert 4 * network.floats * small.tile**2 <= 256 << 20
    assert tiling_for(network, 1).tile >= 2 * tiling_for(network, 1).overlap
    with pytest.raises(ValueError, match="overlap"):
        Tiling(40, 16)
