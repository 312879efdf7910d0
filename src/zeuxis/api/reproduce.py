"""Proving a recipe's claim: train, measure, compare with the baseline, and write down what was found."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zeuxis.api.evaluate import default_metrics, evaluate
from zeuxis.api.evidence import (
    lacking,
    loaded_commit,
    measured_before,
    other_seeds,
    place_of,
    read_result,
    recipe_sha256,
    recipe_standing,
    results_of,
    shipped_of,
)
from zeuxis.api.machine import kind, machine
from zeuxis.api.measurable import enough
from zeuxis.api.model import Model, load
from zeuxis.api.reporting import Report
from zeuxis.api.runs import newest_preview, recorded, train
from zeuxis.api.thumbnail import small_sheet
from zeuxis.data.entries import may_show
from zeuxis.data.library import Data, data_of
from zeuxis.errors import DataError, Stopped, UnknownName, UsageError
from zeuxis.knobs import Sampling
from zeuxis.metrics.table import METRICS
from zeuxis.provenance.record import write_whole
from zeuxis.recipe import Claim, Recipe, load_recipe, replaced
from zeuxis.training.threads import held
from zeuxis.version import __version__

RUNS = Path("runs/reproduce")
OF_PICTURES = ("data", "size", "fit", "subset")  # keys of a recipe that say which pictures it learns from


def reproduce(
    recipe: Recipe,
    *,
    out: Path = Path("results"),
    runs: Path = RUNS,
    seeds: tuple[int, ...] | None = None,
    device: str = "cpu",
    replace: bool = False,
    report: Report = lambda message, fraction: None,
) -> dict[str, Any]:
    """Train ``recipe`` once for every seed of its claim, measure, and write ``out/<recipe>.json``.

    Where that file is from a machine of another kind it stays, and this result is written beside it as
    ``out/<recipe>.<kind>.json``, unless it is to ``replace`` the first. Trainings live in ``runs`` and are gone on
    with (or, when finished, used again) by the same call. With ``seeds`` those alone are measured, and join what the
    file holds of other seeds of the same recipe. A baseline whose own result lies in ``out`` is not trained again.

    The claim holds if the mean over its seeds, once all are there, meets the bound and, where there is a baseline,
    beats it; with neither, nothing is claimed yet, and ``holds`` is None.
    """
    claim = claim_of(recipe)
    start = time.monotonic()
    path = place_of(recipe, kind(device), out, replace=replace)
    with held(device):
        models, per_seed = [], []
        for seed, folder in folders(recipe, runs, seeds).items():
            model = trained(seeded(recipe, seed), folder, device, report)
            models.append(model)
            per_seed.append(_of_one_seed(seed, model, recipe, claim, report))
        newest, card = per_seed[-1], models[-1].card
        spent = round(time.monotonic() - start, 1)
        others = other_seeds(recipe, path, [run["seed"] for run in per_seed])
        per_seed = sorted([*others, *per_seed], key=lambda run: run["seed"])
        value = sum(run["value"] for run in per_seed) / len(per_seed)
        rivals = _baseline(recipe, claim, runs, out, device, report)
    baseline = sum(rivals) / len(rivals) if rivals else None
    result = {
        "recipe": recipe.name,
        "recipe_sha256": recipe_sha256(recipe),
        "system": recipe.system,
        "data": recipe.data,
        "metric": claim.metric,
        "better": claim.better,
        "value": value,
        "per_seed": per_seed,
        "baseline": claim.baseline,
        "baseline_sha256": None if claim.baseline is None else recipe_sha256(load_recipe(claim.baseline)),
        "baseline_value": baseline,
        "baseline_seeds": len(rivals),
        "bound": claim.bound,
        "holds": None,
        "note": claim.note,
        "seconds": spent,
        "machine": machine(device, threads=card.get("threads"), precision=card.get("precision")),
        "commit": loaded_commit(),
        "versions": {"zeuxis": __version__, **{p: version(p) for p in ("torch", "numpy", "safetensors")}},
        "weights_sha256": newest["weights_sha256"],
        "built_upon": card.get("built_upon", {}),
        "shipped": shipped_of({run["weights_sha256"]: run["seed"] for run in per_seed if "weights_sha256" in run}),
        "sample_sheet": None,
    }
    if not lacking(recipe, result):
        result["holds"] = holds(value, claim, baseline)
    out.mkdir(parents=True, exist_ok=True)
    preview = newest_preview([*folders(recipe, runs, seeds).values()][-1])
    if path.stem == recipe.name and preview is not None and may_show(recipe.data):
        result["sample_sheet"] = f"{recipe.name}.webp"
        small_sheet(preview, out / f"{recipe.name}.webp")
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
    return result


def claim_of(recipe: Recipe) -> Claim:
    """The claim that a recipe makes."""
    if recipe.claim is None:
        raise UsageError(f"recipe '{recipe.name}' makes no claim: only recipes with a [claim] table can be reproduced")
    return recipe.claim


def folders(recipe: Recipe, runs: Path = RUNS, seeds: tuple[int, ...] | None = None) -> dict[int, Path]:
    """Where the training of each seed lives."""
    return {seed: runs / f"{recipe.name}-{seed}" for seed in seeds or claim_of(recipe).seeds}


def _of_one_seed(seed: int, model: Model, recipe: Recipe, claim: Claim, report: Report) -> dict[str, Any]:
    start = time.monotonic()
    found = measured(model, recipe, claim, report, default_metrics(model))
    card = model.card
    return {
        "seed": seed,
        "value": found["value"],
        "figures": found["figures"],
        "train_seconds": card.get("seconds"),
        "measure_seconds": round(time.monotonic() - start, 1),
        "images": card["images"],
        "iterations": card["round"],
        "weights_sha256": model.weights_sha256,
        "commit": card.get("commit"),  # of its training, which may have been finished before this
        "machine": kind(model.device),
    }


def judge_again(recipe: Recipe, *, out: Path = Path("results")) -> dict[str, Any]:
    """Hold the figures in ``out/<recipe>.json`` against the claim's present bound, measuring nothing.

    Bounds are set from figures, so they come after them. Raises ``UsageError`` where there are no figures, or
    where they are not of the present claim: of another metric, data, baseline or seeds, or of more pictures, or of
    a recipe that has changed since. Figures from machines of other kinds, in files of their own, are judged too.
    """
    paths = results_of(recipe.name, out)
    if recipe.claim is None or not paths:
        raise UsageError(f"there are no figures of '{recipe.name}' in '{out}': reproduce it first, or give --out")
    first, *_ = [_judged(recipe, recipe.claim, path) for path in paths]
    return first


def _judged(recipe: Recipe, claim: Claim, path: Path) -> dict[str, Any]:
    result = read_result(path)
    try:
        return _judged_result(recipe, claim, path, result)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no result ({type(error).__name__}: {error}): reproduce the claim again") from None


def _judged_result(recipe: Recipe, claim: Claim, path: Path, result: dict[str, Any]) -> dict[str, Any]:
    runs = result["per_seed"]
    counts = {figure["samples"] for run in runs for figure in run["figures"] if figure["name"] == claim.metric}
    present = {
        "metric": claim.metric,
        "better": claim.better,
        "data": recipe.data,
        "baseline": claim.baseline,
        "seeds": list(claim.seeds),
    }
    found = {key: result[key] for key in present if key != "seeds"} | {"seeds": [run["seed"] for run in runs]}
    if found != present or max(counts) > claim.samples:
        differs = ", ".join(key for key in present if found[key] != present[key]) or "samples"
        raise UsageError(f"the figures of '{recipe.name}' in '{path}' are of another claim ({differs}): reproduce it")
    if "changed" in recipe_standing(result, recipe):
        raise UsageError(f"the recipe of '{recipe.name}' is another than the one measured in '{path}': reproduce it")
    result |= {
        "bound": claim.bound,
        "note": claim.note,
        "holds": holds(result["value"], claim, result["baseline_value"]),
    }
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
    return result


def trained(recipe: Recipe, folder: Path, device: str, report: Report, data: Data | None = None) -> Model:
    """The recipe's model: trained now, gone on with, or as an equal training that finished left it in ``folder``."""
    if not is_trained(recipe, folder):
        run = train(
            recipe,
            data=data,
            out=folder,
            device=device,
            report=lambda clock, preview: report(
                f"training {recipe.name}, seed {recipe.train.seed}: iteration {clock.round}", clock.progress
            ),
        )
        if run.stopped:
            raise Stopped(run.stopped)
    return load(folder, device)


