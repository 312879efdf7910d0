"""What is read off a picture alone: noise, blur, blocks of JPEG, colour; and what `zeuxis restore` proposes by it."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zeuxis.api.restore_look import look
from zeuxis.api.shipped_restorers import SHIPPED
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.degrade import estimate
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import DataError, UsageError
from zeuxis.rng import ImageRng, Stream

N = 4


@pytest.fixture(scope="module")
def scenes() -> Tensor:
    """Pictures ``(4, 3, 192, 192)`` in [-1, 1] with edges, soft shades and the fine grain of a lens's texture."""
    drawn = open_source("scenes-rich", 192).batch(torch.arange(N)).image
    fine = parse_chain("blur:0.8")(Stream(0).normal(N, 1, 192, 192) / 3, ImageRng.counting(0, N))
    return (0.9 * drawn + 0.3 * fine * (drawn.mean(1, keepdim=True) > 0)).clamp(-1, 1)


def seen(scenes: Tensor, chain: str = "") -> Tensor:
    """The same, damaged, in [0, 1] and in 256 levels."""
    damaged = parse_chain(chain)(scenes, ImageRng.counting(0, N)) if chain else scenes
    return ((damaged + 1) * 127.5).round() / 255


@pytest.mark.parametrize("deviation", [0.04, 0.1, 0.2])  # of [-1, 1]: half of it in [0, 1]
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_read_within_a_fifth(scenes: Tensor, deviation: float, channels: int) -> None:
    middling = 0.7 * scenes[:, :channels]  # away from black and white, where noise is cut off
    found = estimate.noise_level(seen(middling, f"noise:{deviation}"))
    assert found.shape == (N,)
    torch.testing.assert_close(found, torch.full((N,), deviation / 2), rtol=0.2, atol=0)


def test_a_picture_without_noise_has_none(scenes: Tensor) -> None:
    assert (estimate.noise_level(seen(scenes)) < estimate.NOISY).all()
    grey = seen(scenes, "grey | noise:0.1").mean(1, keepdim=True).expand(-1, 3, -1, -1)  # scanned: one noise for all
    assert (
        (estimate.noise_level(grey) > 0.8 * 0.05 / 3**0.5) & (estimate.noise_level(grey) < 1.2 * 0.05 / 3**0.5)
    ).all()


def test_blur_is_told_and_grows(scenes: Tensor) -> None:
    levels = [estimate.blur_level(seen(scenes, chain)) for chain in ("", "blur:1", "blur:2", "blur:4")]
    assert all((more > less).all() for less, more in pairwise(levels))
    assert (levels[0] < estimate.BLURRED).all() and (levels[2] > estimate.BLURRED).all()
    assert (estimate.blur_level(seen(scenes, "motion:11")) > levels[0]).all()


def test_blocks_are_told_wherever_their_grid_begins(scenes: Tensor) -> None:
    assert (estimate.block_level(seen(scenes)) < estimate.BLOCKY).all()
    coded = seen(scenes, "jpeg:20")
    for at in ((0, 0), (3, 6)):
        assert (estimate.block_level(coded[:, :, at[0] :, at[1] :]) > estimate.BLOCKY).all()
    smaller = torch.nn.functional.interpolate(coded, (144, 144), mode="bilinear", antialias=True)
    assert (estimate.block_level(smaller) < estimate.block_level(coded)).all()  # a grid of six pixels is none of eight


def test_grey_and_toned_pictures_have_no_colour(scenes: Tensor) -> None:
    assert (estimate.colour_level(seen(scenes)) > estimate.GREY).all()
    for chain in ("grey", "film", "grey | jpeg:50"):
        assert (estimate.colour_level(seen(scenes, chain)) < estimate.GREY).all()
    sepia = seen(scenes, "grey") * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    assert (estimate.colour_level(sepia) < estimate.GREY).all()
    assert (estimate.colour_level(seen(scenes)[:, :1]) == 0).all()


def test_too_few_pixels_tell_nothing(tmp_path: Path) -> None:
    for level in (estimate.noise_level, estimate.blur_level, estimate.block_level):
        with pytest.raises(UsageError, match="too few"):
            level(torch.zeros(1, 3, 40, 20))
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    found = look(tmp_path / "a.png")
    assert found.estimates[0].value is None and [step.task for step in found.steps] == ["enlarge:4"]


# -- zeuxis restore without a task -----------------------------------------------------------------


def picture(scenes: Tensor, chain: str, file: Path, times: int = 1) -> Path:
    one = seen(scenes, chain)[0].permute(1, 2, 0)
    for _ in range(times - 1):  # mirrored, so that there is no seam
        one = torch.cat([torch.cat([one, one.flip(1)], 1), torch.cat([one.flip(0), one.flip(0, 1)], 1)])
    Image.fromarray((one * 255).round().numpy().astype(np.uint8)).save(file)
    return file


