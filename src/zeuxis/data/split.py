"""Setting examples apart for validation and test, the same ones on every machine and for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SHARE = 0.1  # of the examples, for each part that is set apart
MOST = {"test": 10_000, "val": 5_000}


def carve(name: str, groups: Sequence[str], parts: Sequence[str] = ("test", "val")) -> dict[str, list[int]]:
    """Positions in ``groups`` of every split, ascending: ``parts``, and "train" for what remains.

    Args:
        name: of the dataset; the choice depends on it.
        groups: per example, what must not be torn apart (a person, a scene); distinct strings where
            examples are free of each other.
        parts: what to set apart. Groups are taken in the order of the SHA-256 of ``name/group`` until a
            tenth of the examples (at most 10,000 for test and 5,000 for val) is reached, part after part;
            a group that would overshoot is passed over.
    """
    wanted = {part: min(MOST[part], int(len(groups) * SHARE)) for part in parts}
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    splits: dict[str, list[int]] = {"train": [], **{part: [] for part in parts}}
    for group in sorted(members, key=lambda g: hashlib.sha256(f"{name}/{g}".encode(errors="surrogateescape")).digest()):
        short = next((p for p in parts if len(splits[p]) + len(members[group]) <= wanted[p]), "train")
        splits[short] += members[group]
    return {split: sorted(positions) for split, positions in splits.items()}
