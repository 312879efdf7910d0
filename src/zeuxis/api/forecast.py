"""How long a claim will take to prove here, from a few iterations played and a few pictures drawn.

Where a result recorded how long measuring took, that is scaled by how much slower an iteration is here than there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zeuxis.api.runs import recorded
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.listing import results
from zeuxis.data.bucketed import endless
from zeuxis.data.library import open_source
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.recipe import Recipe
from zeuxis.rng import ImageRng
from zeuxis.training.trainer import Trainer

LONGEST = 3.0  # seconds of iterations, after the first
FEWEST, MOST = 2, 12  # iterations timed
DRAWN = 8  # pictures timed


@dataclass(frozen=True)
class Forecast:
    """Seconds that a recipe will take here; None where nothing was timed or recorded. A closed form: one iteration."""

    trainings: int  # those that are not finished already
    iterations: int | None
    iteration: float | None
    measured: int  # models
    measuring: float | None  # of one model

    @property
    def training(self) -> float | None:
        """Of all trainings."""
        if self.iterations is None or self.iteration is None:
            return None
        return self.trainings * self.iterations * self.iteration

    @property
    def seconds(self) -> float | None:
        """Of all; a lower bound where the measuring could not be timed."""
        return None if self.training is None else self.training + self.measured * (self.measuring or 0.0)


def forecast(recipe: Recipe, folders: Sequence[Path], device: str = "cpu") -> Forecast:
    """What training ``recipe`` in each of the run ``folders`` and measuring its claim will take."""
    found = [recorded(folder) for folder in folders]
    to_train = sum(run is None or not run.finished for run in found)
    source = open_source(recipe.data, recipe.size, "train")
    system = build_for(recipe, source)
    before = results().get(recipe.name, {"per_seed": []})["per_seed"]
    if not system.players():  # in closed form: it takes what it took
        return Forecast(to_train, 1, _mean(before, "train_seconds"), len(folders), _mean(before, "measure_seconds"))
    with tempfile.TemporaryDirectory(prefix="zeuxis-") as folder:
        batches = endless(source, recipe.train.batch, recipe.train.seed, pixels=True)
        trainer = Trainer(system, batches, recipe.train, Path(folder), players=recipe.players, device=device)
        trainer.threads.begin(None)
        try:
            trainer.system.train()
            iteration = _seconds_an_iteration(trainer)
            drawing = _seconds_a_picture(trainer.system.eval(), recipe, device)
        finally:
            trainer.threads.end()
    samples = recipe.claim.samples if recipe.claim else 0
    measuring = None if drawing is None else samples * drawing
    then = _mean([{"iteration": run["train_seconds"] / run["iterations"]} for run in before if "iterations" in run],
                 "iteration")  # fmt: skip
    took = _mean(before, "measure_seconds")
    if took is not None and then is not None:
        measuring = took * iteration / then
    return Forecast(to_train, recipe.train.iterations, iteration, len(folders), measuring)


def _mean(runs: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """What runs recorded under ``key``, if all did."""
    found = [float(run[key]) for run in runs if run.get(key) is not None]
    return sum(found) / len(found) if found and len(found) == len(runs) else None


def _seconds_an_iteration(trainer: Trainer) -> float:
    """The mean of a few iterations; the first, which builds what the others use, is left out."""
    trainer.play()
    start = time.perf_counter()
    for done in range(1, MOST + 1):
        trainer.play()
        passed = time.perf_counter() - start
        if done >= FEWEST and passed > LONGEST:
            break
    return passed / done


def _seconds_a_picture(system: System, recipe: Recipe, device: str) -> float | None:
    """Of drawing, where the system draws; what it is measured by afterwards is not timed."""
    if "sample" not in system.can:
        return None
    examples = open_source(recipe.data, recipe.size, "val", recipe.fit)
    batch = examples.batch(torch.arange(min(DRAWN, len(examples)))).to(device)
    start = time.perf_counter()
    condition, rng = batch.condition.only(system.conditions), ImageRng.counting(0, len(batch))
    with torch.inference_mode():
        system.sample(condition, rng, Sampling(**recipe.sample))
    return (time.perf_counter() - start) / len(batch)
