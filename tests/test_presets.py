"""Tasks by name: each fits a system that there is, and trains it on the data and the pairs that it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command

from zeuxis.catalog.listing import entries
from zeuxis.cli import train as cli_train
from zeuxis.data.pairing import Sides, parse_pairing
from zeuxis.data.published import PUBLISHED
from zeuxis.degrade.language import parse_chain
from zeuxis.presets import PRESETS, Preset, presets_of
from zeuxis.recipe import Recipe


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_each_is_of_systems_sets_and_sides_that_there_are(preset: Preset) -> None:
    assert set(preset.systems) <= set(entries()) and preset.systems and preset.about
    assert preset.data is None or preset.data in PUBLISHED
    assert preset.data is not None or preset.pair is not None or "folder of pairs" in preset.about
    if preset.pair is not None:
        pairing = parse_pairing(preset.pair)
        if preset.data is None:
            assert pairing is None and parse_chain(preset.pair)
        else:
            assert isinstance(pairing, Sides)
            assert (pairing.image, pairing.source) == PUBLISHED[preset.data].sides  # the other way round than as it is


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that a dry run was asked of."""
    plans: list[Recipe] = []
    monkeypatch.setattr(cli_train, "show_dry_run", lambda plan, *rest: plans.append(plan))
    return plans


@pytest.mark.parametrize(
    ("words", "name", "data", "size"),
    [
        (["pix2pix", "--preset", "map->aerial"], "pix2pix", "maps", 256),
        (["pix2pix", "--preset", "aerial->map", "--size", 128], "pix2pix", "maps | style:aerial->map", 128),
        (["pix2pix", "--preset", "aerial->map", "--data", "OWN"], "pix2pix", "OWN", 256),
        (["pix2pix", "--preset", "grey->colour", "--data", "OWN"], "pix2pix", "OWN | grey", 32),
        (["pix2pix", "--preset", "grey->colour", "--data", "OWN", "--pair", "edges"], "pix2pix", "OWN | edges", 32),
        (["cyclegan", "--preset", "photo->monet"], "cyclegan", "monet2photo | style:photo->monet", 128),
        (["stylegan2", "--preset", "paper", "--data", "OWN"], "stylegan2-paper", "OWN", 1024),
        (["stylegan2-ada", "--preset", "paper", "--data", "OWN"], "stylegan2-ada-paper", "OWN", 256),
        (["pix2pix-layout", "--preset", "paper", "--data", "OWN"], "pix2pix-paper", "OWN", 256),
    ],
)
def test_a_task_is_data_pairs_and_a_size(
    words: list[object], name: str, data: str, size: int, planned: list[Recipe], pairs: Path, command: Command
) -> None:
    given = [str(pairs) if word == "OWN" else word for word in words]
    code, _, said = command("train", *given, "--dry-run")
    assert code == 0, said
    (plan,) = planned
    assert (plan.name, plan.data, plan.size) == (name, data.replace("OWN", str(pairs)), size)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of two pairs."""
    from PIL import Image

    for part in ("input", "target"):
        (tmp_path / "own" / part).mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (16, 16), (k, 0, 0)).save(tmp_path / "own" / part / f"{k}.png")
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pix2pix", "--preset", "map-aerial"), "unknown preset of 'pix2pix' 'map-aerial': did you mean map->aerial"),
        (("pix2pix", "--preset", "grey->colour"), "without colour become them again: give --data as well"),
        (("vae-gan", "--preset", "map->aerial"), "'vae-gan' has no presets"),
        (("pix2pix", "--preset", "map->aerial"), "zeuxis data maps --fetch"),
    ],
)
def test_what_a_task_lacks_is_said(
    words: tuple[str, ...], told: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = command("train", *words)
    assert code in (1, 2) and told in said, said


def test_a_task_may_say_what_is_obeyed(planned: list[Recipe], pairs: Path, command: Command) -> None:
    """A recipe of another task of the system's obeys no mask, without which nothing can be extended."""
    code, _, said = command("train", "palette-color", "--preset", "panorama", "--data", str(pairs), "--dry-run")
    assert code == 0, said
    (plan,) = planned
    assert plan.model["condition"] == "mask" and plan.data == f"{pairs} | uncrop:0.5"


def test_a_run_that_has_begun_takes_no_task(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("train", "gaussian", "--data", "digits", "--out", "run")[0] == 0
    code, _, said = command("train", "run", "--preset", "paper")
    assert code == 2 and "has begun: leave it out" in said


def test_info_lists_them(command: Command) -> None:
    _, out, _ = command("info", "cyclegan")
    assert all(f"'{preset.name}': {preset.about}" in out for preset in presets_of("cyclegan"))
