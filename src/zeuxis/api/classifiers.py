"""Small classifiers, all trained in the same way, by which pictures are judged as something to learn from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from zeuxis.api.reporting import Report
from zeuxis.catalog.build import build
from zeuxis.data.batches import Batches
from zeuxis.data.source import ArraySource
from zeuxis.errors import Stopped
from zeuxis.recipe import Train
from zeuxis.rng import derive_seed
from zeuxis.training.trainer import Trainer

CHUNK = 250  # pictures at a time
NETWORK = {"widths": [16, 32], "features": 64}
TRAIN = Train.model_validate(
    {"iterations": 400, "batch": 64, "precision": "float32", "save_minutes": 1e6, "preview_minutes": 1e6}
)

Labelled = tuple[Tensor, Tensor]  # pictures (N, C, H, W) uint8 and their classes (N,) int64


def trained_accuracy(
    what: str,
    learnt: Labelled,
    held: Labelled,
    class_names: tuple[str, ...],
    *,
    seed: int,
    device: str,
    report: Report,
) -> float:
    """The share of ``held`` that a classifier trained on ``learnt`` predicts right, in [0, 1].

    ``what`` says in the report what it learns from. Raises Stopped (a KeyboardInterrupt) where it was interrupted.
    """
    source = ArraySource("learnt", learnt[0].numpy(), fields={"label": learnt[1].numpy()}, class_names=class_names)
    classifier = build("classifier", source.spec, dict(NETWORK), derive_seed(seed, "classifier"))
    with tempfile.TemporaryDirectory(prefix="zeuxis-") as folder:
        trainer = Trainer(
            classifier, Batches(source, TRAIN.batch, seed), TRAIN, Path(folder), device=device,
            report=lambda clock: report(f"a classifier of {what}", clock.progress), track=("none",),
        )  # fmt: skip
        trainer.run()
    if trainer.stop_asked:
        raise Stopped(trainer.stop_asked)
    right = 0
    with torch.no_grad():
        for image, label in zip(held[0].split(CHUNK), held[1].split(CHUNK), strict=True):
            shown = image.float().mul(2 / 255).sub(1).to(device)
            (logits,) = trainer.best.eval().classify(shown)
            right += int((logits.argmax(1).cpu() == label).sum())
    return right / len(held[0])
