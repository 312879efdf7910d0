"""A training from a recipe: its run folder, its previews, and going on where it stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from zeuxis.api.animation import animation
from zeuxis.api.devices import checked_device
from zeuxis.api.evidence import loaded_commit
from zeuxis.api.few import few_pictures, unseen_classes, varied_where_few
from zeuxis.api.going_on import Recorded as Recorded
from zeuxis.api.going_on import RunFolder, place, unreadable
from zeuxis.api.going_on import note as note
from zeuxis.api.going_on import recorded as recorded
from zeuxis.api.model import Model, load
from zeuxis.api.naming import counted
from zeuxis.api.page import held_out_curves, loss_curves, shown_html
from zeuxis.api.pictures import panes, sheet, spread, to_pil
from zeuxis.api.suited import long_warmup, not_learnt, sized_by_start, suited, suited_to_start, too_short
from zeuxis.batch import Batch, Shape
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.build import given_models
from zeuxis.catalog.weights import start_from, weights_of
from zeuxis.data.augmented import augmented
from zeuxis.data.batches import epoch_batches
from zeuxis.data.bucketed import endless
from zeuxis.data.library import Data, data_of
from zeuxis.data.source import Source
from zeuxis.data.subset import subset
from zeuxis.errors import RunInUse, Stopped, UsageError, WeightsError
from zeuxis.escaping import word
from zeuxis.files import at_home
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import record, save_png, write_whole
from zeuxis.recipe import Recipe
from zeuxis.rng import ImageRng
from zeuxis.training.checkpoint import checked_facts, write_model
from zeuxis.training.distributed import Ranks, join
from zeuxis.training.log import read_log
from zeuxis.training.resuming import must_be_same_pictures
from zeuxis.training.run_lock import run_lock
from zeuxis.training.tracking import check_trackers
from zeuxis.training.trainer import Clock, Trainer
from zeuxis.training.training_state import PREVIEWS

PREVIEWED = 16
HELD_OUT = 64  # pictures that the curves of held-out losses are of, fewer of larger ones
HELD_OUT_PIXELS = 64 * 64 * HELD_OUT  # of all of them: a network of large pictures would take minutes to begin
COLUMNS = 8  # pictures a row of a preview
FIT_BATCH = 1000
OF_ROUNDS = ("iterations", "minutes", "batch", "accumulate", "ema", "posthoc")  # what a closed form has no use for

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
    began: int = 0  # the iteration after which it was gone on with; 0 where it began anew

    @property
    def idle(self) -> bool:
        """Whether there was nothing left to do: it had come to its end before."""
        return self.stopped is None and 0 < self.began == self.clock.round

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

    def animate(self, path: str | Path) -> Path:
        """Write its previews, one after another, as an animated WebP to ``path``."""
        place = at_home(path)
        animation(self.folder, place)
        return place

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
    longer: bool = False,
    suit: bool = False,
    vary: bool = False,
    track: Sequence[str] = (),
    report: TrainingReport = lambda clock, preview: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Run:
    """Train what ``recipe`` describes.

    ``data`` are other pictures than the recipe names. The run folder is ``out``, or ``runs/NNNNN-<recipe>-<data>``;
    a run of exactly this recipe is gone on with, unless ``fresh``, and where ``longer`` also one that differs in what
    a run can bear (:mod:`zeuxis.api.going_on`). Where ``suit``, a condition that the pictures do not come with is left
    out; where ``vary``, few pictures are varied (:func:`zeuxis.api.few.varied_where_few`). ``track`` names what follows
    it beside its log (:mod:`zeuxis.training.tracking`). ``report(clock, newest preview)`` is called about twice a
    second; ``tell`` is told at once what the notes of the run say in the end.
    """
    check_trackers(track)
    ranks, device = join(checked_device(device))
    data = data_of(recipe.data) if data is None else data
    recipe = recipe.model_copy(update={"data": data.name})
    source = subset(augmented(data.open(recipe.size, "train", recipe.fit), recipe.augment), recipe.subset)
    told: list[str] = []

    def says(line: str | None) -> None:
        if line is not None and ranks.first:
            told.append(line)
            tell(line)

    for remark in source.remarks:
        says(remark)
    if suit:
        recipe, line = suited(recipe, source)
        says(line or not_learnt(recipe, source))
        recipe, line = suited_to_start(recipe)
        says(line)
    if vary:
        recipe, line = varied_where_few(recipe, source)
        says(line)
    recipe, line = sized_by_start(recipe)
    says(line)
    system = build_for(recipe, source)
    says(few_pictures(recipe, source) if system.players() else None)
    says(unseen_classes(system, source))
    started = None if recipe.train.start is None else start_from(system, recipe.train.start)
    says(None if started is None else started.line)
    for line in unreadable() if out is None else ():
        says(line)
    where = _agreed(ranks, recipe, out, fresh, longer)
    folder = where.folder
    facts = {
        "recipe": recipe.name,
        "data": recipe.data,
        "size": recipe.size,
        "fit": recipe.fit,
        "reference": source.fingerprint(),
        **({} if recipe.subset is None else {"subset": recipe.subset}),
        **({"augment": list(recipe.augment)} if recipe.augment else {}),
        "started_from": None if started is None else started.sha256,
        "commit": loaded_commit(),
        "built_upon": {key: {"model": name, "sha256": weights_of(name)} for key, name in given_models(recipe).items()},
    }
    closed = not system.players() and where.before is not None and where.before.finished  # no budget makes it longer
    if where.before is not None and (card := _card(folder)) is not None:
        must_be_same_pictures(folder, card, facts)  # before anything is said of what changed
        _refuse_past(where.before, recipe, folder, card)
        if closed or (where.finished and _reached(recipe, card)):
            for line in where.unheeded(closed=closed):
                says(line)
            return _finished(where.before.recipe, folder, card, len(source.skipped))
    with _left_only_if_begun(folder, ranks) as start:

        def begin() -> None:
            """Write down what is trained, in a folder that is this training's own."""
            start.begun = True
            if recorded(folder) is None:  # what a refused training says of the run stays
                note(folder, recipe, finished=False)
            if source.skipped or source.ignored:
                lines = [json.dumps(asdict(file)) for file in (*source.skipped, *source.ignored)]
                write_whole(folder / "skipped.jsonl", ("\n".join(lines) + "\n").encode())

        unseen = data.open(recipe.size, "val", recipe.fit)
        examples = _spread(unseen, PREVIEWED).to(device)
        if not system.players():
            if ranks.size > 1:
                raise UsageError(
                    f"'{system.card.id}' is learnt in closed form: train it in one process, without torchrun"
                )
            for line in (*where.lines, start.make_room(where), _unheeded(recipe)):
                says(line)
            if system.card.learns:
                tell(
                    f"'{system.card.id}' is learnt in closed form, of {len(source):,} pictures at once: nothing to show"
                )
            clock = _fit(system, source, folder, facts, device, begin)
            _preview(system, recipe, clock, folder, examples, device)
            note(folder, recipe, finished=True)
            return Run(folder, recipe, clock, None, len(source.skipped), tuple(told))

        def reported(clock: Clock) -> None:
            try:
                report(clock, newest_preview(folder))
            except StopTraining:
                trainer.stop_asked = "callback"

        def resumed(lines: Sequence[str]) -> None:
            for line in lines[:-1]:  # the last says that it was resumed
                says(line)
            if trainer.began and ranks.first:
                tell(f"goes on with {folder} after iteration {trainer.began:,}")
            if where.lines and ranks.first:  # it trains another recipe from here on
                note(folder, recipe, finished=False)

        trainer = Trainer(
            system,
            endless(source, recipe.train.batch, recipe.train.seed, pixels=True, share=(ranks.rank, ranks.size)),
            recipe.train,
            folder,
            ranks=ranks,
            players=recipe.players,
            facts=facts,
            device=device,
            held_out=_spread(unseen, _measured(unseen.spec.shape)),
            report=reported,
            preview=lambda average, clock: _preview(average, recipe, clock, folder, examples, device),
            track=track,
            resumed=resumed,
        )
        if recipe.train.iterations is not None:
            planned = recipe.train.iterations
            says(too_short(recipe, planned) or long_warmup(trainer.players, planned))
        for line in (*where.lines, start.make_room(where) if ranks.first else None):
            says(line)
        trainer.signals.kept = lambda: _kept(trainer)
        try:
            clock = trainer.run(begin)
        except KeyboardInterrupt:
            if trainer.signals.asked is None:
                raise
            raise Stopped("SIGINT", _kept(trainer)) from None
    if ranks.first:
        note(folder, recipe, finished=trainer.stop_asked is None)
    for line in trainer.said:
        says(None if line in told else line)
    if trainer.skipped:
        says(
            f"{trainer.skipped:,} of {counted(clock.round, 'iteration')} left nothing, for a step was not finite: "
            f"zeuxis diagnose {word(folder)} says why"
        )
    if recipe.train.iterations is None and trainer.stop_asked is None:
        says(too_short(recipe, clock.round))
    notes = tuple(dict.fromkeys([*told, *trainer.said]))  # other processes tell nothing
    return Run(folder, recipe, clock, trainer.stop_asked, len(source.skipped), notes, trainer.began)


