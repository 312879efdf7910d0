"""Samplers that make use of the answers of earlier steps: one call a step, and an order above the first.

Legend: as in :mod:`zeuxis.diffusion.sampler`; h is a step's length in log sigma (lambda of the papers is minus that,
for alpha is 1 in VE space), p the order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from zeuxis.diffusion.samplers.step import WHOLE, Denoise, at_level, between, kept_and_fresh, steps_of
from zeuxis.errors import lookup
from zeuxis.rng import Rng, normal_like

HIGHER = 2.5  # how many times ``most`` the weights of two or more differences may sum to; 1.75 on an even grid


def dpmpp_2m(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, *, eta: float = 0.0, most: float = WHOLE) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, Alg. 2), first order at both ends. Draws nothing at eta 0.

    Alg. 2 adds (x0 - the last x0) / 2r, r being the last step's length in log sigma over this one's. Here 1 / 2r is
    ``most`` at most: see :mod:`zeuxis.diffusion.sampler`. ``eta`` is as in :func:`zeuxis.diffusion.sampler.ddim`; at 1
    it is SDE-DPM-Solver++(2M) (Appendix B.2 there).
    """
    ask = at_level(denoise)
    before: tuple[float, Tensor] | None = None  # the last step's length in log sigma, and its x0
    for now, after in steps_of(levels):
        x0 = ask(x, now)
        if after == 0:
            return x0
        length = math.log(now / after)
        target = x0
        if before is not None:
            target = torch.add(x0, x0 - before[1], alpha=min(most, length / (2 * before[0])))
        kept, fresh = kept_and_fresh(now, after, eta)
        x = between(target, x, kept / now)
        if fresh > 0:
            x = torch.add(x, normal_like(x, rng), alpha=fresh)
        before = length, x0
    return x


def dpmpp_2m_sde(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """SDE-DPM-Solver++(2M): :func:`dpmpp_2m` along the reverse process, with all its noise."""
    return dpmpp_2m(denoise, x, levels, rng, eta=1.0)


def unipc(
    denoise: Denoise,
    x: Tensor,
    levels: Tensor,
    rng: Rng,
    *,
    order: int = 2,
    scale: Literal["bh1", "bh2"] = "bh2",
    most: float = WHOLE,
) -> Tensor:
    """UniPC of that ``order`` (Zhao et al. 2023, arXiv:2302.04867, Alg. 1 and 2, multistep, of x0). Draws nothing.

    Each answer serves twice: it corrects the step that led to where it was asked, to order p + 1, and predicts the
    next, without a call more. ``scale`` is the paper's B(h): h (bh1) or e^h - 1 (bh2). The order is lower where there
    are fewer answers yet, or fewer steps to go.

    The weights of the differences of answers are held to ``most``; where two or more of them sum to more than
    :data:`HIGHER` times that, the oldest is left out.
    """
    ask = at_level(denoise)
    scaled = lookup("scale of UniPC", scale, _SCALES)
    found: list[tuple[float, Tensor]] = []  # log sigma and x0 of earlier answers, the newest first
    start, used, steps = x, 0, len(levels) - 1
    for i, (now, after) in enumerate(steps_of(levels)):
        at, x0 = math.log(now), ask(x, now)
        if after == 0:
            return x0
        if found:  # UniC: the step from ``start`` to here again, with x0 among its answers
            x = _unified(start, found[:used], at, (at, x0), scaled, most)
        found = [(at, x0), *found][:order]
        start, used = x, min(order, len(found), steps - i)
        x = _unified(start, found[:used], math.log(after), None, scaled, most)  # UniP
    return x


def _unified(
    x: Tensor,
    answers: Sequence[tuple[float, Tensor]],
    to: float,
    new: tuple[float, Tensor] | None,
    scaled: Callable[[float], float],
    most: float,
) -> Tensor:
    """The step from ``x`` at the newest of ``answers`` to log sigma ``to`` (Zhao et al. 2023, Eq. 3 and 5)."""
    at, x0 = answers[0]
    h = at - to
    others = [*answers[1:], *([] if new is None else [new])]
    weights: list[float] = []
    while others:
        nodes = [(at - other[0]) / h for other in others]  # r_m; that of ``new`` is 1
        weights = _weights(h, nodes, scaled(h), new is not None)
        carried = sum(map(abs, weights))
        if carried <= (most if len(weights) == 1 else HIGHER * most):
            break
        if len(others) == 1:
            weights = [math.copysign(most, weights[0])]
            break
        del others[-1 if new is None else -2]
    target = x0
    for weight, (_, other) in zip(weights, others, strict=True):
        target = torch.add(target, other - x0, alpha=weight)
    return between(target, x, math.exp(-h))


def _weights(h: float, nodes: Sequence[float], scale: float, corrects: bool) -> list[float]:
    """What each difference from the newest answer counts, the target being x0 + sum of weight (other - x0).

    R_p a_p B(h) = phi_p(h) (Zhao et al. 2023, Eq. 4) for p = len(``nodes``), of x0 where e^h is e^-h; the one unknown
    of p = 1 is set to 1/2, as the paper does.
    """
    r = torch.tensor(nodes, dtype=torch.float64)
    phi, wanted = math.expm1(-h) / -h - 1, []  # h phi_{k+1}(-h) k!, k from 1
    factorial = 1
    for k in range(1, len(nodes) + 1):
        wanted.append(phi * factorial / -scale)
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    if len(nodes) == 1:
        shares = [0.5]
    else:
        powers = torch.stack([r**k for k in range(len(nodes))])
        shares = torch.linalg.solve(powers, torch.tensor(wanted, dtype=torch.float64)).tolist()
    gain = scale / -math.expm1(-h)
    return [gain * share / node for share, node in zip(shares, nodes, strict=True)]


def lms(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, *, order: int = 4) -> Tensor:
    """Adams and Bashforth's linear multistep method in sigma, of the fourth order at most. Draws nothing.

    The slopes (x - x0) / sigma of up to four steps are interpolated by a polynomial, which is integrated exactly: as
    k-diffusion's ``sample_lms`` (Crowson 2022) and Liu et al. 2022 (arXiv:2202.09778) for even steps.
    """
    ask = at_level(denoise)
    nodes: list[float] = []  # the levels of the last steps and their slopes, the newest first
    slopes: list[Tensor] = []
    for now, after in steps_of(levels):
        nodes = [now, *nodes][:order]
        slopes = [(x - ask(x, now)) / now, *slopes][:order]
        for weight, slope in zip(_adams(nodes, now, after), slopes, strict=True):
            x = torch.add(x, slope, alpha=weight)
    return x


def _adams(nodes: Sequence[float], start: float, end: float) -> list[float]:
    """The integral from ``start`` to ``end`` of each node's Lagrange polynomial: two points of Gauss's rule are exact
    up to the third degree."""
    middle, half = (start + end) / 2, (end - start) / 2
    points = middle - half / math.sqrt(3), middle + half / math.sqrt(3)
    return [
        half * sum(math.prod((s - other) / (node - other) for other in nodes if other != node) for s in points)
        for node in nodes
    ]


_SCALES: dict[str, Callable[[float], float]] = {"bh1": lambda h: h, "bh2": lambda h: -math.expm1(-h)}
