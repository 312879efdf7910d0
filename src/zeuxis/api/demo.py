"""The demo: the field on one page, then one model trained before the reader's eyes and measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from zeuxis.api.evaluate import evaluate, held_out
from zeuxis.api.machine import threads
from zeuxis.api.model import Model, load
from zeuxis.api.page import Page
from zeuxis.api.pictures import sheet, to_pil
from zeuxis.api.reporting import Report
from zeuxis.api.runs import Run, StopTraining, note, recorded, train
from zeuxis.api.strips import STRIPS
from zeuxis.data.library import open_source
from zeuxis.errors import Stopped
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.provenance.record import write_png
from zeuxis.recipe import Recipe, load_recipe
from zeuxis.training.threads import held
from zeuxis.training.trainer import Clock

DIGITS, RIVAL = "digits", "gaussian"
LOOKED_AT = ("train.preview_minutes=0.2", "train.save_minutes=0.4")  # there is somebody who looks on
MEASURED = ("frechet", "precision", "recall", "accuracy")
SAMPLES = 360  # there are no more held-out digits than about this many
MEASURING = 0.1  # of the time of training, about: what measuring takes after it
PATIENCE = 150.0  # seconds of training after which good pictures are enough
GOOD, TRIED = 0.95, 40  # the accuracy of a small preview that is good, and of how many pictures
SHOWN = 5  # sheets of the training
REFRESH = 5  # seconds after which a browser reads the page again while the work goes on


@dataclass
class WholeBar:
    """How far the whole has come: the time that has passed, over that and the time that is expected to remain."""

    report: Report
    start: float = field(default_factory=time.monotonic)
    furthest: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.start

    def __call__(self, message: str, remaining: float | None = None) -> None:
        """``remaining`` seconds are expected; None before anything is known of it."""
        if remaining is not None:
            self.furthest = max(self.furthest, self.seconds / (self.seconds + remaining))
        self.report(message, None if remaining is None else self.furthest)


def demo(out: Path, report: Report = lambda message, fraction: None) -> Path:
    """A strip of pictures of every family; then train a small model of digits, measure it beside a Gaussian, and
    write ``out/index.html``, which can be read from the first strip on. Returns its path.

    A training that was interrupted is gone on with.
    """
    bar = WholeBar(report)
    out.mkdir(parents=True, exist_ok=True)
    page = Page("Zeuxis: the demo", "The field on one page, and a model trained, sampled and measured by one command.")
    with held("cpu"):
        _field(page, out, bar)
        figures, model = _digits(page, out, bar)
    _figures(page, figures, model)
    page.heading("What next")
    for command in (
        'zeuxis sample cascade --caption "a large green star above a small blue ring by day" -n 16',
        "zeuxis train dcgan --data fashion-mnist",
        "zeuxis compare gaussian pca digits --data digits --budget 1m",
        "zeuxis list",
    ):
        page.command(command)
    page.text(f"This page took {bar.seconds:.0f} seconds on {threads(model.card['threads'])}, "
              f"in {model.card['precision']}.")  # fmt: skip
    return page.write(out / "index.html")


def _field(page: Page, out: Path, bar: WholeBar) -> None:
    page.heading("The field")
    drawn: dict[str, str] = {}
    for k, strip in enumerate(STRIPS):
        bar(f"drawing by {strip.model}, {k + 1} of {len(STRIPS)}; open {out / 'index.html'}")
        drawn[f"{strip.family}: {strip.model}. {strip.about}"] = strip.write(out).name
        under_way = page.copy()
        under_way.pictures(drawn)
        under_way.write(out / "index.html", REFRESH)
    page.pictures(drawn)
    page.text(f"{len(STRIPS)} strips in {bar.seconds:.0f} seconds.")


def _digits(page: Page, out: Path, bar: WholeBar) -> tuple[dict[str, list[Figure]], Model]:
    recipe = load_recipe(DIGITS, LOOKED_AT)
    run, ended = _trained(recipe, page, out, bar)
    model = load(run.folder)
    rival = train(load_recipe(RIVAL, (f'data="{recipe.data}"', f"size={recipe.size}")), out=_folder(out, RIVAL))
    page.heading("A model trained just now")
    page.text(f"{model.system.card.title} on handwritten digits: {_size(model)} parameters, "
              f"{run.clock.images:,} images in {run.clock.seconds:.0f} seconds. {ended}")  # fmt: skip
    page.curves(run.losses, "images", "loss")
    page.curves(run.held_out, "images", "held-out loss")
    previews = sorted((run.folder / "previews").glob("*.png"))
    some = [previews[round(k * (len(previews) - 1) / (SHOWN - 1))] for k in range(SHOWN)]
    page.pictures({f"after iteration {int(path.stem)}": str(path.relative_to(out)) for path in some})
    examples = held_out(open_source(recipe.data, recipe.size, "test"), 40)
    scale = max(1, 32 // examples.image.shape[-1])
    write_png(sheet([to_pil(x) for x in examples.image], columns=10, scale=scale), out / "real.png")
    model.sample(40, seed=0).save_sheet(out / "digits.png", columns=10, scale=scale)
    load(rival.folder).sample(40, seed=0).save_sheet(out / "gaussian.png", columns=10, scale=scale)
    page.pictures({"real, held out": "real.png", "made": "digits.png", "a Gaussian fitted to the same": "gaussian.png"})
    figures, left = {}, MEASURING * run.clock.seconds
    for name, measured in ((DIGITS, model), (RIVAL, load(rival.folder))):
        bar(f"measuring {name}", left)
        wanted = MEASURED if "label" in measured.system.conditions else MEASURED[:3]
        how = Sampling(**recipe.sample) if name == DIGITS else Sampling()
        figures[name] = evaluate(measured, data=recipe.data, metrics=wanted, samples=SAMPLES, how=how)
        left /= 4  # a Gaussian draws at once
    return figures, model


def _trained(recipe: Recipe, page: Page, out: Path, bar: WholeBar) -> tuple[Run, str]:
    """Train while the page shows it, and what is to be said of the end: all iterations, or good pictures before."""
    folder, seen, tried = _folder(out, DIGITS), set[Path | None](), set[str]()
    accuracy = 0.0

    def progress(clock: Clock, preview: Path | None) -> None:
        nonlocal accuracy
        loss = next((f", loss {v:.3f}" for k, v in clock.notes.items() if k.startswith("loss/")), "")
        whole = clock.seconds + (clock.remaining or 0.0)
        bar(f"training {DIGITS}: iteration {clock.round}{loss}", (clock.remaining or 0.0) + MEASURING * whole)
        if preview is not None and preview not in seen:
            seen.add(preview)
            under_way = page.copy()
            under_way.heading(f"A model is being trained: iteration {clock.round} of {recipe.train.iterations}")
            under_way.pictures({f"after iteration {int(preview.stem)}": str(preview.relative_to(out))})
            under_way.write(out / "index.html", REFRESH)
        saved = folder / "model" / "model.json"
        if clock.seconds < PATIENCE or clock.progress >= 1 or not saved.is_file():
            return
        model = load(folder)
        if model.weights_sha256 not in tried:
            tried.add(model.weights_sha256)
            accuracy = preview_accuracy(model, recipe)
            if accuracy >= GOOD:
                raise StopTraining

    run = train(recipe, out=folder, report=progress)
    if run.stopped not in (None, "callback"):
        raise Stopped(run.stopped)
    note(run.folder, recipe, finished=True)
    if run.stopped is None:
        return run, f"That is all of its {run.clock.round:,} iterations."
    return run, (
        f"It was stopped after {run.clock.round:,} of {recipe.train.iterations:,} iterations, for time ran out and "
        f"{accuracy:.0%} of {TRIED} pictures showed the digit that was asked for."
    )


def preview_accuracy(model: Model, recipe: Recipe) -> float:
    """The share of a few pictures in which the classifier finds the digit of the condition."""
    how = Sampling(**recipe.sample)
    return evaluate(model, data=recipe.data, metrics=("accuracy",), samples=TRIED, how=how)[0].value


def _figures(page: Page, figures: dict[str, list[Figure]], model: Model) -> None:
    page.heading("Measured")
    by_name = {name: {f.name: f for f in found} for name, found in figures.items()}
    rows = [
        [name, *(f"{found[m].value:.3f}" if m in found else "-" for m in MEASURED)] for name, found in by_name.items()
    ]
    page.table(["", *MEASURED], rows, best=min(range(len(rows)), key=lambda k: figures[[*figures][k]][0].value))
    first = figures[DIGITS][0]
    page.text(
        f"Against {first.samples} held-out digits, in the features of the shipped classifier ({first.features}). "
        "Accuracy: the share of pictures in which that classifier finds the digit of the condition. "
        f"{first.warning or ''}"
    )


def _folder(out: Path, name: str) -> Path:
    """Where a training of the demo lives: a finished one is done again, in the next numbered folder."""
    number = 0
    while True:
        folder = out / "runs" / f"{name}-{number}"
        found = recorded(folder)
        if found is None or not found.finished:
            return folder
        number += 1


def _size(model: Model) -> str:
    return f"{sum(p.numel() for p in model.system.parameters()):,}"
