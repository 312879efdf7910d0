"""Which differences between methods are more than training one of them again makes.

Two trainings of one recipe with other seeds differ. So a difference counts only where the figures of the one method
over its seeds all lie on one side of all of the other's. Of two equal methods with n seeds each that happens by chance
in 2 of C(2n, n) cases: 1 of 3 at two seeds, 1 of 10 at three, 1 of 35 at four; with one seed nothing can be said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

Values = Mapping[str, Sequence[float]]  # figures over the seeds, by recipe


def better_of(a: Sequence[float], b: Sequence[float], better: Literal["lower", "higher"]) -> int:
    """1 where all of ``a`` beat all of ``b``, -1 where all are beaten, 0 where their ranges meet: no verdict."""
    sign = -1 if better == "lower" else 1
    ours, theirs = [sign * x for x in a], [sign * x for x in b]
    return int(min(ours) > max(theirs)) - int(max(ours) < min(theirs))


def by_chance(a: int, b: int) -> float:
    """How often the ranges of ``a`` and of ``b`` draws of one distribution do not meet."""
    return 2 / math.comb(a + b, a)


def verdicts(values: Values, better: Literal["lower", "higher"]) -> list[str]:
    """A sentence for each pair of recipes that differ by more than retraining, and one that names the other pairs."""
    if any(len(of) < 2 for of in values.values()):
        return ["One training of each: how much training again moves a figure is not known, so no difference is sure."]
    told, open_pairs = [], []
    for (a, of_a), (b, of_b) in combinations(values.items(), 2):
        found = better_of(of_a, of_b, better)
        if found == 0:
            open_pairs.append(f"{a} and {b}")
        else:
            first, second = (a, b) if found > 0 else (b, a)
            told.append(f"{first} is better than {second}.")
    if open_pairs:
        told.append(f"No verdict, their seeds overlap: {'; '.join(open_pairs)}.")
    least = max(by_chance(len(of_a), len(of_b)) for of_a, of_b in combinations(values.values(), 2))
    told.append(f"Of two equal methods one would be called better in {least:.0%} of comparisons like this.")
    return told
