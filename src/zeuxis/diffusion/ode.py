"""An adaptive solver of ordinary differential equations, every image with steps of its own.

Dormand & Prince 1980, "A family of embedded Runge-Kutta formulae", doi:10.1016/0771-050X(80)90013-3: seven stages, the
last of which is the first of the next step, a solution of order 5, and one of order 4 whose difference from it measures
the error. The step's length is chosen as in Hairer, Norsett & Wanner 1993, "Solving ordinary differential equations I",
II.4: what keeps the error at the tolerance, and by II.4's starting step for the first one.

An image has its own time and its own step, and so the same answer in any company. All are asked about at once; those
that have arrived are asked about in vain until the last one has.

Legend: B images; a state is some tensors (B, ...), each of them held to the tolerance by itself: the root mean square
of error / (tolerance (1 + |value|)) is kept below 1. Times are (B,), float64. c_i, a_ij and b_i are the tableau's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.diffusion.path import append_dims
from zeuxis.errors import UsageError, ZeuxisError

State = tuple[Tensor, ...]
Slope = Callable[[State, Tensor], State]  # d state / dt of the state at times (B,)

_C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_A: tuple[tuple[float, ...], ...] = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),  # b: the solution of order 5
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # b minus that of order 4
_ORDER = 5  # of the error of one step
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 10.0  # of what the tolerance allows; how much a step may shrink or grow


@dataclass(frozen=True, eq=False)
class Solved:
    """The state at the end, how often the slope was asked, and the most steps that an image took."""

    state: State
    calls: int
    steps: int


def dormand_prince(
    slope: Slope, state: State, start: float, end: float, *, tolerance: float = 1e-5, most: int = 10_000
) -> Solved:
    """``state`` taken from time ``start`` to ``end``, forwards or backwards, at an error of ``tolerance`` a step.

    Raises :class:`ZeuxisError` where the slope is not finite, the step comes to nothing, or ``most`` steps do not
    suffice.
    """
    if not tolerance > 0:
        raise UsageError(f"a tolerance of {tolerance:g} can never be met: give one above 0, such as 1e-5")
    x = state[0]
    t = torch.full((len(x),), start, dtype=torch.float64, device=x.device)
    way = 1.0 if end >= start else -1.0
    first = slope(state, t)
    length = _first_length(slope, state, first, t, abs(end - start), way, tolerance)  # (B,)
    refused = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    calls, steps = 2, 0
    while not bool((t == end).all()):
        if steps == most:
            raise ZeuxisError(f"{most} steps did not bring the equation from {start:g} to {end:g}: raise its tolerance")
        arrives = length >= (end - t).abs()
        length = torch.where(arrives, (end - t).abs(), length)
        h = way * length
        after = torch.where(arrives, torch.full_like(t, end), t + h)
        if bool(((after == t) & (t != end)).any()):
            raise ZeuxisError(f"the equation's steps came to nothing at {float(t[after == t][0]):g}: it is not smooth")
        stages = [first]
        for c, weights in zip(_C[1:], _A[1:], strict=True):
            moved = _moved(state, stages, weights, h)
            stages.append(slope(moved, after if c == 1 else t + c * h))
        calls, steps = calls + 6, steps + 1
        error = _moved(tuple(torch.zeros_like(part) for part in state), stages, _ERROR, h)
        ratio = _norm(error, state, moved, tolerance)  # (B,); 1 is just what is allowed
        if not bool(ratio.isfinite().all()):
            raise ZeuxisError(f"the equation's slope is not finite between {float(t.min()):g} and {float(t.max()):g}")
        kept = ratio < 1
        factor = (_SAFETY * ratio.clamp(min=1e-30) ** (-1 / _ORDER)).clamp(_LEAST, _MOST)
        length = length * torch.where(refused & kept, factor.clamp(max=1.0), factor)
        refused = ~kept
        t = torch.where(kept, after, t)
        state, first = _chosen(kept, moved, state), _chosen(kept, stages[-1], first)
    return Solved(state, calls, steps)


def _moved(state: State, stages: Sequence[State], weights: Sequence[float], h: Tensor) -> State:
    """``state`` + h sum_j a_j k_j."""
    found = []
    for index, part in enumerate(state):
        sum_of = torch.zeros_like(part)
        for stage, weight in zip(stages, weights, strict=True):
            if weight:
                sum_of = torch.add(sum_of, stage[index], alpha=weight)
        found.append(part + append_dims(h, part).to(part.dtype) * sum_of)
    return tuple(found)


def _chosen(kept: Tensor, new: State, old: State) -> State:
    """The ``new`` of those images that are ``kept``, the ``old`` of the others."""
    return tuple(torch.where(append_dims(kept, n), n, o) for n, o in zip(new, old, strict=True))


def _norm(error: State, one: State, other: State, tolerance: float) -> Tensor:
    """The error in units of what is allowed (B,), float64: of that part of the state where it is largest."""
    parts = []
    for e, a, b in zip(error, one, other, strict=True):
        scale = tolerance * (1 + torch.maximum(a.abs(), b.abs()))
        parts.append((e / scale).double().square().flatten(1).mean(1).sqrt())
    return torch.stack(parts).amax(0)


def _first_length(
    slope: Slope, state: State, first: State, t: Tensor, whole: float, way: float, tolerance: float
) -> Tensor:
    """The length (B,) of the first step (Hairer et al. 1993, II.4), from one more call of the slope."""
    zero = tuple(torch.zeros_like(part) for part in state)
    value, change = _norm(state, state, zero, tolerance), _norm(first, state, zero, tolerance)
    tiny = (value < 1e-5) | (change < 1e-5)
    guess = torch.where(tiny, 1e-6, 0.01 * value / change.clamp(min=1e-30)).clamp(max=whole)
    there = slope(_moved(state, [first], (1.0,), way * guess), t + way * guess)
    bent = _norm(tuple(a - b for a, b in zip(there, first, strict=True)), state, zero, tolerance) / guess
    largest = torch.maximum(change, bent)
    by_slope = torch.where(largest <= 1e-15, (guess * 1e-3).clamp(min=1e-6), (0.01 / largest) ** (1 / _ORDER))
    return torch.minimum(100 * guess, by_slope).clamp(max=whole)
