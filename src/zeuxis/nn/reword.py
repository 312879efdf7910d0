"""Captions that are almost right: what a model of words without order, or of the loudest word alone, cannot tell apart.

Yuksekgonul et al. 2022, "When and why vision-language models behave like bags-of-words" (arXiv:2210.01936). They
exchange words of the same part of speech; here words are alike where they stand in the same places of captions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from zeuxis.rng import Rng

Words = Sequence[str]


def reworded(captions: Sequence[str], rng: Rng) -> tuple[str, ...]:
    """Each caption with two of its words exchanged, or with one replaced by what another caption says there.

    Words are exchanged that stand in each other's places in captions of as many words. What replaces one is drawn from
    a caption of as many words, or of one more or fewer ("above" by "left of"); words are not merely left out or added,
    for that may be true as well. Where nothing can be done a caption stays what it is.
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
        else:
            choices = list(_replacements(said, near[n][int(which * len(near[n]))]))
            if choices:
                span, new = choices[int(where * len(choices))]
                made[span] = new
        found.append(" ".join(made))
    return tuple(found)


def _replacements(said: Words, other: Words) -> Iterator[tuple[slice, list[str]]]:
    """Where one word of ``said`` (or two) may be replaced, and by what of ``other``.

    Before that place words are counted from the front, after it from the end; with unequal lengths the same word must
    follow in both.
    """
    more, fewer = max(0, len(other) - len(said)), max(0, len(said) - len(other))
    for j in range(min(len(said) - fewer, len(other) - more)):
        old, new = said[j : j + 1 + fewer], other[j : j + 1 + more]
        follows = said[j + 1 + fewer : j + 2 + fewer] == other[j + 1 + more : j + 2 + more]
        if not set(old) <= set(new) and not set(new) <= set(old) and (follows or len(said) == len(other)):
            yield slice(j, j + 1 + fewer), list(new)
