"""What the log plots of pictures that training never sees, by what a system can do. Less is better in all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.diffusion.held_out import errors_at_levels
from zeuxis.distributions.dequantise import dequantise
from zeuxis.knobs import Sampling
from zeuxis.rng import Rng
from zeuxis.verbs import Likelihood, Verbs

PART = 8  # pictures at a time: a training's own batch may be as small


def held_out_of(system: Verbs, batch: Batch, rng: Rng) -> Mapping[str, Tensor]:
    """The first of these that the system has, scalars by name.

    The error of its denoiser, without guidance, at eight fixed levels, in the space that pictures are encoded to, if
    they are; minus the log-likelihood, or the bound on it, of pictures of many grey levels, in nats a value; the mean
    squared error of pictures that are encoded and decoded again. None where it has none of them.
    """
    if "denoiser" in system.can:
        how = Sampling(guidance=1.0) if "guidance" in system.knobs else Sampling()
        denoise = system.denoiser(batch.condition.only(system.conditions), len(batch), how)
        seen = system.encode(batch.image) if "encode" in system.can else batch.image
        return errors_at_levels(denoise, seen, rng)
    if "log_prob" in system.can and system.likelihood_of is not Likelihood.BLACK_AND_WHITE:
        density = system.likelihood_of is Likelihood.DENSITY
        batch = Batch(dequantise(batch.image, rng)) if density else batch
        nats = mean_of(lambda part: -system.log_prob(part.image, rng), batch)
        return {"nats a value": nats / batch.image[0].numel()}
    if {"encode", "decode"} <= system.can:
        return {"rebuilt": squared_error_of(lambda part: system.decode(system.encode(part.image)), batch)}
    return {}


def squared_error_of(make: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    """The mean squared error of the pictures ``(B, C, H, W)`` that ``make`` makes in place of a batch's."""
    return mean_of(lambda part: (make(part) - part.image).square().flatten(1).mean(1), batch)


def mean_of(measure: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    """The mean of what ``measure`` says ``(B,)`` of each example, a few at a time."""
    parts = (batch[k : k + PART] for k in range(0, len(batch), PART))
    return torch.cat([measure(part).float() for part in parts]).mean()
