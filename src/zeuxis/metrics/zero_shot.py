"""Zero-shot classification: of several texts, is the right one nearest to the picture?

Radford et al. 2021, arXiv:2103.00020, section 3.1.

Axes: N pictures, M texts, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

FEW = 5  # among how many the right text is looked for as well, where there are more than twice as many


@dataclass(frozen=True)
class Question:
    """What is asked of one picture: which of some texts belongs to it."""

    name: str
    texts: tuple[str, ...]
    right: int  # index into ``texts``


@dataclass(frozen=True)
class Answers:
    """The answers to all questions of one name."""

    rank: Tensor  # (N,) int64: how many wrong texts were no farther than the right one
    among: Tensor  # (N,) int64: texts to choose from

    @property
    def accuracy(self) -> float:
        return float((self.rank == 0).double().mean())

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return float((1 / self.among.double()).mean())


@dataclass(frozen=True)
class ZeroShot:
    """Answers by the question's name, about ``pictures`` pictures."""

    answers: Mapping[str, Answers]
    pictures: int

    def __len__(self) -> int:
        return self.pictures

    @cached_property
    def accuracy(self) -> float:
        """Share of right answers, the mean over the questions' names."""
        return sum(a.accuracy for a in self.answers.values()) / len(self.answers)

    @property
    def chance(self) -> float:
        return sum(a.chance for a in self.answers.values()) / len(self.answers)

    @property
    def parts(self) -> dict[str, float]:
        """The accuracy by question, where there are several; and how often the right one is among the nearest few."""
        found = {name: a.accuracy for name, a in self.answers.items()} if len(self.answers) > 1 else {}
        for name, a in self.answers.items():
            if int(a.among.min()) > 2 * FEW:
                key = f"{name}-in-{FEW}" if len(self.answers) > 1 else f"in-{FEW}"
                found[key] = float((a.rank < FEW).double().mean())
        return found


def zero_shot(image: Tensor, text: Tensor, texts: Sequence[str], questions: Sequence[Sequence[Question]]) -> ZeroShot:
    """The answers by cosines.

    ``image`` (N, D) and ``text`` (M, D) are vectors of length 1, ``texts`` what the latter are of; ``questions`` are
    those of each picture. A tie counts as wrong.
    """
    row = {t: k for k, t in enumerate(texts)}
    cosine = image.double() @ text.double().T if len(image) * len(text) < 1 << 24 else None
    rank: dict[str, list[int]] = {}
    among: dict[str, list[int]] = {}
    for n, asked in enumerate(questions):
        for q in asked:
            columns = torch.tensor([row[t] for t in q.texts])
            near = cosine[n, columns] if cosine is not None else text[columns].double() @ image[n].double()
            rank.setdefault(q.name, []).append(int((near >= near[q.right]).sum()) - 1)
            among.setdefault(q.name, []).append(len(q.texts))
    found = {name: Answers(torch.tensor(rank[name]), torch.tensor(among[name])) for name in rank}
    return ZeroShot(found, len(questions))
