"""What a model can do with a picture, by its card; layouts painted, examples, a look at a picture, and a job's zip."""

from __future__ import annotations

import io
import json
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command
from PIL import Image
from restorers import UNET, built
from serving import Served, png

from zeuxis.api.replay import likeness
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.catalog.listing import entries
from zeuxis.data.library import open_source
from zeuxis.data.pairing import class_colours
from zeuxis.game import System
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.spec import DataSpec
from zeuxis.studio.abilities import drawn_field, edits_of, obeyed
from zeuxis.studio.zip_stream import zip_of
from zeuxis.testing.case import Case
from zeuxis.training.checkpoint import write_model


def spec(channels: int) -> DataSpec:
    """Facts of pairs of 32 pixels a side, whose sources have that many channels."""
    return DataSpec(Shape(3, 32, 32), Shape(channels, 32, 32), provides=frozenset({"source"}))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    runs = tmp_path_factory.mktemp("runs")
    translator = {"ngf": 2, "ndf": 2, "depth": 3, "patch": 16}
    edges = build("pix2pix", spec(1), dict(translator)).eval()
    write_model(runs / "edges" / "model", edges, {"data": "scenes | edges"})
    world = open_source("scenes | layout", 32).spec
    write_model(
        runs / "coloured" / "model", build("pix2pix", world, dict(translator)).eval(), {"data": "scenes | layout"}
    )
    palette = built("palette", network=UNET, condition="mask", steps=2)
    write_model(runs / "painter" / "model", palette.eval(), {"data": "/some/folder | strokes:3"})
    several = build("cyclegan", spec(6), {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0, "identity": 0.0}).eval()
    write_model(runs / "of-two" / "model", several, {"data": "scenes"})
    yield Served(runs)


def models(served: Served) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in served.client.get("/api/models").json()}


def test_what_is_derived_of_a_card_is_what_the_system_obeys() -> None:
    recipes, known = [load_recipe(name) for name in recipe_paths()], entries()
    small = [one for one in recipes if one.size in (None, 28, 32)]  # the published ones take long to build
    accepted = [(known[one.system].card.accepts, one) for one in reversed(small)]  # the first of each is built
    chosen = {(accepts, str(one.model.get("condition"))): one for accepts, one in accepted if accepts}
    cases = [Case(one) for one in chosen.values()]
    wrong = {}

    def fields_of(system: System) -> tuple[frozenset[str], frozenset[str]]:
        parts = [fields_of(part)[0] for part in system.config.values() if isinstance(part, System)]
        return obeyed(system.card, system.config, system.spec.classes, parts)

    for case in cases:
        system = case._build(lambda below: below._built)  # untrained
        if "sample" in system.can and "negative" not in system.card.accepts:  # that one is no run of the service's
            found = fields_of(system)[0]
            if found != system.conditions:
                wrong[case.recipe.name] = (found, system.conditions)
    assert len(cases) > 10 and not wrong


def test_models_say_what_a_drawing_is_to_them_and_how_they_edit(served: Served) -> None:
    found = models(served)
    assert found["edges"]["draws"] == "source" and found["edges"]["source_shape"] == [1, 32, 32]
    assert found["coloured"]["draws"] == "layout" and "circle" in found["coloured"]["layouts"]
    assert [(one["name"], one["job"]) for one in found["scenes"]["edits"]] == [("vary", "edit"), ("inpaint", "edit")]
    assert (
        found["cvae"]["edits"] == [] and found["scenes"]["draws"] is None and found["scenes"]["accepts"] == []
    )  # and no label, which others take
    assert found["last-frame"]["draws"] is None and found["of-two"]["draws"] is None  # several pictures in one
    assert found["painter"]["draws"] is None  # a mask is wanted beside
    assert [one["name"] for one in found["edges"]["edits"]] == ["translate"]
    assert [one["name"] for one in found["painter"]["edits"]] == ["inpaint"]
    assert found["coloured"]["edits"] == [] and found["of-two"]["edits"] == []
    assert [one["fields"] for one in found["painter"]["edits"]] == [["source", "mask"]]


def test_an_editing_system_of_tomorrow_is_offered_by_its_card() -> None:
    verbs, knobs = {"sample"}, {"steps", "strength"}

    def names(obeys: set[str], required: set[str], turned: set[str] = knobs) -> list[str]:
        return [one.name for one in edits_of(verbs, obeys, required, turned)]

    assert names({"caption", "negative", "source", "mask"}, {"caption"}) == ["vary", "inpaint"]
    assert names({"source", "instruction"}, {"source", "instruction"}, {"steps"}) == ["instruct"]
    assert names({"caption", "control"}, {"control"}) == ["control"]
    assert names({"caption"}, {"caption"}) == [] and edits_of({"classify"}, {"source"}, set(), knobs) == []
    drawn_in_steps = {"sample", "denoiser"}
    assert [one.job for one in edits_of(drawn_in_steps, {"caption"}, set(), {"steps", "sampler"})] == ["edit"] * 2
    assert edits_of(drawn_in_steps, {"layout"}, {"layout"}, {"sampler"})[0].name == "layout"
    assert drawn_field(verbs, {"caption", "control"}, {"control"}, 3, painted=False) == "control"
    assert drawn_field(verbs, {"layout", "style"}, {"layout"}, 3, painted=False) == "layout"


