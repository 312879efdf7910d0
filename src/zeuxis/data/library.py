"""Data by name or by path: the one door that recipes and commands use."""

from __future__ import annotations

from pathlib import Path

from zeuxis.data.datasets import open_dataset
from zeuxis.data.entries import ENTRIES
from zeuxis.data.source import Source
from zeuxis.errors import UnknownName


def open_source(name: str | Path, size: int | None = None, split: str = "train") -> Source:
    """The dataset or world called ``name``, or the folder at that path, as pictures of ``size`` pixels a side.

    Raises:
        UnknownName: neither; the nearest names are suggested.
        DataError: it is known but cannot be read.
    """
    if str(name) in ENTRIES:
        return open_dataset(ENTRIES[str(name)], size, split)
    raise UnknownName("dataset", str(name), ENTRIES)
