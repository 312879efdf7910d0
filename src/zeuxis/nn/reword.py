"""Captions that are almost right: what a model of words without order, or of the loudest word alone, cannot tell apart.

Yuksekgonul et al. 2022, "When and why vision-language models behave like bags-of-words" (arXiv:2210.01936). They
exchange words of the same part of speech; here words are alike where they stand in the same places of captions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from zeuxis.rng import Rng


def reworded(captions: Sequence[str], rng: Rng) -> tuple[str, ...]:
    """Each caption with two of its words exchanged, or with one replaced by what another caption says there.

    Words are exchanged that stand in each other's places in captions of as many words. Where a caption has no such
    pair, and one that was drawn to replace a word says the same, it stays what it is.
    """
    words = [caption.split() for caption in captions]
    at: defaultdict[tuple[int, int], set[str]] = defaultdict(set)  # by length and place
    for said in words:
        for place, word in enumerate(said):
            at[len(said), place].add(word)
    near = {n: [said for said in words if abs(len(said) - n) <= 1] for n in {len(said) for said in words}}
    found = []
    for said, (coin, which, where) in zip(words, rng.uniform(len(words), 3).tolist(), strict=True):
        n = len(said)
        pairs = [
            (j, k)
            for k in range(n)
            for j in range(k)
            if said[j] != said[k] and said[j] in at[n, k] and said[k] in at[n, j]
        ]
        made = list(said)
        if pairs and coin < 0.5:
            j, k = pairs[int(which * len(pairs))]
            made[j], made[k] = said[k], said[j]
        elif n:
            other = near[n][int(which * len(near[n]))]
            j = int(
                where * min(n, max(1, len(other)))
            )  # before it words are counted from the front, after it from the end
            made[j : j + 1 + max(0, n - len(other))] = other[j : j + 1 + max(0, len(other) - n)]
        found.append(" ".join(made))
    return tuple(found)
