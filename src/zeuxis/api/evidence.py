"""What ties a result to what it was measured of: the recipe, the commit, the weights, the machine.

A result file ``NAME.json`` is the first opinion on a claim; ``NAME.<kind of machine>.json`` beside it are others.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from zeuxis.catalog.schema import sections
from zeuxis.catalog.weights import shipped
from zeuxis.errors import DataError
from zeuxis.files import read_table, spelt_error
from zeuxis.recipe import Recipe

BOOKKEEPING = frozenset(  # keys that change no figure
    {"name", "about", "tiny", "counts", "train.seed", "train.save_minutes", "train.preview_minutes", "train.keep"}
    | {"train.posthoc"}  # puts something aside, and leaves the model as it is
    | {"claim.bound", "claim.note", "claim.seeds"}
)
IDLE_BEFORE: dict[str, object] = {  # knobs and keywords that methods were given later: at this value all is as it was
    "sample.eta": 0.0,
    "sample.churn": 0.0,
    "model.tolerance": 1e-4,  # of flow-matching
    "model.uncertainty": False,
    "subset": None,
    "model.tokeniser.added": [],
    "augment": [],
}
IDLE: Mapping[str, object] = {
    **IDLE_BEFORE,
    "model.coupling": "independent",
    "model.snapshot": 0.0,
    "model.dispersive": 0.0,
    "sample.autoguidance": 1.0,
    "sample.noise": 0.2,  # of a corrector, which a sampler without one leaves alone
    "players.NAME.bound": "the system's",
}
IDLE_OF: dict[str, dict[str, object]] = {  # the same of one system alone
    "drunet": {"model.residual": False, "model.condition": "none"},
    "sr-resnet": {"model.upsampler": "pixelshuffle"},
    "wgan": {"model.batch_norm": False},
    "gan": {"model.r1": 0.0},
    "cgan": {"model.batch_norm": False},
    "stable-diffusion": {
        "sample.prompt_weights": "numbered",
        "sample.clip_skip": 0,
        "sample.guidance_rescale": 0.0,
    },
    "cyclegan": {"model.one_way": False, "sample.back": False},
}
PACKAGE = Path(__file__).parents[1]
SOURCES = (".", ":(exclude)results", ":(exclude)weights")  # of the package: what a figure comes from


def recipe_sha256(recipe: Recipe, idle: Mapping[str, object] = IDLE) -> str:
    """The hash of all that a recipe says of its training and its claim, the method's defaults included.

    Bound, seeds and note are left out, and what is ``idle`` at its value: they change no figure.
    """
    idle = {**idle, **IDLE_OF.get(recipe.system, {})}
    keys = {key.name: key.as_dict()["value"] for part in sections(recipe) for key in part.keys}
    kept = {
        name: value
        for name, value in keys.items()
        if name not in BOOKKEEPING and not (name in idle and value == idle[name])
    }
    return hashlib.sha256(json.dumps({**kept, "players": recipe.players}, sort_keys=True).encode()).hexdigest()


def _is_of(recorded: str, recipe: Recipe) -> bool:
    """Whether a hash is the recipe's, as it is computed now or was before there were more idle keys."""
    return recorded in (recipe_sha256(recipe), recipe_sha256(recipe, IDLE_BEFORE))


def recipe_standing(found: Mapping[str, Any], recipe: Recipe | None, baseline: Recipe | None = None) -> str:
    """What a reader must know of the recipe behind a result: "as now", or how it differs."""
    recorded, rival = found.get("recipe_sha256"), found.get("baseline_sha256")
    if recipe is None:
        return "recipe gone since"
    if recorded is None:
        return "recipe not recorded then"
    if not _is_of(recorded, recipe):
        return "recipe changed since"
    if baseline is not None and rival is not None and not _is_of(rival, baseline):
        return "baseline's recipe changed since"
    return "as now"


@cache
def loaded_commit() -> str | None:
    """The commit of the sources that this process runs: asked once, for later they may be others."""
    return commit(PACKAGE)


