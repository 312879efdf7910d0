"""An honest comparison: the same data, the same budget, the same measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from zeuxis.catalog import entry
from zeuxis.data.library import open_source, pinned
from zeuxis.errors import Unsupported
from zeuxis.metrics.record import Figure
from zeuxis.provenance.record import write_png, write_whole
from zeuxis.recipe import Recipe, load_recipe
from zeuxis.verbs import Sampling
from zeuxis.workshop.evaluate import evaluate, held_out
from zeuxis.workshop.model import load
from zeuxis.workshop.page import Page, loss_curves
from zeuxis.workshop.pictures import Pictures, sheet, to_pil
from zeuxis.workshop.reproduce import commit, machine, threads
from zeuxis.workshop.runs import recorded, train

Report = Callable[[str, float | None], None]
METRICS = ("frechet", "precision", "recall")
SHOWN = 32


def compare(
    recipes: Sequence[str],
    *,
    data: str | None = None,
    minutes: float = 10.0,
    samples: int = 5000,
    seed: int = 0,
    out: Path = Path("runs/compare"),
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> dict[str, Any]:
    """Train every recipe for ``minutes`` on the same pictures, measure all in one feature space, and write
    ``compare.json``, a sheet for each and ``index.html`` into ``out``.

    Data and size are those of the first recipe unless ``data`` names others. Trainings in ``out`` that
    finished under the same budget are used again. Closed-form systems take the time they take.
    """
    first = load_recipe(recipes[0])
    name = pinned(data or first.data)
    plans = [_plan(r, name, first, minutes, seed) for r in recipes]
    entries = [_measure(plan, samples, seed, out, device, report) for plan in plans]
    found = {
        "data": name,
        "size": first.size,
        "minutes": minutes,
        "samples": samples,
        "seed": seed,
        "machine": machine(),
        "commit": commit(),
        "entries": entries,
    }
    real = held_out(open_source(name, first.size, "test"), SHOWN)
    _sheet([to_pil(x) for x in real.image], out / "real.png")
    write_whole(out / "compare.json", (json.dumps(found, indent=1) + "\n").encode())
    _page(found, out)
    return found


def _plan(recipe: str, data: str, first: Recipe, minutes: float, seed: int) -> Recipe:
    plan = load_recipe(recipe)
    if "sample" not in entry(plan.system).card.verbs:
        raise Unsupported(f"'{recipe}' makes no new pictures, so it cannot be compared by them: leave it out")
    budget = plan.train.model_copy(update={"minutes": minutes, "rounds": None, "seed": seed})
    return plan.model_copy(update={"data": data, "size": first.size, "fit": first.fit, "train": budget})


def _measure(plan: Recipe, samples: int, seed: int, out: Path, device: str, report: Report) -> dict[str, Any]:
    folder = out / plan.name
    found = recorded(folder)
    if found is None or not found.finished or not found.trains(plan):
        run = train(
            plan,
            out=folder,
            device=device,
            report=lambda clock, preview: report(f"{plan.name}: round {clock.round}", clock.progress),
        )
        if run.stopped:
            raise KeyboardInterrupt
    model = load(folder, device)
    how = Sampling(**plan.sample)
    figures = evaluate(model, data=plan.data, metrics=METRICS, samples=samples, seed=seed, how=how,
                       report=lambda message, fraction: report(f"{plan.name}: {message}", fraction))  # fmt: skip
    examples = held_out(open_source(plan.data, plan.size, "test"), SHOWN)
    images = model.draw(examples.condition, range(seed, seed + SHOWN), how)
    records = tuple(model.record(seed + k, examples.condition[slice(k, k + 1)], how) for k in range(SHOWN))
    Pictures(images, records).save_sheet(out / f"{plan.name}.png", columns=8, scale=_scale(images))
    return {
        "recipe": plan.name,
        "system": plan.system,
        "parameters": sum(p.numel() for p in model.system.parameters()),
        "train_seconds": model.card["seconds"],
        "images": model.card["images"],
        "weights_sha256": model.weights_sha256,
        "figures": [f.as_dict() for f in figures],
        "sheet": f"{plan.name}.png",
    }


def _scale(images: torch.Tensor) -> int:
    return max(1, 64 // images.shape[-1])


def _sheet(images: list[Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(sheet(images, columns=8, scale=max(1, 64 // images[0].width)), path)


def _page(found: dict[str, Any], out: Path) -> None:
    names = [e["recipe"] for e in found["entries"]]
    page = Page(
        f"{', '.join(names[:-1])} and {names[-1]} on {found['data']}",
        f"Each trained for {found['minutes']:g} minutes on {threads()} "
        f"({found['machine']['device']}), seed {found['seed']}; measured on {found['samples']} pictures.",
    )
    page.heading("Figures")
    tables = [[_cell(f) for f in e["figures"]] for e in found["entries"]]
    rows = [
        [e["recipe"], *cells, f"{e['parameters']:,}", f"{e['images']:,}", f"{e['train_seconds']:.0f} s"]
        for e, cells in zip(found["entries"], tables, strict=True)
    ]
    best = min(range(len(rows)), key=lambda k: found["entries"][k]["figures"][0]["value"])
    page.table(["recipe", *METRICS, "parameters", "images seen", "training"], rows, best)
    figure = Figure(**{k: v for k, v in found["entries"][0]["figures"][0].items() if k != "warning"})
    page.text(
        f"Features {figure.features}, reference {figure.reference}, resized by {figure.resize}. {figure.warning or ''}"
    )
    page.heading("Pictures, same seeds and conditions")
    page.pictures({"real, held out": "real.png", **{e["recipe"]: e["sheet"] for e in found["entries"]}})
    page.heading("Losses")
    for name in names:
        log = out / name / "log.jsonl"
        if log.is_file():
            page.text(name)
            page.curves(loss_curves(log), "images", "loss")
    page.heading("Again")
    page.command(f"zeuxis compare {' '.join(names)} --data {found['data']} --budget {found['minutes']:g}m "
                 f"--samples {found['samples']} --seed {found['seed']}")  # fmt: skip
    page.write(out / "index.html")


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f}"
