"""Which run folder a training belongs in: a new one, or one to go on with, and what may have changed since.

A run is gone on with by the recipe that began it, and by one that differs in what a training can bear: another
budget, batch, learning rate. What it cannot bear is refused for its reason (:data:`BOUND`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeuxis.api.naming import counted, slug
from zeuxis.catalog.weights import RUNS
from zeuxis.errors import UnknownName, UsageError
from zeuxis.files import at_home, read_table, spelt_error
from zeuxis.provenance.record import write_whole
from zeuxis.recipe import Recipe, Train, parse_recipe, recipe_paths
from zeuxis.training.legacy import FORMAT, format_of, upgraded_recipe
from zeuxis.training.log import free_name
from zeuxis.training.precision import AUTO
from zeuxis.training.run_lock import move_run

ANEW = "--fresh, or another --out"
PARTS = ("model", "checkpoints", "previews")  # folders of a run
LISTED = 3  # runs of a recipe that a message has room for
# What of a recipe changes no weight; and how long, which is said in words of its own.
WORDS = ("name", "about", "claim", "tiny", "counts", "sample")
UNHEEDED = ("save_minutes", "preview_minutes", "keep", "max_bad_iterations", "compile", "channels_last")
BUDGET = ("iterations", "minutes")
# What a run cannot bear, by the beginning of a key, and why.
BOUND: Mapping[str, str] = {
    "system": "it trains another system",
    "size": "its networks were built for pictures of that size",
    "model": "its networks were built so",
    "train.seed": "its first weights and the order of its pictures follow from the seed",
    "train.start": "it has weights of its own by now",
    "train.posthoc": "its averages were begun otherwise",
}
STATE = "its checkpoint holds the state of the other optimiser"


@dataclass(frozen=True)
class Recorded:
    """What ``run.json`` says of a run folder."""

    recipe: Recipe
    finished: bool

    def trains(self, recipe: Recipe, *, budget: bool = True) -> bool:
        """Whether it trains what ``recipe`` does: claims, sampling and words do not matter.

        Nor does a precision that ``recipe`` leaves open: a run keeps the one that it began with. Without ``budget``
        it may be shorter or longer.
        """
        alike = ("name", "system", "data", "size", "fit", "subset", "augment", "model", "players")
        return self._train(recipe, budget) == self._own(budget) and all(
            getattr(self.recipe, f) == getattr(recipe, f) for f in alike
        )

    def _train(self, recipe: Recipe, budget: bool) -> Train:
        train = recipe.train if budget else recipe.train.model_copy(update=dict.fromkeys(BUDGET))
        if train.precision == AUTO:
            train = train.model_copy(update={"precision": self.recipe.train.precision})
        return train

    def _own(self, budget: bool) -> Train:
        return self.recipe.train if budget else self.recipe.train.model_copy(update=dict.fromkeys(BUDGET))


def recorded(folder: Path) -> Recorded | None:
    """The record of the run in ``folder``, or None where there is no run."""
    path = folder / "run.json"
    if not folder.is_dir():
        return None
    try:
        run = read_table(path)
        if format_of(run) > FORMAT:
            raise UsageError(
                f"{path} was written by a later version of zeuxis: update it, or train into another folder"
            )
        return Recorded(parse_recipe(upgraded_recipe(run), str(path)), bool(run["finished"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else spelt_error(error, path)
        raise UsageError(
            f"{path} cannot be read ({why}): put a sound copy in its place, or train into another folder"
        ) from None


def note(folder: Path, recipe: Recipe, *, finished: bool) -> None:
    """Write down in a run folder what it trains, and whether that has come to its end."""
    run = {"format": FORMAT, "recipe": recipe.model_dump(mode="json"), "finished": finished}
    write_whole(folder / "run.json", json.dumps(run, indent=1).encode())


@dataclass(frozen=True)
class RunFolder:
    """Where a training lies; ``budget`` and ``changes`` say what is not as it was when the run there began."""

    folder: Path
    before: Recorded | None = None  # the run that is there, and is gone on with
    finished: bool = False  # it has come to the end of this budget already
    aside: bool = False  # the run that is there makes room first
    budget: str | None = None
    changes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What to say where it goes on."""
        return (*((self.budget,) if self.budget else ()), *(f"{change} from here on" for change in self.changes))

    def unheeded(self, *, closed: bool) -> tuple[str, ...]:
        """What to say where it has come to its end, and nothing is trained; ``closed`` where that was one pass.

        Raises:
            UsageError: something changed, and no budget makes one pass longer.
        """
        if self.changes and closed:
            raise UsageError(
                f"{self.folder} was learnt in closed form, in one pass, and cannot be gone on with: "
                f"{', and '.join(self.changes)}; put it back, or give {ANEW}"
            )
        return tuple(
            f"{change}, which counts for nothing: {self.folder} is finished; a larger budget goes on with it, and "
            "--fresh begins anew"
            for change in self.changes
        )

    def make_room(self) -> Path | None:
        """Set the run aside that lies where another is to begin; returns where it is now."""
        if not self.aside:
            return None
        kept = free_name(self.folder.with_name(f"before-{self.folder.name}"))
        move_run(self.folder, kept)
        return kept