def _kept(trainer: Trainer) -> str:
    """What there is of a training that was left at once, by the names of its checkpoints: each is there as a whole."""
    paths = trainer.checkpoints.paths()
    if not paths:
        return f"nothing was saved in {trainer.folder} yet"
    folder = trainer.folder
    return f"{folder} keeps iteration {int(paths[-1].name):,}, and zeuxis resume {word(folder)} goes on from there"


def _agreed(ranks: Ranks, recipe: Recipe, out: Path | None, fresh: bool, longer: bool) -> RunFolder:
    """Where the training lies: the first process chooses, for the others may look when the folder is there already."""
    where = place(recipe, out, fresh, longer) if ranks.first else RunFolder(Path())
    folder = Path(ranks.text_from_first(str(where.folder)))
    (finished,) = ranks.from_first([float(where.finished)])
    return where if ranks.first else RunFolder(folder, recorded(folder) if finished else None, bool(finished))


@dataclass
class _Start:
    """How far a training has come that is to begin in a folder."""

    moved: Path | None = None  # where the run is that made room for it
    begun: bool = False  # the folder is its own

    def make_room(self, where: RunFolder) -> str | None:
        """Set the run aside that lies there; returns a line that says so."""
        self.moved = where.make_room()
        return None if self.moved is None else f"the run that was in {where.folder} is now in {self.moved}"


