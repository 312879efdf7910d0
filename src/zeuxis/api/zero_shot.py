"""Classification by words alone, of models that encode pictures and texts: of one picture, and of held-out ones.

Axes: N pictures, M texts, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from zeuxis.api.collectors import Chunk
from zeuxis.api.model import Model
from zeuxis.data.entries import clean_name
from zeuxis.data.source import Source
from zeuxis.data.worlds.questions import QUESTIONS
from zeuxis.errors import Unsupported, UsageError
from zeuxis.metrics.zero_shot import Question, zero_shot

TEXTS = 256  # encoded at a time
PLACE = "{}"  # in a template, where a name goes


@dataclass(frozen=True)
class Guess:
    """One of the answers: its probability among all of them, and the cosine, where texts are compared."""

    name: str
    probability: float
    cosine: float | None = None


def classify(
    model: Model, pictures: Any, among: Sequence[str] = (), templates: Sequence[str] = (PLACE,)
) -> list[list[Guess]]:
    """What each picture shows, the likeliest first.

    ``among`` are the texts to choose from, for models that encode texts; each is put into every one of ``templates``
    ("a photo of a {}"), whose vectors are averaged (Radford et al. 2021, section 3.1.4). A classifier has names of its
    own and takes none.

    Raises :class:`UsageError` for fewer than two texts, or the same one twice; :class:`Unsupported` for a model that
    does neither.
    """
    if "encode_text" in model.verbs:
        if len(among) < 2 or len(set(among)) < len(among):
            raise UsageError(
                f"of {len(among)} texts none can be chosen: give two or more to choose from, each once "
                '(--among "a cat,a dog")'
            )
        cosine = model.encode(pictures) @ text_vectors(model, among, templates).T  # (N, M)
        found = (model.system.logit_scale * cosine).softmax(1)
        return [
            _sorted(Guess(*each) for each in zip(among, p, c, strict=True))
            for p, c in zip(found.tolist(), cosine.tolist(), strict=True)
        ]
    if "classify" not in model.verbs or model.spec.factors or not model.classes:
        raise Unsupported(f"'{model.name}' names no pictures: give a model that encodes texts, or a classifier")
    if among:
        raise Unsupported(f"'{model.name}' knows its own {len(model.classes)} classes and reads no texts: omit --among")
    (logits,) = model.classify(pictures)
    rows = logits.softmax(1).tolist()
    return [_sorted(Guess(*each) for each in zip(model.classes, row, strict=True)) for row in rows]


def _sorted(guesses: Iterable[Guess]) -> list[Guess]:
    return sorted(guesses, key=lambda guess: -guess.probability)


def text_vectors(model: Model, texts: Sequence[str], templates: Sequence[str] = (PLACE,)) -> Tensor:
    """Vectors (M, D) of length 1 of texts, on the CPU, each the mean over the templates, scaled to length 1 again."""
    for template in templates:
        if PLACE not in template:
            raise UsageError(f"--template '{template}' has no {PLACE}, where each text goes: 'a photo of a {PLACE}'")
    if not templates:
        raise UsageError("no template: leave them out, or give one or more")
    total = sum(model.encode_text([t.replace(PLACE, text) for text in texts]) for t in templates)
    assert isinstance(total, Tensor)
    return normalize(total, dim=1)


class ZeroShots:
    """Which text belongs to each held-out picture.

    Of worlds whose captions are understood (:data:`QUESTIONS`), captions that differ in one thing; of other captioned
    data, the captions of all the pictures; of labelled data, the names of all the classes, whether or not a picture of
    each was taken.
    """

    def __init__(self, model: Model, data: str, source: Source) -> None:
        if "encode_text" not in model.verbs:
            raise Unsupported(f"'{model.name}' encodes no texts ({', '.join(sorted(model.verbs))}): zero-shot needs it")
        if not source.spec.provides & {"caption", "label"}:
            raise Unsupported(f"'{data}' has neither captions nor labels: give data that have")
        self.model, self.data, self.classes = model, clean_name(data), source.spec.class_names
        self.captioned = "caption" in source.spec.provides
        self.image: list[Tensor] = []
        self.texts: list[str] = []

    def add(self, chunk: Chunk) -> None:
        with self.model.computing():
            self.image.append(self.model.system.encode(chunk.real.image).float().cpu())
        caption, label = chunk.real.condition.caption, chunk.real.condition.label
        if caption is not None:
            self.texts += caption
        elif label is not None:
            self.texts += [self.classes[k] for k in label.tolist()]

    def evidence(self) -> dict[str, Any]:
        questions = self._questions()
        texts = tuple(dict.fromkeys(t for asked in questions for q in asked for t in q.texts))
        parts = [self.model.encode_text(texts[k : k + TEXTS]) for k in range(0, len(texts), TEXTS)]
        return {"zero_shot": zero_shot(torch.cat(self.image), torch.cat(parts), texts, questions)}

    def _questions(self) -> list[list[Question]]:
        if self.data in QUESTIONS:
            ask = QUESTIONS[self.data]
            return [[Question(name, texts, 0) for name, texts in ask(text)] for text in self.texts]
        texts = tuple(dict.fromkeys(self.texts)) if self.captioned else self.classes
        place = {text: k for k, text in enumerate(texts)}
        return [[Question("text", texts, place[text])] for text in self.texts]
