"""Latent tools: walks, mixing, directions, arithmetic and breeding, and that each of their pictures is replayed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image, ImageSequence
from safetensors.torch import load_file, save_file
from torch import Tensor

from zeuxis.api import breed as breeding
from zeuxis.api.arithmetic import arithmetic, parse
from zeuxis.api.directions import Directions, find, found_on, moved
from zeuxis.api.evaluate import evaluate
from zeuxis.api.latent_steps import Crossed, Drawn, Moved, lineage
from zeuxis.api.latents import Latents, made_again, read_steps
from zeuxis.api.mix import mix
from zeuxis.api.model import Model, load
from zeuxis.api.moving import record_in, writer_of
from zeuxis.api.neighbours import neighbours
from zeuxis.api.pictures import Pictures
from zeuxis.api.replay import replay
from zeuxis.api.runs import train
from zeuxis.api.walk import numbers, walk
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.data.library import data_of, open_source
from zeuxis.data.source import Source
from zeuxis.editing.breeding import choose_parents, crossed
from zeuxis.editing.directions import explaining, in_closed_form, principal
from zeuxis.editing.paths import between, stops
from zeuxis.editing.space import DecodedSpace, must_be_continuous
from zeuxis.editing.styles import layers_of, mixed
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError, WeightsError
from zeuxis.fetching import Unasked, require_asked
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import read_record
from zeuxis.recipe import load_recipe
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.adversarial.cgan import CGAN
from zeuxis.training.checkpoint import write_model

TINY = {"nz": 8, "width": 8, "mapping": 2, "channel_base": 64, "channel_max": 8}


def model_in(
    folder: Path,
    system: str,
    shape: Shape,
    settings: dict[str, object],
    data: str = "toy",
    like: DataSpec | None = None,
) -> Model:
    """A model that has learnt nothing, of data ``like`` those."""
    spec = DataSpec(shape=shape) if like is None else replace(like, shape=shape)
    write_model(folder / "model", build(system, spec, settings, 0).eval(), {"data": data})
    return load(folder)


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_in(tmp_path_factory.mktemp("styles"), "stylegan2", Shape(3, 16, 16), dict(TINY))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_in(tmp_path_factory.mktemp("plain"), "ns-gan", Shape(1, 8, 8), {"nz": 6, "width": 2})


def digits_pca(folder: Path) -> tuple[Model, Source]:
    """A model that encodes, and the digits that it learnt."""
    digits = open_source("digits", 8)
    pca = build("pca", digits.spec, {"components": 8})
    pca.fit([digits.batch(torch.arange(100))])
    write_model(folder / "model", pca.eval(), {"data": "digits"})
    return load(folder), digits


def frames_of(moving: Image.Image) -> int:
    return sum(1 for _ in ImageSequence.Iterator(moving))


def drawn(n: int, width: int, seed: int = 0) -> Tensor:
    return Stream(seed, "latents").normal(n, width)


ADVERSARIES: dict[str, tuple[int, dict[str, object]]] = {  # classes, settings
    "sagan": (3, {"nz": 8, "width": 2, "multiples": (2, 2, 1), "attention": (), "condition": "label"}),
    "biggan": (3, {"nz": 9, "shared": 4, "width": 2, "multiples": (2, 2, 1), "attention": ()}),
    "cgan": (3, {"network": "lucic", "nz": 8, "width": 2}),
    "r3gan": (3, {"nz": 8, "widths": (8, 8, 8), "blocks": 1, "group": 4, "condition": "label"}),
    "progan": (0, {"nz": 8, "channel_base": 64, "channel_max": 8, "grow": 0.0}),
    "stylegan": (0, {**TINY, "start": 16}),
    "stylegan2": (0, dict(TINY)),
    "stylegan2-ada": (0, dict(TINY)),
    "stylegan3-t": (0, {**TINY, "depth": 4, "judge_base": 64, "judge_max": 8}),
    "stylegan3-r": (3, {**TINY, "depth": 4, "judge_base": 64, "judge_max": 8, "condition": "label"}),
}


@pytest.mark.parametrize("system", ADVERSARIES)
def test_every_adversary_draws_latents_that_are_walked_and_have_directions(tmp_path: Path, system: str) -> None:
    classes, settings = ADVERSARIES[system]
    like = DataSpec(Shape(3, 16, 16), class_names=tuple(map(str, range(classes))))
    model = model_in(tmp_path, system, Shape(3, 16, 16), settings, like=like)
    told = {"label": [0, 2]} if classes else {}
    how = Sampling(**({"noise": "constant"} if "noise" in model.knobs else {}))
    latents = model.draw_latents(model.condition(2, **told), [4, 5], how)
    drawn_whole = model.sample(2, 4, knobs=how, **told).tensor
    assert torch.allclose(model.decode_images(latents), drawn_whole, atol=1e-5)
    if system in (
        "sagan",
        "biggan",
        "cgan",
        "r3gan",
    ):  # what it was told comes last, and is held when normal numbers are moved
        assert 0 < model.system.told_in_latent < latents.shape[1]
    walked = walk(model, seeds=[4, 5], steps=2, how=how, **told).pictures.tensor
    assert len(walked) == 3 and torch.allclose(walked[::2], drawn_whole, atol=1e-3)
    apart = (drawn_whole[1] - drawn_whole[0]).abs().max()
    assert apart > 0 and (walked[1] - walked[0]).abs().max() > 0.05 * apart
    found = find(model, "pca", 2, samples=16)
    assert len(found.vectors) == 2 and found.vectors.isfinite().all()
    if "style" in system:
        assert find(model, "sefa", 2).vectors.isfinite().all()
    else:
        with pytest.raises(Unsupported, match="find its directions by pca"):
            find(model, "sefa", 2)


# -- procedures ---------------------------------------------------------------------------------------


def test_a_spherical_way_keeps_to_the_sphere_and_what_is_told_goes_straight() -> None:
    a, b = (x / x.norm() for x in drawn(2, 32))
    middle = between(a, b, 0.5, "spherical")
    assert float(middle.norm()) == pytest.approx(1, abs=1e-5)
    assert float(between(a, b, 0.5, "linear").norm()) < 0.95
    assert torch.allclose(middle @ a, middle @ b, atol=1e-6)
    for t, end in ((0.0, a), (1.0, b)):
        assert torch.allclose(between(a, b, t, "spherical"), end, atol=1e-6)
    assert torch.allclose(between(a, -a, 0.25, "spherical"), 0.5 * a, atol=1e-6)  # no one great circle: straight
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    told = between(torch.cat([a, one]), torch.cat([b, other]), 0.25, "spherical", told=2)
    assert torch.equal(told[-2:], torch.tensor([0.75, 0.25]))
    assert torch.allclose(told[:-2], between(a, b, 0.25, "spherical"))


def test_a_loop_has_no_end_and_no_picture_twice() -> None:
    way, loop = stops(3, 4, loop=False), stops(3, 4, loop=True)
    assert len(way) == 9 and (way[-1].first, way[-1].second, way[-1].t) == (1, 2, 1.0)
    assert len(loop) == 12 and (loop[-1].first, loop[-1].second, loop[-1].t) == (2, 0, 0.75)
    assert len(set(loop)) == 12
    with pytest.raises(UsageError, match="two latents or more"):
        stops(1, 4, loop=True)


def test_closed_form_directions_are_those_that_the_weights_stretch() -> None:
    a = torch.diag(torch.tensor([3.0, 1.0, 2.0]))
    rows = torch.cat([a, a[:1], a[:1], a[2:]])  # rows count alike whatever their length, as in the authors' program
    found, stretch = in_closed_form(rows, 3)
    assert torch.allclose(found.abs(), torch.eye(3)[[0, 2, 1]], atol=1e-6)
    assert stretch.tolist() == pytest.approx([3**0.5, 2**0.5, 1.0])
    by_layer, _ = in_closed_form(torch.stack([a, torch.roll(a, 1, 0)]), 1, range(0, 1))
    assert by_layer.shape == (1, 3)
    axes, spread = principal(drawn(500, 3) * torch.tensor([1.0, 5.0, 2.0]), 2)
    assert axes.abs().argmax(1).tolist() == [1, 2] and spread.tolist() == pytest.approx([5, 2], rel=0.1)
    with pytest.raises(UsageError, match="4 directions: there are from 1 to 3"):
        in_closed_form(a, 4)


def test_layers_by_name_and_number() -> None:
    assert layers_of("coarse", 8) == range(4) and layers_of("middle", 6) == range(4, 6)
    assert layers_of("2-5", 8) == range(2, 6) and layers_of("7", 8) == range(7, 8)
    for text, what in (("fine", "begin at layer 8"), ("5-9", "from 0 to 7"), ("low", "coarse, middle, fine")):
        with pytest.raises(UsageError, match=what):
            layers_of(text, 8)
    a, b = torch.zeros(4, 2), torch.ones(4, 2)
    assert mixed(a, b, range(1, 3))[:, 0].tolist() == [0, 1, 1, 0]


def test_a_child_has_all_its_numbers_from_its_parents_and_one_class() -> None:
    a, b = torch.zeros(40), torch.ones(40)
    a[-2:], b[-2:] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    children = [crossed(a, b, DecodedSpace("toy", (40,), told=2), Stream(k)) for k in range(8)]
    assert {tuple(child[-2:].tolist()) for child in children} == {(1.0, 0.0), (0.0, 1.0)}
    assert all(5 < int(child[:-2].sum()) < 33 for child in children)
    layered = crossed(torch.zeros(6, 3), torch.ones(6, 3), DecodedSpace("toy", (6, 3), layers=6), Stream(1))
    assert {tuple(row) for row in layered.tolist()} == {(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)}
    assert all(pair.first != pair.second for pair in choose_parents(3, 9, 0))
    with pytest.raises(UsageError, match="nobody was picked"):
        choose_parents(0, 4, 0)


# -- pictures and their records -----------------------------------------------------------------------


def test_a_walk_of_a_shipped_model_is_replayed_to_the_pixel(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "walk.webp"
    code, said, _ = command("walk", "cvae", "--seeds", "1,2", "--label", 9, "--label", 1, "--frames", 3, "--out", out)
    assert code == 0 and "4 pictures, spherical" in said
    with Image.open(out) as moving:
        assert frames_of(moving) == 4
        moving.save(tmp_path / "again.gif", save_all=True, comment=b'{"format": 2}')  # of another program
    told, record = json.loads(command("info", out, "--json")[1]), read_record(out.with_suffix(".png"))
    assert (
        told["latent"]["steps"] == record["latent"]["steps"] and told["model"] == "cvae" and told["synthetic"] is True
    )
    assert record_in(tmp_path / "again.gif") is None and record_in(out.with_suffix(".png")) is None
    sheet = out.with_suffix(".png")
    code, said, _ = command("sample", "--replay", sheet, "--json", "--out", tmp_path / "again.png")
    assert code == 0 and json.loads(said)["identical"]


def test_a_walk_begins_and_ends_where_samples_are(plain: Model) -> None:
    made = walk(plain, seeds=[3, 5], steps=2, path="linear")
    ends = plain.sample(3, seed=3).tensor[[0, 2]]
    assert torch.allclose(made.pictures.tensor[[0, -1]], ends, atol=1e-5)
    half = plain.decode_images(made.known.latent(made.shown[1])[None])[0]
    assert torch.equal(made.pictures.tensor[1], half.clamp(-1, 1))
    again, differs = replay(made.pictures.records[1])
    assert torch.equal(again.tensor[0], made.pictures.tensor[1]) and not differs
    assert made.pictures.records[1]["format"] == 3  # older versions refuse it, rather than draw seed 3


def test_styles_are_mixed_by_layers(styles: Model, tmp_path: Path) -> None:
    grid = mix(styles, rows=[1], columns=[2, 3], layers="2-5")
    a, b = (styles.draw_latents(styles.condition(1), [seed])[0] for seed in (1, 3))
    wanted = styles.decode_images(torch.cat([a[:2], b[2:6], a[6:]])[None])[0].clamp(-1, 1)
    assert torch.equal(grid.pictures.tensor[-1], wanted)
    assert not torch.allclose(grid.pictures.tensor[-1], grid.pictures.tensor[2], atol=1e-3)  # its own row's source
    record = read_record(grid.save(tmp_path / "grid.png"))
    assert record["latent"]["shown"][0] is None and len(record["latent"]["shown"]) == 6
    assert made_again(styles, record).tensor.shape[-1] == Image.open(tmp_path / "grid.png").width


def test_pictures_are_mixed_by_a_share_of_the_way_where_there_are_no_styles(
    plain: Model, tmp_path: Path, command: Command
) -> None:
    grid = mix(plain, rows=[1, 2], columns=[3], share=0.25)
    a, b = (plain.draw_latents(plain.condition(1), [seed])[0] for seed in (2, 3))
    wanted = plain.decode_images(between(a, b, 0.25, "spherical")[None])[0].clamp(-1, 1)
    assert torch.equal(grid.pictures.tensor[-1], wanted) and grid.layers is None
    assert mix(plain, rows=[1], columns=[3]).share == 0.5
    assert torch.equal(replay(grid.pictures.records[-1])[0].tensor[0], wanted)
    model, digits = digits_pca(tmp_path)
    for name, row in (("one.png", 7), ("other.png", 8)):
        Pictures(digits.batch(torch.tensor([row])).image, ({},))[0].save(tmp_path / name)
    words = ("--row-picture", tmp_path / "one.png", "--column-picture", tmp_path / "other.png", "--share", 1)
    assert command("mix", tmp_path, *words, "--out", tmp_path / "mixed.png")[0] == 0
    own = mix(model, row_pictures=[tmp_path / "one.png"], columns=[4], share=0.0).pictures.tensor
    assert torch.allclose(own[-1], model.decode_images(model.encode(tmp_path / "one.png"))[0].clamp(-1, 1), atol=1e-6)
    for asked, what in (
        ({"rows": [1]}, "nobody to mix"),
        ({"rows": [1], "columns": [2], "share": 1.5}, "share 1.5"),
        ({"rows": [1], "columns": [2], "share": 0.5, "layers": "0"}, "two ways to mix"),
        ({"row_pictures": ["a"], "column_pictures": ["b"], "how": Sampling(temperature=1.0)}, "there are no seeds"),
    ):
        with pytest.raises(UsageError, match=what):
            mix(model, **asked)  # type: ignore[arg-type]


def test_a_picture_of_ones_own_is_moved(tmp_path: Path, command: Command) -> None:
    (model, digits), mine = digits_pca(tmp_path), tmp_path / "mine.png"
    Pictures(digits.batch(torch.tensor([3])).image, ({},))[0].save(mine)
    file = find(model, "pca", 2, samples=40).save(tmp_path / "found.safetensors")
    made = moved(model, 1, 0, [f"{file}:1*2"], pictures=[mine])
    wanted = model.encode(mine)[0] + 2 * Directions.read(file, model).vectors[0]
    assert torch.allclose(made.tensor[0], model.decode_images(wanted[None])[0].clamp(-1, 1), atol=1e-5)
    out = tmp_path / "moved.png"
    assert command("sample", tmp_path, "--picture", mine, "--direction", f"{file}:1*2", "--out", out)[0] == 0
    assert Image.open(out).tobytes() == made[0].tobytes()
    with pytest.raises(UsageError, match="for pictures that are drawn"):
        moved(model, 1, 0, [f"{file}:1*2"], Sampling(temperature=0.5), pictures=[mine])


def test_a_direction_belongs_to_its_generator(styles: Model, plain: Model, tmp_path: Path) -> None:
    found = find(styles, "sefa", 2, layers="coarse", samples=40)
    path = found.save(tmp_path / "found.safetensors")
    assert Directions.read(path, styles).names == ("1", "2")
    before, after = moved(styles, 1, 4, [f"{path}:2*0"]), moved(styles, 1, 4, [f"{path}:2*3"])
    assert not torch.equal(before.tensor, after.tensor)
    known, (place,) = read_steps(styles, after.records[0])
    assert place is not None
    last = known.steps[place]
    assert isinstance(last, Moved)
    moved_by = known.latent(place) - known.latent(last.first)
    assert moved_by[:4].norm() > 0 and not moved_by[4:].any()  # in the layers that it was found in
    assert torch.equal(replay(after.records[0])[0].tensor, after.tensor)
    with pytest.raises(WeightsError, match=r"found on the weights .* find it on this one"):
        Directions.read(path, plain)
    with pytest.raises(UnknownName, match="direction"):
        moved(styles, 1, 0, [f"{path}:9*1"])
    for strength in ("far", "inf", "nan"):
        with pytest.raises(UsageError, match=f"{strength} is no number"):
            moved(styles, 1, 0, [f"{path}:1*{strength}"])
    with pytest.raises(UsageError, match="say which"):
        moved(styles, 1, 0, [f"{path}*1"])
    find(plain, "pca", 2, samples=40).save(tmp_path / "plain.safetensors")
    torn = load_file(tmp_path / "plain.safetensors")
    save_file(torn, tmp_path / "bare.safetensors")
    with pytest.raises(UsageError, match="neither directions nor latents"):
        Directions.read(tmp_path / "bare.safetensors", plain)


def test_a_latent_belongs_to_its_generator(styles: Model, plain: Model, tmp_path: Path) -> None:
    kept = torch.zeros(1, *Latents(plain).space.shape)
    for by, mend in (("projection", "zeuxis project .* PICTURE"), ("sum", "zeuxis directions .* --sum TERMS")):
        path = found_on(plain, kept, ("mine",), {"by": by}, kind="latents").save(tmp_path / f"{by}.safetensors")
        with pytest.raises(WeightsError, match=f"a latent means nothing on another generator.*{mend}"):
            walk(styles, seeds=[1], latents=path)


def test_advice_on_directions_that_are_no_latents_can_be_pasted(plain: Model, tmp_path: Path) -> None:
    path = find(plain, "pca", 1, samples=40).save(tmp_path / "my own.safetensors")
    with pytest.raises(UsageError, match=re.escape(f"--direction '{path}*2'")):
        walk(plain, seeds=[1], latents=path)


def test_arrays_of_other_programs_are_latents_and_directions(styles: Model, plain: Model, tmp_path: Path) -> None:
    """What the StyleGANs' projector writes is walked to, and a boundary of InterFaceGAN moved along."""
    code = styles.draw_latents(styles.condition(1), [3])[0]
    np.savez(tmp_path / "projected_w.npz", w=code[None].numpy())
    made = walk(styles, seeds=[1], latents=[tmp_path / "projected_w.npz"], steps=1)
    assert torch.equal(made.known.latent(made.shown[-1]), code)
    np.save(tmp_path / "two.npy", code[:1].expand(2, -1).numpy().astype(np.float64))
    two = walk(styles, latents=[tmp_path / "two.npy"], steps=1)
    assert torch.equal(two.known.latent(two.shown[0]), code[:1].expand_as(code))
    along = drawn(1, 6) / drawn(1, 6).norm()
    np.save(tmp_path / "smile.npy", along.numpy())
    (start,) = plain.draw_latents(plain.condition(1), [0])
    kept = moved(plain, 1, 0, [f"{tmp_path / 'smile.npy'}*3"])
    assert torch.allclose(kept.tensor, plain.decode_images((start + 3 * along[0])[None]), atol=1e-5)