@contextmanager
def _left_only_if_begun(folder: Path, ranks: Ranks) -> Iterator[_Start]:
    """A run folder that was made for a training which failed before its first iteration is taken away again, and the
    run that made room for it comes back."""
    before, start = folder.exists(), _Start()
    try:
        yield start
    except RunInUse:  # it is another training's
        raise
    except BaseException:
        played = any((folder / kept).exists() for kept in ("checkpoints", "model")) or _played(folder)
        if ranks.first and not played and (start.moved or not before):
            if start.begun:
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir() and not any(folder.iterdir()):  # made, and nothing was written into it
                folder.rmdir()
            if start.moved and not folder.exists():
                start.moved.rename(folder)
        raise


def _played(folder: Path) -> bool:
    """Whether the log of a run tells of an iteration."""
    path = folder / "log.jsonl"
    return path.is_file() and any(entry.get("round", 0) > 0 for entry in read_log(path))


def _card(folder: Path) -> dict[str, Any] | None:
    """The card of a run's model; None where it is not whole, which training it again mends."""
    try:
        return checked_facts(folder / "model", "model")
    except WeightsError:
        return None


def _reached(recipe: Recipe, card: dict[str, Any]) -> bool:
    """Whether a model is of the last iteration, as far as that is known: a budget of time may end it sooner."""
    train = recipe.train
    return train.iterations is None or train.minutes is not None or card.get("round", 0) >= train.iterations


