"""Linear probes: how much of what a picture shows a linear classifier finds in its code.

Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes" (arXiv:1610.01644).
Axes: N pictures, D numbers of a code, F factors.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zeuxis.errors import UsageError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

STRENGTHS = (0.01, 0.1, 1.0)  # of the regularisation tried, sklearn's C, on codes of unit variance
HELD_BACK = 5  # one training code in so many chooses among them
LEAST_TRAINING = 2 * HELD_BACK  # pictures
STEPS = 200  # of the optimiser, at most


@dataclass(frozen=True)
class Probe:
    """Shares in [0, 1] of the held-out values that a linear classifier predicts right."""

    factors: dict[str, float]  # by factor; "label" where the pictures have labels
    training: int  # codes that the classifiers were fitted to
    pictures: int  # held-out ones
    numbers: int  # D

    def __len__(self) -> int:
        return self.pictures

    @property
    def accuracy(self) -> float:
        """The mean over the factors."""
        return sum(self.factors.values()) / len(self.factors)

    @property
    def parts(self) -> dict[str, float]:
        """By factor, where there are several."""
        return self.factors if len(self.factors) > 1 else {}


def probe(training: Tensor, known: Tensor, held_out: Tensor, target: Tensor, names: Sequence[str]) -> Probe:
    """Fit a logistic regression for each factor to ``training`` (N, D) with values ``known`` (N, F) int64, and test it
    on codes ``held_out`` (N, D) with values ``target`` (N, F).

    Codes are standardised by the training ones. The strength of the penalty is chosen on a fifth of them.
    """
    if len(training) < LEAST_TRAINING or training.shape[1:] != held_out.shape[1:]:
        raise UsageError(f"a probe of codes {tuple(training.shape)} and {tuple(held_out.shape)}: give more, and alike")
    mean, std = training.double().mean(0), training.double().std(0)
    std = torch.where(std > 1e-6 * std.max().clamp(min=1e-12), std, torch.ones(()).double())
    x, test = (((codes.double() - mean) / std).float().numpy() for codes in (training, held_out))
    factors = {}
    for f, name in enumerate(names):
        y, wanted = known[:, f].numpy(), target[:, f].numpy()
        said, asked = y >= 0, wanted >= 0  # a value below 0 is left open
        if len(np.unique(y[said])) < 2 or not asked.any():
            continue
        factors[name] = float((_fit(x[said], y[said]).predict(test[asked]) == wanted[asked]).mean())
    if not factors:
        raise UsageError("a probe needs two values or more of a label or a factor, in training and held-out pictures")
    return Probe(factors, len(training), len(held_out), training.shape[1])


def _fit(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    back = np.arange(len(x)) % HELD_BACK == 0
    if len(np.unique(y[~back])) < 2:  # nothing to choose by
        return _regression(STRENGTHS[0], x, y)
    tried = {}
    for strength in STRENGTHS:
        tried[strength] = float((_regression(strength, x[~back], y[~back]).predict(x[back]) == y[back]).mean())
    return _regression(max(tried, key=lambda strength: tried[strength]), x, y)


def _regression(strength: float, x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  (a second, for who measures something else)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (as above)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the optimum is not what is measured
        return LogisticRegression(C=strength, max_iter=STEPS).fit(x, y)
