"""What is wrong with a training: the usual failures by name, what shows each, and what mends it.

What is looked at: the run's log (losses, the norms of gradients, what was made of the same latents over time), its
settings, and pictures that the model draws beside those of its data. Each check is one function of
:class:`zeuxis.api.symptoms.Symptoms`; a new one is a function and its place in :data:`CHECKS`. Bounds are set so that a
healthy run shows none: ``benchmarks/planted_faults.py`` plants the faults and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zeuxis.api.going_on import recorded
from zeuxis.api.model import Model, load
from zeuxis.api.naming import counted
from zeuxis.api.reporting import Report
from zeuxis.api.symptoms import FEW, Finding, Symptoms
from zeuxis.api.symptoms_learnt import average_never_used, not_converging, too_high_a_rate, vanishing_gradients
from zeuxis.api.symptoms_made import hardly_begun, memorising, mode_collapse, wrong_value_range
from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.library import Data, data_of, fit_for, trained_part
from zeuxis.data.source import Source
from zeuxis.errors import NoneHeldOut, UsageError
from zeuxis.fetching import named_by
from zeuxis.knobs import Sampling
from zeuxis.recipe import Recipe
from zeuxis.spec import Size
from zeuxis.training.log import read_log

SAMPLES = 500  # pictures that are drawn


CHECKS: tuple[Callable[[Symptoms], Finding | None], ...] = (
    wrong_value_range,
    mode_collapse,
    memorising,
    vanishing_gradients,
    too_high_a_rate,
    not_converging,
    average_never_used,
)


@dataclass(frozen=True)
class RunDiagnosis:
    """What was found, what was looked at, and the figures, found or not."""

    run: str
    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...]
    figures: dict[str, float]


def diagnose(
    name: str | Path,
    *,
    data: str | Data | None = None,
    samples: int = SAMPLES,
    how: Sampling = Sampling(),
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> RunDiagnosis:
    """Look for the usual failures in the run (or the model) called ``name``.

    Raises UsageError where there is neither a log nor a model.
    """
    folder = Path(name)
    run = recorded(folder) if folder.is_dir() else None
    recipe = None if run is None else run.recipe
    path = folder / "log.jsonl"
    log = read_log(path) if path.is_file() else []
    model, card, looked = None, {}, [f"{len(log)} lines of the log"] if log else []
    if run is None or (folder / "model").exists():
        model = load(name, device)
        card = model.card
        looked.append("the model")
    if model is None and not log:
        raise UsageError(f"{folder} holds neither a log nor a model: give the folder of a training")
    source, unseen = _opened(model, recipe, data)
    wanted = Sampling(**{**(recipe.sample if recipe is not None else {}), **how})
    known = Symptoms(recipe, log, model, source, unseen, samples, wanted, dict(card))
    if known.model is not None and "sample" in known.model.verbs and source is not None and unseen is not None:
        report(f"drawing {samples} pictures", None)
        assert known.drawn is not None
        made, real = map(len, known.drawn)
        few = ", too few to tell a mode collapse by" if real < FEW and known.modes is None else ""
        apart = "held-out ones" if unseen.fingerprint() != source.fingerprint() else "of training, none being held out,"
        looked.append(f"{counted(made, 'picture')} beside {real:,} {apart} of {unseen.name}{few}")
    findings = []
    for k, check in enumerate(CHECKS):
        report(check.__name__.replace("_", " "), k / len(CHECKS))
        found = check(known)
        if found is not None:
            findings.append(found)
    if not findings and (early := hardly_begun(known)) is not None:
        findings.append(replace(early, evidence=f"none of the usual failures is seen yet; {early.evidence}"))
    return RunDiagnosis(str(name), tuple(findings), tuple(looked), known.figures)


def _opened(model: Model | None, recipe: Recipe | None, data: str | Data | None) -> tuple[Source | None, Source | None]:
    """The training and the held-out pictures."""
    named = data or (model.card.get("data") if model is not None else recipe.data if recipe is not None else None)
    if not named:
        return None, None
    opened = data_of(named)
    size = model.system.spec.size if model is not None else recipe.size if recipe is not None else None
    fit = SQUARE if model is None else fit_for(model.card, opened.name)
    known: Mapping[str, Any] = {} if model is None else model.card
    if data is not None:
        source, unseen = trained_part(known, opened.name, opened.open(size, "train", fit)), _held_out(opened, size, fit)
        if model is not None and tuple(source.spec.shape) != tuple(model.system.shape):
            makes, holds = tuple(model.system.shape), tuple(source.spec.shape)
            raise UsageError(f"'{model.name}' makes {makes}, '{opened.name}' holds {holds}: give other --data")
        return source, unseen
    with named_by("the run", f"--data {named} does"):
        return trained_part(known, opened.name, opened.open(size, "train", fit)), _held_out(opened, size, fit)


def _held_out(opened: Data, size: Size | None, fit: Fit) -> Source:
    """Pictures that no training saw; of data too few to set any apart the training's own, which their remarks say."""
    try:
        return opened.open(size, "test", fit)
    except NoneHeldOut:
        return opened.open(size, "val", fit)
