"""Panoramas: a picture extended at its sides, again and again, by a model that extends pictures."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image
from restorers import UNET, built
from torch import Tensor

from zeuxis.api.restore import restore
from zeuxis.api.restore_measure import measure_restorer
from zeuxis.api.restore_models import restorer_for
from zeuxis.api.restore_panorama import Widening, alpha_beside, widened, widening_of
from zeuxis.api.restore_picture import OpenedPicture
from zeuxis.errors import DataError, UsageError, ZeuxisError
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.pretrained.restorer import Restorer, extended_by
from zeuxis.provenance.record import read_record
from zeuxis.training.checkpoint import write_model


class Continues(PictureNetwork):
    """Makes what is hidden of a picture the column that is nearest to it; keeps what it was shown, and its seeds."""

    channels, scale, reach, floats, masked, drawn_at = 3, 1, 8, 8, True, (8, 8)

    def __init__(self, seen: list[tuple[int, Tensor]], seed: int = 0) -> None:
        super().__init__()
        self.seen, self.seed = seen, seed

    def seeded(self, seed: int) -> PictureNetwork:
        return Continues(self.seen, seed)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((self.seed, x))
        hidden = x[0, 3, 0] > 0
        known = (~hidden).nonzero().flatten()
        nearest = [int(known[(known - k).abs().argmin()]) for k in range(x.shape[3])]
        return x[:, :3, :, nearest]


def widener(seen: list[tuple[int, Tensor]], factor: float, seed: int = 0) -> Restorer:
    return Restorer("x", Continues(seen), "panorama", "", "", seed=seed, extends=0.5, factor=factor)


def noise(height: int, width: int, channels: int = 3) -> OpenedPicture:
    return OpenedPicture(np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8))


def made_by(restorer: Restorer, given: OpenedPicture, name: str = "a") -> tuple[Widening, np.ndarray]:
    how = widening_of(given, restorer)
    return how, widened(given, how, restorer, name, "cpu", lambda *_: None, lambda _: None)


def test_sides_grow_by_windows_half_of_which_are_known() -> None:
    """At the model's own height what is drawn comes out as it is: the edges, repeated; each window has its own seed."""
    seen: list[tuple[int, Tensor]] = []
    given = noise(8, 10)
    how, made = made_by(widener(seen, 2.5), given)
    assert (how.left, how.right, how.whole) == (7, 8, 25) and made.shape == (8, 25, 3)
    assert np.array_equal(made[:, 7:17], given.colours)
    assert np.array_equal(made[:, :7], given.colours[:, :1].repeat(7, 1))
    assert np.array_equal(made[:, 17:], given.colours[:, -1:].repeat(8, 1))
    assert [tuple(x.shape) for _, x in seen] == [(1, 4, 8, 8)] * 4  # two at the right, two at the left
    first, second, third, _ = (x for _, x in seen)
    assert torch.equal(first[0, :3, :, :4] * 255, torch.from_numpy(given.colours[:, -4:]).permute(2, 0, 1).float())
    assert torch.equal(second[0, :3, :, :4], first[0, :3, :, 3:4].expand(-1, -1, 4))  # what was drawn before is known
    assert first[0, 3, 0].tolist() == [0] * 4 + [1] * 4 and third[0, 3, 0].tolist() == [1] * 4 + [0] * 4
    assert len({seed for seed, _ in seen}) == 4
    seeds = {}
    for name, seed in (("a", 0), ("a", 1), ("b", 0)):
        again: list[tuple[int, Tensor]] = []
        made_by(widener(again, 2.5, seed), given, name)
        seeds[name, seed] = [s for s, _ in again]
    assert seeds["a", 0] == [seed for seed, _ in seen] and len({s for each in seeds.values() for s in each}) == 12


@pytest.mark.parametrize(("height", "width"), [(40, 30), (4, 9), (16, 5), (1, 3)])
def test_a_picture_of_any_height_is_kept_and_its_sides_fit(height: int, width: int) -> None:
    """Each side continues the column that it begins at, at the model's height."""
    column = np.linspace(0, 255, height)[:, None, None]
    given = OpenedPicture(np.broadcast_to(column, (height, width, 3)).astype(np.uint8))
    how, made = made_by(widener([], 3), given)
    assert made.shape == (height, 3 * width, 3) and np.array_equal(made[:, how.left : how.left + width], given.colours)
    assert np.abs(made.astype(int) - made[:, how.left : how.left + 1]).max() <= 20  # what is enlarged is softer


def test_grey_16_bits_and_transparency_stay() -> None:
    deep = replace(noise(8, 8, 1), colours=np.arange(64, dtype=np.uint16).reshape(8, 8, 1) * 1000)
    _, made = made_by(widener([], 2), deep)
    assert made.dtype == np.uint16 and np.array_equal(made[:, 4:12], deep.colours)
    clear = replace(deep, alpha=np.zeros((8, 8), np.uint16))
    alpha = alpha_beside(clear, widening_of(clear, widener([], 2)))
    assert (
        alpha is not None and (alpha[:, 4:12] == 0).all() and (alpha[:, :4] == 65535).all() and alpha.shape == (8, 16)
    )


