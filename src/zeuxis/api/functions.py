"""The functions of ``import zeuxis as zx``: what the commands of the same names do, from a script or a notebook.

>>> run = zx.train("dcgan", data=array, size=32, iterations=2000)
>>> run.model.sample(16, seed=0).save("faces")
>>> zx.evaluate(run.model, data=array, metrics=["frechet"])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zeuxis.api import compare as comparison
from zeuxis.api import evaluate as measuring
from zeuxis.api import runs
from zeuxis.api.devices import checked_device
from zeuxis.api.going_on import run_named, run_of, run_to_resume
from zeuxis.api.live import shown_live
from zeuxis.api.model import Model, load
from zeuxis.api.own_torch import own_torch
from zeuxis.api.pictures import Pictures
from zeuxis.api.runs import Run, StopTraining, TrainingReport
from zeuxis.api.suited import damaged_as, shown_for
from zeuxis.catalog.listing import entries
from zeuxis.data.library import Data, data_of
from zeuxis.data.own import Own
from zeuxis.errors import UsageError
from zeuxis.escaping import to_stderr
from zeuxis.files import at_home
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.recipe import Recipe, load_recipe, of_other_pictures, parse_recipe, recipe_paths, replaced, with_budget
from zeuxis.spec import Size

AnyData = str | Path | Data | Own


class Figures(tuple[Figure, ...]):
    """Figures in order; a name finds one, and they print as a table."""

    __slots__ = ()

    def value(self, name: str) -> float:
        """The value of the figure called ``name``; KeyError where there is none of that name."""
        return {figure.name: figure.value for figure in self}[name]

    def __repr__(self) -> str:
        if not self:
            return "no figures"
        wide = max(len(figure.name) for figure in self)
        lines = [f"{f.name:<{wide}}  {f.value:<10.4g} {f.better} is better, {f.samples} samples" for f in self]
        return "\n".join([*lines, *dict.fromkeys(f"note: {f.warning}" for f in self if f.warning)])


@own_torch()
def train(
    recipe: str | Path | Recipe,
    data: AnyData | None = None,
    *,
    size: Size | None = None,
    iterations: int | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    out: str | Path | None = None,
    fresh: bool = False,
    callbacks: TrainingReport | Iterable[TrainingReport] = (),
    quiet: bool = False,
    suit: bool | None = None,
    vary: bool | None = None,
    track: str | Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
) -> Run:
    """Train a recipe, or go on with a training of it that was stopped or is to be longer; the same call goes on.

    Args:
        recipe: a recipe's name, the path of a .toml file, the id of a system (also of one's own), a recipe, or the
            folder of a run to go on with.
        data: the name of a dataset or a world, a folder, or one's own pictures: an array ``(N, H, W, C)``, a tensor
            ``(N, C, H, W)``, a list of PIL pictures, a mapping of columns, or a torch ``Dataset``
            (see :class:`zeuxis.data.own.OwnData`). None takes the recipe's.
        size: pixels a side, or (height, width).
        iterations, minutes: how long, in place of the recipe's own budget.
        batch, seed: in place of the recipe's.
        settings: any other value of the recipe, by its dotted name: ``{"model.ngf": 32}``.
        device: "cpu", "cuda", "cuda:1" or "mps".
        out: the run folder; by default the next of ``runs/``.
        fresh: begin anew even where a training could go on; a run that lies in ``out`` is set aside.
        callbacks: called about twice a second with a clock (iteration, images, progress, losses) and the path of the
            newest preview; one that raises :class:`StopTraining` ends the training, and all is saved.
        quiet: shows nothing; otherwise a notebook shows curves and previews, and a script a line now and then.
        suit: leave out a condition of the recipe that the pictures do not come with; by default where ``settings``
            do not ask for one.
        vary: train "stylegan2" as "stylegan2-ada", whose discriminator sees pictures varied as far as overfitting asks
            for, where other pictures than the recipe's own are fewer than 10,000; by default where a recipe is named
            and ``settings`` do not give "system".
        track: what follows it beside the log: "tensorboard", which does where it is installed, "wandb", which sends the
            figures and previews to a server, or "none".
        tell: called with each line on what is not as usual, when it is known; by default they go to stderr, unless
            ``quiet``. They are ``run.notes`` in any case.

    Returns the run: ``run.model`` is what was trained, ``run.losses`` its curves, ``run.preview`` its newest sheet.

    Raises UsageError for a wrong name, value or budget; DataError for data that cannot be read.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise UsageError(f'settings are {settings!r}: give values by dotted name, as in {{"train.batch": 32}}')
    if isinstance(recipe, str) and recipe in recipe_paths() and isinstance(data, (str, Path)):
        given, begun = str(data), load_recipe(recipe)
        data = damaged_as(begun, given)
        fit = None if data is None else shown_for(begun, data, own_damage="|" in given)
        settings = {**({} if fit is None else {"fit": fit}), **(settings or {})}
    held = None if data is None else data_of(data)
    named = not isinstance(recipe, Recipe) and str(recipe) in recipe_paths()
    folder = None if out is None else at_home(out)
    if isinstance(recipe, (str, Path)) and (run := run_named(recipe)) is not None:
        folder = run if folder is None else folder
        recipe = run_of(run).recipe
    changed = _once({"size": size, "train.batch": batch, "train.seed": seed}, settings or {})
    _once({"train.iterations": iterations, "train.minutes": minutes}, settings or {})
    found = _recipe(recipe, held, changed)
    if iterations is not None or minutes is not None:
        found = with_budget(found, iterations=iterations, minutes=minutes, kept=settings or {})
    with shown_live(quiet) as live:
        reports = (live, *([callbacks] if callable(callbacks) else callbacks))

        def report(clock: Any, preview: Path | None) -> None:
            for each in reports:
                each(clock, preview)

        return runs.train(
            found,
            data=held,
            out=folder,
            device=checked_device(device),
            fresh=fresh,
            longer=True,
            track=several(track),
            suit="model.condition" not in changed if suit is None else suit,
            vary=named and "system" not in changed if vary is None else vary,
            report=report,
            tell=tell or ((lambda line: None) if quiet else _to_stderr),
        )


