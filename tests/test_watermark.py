"""The watermark: found after mild edits, not found by chance, and put only where it fits."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from zeuxis.api import replay as module
from zeuxis.api.marks import detect_in
from zeuxis.api.model import Model
from zeuxis.api.pictures import Pictures
from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.errors import UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.provenance.asked import Marks, marking
from zeuxis.provenance.detection import FALSE_ALARM, TOO_SMALL, detect, upper_tail
from zeuxis.provenance.record import read_record
from zeuxis.provenance.watermark import BAND, SIDE, WHOLE, marked, marked_rows, pattern
from zeuxis.rng import ImageRng

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def land() -> Picture:
    """A drawn landscape, ``(256, 320, 3)``."""
    image = open_source("terrain", 320, "test").batch(torch.tensor([3])).image[0]
    return ((image.permute(1, 2, 0).numpy()[:256] + 1) * 127.5).round().astype(np.uint8)


def coded(picture: Picture, kind: str, quality: int) -> Picture:
    file = BytesIO()
    Image.fromarray(picture).save(file, kind, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def resized(picture: Picture, share: float) -> Picture:
    height, width = picture.shape[:2]
    size = (round(share * width), round(share * height))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


EDITS: dict[str, Any] = {
    "none": lambda x: x,
    "JPEG 75": lambda x: coded(x, "JPEG", 75),
    "WebP 80": lambda x: coded(x, "WEBP", 80),
    "cut and halved": lambda x: resized(x[19:, 30:], 0.5),
    "enlarged": lambda x: resized(x, 1.5),
    "grey": lambda x: np.asarray(Image.fromarray(x).convert("L")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_it_is_found_after_mild_edits_and_not_without(land: Picture, edit: str) -> None:
    found, without = detect(EDITS[edit](marked(land))), detect(EDITS[edit](land))
    assert found.marked and found.p_value < FALSE_ALARM and not without.marked
    size = {"cut and halved": 0.5, "enlarged": 1.5}.get(edit, 1.0)
    assert found.size == pytest.approx(size, rel=0.01)


def test_it_is_hard_to_see(land: Picture) -> None:
    apart = marked(land).astype(int) - land
    assert 10 * np.log10(255**2 / np.mean(apart**2)) > 40
    assert (apart[..., 0] == apart[..., 1]).mean() > 0.95  # grey, but where a colour is at its end
    flat = np.full((256, 256, 3), 120, np.uint8)
    assert np.abs(marked(flat).astype(int) - flat).mean() < 0.6 * np.abs(apart).mean()


def test_the_pattern_is_the_same_everywhere_and_lies_in_its_band() -> None:
    wave = pattern()
    digest = hashlib.sha256(wave.astype("<i2").tobytes()).hexdigest()
    assert digest == "ead2d81744c5dab0f68a3c7d3eb965f02ea95b6951c1126a6bac136b25127204"
    power = np.abs(np.fft.fft2(wave)) ** 2
    cycles = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    inside = (cycles >= BAND[0]) & (cycles <= BAND[1])
    assert power[inside].sum() > 0.999 * power.sum() and wave.std() == pytest.approx(WHOLE, rel=0.01)


def test_chance_is_as_the_normal_distribution_has_it(land: Picture) -> None:
    """Keys that nobody marked with: of 40 bounds on the chance, few are small, and most are not at the end."""
    small = resized(land, 0.4)
    found = [detect(small, b"another key %d" % k) for k in range(40)]
    assert not any(one.marked for one in found)
    assert sum(one.p_value < 0.05 for one in found) <= 7  # 2 are expected; more than 7 once in a thousand times
    assert 3.5 < np.median([one.score for one in found]) < 6
    assert upper_tail(1.959964) == pytest.approx(0.025, rel=1e-5)


@pytest.mark.parametrize("cuts", [[1, 2, 3, 200], [7], list(range(1, 256)), [253]])
def test_rows_are_marked_as_the_whole_is(land: Picture, cuts: list[int]) -> None:
    whole = np.concatenate(list(marked_rows(np.split(land, cuts))))
    assert np.array_equal(whole, marked(land))


def test_sixteen_bits_one_channel_and_transparency(land: Picture) -> None:
    deep = marked(land.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - marked(land)).max() < 1
    grey = land[..., 1]
    assert np.array_equal(marked(grey), marked(grey[..., None])[..., 0])
    clear = np.dstack([land, grey])
    assert np.array_equal(marked(clear)[..., 3], grey) and np.array_equal(marked(clear)[..., :3], marked(land))


class Plain(System):
    """Draws noise around grey."""

    card = Card("plain", title="Plain", family="test", year=2000, paper="", verbs={"sample"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = Shape(*shape)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> torch.Tensor:
        return rng.uniform(len(rng), *self.shape) / 2 - 0.25


def drawn(side: int, n: int = 1) -> Pictures:
    return Model("plain", Plain(Shape(3, side, side)), {"sha256": "00", "recipe": None, "data": "toy"}).sample(n)


def test_large_pictures_are_marked_and_small_ones_are_not(tmp_path: Path) -> None:
    for side, has in ((256, True), (255, False)):
        made = drawn(side)
        (file,) = made.save(tmp_path / f"{side}.png")
        assert detect_in(file).marked is has and ("watermark" in read_record(file)) is has
        with Image.open(file) as shown:
            assert (shown.tobytes() == made[0].tobytes()) is not has
    (plain,) = drawn(256).save(tmp_path / "plain.png", watermark=False)
    assert not detect_in(plain).marked and "watermark" not in read_record(plain)
    with marking(Marks(watermark=False)):
        (plain,) = drawn(256).save(tmp_path / "plain.png")
    assert not detect_in(plain).marked
    with marking(Marks(watermark=True)), pytest.raises(UsageError, match="128x128 pixels are too few"):
        drawn(128).save(tmp_path / "small.png")


def test_a_marked_picture_is_drawn_again_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model("plain", Plain(Shape(3, 256, 256)), {"sha256": "00", "recipe": None, "data": "toy"})
    monkeypatch.setattr(module, "load", lambda name, device, precision: model)
    for name, watermark in (("marked", None), ("plain", False)):
        (file,) = model.sample(1, seed=3).save(tmp_path / f"{name}.png", watermark=watermark)
        again = tmp_path / f"{name}-again.png"
        assert main(["sample", "--replay", str(file), "--out", str(again)]) == 0
        assert capsys.readouterr().out.endswith(": the same, pixel for pixel\n")
        assert again.read_bytes() == file.read_bytes()
    other = {**read_record(tmp_path / "marked.png"), "watermark": "of old"}
    assert module.replay(other)[1] == ["its watermark is of a kind (of old) that is not made now"]


def test_the_command_tells_which_pictures_bear_it(
    tmp_path: Path, land: Picture, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, picture in (("with.jpg", marked(land)), ("without.png", land), ("small.png", land[:50])):
        Image.fromarray(picture).save(tmp_path / name)
    names = [str(tmp_path / name) for name in ("with.jpg", "without.png", "small.png")]
    assert main(["detect", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "with.jpg: marked by Zeuxis (score " in lines[0] and "without.png: no mark found (score " in lines[1]
    assert lines[2].endswith(TOO_SMALL)
    assert main(["detect", *names, str(tmp_path / "none.png"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["verdict"] for one in found["pictures"]] == ["marked by Zeuxis", "no mark found", TOO_SMALL]
    assert len(found["problems"]) == 1 and "none.png" in found["problems"][0]
    assert main(["detect", str(tmp_path / "none.png")]) == 2
    assert main(["info", names[0], "--json"]) == 0  # the text is lost, the mark is not
    assert json.loads(capsys.readouterr().out)["marks"]["detected"]["verdict"] == "marked by Zeuxis"
    assert main(["info", names[1]]) == 2 and "carries no record" in capsys.readouterr().err