def test_tensors_of_other_programs_are_latents_and_directions(plain: Model, tmp_path: Path) -> None:
    """As PTI and e4e keep their directions, and stylegan2-pytorch's projector what it found."""
    latent = drawn(1, 6)
    torch.save(latent, tmp_path / "age.pt")
    torch.save({"me.png": {"img": torch.zeros(3, 8, 8), "latent": latent[0], "noise": []}}, tmp_path / "me.pt")
    for name in ("age.pt", "me.pt"):
        made = walk(plain, seeds=[1], latents=[tmp_path / name], steps=1)
        assert torch.equal(made.known.latent(made.shown[-1]), latent[0])
    (start,) = plain.draw_latents(plain.condition(1), [0])
    kept = moved(plain, 1, 0, [f"{tmp_path / 'age.pt'}*-2"])
    assert torch.allclose(kept.tensor, plain.decode_images((start - 2 * latent[0])[None]), atol=1e-5)
    torch.save({"a": latent, "b": latent}, tmp_path / "two.pt")
    with pytest.raises(UsageError, match="holds a, b: save the latents in it alone, or as 'w'"):
        walk(plain, seeds=[1], latents=[tmp_path / "two.pt"])


def cut_short(path: Path) -> None:
    """An array that is told of and is not there."""
    np.save(path, np.zeros((4, 6), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(4, 6)", b"(9, 6)"))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: np.save(path, np.zeros((3, 7))), r"is of shape 3x7, and a latent of .* is 6: give one"),
        (lambda path: np.save(path, np.array([{}], object)), "pickled objects, which are not read"),
        (lambda path: np.save(path, np.array(["a"] * 6)), "holds <U1, and latents are plain numbers"),
        (lambda path: np.save(path, np.full(6, np.nan)), "not finite"),
        (cut_short, "it was cut short"),
        (lambda path: path.write_bytes(b"no array"), "cannot be read as an array of numpy"),
    ],
)
def test_arrays_that_are_no_latents_are_refused(
    plain: Model, tmp_path: Path, write: Callable[[Path], object], says: str
) -> None:
    path = tmp_path / "found.npy"
    write(path)
    with pytest.raises((UsageError, DataError), match=says):
        walk(plain, seeds=[1], latents=[path])


