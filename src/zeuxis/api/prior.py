"""Where the codes of an autoencoder lie: a density fitted to them afterwards, from which new ones are drawn.

Ghosh et al. 2020, "From Variational to Deterministic Autoencoders" (arXiv:1903.12436): ex-post density estimation.
Any density of the catalogue serves: a code of Z numbers is to it a picture of Z channels and one pixel. A fitted
prior is a model folder like any other; it is kept beside the model that it is for, and fitted once.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.latents import Codes, code_width, codes_of
from zeuxis.api.reporting import Report
from zeuxis.batch import Condition
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import load_system, locate, shipped
from zeuxis.data.batches import Batches, epoch_batches
from zeuxis.data.cache import cache_dir
from zeuxis.data.library import open_source, pinned
from zeuxis.data.source import Source
from zeuxis.errors import DataError, UnknownName, UsageError, WeightsError
from zeuxis.game import System
from zeuxis.knobs import COMMON, Sampling
from zeuxis.recipe import Train
from zeuxis.rng import ImageRng
from zeuxis.training.checkpoint import read_folder, write_model
from zeuxis.training.trainer import Clock, Trainer

CODES = 10_000  # pictures whose codes a prior is fitted to
REACH = 8.0  # standard deviations of each number that lie within [-1, 1], where densities keep what they draw
FLOOR = 1e-8  # the variance that Gaussians add to every number so divided, of variance 1 / 64
BATCH = 256


@dataclass(frozen=True)
class Plan:
    """A density of the catalogue, and how it is fitted to codes. The same codes give the same prior."""

    system: str
    model: dict[str, Any]
    rounds: int | None = None  # of a game; None for a closed form


OWN = "normal"  # N(0, I), for which nothing is fitted
PLANS = {
    "gaussian": Plan("gaussian", {"floor": FLOOR}),
    "mixture": Plan("mixture", {"components": 10, "rounds": 50, "prior": 100.0, "floor": FLOOR}),
    "flow": Plan("maf", {"flows": 5, "widths": [256, 256], "data_std": 1 / REACH, "level": 0.0}, rounds=2000),
}
KINDS = (OWN, *PLANS)


@dataclass(frozen=True)
class Prior:
    """What codes are drawn from; of itself, N(0, I), which variational autoencoders are trained towards."""

    kind: str
    width: int  # Z

    def draw(self, rng: ImageRng, how: Sampling, device: torch.device) -> Tensor:
        """Codes ``(B, Z)``; ``how.temperature`` scales the noise that they come from."""
        temperature = float(COMMON["temperature"].check(how.get("temperature", 1.0)))
        return temperature * rng.normal(len(rng), self.width, device=device)

    def record(self) -> dict[str, Any]:
        """What a picture's record says of it."""
        return {"kind": self.kind, "sha256": None, "data": None}


@dataclass(frozen=True)
class Fitted(Prior):
    """A density of codes that were centred and divided."""

    density: System
    centre: Tensor  # (Z,)
    spread: Tensor  # (Z,)
    sha256: str  # of the density's weights
    data: str  # what the codes were of

    def draw(self, rng: ImageRng, how: Sampling, device: torch.device) -> Tensor:
        drawn = self.density.to(device).sample(Condition(), rng, how).flatten(1)
        return self.centre.to(device) + self.spread.to(device) * drawn

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, "sha256": self.sha256, "data": self.data}


def prior_of(
    name: str,
    system: System,
    card: dict[str, Any],
    kind: str,
    data: str | None = None,
    report: Report = lambda message, fraction: None,
) -> Prior:
    """The prior called ``kind`` over the codes of the model ``name``: the one that is kept, or one fitted now.

    The codes are those of the training data of ``data``, by default the model's own.

    Raises UnknownName for another kind; Unsupported where the codes are no vectors; UsageError without data.
    """
    if kind not in KINDS:
        raise UnknownName("prior", kind, KINDS)
    width = code_width(system)
    if kind == OWN:
        return Prior(kind, width)
    said = data or card.get("data")
    if not said:
        raise UsageError(f"'{name}' does not say what data it was trained on: give --prior-data")
    folder = _place(name, card["sha256"]) / kind
    facts = {"prior": kind, "prior_of": card["sha256"], "data": pinned(said), "codes": CODES} | asdict(PLANS[kind])
    if not _kept(folder, facts):
        source = _opened(name, system, said)
        _fit(system, source, PLANS[kind], folder, facts, report)
    density, own = load_system(folder)
    centre, spread = torch.tensor(own["centre"]), torch.tensor(own["spread"])
    return Fitted(kind, width, density, centre, spread, str(own["sha256"]), str(own["data"]))


def _place(name: str, sha256: str) -> Path:
    """The folder of a model's priors: beside it, or in the cache for those that lie in the package."""
    if name in shipped():
        return cache_dir() / "priors" / sha256[:16]
    folder = locate(name)
    return (folder.parent if folder.name == "model" else folder) / "priors"


def _kept(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether a whole prior of just these ``facts`` is there."""
    try:
        card = read_folder(folder, "model")[1]
    except WeightsError:  # none yet, or a damaged one
        return False
    return all(card.get(key) == value for key, value in facts.items() if key != "system")


def _opened(name: str, system: System, data: str) -> Source:
    """The training split of ``data``, in the model's shape."""
    try:
        source = open_source(data, system.spec.size)
    except (UnknownName, DataError) as error:
        raise UsageError(f"the codes of '{name}' need its data, '{data}': {error}; or give --prior-data") from None
    if tuple(source.spec.shape) != tuple(system.shape):
        raise UsageError(
            f"'{name}' codes {tuple(system.shape)}, '{data}' holds {tuple(source.spec.shape)}: give other --prior-data"
        )
    return source


def _fit(system: System, source: Source, plan: Plan, folder: Path, facts: dict[str, Any], report: Report) -> None:
    """Fit a density to the codes of ``source`` and keep it in ``folder``."""
    report(f"coding pictures of {source.name} for a prior", None)
    codes = codes_of(system, source, CODES)
    centre = codes.mean(0)
    spread = REACH * codes.std(0, correction=0).clamp_min(torch.finfo(codes.dtype).eps)
    if not (torch.isfinite(centre).all() and torch.isfinite(spread).all()):
        raise WeightsError(f"codes of '{source.name}' are not finite: the model's weights are damaged, train it again")
    seen = Codes(source.name, (codes - centre) / spread)
    density = build(plan.system, seen.spec, plan.model)
    report(f"fitting a prior to {len(seen)} codes: {plan.system}", None)
    if plan.rounds is None:
        density.fit(epoch_batches(seen, len(seen)))
    else:
        density = _played(density, seen, plan.rounds, report)
    write_model(folder, density, {**facts, "centre": centre.tolist(), "spread": spread.tolist()})


def _played(density: System, seen: Codes, rounds: int, report: Report) -> System:
    """``density`` after ``rounds`` of its game on ``seen``, as the house's trainer plays it; averaged."""
    bounds = {"iterations": rounds, "batch": BATCH, "ema": 0.99, "save_minutes": 1e6, "preview_minutes": 1e6}
    plan = Train.model_validate(bounds)

    def told(clock: Clock) -> None:
        report("fitting a prior", clock.progress)

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(density, Batches(seen, BATCH, 0), plan, Path(folder), report=told)
        trainer.run()
    if trainer.stop_asked:
        raise KeyboardInterrupt
    return trainer.best.eval()
