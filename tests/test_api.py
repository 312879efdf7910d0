"""What a user does, end to end on the embedded digits: train, go on, sample, measure, prove, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zeuxis.api.compare import GENERATED, compare
from zeuxis.api.evaluate import DISTANCES, default_metrics, evaluate
from zeuxis.api.features import features_of, judge_of
from zeuxis.api.model import Model, load
from zeuxis.api.replay import replay
from zeuxis.api.reproduce import holds, judge_again, reproduce
from zeuxis.api.runs import recorded, train
from zeuxis.batch import Shape
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.listing import system_class
from zeuxis.data.entries import may_show
from zeuxis.data.library import open_source
from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.knobs import Sampling
from zeuxis.metrics.oracle import UNSAID
from zeuxis.metrics.record import Figure
from zeuxis.metrics.table import Evidence
from zeuxis.recipe import Recipe, load_recipe, merged
from zeuxis.spec import DataSpec

SMALL = (
    "train.iterations=6",
    "model.network.width=16",
    "model.network.depth=1",
    "model.network.heads=2",
    "model.steps=2",
    "train.batch=8",
)


def digits(*changes: str) -> Recipe:
    recipe = load_recipe("digits", (*SMALL, *changes))
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"minutes": None})})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(digits(), out=tmp_path_factory.mktemp("runs") / "run").folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_takes_hours_is_not_measured_unasked() -> None:
    def asked_of(recipe: str) -> tuple[str, ...]:
        plan = load_recipe(recipe)
        system = system_class(plan.system)(Shape(1, 32, 32), **{**plan.model, **plan.tiny})
        return default_metrics(Model(recipe, system, {}))

    assert "bits-per-dim" in asked_of("vae") and "bits-per-dim" not in asked_of("ddpm")
    assert {"rebuilt-frechet", "codes-used"} <= set(asked_of("vqgan"))


def test_a_run_folder_holds_all_that_sampling_needs(run: Path) -> None:
    assert {p.name for p in run.iterdir()} >= {"run.json", "log.jsonl", "checkpoints", "model", "previews"}
    model = load(run)
    assert model.card["data"] == "digits" and model.card["round"] == 6
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["event"] == "finished" and any("loss/network" in line for line in lines)


def test_picture_k_of_seed_s_is_that_of_seed_s_plus_k_at_any_batch(run: Path) -> None:
    model = load(run)
    five = model.sample(5, seed=3, label=7)
    assert torch.equal(five.tensor, model.sample(5, seed=3, label=7).tensor)
    parts = model.sample(5, seed=3, label=7, batch=2)
    assert (five.tensor - parts.tensor).abs().max() < 2e-3
    alone = model.sample(1, seed=6, label=7)
    assert (five.tensor[3] - alone.tensor[0]).abs().max() < 2e-3
    apart = {k for k, held in five.records[3].items() if held != alone.records[0][k]}
    assert apart == {"drawn"} and [r["drawn"]["row"] for r in five.records] == [0, 1, 2, 3, 4]


def test_a_picture_is_drawn_again_from_its_record(run: Path, tmp_path: Path) -> None:
    from zeuxis.provenance.record import read_record

    path = load(run).sample(2, seed=5, label=[1, 2], guidance=2.0).save(tmp_path / "two")[1]
    made = read_record(path)
    assert (
        made["synthetic"] is True and made["condition"] == {"label": {"number": 2, "name": "2"}} and made["seed"] == 6
    )
    again, differs = replay(made)
    assert differs == []
    again.save(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()


def test_what_a_model_cannot_do_is_refused(run: Path) -> None:
    model = load(run)
    with pytest.raises(Unsupported, match="not conditioned on a caption"):
        model.sample(1, caption="a red circle")
    with pytest.raises(Unsupported, match="has no knob 'temperature'"):
        model.sample(1, temperature=0.5)
    with pytest.raises(UsageError, match="outside the 10 classes"):
        model.sample(1, label=10)
    with pytest.raises(UsageError, match="2 values of label for 3 pictures"):
        model.sample(3, label=[1, 2])


def test_a_finished_run_goes_on_only_with_the_same_training(run: Path) -> None:
    found = recorded(run)
    assert found is not None and found.finished
    assert found.trains(digits("claim.samples=9")), "a claim does not change a training"
    assert not found.trains(digits("train.batch=9"))
    with pytest.raises(UsageError, match="holds a run of another recipe"):
        train(digits("train.batch=9"), out=run)


def test_training_can_start_from_a_model(run: Path, tmp_path: Path) -> None:
    started = train(digits(f'train.start="{run}"', "players.network.lr=0.0"), out=tmp_path / "on")
    old, new = load(run).system.state_dict(), load(started.folder).system.state_dict()
    assert all(torch.allclose(old[k], new[k], atol=1e-6) for k in old), "at learning rate 0 nothing moves"
    assert load(started.folder).card["started_from"] == load(run).weights_sha256
    with pytest.raises(WeightsError, match="cannot be started from"):
        train(digits('train.start="judge-scenes"'), out=tmp_path / "no")


def test_figures_say_how_they_were_taken(run: Path) -> None:
    figures = evaluate(load(run), samples=32, how=Sampling(steps=2))
    assert [f.name for f in figures] == [*DISTANCES, "copied", "nearer-to-training"]
    own = load("features-digits").weights_sha256[:16]
    assert {f.name for f in figures if f.features == own} == {"frechet", "kernel", "precision", "recall"}
    assert all(f.reference for f in figures) and all(f.floor is not None for f in figures[:8])
    assert figures[0].warning is not None and "biased below 5000" in figures[0].warning
    pixels = evaluate(load(run), samples=32, metrics=("frechet",), features="pixels-8", how=Sampling(steps=2))[0]
    assert pixels.features == "pixels-8" and pixels.value != figures[0].value


def test_data_that_nothing_reads_is_measured_in_pixels() -> None:
    assert judge_of("digits") is not None and judge_of("no-such-data") is None
    space = features_of("no-such-data")
    assert space.name == "pixels-8" and space.of(torch.zeros(2, 3, 32, 32)).shape == (2, 192)


def test_a_claim_is_proved_and_written_down(tmp_path: Path) -> None:
    recipe = load_recipe("gaussian", ('data="digits"', "size=8", "claim.samples=64", "claim.bound=9"))
    found = reproduce(recipe, out=tmp_path / "results", runs=tmp_path / "runs")
    assert found["holds"] and found["value"] <= 9 and found["per_seed"][0]["seed"] == 0
    assert json.loads((tmp_path / "results" / "gaussian.json").read_text()) == found
    assert (tmp_path / "results" / found["sample_sheet"]).is_file()
    again = reproduce(recipe, out=tmp_path / "results", runs=tmp_path / "runs")
    assert again["value"] == found["value"] and again["weights_sha256"] == found["weights_sha256"]


def test_no_picture_is_kept_of_data_that_may_not_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert may_show("fashion-mnist") and may_show("./my/photographs")
    assert not may_show("faces-gray64") and not may_show("faces-gray64 | grey")
    monkeypatch.setattr("zeuxis.api.reproduce.may_show", lambda data: data != "digits")
    recipe = load_recipe("gaussian", ('data="digits"', "size=8", "claim.samples=64"))
    found = reproduce(recipe, out=tmp_path / "results", runs=tmp_path / "runs")
    assert found["sample_sheet"] is None and [p.name for p in (tmp_path / "results").iterdir()] == ["gaussian.json"]


def test_figures_are_held_against_a_new_bound_without_being_taken_again(tmp_path: Path) -> None:
    small = ('data="digits"', "size=8", "claim.samples=64")
    found = reproduce(load_recipe("gaussian", (*small, "claim.bound=9")), out=tmp_path, runs=tmp_path / "runs")
    strict = judge_again(load_recipe("gaussian", (*small, "claim.bound=0.5")), out=tmp_path)
    assert not strict["holds"] and strict["bound"] == 0.5 and strict["per_seed"] == found["per_seed"]
    assert json.loads((tmp_path / "gaussian.json").read_text()) == strict
    mild = judge_again(load_recipe("gaussian", (*small, "claim.bound=9")), out=tmp_path)
    assert mild == found
    for change, named in (
        ('claim.metric="psnr"', "metric"),
        ("claim.seeds=[0,1]", "seeds"),
        ("claim.samples=32", "samples"),
    ):
        with pytest.raises(UsageError, match=named):
            judge_again(load_recipe("gaussian", (*small, change)), out=tmp_path)
    with pytest.raises(UsageError, match="reproduce it first"):
        judge_again(load_recipe("gaussian", small), out=tmp_path / "nowhere")


def test_a_baseline_on_other_data_has_a_folder_of_its_own(tmp_path: Path) -> None:
    from zeuxis.catalog.weights import load_system

    small = ("claim.samples=40", "claim.seeds=[0]", "model.components=2")
    where = {"out": tmp_path / "results", "runs": tmp_path / "runs"}
    found = reproduce(load_recipe("mixture-digits", small), **where)
    other = reproduce(load_recipe("mixture", ('data="digits"', "size=16", *small)), **where, seeds=(1,))
    assert found["baseline_value"] != other["baseline_value"]
    folders = {path.name for path in (tmp_path / "runs").iterdir()}
    assert folders == {"mixture-digits-0", "mixture-1", "gaussian-on-digits-own-0", "gaussian-on-digits-16-0"}
    own, _ = load_system(tmp_path / "runs" / "gaussian-on-digits-own-0")
    assert tuple(own.shape) == (1, 8, 8), "pictures of the size that the claim is about, whatever the baseline's own"


def test_a_claim_must_meet_its_bound_and_beat_its_baseline() -> None:
    claim = load_recipe("dcgan").claim
    assert claim is not None and claim.better == "lower" and claim.bound is not None
    assert holds(claim.bound, claim, claim.bound + 1)
    assert not holds(claim.bound, claim, claim.bound), "a tie is no win"
    assert not holds(claim.bound + 0.1, claim, claim.bound + 1)
    unbound = claim.model_copy(update={"bound": None, "better": "higher"})
    assert holds(2.0, unbound, 1.0) and not holds(1.0, unbound, 2.0)
    assert holds(2.0, unbound, None) is None, "with neither a bound nor a baseline nothing can fail, and nothing holds"


def test_a_comparison_is_a_table_a_gallery_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = compare(["gaussian", "pca"], data="digits", minutes=0.1, samples=64)
    own = Path("runs") / "compare-gaussian-pca-on-digits"
    assert found["folder"] == str(own) and found["used_again"] == []
    with monkeypatch.context() as patch:
        _another_comparison_has_another_folder(found, patch)
    own.rename(tmp_path / "c")
    assert [e["recipe"] for e in found["entries"]] == ["gaussian", "pca"] and found["data"] == "digits"
    page = (tmp_path / "c" / "index.html").read_text()
    for file in ("gaussian.png", "pca.png", "real.png", "compare.json"):
        assert (tmp_path / "c" / file).is_file()
    assert "gaussian.png" in page and "held out" in page and "--budget 0.1m" in page
    assert "is not known" in found["verdicts"][0] and "is not known" in page
    pca = found["entries"][1]
    assert pca["cost"]["multiply_adds"] == 32 * 32 * 64  # one matrix, from components to pixels
    with pytest.raises(Unsupported, match="neither draws nor rebuilds"):
        compare(["gaussian", "digits", "features-digits"], data="digits", minutes=0.1, out=tmp_path / "d")
    with pytest.raises(Unsupported, match="'scenes' needs caption, which 'digits' does not provide"):
        compare(["gaussian", "scenes"], data="digits", minutes=0.1, out=tmp_path / "e")
    assert not (tmp_path / "e").exists()  # none was trained before that was seen


def test_a_judge_is_read_once_by_an_evaluation_and_not_at_all_to_choose_its_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawing, asked = load("scenes"), []

    def counted(name: str, device: str) -> Model:
        asked.append(name)
        return load(name, device)

    monkeypatch.setattr("zeuxis.api.features.load", counted)
    assert default_metrics(drawing)[0] == "agreement" and not asked
    found = evaluate(drawing, metrics=("agreement", "two-sample"), samples=8, how=Sampling(steps=1))
    assert {figure.name for figure in found} >= {"agreement", "two-sample"} and asked == ["judge-scenes"]


def _another_comparison_has_another_folder(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another seed it has; of the same one none, and it goes on. Nothing is measured again here."""
    measured = {entry["recipe"]: entry for entry in found["entries"]}
    monkeypatch.setattr("zeuxis.api.compare._measure", lambda plan, *rest: measured[plan.name])
    own = Path(found["folder"])
    written = (own / "compare.json").read_bytes()
    asked: dict[str, Any] = {"data": "digits", "minutes": 0.1, "samples": 64}
    other = compare(["gaussian", "pca"], seed=3, **asked)
    assert other["folder"] == f"{own}-2" and other["used_again"] == []
    assert (own / "compare.json").read_bytes() == written
    again = compare(["gaussian", "pca"], **asked)
    assert again["folder"] == str(own) and again["used_again"] == ["gaussian", "pca"]
    (own / "plan.json").rename(own / "kept")  # now it is somebody else's, or of before there were plans
    assert compare(["gaussian", "pca"], **asked)["folder"] == f"{own}-3"