def test_what_is_too_large_or_too_flat_is_refused_before_anything_is_drawn() -> None:
    for given, factor, error, message in (
        (noise(8, 10), 1.01, UsageError, "adds nothing to a picture of 10 pixels"),
        (noise(1, 700), 8, UsageError, "at most 256 are drawn"),
        (noise(1, 700), 1.01, UsageError, "too flat"),
        (noise(4000, 4000, 1), 8, DataError, "128 megapixels"),
    ):
        with pytest.raises(error, match=message):
            widening_of(given, widener([], factor))
    grey = Continues([])
    grey.channels = 1  # type: ignore[misc]
    with pytest.raises(UsageError, match="draws grey pictures"):
        widening_of(noise(8, 8), replace(widener([], 2), network=grey))


def test_the_share_that_a_model_draws_is_read_off_its_data() -> None:
    assert extended_by("scenes | uncrop:0.25") == 0.25 and extended_by("a | bicubic:2 | uncrop") == 0.5
    assert extended_by("scenes | strokes:3") is None and extended_by("uncrop") is None
    assert extended_by("scenes | uncrop:1") is None  # it never saw anything to continue


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(noise(18, 26).colours).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def run_of(folder: Path, name: str, data: str, **model: object) -> Path:
    write_model(folder / name / "model", built("palette", network=UNET, steps=2, **model).eval(), {"data": data})
    return folder / name


def test_the_command(photo: Path, tmp_path: Path, command: Command) -> None:
    """Palette draws; the picture lies in the middle, and the record gives the command that makes the same file."""
    run = run_of(tmp_path, "run", "scenes | uncrop:0.5", condition="mask")
    words = ["restore", photo, "--model", run, "--task", "panorama:2", "--knob", "steps=1"]
    code, said, noted = command(*words, "--seed", 3, "--page", "--out", tmp_path / "b.png")
    assert code == 0 and "panorama:2" in said and "drawn 16 pixels high" in noted, noted
    made = np.asarray(Image.open(tmp_path / "b.png"))
    assert made.shape == (18, 52, 3) and np.array_equal(made[:, 13:39], np.asarray(Image.open(photo)))
    record = read_record(tmp_path / "b.png")
    assert record["seed"] == 3 and record["synthetic"] and "from column 13 on" in record["disclosure"]
    assert record["panorama"] == {"left": 13, "right": 13, "window": [16, 16], "step": 8}
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "--seed 3" in page and Image.open(next((tmp_path / "b-files").glob("*.before.png"))).size == (52, 18)
    code, _, why = command("sample", "--replay", tmp_path / "b.png", "--out", tmp_path / "c.png")
    assert code != 0 and "zeuxis restore a.png" in why
    told = shlex.split(why[why.index("zeuxis restore a.png") : why.index(" makes it again")])
    assert command("restore", photo, *told[3:], "--out", tmp_path / "c.png")[0] == 0
    assert (tmp_path / "c.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    (other,) = restore([photo], run, "panorama:2", tmp_path / "d.png", knobs=["steps=1"], seed=4).done
    assert not np.array_equal(made, np.asarray(Image.open(other)))


def test_what_makes_no_panorama_is_answered(photo: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path, "run", "scenes | uncrop:0.5", condition="mask")
    fills = run_of(tmp_path, "fills", "scenes | strokes:3", condition="mask")
    cleans = run_of(tmp_path, "cleans", "scenes | jpeg:10")
    for model, task, message in (
        (None, "panorama:3", "zeuxis train palette --preset panorama"),
        (run, "panorama", "write panorama:3"),
        (run, "panorama:1", "write panorama:3"),
        (run, "panorama:9", "8 at most"),
        (run, "panorama:nan", "write panorama:3"),
        (fills, "panorama:3", "learnt to fill what is hidden inside a picture, not to extend one"),
        (cleans, "panorama:3", "learnt to do jpeg, not to extend one: zeuxis train palette --preset"),
    ):
        with pytest.raises(ZeuxisError, match=message):
            restore([photo], model, task)
    with pytest.raises(UsageError, match="in windows as the model learnt"):
        restore([photo], run, "panorama:2", tile=64)
    with pytest.raises(UsageError, match="nothing to compare"):
        measure_restorer([photo], run, "noise:0.1", "panorama:2")
    write_model(tmp_path / "plain" / "model", built("sr-resnet", blocks=1, width=4).eval(), {"data": "x | blur:2"})
    with pytest.raises(UsageError, match="draws nothing"):
        restorer_for(tmp_path / "plain", None, seed=1)
