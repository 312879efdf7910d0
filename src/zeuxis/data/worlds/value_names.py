"""What the values of worlds' factors are called, by world: a data specification has their numbers alone."""

from __future__ import annotations

from collections.abc import Mapping

from zeuxis.data.worlds import face, grammar, head, motion
from zeuxis.data.worlds.rich import facts

VALUE_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "faces": face.FACTORS,
    "phantoms": head.FACTORS,
    "scenes": grammar.VALUES,
    "scenes-rich": facts.VALUES,
    "motion": motion.VALUES,
}


def values_of(data: str, factor: str) -> tuple[str, ...]:
    """The names of the values of a factor of ``data``; none where they have none."""
    return VALUE_NAMES.get(data, {}).get(factor, ())
