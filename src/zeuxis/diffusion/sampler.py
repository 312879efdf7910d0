"""Samplers: from noise to an image, through nothing but ``denoise(x, sigma) -> x0``.

``x = x0 + sigma e`` is in VE space, and every path of :mod:`zeuxis.diffusion.path` is VE after division by its alpha.
So each sampler exists once, and many names fall together: DDIM is Euler's method in sigma, DDPM's ancestral step is
:func:`ddim` with eta = 1, and so is "Euler ancestral", exactly.

Both the VE and the straight path obey dx/ds = (x - x0) / s, s being the noise's standard deviation. Therefore
:data:`ON_STRAIGHT` may also be given the straight path's x and times, which has no infinity at pure noise; Euler's
steps are the same ones in either space, those of Heun's and the midpoint method are not.

                    calls of N steps    order    noise            knobs
    euler           N                   1        none
    heun            2N - 1              2        of churn alone   churn
    midpoint        2N                  2        none
    ddim            N                   1        of eta           eta
    ancestral       N                   1        all of it
    dpmpp-2s        2N - 1              2        of eta           eta
    dpmpp-sde       2N - 1              2        all of it
    dpmpp-2m        N                   2        of eta           eta
    dpmpp-2m-sde    N                   2        all of it
    unipc           N                   3        none
    unipc-3         N                   3        none
    lms             N                   4        none

The order is that of the equation without noise on ever finer grids. UniPC's corrector adds one to the order of its
predictor, 2 or 3; the first steps, which know fewer answers, leave it at 3 in the end.

Second-order methods take the change of x0 from one level to another and carry it on by half a step. Over a step that is
long for the one before it, or that more than halves the noise, their formulas carry it on by several times that change,
far beyond the pictures. They are held to the whole of it here (``most = WHOLE``), which no step of a fine grid comes
near; ``most = math.inf`` is the published algorithm on every grid.

Legend: x (B, C, H, W); ``levels`` (N + 1,) for N steps, descending, as in :mod:`zeuxis.diffusion.schedule`; a denoiser
gets sigma as (B,), or a :class:`ByLevel` as a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

from torch import Tensor

from zeuxis.diffusion.samplers.linear_multistep import dpmpp_2m, dpmpp_2m_sde, lms, unipc
from zeuxis.diffusion.samplers.single_step import (
    ancestral,
    ddim,
    dpmpp_2s,
    dpmpp_sde,
    euler,
    heun,
    midpoint,
    multistep,
)
from zeuxis.diffusion.samplers.step import WHOLE, ByLevel, Denoise, Sampler, of_any_level
from zeuxis.errors import UsageError, lookup

__all__ = [
    "ON_STRAIGHT",
    "SAMPLERS",
    "WHOLE",
    "ByLevel",
    "Denoise",
    "Sampler",
    "ancestral",
    "ddim",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2s",
    "dpmpp_sde",
    "euler",
    "heun",
    "lms",
    "midpoint",
    "multistep",
    "of_any_level",
    "unipc",
    "with_knobs",
]

SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "heun": heun,
    "midpoint": midpoint,
    "ddim": ddim,
    "ancestral": ancestral,
    "dpmpp-2s": dpmpp_2s,
    "dpmpp-sde": dpmpp_sde,
    "dpmpp-2m": dpmpp_2m,
    "dpmpp-2m-sde": dpmpp_2m_sde,
    "unipc": unipc,
    "unipc-3": partial(unipc, order=3),
    "lms": lms,
}
ON_STRAIGHT = ("euler", "heun", "midpoint")  # those that may walk the straight path itself, churn apart

_TAKES: Mapping[str, tuple[str, ...]] = {  # the knobs that a sampler leaves open
    "ddim": ("eta",),
    "dpmpp-2m": ("eta",),
    "dpmpp-2s": ("eta",),
    "heun": ("churn",),
}
_WHOLE_NOISE = {"ancestral": "ddim", "dpmpp-sde": "dpmpp-2s", "dpmpp-2m-sde": "dpmpp-2m"}  # eta 1 of another


def with_knobs(name: str, asked: Mapping[str, object]) -> Sampler:
    """The sampler called ``name`` with those of the knobs ``eta`` and ``churn`` that are ``asked``.

    Raises :class:`UsageError` for one that it makes no use of, unless that is the value which it has anyway.
    """
    chosen = lookup("sampler", name, SAMPLERS)
    takes = _TAKES.get(name, ())
    values = {knob: cast(float, asked[knob]) for knob in ("eta", "churn") if knob in asked}
    for knob, value in values.items():
        fixed = 1.0 if knob == "eta" and name in _WHOLE_NOISE else 0.0
        if knob not in takes and value != fixed:
            users = ", ".join(user for user, knobs in _TAKES.items() if knob in knobs)
            instead = f"{_WHOLE_NOISE[name]} takes it" if fixed else f"it is a knob of {users}"
            raise UsageError(f"{knob} {value:g}: sampler '{name}' makes no use of {knob}; {instead}")
    turned = {knob: value for knob, value in values.items() if knob in takes}
    return partial(cast(Callable[..., Tensor], chosen), **turned) if turned else chosen
