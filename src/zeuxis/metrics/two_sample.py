"""Can a small network tell what was generated from what is real? The classifier two-sample test.

Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests", arXiv:1610.06545: train a classifier on one half of
both sets and look at how well it tells the other half. It has no features of its own to be blind with: what it sees is
what it can learn. The energies of fine detail are handed to its last layer, as few steps would not find them.
Departure: the area under the ROC curve in place of the accuracy, which needs no threshold.

Axes: N and M pictures of the sets, C channels, H x W pixels, B a batch, K channels of a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.checks import finite
from zeuxis.nn.fixed_features import GrainFeatures
from zeuxis.rng import Stream

SIDE = 32  # pixels a side that the network sees: of larger pictures a part at full size, beside the whole made smaller
MOST = 2_000  # pictures of each set that are looked at: enough to tell, and bounded in time and memory
LEAST = 4  # of each set: two halves with two pictures each
WIDTHS = (8, 16, 32)
EPOCHS, BATCH, RATE, DECAY = 12, 32, 3e-3, 0.1  # BATCH of each set
LEAST_DEVIATION = 1e-3  # of an energy (a logarithm), so that one that never varies is not blown up


@dataclass(frozen=True)
class TwoSample:
    """``auroc``: 0.5 where nothing tells the sets apart, 1 where everything does; and its standard error."""

    auroc: float
    error: float
    samples: int  # of each set, those trained on included


def views(image: Tensor, rng: Stream) -> Tensor:
    """What the network is shown of pictures ``(B, C, H, W)`` in [-1, 1], as bytes: uint8 ``(B, C or 2 C, h, w)``.

    Of pictures with a side above 32 pixels it is a random part at full size, which shows the grain, and in further
    channels the whole made smaller, which shows the arrangement. Bytes, because that is what a picture is kept in:
    real ones have no finer levels, and by those alone any network would tell them.
    """
    finite("pictures", image)
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    height, width = image.shape[-2:]
    if max(height, width) <= SIDE:
        return levels
    h, w = min(height, SIDE), min(width, SIDE)
    top, left = rng.integers(height - h + 1, 1), rng.integers(width - w + 1, 1)
    part = levels[..., int(top) : int(top) + h, int(left) : int(left) + w]
    whole = F.interpolate(levels.float(), (h, w), mode="area").round().to(torch.uint8)
    return torch.cat([part, whole], 1)


def two_sample(real: Tensor, fake: Tensor, rng: Stream) -> TwoSample:
    """Tell ``fake`` from ``real``, both uint8 ``(N, C, H, W)`` as :func:`views` gives them, pair by pair alike.

    Picture k of both sets may have been made under one condition, so both are in the same half.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise UsageError(f"pictures {tuple(real.shape[1:])} and {tuple(fake.shape[1:])} are told apart by their shape")
    n = min(len(real), len(fake), MOST)
    if n < LEAST:
        raise UsageError(f"{n} pictures a side cannot be halved into a training and a test set: give {LEAST} or more")
    order = rng.permutation(n)
    train, test = order[: n // 2], order[n // 2 :]
    shown = torch.cat([real[train], fake[train]]).float()
    mean, scale = shown.mean((0, 2, 3), keepdim=True), shown.std((0, 2, 3), keepdim=True) + 1  # a level at least
    grain = [torch.cat([GrainFeatures()(part / 127.5 - 1) for part in x[:n].split(4 * BATCH)]) for x in (real, fake)]
    known = torch.cat([x[train] for x in grain])  # (2 n/2, D)
    grain = [(x - known.mean(0)) / (known.std(0) + LEAST_DEVIATION) for x in grain]
    del shown, known

    def network_input(x: Tensor) -> Tensor:
        return (x.float() - mean) / scale

    weights = _initial(real.shape[1], grain[0].shape[1], rng)
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    batch = min(BATCH, len(train))
    target = torch.tensor([0.0, 1.0]).repeat_interleave(batch)  # 1: generated
    iterations = EPOCHS * -(-len(train) // batch)
    with torch.enable_grad():
        for step in range(iterations):
            rows = train[rng.integers(len(train), batch)]
            image = network_input(torch.cat([real[rows], fake[rows]]))
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - step / iterations)
            detail = torch.cat([x[rows] for x in grain])
            loss = F.binary_cross_entropy_with_logits(_logit(image, detail, weights), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        of_real, of_fake = (
            torch.cat([_logit(network_input(x[rows]), g[rows], weights) for rows in test.split(4 * BATCH)])
            for x, g in zip((real, fake), grain, strict=True)
        )
    return TwoSample(*auroc(of_fake, of_real), n)


def auroc(higher: Tensor, lower: Tensor) -> tuple[float, float]:
    """The chance that a score of ``higher`` (M,) is above one of ``lower`` (N,), half of it where they are equal.

    And its standard error (Hanley & McNeil 1982, Radiology 143(1), Eq. 1 with the exponential model's Q1 and Q2).
    """
    finite("scores", higher, lower)
    lower, m, n = lower.double().sort().values, len(higher), len(lower)
    below = torch.searchsorted(lower, higher.double(), right=False)
    not_above = torch.searchsorted(lower, higher.double(), right=True)
    a = float((below + not_above).double().mean() / (2 * n))
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (m * n)
    return a, math.sqrt(max(0.0, variance))


def _initial(channels: int, details: int, rng: Stream) -> list[Tensor]:
    """Kernels and biases of the layers (He et al. 2015), and of the head over their means and ``details`` numbers."""
    weights = []
    for inputs, outputs in pairwise((channels, *WIDTHS)):
        weights += [rng.normal(outputs, inputs, 3, 3) * math.sqrt(2 / (9 * inputs)), torch.zeros(outputs)]
    features = sum(WIDTHS)
    head = torch.cat([rng.normal(1, features) * math.sqrt(1 / features), torch.zeros(1, details)], 1)
    weights += [head, torch.zeros(1)]
    return [w.requires_grad_() for w in weights]


def _logit(x: Tensor, detail: Tensor, weights: list[Tensor]) -> Tensor:
    """Pictures ``(B, C, H, W)`` and the energies of their detail ``(B, D)`` to the logit ``(B,)`` of having been
    generated: a head over the means of each layer's maps and the energies."""
    means = []
    for k in range(len(WIDTHS)):
        kernel, bias = weights[2 * k : 2 * k + 2]
        x = F.relu(F.conv2d(x, kernel, bias, stride=1 if k == 0 else 2, padding=1))  # (B, K, h, w)
        means.append(x.mean((2, 3)))
    return F.linear(torch.cat([*means, detail], 1), weights[-2], weights[-1]).squeeze(1)
