"""How far features lie from those of the training data: the ground on which a reader may abstain.

Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples and
adversarial attacks" (arXiv:1807.03888), with one Gaussian for all classes together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MEMORY = 200  # batches that the running statistics look back on
RIDGE = 1e-3  # smallest variance, as a share of the mean one: rounding must not pass for strangeness


class Familiarity(nn.Module):
    """Running mean and covariance of features ``(B, D)``, and the score that ``share`` of them stay under."""

    mean: Tensor
    covariance: Tensor
    limit: Tensor
    seen: Tensor

    def __init__(self, features: int, share: float = 0.99) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("covariance", torch.eye(features))
        self.register_buffer("limit", torch.tensor(torch.inf))  # before the first update nothing is strange
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # batches

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Learn from one training batch. It is scored before it is learnt, so that the limit is an honest one."""
        x = features.detach().float()
        highest = self.strangeness(x).quantile(self.share)
        weight = 1 / min(int(self.seen) + 1, MEMORY)
        self.limit.copy_(highest if self.seen == 0 else torch.lerp(self.limit, highest, weight))
        self.mean.lerp_(x.mean(0), weight)
        x = x - self.mean
        self.covariance.lerp_(x.T @ x / len(x), weight)
        self.seen += 1

    def strangeness(self, features: Tensor) -> Tensor:
        """The squared Mahalanobis distance over D, ``(B,)``: about 1 for the training data, more for the foreign."""
        values, axes = torch.linalg.eigh(self.covariance.float())
        values = values.clamp(min=RIDGE * float(values.mean()))
        along = (features.float() - self.mean.float()) @ axes  # (B, D)
        return (along.square() / values).mean(1)

    def familiar(self, features: Tensor) -> Tensor:
        """Which rows score no more than the limit, bool ``(B,)``."""
        return self.strangeness(features) <= self.limit
