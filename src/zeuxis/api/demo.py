"""The demo: sample, train and measure in a few minutes, and a page about it."""

from __future__ import annotations

import time
from pathlib import Path

from zeuxis.api.evaluate import evaluate, held_out
from zeuxis.api.machine import threads
from zeuxis.api.model import Model, load
from zeuxis.api.page import Page, loss_curves
from zeuxis.api.pictures import sheet, to_pil
from zeuxis.api.reporting import Report
from zeuxis.api.runs import newest_preview, recorded, train
from zeuxis.data.library import open_source
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.provenance.record import write_png
from zeuxis.recipe import load_recipe
from zeuxis.training.trainer import Clock

CAPTIONS = (
    "a small red circle above a large blue square at night",
    "a large yellow star left of a small green ring by day",
    "a large purple triangle by day",
    "a small orange square below a small red star at night",
)
EACH = 8  # pictures a caption
SCENES, DIGITS, RIVAL = "scenes", "digits", "gaussian"
MEASURED = ("frechet", "precision", "recall", "accuracy")
SAMPLES = 360  # there are no more held-out digits than about this many


def demo(out: Path, report: Report = lambda message, fraction: None) -> Path:
    """Draw from captions with the shipped model; train a small model of digits; measure it beside a Gaussian;
    write ``out/index.html``. Returns its path. A training that was interrupted is gone on with."""
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    page = Page(
        "Zeuxis: the demo", "Made by one command: pictures from captions, then a model trained, sampled and measured."
    )
    _captions(page, out, report)
    figures, model = _digits(page, out, report)
    _figures(page, figures, model)
    page.heading("What next")
    for command in (
        'zeuxis sample scenes --caption "a large green star above a small blue ring by day" -n 16',
        "zeuxis train dcgan --data fashion-mnist",
        "zeuxis compare gaussian pca digits --data digits --budget 1m",
        "zeuxis list",
    ):
        page.command(command)
    page.text(f"This page took {time.monotonic() - start:.0f} seconds on {threads()}.")
    return page.write(out / "index.html")


def _captions(page: Page, out: Path, report: Report) -> None:
    model = load(SCENES)
    sheets: dict[str, str] = {}
    begun = time.monotonic()
    for k, caption in enumerate(CAPTIONS):
        report(f"drawing: {caption}", k / len(CAPTIONS))
        file = f"caption-{k}.png"
        model.sample(EACH, seed=0, caption=caption).save_sheet(out / file, columns=4, scale=3)
        sheets[caption] = file
    page.heading("Pictures from captions")
    page.text(f"The model that ships in the package, {_size(model)} parameters; {len(CAPTIONS) * EACH} pictures in "
              f"{time.monotonic() - begun:.1f} seconds.")  # fmt: skip
    page.pictures(sheets)


def _digits(page: Page, out: Path, report: Report) -> tuple[dict[str, list[Figure]], Model]:
    recipe = load_recipe(DIGITS)

    def progress(clock: Clock, preview: Path | None) -> None:
        loss = next((f", loss {v:.3f}" for k, v in clock.notes.items() if k.startswith("loss/")), "")
        report(f"training {DIGITS}: iteration {clock.round}{loss}; newest picture {preview}", clock.progress)

    run = train(recipe, out=_folder(out, DIGITS), report=progress)
    if run.stopped:
        raise KeyboardInterrupt
    model = load(run.folder)
    rival = train(load_recipe(RIVAL, (f'data="{recipe.data}"', f"size={recipe.size}")), out=_folder(out, RIVAL))
    page.heading("A model trained just now")
    page.text(f"{model.system.card.title} on handwritten digits: {_size(model)} parameters, "
              f"{run.clock.images:,} images in {run.clock.seconds:.0f} seconds.")  # fmt: skip
    page.curves(loss_curves(run.folder / "log.jsonl"), "images", "loss")
    examples = held_out(open_source(recipe.data, recipe.size, "test"), 40)
    scale = max(1, 32 // examples.image.shape[-1])
    write_png(sheet([to_pil(x) for x in examples.image], columns=10, scale=scale), out / "real.png")
    model.sample(40, seed=0).save_sheet(out / "digits.png", columns=10, scale=scale)
    load(rival.folder).sample(40, seed=0).save_sheet(out / "gaussian.png", columns=10, scale=scale)
    page.pictures({"real, held out": "real.png", "made": "digits.png", "a Gaussian fitted to the same": "gaussian.png"})
    first, last = sorted((run.folder / "previews").glob("*.png"))[0], newest_preview(run.folder)
    if last is not None:
        page.pictures({"before training": str(first.relative_to(out)), "after": str(last.relative_to(out))})
    figures = {}
    for name, measured in ((DIGITS, model), (RIVAL, load(rival.folder))):
        wanted = MEASURED if "label" in measured.system.conditions else MEASURED[:3]
        how = Sampling(**recipe.sample) if name == DIGITS else Sampling()
        figures[name] = evaluate(measured, data=recipe.data, metrics=wanted, samples=SAMPLES, how=how, report=report)
    return figures, model


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
