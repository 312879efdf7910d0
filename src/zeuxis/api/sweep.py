"""What turning one knob does to the figures: the same model, the same seeds and conditions, several values.

Guidance is the usual question: how much agreement with the condition is bought with how much of the variety
(precision and recall), and at which scale. Several models share a page, each over its own knob.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeuxis.api.compare import SHOWN
from zeuxis.api.evaluate import drawn_under, evaluate, held_out
from zeuxis.api.machine import machine
from zeuxis.api.model import Model
from zeuxis.api.naming import slug
from zeuxis.api.page import Page
from zeuxis.api.pictures import Pictures
from zeuxis.api.reporting import Report
from zeuxis.batch import Batch
from zeuxis.data.library import Data, data_of, fit_for
from zeuxis.errors import Unsupported, UsageError
from zeuxis.fetching import named_by
from zeuxis.knobs import Sampling, Value, find
from zeuxis.provenance.record import write_whole


@dataclass(frozen=True)
class Over:
    """A knob and the values that it is given, one after another; as a user writes them."""

    knob: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Over:
        """``guidance=1,2,4``."""
        name, equals, rest = text.partition("=")
        values = tuple(value.strip() for value in rest.split(",") if value.strip())
        if not equals or not name.strip() or len(set(values)) < 2 or len(set(values)) < len(values):
            raise UsageError(f"--over {text}: write a knob and two values or more, all different: guidance=1,2,4")
        return cls(name.strip(), values)


def sweep(
    models: Sequence[Model],
    overs: Sequence[Over],
    *,
    data: str | Data | None = None,
    metrics: Sequence[str] = (),
    samples: int = 1000,
    seed: int = 0,
    how: Sampling = Sampling(),
    features: str | None = None,
    out: Path,
    report: Report = lambda message, fraction: None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure every model at every value of the first of ``overs`` that it has a knob for; a page into ``out``.

    ``metrics`` are by default those that suit each model; ``how`` holds for all values; ``tell`` is as
    in :func:`evaluate`. Returns what
    ``out/sweep.json`` holds. Raises :class:`Unsupported` for a model without any of these knobs.
    """
    if len({model.name for model in models}) < len(models):
        raise UsageError("a model is named twice: name each once")
    plans = [_plan(model, overs) for model in models]  # all refusals come before any work
    entries, measured = [], 0
    for k, (model, (knob, values)) in enumerate(zip(models, plans, strict=True)):
        points = []
        shown_under = _examples(model, data)
        stem = f"{k}-{slug(Path(model.name).name)}-{knob}"  # run folders of one name may lie in several places
        for value in values:
            turned = Sampling(**{**how, knob: value})
            at = f"{model.name}, {knob} {value}"
            figures = evaluate(
                model, data=data, metrics=metrics, samples=samples, seed=seed, how=turned, features=features,
                report=_told_at(at, report), tell=tell,
            )  # fmt: skip
            measured = max(measured, *(figure.samples for figure in figures))
            points.append({
                "value": value,
                "figures": [figure.as_dict() for figure in figures],
                "sheet": None if shown_under is None else _sheet(
                    model, shown_under, turned, seed, out / f"{stem}-{value}.png"
                ),
            })  # fmt: skip
        entries.append({
            "model": model.name, "weights_sha256": model.weights_sha256, "knob": knob, "points": points,
        })  # fmt: skip
    found = {
        "entries": entries,
        "samples": measured,
        "seed": seed,
        "how": dict(how),
        "machine": machine(str(models[0].device)),
    }
    write_whole(out / "sweep.json", (json.dumps(found, indent=1) + "\n").encode())
    _write_page(found, out)
    return found


def _plan(model: Model, overs: Sequence[Over]) -> tuple[str, tuple[Value, ...]]:
    """Which knob of a model is turned, and its values."""
    for over in overs:
        if over.knob in model.knobs:
            knob = find(f"'{model.name}'", model.knobs, over.knob)
            return over.knob, tuple(knob.parse(text) for text in over.values)
    asked = ", ".join(over.knob for over in overs)
    raise Unsupported(f"'{model.name}' has none of the knobs {asked}; it has {', '.join(model.knobs) or 'none'}")


