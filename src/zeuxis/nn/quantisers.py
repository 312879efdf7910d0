"""The quantisers by name, and which options go with which."""

from __future__ import annotations

import math

from zeuxis.errors import UnknownName, UsageError
from zeuxis.nn.finite_scalar import FiniteScalar
from zeuxis.nn.lookup_free import LookupFree
from zeuxis.nn.quantiser import Quantiser
from zeuxis.nn.vector_quantiser import VectorQuantiser

QUANTISERS = ("codebook", "fsq", "lfq")
OFF = {"ema": "false", "kmeans": "false", "restart_dead": "0"}  # how a recipe turns a codebook's option off


def make_quantiser(
    kind: str,
    codes: int,
    width: int,
    *,
    beta: float = 0.25,
    entropy: float = 0.1,
    ema: bool = False,
    kmeans: bool = False,
    restart_dead: float = 0.0,
    levels: tuple[int, ...] = (),
) -> Quantiser:
    """``"codebook"`` (VQ-VAE), ``"fsq"`` (finite scalars) or ``"lfq"`` (lookup-free).

    ``width``, ``ema``, ``kmeans`` and ``restart_dead`` are a codebook's (see :class:`VectorQuantiser`); the others
    have vectors of one number a level, and of one a bit, so that ``width`` is idle. ``levels``
    are those of ``"fsq"``, and multiply to ``codes``; ``entropy`` is the weight of ``"lfq"``'s penalty. Raises
    :class:`UsageError` for what does not go together.
    """
    if kind not in QUANTISERS:
        raise UnknownName("quantiser", kind, QUANTISERS)
    options = [name for name, on in (("ema", ema), ("kmeans", kmeans), ("restart_dead", restart_dead)) if on]
    if kind != "codebook" and options:
        raise UsageError(
            f"quantiser '{kind}' has no codebook for {' and '.join(options)}: "
            f"set {' and '.join(f'{name} = {OFF[name]}' for name in options)}, or quantiser = 'codebook'"
        )
    if kind != "fsq" and levels:
        raise UsageError(
            f"quantiser '{kind}' has no levels: leave levels={tuple(levels)} out, or set quantiser = 'fsq'"
        )
    if kind == "fsq" and math.prod(levels) != codes:
        raise UsageError(
            f"quantiser 'fsq': levels={tuple(levels)} make {math.prod(levels)} codes, not {codes}: "
            "set codes to the product of levels (8, 8, 4 are 256; 8, 8, 8 are 512; 8, 5, 5, 5 are 1000)"
        )
    if kind == "fsq":
        return FiniteScalar(tuple(levels))
    if kind == "lfq":
        return LookupFree(codes, beta=beta, entropy=entropy)
    return VectorQuantiser(codes, width, beta=beta, ema=ema, kmeans=kmeans, restart_dead=restart_dead)
