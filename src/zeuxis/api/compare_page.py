"""The page of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zeuxis.api.machine import threads
from zeuxis.api.naming import counted
from zeuxis.api.page import Page, held_out_curves, loss_curves
from zeuxis.escaping import word
from zeuxis.metrics.record import Figure

TITLES = {"drawn": "Pictures, same seeds and conditions", "rebuilt": "Held-out pictures, rebuilt"}


def write_page(found: Mapping[str, Any], metrics: Sequence[str], out: Path) -> None:
    """``out/index.html``: those of ``metrics`` that a recipe has, verdicts, pictures, losses, and the command again."""
    entries = found["entries"]
    names = [e["recipe"] for e in entries]
    page = Page(f"{', '.join(names[:-1])} and {names[-1]} on {found['data']}", _lead(found))
    page.heading("Figures")
    _figures(page, entries, metrics)
    page.text(told(found))
    page.heading("What they cost")
    _costs(page, entries)
    for kind, title in TITLES.items():
        shown = {e["recipe"]: e["sheets"][kind] for e in entries if e["sheets"][kind]}
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
    page.command(f"zeuxis compare {' '.join(map(word, names))} --data {word(found['data'])} --budget {_budget(found)} "
                 f"--samples {found['samples']} --seed {found['seed']} --repeats {found['repeats']}")  # fmt: skip
    page.write(out / "index.html")


def told(found: Mapping[str, Any]) -> str:
    """The verdicts as a paragraph."""
    by = [] if found["verdicts_by"] is None else [f"By {found['verdicts_by']}:"]
    return " ".join([*by, *found["verdicts"]])


def _budget(found: Mapping[str, Any]) -> str:
    return f"{found['minutes']:g}m" if found["iterations"] is None else f"{found['iterations']}i"


def _lead(found: Mapping[str, Any]) -> str:
    if found["iterations"] is None:
        long, order = f"{found['minutes']:g} minutes", " At equal time the order may be another on another machine."
    else:
        long, order = counted(found["iterations"], "iteration"), ""
    measured = max((f["samples"] for e in found["entries"] for f in e["figures"]), default=found["samples"])
    first, last = found["seed"], found["seed"] + found["repeats"] - 1
    seeds = f"seed {first}" if found["repeats"] == 1 else f"seeds {first} to {last}, and their mean is shown"
    return (
        f"Each trained for {long} on {threads(found['machine']['threads'])} of one machine "
        f"({found['machine']['kind']}), {seeds}; measured on {measured} pictures.{order}"
    )


def _figures(page: Page, entries: Sequence[Mapping[str, Any]], asked: Sequence[str]) -> None:
    values = [{f["name"]: f for f in e["figures"]} for e in entries]
    metrics = [metric for metric in asked if any(metric in of for of in values)]
    coded = any(e["kept"] for e in entries)
    rows = [
        [
            e["recipe"],
            *(_with_deviation(of[metric]) if metric in of else "" for metric in metrics),
            *((e["kept"] or "",) if coded else ()),
        ]
        for e, of in zip(entries, values, strict=True)
    ]
    floors = {f["name"]: f["floor"] for e in entries for f in e["figures"] if f.get("floor") is not None}
    if floors:
        floor = [f"{floors[metric]:.3f}" if metric in floors else "" for metric in metrics]
        rows.append(["training pictures", *floor, *([""] if coded else [])])
    first = [of[metrics[0]]["value"] if metrics[0] in of else math.inf for of in values]
    page.table(["recipe", *metrics, *(("kept of a picture",) if coded else ())], rows, first.index(min(first)))
    if coded:
        page.text("rebuilt-frechet and psnr are of held-out pictures, coded and decoded; the others of new ones.")
    figure = Figure(**{k: v for k, v in entries[0]["per_seed"][0][0].items() if k != "warning"})
    page.text(
        f"Features {figure.features}, reference {figure.reference}, resized by {figure.resize}. {figure.warning or ''}"
    )


def _costs(page: Page, entries: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        [e["recipe"], f"{e['parameters']:,}", f"{e['images']:,}", f"{e['train_seconds']:.0f} s", *_cost(e["cost"])]
        for e in entries
    ]
    page.table(
        ["recipe", "parameters", "images seen", "training", "multiply-adds a picture", "drawing a picture"], rows
    )
    page.text("Multiply-adds are those of matrix products, convolutions and attention; seconds are this machine's.")


def _with_deviation(figure: Mapping[str, Any]) -> str:
    deviation = figure["deviation"]
    return f"{figure['value']:.3f}" if deviation is None else f"{figure['value']:.3f} ± {deviation:.3f}"


def _cost(cost: Mapping[str, Any] | None) -> tuple[str, str]:
    """``("12.3 M", "0.0021 s")``; empty where nothing is drawn."""
    if cost is None:
        return "", ""
    return f"{cost['multiply_adds'] / 1e6:,.3g} M", f"{cost['seconds']:.2g} s"
