"""A training from a recipe: its run folder, its previews, and going on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from zeuxis.api.evidence import loaded_commit
from zeuxis.api.model import Model, load
from zeuxis.api.naming import slug
from zeuxis.api.page import held_out_curves, loss_curves, shown_html
from zeuxis.api.pictures import panes, sheet, spread, to_pil
from zeuxis.batch import Batch
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.build import given_models
from zeuxis.catalog.weights import start_from, weights_of
from zeuxis.data.batches import epoch_batches
from zeuxis.data.bucketed import endless
from zeuxis.data.library import Data, data_of
from zeuxis.data.source import Source
from zeuxis.errors import UsageError
from zeuxis.files import read_table
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import record, save_png, write_whole
from zeuxis.recipe import Recipe, parse_recipe
from zeuxis.rng import ImageRng
from zeuxis.training.checkpoint import write_model
from zeuxis.training.distributed import join
from zeuxis.training.legacy import FORMAT, format_of, upgraded_recipe
from zeuxis.training.precision import AUTO
from zeuxis.training.run_lock import run_lock
from zeuxis.training.trainer import Clock, Trainer

PREVIEWED = 16
HELD_OUT = 64  # pictures that the curves of held-out losses are of
COLUMNS = 8  # pictures a row of a preview
FIT_BATCH = 1000

TrainingReport = Callable[[Clock, Path | None], None]


class StopTraining(Exception):
    """Raised by a callback to end a training early; all is saved, and the same call goes on."""


@dataclass
class Run:
    """A training that ended, or was asked to stop."""

    folder: Path
    recipe: Recipe
    clock: Clock
    stopped: str | None  # the signal that stopped it, or "callback"
    skipped: int  # files of the data that could not be used
    notes: tuple[str, ...] = ()  # what was not as usual: a checkpoint set aside, another number of threads

    @property
    def model(self) -> Model:
        """What was trained, ready to sample."""
        return load(self.folder)

    @property
    def losses(self) -> dict[str, list[tuple[float, float]]]:
        """The losses of each player, as (images seen, loss)."""
        return loss_curves(self.folder / "log.jsonl")

    @property
    def held_out(self) -> dict[str, list[tuple[float, float]]]:
        """Losses on pictures that it never trained on, as (images seen, loss): their mean, and of a diffusion model its
        error at each of eight levels of noise; empty for systems that measure none."""
        return held_out_curves(self.folder / "log.jsonl")

    @property
    def preview(self) -> Path | None:
        """The newest sheet of pictures that it made."""
        return newest_preview(self.folder)

    def __repr__(self) -> str:
        end = "finished" if self.stopped is None else f"stopped by {self.stopped}"
        return f"<run of {self.recipe.name} in {self.folder}: {self.clock.round:,} iterations, {end}>"

    def _repr_html_(self) -> str:
        """How a notebook shows it: its losses and its newest sheet."""
        return shown_html(repr(self), self.losses, self.preview, self.held_out)


def train(
    recipe: Recipe,
    *,
    data: Data | None = None,
    out: Path | None = None,
    device: str = "cpu",
    fresh: bool = False,
    report: TrainingReport = lambda clock, preview: None,
) -> Run:
    """Train what ``recipe`` describes.

    ``data`` are other pictures than the recipe names. The run folder is ``out``, or ``runs/NNNNN-<recipe>-<data>``;
    the newest unfinished run of exactly this recipe is gone on with, unless ``fresh``. ``report(clock, newest
    preview)`` is called about twice a second.
    """
    ranks, device = join(device)
    data = data_of(recipe.data) if data is None else data
    recipe = recipe.model_copy(update={"data": data.name})
    source = data.open(recipe.size, "train", recipe.fit)
    system = build_for(recipe, source)
    started = None if recipe.train.start is None else start_from(system, recipe.train.start)
    passed = unreadable() if out is None else []
    # The first process chooses: the others may come when the folder is there already.
    folder = Path(ranks.text_from_first(str(run_folder(recipe, out, fresh)) if ranks.first else ""))
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.first and recorded(folder) is None:  # what a refused training says of the run stays
        note(folder, recipe, finished=False)
    if source.skipped and ranks.first:
        lines = [json.dumps(asdict(file)) for file in source.skipped]
        write_whole(folder / "skipped.jsonl", ("\n".join(lines) + "\n").encode())
    facts = {
        "recipe": recipe.name,
        "data": recipe.data,
        "size": recipe.size,
        "fit": recipe.fit,
        "reference": source.fingerprint(),
        "started_from": started,
        "commit": loaded_commit(),
        "built_upon": {key: {"model": name, "sha256": weights_of(name)} for key, name in given_models(recipe).items()},
    }
    unseen = data.open(recipe.size, "val")
    examples = _first(unseen, PREVIEWED).to(device)
    if not system.players():
        if ranks.size > 1:
            raise UsageError(f"'{system.card.id}' is learnt in closed form: train it in one process, without torchrun")
        clock = _fit(system, source, folder, facts, device)
        _preview(system, recipe, clock, folder, examples, device)
        stopped, said = None, []
    else:

        def reported(clock: Clock) -> None:
            try:
                report(clock, newest_preview(folder))
            except StopTraining:
                trainer.stop_asked = "callback"

        trainer = Trainer(
            system,
            endless(source, recipe.train.batch, recipe.train.seed, pixels=True, share=(ranks.rank, ranks.size)),
            recipe.train,
            folder,
            ranks=ranks,
            players=recipe.players,
            facts=facts,
            device=device,
            held_out=_first(unseen, HELD_OUT),
            report=reported,
            preview=lambda average, clock: _preview(average, recipe, clock, folder, examples, device),
        )
        clock = trainer.run()
        stopped, said = trainer.stop_asked, trainer.said
    if ranks.first:
        note(folder, recipe, finished=stopped is None)
    notes = tuple([*passed, *said])
    return Run(folder, recipe, clock, stopped, len(source.skipped), notes)


def _fit(system: System, source: Source, folder: Path, facts: dict[str, Any], device: str) -> Clock:
    """Learn in closed form, from one pass over the data."""
    start = time.monotonic()
    system.to(device)
    images = 0  # that it asked for: it need not take all

    def met() -> Iterator[Batch]:
        nonlocal images
        for batch in epoch_batches(source, FIT_BATCH):
            images += len(batch)
            yield batch.to(device)

    with run_lock(folder):
        system.fit(met())
        system.eval()
        seconds = time.monotonic() - start
        write_model(folder / "model", system, {**facts, "round": 1, "images": images, "seconds": seconds})
    return Clock(1, images, seconds, 1.0, 0.0, {})


def run_folder(recipe: Recipe, out: Path | None, fresh: bool) -> Path:
    """Where a training of ``recipe`` would lie; of a run to go on with, where it lies."""
    if out is not None:
        found = recorded(out)
        if found is None or (found.trains(recipe) and not fresh):
            return out
        raise UsageError(
            f"{out} holds a run of {'the same' if found.trains(recipe) else 'another'} recipe "
            f"('{found.recipe.name}' on '{found.recipe.data}'): give another --out"
        )
    root = Path("runs")
    numbered = sorted(p for p in root.glob("[0-9]*-*") if p.is_dir())
    for folder in reversed(numbered):
        try:
            found = recorded(folder)
        except UsageError:  # damaged, or of another version: it cannot be gone on with (see unreadable)
            continue
        if found is not None and found.trains(recipe) and not found.finished and not fresh:
            return folder
    number = 1 + max((int(p.name.split("-")[0]) for p in numbered if p.name.split("-")[0].isdecimal()), default=-1)
    data = slug(Path(recipe.data).name or recipe.data)
    return root / f"{number:05d}-{recipe.name}-{data}"


@dataclass(frozen=True)
class Recorded:
    """What ``run.json`` says of a run folder."""

    recipe: Recipe
    finished: bool

    def trains(self, recipe: Recipe) -> bool:
        """Whether it trains what ``recipe`` does: claims, sampling and words do not matter.

        Nor does a precision that ``recipe`` leaves open: a run keeps the one that it began with.
        """
        alike = ("name", "system", "data", "size", "fit", "model", "players")
        train = recipe.train
        if train.precision == AUTO:
            train = train.model_copy(update={"precision": self.recipe.train.precision})
        return train == self.recipe.train and all(getattr(self.recipe, f) == getattr(recipe, f) for f in alike)


def recorded(folder: Path) -> Recorded | None:
    """The record of the run in ``folder``, or None where there is no run."""
    path = folder / "run.json"
    try:
        run = read_table(path)
        if format_of(run) > FORMAT:
            raise UsageError(f"{path} was written by a later version of zeuxis: update it, or give another --out")
        return Recorded(parse_recipe(upgraded_recipe(run), str(path)), bool(run["finished"]))
    except FileNotFoundError:
        return None
    except UsageError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): give another --out") from None


def unreadable() -> list[str]:
    """A line on each numbered run whose record is damaged or of another version: it was passed over."""
    lines = []
    for folder in sorted(p for p in Path("runs").glob("[0-9]*-*") if p.is_dir()):
        try:
            recorded(folder)
        except UsageError as error:
            lines.append(f"passed over {folder}: {error}")
    return lines


def note(folder: Path, recipe: Recipe, *, finished: bool) -> None:
    """Write down in a run folder what it trains, and whether that has come to its end."""
    run = {"format": FORMAT, "recipe": recipe.model_dump(mode="json"), "finished": finished}
    write_whole(folder / "run.json", json.dumps(run, indent=1).encode())


# -- previews -----------------------------------------------------------------------------------------


def newest_preview(folder: Path) -> Path | None:
    """The newest preview sheet of a run."""
    return max((folder / "previews").glob("*.png"), default=None)


def _first(examples: Source, n: int) -> Batch:
    """The first ``n`` examples: the same each time, so that previews, and curves, can be compared."""
    return examples.batch(torch.arange(min(n, len(examples))))


def _preview(system: System, recipe: Recipe, clock: Clock, folder: Path, batch: Batch, device: str) -> None:
    """A sheet of what ``system`` makes under the conditions of ``batch``, from the same seeds each time."""
    images = preview_images(system, batch, Sampling(**recipe.sample))
    if images is None:
        return
    made = record(
        model=str(folder),
        system=system.card.id,
        weights_sha256=None,  # of a training under way: the checkpoint has it
        recipe=recipe.name,
        data=recipe.data,
        seed=0,
        sampling=dict(recipe.sample),
        condition={"preview_after_rounds": clock.round},
        device=device,
    )
    path = folder / "previews" / f"{clock.round:08d}.png"
    path.parent.mkdir(exist_ok=True)
    scale = max(1, 64 // images[0].shape[-1])
    save_png(sheet([to_pil(x) for x in images], columns=COLUMNS, scale=scale), path, made)


def preview_images(system: System, batch: Batch, how: Sampling) -> list[torch.Tensor] | None:
    """What shows best what a system does, eight ``(C, H, W)`` a row: samples, the steps in which some of them are
    drawn, translations under their sources, or reconstructions under their originals; None for systems that make no
    pictures."""
    verbs, n = system.card.verbs, len(batch)
    if "draw_steps" in verbs:
        some = batch[slice(COLUMNS)]
        steps = system.draw_steps(some.condition.only(system.conditions), ImageRng.counting(0, len(some)), how)
        return [image for row in spread(steps, COLUMNS) for pane in panes(row) for image in pane]
    if "sample" in verbs:
        rng = ImageRng.counting(0, n)
        made = system.sample(batch.condition.only(system.conditions), rng, how)
        source = batch.condition.source
        return _rows(made) if "source" not in system.conditions or source is None else _rows(source, made)
    if {"encode", "decode"} <= verbs:
        return _rows(batch.image, system.decode(system.encode(batch.image)))
    return None


def _rows(*batches: torch.Tensor) -> list[torch.Tensor]:
    """The images of some batches of equal length, row under row."""
    shown = [pane.split(COLUMNS) for images in batches for pane in panes(images)]
    return [image for rows in zip(*shown, strict=True) for row in rows for image in row]
