"""Each family's best on Fashion-MNIST, beside what pictures of the data themselves reach: a section and its figure.

The figure is drawn from result files alone, so it is generated with the page and never stale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from zeuxis.catalog.listing import opinions, packaged, results
from zeuxis.metrics.verdict import better_of

DATA, METRIC, LEAST = "fashion-mnist", "frechet", 5000  # pictures
LEFT, RIGHT, TOP, ROW, FOOT = 150, 190, 34, 26, 40  # pixels: names, labels, above, a family, below
PLOT = 520
COLOURS = ("#2a6f97", "#9aa7b1")  # of the best, and of the others
FACE = "font-family='ui-sans-serif, system-ui, sans-serif' font-size='12'"


class Measured(NamedTuple):
    """A recipe's distances over its seeds."""

    recipe: str
    family: str
    values: tuple[float, ...]
    floor: float  # what as many training pictures reach
    samples: int
    images: int  # seen in training

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)


def measured() -> dict[str, list[Measured]]:
    """Of each family what was measured alike, the best first; the family with the best comes first."""
    found = {name: [first, *opinions().get(name, [])] for name, first in results().items() if first["data"] == DATA}
    spaces = [space for of in found.values() for one in of if (space := space_of(one)) is not None]
    common = max(spaces, key=spaces.count)  # distances in another feature space, or from other pictures, do not compare
    rows = [of_recipe(name, next(one for one in of if space_of(one) == common))
            for name, of in found.items() if common in map(space_of, of)]  # fmt: skip
    families: dict[str, list[Measured]] = {}
    for one in sorted(rows, key=lambda one: one.mean):
        families.setdefault(one.family, []).append(one)
    return families


def distances(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The figures of a result, one a seed, of enough pictures."""
    return [
        figure
        for run in result["per_seed"]
        for figure in run["figures"]
        if figure["name"] == METRIC and figure["samples"] >= LEAST
    ]


def space_of(result: Mapping[str, Any]) -> tuple[str, str] | None:
    """The features of a result's distances and the pictures that they are from; none without distances."""
    of = {(figure["features"], figure["reference"].rpartition("/")[0]) for figure in distances(result)}
    return of.pop() if len(of) == 1 and len(distances(result)) == len(result["per_seed"]) else None


def of_recipe(name: str, result: Mapping[str, Any]) -> Measured:
    figures = distances(result)
    return Measured(
        name,
        packaged()[result["system"]].card.family,
        tuple(figure["value"] for figure in figures),
        figures[0]["floor"],
        figures[0]["samples"],
        max(run.get("images") or 0 for run in result["per_seed"]),
    )


def section() -> list[str]:
    """Lines of a page: the figure, a table, and which differences are no verdict."""
    families = measured()
    best = [of[0] for of in families.values()]
    floor = max(one.floor for of in families.values() for one in of)
    lines = ["## The best of each family", ""]
    lines += [
        f"The Fréchet distance on {DATA} of {LEAST:,} pictures, in the features of the set's own classifier: a dot for",
        "each recipe, a line from the least to the most of its seeds, and for each family its best. Budgets are the",
        f"recipes' own, of minutes on one thread. As many training pictures reach {floor:.2f}: nothing below is due to",
        "a model. What is learnt in closed form was measured on 10,000 pictures, which lowers a distance by about a",
        "tenth of one; `parzen` draws training pictures with noise upon them.",
        "",
        "![The distances of each family's recipes, and the floor](images/families.svg)",
        "",
        "| family | best recipe | distance | seeds | pictures seen | than the next |",
        "|---|---|---|---|---|---|",
    ]
    for one, other in zip(best, [*best[1:], None], strict=True):
        spread = f" ({min(one.values):.4g} to {max(one.values):.4g})" if len(one.values) > 1 else ""
        lines.append(
            f"| {one.family} | `{one.recipe}` | {one.mean:.4g}{spread} | {len(one.values)} | {one.images:,} "
            f"| {'' if other is None else compared(one, other)} |"
        )
    return [*lines, ""]


def compared(one: Measured, other: Measured) -> str:
    """Whether the one is better than the other by more than training again makes."""
    if min(len(one.values), len(other.values)) < 2:
        return "no verdict: one seed"
    return "better" if better_of(one.values, other.values, "lower") == 1 else "no verdict: the seeds overlap"


def figure() -> str:
    """The same as SVG, on a logarithmic axis."""
    families = measured()
    every = [one for of in families.values() for one in of]
    floor = max(one.floor for one in every)
    low, high = math.log10(floor) - 0.05, math.log10(max(max(one.values) for one in every)) + 0.05
    width, height = LEFT + PLOT + RIGHT, TOP + ROW * len(families) + FOOT

    def x(value: float) -> float:
        return round(LEFT + PLOT * (math.log10(value) - low) / (high - low), 1)

    bottom = TOP + ROW * len(families)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'"
        " aria-label='Fréchet distances of each family, and the floor'>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
    ]
    for tick in ticks(10**low, 10**high):
        parts.append(f"<line x1='{x(tick)}' x2='{x(tick)}' y1='{TOP - 8}' y2='{bottom}' stroke='#e4e8eb'/>")
        parts.append(text(x(tick), bottom + 16, f"{tick:g}", "middle", "#5b6770"))
    parts.append(
        f"<line x1='{x(floor)}' x2='{x(floor)}' y1='{TOP - 8}' y2='{bottom}' stroke='#c1121f' stroke-dasharray='4 3'/>"
    )
    parts.append(text(x(floor) + 4, TOP - 14, "pictures of the data", "start", "#c1121f"))
    parts.append(text(LEFT + PLOT / 2, bottom + 33, "Fréchet distance, lower is better", "middle", "#5b6770"))
    for k, (family, of) in enumerate(families.items()):
        y = TOP + ROW * k + ROW // 2
        parts.append(text(LEFT - 12, y + 4, family, "end", "#1d2a33"))
        for one in reversed(of):
            parts += dot(one, x, y, COLOURS[one is not of[0]])
        label = f"{of[0].recipe} {of[0].mean:.3g}"
        parts.append(text(LEFT + PLOT + 12, y + 4, label, "start", COLOURS[0]))
    return "\n".join([*parts, "</svg>", ""])


def dot(one: Measured, x: Callable[[float], float], y: int, colour: str) -> list[str]:
    """A recipe: its mean, and from its least to its most."""
    ends = f"x1='{x(min(one.values))}' x2='{x(max(one.values))}' y1='{y}' y2='{y}'"
    spread = f"<line {ends} stroke='{colour}' stroke-width='3'/>"
    told = f"<title>{escape(one.recipe)}: {one.mean:.4g}</title>"
    return [spread, f"<circle cx='{x(one.mean)}' cy='{y}' r='4' fill='{colour}'>{told}</circle>"]


def ticks(least: float, most: float) -> Sequence[float]:
    """1, 2 and 5 times the powers of ten between them."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    return [by * 10**power for power in powers for by in (1, 2, 5) if least <= by * 10**power <= most]


def text(x: float, y: float, words: str, anchor: str, colour: str) -> str:
    return f"<text x='{round(x, 1)}' y='{y}' text-anchor='{anchor}' fill='{colour}' {FACE}>{escape(words)}</text>"