def test_a_comparison_of_several_seeds_says_which_differences_count(tmp_path: Path) -> None:
    keywords = {"data": "digits", "iterations": 2, "samples": 32, "repeats": 2, "out": tmp_path}
    found = compare(["pca", "autoencoder"], **keywords)  # type: ignore[arg-type]
    assert (found["iterations"], found["minutes"], found["seed"], found["repeats"]) == (2, None, 0, 2)
    coder = found["entries"][1]
    (psnr,) = (f for f in coder["figures"] if f["name"] == "psnr")
    seeds = [f["value"] for run in coder["per_seed"] for f in run if f["name"] == "psnr"]
    assert psnr["value"] == pytest.approx(sum(seeds) / 2) and seeds[0] != seeds[1] and psnr["deviation"] > 0
    assert len(set(coder["weights_sha256"])) == 2 and (tmp_path / "autoencoder-1" / "model").is_dir()
    assert "33%" in found["verdicts"][-1]
    page = (tmp_path / "index.html").read_text()
    assert "±" in page and "--budget 2i" in page and "--repeats 2" in page and "seeds 0 to 1" in page
    with pytest.raises(UsageError, match="one budget"):
        compare(["pca", "autoencoder"], minutes=1.0, iterations=2, out=tmp_path)


def test_recipes_without_a_common_figure_are_shown_side_by_side(tmp_path: Path) -> None:
    found = compare(["parzen", "autoencoder"], data="digits", iterations=2, samples=32, out=tmp_path)
    assert found["verdicts_by"] is None and "in common" in (tmp_path / "index.html").read_text()