def resume(
    run: str | Path,
    data: AnyData | None = None,
    *,
    iterations: int | None = None,
    minutes: float | None = None,
    device: str | torch.device = "cpu",
    callbacks: TrainingReport | Iterable[TrainingReport] = (),
    quiet: bool = False,
) -> Run:
    """Go on with the training in the folder ``run``, by its own recipe, to its budget or to a larger one.

    The budget counts from the beginning: ``iterations=2000`` of a run that had 1000 trains 1000 more. ``data`` are the
    pictures again, where they were given from Python. All else is as in :func:`train`, which goes on with a run too.

    Raises UsageError where there is no run; DataError for other pictures than those that it was begun on.
    """
    folder = run_to_resume(run)
    recipe = run_of(folder).recipe
    return train(
        recipe,
        data,
        iterations=iterations,
        minutes=minutes,
        device=device,
        out=folder,
        callbacks=callbacks,
        quiet=quiet,
    )


def several(names: str | Sequence[str]) -> Sequence[str]:
    """Names, of which one may be given by itself."""
    return (names,) if isinstance(names, str) else names


def _to_stderr(line: str) -> None:
    to_stderr(f"note: {line}")


@own_torch()
def sample(
    model: str | Path | Model, n: int = 1, seed: int = 0, *, device: str | torch.device = "cpu", **asked: Any
) -> Pictures:
    """``n`` pictures of a model (or of a name, a run folder), from seeds ``seed``, ``seed + 1``, ...

    ``asked`` are the conditions and knobs of :meth:`zeuxis.api.model.Model.sample`: caption, label, source, steps,
    guidance, ...; one that the model does not take is refused.
    """
    return _model(model, device).sample(n, seed, **asked)


@own_torch()
def evaluate(
    model: str | Path | Model,
    data: AnyData | None = None,
    *,
    metrics: str | Sequence[str] = (),
    samples: int = 5000,
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
    features: str | None = None,
    split: str = "test",
    device: str | torch.device = "cpu",
) -> Figures:
    """The figures of a model against held-out pictures; by default those that suit it, on its own data.

    ``features`` is the network whose features are compared; ``knobs`` how it is sampled, as in :func:`sample`.
    """
    held = None if data is None else data_of(data)
    how = Sampling(**(knobs or {}))
    measured = measuring.evaluate(
        _model(model, device),
        data=held,
        metrics=several(metrics),
        samples=samples,
        seed=seed,
        how=how,
        features=features,
        split=split,
        tell=_to_stderr,
    )
    return Figures(measured)


@own_torch()
def compare(
    recipes: str | Sequence[str],
    data: AnyData | None = None,
    *,
    minutes: float | None = None,
    iterations: int | None = None,
    samples: int = 5000,
    seed: int = 0,
    repeats: int = 1,
    out: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Train every recipe for ``minutes`` (ten by default) or ``iterations`` on the same pictures, ``repeats`` times,
    and measure all alike; ``out/index.html`` shows it, ``verdicts`` says which differences are more than retraining's.

    ``out`` is by default a folder of ``runs/`` of its own (``folder``), where the same comparison goes on.
    """
    held = None if data is None else data_of(data)
    return comparison.compare(
        several(recipes),
        data=held,
        minutes=minutes,
        iterations=iterations,
        samples=samples,
        seed=seed,
        repeats=repeats,
        out=None if out is None else at_home(out),
        device=checked_device(device),
    )


def _model(model: str | Path | Model, device: str | torch.device) -> Model:
    return model if isinstance(model, Model) else load(model, device)


def _once(keywords: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Both together, by dotted name, without keywords that were not given; UsageError where both say something."""
    given = {key: value for key, value in keywords.items() if value is not None}
    for key in given.keys() & settings.keys():
        raise UsageError(f"{key} is given twice, as {key.rpartition('.')[2]}= and in settings=: give it once")
    return {**given, **settings}


def _recipe(recipe: str | Path | Recipe, data: Data | None, changes: dict[str, Any]) -> Recipe:
    """The recipe with ``changes`` by dotted name; a system without a recipe of its own name has its defaults."""
    if isinstance(recipe, Recipe):
        base = recipe
    elif str(recipe) in entries() and str(recipe) not in recipe_paths():
        if data is None:
            raise UsageError(f"system '{recipe}' has no recipe that names its data: give data=")
        base = parse_recipe({"name": str(recipe), "system": str(recipe), "about": "", "data": data.name}, str(recipe))
    else:
        base = load_recipe(recipe)
    if data is not None:
        changes = {"data": data.name, **changes}
    made = replaced(base, changes)
    return made if "subset" in changes else of_other_pictures(made, base)


__all__ = ["Figures", "Pictures", "StopTraining", "compare", "evaluate", "load", "resume", "sample", "train"]
