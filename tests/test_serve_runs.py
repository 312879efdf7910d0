"""Runs as their files tell of them: how far, curves, previews, whether they learn; and what methods' pages say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from serving import Served, ask, png

from zeuxis.api.exercise import exercise_of, exercises, verdict
from zeuxis.api.functions import train
from zeuxis.api.learning import is_learning
from zeuxis.catalog.listing import entries, results
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.studio.run_files import MOST_POINTS, known_runs, run_called
from zeuxis.training.run_lock import run_lock

DONE = {"format": 2, "finished": False}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path / "runs")


def written(served: Served, name: str, lines: list[Any], **facts: Any) -> Path:
    """A run folder with a log of these lines."""
    folder = served.runs / name
    folder.mkdir()
    recipe = load_recipe("gan-ring").model_dump(mode="json")
    (folder / "run.json").write_text(json.dumps({**DONE, "recipe": recipe, **facts}))
    (folder / "log.jsonl").write_text(
        "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    )
    return folder


def test_a_run_is_told_of_as_it_was_trained(served: Served) -> None:
    train("gan-ring", iterations=3, batch=8, out=served.runs / "ring", quiet=True)
    (run,) = served.client.get("/api/runs").json()
    assert (run["name"], run["recipe"], run["done"], run["iterations"]) == ("ring", "gan-ring", 3, 3)
    assert run["finished"] and run["model"] and not run["training"] and run["job"] is None
    assert run["command"] == f"zeuxis train {served.runs / 'ring'}"
    told = served.client.get("/api/runs/ring").json()
    assert told["learning"]["answer"] == "not measured" and told["events"][-1] == [3, "finished"]
    assert "loss/generator" in told["columns"]
    curves = served.client.get("/api/runs/ring/curves").json()["curves"]
    assert list(curves) == told["columns"] and curves["loss/generator"][-1][0] == 3
    assert [one["iteration"] for one in told["previews"]] == [0, 3]
    sheet = served.client.get(told["previews"][-1]["url"])
    assert sheet.status_code == 200 and sheet.content.startswith(b"\x89PNG")
    assert served.client.get("/api/runs/ring/previews/00000009.png").status_code == 404
    found = served.done(kind="diagnose", run="ring", samples=50)
    assert found["state"] == "done" and found["lane"] == "drawing", found["error"]
    facts = found["result"]["facts"]
    assert "too short to tell" in [one["name"] for one in facts["findings"]] and facts["verdict"].endswith("failures")
    assert all(one["evidence"] and one["mend"] for one in facts["findings"])


def test_the_address_of_a_preview_leads_to_it_whatever_its_run_is_called(served: Served) -> None:
    folder = written(served, "mine #2, 50% ü", [{"round": 1}]) / "previews"
    folder.mkdir()
    (folder / "00000001.png").write_bytes(png())
    (told,) = served.client.get("/api/runs/mine%20%232%2C%2050%25%20%C3%BC").json()["previews"]
    assert served.client.get(told["url"]).content == png()


def test_what_a_claim_measures_is_held_against_what_is_expected(served: Served) -> None:
    recipe = load_recipe("mixture-digits")
    claim = recipe.claim
    assert claim is not None
    whole = served.done(kind="train", recipe="mixture-digits", name="digits", measure=True)
    run = served.client.get("/api/runs/digits").json()
    assert run["done"] == 1 and run["finished"] and "closed form" in run["learning"]["reason"]
    assert whole["state"] == "done", whole["error"]
    assert " && zeuxis evaluate " in whole["result"]["command"]
    found = served.done(kind="evaluate", run="digits")
    assert found["state"] == "done" and found["lane"] == "training", found["error"]
    facts = found["result"]["facts"]
    assert facts["metric"] == claim.metric and facts["meets"] in (True, False, None)
    assert facts.items() <= whole["result"]["facts"].items() and facts["run"] == "digits"
    assert facts["verdict"].startswith(f"{facts['value']:.4g}: ")
    command = found["result"]["command"]
    assert command.startswith(
        f"zeuxis evaluate {served.runs / 'digits'} --metric {claim.metric.split('/')[0]} --samples"
    )
    written(served, "plain", [])
    answer = served.client.post("/api/jobs", json={"kind": "evaluate", "run": "plain"})
    assert answer.status_code == 400 and "claims no figure" in answer.json()["error"]["message"]


def test_a_log_under_way_is_read_as_far_as_it_is_sound(served: Served) -> None:
    lines: list[Any] = [
        {"round": k, "images": 8 * k, "loss/x": k / 2, "held-out/mean": 1 / (k + 1)} for k in range(1000)
    ]
    folder = written(served, "long", [*lines, {"round": 1000, "loss/x": float("nan"), "seconds": 4.5}])
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"round": 10')  # a line that is being written
    (run,) = served.client.get("/api/runs").json()
    assert run["done"] == 1000 and run["seconds"] == 4.5 and not run["model"] and not run["finished"]
    curves = served.client.get("/api/runs/long/curves").json()["curves"]
    assert list(curves) == ["held-out/mean", "loss/x"]
    assert len(curves["loss/x"]) <= MOST_POINTS and curves["loss/x"][-1] == [999, 499.5]
    learning = served.client.get("/api/runs/long").json()["learning"]
    assert learning["answer"] == "yes" and "from 1 to 0.001" in learning["reason"]
    (folder / "log.jsonl").write_text("no log\n{}\n")
    assert served.client.get("/api/runs/long/curves").status_code == 400
    written(served, "empty", [])
    assert served.client.get("/api/runs/empty").json()["learning"]["answer"] == "not known yet"


def test_what_is_no_run_of_this_folder_is_not_told_of(served: Served, tmp_path: Path) -> None:
    outside = written(served, "moved", [{"round": 1}]).rename(tmp_path / "outside")
    (served.runs / "link").symlink_to(outside)
    inside = written(served, "inside", [{"round": 1}])
    (inside / "previews").mkdir()
    (inside / "previews" / "00000001.png").symlink_to(outside / "log.jsonl")
    (inside / "log.jsonl").unlink()
    (inside / "log.jsonl").symlink_to(outside / "log.jsonl")
    damaged = written(served, "damaged", [])
    (damaged / "run.json").write_text("{}")
    assert list(known_runs(served.runs)) == ["inside"]
    assert run_called("inside", served.runs).log() == [] and run_called("inside", served.runs).previews() == {}
    for name in ("link", "studio", "damaged", ".."):
        assert served.client.get(f"/api/runs/{name}/curves").status_code == 404


def test_a_run_is_laid_aside_with_its_jobs_and_can_be_moved_back(served: Served) -> None:
    job = served.done(kind="train", recipe="gan-ring", iterations=3, batch=8, name="mine")
    assert job["state"] == "done", job["error"]
    other = served.done(kind="sample", model="mine")
    for turn in ("mine", "mine-2"):  # another of that name, later
        answer = served.client.delete("/api/runs/mine")
        assert answer.status_code == 200, answer.text
        kept = served.folders.home / "removed" / turn
        assert answer.json() == {"name": "mine", "kept": str(kept), "back": f"mv {kept} {served.runs / 'mine'}"}
        assert (kept / "model" / "model.safetensors").is_file() and not (kept / "training.lock").exists()
        assert served.client.get("/api/runs").json() == [] and not (served.runs / "mine").exists()
        assert (
            served.client.get(f"/api/jobs/{job['id']}").status_code == 404
            and not served.folders.job(job["id"]).exists()
        )
        assert served.client.get(f"/api/jobs/{other['id']}").status_code == 200
        assert served.client.get("/api/models/mine").status_code == 404
        shutil.copytree(kept, served.runs / "mine")
        assert served.client.get("/api/runs/mine").json()["done"] == 3


def test_what_is_no_run_is_not_laid_aside(served: Served, tmp_path: Path) -> None:
    outside = written(served, "moved", [{"round": 1}]).rename(tmp_path / "outside")
    (served.runs / "link").symlink_to(outside)
    written(served, "inside", [])
    names = (
        "link",
        "studio",
        "..",
        ".",
        "../outside",
        "..%2Foutside",
        "%2e%2e",
        str(outside),
        f"/{outside}",
        "inside/..",
    )
    for answer in ask(served.app, [("DELETE", f"/api/runs/{name}", {}, None) for name in names]):
        assert answer.status in (404, 405), answer.text
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        assert served.client.delete("/api/runs/inside", headers=headers).status_code == 403
    assert list(known_runs(served.runs)) == ["inside"] and (outside / "run.json").is_file()
    assert not (served.folders.home / "removed").exists()


def test_a_run_that_is_trained_or_worked_with_is_not_laid_aside(served: Served) -> None:
    folder = written(served, "busy", [])
    with run_lock(folder):
        assert "is being trained" in refused(served, "busy")
    train("gan-ring", iterations=2, batch=8, out=served.runs / "mine", quiet=True)
    for asked in (
        {"kind": "train", "run": "mine", "iterations": 5},
        {"kind": "diagnose", "run": "mine"},
        {"kind": "sample", "model": "mine"},
        {"kind": "train", "recipe": "gan-ring", "start": "mine"},
    ):
        job = served.submit(**asked)["id"]
        assert f"job {job} ({asked['kind']}) works with mine" in refused(served, "mine")
        served.client.post(f"/api/jobs/{job}/cancel")
    assert served.client.delete("/api/runs/mine").status_code == 200


def test_a_run_that_others_are_built_upon_is_not_laid_aside_and_they_are_named(served: Served) -> None:
    base = written(served, "base", [])
    recipe = load_recipe("controlnet").model_dump(mode="json")
    by_recipe = written(served, "begun", [], recipe={**recipe, "model": {**recipe["model"], "base": str(base)}})
    assert refused(served, "base").startswith("begun is built upon base")
    card = {"system": "controlnet", "spec": {}, "config": {"base": {"given": {"model": "gone", "near": "../../base"}}}}
    for name, given in (("by-near", "gone"), ("by-name", str(base / "model"))):
        card["config"] = {"base": {"given": {"model": given, "near": "../../base", "sha256": "0"}}}
        (served.runs / name / "model").mkdir(parents=True)
        (served.runs / name / "model" / "model.json").write_text(json.dumps({"format": 2, **card}))
    assert refused(served, "base").startswith("begun, by-name, by-near are built upon base")
    for name in ("by-near", "by-name"):
        shutil.rmtree(served.runs / name)
    assert served.client.delete(f"/api/runs/{by_recipe.name}").status_code == 200
    assert served.client.delete("/api/runs/base").status_code == 200


def refused(served: Served, name: str) -> str:
    """Why a run is not laid aside."""
    answer = served.client.delete(f"/api/runs/{name}")
    assert answer.status_code == 400 and (served.runs / name / "run.json").is_file()
    return str(answer.json()["error"]["message"])


@pytest.mark.parametrize(
    ("losses", "answer"),
    [
        ([2.0], "not known yet"),
        ([2.0, 2.0, 2.5], "no"),
        ([2.0, 1.5, 1.2, 1.0, 0.8], "yes"),
        ([2.0, 1.0, 1.0, 1.0, 1.0, 1.0], "yes"),
        ([2.0, 1.0, 0.9, 1.3, 1.6], "worse again"),
        ([-1.0, -2.0, -3.0], "yes"),
    ],
)
def test_whether_it_learns_in_words(losses: list[float], answer: str) -> None:
    found = is_learning([(100 * k, loss) for k, loss in enumerate(losses)], logged=True)
    assert found.answer == answer and f"{losses[0]:.3g}" in found.reason
    assert ("stands still" in found.reason) == (losses == [2.0, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_every_method_shows_its_file_and_an_exercise_that_says_nothing_false(served: Served) -> None:
    for name, known in entries().items():
        found = served.client.get(f"/api/systems/{name}/source").json()
        assert found["file"] == known.path.name
        assert found["text"].splitlines()[found["begins"] - 1].startswith(f"class {known.class_name}")
    told = {
        name: asdict(one)
        for name in recipe_paths()
        if not name.endswith("-paper") and (one := exercise_of(load_recipe(name))) is not None
    }
    for name in ("vae", "gan", "perlin"):
        own = served.client.get(f"/api/systems/{name}/exercises").json()
        assert all({**told[one["recipe"]], "lacks": one["lacks"]} == one for one in own)
        assert [one["recipe"] for one in own] == [one.recipe for one in exercises(name)]
    figures = {name for name, one in told.items() if one["kind"] == "figure"}
    assert figures and figures <= results().keys()
    for name in figures:
        expected, measured = told[name]["expected"], [run["value"] for run in results()[name]["per_seed"]]
        assert (expected["least"], expected["most"]) == (min(measured), max(measured))
        assert f"{expected['value']:.4g}" in told[name]["text"] and told[name]["data"] in told[name]["text"]
    for name in ("../gan", "none", "gan.py"):
        assert served.client.get(f"/api/systems/{name}/source").status_code == 404


def test_a_figure_is_held_against_the_recipe_that_made_it() -> None:
    found = next(one for name in recipe_paths() if (one := exercise_of(load_recipe(name))) and one.kind == "figure")
    recipe, expected = load_recipe(found.recipe), found.expected
    assert expected is not None
    assert (expected.metric in found.text and "expect" in verdict(found, recipe, expected.value)) or expected.seeds > 1
    worse = expected.most + 1 if expected.better == "lower" else expected.least - 1
    assert "worse than" in verdict(found, recipe, worse)
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"iterations": 7})})
    assert "was changed" in verdict(found, other, expected.value)
    assert "no figure" in verdict(None, recipe, 1.0)
    assert exercises("no-such-system") == []


def test_reading_runs_loads_no_torch() -> None:
    names = "zeuxis.studio.runs, zeuxis.studio.learn, zeuxis.studio.dataset_routes"
    script = f"import sys, {names}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
