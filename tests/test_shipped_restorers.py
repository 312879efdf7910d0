"""Restorers whose weights come with the package: found by task, small, and better than what they are given."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from zeuxis.api.pictures import to_pil
from zeuxis.api.restore_look import look
from zeuxis.api.restore_models import at_hand_for, restorer_for
from zeuxis.api.shipped_restorers import SHIPPED
from zeuxis.catalog.listing import WEIGHTS
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.degrade.language import parse_chain
from zeuxis.degrade.mask import Strokes
from zeuxis.files import file_hash
from zeuxis.metrics.similarity import psnr
from zeuxis.provenance.record import read_record
from zeuxis.rng import ImageRng, Stream

LARGEST = 3_000_000  # bytes of weights


@pytest.fixture
def portraits() -> torch.Tensor:
    """Pictures ``(4, 3, 64, 64)`` of another kind than any restorer here has learnt from."""
    return open_source("faces", 64, "test").batch(torch.arange(4)).image


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_what_its_list_says(name: str, tmp_path: Path) -> None:
    assert (WEIGHTS / name / "model.safetensors").stat().st_size < LARGEST
    mask = tmp_path / "mask.png"
    Image.new("L", (8, 8), 255).save(mask)
    task = f"inpaint:{mask}" if SHIPPED[name].task == "inpaint" else SHIPPED[name].task
    found = restorer_for(name, task)
    assert found.task == SHIPPED[name].task and "CC BY" in found.licence
    assert restorer_for(None, task).sha256 == found.sha256 or at_hand_for(task) != name  # or a wheel's


def test_the_page_names_the_tasks_that_weights_ship_for() -> None:
    page = " ".join((Path(__file__).parents[1] / "docs" / "restore.md").read_text().split())
    *most, last = (f"`{one.task}`" for one in SHIPPED.values())
    assert f"weights ship for {', '.join(most)} and {last} alone" in page


@pytest.mark.parametrize(("levels", "decibels"), [(10, 1.5), (25, 6.0), (50, 8.0)])
def test_noise_of_any_strength_is_removed(portraits: torch.Tensor, levels: int, decibels: float) -> None:
    noisy = parse_chain(f"noise:{2 * levels / 255}")(portraits, ImageRng.counting(0, 4))
    with torch.inference_mode():
        made = 2 * restorer_for(None, "denoise").network((noisy + 1) / 2) - 1
    gained = psnr(made.clamp(-1, 1), portraits) - psnr(noisy, portraits)
    assert float(gained.min()) > decibels


@pytest.mark.parametrize(("deviation", "decibels"), [(1.0, 1.0), (1.5, 1.5), (2.2, 1.5)])
def test_blur_of_any_strength_is_removed(portraits: torch.Tensor, deviation: float, decibels: float) -> None:
    soft = parse_chain(f"blur:{deviation}")(portraits, ImageRng.counting(0, 4))
    with torch.inference_mode():
        made = 2 * restorer_for(None, "deblur").network((soft + 1) / 2) - 1
    gained = psnr(made.clamp(-1, 1), portraits) - psnr(soft, portraits)
    assert float(gained.min()) > decibels


def test_what_a_mask_hides_is_filled_better_than_with_the_mean_of_what_is_near(
    portraits: torch.Tensor, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.png"
    Image.new("L", (64, 64), 255).save(mask)
    hidden = Strokes(2).mask(portraits, Stream(0))
    seen = (portraits + 1) / 2 * (1 - hidden)
    with torch.inference_mode():
        made = restorer_for(None, f"inpaint:{mask}").network(torch.cat([seen + 0.5 * hidden, hidden], 1)).clamp(0, 1)
    near, weight = (F.avg_pool2d(x, 15, 1, 7) for x in (seen, 1 - hidden))  # what is seen, averaged, where any is
    plain = torch.where(hidden > 0, near / weight.clamp(min=1e-3), seen)
    filled = torch.where(hidden > 0, made, seen)
    gained = psnr(2 * filled - 1, portraits) - psnr(2 * plain - 1, portraits)
    assert float(gained.min()) > 1


@pytest.mark.parametrize(("quality", "decibels"), [(10, 0.4), (30, 0.4)])
def test_blocks_of_any_quality_are_removed(portraits: torch.Tensor, quality: int, decibels: float) -> None:
    coded = parse_chain(f"jpeg:{quality}")(portraits, ImageRng.counting(0, 4))
    with torch.inference_mode():
        made = 2 * restorer_for(None, "jpeg").network((coded + 1) / 2) - 1
    gained = psnr(made.clamp(-1, 1), portraits) - psnr(coded, portraits)
    assert float(gained.mean()) > decibels  # of drawings, which it has never seen


@pytest.mark.parametrize(("strength", "decibels"), [(0.5, 0.3), (0.9, -0.6)])
def test_strong_colours_outlive_the_removal_of_blocks(strength: float, decibels: float) -> None:
    """Of which the photographs that it learnt from have few: a model that made whole pictures lost 4 to 10 dB here."""
    patches = 2 * torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(0)) - 1
    vivid = strength * F.interpolate(patches, (64, 64), mode="bilinear")
    coded = parse_chain("jpeg:40")(vivid, ImageRng.counting(0, 6))
    with torch.inference_mode():
        made = 2 * restorer_for(None, "jpeg").network((coded + 1) / 2) - 1
    assert float((psnr(made.clamp(-1, 1), vivid) - psnr(coded, vivid)).min()) > decibels
    spread = [float(picture.std(1).mean()) for picture in (made, vivid)]  # of the three channels of a pixel
    assert spread[0] > 0.95 * spread[1]


def test_a_photograph_is_denoised_without_another_word(tmp_path: Path, portraits: torch.Tensor) -> None:
    noisy = parse_chain("noise:0.2")(portraits[:1], ImageRng([0]))
    to_pil(noisy[0]).save(tmp_path / "old.png")
    assert [step.lacks for step in look(tmp_path / "old.png").steps if step.task == "denoise"] == [None]
    assert main(["restore", str(tmp_path / "old.png"), "--task", "denoise", "--out", str(tmp_path / "new.png")]) == 0
    assert (tmp_path / "new.png").is_file()


def test_all_that_can_be_done_is_done_one_after_the_other(
    tmp_path: Path, portraits: torch.Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zeuxis.api.restore_models.wheel_folder", lambda wheel: None)
    old = tmp_path / "old.png"
    to_pil(parse_chain("jpeg:10")(portraits[:1], ImageRng([0]))[0]).save(old)
    assert main(["restore", str(old), "--out", str(tmp_path / "new.png"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    at_hand = [step["task"] for step in told["looked"]["steps"] if step["lacks"] is None]
    assert [step["task"] for step in told["steps"]] == at_hand and at_hand[0] == "jpeg" and at_hand[-1] == "enlarge:4"
    assert told["made"]["done"] == [str(tmp_path / "new.png")]
    assert Image.open(tmp_path / "new.png").size == (256, 256)
    chain = [old, *(Path(step["done"][0]) for step in told["steps"])]
    for source, made in pairwise(chain):
        assert read_record(made)["condition"]["source"]["sha256"] == file_hash(source)


@pytest.mark.parametrize("scale", [2, 4])
def test_photographs_are_enlarged_without_another_package(
    monkeypatch: pytest.MonkeyPatch, portraits: torch.Tensor, scale: int
) -> None:
    monkeypatch.setattr("zeuxis.api.restore_models.wheel_folder", lambda wheel: None)
    names = {scale: at_hand_for(f"enlarge:{scale}") for scale in (2, 3, 4, 5)}
    assert names == {2: "enlarge-2", 3: "enlarge-4", 4: "enlarge-4", 5: None}
    small = parse_chain(f"bicubic:{scale}")(portraits, ImageRng.counting(0, 4))
    with torch.inference_mode():
        made = 2 * restorer_for(None, f"enlarge:{scale}").network((small + 1) / 2) - 1
    plain = F.interpolate(small, scale_factor=scale, mode="bicubic").clamp(-1, 1)
    gained = psnr(made.clamp(-1, 1), portraits) - psnr(plain, portraits)
    assert float(gained.min()) > 0.5