def test_a_layout_is_painted_as_the_command_paints_it(served: Served, command: Command, tmp_path: Path) -> None:
    facts = served.done(kind="describe", model="coloured")["result"]["facts"]
    assert facts["layouts"][1]["colour"].startswith("#") and facts["layouts"][1]["name"]
    classes = np.zeros((64, 64), int)
    classes[20:40, 10:50] = 2
    shown = class_colours(len(facts["layouts"])).numpy()[classes].astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shown).save(out, "PNG")
    job = served.done(kind="paint", model="coloured", layout={"upload": served.upload(out.getvalue())}, seed=3)
    assert job["state"] == "done", job["error"]
    words = shlex.split(job["result"]["command"])
    assert command(*words[1:], "--out", tmp_path / "again.png", "--no-sheet")[0] == 0
    assert (tmp_path / "again.png").read_bytes() == served.file(job).read_bytes()
    grey = served.done(kind="paint", model="coloured", layout={"upload": served.upload(png(32, 32))})
    assert grey["state"] == "failed" and grey["fault"] == "usage" and "which is no class" in grey["error"]


def test_a_picture_is_edited_as_the_command_edits_it(served: Served, command: Command, tmp_path: Path) -> None:
    short, caption = {"steps": 6}, "a small red circle above a large green star at night"
    marks = np.zeros((32, 32), np.uint8)
    marks[16:] = 255
    out = io.BytesIO()
    Image.fromarray(marks).save(out, "PNG")
    given, mask = served.upload(png(32, 32)), {"upload": served.upload(out.getvalue())}
    asked = {"kind": "edit", "model": "scenes", "picture": {"upload": given}, "condition": {"caption": caption}}
    job = served.done(**asked, knobs=short, mask=mask, n=2, seed=3)
    assert job["state"] == "done", job["error"]
    words = shlex.split(job["result"]["command"])
    assert words[1] == "edit" and command(*words[1:], "--out", tmp_path / "again")[0] == 0
    assert (tmp_path / "again" / "0001.png").read_bytes() == served.file(job, 1).read_bytes()
    words = shlex.split(job["result"]["pictures"][1]["replay"])
    assert command(*words[1:], "--out", tmp_path / "replayed.png")[0] == 0
    assert (tmp_path / "replayed.png").read_bytes() == served.file(job, 1).read_bytes()
    before, after = np.asarray(Image.open(io.BytesIO(png(32, 32)))), np.asarray(Image.open(served.file(job)))
    assert np.array_equal(before[:16], after[:16]) and not np.array_equal(before[16:], after[16:])
    varied = served.done(**asked, knobs=short, strength=0.5)
    assert varied["state"] == "done" and "--strength 0.5" in varied["result"]["command"]
    for wrong in ({"strength": 0}, {"strength": 2}, {"condition": {"mask": mask}}, {"picture": {"upload": "0" * 16}}):
        assert served.client.post("/api/jobs", json={**asked, **wrong}).status_code in (400, 422), wrong


def test_a_method_that_is_a_drawing_is_given_the_fields_that_it_names(served: Served) -> None:
    (method,) = models(served)["painter"]["edits"]
    marks = np.zeros((32, 32), np.uint8)
    marks[8:16] = 255
    out = io.BytesIO()
    Image.fromarray(marks).save(out, "PNG")
    pictures = {"source": {"upload": served.upload(png(32, 32))}, "mask": {"upload": served.upload(out.getvalue())}}
    job = served.done(
        kind=method["job"], model="painter", condition={name: pictures[name] for name in method["fields"]}
    )
    assert job["state"] == "done", job["error"]


def test_an_example_is_one_of_what_the_model_learnt_from(served: Served) -> None:
    job = served.done(kind="example", model="edges", seed=4)
    assert job["state"] == "done", job["error"]
    assert job["result"]["files"] == ["source.png"] and job["result"]["facts"]["pictures"] == {"source": "source.png"}
    answer = served.client.get(f"/api/jobs/{job['id']}/files/source.png")
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as shown:
        values = np.asarray(shown.convert("L"))
        assert shown.size == (32, 32) and values.max() > 200 and np.median(values) == 0  # lines on black
    number = job["result"]["facts"]["number"]
    assert served.done(kind="example", model="edges", seed=5)["result"]["facts"]["number"] != number
    assert job["result"]["command"] == "zeuxis data scenes --pair edges"
    layout = served.done(kind="example", model="coloured")["result"]["facts"]["pictures"]
    assert layout == {"layout": "layout.png", "source": "source.png"}
    folder = served.done(kind="example", model="painter")  # a folder that a card names is not opened
    assert folder["state"] == "failed" and "no named set or world" in folder["error"]