def run_of(folder: Path) -> Recorded:
    """The run in ``folder``; UsageError where there is none."""
    found = recorded(folder)
    if found is None:
        raise UsageError(
            f"{folder} holds no run (there is no run.json in it): to train on its pictures give a recipe and "
            f"--data {folder}, e.g. zeuxis train dcgan --data {folder} --size 32"
        )
    return found


def run_named(name: str | Path) -> Path | None:
    """The folder that is meant where a training is asked for by ``name``; None where that is a recipe's.

    Raises:
        UsageError: it is neither, and a folder in :data:`RUNS` is called so.
    """
    if str(name) in recipe_paths():
        return None
    folder = at_home(name)
    if folder.is_dir():
        return folder
    if (RUNS / name).is_dir():
        raise UsageError(f"there is no recipe '{name}', and no folder of that name here: did you mean {RUNS / name}?")
    return None


def run_to_resume(name: str | Path) -> Path:
    """The folder of the run that is to go on.

    Raises:
        UsageError: there is none; it names those that are meant, or what a recipe's name is given to.
    """
    folder = at_home(name)
    if (folder / "run.json").is_file():
        return folder
    runs = sorted(record.parent.as_posix() for record in (*RUNS.glob("*/run.json"), *RUNS.glob("*/*/run.json")))
    if str(name) in recipe_paths():
        found = (run for run in runs if (of := _readable(Path(run))) is not None and of.recipe.name == str(name))
        mine = " or ".join(list(found)[-LISTED:])
        raise UsageError(
            f"'{name}' is a recipe, and what goes on is a run: "
            + (f"did you mean {mine}?" if mine else f"train it first (zeuxis train {name})")
        )
    if folder.name in PARTS and (folder.parent / "run.json").is_file():
        raise UsageError(f"{folder} is a part of a run: give the run, {folder.parent}")
    if folder.is_dir():
        raise UsageError(f"{folder} holds no run (there is no run.json in it): give the folder of a training")
    raise UnknownName("run", str(name), runs, "(give the folder that zeuxis train named)", elsewhere="run folder")


def place(recipe: Recipe, out: Path | None, fresh: bool, longer: bool = False) -> RunFolder:
    """Where a training of ``recipe`` would lie; of a run to go on with, where it lies.

    That is ``out``, or the newest numbered folder of this training, or else the next. Where ``longer``, a run may also
    be gone on with by a recipe that differs in its budget and, if ``out`` names it, in whatever a run can bear.

    Raises:
        UsageError: ``out`` cannot hold a run, or holds one that ``recipe`` cannot go on with.
    """
    if out is not None:
        return _named(recipe, out, fresh, longer)
    numbered = sorted(p for p in RUNS.glob("[0-9]*-*") if p.is_dir() and p.name.split("-")[0].isdecimal())
    if not fresh:
        runs = [(folder, found) for folder in reversed(numbered) if (found := _readable(folder)) is not None]
        for folder, found in runs:
            if found.trains(recipe):
                return RunFolder(folder, found, found.finished)
        for folder, found in runs if longer else ():
            if found.trains(recipe, budget=False) and _is_longer(found.recipe.train, recipe.train):
                return RunFolder(folder, found, budget=_budgets(found.recipe.train, recipe.train))
    number = 1 + max((int(p.name.split("-")[0]) for p in numbered), default=-1)
    data = slug(Path(recipe.data).name or recipe.data)
    return RunFolder(RUNS / f"{number:05d}-{slug(recipe.name)}-{data}")  # whatever a recipe calls itself


