"""The classifier score: confident about each picture, undecided about all of them.

Salimans et al. 2016, "Improved techniques for training GANs", arXiv:1606.03498, section 4; it is the
Inception score when the logits are Inception's, and comparable only within one classifier.

Axes: N pictures.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.checks import finite

SPLITS = 10


def classifier_score(logits: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """The mean and the deviation over ``splits`` of ``exp E_x KL(p(y|x) || p(y))``, from logits ``(N, K)``.

    Between 1 and K; higher is better. The rows must be in random order, because the splits are consecutive.
    """
    finite("logits", logits)
    if len(logits) < splits:
        raise UsageError(f"{len(logits)} images cannot be split into {splits}: give more images or fewer splits")
    scores = []
    for part in logits.double().log_softmax(1).tensor_split(splits):
        log_marginal = part.logsumexp(0) - math.log(len(part))  # not the log of a mean, which may be of zeros
        divergence = (part.exp() * (part - log_marginal)).sum(1)
        scores.append(divergence.mean().exp())
    all_scores = torch.stack(scores)
    return float(all_scores.mean()), float(all_scores.std(correction=0))