@pytest.mark.parametrize(
    ("chain", "times", "wanted"),
    [
        ("", 3, []),
        ("", 1, ["enlarge:4"]),
        ("noise:0.15", 3, ["denoise"]),
        ("grey | blur:3", 2, ["deblur", "colorize", "enlarge:2"]),
        ("grey | jpeg:15", 3, ["jpeg", "colorize"]),
    ],
)
def test_what_was_seen_is_proposed_in_order(
    scenes: Tensor, chain: str, times: int, wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeuxis.api.restore_models.wheel_folder", lambda wheel: None)
    monkeypatch.setattr("zeuxis.pretrained.face_finder._cascades", lambda: None)
    found = look(picture(scenes, chain, tmp_path / "a.png", times))
    assert [step.task for step in found.steps] == wanted
    ships = {one.task for one in SHIPPED.values()}
    assert [step.task for step in found.at_hand] == [task for task in wanted if task in ships]
    for first, then in pairwise(found.steps):  # each goes on with what the one before made
        assert first.command.split("--out ")[1] in then.command


@pytest.mark.parametrize(("spread", "noise", "wanted"), [(0, 0, []), (1.5, 0, []), (0, 9, ["denoise"])])
def test_a_single_colour_is_neither_sharpened_nor_coloured_nor_enlarged(
    spread: float, noise: float, wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("zeuxis.pretrained.face_finder._cascades", lambda: None)
    monkeypatch.setattr("zeuxis.api.restore_models.shipped_for", lambda task: None)
    slope = torch.linspace(-spread, spread, 128).expand(96, 128)
    levels = (128 + slope)[..., None] + noise * Stream(0, "noise").normal(96, 128, 3)
    Image.fromarray(levels.round().numpy().astype(np.uint8)).save(tmp_path / "a.png")
    found = look(tmp_path / "a.png")
    assert found.flat and [step.task for step in found.steps] == wanted
    blur = next(one for one in found.estimates if one.name == "blur")
    assert not blur.wrong and "a single colour" in blur.note
    main(["restore", str(tmp_path / "a.png")])
    assert "it is of a single colour, or nearly" in capsys.readouterr().out


def test_photographs_are_far_from_flat(scenes: Tensor) -> None:
    assert (estimate.contrast_level(seen(scenes, "blur:4")) > 5 * estimate.FLAT).all()
    assert not estimate.contrast_level(torch.full((1, 3, 64, 64), 0.3)).any()


def test_the_command_looks_says_and_does_what_it_can(
    scenes: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zeuxis.pretrained.face_finder._cascades", lambda: None)
    monkeypatch.setattr("zeuxis.api.restore_models.wheel_folder", lambda wheel: None)
    monkeypatch.setattr("zeuxis.api.restore_models.shipped_for", lambda task: None)
    file = picture(scenes, "grey | blur:3", tmp_path / "a.png")
    assert main(["restore", str(file)]) == 1
    said = capsys.readouterr().out
    assert "blur" in said and f"3. zeuxis restore {tmp_path / 'a-colorize.png'} --task enlarge:4" in said
    assert "nothing was restored" in said and [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert main(["restore", str(picture(scenes, "", tmp_path / "b.png", 3)), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["looked"]["steps"] == [] and found["made"] is None
    assert main(["restore", str(tmp_path)]) == 2 and "one picture alone" in capsys.readouterr().err
    assert main(["restore", str(file), "--knob", "steps=2"]) == 2
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(DataError):
        look(tmp_path / "c.png")


def test_what_is_at_hand_is_done(
    scenes: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from restorers import built

    from zeuxis.training.checkpoint import write_model

    run = tmp_path / "run"
    write_model(run / "model", built("sr-resnet", 4, 8, blocks=1, width=4).eval(), {"data": "x | bicubic:4"})
    monkeypatch.setattr("zeuxis.api.restore_models.FIRST_CHOICE", str(run))
    monkeypatch.setattr("zeuxis.api.restore_models.wheel_folder", lambda wheel: run)
    monkeypatch.setattr("zeuxis.pretrained.face_finder._cascades", lambda: None)
    file = picture(scenes, "", tmp_path / "a.png")
    assert main(["restore", str(file)]) == 0
    named = shlex.split(capsys.readouterr().out.partition("1. ")[2].splitlines()[0])[-1]
    assert named == str(tmp_path / "a-enlarge4.png"), "the first command's result, from which the next would begin"
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a-enlarge4.png", "a.png"]
    assert main(["restore", str(file), "--out", str(tmp_path / "b.png")]) == 0
    assert "1 picture, enlarge:4" in capsys.readouterr().out and Image.open(tmp_path / "b.png").size == (768, 768)


def test_what_has_no_meaning_for_a_step_is_not_asked_of_it(
    scenes: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours alone are made, and the lightness stays: how near it is held is a question for the other steps."""
    from restorers import built

    from zeuxis.training.checkpoint import write_model

    write_model(tmp_path / "run" / "model", built("colorizer", width=4).eval(), {"data": "x | grey"})
    run = str(tmp_path / "run")
    monkeypatch.setattr("zeuxis.pretrained.face_finder._cascades", lambda: None)
    monkeypatch.setattr("zeuxis.api.restore_models.wheel_folder", lambda wheel: None)
    monkeypatch.setattr("zeuxis.api.restore_models.shipped_for", lambda task: run if task == "colorize" else None)
    file = picture(scenes, "grey", tmp_path / "a.png", 2)
    assert look(file).steps[0].task == "colorize"
    assert main(["restore", str(file), "--fidelity", "0.5", "--out", str(tmp_path / "b.png")]) == 0
    assert main(["restore", str(file), "--task", "colorize", "--fidelity", "0.5"]) == 2
