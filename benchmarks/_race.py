"""What the races share: contestants in one process, in an order that is rotated, by CPU time.

The one begins a turn who was second in the last, so that what a turn leaves behind (warm caches, a hot processor)
favours nobody. CPU time of the process counts, which other work on the machine disturbs least; its threads are as many
as ``--threads`` says, one by default. What any of them frees stays with the process, as our trainer sees to it: so a
ratio of two steps is that of what they compute. The first turns warm up. A ratio is the median over turns of the peer's
time over ours, with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.game import System
from zeuxis.recipe import load_recipe
from zeuxis.training.memory import kept
from zeuxis.training.processor import processor
from zeuxis.training.trainer import Trainer

OURS = "zeuxis"
WARM = 3  # turns that do not count


@dataclass(frozen=True)
class Row:
    """One line of the table: ``ratio`` times as fast as ``peer``, from ``least`` to ``most`` over the turns.

    Where there is no peer, those are none: the rate stands alone.
    """

    what: str
    rate: str  # ours, in its own unit
    peer: str | None = None
    ratio: float | None = None
    least: float | None = None
    most: float | None = None


Contestants = Mapping[str, Callable[[], object]]
Seconds = dict[str, list[float]]


def race(
    contestants: Contestants, turns: int, warm: int = WARM, clock: Callable[[], float] = time.process_time
) -> Seconds:
    """CPU seconds (or those of another ``clock``) of each contestant in each of ``turns``."""
    names = list(contestants)
    seconds: Seconds = {name: [] for name in names}
    with kept("cpu"):
        for turn in range(turns + warm):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                start = clock()
                contestants[name]()
                if turn >= warm:
                    seconds[name].append(clock() - start)
    return seconds


def compared(what: str, seconds: Seconds, pictures: int, unit: str = "images") -> list[Row]:
    """Ours beside each of the others; ``pictures`` are made in one turn."""
    rate = f"{_round(pictures / statistics.median(seconds[OURS]))} {unit}/s"
    rows = []
    for peer in (name for name in seconds if name != OURS):
        ratios = [theirs / ours for ours, theirs in zip(seconds[OURS], seconds[peer], strict=True)]
        middle, least, most = (round(f(ratios), 3) for f in (statistics.median, min, max))
        rows.append(Row(what, rate, peer, middle, least, most))
    return rows


def alone(what: str, seconds: list[float], pictures: int, unit: str = "images") -> Row:
    """What has no peer."""
    return Row(what, f"{_round(pictures / statistics.median(seconds))} {unit}/s")


def _round(rate: float) -> str:
    """Three digits of it."""
    return f"{float(f'{rate:.3g}'):,g}"


def arguments(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """A parser with ``--threads``, ``--turns`` and the ``numbers`` given, each with its default."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    for name, default in {"threads": 1, "turns": 20, **numbers}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser


def told(rows: list[Row], given: argparse.Namespace) -> None:
    """Print the rows with what they were obtained on, as one JSON document."""
    settings = {name: value for name, value in vars(given).items() if isinstance(value, (int, str))}
    json.dump({"rows": [asdict(row) for row in rows], "settings": settings}, sys.stdout, indent=1)
    sys.stdout.write("\n")


def machine(threads: int) -> dict[str, Any]:
    """The processor, its vector instructions as it tells them and as torch uses them, threads and versions."""
    told = processor()
    found = {"processor": told.name, "instructions": " ".join(told.instructions), "threads": threads}
    used = {"torch's instructions": torch.backends.cpu.get_cpu_capability(), "python": platform.python_version()}
    return {**found, **used, **versions("torch", "numpy", "diffusers", "pythae", "perlin-numpy")}


def versions(*packages: str) -> dict[str, str]:
    """The versions of those of ``packages`` that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


class Repeated:
    """The same batch over and over."""

    def __init__(self, image: Tensor, condition: Condition) -> None:
        self.batch = Batch(image, condition, torch.arange(len(image)))

    def next(self) -> Batch:
        return self.batch

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


def trainer_step(
    system: System, image: Tensor, recipe: str, folder: Path, precision: str, condition: Condition | None = None
) -> Callable[[], None]:
    """A round of the real trainer, with its average, as ``recipe`` trains."""
    train = load_recipe(recipe).train
    config = train.model_copy(update={"iterations": 10**9, "minutes": None, "precision": precision})
    trainer = Trainer(system, Repeated(image, condition or Condition()), config, folder)
    system.train()
    return trainer.play


@contextmanager
def frozen(net: torch.nn.Module) -> Iterator[None]:
    """``net`` takes no gradients, as a careful script has it while another network learns through it."""
    net.requires_grad_(False)
    try:
        yield
    finally:
        net.requires_grad_(True)