def test_of_few_pictures_what_they_are_enough_for_is_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in (12, 30):  # of which one in ten is held out
        (tmp_path / f"of {n}").mkdir()
        for k in range(n):
            Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(tmp_path / f"of {n}" / f"{k}.png")
    with pytest.raises(
        UsageError, match="holds 1 picture to measure on, of 5000 asked for: a comparison needs 2 or more"
    ):
        compare(["gaussian", "pca"], data=str(tmp_path / "of 12"), iterations=1, out=tmp_path / "none")
    assert not (tmp_path / "none").exists(), "it is said before anything is trained"
    found = compare(["gaussian", "pca"], data=str(tmp_path / "of 30"), iterations=1, out=tmp_path / "out")
    assert found["left_out"].startswith("left out, for 3 pictures are too few: precision (from 4)")
    assert [e["recipe"] for e in found["entries"] if e["figures"][0]["name"] == "frechet"] == ["gaussian", "pca"]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "measured on 3 pictures" in page and "of 30&#x27; --budget 1i" in page


def test_what_only_rebuilds_is_compared_by_what_comes_back(tmp_path: Path) -> None:
    found = compare(["parzen", "pca", "autoencoder"], data="digits", iterations=2, samples=64, out=tmp_path)
    figures = {e["recipe"]: {f["name"] for f in e["figures"]} for e in found["entries"]}
    assert figures["parzen"] == {*GENERATED, "nearer-to-training"}, "it draws, and codes nothing"
    assert figures["autoencoder"] == {"rebuilt-frechet", "psnr"}, "it codes, and draws nothing of itself"
    assert figures["pca"] == figures["parzen"] | figures["autoencoder"]
    assert [e["kept"] for e in found["entries"]] == [None, "64 numbers", "64 numbers"]
    page = (tmp_path / "index.html").read_text()
    shown = {file for file in ("parzen.png", "pca.png", "autoencoder.png", "pca-rebuilt.png", "autoencoder-rebuilt.png")
             if f"src='{file}'" in page}  # fmt: skip
    assert shown == {"parzen.png", "pca.png", "pca-rebuilt.png", "autoencoder-rebuilt.png"}
    assert all((tmp_path / file).is_file() for file in shown)


