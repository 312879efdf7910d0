"""Data by name or by path: the one door that recipes and commands use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from zeuxis.data.datasets import open_dataset
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.entries import ENTRIES
from zeuxis.data.entries import giving as giving
from zeuxis.data.folder import open_folder
from zeuxis.data.source import Source
from zeuxis.data.worlds.faces import Faces
from zeuxis.data.worlds.nature import Plants, Terrain
from zeuxis.data.worlds.phantoms import JointPhantoms, Phantoms
from zeuxis.data.worlds.scenes import Scenes, UnpairedScenes
from zeuxis.degrade.language import parse
from zeuxis.errors import UnknownName, UsageError

WORLDS: Mapping[str, Callable[[int, str], Source]] = {
    "scenes": Scenes,
    "scenes-day-night": UnpairedScenes,
    "faces": Faces,
    "plants": Plants,
    "terrain": Terrain,
    "phantoms": Phantoms,
    "phantoms-pd": JointPhantoms,
}
LEAST_SIZE, MOST_SIZE = 4, 4096


def open_source(name: str | Path, size: int | None = None, split: str = "train") -> Source:
    """The dataset or world called ``name``, or the folder at that path, as pictures of ``size`` pixels a side.

    A known name goes before a folder of the same name; ``./NAME`` is the folder. What follows a bar degrades
    the pictures into sources of pairs: ``"fashion-mnist | blur:2 | noise:0.1"``. ``split`` is "train",
    "val" or "test"; without ``size`` pictures keep their natural shape.

    Raises:
        UnknownName: neither; the nearest names are suggested.
        UsageError: a size that makes no sense.
        DataError: it is known but cannot be read.
    """
    if size is not None and not LEAST_SIZE <= size <= MOST_SIZE:
        raise UsageError(f"size {size}: pictures may have from {LEAST_SIZE} to {MOST_SIZE} pixels a side")
    text = str(name)
    if text in WORLDS:
        return WORLDS[text](size or ENTRIES[text].shape[1], split)
    if text in ENTRIES:
        return open_dataset(ENTRIES[text], size, split)
    if Path(name).expanduser().is_dir():
        return open_folder(name, size, split)
    clean, bar, degradations = text.partition("|")
    if bar:
        return DegradedSource(open_source(clean.strip(), size, split), parse(degradations))
    raise UnknownName("dataset", text, ENTRIES, "(and there is no folder of that name)")
