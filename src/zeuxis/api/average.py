"""A model of a run whose average is as long as one likes, from the snapshots that its training put aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import load
from zeuxis.api.reporting import Report
from zeuxis.catalog.weights import load_system
from zeuxis.metrics.record import Figure
from zeuxis.training.checkpoint import write_model
from zeuxis.training.fit import put_back
from zeuxis.training.posthoc import combined

OF_THE_FILE = ("format", "system", "config", "spec", "sha256")  # what a card says of itself, and is written anew


@dataclass(frozen=True)
class Averaged:
    """A model that was made of snapshots, and what was measured of it."""

    folder: Path  # of a run: what ``zeuxis sample`` takes
    length: float  # of the average, as a share of the training up to ``round``
    round: int
    figures: tuple[Figure, ...] = ()


def average(
    run: Path,
    lengths: Sequence[float],
    *,
    round: int | None = None,
    out: Path | None = None,
    metrics: Sequence[str] = (),
    samples: int = 5000,
    device: str = "cpu",
    report: Report = lambda text, share: None,
) -> list[Averaged]:
    """Models of averages of ``lengths``, in folders of ``out`` (by default of the run), with figures if asked for.

    ``round`` is the iteration at which the averages end; None takes the last snapshot's.

    Raises UsageError for a length out of range, or a run without snapshots.
    """
    made = []
    for length in lengths:
        tensors, end = combined(run, length, round)
        system, card = load_system(run)
        own = {name: p for name, p in system.named_parameters() if name in tensors}
        put_back(own, tensors, f"the snapshots in {run} do not fit its model", "train the run again")
        at = "" if round is None else f"-{end}"
        folder = (run if out is None else out) / f"average-{length:g}{at}"
        facts = {key: value for key, value in card.items() if key not in OF_THE_FILE}
        write_model(folder / "model", system, {**facts, "round": end, "average": {"length": length, "round": end}})
        figures = (
            tuple(evaluate(load(folder, device), metrics=metrics, samples=samples, report=report)) if metrics else ()
        )
        made.append(Averaged(folder, length, end, figures))
    return made