def _told_at(at: str, report: Report) -> Report:
    return lambda message, fraction: report(f"{at}: {message}", fraction)


def _examples(model: Model, data: str | Data | None) -> Batch | None:
    """The held-out examples under whose conditions sheets are drawn; None for a model that draws nothing, or does not
    say what data it was trained on."""
    named = data or model.card.get("data")
    if "sample" not in model.verbs or not named:
        return None
    with named_by(f"the card of '{model.name}'", f"--data {named} does") if data is None else nullcontext():
        opened = data_of(named)
        source = opened.open(model.system.spec.size, "test", fit_for(model.card, opened.name))
    return held_out(source, SHOWN)


def _sheet(model: Model, examples: Batch, how: Sampling, seed: int, path: Path) -> str:
    """A few pictures, the same seeds at every value."""
    condition, seeds = examples.condition, range(seed, seed + drawn_under(model, examples, SHOWN))
    drawn = Pictures(model.draw(condition, seeds, how), model.records(seeds, condition, how))
    return drawn.save_sheet(path, columns=8, scale=max(1, 64 // drawn.tensor.shape[-1])).name


def _write_page(found: Mapping[str, Any], out: Path) -> None:
    """``out/index.html``: a chart of every figure over the values, one of two against each other, and the sheets."""
    entries = found["entries"]
    names = [entry["model"] for entry in entries]
    turned = ", ".join(dict.fromkeys(entry["knob"] for entry in entries))
    page = Page(f"{' and '.join(names)} over {turned}", _lead(found))
    metrics = list(dict.fromkeys(name for entry in entries for name in shown(entry)))
    page.heading("Figures")
    rows = [
        [entry["model"], f"{entry['knob']} {point['value']}", *(_cell(point, metric) for metric in metrics)]
        for entry in entries
        for point in entry["points"]
    ]
    page.table(["model", "at", *metrics], rows)
    for metric in metrics:
        curves = {e["model"]: _curve(e, metric) for e in entries}
        page.curves({name: curve for name, curve in curves.items() if curve}, turned, metric)
    if len(metrics) > 1:
        page.heading(f"{metrics[0]} against {metrics[1]}")
        page.curves({e["model"]: _against(e, *metrics[:2]) for e in entries}, metrics[0], metrics[1])
    page.heading("Pictures, same seeds and conditions")
    for entry in entries:
        page.pictures({
            f"{entry['model']}, {entry['knob']} {point['value']}": point["sheet"]
            for point in entry["points"] if point["sheet"]
        })  # fmt: skip
    page.write(out / "index.html")


def _lead(found: Mapping[str, Any]) -> str:
    held = "".join(f", {name} {value}" for name, value in found["how"].items())
    return f"{found['samples']} pictures at each value, seed {found['seed']}{held}."


def shown(entry: Mapping[str, Any]) -> list[str]:
    """The figures of an entry that are no parts of another."""
    names = dict.fromkeys(figure["name"] for point in entry["points"] for figure in point["figures"])
    return [name for name in names if "/" not in name]


def value_of(point: Mapping[str, Any], metric: str) -> float | None:
    """The figure called ``metric`` at one value of the knob; None where it has none."""
    return next((figure["value"] for figure in point["figures"] if figure["name"] == metric), None)


def _cell(point: Mapping[str, Any], metric: str) -> str:
    value = value_of(point, metric)
    return "" if value is None else f"{value:.4g}"


def _curve(entry: Mapping[str, Any], metric: str) -> list[tuple[float, float]]:
    """(value, figure) where the values are numbers, and their places where they are words."""
    points = [(p["value"], value_of(p, metric)) for p in entry["points"]]
    numbers = all(isinstance(value, (int, float)) for value, _ in points)
    return [(float(v) if numbers else float(k), y) for k, (v, y) in enumerate(points) if y is not None]


def _against(entry: Mapping[str, Any], one: str, other: str) -> list[tuple[float, float]]:
    pairs = [(value_of(p, one), value_of(p, other)) for p in entry["points"]]
    return [(a, b) for a, b in pairs if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)]