def commit(package: Path) -> str | None:
    """The commit of the source tree, where it is one; ``-dirty`` behind it where the sources are not that commit's.

    None of an installed package, though it lie within somebody's repository, which does not track it.
    """
    head = _git(package, "rev-parse", "HEAD")
    if not head or not _git(package, "ls-files", "--", "."):
        return None
    return f"{head}-dirty" if _git(package, "status", "--porcelain", "--", *SOURCES) else head


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def shipped_of(seeds: Mapping[str, int]) -> dict[str, Any] | None:
    """The weights in the package that are those of a training, whose hashes are given with their seeds.

    A card in the package says by ``shipped_from`` which weights were halved to ship.
    """
    for name, folder in shipped().items():
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if card.get("shipped_from") in seeds:
            return {"name": name, "sha256": card["sha256"], "seed": seeds[card["shipped_from"]]}
    return None


def agreement(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Whether two results agree: their means lie no further apart than the figures of one of them do over its seeds."""
    if first.get("recipe_sha256") is not None and first.get("recipe_sha256") != other.get("recipe_sha256"):
        return "of another recipe"
    spread = max(_spread(first), _spread(other))
    if spread == 0:
        return "no verdict: one seed each"
    apart = abs(first["value"] - other["value"])
    return "agrees within the spread" if apart <= spread else "differs beyond the spread"


def _spread(found: Mapping[str, Any]) -> float:
    values = [run["value"] for run in found["per_seed"]]
    return float(max(values) - min(values))


def place_of(recipe: Recipe, kind: str, out: Path, *, replace: bool) -> Path:
    """The file of a result from a machine of that kind.

    It is the first one's, unless that is whole and of another kind: where seeds of the claim are still to come, they
    may come from any machine, and each says from which.
    """
    first = out / f"{recipe.name}.json"
    if replace or not first.is_file():
        return first
    found = read_result(first)
    if found["machine"].get("kind") == kind or (lacking(recipe, found) and recipe_standing(found, recipe) == "as now"):
        return first
    return out / f"{recipe.name}.{kind}.json"


def lacking(recipe: Recipe, found: Mapping[str, Any]) -> list[int]:
    """The seeds of a recipe's claim that a result does not have."""
    measured = {run["seed"] for run in found["per_seed"]}
    return [] if recipe.claim is None else [seed for seed in recipe.claim.seeds if seed not in measured]


def verdict_on(recipe: Recipe | None, found: Mapping[str, Any], verdicts: Mapping[bool | None, str]) -> str:
    """How a result stands to its claim: the seeds of the claim that it lacks, or else the one of ``verdicts``."""
    missing = [] if recipe is None else lacking(recipe, found)
    return f"seeds still to come: {', '.join(map(str, missing))}" if missing else verdicts[found["holds"]]


def other_seeds(recipe: Recipe, path: Path, seeds: Collection[int]) -> list[dict[str, Any]]:
    """What a result of the recipe as it is now holds of other seeds than ``seeds``; nothing where there is none."""
    if not path.is_file():
        return []
    found = read_result(path)
    if recipe_standing(found, recipe) != "as now":
        return []
    return [run for run in found["per_seed"] if run["seed"] not in seeds]


def measured_before(recipe: Recipe, metric: str, samples: int, out: Path) -> list[float]:
    """A figure of each seed in a result in ``out``, of the recipe as it is now and as many pictures; else nothing."""
    for path in results_of(recipe.name, out):
        found = read_result(path)
        figures = [figure for run in found["per_seed"] for figure in run["figures"]]
        values = [f["value"] for f in figures if f["name"] == metric and f["samples"] == samples]
        if recipe_standing(found, recipe) == "as now" and len(values) == len(found["per_seed"]):
            return values
    return []


def read_result(path: Path) -> dict[str, Any]:
    """The result in a file that was written by ``zeuxis reproduce``; DataError for anything else."""
    try:
        found = read_table(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({spelt_error(error, path)}): move it away, or give another --out"
        ) from None
    parts: dict[str, type | tuple[type, ...]] = {
        "machine": dict,
        "per_seed": list,
        "value": (int, float),
        "metric": str,
        "data": str,
        "better": str,
    }
    wrong = next((key for key, kind in parts.items() if not isinstance(found.get(key), kind)), None)
    if wrong is not None:
        raise DataError(f"{path} is no result ('{wrong}' is missing or of the wrong kind): move it away")
    return found


def results_of(name: str, out: Path) -> list[Path]:
    """The files of all results on one claim, the first opinion first."""
    first = out / f"{name}.json"
    return [path for path in (first, *sorted(out.glob(f"{name}.*.json"))) if path.is_file()]
