"""``--self-ensemble``: the mean of a picture's eight orientations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from restorers import UNET, built
from torch import Tensor

from zeuxis.api.restore import restore
from zeuxis.api.restore_again import restoring_again
from zeuxis.api.restore_models import restorer_for
from zeuxis.errors import UsageError
from zeuxis.game import System
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.self_ensemble import ORIENTATIONS, SelfEnsemble, turned, turned_back
from zeuxis.nn.streamed_tiles import tiling_for
from zeuxis.provenance.record import read_record
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import write_model


class Rightward(PictureNetwork):
    """Twice as large, each pixel moved to the right by one: a network that knows left from right."""

    channels, scale, reach, floats = 3, 2, 1, 8

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, 3).repeat_interleave(2, 2).repeat_interleave(2, 3)


def run_of(folder: Path, system: System, data: str) -> Path:
    write_model(folder / "run" / "model", system.eval(), {"data": data})
    return folder / "run"


def test_orientations_are_eight_and_are_turned_back() -> None:
    x = Stream(0).uniform(1, 3, 4, 6)
    assert len({turned(x, *by).numpy().tobytes() for by in ORIENTATIONS}) == 8
    for by in ORIENTATIONS:
        assert torch.equal(turned_back(turned(x, *by), *by), x)


def test_the_mean_knows_no_direction() -> None:
    x = Stream(0).uniform(2, 3, 5, 8)
    mean = SelfEnsemble(Rightward())(x)
    assert mean.shape == (2, 3, 10, 16)
    around = sum(x.roll(by, side) for by in (-1, 1) for side in (2, 3)) / 4  # each direction is met twice
    torch.testing.assert_close(mean, around.repeat_interleave(2, 2).repeat_interleave(2, 3))
    for by in ORIENTATIONS:
        torch.testing.assert_close(SelfEnsemble(Rightward())(turned(x, *by)), turned(mean, *by))


def test_squares_of_a_coarse_network_lie_where_they_lay(tmp_path: Path) -> None:
    """A picture whose sides its step does not divide is filled up first: a tile of it is a part of the whole."""
    network = built("drunet", 1, widths=[8, 8], blocks=1, shrink=2).network
    assert isinstance(network, PictureNetwork) and network.step > 1
    whole, x = SelfEnsemble(network.eval()), Stream(0).uniform(1, 3, 37, 64)
    far = network.reach + network.step
    with torch.inference_mode():
        torch.testing.assert_close(whole(x)[..., : 64 - far], whole(x[..., :60])[..., : 64 - far], atol=1e-5, rtol=0)
    assert tiling_for(whole, 1 << 30).margin == tiling_for(network, 1 << 30).margin


def test_what_a_mask_leaves_stays_bit_for_bit() -> None:
    network = built("drunet", 1, widths=[8, 8], blocks=1, shrink=2, condition="mask").network
    assert isinstance(network, PictureNetwork) and network.masked
    picture, mask = Stream(0).uniform(1, 3, 12, 12), torch.zeros(1, 1, 12, 12)
    mask[..., 3:6, 4:9] = 1
    with torch.inference_mode():
        made = SelfEnsemble(network.eval())(torch.cat([picture, mask], 1))
    assert torch.equal(made.masked_fill(mask > 0, 0), picture.masked_fill(mask > 0, 0))
    assert not torch.equal(made, picture)


def test_a_picture_made_so_says_so(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2")
    values = (Stream(1).uniform(16, 12, 3) * 255).numpy().astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    plain = restore([tmp_path / "a.png"], run, out=tmp_path / "plain.png").done[0]
    mean = restore([tmp_path / "a.png"], run, out=tmp_path / "mean.png", ensemble=True).done[0]
    assert "self_ensemble" not in read_record(plain)["sampling"]
    assert read_record(mean)["sampling"]["self_ensemble"] is True
    assert "--self-ensemble" in restoring_again(read_record(mean)).split()
    assert np.asarray(Image.open(mean)).shape == (32, 24, 3)
    assert not np.array_equal(np.asarray(Image.open(mean)), np.asarray(Image.open(plain)))


def test_what_draws_is_not_asked_eight_times(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("sr3", 2, network=UNET, steps=1), "x | bicubic:2")
    with pytest.raises(UsageError, match=r"--self-ensemble of .* draws: the mean"):
        restorer_for(run, None, ensemble=True)


def test_what_draws_still_does_where_it_is_reduced(tmp_path: Path) -> None:
    """Its draws begin at a seed, its tiles are small, and no mean is taken of them."""
    run = run_of(tmp_path, built("sr3", 4, 8, network=UNET, steps=1), "x | bicubic:4")
    one, other = (restorer_for(run, "enlarge:2", seed=seed) for seed in (0, 1))
    assert one.network.scale == 2 and one.network.drawn_at == (32, 32)
    assert tiling_for(one.network, 1 << 40).tile <= 256
    x = Stream(0).uniform(1, 3, 8, 8)
    with torch.inference_mode():
        assert not torch.equal(one.network(x), other.network(x))
    assert restorer_for(run, "enlarge:2", fidelity=0.5).network.drawn_at == (32, 32)
    with pytest.raises(UsageError, match="which draws"):
        restorer_for(run, "enlarge:2", ensemble=True)