def _readable(folder: Path) -> Recorded | None:
    """The run in a folder that nobody named: one whose record cannot be read is none to go on with."""
    try:
        return recorded(folder)
    except UsageError:
        return None


def unreadable() -> list[str]:
    """A line on each numbered run whose record is damaged or of another version: it was passed over."""
    lines = []
    for folder in sorted(p for p in RUNS.glob("[0-9]*-*") if p.is_dir()):
        try:
            recorded(folder)
        except UsageError as error:
            lines.append(f"passed over {folder}: {error}")
    return lines


def _named(recipe: Recipe, out: Path, fresh: bool, longer: bool) -> RunFolder:
    """The place in a folder that the user named."""
    check_folder(out)
    found = _readable(out) if fresh else recorded(out)
    if found is None:
        return RunFolder(out, aside=fresh and (out / "run.json").exists())
    if fresh:
        return RunFolder(out, aside=True)
    if found.trains(recipe):
        return RunFolder(out, found, found.finished)
    if not longer:
        same = found.trains(recipe, budget=False)
        raise UsageError(
            f"{out} holds a run of {'this recipe with another budget' if same else 'another recipe'} "
            f"('{found.recipe.name}' on '{found.recipe.data}'): give another --out"
        )
    was, now = found.recipe.train, recipe.train
    done = found.finished and (_budget(was) == _budget(now) or _is_longer(now, was))
    budget = None if _budget(was) == _budget(now) else _budgets(was, now)
    return RunFolder(out, found, done, budget=budget, changes=tuple(differences(out, found.recipe, recipe)))


def check_folder(out: Path) -> None:
    """Refuse a path that is a file, or lies in one."""
    for path in (out, *out.parents):
        if path.is_dir():
            return
        if path.exists():
            raise UsageError(f"--out {out}: {path} is a file: give the name of a folder")


# -- what changed -------------------------------------------------------------------------------------


def differences(folder: Path, was: Recipe, now: Recipe) -> list[str]:
    """What differs between the recipe that the run in ``folder`` began with and the one to go on with, a line each.

    Raises:
        UsageError: something that a run cannot bear.
    """
    before, after = dict(_flat(_told(was))), dict(_flat(_told(now)))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key), after.get(key)
        if one == other or (key == "train.precision" and other == AUTO):
            continue
        change = f"{key} was {_spelled(one)} and is {_spelled(other)}"
        reason = _reason(key, one, other)
        if reason is not None:
            raise UsageError(f"{folder} cannot be gone on with: {change}, and {reason}; put it back, or give {ANEW}")
        lines.append(change)
    return lines


def _reason(key: str, was: Any, now: Any) -> str | None:
    """Why a run cannot bear that ``key`` changes; None where it can."""
    if key == "train.ema" and bool(was) != bool(now):
        return "its average was begun with its first weights"
    if key.startswith("players.") and key.endswith(".optimiser"):
        return STATE
    return next((why for begins, why in BOUND.items() if key == begins or key.startswith(f"{begins}.")), None)


def _told(recipe: Recipe) -> dict[str, Any]:
    table = recipe.model_dump(mode="json", exclude=set(WORDS))
    table["train"] = {k: v for k, v in table["train"].items() if k not in (*UNHEEDED, *BUDGET)}
    return table


def _flat(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested tables, by its dotted name."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _spelled(value: Any) -> str:
    return "its default" if value is None else json.dumps(value, ensure_ascii=False)


def _budget(train: Train) -> tuple[int | None, float | None]:
    return train.iterations, train.minutes


def _is_longer(was: Train, now: Train) -> bool:
    """Whether the budget ``now`` goes beyond what ``was`` allowed, in the same measure."""
    match _budget(was), _budget(now):
        case (int(one), None), (int(other), None):
            return other > one
        case (None, one), (None, other) if one is not None and other is not None:
            return other > one
    return False


def _budgets(was: Train, now: Train) -> str:
    budgets = f"the budget was {spelled_budget(was)} and is {spelled_budget(now)}"
    return f"{budgets}: rates follow the new one, and what has grown stays"


def spelled_budget(train: Train) -> str:
    """``3 iterations``, ``10 min``, or both."""
    parts = [counted(train.iterations, "iteration")] if train.iterations else []
    parts += [f"{train.minutes:g} min"] if train.minutes else []
    return " or ".join(parts) or "none"
