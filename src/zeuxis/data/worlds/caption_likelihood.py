"""How likely each caption of a world is, exactly: what a language model of them can at best come to know.

The world is taken over all its descriptions, whichever split they belong to: which of them are held out is a hash,
that nothing in the others reveals. So a held-out caption, drawn as training captions are (``Source.told``), has the
probability that it has in this distribution, and no model comes below its entropy but by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.scenes import SINGLES, TIME_TELLINGS, size_tellings
from zeuxis.errors import UsageError

Form = tuple[bool, tuple[bool, bool], tuple[bool, bool]]
"""Of a caption: whether it has one object, which sizes it states, whether it states the time, and that first."""


def scenes(caption: str) -> float:
    """The probability of a caption of ``scenes`` in training; 0 where it has another form.

    A fifth of the scenes have one object; any two of a kind are equally likely, and so are the two orders in which
    a pair may be named. So a caption is as likely as its form, shared equally by all captions of that form.
    """
    try:
        facts = grammar.parse(caption)
    except UsageError:
        return 0.0
    sizes = (facts.first.size is not None, facts.second is None or facts.second.size is not None)
    for timed in TIME_TELLINGS:
        told = grammar.sentence(facts, grammar.Telling(True, True, *timed))
        if timed[0] == (facts.time is not None) and told == caption:
            p, n = scenes_forms()[facts.second is None, sizes, timed]
            return p / n
    return 0.0


def scenes_forms() -> Mapping[Form, tuple[float, int]]:
    """Of every form of captions of ``scenes``, how likely it is, and how many captions have it."""
    return dict(_forms())


def _forms() -> Iterator[tuple[Form, tuple[float, int]]]:
    thing = len(grammar.COLOURS) * len(grammar.SHAPES)
    for single, share in ((True, SINGLES), (False, 1 - SINGLES)):
        for sizes, of_sizes in size_tellings(single).items():
            for timed, of_time in TIME_TELLINGS.items():
                n = thing * (len(grammar.SIZES) if sizes[0] else 1) * (len(grammar.TIMES) if timed[0] else 1)
                if not single:
                    n *= len(grammar.RELATIONS) * thing * (len(grammar.SIZES) if sizes[1] else 1)
                yield (single, sizes, timed), (share * of_sizes * of_time, n)


def entropy() -> float:
    """Of the captions of ``scenes``, in nats a caption."""
    return math.fsum(p * math.log(n / p) for p, n in scenes_forms().values())


CAPTION_LIKELIHOODS: Mapping[str, Callable[[str], float]] = {"scenes": scenes}
"""The worlds whose captions have a known probability. Those of ``scenes-rich`` have too many phrasings."""


def log_prob(world: str, captions: Sequence[str]) -> Tensor | None:
    """The log-probability in nats ``(B,)``, float64, of each caption in ``world``; None of other data.

    Raises :class:`UsageError` for a caption that never occurs there.
    """
    if world not in CAPTION_LIKELIHOODS:
        return None
    found = [CAPTION_LIKELIHOODS[world](caption) for caption in captions]
    for caption, p in zip(captions, found, strict=True):
        if not p:
            raise UsageError(f"'{world}' has no caption '{caption}': give captions of its own")
    return torch.tensor(found, dtype=torch.float64).log()
