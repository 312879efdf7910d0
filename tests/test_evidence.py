"""What ties a result to the recipe, the commit, the weights and the machine of which it is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import zeuxis.api.evidence as ties
from zeuxis.api.evidence import (
    agreement,
    commit,
    lacking,
    place_of,
    recipe_sha256,
    recipe_standing,
    results_of,
    shipped_of,
)
from zeuxis.api.forecast import Forecast, forecast
from zeuxis.api.model import load
from zeuxis.api.reproduce import baseline_of, folders, judge_again, reproduce
from zeuxis.catalog.listing import entry, opinions, results
from zeuxis.catalog.weights import shipped
from zeuxis.cli.reproduce import foretold
from zeuxis.data.entries import ENTRIES
from zeuxis.data.library import data_of
from zeuxis.errors import DataError, UsageError
from zeuxis.recipe import Recipe, load_recipe, recipe_paths

SMALL = ('data="digits"', "size=8", "claim.samples=64", "claim.seeds=[0]")
TOOLS = Path(__file__).parent.parent / "tools"


def gaussian(*changes: str) -> Recipe:
    return load_recipe("gaussian", (*SMALL, *changes))


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("train.batch=9", True),
        ("train.iterations=9", True),
        ("players.network.lr=0.5", True),
        ("model.guidance=1.5", True),
        ("sample.steps=3", True),
        ("claim.samples=100", True),
        ('claim.metric="frechet"', True),
        ("size=16", True),
        ("claim.bound=0.1", False),
        ('claim.note="other words"', False),
        ("claim.seeds=[4]", False),
        ('about="other words"', False),
        ("train.preview_minutes=7.0", False),
    ],
)
def test_the_hash_of_a_recipe_is_of_what_changes_its_figure(change: str, counts: bool) -> None:
    plain, changed = load_recipe("digits"), load_recipe("digits", (change,))
    assert (recipe_sha256(plain) != recipe_sha256(changed)) == counts


def test_what_is_idle_is_not_part_of_a_recipe_and_older_hashes_hold() -> None:
    recipe = load_recipe("digits")
    assert recipe_sha256(recipe) != recipe_sha256(recipe, ties.IDLE_BEFORE), "digits has knobs that were given later"
    for recorded in (recipe_sha256(recipe), recipe_sha256(recipe, ties.IDLE_BEFORE)):
        assert recipe_standing({"recipe_sha256": recorded}, recipe) == "as now"
    for change in ("model.snapshot=0.5", "sample.autoguidance=2", "train.batch=9"):
        changed = load_recipe("digits", (change,))
        for recorded in (recipe_sha256(recipe), recipe_sha256(recipe, ties.IDLE_BEFORE)):
            assert recipe_standing({"recipe_sha256": recorded}, changed) == "recipe changed since", change


def test_a_default_of_the_method_is_part_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = recipe_sha256(load_recipe("digits")), ties.sections

    def with_other_default(recipe: Recipe) -> Any:
        return [
            type(part)(part.name, tuple(key.__class__(key.name, 3, 3, "") for key in part.keys), part.note)
            if part.name == "model"
            else part
            for part in real(recipe)
        ]

    monkeypatch.setattr(ties, "sections", with_other_default)
    assert recipe_sha256(load_recipe("digits")) != before


def test_a_keyword_that_came_later_leaves_the_hash_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    now, real = recipe_sha256(load_recipe("digits")), ties.sections
    assert recipe_sha256(load_recipe("digits", ("model.tolerance=0.03",))) != now

    def before(recipe: Recipe) -> Any:
        late = {"model.tolerance"}
        return [
            type(part)(part.name, tuple(key for key in part.keys if key.name not in late), part.note)
            for part in real(recipe)
        ]

    monkeypatch.setattr(ties, "sections", before)
    assert recipe_sha256(load_recipe("digits")) == now


def test_a_result_says_whether_its_recipe_is_still_the_same() -> None:
    recipe, rival = load_recipe("dcgan"), load_recipe("vae")
    found = {"recipe_sha256": recipe_sha256(recipe), "baseline_sha256": recipe_sha256(rival)}
    assert recipe_standing(found, recipe, rival) == "as now"
    assert recipe_standing(found, load_recipe("dcgan", ("train.batch=32",)), rival) == "recipe changed since"
    changed = load_recipe("vae", ("train.batch=32",))
    assert recipe_standing(found, recipe, changed) == "baseline's recipe changed since"
    assert recipe_standing({}, recipe, rival) == "recipe not recorded then"
    assert recipe_standing(found, None) == "recipe gone since"


def test_a_commit_is_marked_where_the_sources_have_changes(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    assert commit(tmp_path) is None
    package = tmp_path / "src"
    (package / "results").mkdir(parents=True)
    (package / "method.py").write_text("a = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    (package / "venv").mkdir()
    (package / "venv" / "method.py").write_text("installed = True\n")
    (tmp_path / ".git" / "info" / "exclude").write_text("venv\n")
    assert commit(package / "venv") is None, "the repository around an installed package is not its source"
    clean = commit(package)
    assert clean is not None and len(clean) == 40
    (package / "results" / "new.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("beside the package")
    assert commit(package) == clean, "results are not sources"
    (package / "other.py").write_text("b = 2\n")
    assert commit(package) == f"{clean}-dirty", "a method that no commit has"
    (package / "other.py").unlink()
    (package / "method.py").write_text("a = 3\n")
    assert commit(package) == f"{clean}-dirty"


def test_every_seed_names_its_weights_and_its_time(tmp_path: Path) -> None:
    recipe = gaussian()
    found = reproduce(recipe, out=tmp_path / "out", runs=tmp_path / "runs", seeds=(0, 1))
    assert [run["seed"] for run in found["per_seed"]] == [0, 1]
    for seed, run in zip((0, 1), found["per_seed"], strict=True):
        assert run["weights_sha256"] == load(tmp_path / "runs" / f"gaussian-{seed}").weights_sha256
        assert run["commit"] == load(tmp_path / "runs" / f"gaussian-{seed}").card["commit"] == found["commit"]
        assert run["train_seconds"] > 0 and run["measure_seconds"] > 0 and run["iterations"] == 1
    assert found["recipe_sha256"] == recipe_sha256(recipe)
    assert set(found["machine"]) >= {"kind", "model", "instructions", "cores", "threads", "precision"}


def test_a_result_of_another_kind_of_machine_is_kept_beside_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    where = {"out": tmp_path / "out", "runs": tmp_path / "runs"}
    first = reproduce(gaussian(), **where)
    assert [p.name for p in results_of("gaussian", where["out"])] == ["gaussian.json"]
    for module in ("reproduce", "machine"):
        monkeypatch.setattr(f"zeuxis.api.{module}.kind", lambda device="cpu": "riscv64")
    second = reproduce(gaussian(), **where)
    again = reproduce(gaussian("claim.bound=9"), **where)
    names = [p.name for p in results_of("gaussian", where["out"])]
    assert names == ["gaussian.json", "gaussian.riscv64.json"], "the same kind takes the place of its own alone"
    assert json.loads((where["out"] / "gaussian.json").read_text()) == first
    assert second["machine"]["kind"] == "riscv64" and second["sample_sheet"] is None and first["sample_sheet"]
    assert json.loads((where["out"] / names[1]).read_text()) == again
    strict = judge_again(gaussian("claim.bound=0.5"), out=where["out"])
    kept = [json.loads((where["out"] / name).read_text()) for name in names]
    assert strict == kept[0] and [one["holds"] for one in kept] == [False, False]
    reproduce(gaussian(), **where, replace=True)
    assert json.loads((where["out"] / "gaussian.json").read_text())["machine"]["kind"] == "riscv64"


def test_seeds_that_are_measured_one_after_another_join(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = gaussian("claim.seeds=[0,1]", "claim.bound=9")
    where = {"out": tmp_path / "out", "runs": tmp_path / "runs"}
    half = reproduce(recipe, **where, seeds=(1,))
    assert half["holds"] is None and lacking(recipe, half) == [0]
    for module in ("reproduce", "machine"):
        monkeypatch.setattr(f"zeuxis.api.{module}.kind", lambda device="cpu": "riscv64")
    whole = reproduce(recipe, **where, seeds=(0,))
    assert [run["seed"] for run in whole["per_seed"]] == [0, 1] and not lacking(recipe, whole)
    assert whole["per_seed"][1] == half["per_seed"][0] and whole["per_seed"][0]["machine"] == "riscv64"
    assert whole["value"] == pytest.approx(sum(run["value"] for run in whole["per_seed"]) / 2)
    assert whole["holds"] is not None and [p.name for p in results_of("gaussian", where["out"])] == ["gaussian.json"]
    other = gaussian("claim.seeds=[0,1]", "train.batch=7")
    alone = reproduce(other, out=where["out"], runs=tmp_path / "others", seeds=(0,))
    assert [run["seed"] for run in alone["per_seed"]] == [0], "those of another recipe do not"


def test_a_baseline_that_was_measured_is_not_trained_again(tmp_path: Path) -> None:
    where = {"out": tmp_path / "out", "runs": tmp_path / "runs"}
    rival = reproduce(load_recipe("mixture-digits"), **where, seeds=(0, 1))
    assert rival["baseline_seeds"] == 1
    samples = f"claim.samples={load_recipe('mixture-digits').claim.samples}"  # type: ignore[union-attr]
    same = ('data="digits"', "claim.seeds=[0]", 'claim.baseline="mixture-digits"', 'claim.metric="bits-per-dim"')
    sized = {**where, "runs": tmp_path / "sized"}
    found = reproduce(load_recipe("gaussian", (*same, samples, "size=8")), **sized)
    assert found["baseline_seeds"] == 1 and (sized["runs"] / "mixture-digits-on-digits-8-0").is_dir(), "of another size"
    own = load_recipe("gaussian", (*same, samples)).model_copy(update={"size": load_recipe("mixture-digits").size})
    found = reproduce(own, **where)
    values = [f["value"] for run in rival["per_seed"] for f in run["figures"] if f["name"] == found["metric"]]
    assert found["baseline_seeds"] == 2 and found["baseline_value"] == pytest.approx(sum(values) / 2)
    fewer = own.model_copy(update={"claim": own.claim.model_copy(update={"samples": 60})})  # type: ignore[union-attr]
    assert reproduce(fewer, **where)["baseline_seeds"] == 1, "of fewer pictures it is another figure"


def test_figures_of_a_recipe_that_changed_are_not_judged_again(tmp_path: Path) -> None:
    reproduce(gaussian(), out=tmp_path, runs=tmp_path / "runs")
    with pytest.raises(UsageError, match="the recipe of 'gaussian' is another than the one measured"):
        judge_again(gaussian("train.batch=7"), out=tmp_path)


def result(*values: float, sha: str = "a") -> dict[str, Any]:
    mean = sum(values) / len(values)
    return {"value": mean, "per_seed": [{"value": value} for value in values], "recipe_sha256": sha}


def test_two_opinions_agree_within_the_spread_of_one_of_them() -> None:
    first = result(2.3, 2.6, 2.7)
    assert agreement(first, result(2.76)) == "agrees within the spread"
    assert agreement(first, result(3.5)) == "differs beyond the spread"
    assert agreement(result(3.5), first) == "differs beyond the spread"
    assert agreement(result(2.0), result(2.1)) == "no verdict: one seed each"
    assert agreement(first, result(2.5, sha="b")) == "of another recipe"


def test_weights_in_the_package_and_their_result_name_each_other() -> None:
    for name, folder in shipped().items():
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        found = results()[name]
        assert found["shipped"]["sha256"] == card["sha256"], f"{name}: its result is of other weights"
        measured = {run["seed"]: run.get("weights_sha256") for run in found["per_seed"]}
        assert card.get("shipped_from") == measured[found["shipped"]["seed"]], name


def test_a_result_finds_the_weights_that_ship_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"sha256": "halved", "shipped_from": "whole"}')
    monkeypatch.setattr(ties, "shipped", lambda: {"mine": tmp_path})
    assert shipped_of({"other": 0, "whole": 2}) == {"name": "mine", "sha256": "halved", "seed": 2}
    assert shipped_of({"other": 0}) is None


def test_the_page_of_results_marks_each_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("generate_marks", TOOLS / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    found = {**results()["dcgan"], "recipe_sha256": recipe_sha256(load_recipe("dcgan"))}
    assert generate.standing(found) == "as now"
    assert generate.standing({**found, "recipe_sha256": "f" * 64}) == "recipe changed since"
    assert generate.standing({**found, "recipe_sha256": None}) == "recipe not recorded then"
    monkeypatch.setattr(generate, "feature_hashes", frozenset)
    assert generate.standing(found) == "as now, features 4395b57b changed since"
    at = {"commit": "0123456789-dirty", "per_seed": [{}, {"commit": "89abcdef01"}, {"commit": "0123456789-dirty"}]}
    assert generate.evidence(at) == "01234567 with changes, trained at 89abcdef"
    ships = {"commit": None, "per_seed": [], "shipped": {"sha256": "cafe" * 4}}
    assert generate.evidence(ships) == "none, ships cafecafe"
    there = {"kind": "x86_64-avx2", "precision": "float32", "threads": 2}
    other = generate.row({**found, "machine": there}, found)
    assert other[0] == "`dcgan`: agrees within the spread" and "2 threads, x86_64-avx2, float32" in other[8]
    assert all("." not in name for name in results()) and isinstance(opinions(), dict)


def test_a_forecast_counts_what_is_yet_to_train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zeuxis.api.forecast.MOST", 2)
    tiny = ("model.network.width=16", "model.network.depth=1", "model.network.heads=2", "train.iterations=500")
    recipe = load_recipe("digits", (*tiny, "train.batch=8", "sample.steps=2", "claim.seeds=[0,1,2]"))
    found = forecast(recipe, [*folders(recipe, tmp_path).values()])
    assert (found.trainings, found.measured, found.iterations) == (3, 3, 500)
    assert found.iteration is not None and found.measuring is not None and found.seconds is not None
    there = [
        (run["train_seconds"] / run["iterations"], run["measure_seconds"]) for run in results()["digits"]["per_seed"]
    ]
    pace, took = (sum(column) / len(there) for column in zip(*there, strict=True))
    assert found.measuring == pytest.approx(took * found.iteration / pace), "as much slower as an iteration is"
    assert found.seconds == pytest.approx(3 * (500 * found.iteration + found.measuring))
    assert not [*tmp_path.iterdir()], "it leaves nothing behind"
    reproduce(gaussian(), out=tmp_path / "out", runs=tmp_path)
    (before,) = results()["gaussian"]["per_seed"]
    assert forecast(gaussian(), [*folders(gaussian(), tmp_path).values()]) == Forecast(
        0, 1, pytest.approx(before["train_seconds"]), 1, pytest.approx(before["measure_seconds"])
    ), "a closed form takes what it took"


def test_a_round_that_draws_five_batches_is_one_iteration() -> None:
    """Its recorded images are of the critic's batches too: to divide them by the batch gives five times the budget."""
    recipe = load_recipe("wgan-gp")
    assert recipe.train.iterations is not None
    images = [run["images"] for run in results()["wgan-gp"]["per_seed"]]
    assert 5 * recipe.train.batch * recipe.train.iterations == pytest.approx(sum(images) / len(images), rel=0.03)


