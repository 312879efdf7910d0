"""What a reader may try with a recipe, and what to expect: made of the recipe, its card and its result. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zeuxis.api.evidence import recipe_sha256, recipe_standing
from zeuxis.catalog.listing import entry, results
from zeuxis.catalog.schema import knobs_of
from zeuxis.errors import ZeuxisError
from zeuxis.knobs import SHORT
from zeuxis.recipe import Recipe, load_recipe, recipe_paths, recipe_systems

AS_NOW = "as now"


@dataclass(frozen=True)
class Expected:
    """What trainings of a recipe measured: the mean over ``seeds``, and the least and the most of any."""

    metric: str
    better: Literal["lower", "higher"]
    value: float
    least: float
    most: float
    seeds: int
    bound: float | None
    baseline: str | None
    baseline_value: float | None
    minutes: float | None  # of one training, where it was measured
    machine: str | None


@dataclass(frozen=True)
class Exercise:
    """One exercise: ``figure`` has a number to expect; ``knob`` something to turn, and no number."""

    recipe: str
    kind: Literal["figure", "knob"]
    text: str
    iterations: int | None
    data: str
    expected: Expected | None


def exercises(system: str) -> list[Exercise]:
    """Those of the recipes of a system, in the order of their names; the published sizes have none."""
    own = [name for name, of in recipe_systems().items() if of == system and not name.endswith("-paper")]
    found = (exercise_of(load_recipe(name)) for name in own)
    return [one for one in found if one is not None]


def exercise_of(recipe: Recipe) -> Exercise | None:
    """The exercise of a recipe; None where nothing that is true can be asked."""
    expected = _expected(recipe)
    if expected is not None:
        return Exercise(recipe.name, "figure", _asked(recipe, expected), recipe.train.iterations, recipe.data, expected)
    known = entry(recipe.system)
    knobs = knobs_of(known, recipe.model)
    common = (knobs[name] for name in SHORT if name in knobs)  # the others may mean nothing until one is turned
    knob = next((knob for knob in common if knob.type in ("int", "float")), None)
    if knob is None or "sample" not in known.card.verbs:
        return None
    text = (
        f"Train {recipe.name} on {recipe.data}, and draw the same seeds with several values of {knob.name} "
        f"({knob.range}). The card says of it: {knob.meaning}. Say what changes before you look; no figure is claimed."
    )
    return Exercise(recipe.name, "knob", text, recipe.train.iterations, recipe.data, None)


def verdict(exercise: Exercise | None, trained: Recipe, value: float) -> str:
    """How a figure that was measured of a run of ``trained`` stands to the one to expect, in words."""
    expected = None if exercise is None else exercise.expected
    if exercise is None or expected is None:
        return f"{value:.4g}: no figure of this recipe is kept that it could be compared with"
    own = _sha(trained)
    if own is None or own != _sha(load_recipe(exercise.recipe)):
        return f"{value:.4g}: the recipe was changed, so that {expected.value:.4g} need not be reached"
    if expected.least <= value <= expected.most:
        if expected.seeds == 1:
            return f"{value:.4g}: the figure to expect"
        return f"{value:.4g}: within {expected.least:.4g} to {expected.most:.4g}, what {expected.seeds} seeds measured"
    far = "better than" if (value > expected.most) == (expected.better == "higher") else "worse than"
    spread = (
        f"the {expected.value:.4g} of one training; its spread over seeds is not known"
        if expected.seeds == 1
        else f"any of {expected.seeds} seeds ({expected.least:.4g} to {expected.most:.4g})"
    )
    return f"{value:.4g}: {far} {spread}"


def _sha(recipe: Recipe) -> str | None:
    """What a recipe says of its training; None where it has keys that its system does not take any more."""
    try:
        return recipe_sha256(recipe)
    except ZeuxisError:
        return None


def _expected(recipe: Recipe) -> Expected | None:
    """The figure of a claim that was measured of the recipe as it is now."""
    found = results().get(recipe.name)
    claim = recipe.claim
    if claim is None or found is None or found["metric"] != claim.metric or found["data"] != recipe.data:
        return None
    rival = load_recipe(claim.baseline) if claim.baseline in recipe_paths() else None
    standing = recipe_standing(found, recipe, rival)
    if standing not in (AS_NOW, "baseline's recipe changed since"):
        return None
    runs: list[Mapping[str, Any]] = found["per_seed"]
    values = [float(run["value"]) for run in runs]
    seconds = [float(run["train_seconds"]) for run in runs if run.get("train_seconds") is not None]
    kept = found["baseline_value"] is not None and standing == AS_NOW
    return Expected(
        metric=claim.metric,
        better=claim.better,
        value=sum(values) / len(values),
        least=min(values),
        most=max(values),
        seeds=len(values),
        bound=claim.bound,
        baseline=claim.baseline if kept else None,
        baseline_value=float(found["baseline_value"]) if kept else None,
        minutes=sum(seconds) / len(seconds) / 60 if seconds else None,
        machine=next((str(run["machine"]) for run in runs if run.get("machine")), None),
    )


def _asked(recipe: Recipe, expected: Expected) -> str:
    """The exercise in sentences."""
    budget = "" if recipe.train.iterations is None else f" for {recipe.train.iterations:,} iterations"
    among = (
        "measured once, with one seed"
        if expected.seeds == 1
        else f"between {expected.least:.4g} and {expected.most:.4g} over {expected.seeds} seeds"
    )
    lines = [
        f"Train {recipe.name} on {recipe.data}{budget}, and measure {expected.metric} ({expected.better} is better). "
        f"Expect {expected.value:.4g}, {among}."
    ]
    if expected.baseline is not None:
        lines.append(f"The baseline, {expected.baseline}, has {expected.baseline_value:.4g}.")
    if expected.minutes is not None:
        on = "" if expected.machine is None else f" on {expected.machine}"
        took = "less than a minute" if expected.minutes < 1 else f"{round(expected.minutes)} min"
        lines.append(f"One training took {took}{on}.")
    return " ".join(lines)