def _refuse_past(before: Recorded, recipe: Recipe, folder: Path, card: dict[str, Any]) -> None:
    """Refuse a budget that a training, which was stopped before its end, has used up: it was meant to be added."""
    was, now, done = before.recipe.train.iterations, recipe.train.iterations, int(card.get("round", 0))
    if not before.finished and now is not None and now != was and now <= done:
        end = "its end" if was is None else f"its end at {was:,}"
        raise UsageError(
            f"{folder} was stopped after iteration {done:,}, and a budget of {now:,} counts from the beginning: give "
            f"more than {done:,}, or none to go on to {end}"
        )


def _finished(recipe: Recipe, folder: Path, card: dict[str, Any], skipped: int) -> Run:
    """A run that has come to its end before."""
    played = int(card.get("round", 1))
    clock = Clock(played, card.get("images", 0), card.get("seconds", 0.0), 1.0, 0.0, {})
    return Run(folder, recipe, clock, None, skipped, (), played)


def _unheeded(recipe: Recipe) -> str | None:
    """A line on what is said of a training in rounds to a system that is learnt in one pass."""
    said = [f"train.{key}" for key in OF_ROUNDS if key in recipe.train.model_fields_set and getattr(recipe.train, key)]
    if not said:
        return None
    counts = "counts" if len(said) == 1 else "count"
    return f"'{recipe.system}' is learnt in closed form, in one pass: {' and '.join(said)} {counts} for nothing"


def _fit(
    system: System, source: Source, folder: Path, facts: dict[str, Any], device: str, begin: Callable[[], None]
) -> Clock:
    """Learn in closed form, from one pass over the data."""
    start = time.monotonic()
    system.to(device)
    images = 0  # that it asked for: it need not take all

    def met() -> Iterator[Batch]:
        nonlocal images
        for batch in epoch_batches(source, FIT_BATCH):
            images += len(batch)
            yield batch.to(device)

    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder):
        begin()
        system.fit(met())
        system.eval()
        seconds = time.monotonic() - start
        write_model(folder / "model", system, {**facts, "round": 1, "images": images, "seconds": seconds})
    return Clock(1, images, seconds, 1.0, 0.0, {})


# -- previews -----------------------------------------------------------------------------------------


def newest_preview(folder: Path) -> Path | None:
    """The newest preview sheet of a run."""
    return max((folder / PREVIEWS).glob("*.png"), default=None)


def _spread(examples: Source, n: int) -> Batch:
    """``n`` examples (fewer, where there are fewer) evenly from all, since folders come class by class.

    They are the same each time, so that previews, and curves, can be compared.
    """
    n = min(n, len(examples))
    return examples.batch(torch.arange(n) * len(examples) // n)


def _measured(shape: Shape) -> int:
    """How many held-out pictures of that shape a loss is measured of: 2 at least."""
    return max(2, min(HELD_OUT, HELD_OUT_PIXELS // (shape.height * shape.width)))


def _preview(system: System, recipe: Recipe, clock: Clock, folder: Path, batch: Batch, device: str) -> Path | None:
    """A sheet of what ``system`` makes under the conditions of ``batch``, from the same seeds each time; its path."""
    images = preview_images(system, batch, Sampling(**recipe.sample))
    if images is None:
        return None
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
    path = folder / PREVIEWS / f"{clock.round:08d}.png"
    path.parent.mkdir(exist_ok=True)
    scale = max(1, 64 // images[0].shape[-1])
    save_png(sheet([to_pil(x) for x in images], columns=COLUMNS, scale=scale), path, made)
    return path


def preview_images(system: System, batch: Batch, how: Sampling) -> list[torch.Tensor] | None:
    """What shows best what a system does, eight ``(C, H, W)`` a row: samples, the steps in which some of them are
    drawn, translations under their sources, edges or reconstructions under their originals; None for systems that make
    no pictures."""
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
    if "detect_edges" in verbs:
        return _rows(batch.image, (2 * system.detect_edges(batch.image) - 1).expand_as(batch.image))
    if {"encode", "decode"} <= verbs:
        return _rows(batch.image, system.decode(system.encode(batch.image)))
    return None


def _rows(*batches: torch.Tensor) -> list[torch.Tensor]:
    """The images of some batches of equal length, row under row."""
    shown = [pane.split(COLUMNS) for images in batches for pane in panes(images)]
    return [image for rows in zip(*shown, strict=True) for row in rows for image in row]
