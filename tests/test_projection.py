"""Projection of a picture into a generator's latent space: the search, what is written, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Command
from PIL import Image
from test_latents import TINY, digits_pca, model_in
from torch import Tensor

from zeuxis.api.directions import Directions, find, moved
from zeuxis.api.latents import Latents
from zeuxis.api.model import Model, load
from zeuxis.api.project import Projected, project
from zeuxis.api.replay import likeness, replay
from zeuxis.api.walk import walk
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.editing.projection import Projecting, projected
from zeuxis.errors import TrainingStopped, Unsupported, UsageError
from zeuxis.nn.within import within
from zeuxis.provenance.record import read_record
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.training.checkpoint import write_model


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeuxis.api.project.MEAN_OF", 64)


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_in(tmp_path_factory.mktemp("styles"), "stylegan2", Shape(3, 16, 16), dict(TINY))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A generator that has learnt nothing, with weights large enough for its pictures to differ."""
    folder = tmp_path_factory.mktemp("plain")
    system = build("ns-gan", DataSpec(shape=Shape(1, 8, 8)), {"nz": 6, "width": 4}, 0).eval()
    with torch.no_grad():
        for weights in system.get_submodule("generator").parameters():
            weights.mul_(8)
    write_model(folder / "model", system, {"data": "toy"})
    return load(folder)


def drawn_to(path: Path, model: Model, seed: int) -> Path:
    model.sample(1, seed=seed).save(path)
    return path


# -- the search ---------------------------------------------------------------------------------------


def test_the_latent_of_a_linear_generator_is_found_and_what_it_is_told_stays() -> None:
    a = Stream(3, "generator").normal(12, 6)
    wanted = Stream(4, "latent").normal(6)
    wanted[4:] = torch.tensor([0.0, 1.0])

    def search(seed: int, steps: int) -> Tensor:
        mean = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        aim = a @ wanted
        return projected(
            lambda z: a @ z, lambda x: (x - aim).square().mean(), mean, 2.0, Stream(seed), Projecting(steps), told=2
        )

    assert torch.allclose(search(0, 200), wanted, atol=0.05)
    assert torch.equal(search(0, 5), search(0, 5)) and not torch.equal(search(0, 5), search(1, 5))


def test_what_is_too_bright_at_first_is_found_all_the_same() -> None:
    """Under a plain clamp nothing would have a gradient, and the search would stay where it began."""
    aim = torch.tensor([0.5, -0.5, 1.0])
    started = torch.tensor([3.0, 3.0, 3.0])

    def search(decode: Callable[[Tensor], Tensor]) -> Tensor:
        return projected(decode, lambda x: (x - aim).square().mean(), started, 0.0, Stream(0), Projecting(100))

    assert torch.equal(search(lambda z: z.clamp(-1, 1)), started)
    assert torch.allclose(within(search(within)), aim, atol=0.05)


def test_pictures_beyond_their_range_are_only_led_back_into_it() -> None:
    x = torch.tensor([-2.0, -2.0, 0.3, 2.0, 2.0], requires_grad=True)
    y = within(x)
    assert y.tolist() == pytest.approx([-1.0, -1.0, 0.3, 1.0, 1.0])
    y.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))
    assert x.grad is not None and x.grad.tolist() == [0.0, -1.0, 1.0, 1.0, 0.0]


def test_rate_and_noise_are_those_of_appendix_d() -> None:
    how = Projecting(1000)
    assert how.rate_at(24) == pytest.approx(0.05) and how.rate_at(49) == how.rate_at(700) == pytest.approx(0.1)
    assert how.rate_at(875) == pytest.approx(0.05) and how.rate_at(999) < 1e-5
    assert how.noise_at(0) == 0.05 and how.noise_at(375) == pytest.approx(0.05 / 4) and how.noise_at(750) == 0
    assert Projecting(1).rate_at(0) == pytest.approx(0.1)
    with pytest.raises(UsageError, match="0 steps"):
        Projecting(0)


def test_a_distance_that_is_not_finite_ends_the_search() -> None:
    with pytest.raises(TrainingStopped, match="not finite at step 0"):
        projected(lambda z: z * torch.nan, lambda x: x.sum(), torch.zeros(2), 1.0, Stream(0))


# -- of a picture -------------------------------------------------------------------------------------


def test_a_picture_that_the_model_drew_is_found_again(plain: Model, tmp_path: Path) -> None:
    own = drawn_to(tmp_path / "own.png", plain, 5)
    found = project(plain, own, steps=80)
    assert found.before.pixels > 1e-3 and found.after.features is None
    assert found.after.pixels < 0.05 * found.before.pixels
    few = project(plain, own, steps=3)
    assert torch.equal(few.latent, project(plain, own, steps=3).latent)
    assert not torch.equal(few.latent, project(plain, own, steps=3, seed=1).latent)
    assert all(p.grad is None for p in plain.system.parameters())


def test_of_styles_one_code_serves_all_layers_unless_each_may_have_its_own(styles: Model, tmp_path: Path) -> None:
    own = drawn_to(tmp_path / "own.png", styles, 2)
    one = project(styles, own, steps=5)
    assert torch.equal(one.latent, one.latent[:1].expand_as(one.latent)) and one.after.pixels < one.before.pixels
    each = project(styles, own, steps=5, each_layer=True)
    assert not torch.allclose(each.latent, each.latent[:1].expand_as(each.latent))


