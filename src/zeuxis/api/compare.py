"""An honest comparison: the same data, the same budget, the same measure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from zeuxis.api.coding import REBUILT
from zeuxis.api.collectors import reconstruct
from zeuxis.api.evaluate import default_metrics, evaluate, held_out
from zeuxis.api.evidence import loaded_commit, recipe_sha256
from zeuxis.api.machine import machine, threads
from zeuxis.api.model import Model
from zeuxis.api.page import Page, held_out_curves, loss_curves
from zeuxis.api.pictures import Pictures, sheet, to_pil
from zeuxis.api.reporting import Report
from zeuxis.api.reproduce import trained
from zeuxis.catalog.listing import entry
from zeuxis.data.library import Data, data_of
from zeuxis.errors import Unsupported
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.provenance.record import write_png, write_whole
from zeuxis.recipe import Recipe, load_recipe
from zeuxis.training.threads import held as same_threads

# Of generated pictures; the first one decides.
GENERATED = ("frechet", "frechet-grain", "precision", "recall", "two-sample", "copied")
RECONSTRUCTED = ("rebuilt-frechet", "psnr")  # of held-out pictures, encoded and decoded
SHOWN = 32  # pictures on a sheet


def compare(
    recipes: Sequence[str],
    *,
    data: str | Data | None = None,
    minutes: float = 10.0,
    samples: int = 5000,
    seed: int = 0,
    out: Path = Path("runs/compare"),
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> dict[str, Any]:
    """Train every recipe for ``minutes`` on the same pictures, measure all in one feature space, and write
    ``compare.json``, sheets of each and ``index.html`` into ``out``.

    Those that generate are measured on generated pictures, those that encode and decode on reconstructions of
    held-out ones, beside the size of their codes.

    Data and size are those of the first recipe unless ``data`` names others. Trainings in ``out`` that
    finished under the same budget are used again. Closed-form systems take the time they take.
    """
    first = load_recipe(recipes[0])
    held = data_of(data or first.data)
    name = held.name
    plans = [_plan(r, name, first, minutes, seed) for r in recipes]
    with same_threads(device):
        entries = [_measure(plan, held, samples, seed, out, device, report) for plan in plans]
    found = {
        "data": name,
        "size": first.size,
        "minutes": minutes,
        "samples": samples,
        "seed": seed,
        "machine": machine(device, threads=entries[0]["threads"]),
        "commit": loaded_commit(),
        "entries": entries,
    }
    real = held_out(held.open(first.size, "test"), SHOWN)
    _real(real.image, out / "real.png")
    write_whole(out / "compare.json", (json.dumps(found, indent=1) + "\n").encode())
    _page(found, out)
    return found


def _plan(recipe: str, data: str, first: Recipe, minutes: float, seed: int) -> Recipe:
    plan = load_recipe(recipe)
    verbs = entry(plan.system).card.verbs
    if "sample" not in verbs and not {"encode", "decode"} <= verbs:
        raise Unsupported(
            f"'{recipe}' neither draws nor rebuilds pictures, so it cannot be compared by them: leave it out"
        )
    budget = plan.train.model_copy(update={"minutes": minutes, "iterations": None, "seed": seed})
    return plan.model_copy(update={"data": data, "size": first.size, "fit": first.fit, "train": budget})


def _measure(
    plan: Recipe, held: Data, samples: int, seed: int, out: Path, device: str, report: Report
) -> dict[str, Any]:
    model = trained(plan, out / plan.name, device, report, held)
    how = Sampling(**plan.sample)
    metrics = tuple(metric for metric in (*GENERATED, *RECONSTRUCTED) if metric in default_metrics(model))
    figures = evaluate(model, data=held, metrics=metrics, samples=samples, seed=seed, how=how,
                       report=lambda message, fraction: report(f"{plan.name}: {message}", fraction))  # fmt: skip
    examples = held_out(held.open(plan.size, "test"), SHOWN)
    records = model.records(range(seed, seed + SHOWN), examples.condition, how)
    sheets: dict[str, str | None] = {"drawn": None, "rebuilt": None}
    if "sample" in model.verbs:
        images = model.draw(examples.condition, range(seed, seed + SHOWN), how)
        sheets["drawn"] = _save(Pictures(images, records), out / f"{plan.name}.png")
    kept = None
    if set(RECONSTRUCTED) <= set(metrics):
        latent, images = reconstruct(model, examples.image)
        kept = _kept(model, latent)
        rebuilt = tuple({**made, "disclosure": REBUILT} for made in records)
        sheets["rebuilt"] = _save(Pictures(images.cpu(), rebuilt), out / f"{plan.name}-rebuilt.png")
    return {
        "recipe": plan.name,
        "recipe_sha256": recipe_sha256(plan),
        "system": plan.system,
        "parameters": sum(p.numel() for p in model.system.parameters()),
        "train_seconds": model.card["seconds"],
        "images": model.card["images"],
        "threads": model.card.get("threads", torch.get_num_threads()),
        "precision": model.card.get("precision", "float32"),
        "weights_sha256": model.weights_sha256,
        "figures": [f.as_dict() for f in figures],
        "kept": kept,
        "sheets": sheets,
    }


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


def _page(found: dict[str, Any], out: Path) -> None:
    names = [e["recipe"] for e in found["entries"]]
    page = Page(
        f"{', '.join(names[:-1])} and {names[-1]} on {found['data']}",
        f"Each trained for {found['minutes']:g} minutes on {threads(found['machine']['threads'])} of one machine "
        f"({found['machine']['kind']}), seed {found['seed']}; measured on {found['samples']} pictures. At equal time "
        "the order may be another on another machine.",
    )
    page.heading("Figures")
    values = [{f["name"]: f["value"] for f in e["figures"]} for e in found["entries"]]
    metrics = [metric for metric in (*GENERATED, *RECONSTRUCTED) if any(metric in of for of in values)]
    coded = any(e["kept"] for e in found["entries"])
    rows = [
        [
            e["recipe"],
            *(f"{of[metric]:.3f}" if metric in of else "" for metric in metrics),
            *((e["kept"] or "",) if coded else ()),
            f"{e['parameters']:,}",
            f"{e['images']:,}",
            f"{e['train_seconds']:.0f} s",
        ]
        for e, of in zip(found["entries"], values, strict=True)
    ]
    floors = {f["name"]: f["floor"] for e in found["entries"] for f in e["figures"] if f.get("floor") is not None}
    if floors:
        floor = [f"{floors[metric]:.3f}" if metric in floors else "" for metric in metrics]
        rows.append(["training pictures", *floor, *([""] if coded else []), "", "", ""])
    first = [of.get(metrics[0], math.inf) for of in values]
    columns = ["recipe", *metrics, *(("kept of a picture",) if coded else ()), "parameters", "images seen", "training"]
    page.table(columns, rows, first.index(min(first)))
    if coded:
        page.text(f"{' and '.join(RECONSTRUCTED)} are of held-out pictures, coded and decoded; the others of new ones.")
    figure = Figure(**{k: v for k, v in found["entries"][0]["figures"][0].items() if k != "warning"})
    page.text(
        f"Features {figure.features}, reference {figure.reference}, resized by {figure.resize}. {figure.warning or ''}"
    )
    for kind, title in (("drawn", "Pictures, same seeds and conditions"), ("rebuilt", "Held-out pictures, rebuilt")):
        shown = {e["recipe"]: e["sheets"][kind] for e in found["entries"] if e["sheets"][kind]}
        if shown:
            page.heading(title)
            page.pictures({"real, held out": "real.png", **shown})
    page.heading("Losses")
    for name in names:
        log = out / name / "log.jsonl"
        if log.is_file():
            page.text(name)
            page.curves(loss_curves(log), "images", "loss")
            page.curves(held_out_curves(log), "images", "held-out loss")
    page.heading("Again")
    page.command(f"zeuxis compare {' '.join(names)} --data {found['data']} --budget {found['minutes']:g}m "
                 f"--samples {found['samples']} --seed {found['seed']}")  # fmt: skip
    page.write(out / "index.html")
