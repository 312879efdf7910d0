"""Classifiers that learn from translated pictures, for whoever has labels on one side of two collections alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.classifiers import CHUNK, Labelled, trained_accuracy
from zeuxis.api.collectors import Chunk
from zeuxis.api.model import Model
from zeuxis.api.reference import Reference
from zeuxis.api.reporting import Report
from zeuxis.batch import Condition, to_uint8
from zeuxis.data.source import Source
from zeuxis.errors import Unsupported
from zeuxis.knobs import Sampling
from zeuxis.metrics.adaptation import DomainAdaptation
from zeuxis.rng import Stream, derive_seed

LEARNT = 2000  # pictures that each classifier learns from, as far as there are so many


class Adaptation:
    """Counts the held-out pictures; all else comes at the end, from the two collections with their labels."""

    def __init__(self, model: Model, reference: Reference, seed: int, how: Sampling, report: Report) -> None:
        self.model, self.seed, self.how, self.report = model, seed, how, report
        if "source" not in model.system.conditions or "sample" not in model.verbs:
            raise Unsupported(f"'{model.name}' translates no pictures: give a model such as cyclegan")
        _, self.held = _labelled(reference.held_out)
        self.learnt = _labelled(reference.training)
        self.count = 0

    def add(self, chunk: Chunk) -> None:
        self.count += len(chunk.real)

    def evidence(self) -> dict[str, Any]:
        with torch.inference_mode(False):
            return {"adaptation": self._measured()}

    def _measured(self) -> DomainAdaptation:
        held = self._taken(self.held, self.count, "tested")
        source, target = (self._taken(one, LEARNT, "learnt") for one in self.learnt)
        accuracy = partial(
            trained_accuracy,
            held=held,
            class_names=self.held.spec.class_names,
            seed=self.seed,
            device=self.model.device,
            report=self.report,
        )
        return DomainAdaptation(
            translated=accuracy("translated pictures", (self._translated(source[0]), source[1])),
            untranslated=accuracy("pictures of the source", source),
            target=accuracy("pictures of the target", target),
            learnt=len(source[0]),
            tested=len(held[0]),
        )

    def _taken(self, source: Source, most: int, name: str) -> Labelled:
        """Some of the pictures, as bytes, and their classes."""
        rows = Stream(self.seed, "adaptation", name).permutation(len(source))[:most]
        images, labels = [], []
        for some in rows.split(CHUNK):
            batch = source.batch(some)
            assert batch.condition.label is not None  # which was checked
            images.append(to_uint8(batch.image))
            labels.append(batch.condition.label)
        return torch.cat(images), torch.cat(labels)

    def _translated(self, image: Tensor) -> Tensor:
        """What the model makes of pictures ``(N, C, H, W)`` uint8, as bytes."""
        made: list[Tensor] = []
        for rows in torch.arange(len(image)).split(CHUNK):
            seeds = [derive_seed(self.seed, "adaptation", int(k)) for k in rows]
            shown = image[rows].float().mul(2 / 255).sub(1)
            made.append(to_uint8(self.model.draw(Condition(source=shown), seeds, self.how)))
            self.report(f"translating pictures to train on, {int(rows[-1]) + 1} of {len(image)}", None)
        return torch.cat(made)


def _labelled(data: Source) -> tuple[Source, Source]:
    """The sources and the pictures that they become, each with labels of the same classes."""
    both = data.collections()
    if both is None:
        raise Unsupported(
            f"'{data.name}' are not two collections without pairs: give --data SOURCES PICTURES, two folders of the "
            "same class folders, or scenes-day-night"
        )
    names = [one.spec.class_names for one in both]
    if not all("label" in one.spec.provides for one in both) or names[0] != names[1] or len(names[0]) < 2:
        told = " and ".join(f"'{one.name}' has {', '.join(one.spec.class_names[:8]) or 'none'}" for one in both)
        raise Unsupported(f"both collections need labels of the same classes, and {told}")
    return both
