"""Proving a recipe's claim: train, measure, compare with the baseline, and write down what was found."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from zeuxis.api.evaluate import default_metrics, evaluate
from zeuxis.api.model import Model, load
from zeuxis.api.reporting import Report
from zeuxis.api.runs import newest_preview, recorded, train
from zeuxis.api.thumbnail import small_sheet
from zeuxis.data.entries import may_show
from zeuxis.data.library import Data
from zeuxis.errors import UnknownName, UsageError
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import write_whole
from zeuxis.recipe import Claim, Recipe, load_recipe
from zeuxis.version import __version__


def reproduce(
    recipe: Recipe,
    *,
    out: Path = Path("results"),
    runs: Path = Path("runs/reproduce"),
    seeds: tuple[int, ...] | None = None,
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> dict[str, Any]:
    """Train ``recipe`` once for every seed of its claim, measure, and write ``out/<recipe>.json``.

    Trainings live in ``runs`` and are gone on with (or, when finished, used again) by the same call.
    The claim holds if the mean over the seeds meets the bound and, where there is a baseline, beats it.
    """
    claim = recipe.claim
    if claim is None:
        raise UsageError(f"recipe '{recipe.name}' makes no claim: only recipes with a [claim] table can be reproduced")
    start = time.monotonic()
    figures, per_seed = [], []
    model: Model | None = None
    for seed in seeds or claim.seeds:
        model = trained(_seeded(recipe, seed), runs / f"{recipe.name}-{seed}", device, report)
        found = measured(model, recipe, claim, report, default_metrics(model))
        per_seed.append({"seed": seed, "value": found["value"], "figures": found["figures"],
                         "train_seconds": model.card.get("seconds"), "images": model.card["images"]})  # fmt: skip
        figures.append(found["value"])
    assert model is not None
    value = sum(figures) / len(figures)
    baseline = _baseline(recipe, claim, runs, device, report)
    result = {
        "recipe": recipe.name,
        "system": recipe.system,
        "data": recipe.data,
        "metric": claim.metric,
        "better": claim.better,
        "value": value,
        "per_seed": per_seed,
        "baseline": claim.baseline,
        "baseline_value": baseline,
        "bound": claim.bound,
        "holds": holds(value, claim, baseline),
        "note": claim.note,
        "seconds": round(time.monotonic() - start, 1),
        "machine": machine(),
        "commit": commit(),
        "versions": {"zeuxis": __version__, **{p: version(p) for p in ("torch", "numpy", "safetensors")}},
        "weights_sha256": model.weights_sha256,
        "sample_sheet": f"{recipe.name}.webp",
    }
    out.mkdir(parents=True, exist_ok=True)
    preview = newest_preview(runs / f"{recipe.name}-{(seeds or claim.seeds)[-1]}")
    if preview is None or not may_show(recipe.data):
        result["sample_sheet"] = None
    else:
        small_sheet(preview, out / f"{recipe.name}.webp")
    write_whole(out / f"{recipe.name}.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def judge_again(recipe: Recipe, *, out: Path = Path("results")) -> dict[str, Any]:
    """Hold the figures in ``out/<recipe>.json`` against the claim's present bound, measuring nothing.

    Bounds are set from figures, so they come after them. Raises ``UsageError`` where there are no figures, or
    where they are not of the present claim: of another metric, data, baseline or seeds, or of more pictures.
    It cannot see whether the recipe has been trained otherwise since: only ``reproduce`` does.
    """
    claim, path = recipe.claim, out / f"{recipe.name}.json"
    if claim is None or not path.is_file():
        raise UsageError(f"there are no figures of '{recipe.name}' in '{out}': reproduce it first, or give --out")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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
        raise UsageError(f"the figures of '{recipe.name}' in '{out}' are of another claim ({differs}): reproduce it")
    result |= {
        "bound": claim.bound,
        "note": claim.note,
        "holds": holds(result["value"], claim, result["baseline_value"]),
    }
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
    return result


def trained(recipe: Recipe, folder: Path, device: str, report: Report, data: Data | None = None) -> Model:
    """The recipe's model: trained now, gone on with, or as an equal training that finished left it in ``folder``."""
    found = recorded(folder)
    if found is None or not found.finished or not found.trains(recipe):
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
            raise KeyboardInterrupt
    return load(folder, device)


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})


def measured(model: Model, recipe: Recipe, claim: Claim, report: Report, extra: Sequence[str] = ()) -> dict[str, Any]:
    """The claim's figure, with those called ``extra``; a claim may be about a part, as ``agreement/time``."""
    whole = claim.metric.split("/")[0]
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


def _baseline(recipe: Recipe, claim: Claim, runs: Path, device: str, report: Report) -> float | None:
    """The baseline's figure, measured in the same way on the same data."""
    if claim.baseline is None:
        return None
    own = load_recipe(claim.baseline)
    other = own.model_copy(update={"data": recipe.data, "size": recipe.size, "fit": recipe.fit})
    if claim.baseline_sample is not None:
        other = other.model_copy(update={"sample": claim.baseline_sample})
    same_data = (other.data, other.size, other.fit) == (own.data, own.size, own.fit)
    place = "" if same_data else "-on-" + re.sub(r"[^a-z0-9]+", "-", f"{other.data}-{other.size or 'own'}".lower())
    model = trained(other, runs / f"{other.name}{place}-{other.train.seed}", device, report)
    return float(measured(model, other, claim, report)["value"])


def holds(value: float, claim: Claim, baseline: float | None) -> bool:
    """Whether ``value`` meets the bound and beats the baseline, as far as there are any."""
    sign = 1 if claim.better == "higher" else -1
    meets = claim.bound is None or sign * value >= sign * claim.bound
    return meets and (baseline is None or sign * value > sign * baseline)


def machine() -> dict[str, Any]:
    """What the figures were obtained on."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def threads() -> str:
    """``"1 thread"``, ``"2 threads"``: what this machine's figures were obtained with."""
    n = torch.get_num_threads()
    return f"{n} thread{'' if n == 1 else 's'}"


def commit() -> str | None:
    """The commit of the source tree, where it is one."""
    here = Path(__file__).parent
    done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
