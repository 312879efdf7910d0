"""Setting examples apart for validation and test, the same ones on every machine and for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

TEST = VAL = 0.1  # parts of a set without a public test set
MOST_VAL = 5000


def carve(name: str, groups: Sequence[str], test: Sequence[bool] | None = None) -> dict[str, list[int]]:
    """Rows of each split, in ascending order.

    Args:
        name: of the dataset; the choice depends on it.
        groups: per row, what must not be torn apart (a person, a scene); distinct strings where rows are free.
        test: per row, whether it belongs to the public test set. Where None, groups are taken in the
            order of the SHA-256 of ``name/group`` until a tenth of the rows is set apart for test.

    Validation takes the next groups in the same order, until a tenth of the rows, or 5,000, are reached.
    """
    free = len(groups) if test is None else len(groups) - sum(map(bool, test))
    wanted = {"test": 0 if test is not None else int(free * TEST), "val": min(MOST_VAL, int(free * VAL))}
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        if test is None or not test[row]:
            members.setdefault(group, []).append(row)
    order = sorted(members, key=lambda group: hashlib.sha256(f"{name}/{group}".encode()).digest())
    splits: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for group in order:
        short = next((s for s in ("test", "val") if len(splits[s]) < wanted[s]), "train")
        splits[short] += members[group]
    if test is not None:
        splits["test"] = np.flatnonzero(np.asarray(test)).tolist()
    return {split: sorted(rows) for split, rows in splits.items()}
