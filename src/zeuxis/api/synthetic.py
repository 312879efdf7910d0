"""Classifiers trained on made pictures, on real ones and on both: for whoever has few pictures of each class."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.classifiers import CHUNK, trained_accuracy
from zeuxis.api.collectors import Chunk
from zeuxis.api.model import Model
from zeuxis.api.reference import Reference
from zeuxis.api.reporting import Report
from zeuxis.batch import Condition, to_uint8
from zeuxis.errors import Unsupported
from zeuxis.knobs import Sampling
from zeuxis.metrics.synthetic import TrainedOnSynthetic
from zeuxis.rng import Stream, derive_seed

SIZES = (100, 500, 2000)  # real pictures, as far as there are so many
MADE = 2000  # pictures that are made


class Classifiers:
    """Keeps the held-out pictures as bytes, to test on; the classifiers are trained at the end, all in the same way."""

    def __init__(self, model: Model, reference: Reference, seed: int, how: Sampling, report: Report) -> None:
        source = reference.held_out
        if "label" not in model.system.conditions or "sample" not in model.verbs:
            raise Unsupported(
                f"'{model.name}' draws no pictures of a class that is asked for, of which a classifier could learn: "
                "give a model that is conditioned on labels, such as cvae"
            )
        if source.spec.classes < 2:
            raise Unsupported(f"'{source.name}' has no labels: give other --data")
        self.model, self.reference, self.seed, self.how, self.report = model, reference, seed, how, report
        self.image: list[Tensor] = []
        self.label: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        assert chunk.real.condition.label is not None  # the data have labels
        self.image.append(to_uint8(chunk.real.image).cpu())
        self.label.append(chunk.real.condition.label.cpu())

    def evidence(self) -> dict[str, Any]:
        with torch.inference_mode(False):
            return {"synthetic": self._measured()}

    def _measured(self) -> TrainedOnSynthetic:
        held = torch.cat(self.image), torch.cat(self.label)
        made, training = self._made(), self.reference.learnt
        sizes = [n for n in SIZES if n <= len(training)] or [len(training)]
        order = Stream(self.seed, "synthetic").permutation(len(training))
        real: dict[int, float] = {}
        both: dict[int, float] = {}
        accuracy = partial(
            trained_accuracy,
            held=held,
            class_names=self.reference.held_out.spec.class_names,
            seed=self.seed,
            device=self.model.device,
            report=self.report,
        )
        alone = accuracy("made pictures", made)
        for n in sizes:
            batch = training.batch(order[:n])
            assert batch.condition.label is not None
            some = to_uint8(batch.image), batch.condition.label
            real[n] = accuracy(f"{n} real pictures", some)
            joined = torch.cat([some[0], made[0]]), torch.cat([some[1], made[1]])
            both[n] = accuracy(f"{n} real pictures and the made ones", joined)
        return TrainedOnSynthetic(alone, real, both, len(made[0]), len(held[0]))

    def _made(self) -> tuple[Tensor, Tensor]:
        """Pictures of all classes in turn, as bytes, and their classes."""
        label = torch.arange(MADE) % self.reference.held_out.spec.classes
        parts = []
        for rows in torch.arange(MADE).split(CHUNK):
            seeds = [derive_seed(self.seed, "synthetic", int(k)) for k in rows]
            parts.append(to_uint8(self.model.draw(Condition(label=label[rows]), seeds, self.how)))
            self.report(f"making pictures to train on, {len(parts) * CHUNK} of {MADE}", None)
        return torch.cat(parts), label
