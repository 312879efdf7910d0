"""Tiles of what draws are drawn of one noise: they agree where they overlap, and no texture repeats."""

from __future__ import annotations

import pytest
import torch
from restorers import UNET, built
from torch import Tensor

from zeuxis.nn.noise_field import BLOCK, NoiseField
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.reduced import Reduced
from zeuxis.nn.streamed_tiles import Tiling, in_rows
from zeuxis.rng import Stream
from zeuxis.systems.restoration._family import AnySizeRestorer


def field(top: int, left: int, height: int, width: int, draws: int = 1) -> Tensor:
    rng = NoiseField((7,), top, left)
    for _ in range(draws):
        found = rng.normal(1, 2, height, width)
    return found


def test_windows_of_a_field_are_of_one_field() -> None:
    whole = field(0, 0, 3 * BLOCK, 2 * BLOCK + 5)
    assert torch.equal(field(BLOCK - 3, 9, 70, 90), whole[..., BLOCK - 3 : BLOCK + 67, 9:99])
    assert torch.equal(field(2 * BLOCK, 0, 1, 1), whole[..., 2 * BLOCK : 2 * BLOCK + 1, :1])
    assert not torch.equal(field(0, 0, 8, 8, draws=2), whole[..., :8, :8])


def test_a_field_is_white_noise_and_no_block_is_another() -> None:
    whole = field(0, 0, 4 * BLOCK, 4 * BLOCK)
    assert abs(float(whole.mean())) < 0.02 and abs(float(whole.var()) - 1) < 0.02
    blocks = whole.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK).reshape(2 * 16, -1)
    alike = torch.corrcoef(blocks).fill_diagonal_(0).abs().max()
    assert alike < 0.1, alike


def test_pictures_of_a_batch_have_fields_of_their_own() -> None:
    both = NoiseField((3, 4), 10, 0).normal(2, 1, 8, 8)
    assert torch.equal(both[1:], NoiseField((4,), 10, 0).normal(1, 1, 8, 8)) and not torch.equal(both[0], both[1])
    assert NoiseField((3, 4), 0, 0).normal(2).shape == (2,)  # not of pictures


@pytest.mark.parametrize(("system", "scale", "reduced"), [("palette", 1, False), ("sr3", 2, True)])
def test_what_draws_makes_in_tiles_what_it_makes_at_once(system: str, scale: int, reduced: bool) -> None:
    """A flat picture: all that differs between two places is the noise."""
    found = built(system, scale, network=UNET, steps=2).eval()
    assert isinstance(found, AnySizeRestorer)
    network: PictureNetwork = found.picture_network()
    if reduced:
        network = Reduced(network, 1)
    x = 0.3 + 0.1 * Stream(0).uniform(1, 3, 6, 6).repeat_interleave(16, 2).repeat_interleave(16, 3)

    def tiled(tiling: Tiling) -> Tensor:
        def read(place: tuple[int, int, int, int]) -> Tensor:
            top, bottom, left, right = place
            return x[..., top:bottom, left:right]

        with torch.inference_mode():
            return torch.cat([*in_rows(network, read, 96, 96, tiling, lambda *_: None)], 2)

    whole, parts = tiled(Tiling(128, 16)), tiled(Tiling(80, 16))
    size = 32 * network.scale
    assert (whole - parts).abs().mean() < 0.05 * whole.std(), ((whole - parts).abs().mean(), whole.std())
    assert not torch.allclose(parts[..., :size, :size], parts[..., size : 2 * size, :size], atol=0.05)
