"""Colours of a photograph are found in the whole of it, reduced, and lie upon its own lightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from restorers import built
from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.api.restore import restore
from zeuxis.api.restore_measure import measure_restorer
from zeuxis.api.restore_models import restorer_for
from zeuxis.nn.lab import lab_to_rgb, rgb_to_lab
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.streamed_tiles import Place, Tiling
from zeuxis.nn.whole_colours import coloured_rows, reduced, reduced_size, rows_between
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import write_model


class Mood(PictureNetwork):
    """Colours all that it sees alike, by how bright that is as a whole."""

    channels, scale, reach, floats = 3, 1, 1000, 8

    def forward(self, x: Tensor) -> Tensor:
        self.saw = tuple(x.shape[2:])
        a = 20 if float(x.mean()) > 0.5 else -20
        light = rgb_to_lab(x)[:, :1]
        return lab_to_rgb(torch.cat([light, torch.full_like(light, a), torch.zeros_like(light)], 1))


def grey(height: int, width: int) -> Tensor:
    """Dark at the left, and brighter to the right: 0.55 in the mean."""
    across = torch.linspace(0.3, 0.8, width).expand(1, 3, height, width)
    fine = (Stream(0).uniform(1, 1, height, width) - 0.5) * 0.04
    return across + fine


def coloured(network: PictureNetwork, learnt: tuple[int, int], x: Tensor) -> Tensor:
    def read(place: Place) -> Tensor:
        top, bottom, left, right = place
        return x[..., top:bottom, left:right]

    seen: list[Place] = []
    tiling = Tiling(tile=64, margin=8)
    rows = coloured_rows(network, learnt, read, *x.shape[2:], tiling, lambda place, before, after: seen.append(place))
    made = torch.cat([*rows], 2)
    assert [place[0] for place in seen[1:]] == [place[1] for place in seen[:-1]]  # one after another
    return made


def test_a_large_picture_is_coloured_as_a_whole() -> None:
    x, network = grey(150, 200), Mood()
    lab = rgb_to_lab(coloured(network, (32, 32), x))
    assert network.saw == (32, 43)
    torch.testing.assert_close(lab[:, 1], torch.full_like(lab[:, 1], 20), atol=0.05, rtol=0)  # no seam, no other mood
    torch.testing.assert_close(lab[:, :1], rgb_to_lab(x)[:, :1], atol=0.05, rtol=0)  # its own lightness, fine as it is


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (20, 31), (300, 7), (70, 129)])
def test_pictures_of_any_size_are_coloured(size: tuple[int, int]) -> None:
    assert coloured(Mood(), (16, 16), grey(*size)).shape == (1, 3, *size)


def test_a_picture_is_reduced_and_never_enlarged() -> None:
    assert reduced_size(1080, 1920, (64, 64)) == (64, 114) and reduced_size(1920, 1080, (64, 64)) == (114, 64)
    assert reduced_size(40, 64, (64, 64)) == (40, 64)
    x = grey(150, 200)
    whole = interpolate(x, (32, 43), mode="bilinear", antialias=True)
    torch.testing.assert_close(reduced(lambda p: x[..., p[0] : p[1], p[2] : p[3]], 150, 200, 32, 43), whole)
    tall = interpolate(whole, (150, 43), mode="bilinear", align_corners=False)
    torch.testing.assert_close(rows_between(whole, 150, 60, 90), tall[:, :, 60:90], atol=1e-5, rtol=0)


def test_a_run_that_learnt_whole_pictures_colours_them_whole(tmp_path: Path) -> None:
    system = built("colorizer", side=16, width=4).eval()
    write_model(tmp_path / "run" / "model", system, {"data": "photos | grey", "fit": "crop"})
    write_model(tmp_path / "patches" / "model", system, {"data": "photos | grey", "fit": "patch"})
    assert restorer_for(tmp_path / "run", None).colours_at == (16, 16)
    assert restorer_for(tmp_path / "patches", None).colours_at is None  # its colours are those of fine texture
    values = (grey(90, 130)[0, 0] * 255).round().numpy().astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    (made,) = restore([tmp_path / "a.png"], tmp_path / "run").done
    colours = torch.from_numpy(np.asarray(Image.open(made)).astype(np.float32) / 255).permute(2, 0, 1)[None]
    again = rgb_to_lab(colours)[0, 0]
    given = rgb_to_lab(torch.from_numpy(values / 255.0).float().expand(1, 3, -1, -1))[0, 0]
    assert float((again - given).abs().median()) < 0.5  # but for colours that no screen shows
    measured = measure_restorer([made], tmp_path / "run", "grey")[0]
    assert set(measured.restored) >= {"psnr", "psnr-y"} and measured.restored["psnr-y"] > 30
