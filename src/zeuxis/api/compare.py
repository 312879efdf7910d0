"""An honest comparison: the same data, the same budget, the same measure."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch

from zeuxis.api.coding import REBUILT
from zeuxis.api.collectors import reconstruct
from zeuxis.api.compare_page import write_page
from zeuxis.api.cost import draw_with_cost
from zeuxis.api.evaluate import default_metrics, drawn_under, evaluate, held_out
from zeuxis.api.evidence import loaded_commit, recipe_sha256
from zeuxis.api.machine import machine
from zeuxis.api.measurable import enough
from zeuxis.api.model import Model
from zeuxis.api.naming import counted, slug
from zeuxis.api.pictures import Pictures, sheet, to_pil
from zeuxis.api.reporting import Report
from zeuxis.api.reproduce import is_trained, seeded, trained
from zeuxis.catalog.assemble import build_for, trained_by
from zeuxis.catalog.build import given_models
from zeuxis.catalog.listing import entry
from zeuxis.data.library import Data, data_of
from zeuxis.data.source import Source
from zeuxis.errors import Unsupported, UsageError
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.metrics.table import METRICS
from zeuxis.metrics.verdict import verdicts
from zeuxis.provenance.record import write_png, write_whole
from zeuxis.recipe import Recipe, load_recipe, of_other_pictures, with_budget
from zeuxis.training.threads import held as same_threads

# Of generated pictures; the first one decides.
GENERATED = ("frechet", "frechet-grain", "precision", "recall", "two-sample", "copied")
RECONSTRUCTED = ("rebuilt-frechet", "psnr")  # of held-out pictures, encoded and decoded
MINUTES = 10.0  # of training, where no budget is given
SHOWN = 32  # pictures on a sheet
RUNS, PLAN = Path("runs"), "plan.json"  # where comparisons are, and the file in each that says what it compares
LONGEST = 80  # characters of a folder's name
ALONE = "No two of these recipes have a figure in common, so none is better."


def compare(
    recipes: Sequence[str],
    *,
    data: str | Data | None = None,
    minutes: float | None = None,
    iterations: int | None = None,
    samples: int = 5000,
    seed: int = 0,
    repeats: int = 1,
    out: Path | None = None,
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> dict[str, Any]:
    """Train every recipe for ``minutes`` (:data:`MINUTES` by default) or ``iterations`` on the same pictures, measure
    all in one feature space, and write ``compare.json``, sheets of each and ``index.html`` into ``out``, by default a
    folder of ``runs/`` of its own, where the same comparison, asked for again, goes on.

    Those that generate are measured on generated pictures, those that encode and decode on reconstructions of
    held-out ones, beside the size of their codes. Each is trained ``repeats`` times, with seeds from ``seed`` on: which
    differences are more than training again makes is then said (:mod:`zeuxis.metrics.verdict`).

    Data and size are those of the first recipe unless ``data`` names others. Trainings in ``out`` that finished under
    the same budget are used again (``used_again``). Closed-form systems take the time they take.
    """
    if minutes is not None and iterations is not None:
        raise UsageError(f"{minutes:g} minutes and {iterations} iterations: a comparison has one budget, give either")
    if not recipes or repeats < 1:
        raise UsageError(f"{len(recipes)} recipes, {repeats} trainings of each: a comparison has one or more of both")
    if minutes is None and iterations is None:
        minutes = MINUTES
    budget = {"minutes": minutes, "iterations": iterations}
    begun = load_recipe(recipes[0])
    held = data_of(data or begun.data)
    name = held.name
    first = of_other_pictures(begun.model_copy(update={"data": name}), begun)
    plans = [_plan(r, name, first, iterations, minutes) for r in recipes]
    for plan in plans:
        _check(plan, held)
    unseen = held.open(first.size, "test", first.fit)
    able, left = _able(unseen, samples)
    seeds = range(seed, seed + repeats)
    asked = {"recipes": {plan.name: recipe_sha256(plan) for plan in plans}, "data": name, "size": first.size, **budget,
             "samples": samples, "seed": seed, "repeats": repeats}  # fmt: skip
    out = folder_for(asked) if out is None else out
    before = [plan.name for plan in plans for k, one in enumerate(seeds)
              if is_trained(seeded(plan, one), folder_of(plan.name, k, out))]  # fmt: skip
    write_whole(out / PLAN, _plain(asked).encode())
    with same_threads(device):
        entries = [_measure(plan, held, able, samples, seeds, out, device, report) for plan in plans]
    decided = _deciding(entries)
    found = {
        "data": name,
        "size": first.size,
        **budget,
        "samples": samples,
        "seed": seed,
        "repeats": repeats,
        "machine": machine(device, threads=entries[0]["threads"]),
        "commit": loaded_commit(),
        "entries": entries,
        "verdicts_by": decided,
        "verdicts": verdicts(_values(entries, decided), METRICS[decided].better) if decided else [ALONE],
    }
    real = held_out(unseen, SHOWN)
    _real(real.image, out / "real.png")
    write_whole(out / "compare.json", _plain(found).encode())
    write_page(found, (*GENERATED, *RECONSTRUCTED), out)
    return {**found, "folder": str(out), "used_again": before, "left_out": left}


def folder_for(asked: Mapping[str, Any]) -> Path:
    """The folder of ``runs/`` of a comparison: that in which the same one lies, whole or begun, or else a new one."""
    name = slug(f"compare-{'-'.join(asked['recipes'])}-on-{asked['data']}")[:LONGEST].rstrip("-")
    places = chain([RUNS / name], (RUNS / f"{name}-{k}" for k in count(2)))
    return next(one for one in places if not one.exists() or _compares(one) == _plain(asked))


def _compares(folder: Path) -> str | None:
    """What the comparison in a folder compares; None where there is none."""
    plan = folder / PLAN
    return plan.read_text(encoding="utf-8") if plan.is_file() else None


def _plain(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=1) + "\n"


def _deciding(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """The first figure that two recipes or more have; None where there is none, as of one that only rebuilds."""
    names = [figure["name"] for e in entries for figure in e["figures"]]
    return next((name for name in (*GENERATED, *RECONSTRUCTED) if names.count(name) > 1), None)


def _values(entries: Sequence[Mapping[str, Any]], metric: str) -> dict[str, list[float]]:
    """The figure called ``metric`` over the seeds, of every recipe that has it."""
    of = {e["recipe"]: [f["value"] for run in e["per_seed"] for f in run if f["name"] == metric] for e in entries}
    return {recipe: values for recipe, values in of.items() if values}


def _plan(recipe: str, data: str, first: Recipe, iterations: int | None, minutes: float | None) -> Recipe:
    plan = load_recipe(recipe)
    verbs = entry(plan.system).card.verbs
    if "sample" not in verbs and not {"encode", "decode"} <= verbs:
        raise Unsupported(
            f"'{recipe}' neither draws nor rebuilds pictures, so it cannot be compared by them: leave it out"
        )
    alike = plan.model_copy(update={"data": data, "size": first.size, "fit": first.fit, "subset": first.subset})
    return with_budget(alike, iterations=iterations, minutes=minutes)


def _able(unseen: Source, samples: int) -> tuple[tuple[str, ...], str | None]:
    """The figures that the held-out pictures are enough for, and a line on the others; UsageError where there is none.

    Found out before an hour has gone into trainings.
    """
    able, left = enough((*GENERATED, *RECONSTRUCTED), min(samples, len(unseen)))
    if not set(able) & {GENERATED[0], RECONSTRUCTED[0]}:
        raise UsageError(
            f"'{unseen.name}' holds {counted(len(unseen), 'picture')} to measure on, of {samples} asked for: a "
            "comparison needs 2 or more; give data with more"
        )
    return able, left


def _check(plan: Recipe, held: Data) -> None:
    """Refuse what these pictures could not train, before an hour has gone into those that they can."""
    if not any(trained_by(name) for name in given_models(plan).values()):
        build_for(plan, held.open(plan.size, "train", plan.fit), on_meta=True)


def _measure(
    plan: Recipe,
    held: Data,
    able: Sequence[str],
    samples: int,
    seeds: range,
    out: Path,
    device: str,
    report: Report,
) -> dict[str, Any]:
    """What one recipe reached: the figures of every seed and their mean; pictures and cost are the first seed's."""
    how = Sampling(**plan.sample)
    models = [
        trained(seeded(plan, seed), folder_of(plan.name, k, out), device, report, held) for k, seed in enumerate(seeds)
    ]
    metrics = tuple(metric for metric in able if metric in default_metrics(models[0]))
    per_seed = [
        evaluate(model, data=held, metrics=metrics, samples=samples, seed=seed, how=how,
                 report=lambda message, fraction: report(f"{plan.name}: {message}", fraction))
        for seed, model in zip(seeds, models, strict=True)
    ]  # fmt: skip
    model, examples = models[0], held_out(held.open(plan.size, "test", plan.fit), SHOWN)
    shown = range(seeds[0], seeds[0] + drawn_under(model, examples, SHOWN))
    records = model.records(shown, examples.condition, how)
    sheets: dict[str, str | None] = {"drawn": None, "rebuilt": None}
    cost = None
    if "sample" in model.verbs:
        images, cost = draw_with_cost(model, examples.condition, shown, how)
        sheets["drawn"] = _save(Pictures(images, records), out / f"{plan.name}.png")
    kept = None
    if set(RECONSTRUCTED) <= set(metrics):
        latent, images = reconstruct(model, examples.image)
        kept = _kept(model, latent)
        rebuilt = tuple({**made, "disclosure": REBUILT} for made in records[: len(images)])
        sheets["rebuilt"] = _save(Pictures(images.cpu(), rebuilt), out / f"{plan.name}-rebuilt.png")
    return {
        "recipe": plan.name,
        "recipe_sha256": recipe_sha256(plan),
        "system": plan.system,
        "parameters": _fitted(model),
        "train_seconds": model.card["seconds"],
        "images": model.card["images"],
        "threads": model.card.get("threads", torch.get_num_threads()),
        "precision": model.card.get("precision", "float32"),
        "weights_sha256": [m.weights_sha256 for m in models],
        "figures": [averaged(figures) for figures in zip(*per_seed, strict=True)],
        "per_seed": [[f.as_dict() for f in figures] for figures in per_seed],
        "cost": None if cost is None else asdict(cost),
        "kept": kept,
        "sheets": sheets,
    }