def test_a_model_that_holds_another_is_rebuilt_whole(tmp_path: Path) -> None:
    from zeuxis.catalog.build import build
    from zeuxis.catalog.weights import load_system
    from zeuxis.training.checkpoint import write_model

    reader = load("features-digits").system
    model = {**load_recipe("vqgan").model, **load_recipe("vqgan").tiny, "features": reader}
    system = build("vqgan", DataSpec(reader.shape), model)
    write_model(tmp_path / "model", system, {})
    again, _ = load_system(tmp_path)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in system.state_dict().items())
    assert any(k.startswith("features.") for k in again.state_dict())


def test_a_picture_owes_its_caption_no_more_than_that_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions of faces tell neither skin nor light: nothing is asked of either, and everything else is."""
    recipe = load_recipe("scenes", ('data="faces"', "size=64"))
    wider = {"network": {"patch": 16}, "text": {"sketch": 0, "length": 24}}
    small = recipe.model_copy(update={"model": merged(merged(recipe.model, recipe.tiny), wider)})
    system = build_for(small, open_source("faces", 64, "train")).eval()
    asked = []

    def measured(metrics: object, evidence: Evidence, **rest: object) -> list[Figure]:
        asked.append((evidence.factor_names, evidence.target))
        return []

    monkeypatch.setattr("zeuxis.api.evaluate.measure", measured)
    evaluate(Model("faces", system, {"data": "faces", "config": {}}), metrics=("agreement",), samples=6)
    ((names, wanted),) = asked
    assert wanted is not None
    for k, name in enumerate(names):
        silent = (wanted[:, k] == UNSAID).all()
        assert silent == (name in ("skin", "light")), name


def test_what_is_drawn_in_steps_is_shown_in_steps() -> None:
    model = load("align-draw")
    says = ["a small red circle by day", "a large blue square by day"]
    pictures = model.sample(2, 7, caption=says)
    assert pictures.steps is not None and torch.equal(pictures.steps[:, -1], pictures.tensor)
    steps, side = pictures.steps.shape[1], model.system.shape.height
    assert pictures.sheet().size == (steps * (side + 2) + 2, 2 * (side + 2) + 2), "a row for each picture"
    assert pictures.sheet(columns=2).size == (2 * (side + 2) + 2, side + 4)
    torch.testing.assert_close(model.sample(1, 8, caption=says[1]).tensor[0], pictures.tensor[1], atol=1e-4, rtol=0)
    assert load("vqgan").verbs.isdisjoint({"draw_steps"}) and load("cvae").sample(1).steps is None
