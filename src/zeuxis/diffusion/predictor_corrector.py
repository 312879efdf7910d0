"""Samplers that walk at a level of noise: annealed Langevin dynamics, and predictor-corrector sampling.

Langevin dynamics draws from the noisy pictures of one level, x <- x + e s + sqrt(2 e) z, where s is the score. In VE
space s = (x0 - x) / sigma^2 (Tweedie), so a step of e = ``rate`` sigma^2 goes the share ``rate`` of the way to x0.

    annealed Langevin     the same share at every level, a few steps each (Song & Ermon 2019, arXiv:1907.05600, Alg. 1;
                          2020, arXiv:2006.09011, Alg. 1 and Techniques 2 and 4)
    predictor-corrector   one step to the next level, then steps at it whose size is chosen by the norms of z and s
                          (Song et al. 2021, arXiv:2011.13456, Alg. 1 to 5)

On a VP path all of this is of x divided by alpha. There Alg. 5 has a further factor 1 - beta_i in the step, near 1
for a chain of many steps, which is left out.

Legend: x (B, C, H, W); ``levels`` (N + 1,), descending to 0; e and z of the texts are the step and the noise; gamma is
the ratio of two neighbouring levels, D the numbers of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from zeuxis.diffusion.langevin import Slope, langevin
from zeuxis.diffusion.path import append_dims, for_each
from zeuxis.diffusion.sampler import Denoise, Sampler, with_knobs
from zeuxis.errors import UsageError, lookup
from zeuxis.rng import Rng, normal_like
from zeuxis.steps import each_step

Predictor = Literal["reverse-diffusion", "ancestral"]
_PREDICTORS: dict[str, Callable[[float, float], float]] = {  # deviations of the fresh noise
    "reverse-diffusion": lambda gone, ratio: math.sqrt(gone),
    "ancestral": lambda gone, ratio: math.sqrt(gone) * ratio,
}


def annealed_langevin(
    denoise: Denoise,
    x: Tensor,
    levels: Tensor,
    rng: Rng,
    *,
    each: int = 5,
    rate: float = 0.062,
    clean: bool = True,
) -> Tensor:
    """``each`` steps at every level but 0, N ``each`` calls; with ``clean`` one more, which takes off the last noise.

    ``rate`` is the paper's epsilon over the square of the least level: 0.062 for CIFAR-10 in 2020. In 2019, whose step
    is alpha / 2, it was 0.1.
    """
    *noisy, _ = levels.tolist()
    for sigma in each_step(noisy):
        x = langevin(_minus_score(denoise, sigma), x, rng, steps=each, rate=rate * sigma**2,
                     noise=math.sqrt(2 * rate) * sigma)  # fmt: skip
    return denoise(x, for_each(noisy[-1], x)) if clean else x


def predictor_corrector(
    denoise: Denoise,
    x: Tensor,
    levels: Tensor,
    rng: Rng,
    *,
    predictor: Predictor = "reverse-diffusion",
    corrections: int = 1,
    snr: float = 0.16,
) -> Tensor:
    """One step to each next level, then ``corrections`` steps there: N + (N - 1) ``corrections`` calls.

    The last step gives x0 itself. ``corrections`` 0 is the predictor alone. Both predictors go to the same mean.
    "reverse-diffusion" adds all the variance that the level loses (Alg. 2 and 3), and where levels are far apart more
    noise is left than there should be; "ancestral" as much as leaves what there should be (Appendix F), on any grid.
    """
    spread = lookup("predictor", predictor, _PREDICTORS)
    for now, after in each_step(list(pairwise(levels.tolist()))):
        x0 = denoise(x, for_each(now, x))
        if after == 0:
            return x0
        gone = now**2 - after**2  # of the noise's variance
        x = x + gone / now**2 * (x0 - x) + spread(gone, after / now) * normal_like(x, rng)
        for _ in range(corrections):
            x = _correct(denoise, x, after, rng, snr)
    return x


def _correct(denoise: Denoise, x: Tensor, sigma: float, rng: Rng, snr: float) -> Tensor:
    """One step of Langevin dynamics of e = 2 (snr |z| / |s|)^2 (Alg. 4 and 5), the norms being each picture's own."""
    score = (denoise(x, for_each(sigma, x)) - x) / sigma**2
    noise = normal_like(x, rng)
    norms = [each.flatten(1).norm(dim=1) for each in (noise, score)]  # (B,) each
    step = 2 * (snr * norms[0] / norms[1].clamp(min=1e-12)) ** 2  # (B,)
    return x + append_dims(step, x) * score + append_dims((2 * step).sqrt(), x) * noise


def _minus_score(denoise: Denoise, sigma: float) -> Slope:
    return lambda x: (x - denoise(x, for_each(sigma, x))) / sigma**2


def ladder(low: float, high: float, numbers: int) -> int:
    """How many levels in constant ratio make half of one level's noise likely at the next, for pictures of D =
    ``numbers``: Phi(sqrt(2 D) (gamma - 1) + 3 gamma) - Phi(sqrt(2 D) (gamma - 1) - 3 gamma) = 1/2 (2020, Technique 2).

    The paper says "about 1/2", and of its 232 levels for CIFAR-10 it is 0.57; of 220 it is 1/2.
    """
    least, most = 1.0, 2.0
    for _ in range(60):  # the overlap falls with gamma
        gamma = (least + most) / 2
        away = math.sqrt(2 * numbers) * (gamma - 1)
        overlap = _phi(away + 3 * gamma) - _phi(away - 3 * gamma)
        least, most = (gamma, most) if overlap > 0.5 else (least, gamma)
    return 1 + math.ceil(math.log(high / low) / math.log(least))


def langevin_rate(ratio: float, each: int) -> float:
    """The ``rate`` with which ``each`` steps bring the noise of the level before, ``ratio`` times as strong, nearest to
    that of this level (2020, Technique 4, with epsilon / sigma_L^2 = rate)."""
    rates = torch.linspace(1e-3, 0.999, 9981, dtype=torch.float64)
    settled = 1 / (1 - rates / 2)  # variance of the stationary walk over that of the level: Prop. 3's last term
    variance = (1 - rates) ** (2 * each) * (ratio**2 - settled) + settled
    return float(rates[(variance - 1).abs().argmin()])


def own_or_solver(own: str, walk: Sampler, knobs: Sequence[str], name: str, asked: Mapping[str, object]) -> Sampler:
    """The sampler called ``name``: ``walk`` where that is ``own``, or else one of diffusion/sampler.py.

    ``knobs`` are those of ``walk``. Raises :class:`UsageError` where one is ``asked`` that the sampler has no use for.
    """
    idle = [knob for knob in (("eta", "churn") if name == own else knobs) if knob in asked]
    if idle:
        users = f"it is a knob of '{own}'" if name != own else "choose a sampler that has it"
        raise UsageError(f"{idle[0]} {asked[idle[0]]}: sampler '{name}' makes no use of {idle[0]}; {users}")
    return walk if name == own else with_knobs(name, asked)


def _phi(x: float) -> float:
    """The normal distribution function."""
    return (1 + math.erf(x / math.sqrt(2))) / 2