def test_an_archive_says_which_of_its_arrays_are_latents(plain: Model, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=np.zeros(6), other=np.zeros(6))
    with pytest.raises(UsageError, match="holds one, other: save the latents in it alone, or as 'w'"):
        walk(plain, seeds=[1], latents=[tmp_path / "a.npz"])


def test_a_latent_of_another_width_is_refused(plain: Model) -> None:
    known = Latents(plain)
    for latent, what in (
        (torch.zeros(7), "of shape 7, and a latent of .* is 6"),
        (torch.full((6,), torch.nan), "finite"),
    ):
        with pytest.raises(UsageError, match=what):
            known.hold(latent, {})
    with pytest.raises(Unsupported, match="no style space"):
        mix(plain, rows=[0], columns=[1], layers="coarse")
    with pytest.raises(Unsupported, match="entries of a table"):
        walk(load("vqgan"), seeds=[0, 1])
    with pytest.raises(Unsupported, match="encodes no pictures"):
        walk(plain, pictures=["one.png", "two.png"])


def test_what_cannot_be_written_is_refused_before_a_picture_is_made(
    plain: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeuxis.api.moving.shutil.which", lambda name: None)
    with pytest.raises(Unsupported, match=r"install it \(apt install ffmpeg.* or give .*walk\.webp or walk\.gif"):
        walk(plain, seeds=[0, 1], out=tmp_path / "walk.mp4")
    with pytest.raises(UsageError, match=r"move as \.webp, \.gif, \.mp4"):
        writer_of(tmp_path / "walk.avi")
    frames = walk(plain, seeds=[0, 1], steps=3).save(tmp_path / "walk.gif")
    with Image.open(frames[0]) as moving:
        assert frames_of(moving) == 4 and b"synthesised" in moving.info["comment"]


def test_arithmetic_of_means(command: Command, tmp_path: Path) -> None:
    assert parse("label=1 - label=2 + label=3") == [(1, "label=1"), (-1, "label=2"), (1, "label=3")]
    for text, what in (("a=1 + b=2", "as many terms with plus"), ("", "write terms"), ("- a=1", "as many")):
        with pytest.raises(UsageError, match=what):
            parse(text)
    out = tmp_path / "sum.safetensors"
    code, said, _ = command(
        "directions", "cvae", "--sum", "label=9 - label=7 + label=5", "--samples", 200, "--out", out, "--json"
    )
    assert code == 0 and json.loads(said)["kind"] == "latents"
    assert json.loads(command("info", out, "--json")[1])["found"]["sum"] == "label=9 - label=7 + label=5"
    (latent,) = load_file(out)["latents"]
    assert latent[-10:].tolist() == pytest.approx([0, 0, 0, 0, 0, 1, 0, -1, 0, 1])  # the classes add up too
    code, _, error = command("directions", "cvae", "--sum", "label=Coat - label=hat")
    assert code == 2 and "hat" in error


def test_arithmetic_of_factors(plain: Model, tmp_path: Path) -> None:
    faces = open_source("faces", 8)
    batch = faces.batch(torch.arange(300))
    pca = build("pca", faces.spec, {"components": 8})
    pca.fit([batch])
    write_model(tmp_path / "model", pca.eval(), {"data": "faces"})
    model = load(tmp_path)
    found = arithmetic(model, "hat=yes - hat=no", samples=150)
    chosen = faces.batch(Stream(0, "arithmetic").permutation(len(faces))[:150])
    codes, factors = model.encode(chosen.image), chosen.condition.factors
    assert factors is not None
    hats = factors[:, [name for name, _ in faces.spec.factors].index("hat")] == 1
    assert found.counts == (int(hats.sum()), int((~hats).sum())) and found.total.kind == "directions"
    assert torch.allclose(found.total.vectors[0], codes[hats].mean(0) - codes[~hats].mean(0), atol=1e-5)
    with pytest.raises(UnknownName, match="smile"):
        arithmetic(model, "smiles=sad")
    with pytest.raises(UsageError, match="names hat twice"):
        arithmetic(model, "hat=yes,hat=no")
    with pytest.raises(UnknownName, match="value of hat"):
        arithmetic(model, "hat=maybe")
    with pytest.raises(UsageError, match="a mean needs 5"):
        arithmetic(model, "hat=yes,age=old,smile=sad,pose=left,hair_style=curly", samples=60)
    noise = model_in(
        tmp_path / "noise", "ns-gan", Shape(3, 64, 64), {"nz": 4, "width": 2}, data="faces", like=faces.spec
    )
    with pytest.raises(UsageError, match="recognises none of 6 pictures"):
        arithmetic(noise, "hat=yes - hat=no", samples=6)
    with pytest.raises(UnknownName, match="factor"):
        arithmetic(plain, "hat=yes - hat=no")
    labelled = replace(faces.spec, class_names=("a", "b"), provides=frozenset({"label"}))
    told = model_in(tmp_path / "told", "cvae", Shape(3, 8, 8), {"widths": [4]}, data="faces", like=labelled)
    with pytest.raises(Unsupported, match="the hat is not known, only: label"):
        arithmetic(told, "hat=yes - hat=no", samples=6)


def test_breeding_keeps_the_lineage(plain: Model, tmp_path: Path) -> None:
    garden = tmp_path / "garden"
    first = breeding.begin(plain, garden, n=6)
    second = breeding.breed(garden, [4, 1], mutation=0.2)
    third = breeding.breed(garden, [3], mutation=0.0)
    assert second.parents[:2] == ((4, 4), (1, 1)) and set(second.parents[2]) == {4, 1}
    for file, kept in ((first.files[4], second.files[0]), (second.files[3], third.files[0])):
        assert Image.open(file).tobytes() == Image.open(kept).tobytes()
    record = read_record(third.files[1])
    known, (place,) = read_steps(plain, record)
    assert place is not None
    ancestors = [known.steps[k] for k in lineage(known.steps, place)]
    assert {step.seed for step in ancestors if isinstance(step, Drawn)} >= {4, 1}
    assert sum(isinstance(step, Crossed) for step in ancestors) == 2
    again, _ = replay(record)
    assert again[0].tobytes() == Image.open(third.files[1]).tobytes()
    sheet = made_again(plain, read_record(third.sheet))
    assert sheet[0].tobytes() == Image.open(third.sheet).convert("RGB").tobytes()
    apart = breeding.breed(garden, [3], seed=5, out=tmp_path / "apart")
    assert apart.number == 3 and breeding.newest(garden) == 2 and breeding.newest(tmp_path / "apart") == 3
    assert Image.open(apart.files[0]).tobytes() == Image.open(third.files[3]).tobytes()
    with pytest.raises(UsageError, match="apart holds generations already"):
        breeding.breed(garden, [3], out=tmp_path / "apart")
    for pick, what in (
        ([0, 1, 2, 3, 4, 5], "no place for a child among 6: pick fewer, or give -n 12"),
        ([9], "has the pictures 0, 1, 2, 3, 4, 5"),
        ([1, 1], "picked twice"),
    ):
        with pytest.raises(UsageError, match=what):
            breeding.breed(garden, pick)
    with pytest.raises(UsageError, match="holds generations already"):
        breeding.begin(plain, garden)
    with pytest.raises(UsageError, match="holds no generation"):
        breeding.breed(tmp_path, [0])
    third.files[0].unlink()  # those that nobody likes may be removed: the others keep their numbers
    with pytest.raises(UsageError, match="has the pictures 1, 2, 3, 4, 5"):
        breeding.breed(garden, [0])
    fourth = breeding.breed(garden, [5])
    assert Image.open(fourth.files[0]).tobytes() == Image.open(third.files[5]).tobytes()


def test_pictures_of_the_largest_seeds_are_drawn_again(plain: Model, tmp_path: Path) -> None:
    made = walk(plain, seeds=[2**66, 2**66 + 1], steps=1).pictures
    known, (place,) = read_steps(plain, json.loads(json.dumps(made.records[0])))
    assert place is not None and torch.equal(known.image(place), made.tensor[0])


def test_breeding_fetches_no_model_that_only_a_record_names(
    plain: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, device: str) -> Model:
        require_asked(name)
        return plain

    breeding.begin(plain, tmp_path, n=2)
    monkeypatch.setattr(breeding, "load", fetch)
    with pytest.raises(Unasked, match="name the model yourself, with --with"):
        breeding.breed(tmp_path, [0])
    assert breeding.breed(tmp_path, [0], model="asked").number == 1


def test_breeding_under_a_prior(tmp_path: Path) -> None:
    spec = open_source("digits", 8).spec
    write_model(tmp_path / "model", build("autoencoder", spec, {"widths": [4], "latent": 2}).eval(), {"data": "digits"})
    model = load(tmp_path).with_prior("gaussian")
    first = breeding.begin(model, tmp_path / "garden", n=3)
    second = breeding.breed(tmp_path / "garden", [2, 0])
    assert Image.open(second.files[0]).tobytes() == Image.open(first.files[2]).tobytes()


@pytest.mark.parametrize("line, what", [
    (["breed", "MODEL", "--with", "cvae"], "--with: nobody has children yet"),
    (["breed", "MODEL", "--mutation", "0"], "--mutation: nobody has children yet"),
    (["walk", "MODEL", "--seeds", "1,2", "--seed", "7"], "--seed: the walk leads over what is named"),
    (["walk", "MODEL", "--milliseconds", "20"], "--milliseconds: a sheet does not move"),
    (["breed", "GARDEN", "--pick", "0", "--label", "3"], "--label: .* leave it out"),
    (["sample", "MODEL", "--picture", "mine.png"], "moved along a --direction"),
    (["sample", "MODEL", "--direction", "a", "--picture", "mine.png", "--seed", "3"], "--seed: pictures of your own"),
    (["directions", "MODEL", "--sum", "label=1", "--count", "2"], "--count: --sum finds one direction"),
    (["mix", "MODEL", "--out", "mixed.jpg"], "give mixed.png"),
    (["neighbours", "MODEL", "--out", "near.jpg"], "give near.png"),
])  # fmt: skip
def test_an_option_that_would_change_nothing_is_refused(
    plain: Model, tmp_path: Path, command: Command, line: list[str], what: str
) -> None:
    (tmp_path / "generation-00").mkdir()
    named = {"MODEL": plain.name, "GARDEN": str(tmp_path)}
    code, _, error = command(*(named.get(word, word) for word in line))
    assert code == 2 and re.search(what, error)


def test_a_walk_writes_over_no_picture_of_its_own(plain: Model, tmp_path: Path) -> None:
    mine = tmp_path / "mine.png"
    with pytest.raises(UsageError, match="written over your picture"):
        walk(plain, pictures=[mine, "other.png"], out=tmp_path / "mine.webp")  # whose sheet is mine.png
    (written,) = walk(plain, seeds=[0, 1], steps=1, out=tmp_path / "LOUD.PNG").save(tmp_path / "LOUD.PNG")
    assert [path.name for path in tmp_path.iterdir()] == [written.name] == ["LOUD.PNG"]
    mine.write_bytes(b"the only copy")
    with pytest.raises(UsageError, match="was not made by Zeuxis"):
        walk(plain, seeds=[0, 1], out=mine)
    with pytest.raises(UsageError, match="there are no seeds"):
        walk(plain, pictures=["one.png", "two.png"], label=3)


def test_what_no_sheet_can_show_is_not_drawn(plain: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeuxis.api.latents.MOST_PIXELS", 8 * 8 * 12**2 * 4)
    monkeypatch.setattr(Latents, "image", lambda *_: pytest.fail("drawn in vain"))
    with monkeypatch.context() as patched, pytest.raises(UsageError, match="5 pictures on a sheet: it shows at most 4"):
        patched.setattr(Latents, "draw", lambda *_, **__: pytest.fail("drawn in vain"))  # ten thousand take minutes
        walk(plain, seeds=[0, 1], steps=4)
    with pytest.raises(UsageError, match="at most 4"):
        breeding.begin(plain, tmp_path, n=5)
    assert not any(tmp_path.iterdir())


def test_there_are_no_more_directions_than_a_picture_has_numbers() -> None:
    with pytest.raises(UsageError, match="3 directions: there are from 1 to 2 here"):
        explaining(drawn(50, 8), drawn(50, 2, 1), 3)
    matrix = drawn(8, 2, 2) * torch.tensor([3.0, 1.0])
    z = drawn(400, 8)
    unit = explaining(z, z @ matrix, 2)
    wanted = matrix @ torch.linalg.eigh(matrix.T @ matrix).eigenvectors.flip(1)
    cosine = (unit * (wanted / wanted.norm(dim=0)).T).sum(1).abs()
    assert (cosine > 0.95).all()


def test_a_game_that_is_told_a_picture_says_why_it_has_no_walks() -> None:
    sizes = {"network": "lucic", "nz": 8, "width": 2}
    must_be_continuous("free", CGAN(Shape(1, 8, 8), classes=3, **sizes))
    with pytest.raises(Unsupported, match="'told' was trained to be told a source, without which its latents are no"):
        must_be_continuous("told", CGAN(Shape(1, 8, 8), condition="source", source_shape=Shape(1, 8, 8), **sizes))


@pytest.mark.parametrize("samples", [0, 1])
def test_a_spread_is_of_two_latents_or_more(plain: Model, samples: int) -> None:
    with pytest.raises(UsageError, match=f"{samples} samples: how far latents spread is seen of 2 or more"):
        find(plain, samples=samples)


def test_directions_are_written_over_no_other_tensors(plain: Model, tmp_path: Path, command: Command) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file({"w": torch.ones(2)}, weights)
    code, _, error = command("directions", plain.name, "--count", 1, "--samples", 10, "--out", weights)
    assert code == 2 and "holds no directions: give another name" in error and list(load_file(weights)) == ["w"]


def test_directions_are_kept_though_their_sheet_is_too_large(
    plain: Model, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeuxis.api.latents.MOST_SHOWN", 6)
    out = tmp_path / "found.safetensors"
    code, _, error = command("directions", plain.name, "--by", "sefa", "--count", 1, "--samples", 10, "--out", out)
    assert code == 2 and "at most 6" in error and Directions.read(out, plain).names == ("1",)


DAMAGES = {
    "made of a later one": lambda steps: steps[2].update(first=2),
    "no such step": lambda steps: steps[2].update(step="sworn"),
    "not a number": lambda steps: steps[2].update(t="half"),
    "no such way": lambda steps: steps[2].update(path="winding"),
    "gone": lambda steps: steps[0].pop("seed"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_told(plain: Model, damage: str) -> None:
    record = json.loads(json.dumps(walk(plain, seeds=[0, 1], steps=2).pictures.records[1]))
    DAMAGES[damage](record["latent"]["steps"])
    with pytest.raises(DataError, match="this record is damaged"):
        made_again(plain, record)


def test_numbers_as_they_are_written() -> None:
    assert numbers("1,4,7-9", "--seeds") == [1, 4, 7, 8, 9]
    with pytest.raises(UsageError, match="--seeds 1;2"):
        numbers("1;2", "--seeds")


def test_that_a_folder_is_another_by_now_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(24):
        Image.new("L", (8, 8), 9 * k).save(folder / f"{k}.png")
    run = train(load_recipe("gaussian", ("size=8",)), data=data_of(folder), out=tmp_path / "run")
    assert neighbours(run.model, n=1, k=1).changed is None
    told: list[str] = []
    evaluate(run.model, metrics=["kernel"], samples=2, tell=told.append)
    assert not any("are not those" in line for line in told)
    Image.new("L", (8, 8), 250).save(folder / "another.png")
    found = neighbours(run.model, n=1, k=1).changed
    assert found is not None and found.startswith(f"the pictures of '{folder}' are not those that")
    evaluate(run.model, metrics=["kernel"], samples=2, tell=told.append)
    assert f"{found}: some of those measured on may have been trained on; --data names others" in told
    assert neighbours(run.model, n=1, k=1, data=str(folder)).changed is None, "they were named"


def test_neighbours_are_shown_nearest_first(tmp_path: Path) -> None:
    shown = neighbours(model_in(tmp_path, "parzen", Shape(1, 8, 8), {}), n=2, k=3, data="digits")
    assert shown.images.shape == (2, 3, 1, 8, 8) and (shown.distance.diff(dim=1) >= 0).all()
    assert (shown.searched, shown.there_are) == (len(open_source("digits", 8)),) * 2
    record = read_record(shown.save(tmp_path / "shown.png"))
    assert record["neighbours"]["index"] == shown.index.tolist() and "training data" in record["disclosure"]


# -- codes from Python --------------------------------------------------------------------------------


CODED = {"codes": 16, "code_width": 4, "width": 8, "hidden": 8, "blocks": 1}


@pytest.mark.parametrize(
    ("system", "config", "change", "wrong"),
    [
        (
            "vq-vae",
            CODED,
            lambda c: c[0],
            r"\(4, 4\) are none of .*\(N, 4, 4\), N pictures at a time: write codes\[None\]",
        ),
        ("vq-vae", CODED, lambda c: c.float(), "decodes whole numbers, and these codes are torch.float32"),
        ("vq-vae", CODED, lambda c: c + 16, "are from 0 to 15, and these reach from"),
        ("vq-vae", {**CODED, "quantiser": "fsq", "levels": (4, 4)}, lambda c: c + 16, "are from 0 to 15"),
        ("vq-vae", {**CODED, "quantiser": "lfq"}, lambda c: c - 16, "are from 0 to 15"),
        ("vae", {"latent": 3}, lambda c: c / 0, "not finite"),
        ("vae", {"latent": 3}, lambda c: c[:, :2], r"of shape \(2, 2\) are none of .*\(N, 3\)"),
        ("vae", {"latent": 3}, lambda c: c.long(), "decodes real numbers"),
    ],
)
def test_codes_that_are_none_of_the_model_s_are_refused(
    tmp_path: Path, system: str, config: dict, change: Callable[[Tensor], Tensor], wrong: str
) -> None:
    """To finite scalars a code too large was another code, and to a network a code that is no number a picture."""
    model = model_in(tmp_path, system, Shape(1, 16, 16), config)
    codes = model.encode([torch.zeros(1, 16, 16), torch.ones(1, 16, 16)])
    assert torch.equal(model.decode(codes.numpy()).tensor, model.decode(codes).tensor)
    with pytest.raises(UsageError, match=wrong):
        model.decode(change(codes))


def test_maps_of_other_sizes_are_decoded(tmp_path: Path) -> None:
    model = model_in(tmp_path, "vq-vae", Shape(1, 16, 16), CODED)
    assert model.decode(torch.zeros(1, 6, 5, dtype=torch.int16)).tensor.shape == (1, 1, 24, 20)