def test_a_picture_is_made_into_what_a_model_has_learnt_to_be_given(served: Served) -> None:
    square = np.zeros((64, 96, 3), np.uint8)
    square[16:48, 32:64] = 255  # in the middle, which is what is taken
    out = io.BytesIO()
    Image.fromarray(square).save(out, "PNG")
    given = {"upload": served.upload(out.getvalue())}
    job = served.done(kind="prepare", model="edges", picture=given)
    assert job["state"] == "done", job["error"]
    assert job["result"]["facts"] == {"data": "scenes | edges", "degradation": "edges:0.15"}
    with Image.open(io.BytesIO(served.client.get(f"/api/jobs/{job['id']}/files/0000.png").content)) as shown:
        lines = np.asarray(shown.convert("L")) > 128
    assert lines.shape == (32, 32) and lines[6:26, 6:26].sum() > 50 and not lines[12:20, 12:20].any()
    made = served.done(kind="sample", model="edges", condition={"source": {"job": job["id"]}})
    assert made["state"] == "done", made["error"]
    for model in ("coloured", "scenes"):
        other = served.done(kind="prepare", model=model, picture=given)
        assert other["state"] == "failed" and "has not learnt from pictures and what is made of them" in other["error"]


def test_a_look_says_what_restore_would_propose(served: Served, command: Command) -> None:
    noisy = np.random.default_rng(0).normal(128, 40, (96, 96, 3)).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noisy).save(out, "PNG")
    job = served.done(kind="look", picture={"upload": served.upload(out.getvalue())})
    facts = job["result"]["facts"]
    assert (facts["width"], facts["height"]) == (96, 96)
    assert next(one for one in facts["estimates"] if one["name"] == "noise")["wrong"]
    tasks = [step["task"] for step in facts["steps"]]
    assert tasks[0] == "denoise" and tasks[-1] == "enlarge:4"
    _, said, _ = command(*shlex.split(job["result"]["command"])[1:], "--json")
    assert [step["task"] for step in json.loads(said)["looked"]["steps"]] == tasks


def test_the_pictures_of_a_job_come_in_one_zip(served: Served) -> None:
    job = served.done(kind="sample", model="perlin", n=3, seed=2)
    answer = served.client.get(f"/api/jobs/{job['id']}/zip")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    assert job["id"] in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None and packed.namelist() == ["0000.png", "0001.png", "0002.png"]
        assert packed.read("0002.png") == served.file(job, 2).read_bytes()
    waiting = served.submit(kind="sample", model="perlin")["id"]
    refused = served.client.get(f"/api/jobs/{waiting}/zip")
    assert refused.status_code == 400 and "has no pictures" in refused.json()["error"]["message"]
    assert served.client.get("/api/jobs/0123456789abcdef/zip").status_code == 404
    served.client.post(f"/api/jobs/{waiting}/cancel")


def test_a_zip_is_sent_in_parts(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a" * (3 << 20))
    parts = list(zip_of([tmp_path / "a.png"]))
    assert len(parts) >= 3 and max(map(len, parts)) < 2 << 20


def test_fidelity_is_the_commands(served: Served) -> None:
    asked = {"kind": "restore", "model": "painter", "pictures": [{"upload": served.upload(png(16, 16))}]}
    refused = served.client.post("/api/jobs", json={**asked, "fidelity": 1.5})
    assert refused.status_code == 422
    job = served.done(**asked, task="inpaint", mask={"upload": served.upload(png(16, 16))}, fidelity=0.5)
    assert job["state"] == "failed" and "--fidelity" in job["error"]


def test_a_panorama_is_the_commands_at_the_seed_that_is_asked_for(
    served: Served, command: Command, tmp_path: Path
) -> None:
    network = built("palette", network=UNET, steps=2, condition="mask").eval()
    write_model(served.runs / "wide" / "model", network, {"data": "scenes | uncrop:0.5"})
    asked = {"kind": "restore", "model": "wide", "pictures": [{"upload": served.upload(png(26, 18))}]}
    for wrong in ("panorama", "panorama:0.5", "panorama:9", "panorama:nan", "panorama:3/../x"):
        assert served.client.post("/api/jobs", json={**asked, "task": wrong}).status_code == 422
    jobs = [served.done(**asked, task="panorama:1.5", seed=seed, knobs={"steps": 1}) for seed in (3, 4)]
    assert [job["result"]["pictures"][0]["width"] for job in jobs] == [39, 39], jobs[0]["error"]
    assert [job["result"]["pictures"][0]["record"]["seed"] for job in jobs] == [3, 4]
    said = shlex.split(jobs[0]["result"]["command"])
    assert command(*said[1:], "--out", tmp_path / "again.png")[0] == 0
    first, other = (Image.open(served.file(job)) for job in jobs)
    assert likeness(Image.open(tmp_path / "again.png"), first).identical and not likeness(other, first).identical