def test_what_is_foretold_is_said_in_words() -> None:
    assert foretold(Forecast(3, 1000, 0.1, 3, 20.0)).startswith("6:00 here: 3 x 1,000 iterations of 0.1 s, 1:00 of m")
    assert "closed form" in foretold(Forecast(1, None, None, 1, None))
    assert foretold(Forecast(0, 1000, 0.1, 1, 20.0)) == "1 model trained already; measuring 0:20"
    assert foretold(Forecast(1, 1, 3.0, 1, 2.0)).startswith("0:05 here: one pass over the data, 0:02 of measuring")


@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"machine": 3}', "[" * 100_000])
def test_what_is_no_result_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "gaussian.json").write_text(text)
    with pytest.raises(DataError, match=r"gaussian\.json (cannot be read|is no result).*move it away"):
        place_of(gaussian(), "x86_64", tmp_path, replace=False)
    with pytest.raises(DataError, match=r"gaussian\.json"):
        judge_again(load_recipe("gaussian"), out=tmp_path)


def of_worlds() -> list[Recipe]:
    """Recipes whose claim has a baseline, on data that are made here."""
    every = [load_recipe(name) for name in recipe_paths()]
    known = [(recipe, ENTRIES.get(str(recipe.data).partition("|")[0].strip())) for recipe in every]
    return [
        recipe
        for recipe, data in known
        if data is not None and data.format == "world" and recipe.claim is not None and recipe.claim.baseline
    ]


@pytest.mark.parametrize("recipe", of_worlds(), ids=lambda recipe: recipe.name)
def test_a_baseline_is_told_what_it_needs(recipe: Recipe) -> None:
    assert recipe.claim is not None and recipe.claim.baseline is not None
    other = baseline_of(recipe, recipe.claim.baseline)
    provided = data_of(other.data).open(other.size, "train", other.fit).spec.provides
    needs = {*entry(other.system).card.needs, other.model.get("condition", "none")} - {"none"}
    assert needs <= provided, f"{other.name} on {other.data}"
    assert (other.size, other.fit, other.subset) == (recipe.size, recipe.fit, recipe.subset)


def test_a_baseline_learns_from_the_same_data_in_the_form_that_it_takes() -> None:
    assert baseline_of(load_recipe("colorizer"), "sr-resnet").data == "scenes | grey"
    assert baseline_of(load_recipe("spade"), "pix2pix-layout").data == "scenes | layout"
    assert baseline_of(load_recipe("vq-vae-emoji"), "pca").data == "noto-emoji"