def averaged(figures: Sequence[Figure]) -> dict[str, Any]:
    """One figure of several trainings: its mean over them and, beside it, their standard ``deviation`` (or None)."""
    values = [figure.value for figure in figures]
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {**figures[0].as_dict(), "value": statistics.fmean(values), "deviation": spread}


def folder_of(recipe: str, k: int, out: Path) -> Path:
    """Where the ``k``-th training of a recipe lives."""
    return out / (recipe if k == 0 else f"{recipe}-{k}")


def _fitted(model: Model) -> int:
    """The numbers that training finds: parameters, or where there are none, what a closed form stores."""
    system = model.system
    return sum(p.numel() for p in system.parameters()) or sum(b.numel() for b in system.buffers())


def _kept(model: Model, latent: torch.Tensor) -> str:
    """How much of a picture its code is, in words."""
    values, n = model.system.codes, latent[0].numel()
    return f"{n} numbers" if values is None else f"{n} codes of {values}"


def _save(pictures: Pictures, path: Path) -> str:
    return pictures.save_sheet(path, columns=8, scale=_scale(pictures.tensor)).name


def _real(images: torch.Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(sheet([to_pil(x) for x in images], columns=8, scale=_scale(images)), path)


def _scale(images: torch.Tensor) -> int:
    return max(1, 64 // images.shape[-1])
