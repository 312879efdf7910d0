"""How likely each caption of a world is, exactly: what a language model of them can at best come to know.

The world is taken over all its descriptions, whichever split they belong to: which of them are held out is a hash,
that nothing in the others reveals. So a held-out caption has the probability that it has in this distribution.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from types import MappingProxyType

import torch
from torch import Tensor

from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.scenes import OMITTED, SINGLES, descriptions
from zeuxis.errors import UsageError


@cache
def scenes() -> Mapping[str, float]:
    """The probability of every caption of ``scenes`` in training, by enumeration: 54,270 of them.

    A fifth of the scenes have one object; any two of a kind are equally likely, and so are the two orders in which
    a pair may be named. Several scenes share a caption that leaves the sizes or the time out: their shares add up.
    """
    rows = descriptions().tolist()
    singles = sum(row[1] == 0 for row in rows)
    found: Counter[str] = Counter()
    for row in rows:
        orders = (False,) if row[1] == 0 else (False, True)
        share = SINGLES / singles if row[1] == 0 else (1 - SINGLES) / (len(rows) - singles) / 2
        for swapped, sizes, time in product(orders, (True, False), (True, False)):
            caption = grammar.sentence(grammar.facts_from(row, swapped), sizes=sizes, time=time)
            found[caption] += share * math.prod(1 - OMITTED if kept else OMITTED for kept in (sizes, time))
    return MappingProxyType(dict(found))


CAPTION_LIKELIHOODS: Mapping[str, Callable[[], Mapping[str, float]]] = {"scenes": scenes}
"""The worlds whose captions can be enumerated. Those of ``scenes-rich`` are too many."""


def log_prob(world: str, captions: Sequence[str]) -> Tensor | None:
    """The log-probability in nats ``(B,)``, float64, of each caption in ``world``; None of other data.

    Raises :class:`UsageError` for a caption that never occurs there.
    """
    if world not in CAPTION_LIKELIHOODS:
        return None
    known = CAPTION_LIKELIHOODS[world]()
    for caption in captions:
        if caption not in known:
            raise UsageError(f"'{world}' has no caption '{caption}': give captions of its own")
    return torch.tensor([math.log(known[caption]) for caption in captions], dtype=torch.float64)


def entropy(world: str) -> float:
    """Of the captions of ``world``, in nats a caption."""
    return -math.fsum(p * math.log(p) for p in CAPTION_LIKELIHOODS[world]().values())