def test_the_judge_of_the_data_compares_where_there_is_one(tmp_path: Path) -> None:
    model = model_in(tmp_path, "ns-gan", Shape(1, 8, 8), {"nz": 6, "width": 4}, data="digits")
    own = drawn_to(tmp_path / "own.png", model, 1)
    found = project(model, own, steps=5)
    assert found.features == "features-digits" and found.after.features is not None
    assert project(model, own, steps=5, features="pixels").after.features is None
    with pytest.raises(Unsupported, match="compares no pictures in grey"):
        project(model, own, steps=5, features="cvae")


def test_the_command_writes_the_picture_the_page_and_a_latent_to_walk_to(
    tmp_path: Path, plain: Model, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = drawn_to(tmp_path / "own.png", plain, 5)
    code, out, _ = command("project", plain.name, own, "--steps", 12, "--out", "found.png", "--seed", 3)
    latent, page = tmp_path / "found.safetensors", tmp_path / "found-beside.png"
    assert code == 0 and "dB from own.png" in out and "--seeds 1 --latents found.safetensors" in out
    record = read_record(tmp_path / "found.png")
    assert record["synthetic"] is True
    assert "given" in read_record(page)["disclosure"]
    drawn, differs = replay(record)
    with Image.open(tmp_path / "found.png") as before, Image.open(page) as both:
        assert likeness(drawn[0], before).identical and not differs
        assert both.width > 1.9 * both.height
    held = Directions.read(latent, plain)
    assert held.kind == "latents" and held.found["by"] == "projection" and held.found["steps"] == 12
    known = Latents(plain)
    (place,) = Directions.latents_of(latent, known)
    assert torch.equal(known.image(place), drawn.tensor[0])
    assert len(walk(plain, seeds=[1], latents=latent, steps=2).shown) == 3
    assert len(walk(plain, latents=[latent, latent, latent], steps=2).shown) == 5
    written = [path.read_bytes() for path in (tmp_path / "found.png", latent, page)]
    code, out, _ = command("project", plain.name, own, "--steps", 12, "--out", "found.png", "--seed", 3, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["features"] == "pixels" and facts["after"]["pixels"] < facts["before"]["pixels"]
    assert [path.read_bytes() for path in (tmp_path / "found.png", latent, page)] == written


def test_what_was_found_is_moved_along_a_direction(tmp_path: Path, plain: Model, command: Command) -> None:
    own = drawn_to(tmp_path / "own.png", plain, 5)
    found = project(plain, own, steps=3)
    latent = found.held().save(tmp_path / "found.safetensors")
    along = find(plain, "pca", 1, samples=40).save(tmp_path / "along.safetensors")
    there, away = (moved(plain, 1, 0, [f"{along}*{by}"], latents=[latent]) for by in (0, 2))
    assert torch.equal(there.tensor, found.pictures.tensor) and not torch.equal(away.tensor, there.tensor)
    assert torch.equal(replay(away.records[0])[0].tensor, away.tensor)
    line = ("sample", plain.name, "--latents", latent, "--direction", f"{along}*2", "--out", tmp_path / "away.png")
    assert command(*line)[0] == 0
    with Image.open(tmp_path / "away.png") as image:
        assert likeness(away[0], image).identical
    code, _, err = command(*line, "-n", 2)
    assert code == 2 and "pictures of your own are moved, and none is drawn" in err
    assert command(*line[:4], "--out", tmp_path / "there.png")[0] == 0
    with Image.open(tmp_path / "there.png") as image:
        assert likeness(there[0], image).identical
    code, _, err = command("walk", plain.name, "--picture", own, "--picture", own)
    assert code == 2 and f"zeuxis project {plain.name} PICTURE" in err and "--latents" in err


def test_a_model_that_is_told_a_class_is_told_it(tmp_path: Path) -> None:
    settings = {"nz": 8, "width": 2, "multiples": (2, 2, 1), "attention": (), "condition": "label"}
    like = DataSpec(Shape(3, 16, 16), class_names=("a", "b", "c"))
    model = model_in(tmp_path, "sagan", Shape(3, 16, 16), settings, like=like)
    own = tmp_path / "own.png"
    model.sample(1, seed=0, label=1).save(own)
    with pytest.raises(UsageError, match="say which label the picture has"):
        project(model, own, steps=2)
    found: Projected = project(model, own, steps=2, label="b")
    assert found.latent[-model.system.told_in_latent :].tolist() == [0, 1, 0]


def test_what_cannot_be_projected_says_what_it_lacks(plain: Model, tmp_path: Path, command: Command) -> None:
    own = drawn_to(tmp_path / "own.png", plain, 5)
    with pytest.raises(Unsupported, match="'pixel-cnn' decodes no latents"):
        project(load("pixel-cnn"), own)
    coder, _ = digits_pca(tmp_path / "pca")
    assert project(coder, own, steps=2).after.pixels > 0  # it draws latents too
    rebuilder = model_in(tmp_path / "ae", "autoencoder", Shape(1, 8, 8), {})
    with pytest.raises(Unsupported, match=r"draws no latents.*zeuxis encode PICTURE --with"):
        project(rebuilder, own)
    with pytest.raises(Unsupported, match="has no style space"):
        project(plain, own, each_layer=True)
    with pytest.raises(UsageError, match="would be written over your picture"):
        project(plain, own, out=own)
    (tmp_path / "kept.safetensors").write_bytes(b"weights")
    with pytest.raises(UsageError, match="holds no directions"):
        project(plain, own, out=tmp_path / "kept.png")
    code, _, err = command("project", plain.name, tmp_path / "none.png", "--out", tmp_path / "x.png")
    assert code == 2 and "none.png" in err