def is_trained(recipe: Recipe, folder: Path) -> bool:
    """Whether an equal training that finished lies in ``folder``."""
    found = recorded(folder)
    return found is not None and found.finished and found.trains(recipe)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed of training."""
    return replaced(recipe, {"train.seed": seed})


def measured(model: Model, recipe: Recipe, claim: Claim, report: Report, extra: Sequence[str] = ()) -> dict[str, Any]:
    """The claim's figure, with those called ``extra`` that the held-out pictures are enough for; a claim may be about a
    part, as ``agreement/time``."""
    whole = claim.metric.split("/")[0]
    if compared := tuple(metric for metric in extra if metric in METRICS):  # the others are proofs without data
        held_out = data_of(recipe.data).open(recipe.size, "test", recipe.fit)
        able, _ = enough(compared, min(claim.samples, len(held_out)))
        extra = [metric for metric in extra if metric not in compared or metric in able]
    found = evaluate(
        model,
        data=recipe.data,
        metrics=(whole, *(metric for metric in extra if metric != whole)),
        samples=claim.samples,
        how=Sampling(**recipe.sample),
        features=claim.features,
        report=report,
    )
    values = {figure.name: figure.value for figure in found}
    if claim.metric not in values:
        raise UnknownName(f"figure in the claim of '{recipe.name}':", claim.metric, values)
    return {"value": values[claim.metric], "figures": [f.as_dict() for f in found]}


def baseline_of(recipe: Recipe, name: str) -> Recipe:
    """The baseline called ``name`` as it is trained to be compared with ``recipe``: on the same data.

    Where its own are those with a source made of each picture (``scenes | layout`` of ``scenes``), it keeps them: they
    are the same pictures, and it is told the same in the form that it takes.
    """
    own = load_recipe(name)
    told = {key: getattr(recipe, key) for key in OF_PICTURES}
    if str(own.data).partition("|")[0].strip() == recipe.data:
        told["data"] = own.data
    return own.model_copy(update=told)


def _baseline(recipe: Recipe, claim: Claim, runs: Path, out: Path, device: str, report: Report) -> list[float]:
    """The baseline's figures on the same data, nothing where there is no baseline.

    They are those of all seeds in its own result in ``out``, where that was measured in the same way; else one is
    measured now.
    """
    if claim.baseline is None:
        return []
    own, other = load_recipe(claim.baseline), baseline_of(recipe, claim.baseline)
    same_data = all(getattr(other, key) == getattr(own, key) for key in OF_PICTURES)
    same_space = own.claim is not None and own.claim.features == claim.features
    if same_data and same_space and claim.baseline_sample is None:
        before = measured_before(own, claim.metric, claim.samples, out)
        if before:
            return before
    if claim.baseline_sample is not None:
        other = other.model_copy(update={"sample": claim.baseline_sample})
    part = "" if other.subset is None else f"-{other.subset}"
    place = (
        "" if same_data else "-on-" + re.sub(r"[^a-z0-9]+", "-", f"{other.data}-{other.size or 'own'}{part}".lower())
    )
    model = trained(other, runs / f"{other.name}{place}-{other.train.seed}", device, report)
    return [float(measured(model, other, claim, report)["value"])]


def holds(value: float, claim: Claim, baseline: float | None) -> bool | None:
    """Whether ``value`` meets the bound and beats the baseline, as far as there are any; None if there is neither."""
    if claim.bound is None and baseline is None:
        return None
    sign = 1 if claim.better == "higher" else -1
    meets = claim.bound is None or sign * value >= sign * claim.bound
    return meets and (baseline is None or sign * value > sign * baseline)
