"""Folders of small pictures and the same several times as large: what enlarges learns from them as they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import put
from PIL import Image

from zeuxis.api.suited import damaged_as
from zeuxis.cli.options import recipe_of
from zeuxis.data.aligned import enlarges_by, factor_between
from zeuxis.data.library import open_source
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.recipe import load_recipe

SIDES = [(40, 52), (37, 61), (64, 43), (50, 50)]  # rows and columns of the large pictures


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


def pairs(folder: Path, factor: int, hr: str = "HR", lr: str = "LR", tail: str = "", n: int = 4) -> Path:
    """Small pictures of which every pixel is its own, and large ones that repeat each ``factor`` times; where the
    factor does not divide a side, what is left over is white."""
    for k in range(n):
        rows, columns = SIDES[k % len(SIDES)]
        small = np.random.default_rng(k).integers(0, 200, (rows // factor, columns // factor, 3), np.uint8)
        large = np.full((rows, columns, 3), 255, np.uint8)
        whole = small.repeat(factor, 0).repeat(factor, 1)
        large[: whole.shape[0], : whole.shape[1]] = whole
        put(folder / hr / f"{k:04}.png", Image.fromarray(large))
        put(folder / lr / f"{k:04}{tail}.png", Image.fromarray(small))
    return folder


def repeated(source: torch.Tensor, factor: int) -> torch.Tensor:
    return source.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_windows_of_both_show_one_place_in_every_epoch_and_nothing_is_resampled(tmp_path: Path, factor: int) -> None:
    found = open_source(f"{pairs(tmp_path / 'set', factor)} | enlarge:{factor}", 24)
    assert found.spec.shape == (3, 24, 24) and found.spec.source_shape == (3, 24 // factor, 24 // factor)
    places = set()
    for epoch in range(6):
        batch = found.at(epoch).batch(torch.arange(len(found)))
        assert batch.condition.source is not None and float(batch.image.max()) < 1  # never what is left over
        assert torch.equal(batch.image, repeated(batch.condition.source, factor))
        places.add(batch.image.numpy().tobytes())
    assert len(places) == 6


def test_held_out_pictures_are_the_middle_and_pictures_of_one_size_may_be_whole(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "set", 4, hr="train/HR", lr="train/LR")
    pairs(folder, 4, hr="val/HR", lr="val/LR", n=1)
    batch = open_source(f"{folder} | enlarge:4", 16, "val").batch(torch.tensor([0]))
    small = np.asarray(Image.open(folder / "val/LR/0000.png"))  # 10 x 13
    wanted = torch.from_numpy(small[3:7, 4:8].copy()).permute(2, 0, 1) / 127.5 - 1
    assert batch.condition.source is not None and torch.allclose(batch.condition.source[0], wanted)
    assert torch.equal(batch.image, repeated(batch.condition.source, 4))
    whole = open_source(f"{pairs(tmp_path / 'one', 4, n=1)} | enlarge:4")
    assert whole.spec.shape == (3, 40, 52) and whole.spec.source_shape == (3, 10, 13)


@pytest.mark.parametrize(
    ("hr", "lr", "tail"),
    [("HR", "LR", "x3"), ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X3", "x3"), ("GTmod12", "LRbicx3", "")],
)
def test_the_usual_names_are_known(tmp_path: Path, hr: str, lr: str, tail: str) -> None:
    folder = pairs(tmp_path / "set", 3, hr, lr, tail)
    assert enlarges_by(folder) == 3 and len(open_source(f"{folder} | enlarge:3", 24)) == 4


def test_of_several_scales_in_folders_of_their_own_the_one_asked_for_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for factor in (2, 4):
        pairs(folder, factor, "HR", f"LR_bicubic/X{factor}", f"x{factor}")
    found = open_source(f"{folder} | enlarge:4", 24)
    assert len(found) == 4 and {(one.kind, one.fault) for one in found.skipped} == {("beside", False)}
    assert damaged_as(load_recipe("sr-resnet"), str(folder), 4) == f"{folder} | enlarge:4"
    with pytest.raises(
        DataError, match=r"of one of 2 scales: --pair enlarge:4 takes those of X4/|no partner in LR_bic"
    ):
        open_source(folder, 24)


@pytest.mark.parametrize(
    ("picture", "source", "factor"),
    [((500, 480), (125, 120), 4), ((500, 480), (166, 160), 3), ((501, 480), (251, 240), 2), ((9, 9), (9, 9), 1),
     ((500, 480), (200, 192), None), ((500, 480), (125, 160), None), ((500, 480), (124, 120), None)],
)  # fmt: skip
def test_the_factor_is_whole_up_to_a_part_of_a_pixel(
    picture: tuple[int, int], source: tuple[int, int], factor: int | None
) -> None:
    assert factor_between(picture, source) == factor


def test_what_is_no_pair_is_told(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "set", 4)
    chain = f"{folder} | enlarge:4"

    def refused(*words: str, size: int = 24, data: str = chain, kind: type[Exception] = DataError) -> None:
        with pytest.raises(kind) as told:
            open_source(data, size)
        assert all(word in str(told.value) for word in words), told.value

    (folder / "LR/0003.png").rename(folder / "LR/0007.png")
    refused("0003.png (no partner in LR/)", "0007.png (no partner in HR/)")
    (folder / "LR/0007.png").unlink()
    (folder / "HR/0003.png").unlink()
    Image.new("RGB", (20, 16)).save(folder / "LR/0000.png")
    refused("52x40, its source 20x16: 2.6 and 2.5 times as wide and high, and 4 times both is wanted")
    Image.new("RGB", (26, 20)).save(folder / "LR/0000.png")
    refused("52x40, its source 26x20: 2 times as large, and 4 times is wanted (--pair enlarge:2)")
    pairs(folder, 4)
    refused("is less than a window of 40: leave it out, or train with a smaller --size", size=40)
    refused("4 must divide the size: --size 32", size=30, kind=UsageError)
    refused("write enlarge:4", data=f"{folder} | enlarge", kind=UsageError)
    refused("--pair bicubic:4", data="scenes | enlarge:4", kind=Unsupported)
    refused("hr/ the large ones, lr/ the small ones", data=f"{folder / 'HR'} | enlarge:4", kind=Unsupported)
    with pytest.raises(UsageError, match="leave --fit out"):
        open_source(chain, 24, fit="bucket")


def test_restorers_that_enlarge_take_a_folders_own_pairs(tmp_path: Path) -> None:
    folder, recipe = pairs(tmp_path / "set", 4), load_recipe("srgan")
    assert damaged_as(recipe, str(folder)) == damaged_as(recipe, str(folder), 4) == f"{folder} | enlarge:4"
    asked = recipe_of("sr-resnet", data=str(folder))
    assert (asked.data, asked.fit) == (f"{folder} | enlarge:4", "square")
    folder = pairs(tmp_path / "two", 4, n=2)
    assert damaged_as(load_recipe("dncnn"), str(folder)) == str(folder)  # its network keeps the size
    remarks = open_source(folder, 24).remarks
    assert any(re.search("4 times smaller .* --pair enlarge:4", line) for line in remarks)
    equal = pairs(tmp_path / "equal", 1)
    assert enlarges_by(equal) is None and damaged_as(recipe, str(equal)) == str(equal)
