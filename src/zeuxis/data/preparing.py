"""Decoding what is listed into the folder that is kept of it, and when too much of it is of no use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zeuxis.data import prepared
from zeuxis.data.cache import new_file, new_folder
from zeuxis.data.decode import PictureDecoder
from zeuxis.data.layouts import Listing
from zeuxis.data.source import Skipped, Values, tally
from zeuxis.errors import DataError, UsageError

SPLITS = ("train", "val", "test")
MOST_SKIPPED = 0.05
VARIABLE = "ZEUXIS_MOST_SKIPPED"


def prepare(
    decoder: PictureDecoder,
    listing: Listing,
    kept: Path,
    split: Callable[[Sequence[str]], Mapping[str, Sequence[int]]],
    origin: str = "",
    said: str = "",
) -> None:
    """Decode what is listed into the folder ``kept``; ``split`` divides the names of the pictures that were good.

    ``said`` is how they were read, where that is to be remembered with them.
    """
    home = decoder.root
    if decoder.failed:
        raise DataError(decoder.failed)
    total = len(listing.examples) + sum(one.fault for one in listing.skipped)
    if not total:
        left = "".join(f": {one.path} ({one.reason})" for one in listing.skipped[:1])
        raise DataError(f"no pictures in '{home}' that can be used{left}: look at it with zeuxis data --check")
    _refuse_too_many(home, [*listing.skipped, *decoder.skipped], total, kept)
    with new_folder(kept) as made:
        good = decoder.write(made)
        skipped = [*listing.skipped, *decoder.skipped]
        _refuse_too_many(home, skipped, total, kept)
        examples = decoder.examples
        fields: dict[str, Values] = {}
        if listing.class_names:
            fields["label"] = np.array([example.label for example in examples], np.int64)
        if any(example.caption is not None for example in examples):
            fields["caption"] = [example.caption or "" for example in examples]
        splits = split([examples[row].image for row in good])
        rows = {name: [good[position] for position in positions] for name, positions in splits.items()}
        facts = {"class_names": listing.class_names}
        if decoder.labels is not None:
            facts["layout_names"] = decoder.labels.names
        remarks = [*([tally(said, len(good), skipped)] if said else []), *decoder.remarks]
        known = prepared.Known(facts, splits=rows, skipped=skipped, origin=origin, remarks=remarks)
        prepared.write_prepared(made, fields, known)


def most_skipped() -> float:
    """The share of a folder's pictures that may be of no use: one in twenty, or what the environment says.

    Raises:
        UsageError: that is no share.
    """
    given = os.environ.get(VARIABLE, "")
    try:
        share = float(given) if given else MOST_SKIPPED
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{VARIABLE}={given}: a share from 0 (none) to 1 (all) is wanted, such as 0.2")
    return share


def _refuse_too_many(home: Path, skipped: Sequence[Skipped], total: int, kept: Path) -> None:
    faults = [one for one in skipped if one.fault]
    if len(faults) <= most_skipped() * total and len(faults) < total:
        return
    report = kept.with_suffix(".skipped.jsonl")
    with new_file(report) as made:
        prepared.write_skipped(made, skipped)
    some = "; ".join(f"{one.path} ({one.reason})" for one in faults[:3])
    raise DataError(
        f"{len(faults)} of {total} pictures in '{home}' cannot be used, more than {100 * most_skipped():.3g} %: {some}"
        f"{'; ...' if len(faults) > 3 else ''}: mend or remove them (all are listed in '{report}')"
        + (f", or allow more with {VARIABLE}={min(1.0, 0.01 + len(faults) / total):.2f}" if len(faults) < total else "")
    )
