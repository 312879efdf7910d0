"""Data by name or by path: the one door that recipes and commands use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zeuxis.data.array_files import array_file, open_arrays
from zeuxis.data.bit_depth import ALL, bits_and_folder
from zeuxis.data.datasets import open_dataset
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.entries import ENTRIES
from zeuxis.data.entries import providing as providing
from zeuxis.data.fit import SQUARE, Fit, parse_fit
from zeuxis.data.folder import open_folder
from zeuxis.data.hub import open_hub, settled
from zeuxis.data.hub_name import PREFIX, parse_hub_name
from zeuxis.data.own import NAME as OWN
from zeuxis.data.own import Own, OwnData
from zeuxis.data.pairing import HALVES, Enlarged, Halves, LayoutDrawn, paired, parse_pairing
from zeuxis.data.published import PUBLISHED, PublishedSet, copy_of, require_copy
from zeuxis.data.source import Source
from zeuxis.data.subset import subset
from zeuxis.data.tables import open_tables
from zeuxis.data.tables_name import tables_named
from zeuxis.data.unpaired import UnpairedSource
from zeuxis.data.unpaired_name import ARROW, two_collections
from zeuxis.data.worlds.faces import Faces
from zeuxis.data.worlds.motion import Motion, MotionClips
from zeuxis.data.worlds.nature import Plants, Terrain
from zeuxis.data.worlds.pairs import FacesPairs
from zeuxis.data.worlds.phantoms import JointPhantoms, Phantoms
from zeuxis.data.worlds.points import GridPoints, RingPoints
from zeuxis.data.worlds.rich.sources import RichScenes, SceneEdits
from zeuxis.data.worlds.rich.views import SceneDepth, SceneLight, SceneStyles
from zeuxis.data.worlds.scenes import Scenes, UnpairedScenes
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.fetching import named_in
from zeuxis.files import at_home
from zeuxis.spec import LEAST_SIDE, MOST_SIDE, Size, height_width, in_bounds, spell_size

WORLDS: Mapping[str, Callable[[int, str], Source]] = {
    "scenes": Scenes,
    "scenes-day-night": UnpairedScenes,
    "scenes-rich": RichScenes,
    "scenes-rich-unseen": partial(RichScenes, pairs="unseen"),
    "scenes-rich-all": partial(RichScenes, pairs="all"),
    "scenes-edits": SceneEdits,
    "scenes-styles": SceneStyles,
    "scenes-depth": SceneDepth,
    "scenes-light": SceneLight,
    "scenes-light-moving": partial(SceneLight, moving=True),
    "motion": Motion,
    "motion-clips": MotionClips,
    "faces": Faces,
    "faces-pairs": FacesPairs,
    "plants": Plants,
    "terrain": Terrain,
    "phantoms": Phantoms,
    "phantoms-pd": JointPhantoms,
    "ring": RingPoints,
    "grid": GridPoints,
}
ARCHIVES = {".zip": "zipfile", **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), "tarfile")}


def open_source(name: str | Path, size: Size | None = None, split: str = "train", fit: str | Fit = SQUARE) -> Source:
    """The dataset or world called ``name``, or the folder at that path, as pictures of ``size``:
    that many pixels a side, or height and width.

    A known name goes before a folder of the same name; ``./NAME`` is the folder, which may also lie in
    ``$ZEUXIS_DATA``, ``bits12:FOLDER`` one whose files of 16 bits hold 12 (`zeuxis.data.bit_depth`). A file of Parquet
    and a folder of such are tables of pictures, also spelled ``parquet:PATH`` (`zeuxis.data.tables_name`), a ``.npz``
    or ``.npy`` holds arrays of them (`zeuxis.data.array_files`);
    ``hub:OWNER/NAME`` is a dataset of the Hugging Face hub (`zeuxis.data.hub_name`). Of the papers' own sets
    (`zeuxis.data.published`) a copy is opened that is here already. What follows a bar degrades the pictures into
    sources of pairs: ``"fashion-mnist | blur:2 | noise:0.1"``, or says which pairs the data hold
    (`zeuxis.data.pairing`): ``"scenes | layout"``. ``"A -> B"`` are two collections of which no two belong together:
    sources and images. ``split`` is "train", "val" or "test"; without ``size`` pictures keep
    their natural shape. ``fit`` states how pictures of other proportions are shown in training (`zeuxis.data.fit`);
    held-out ones are centred parts, of ``patch`` without a change of resolution.

    Raises:
        UnknownName: neither; the nearest names are suggested.
        UsageError: a size or a fit that makes no sense.
        Unsupported: a shape that a world does not draw.
        DataError: it is known but cannot be read.
    """
    chosen = parse_fit(fit) if isinstance(fit, str) else fit
    if split != "train":
        chosen = chosen.held_out
    source = _opened(name, size, split, chosen)
    if str(name) in ENTRIES:
        source.sides = ENTRIES[str(name)].sides
    return source


def fit_for(card: Mapping[str, Any], data: str) -> Fit:
    """How pictures of ``data`` are shown to a model that is measured: as the held-out ones of its training were.

    ``card`` is the model's; data that have one shape of their own need no fit.
    """
    return SQUARE if data.partition("|")[0].strip() in ENTRIES else parse_fit(card.get("fit", str(SQUARE))).held_out


def trained_part(card: Mapping[str, Any], data: str, training: Source) -> Source:
    """What of the ``training`` pictures of ``data`` the model of ``card`` was trained on: a subset, where it was one.

    Of other data than the card's, or where there are fewer by now, all of them.
    """
    n = card.get("subset")
    return subset(training, n) if n is not None and card.get("data") == data and n <= len(training) else training


def _opened(name: str | Path, size: Size | None, split: str, chosen: Fit) -> Source:
    if size is not None and not in_bounds(size) and not _natural(str(name), size):
        raise UsageError(f"size {spell_size(size)}: pictures may have from {LEAST_SIDE} to {MOST_SIDE} pixels a side")
    text = str(name)
    if chosen.mixed and text in ENTRIES:
        raise UsageError(f"--fit {chosen}: '{text}' holds pictures of one shape; it is for folders and hub datasets")
    if text in WORLDS:
        return WORLDS[text](_side(text, size), split)
    if text in ENTRIES:
        return open_dataset(ENTRIES[text], size, split)
    if _is_published(text):
        return _open_published(PUBLISHED[text], size, split, chosen)
    bits, folder = bits_and_folder(name)
    if folder is not None:
        return open_folder(folder, size, split, chosen, bits=bits)
    if (two := two_collections(text)) is not None:
        origin, target = (open_source(part, size, split, chosen) for part in two)
        return UnpairedSource(text, target, origin)
    clean, bar, degradations = text.partition("|")
    if bar:
        pairing = parse_pairing(degradations)
        bits, folder = _folder(clean.strip())
        if isinstance(pairing, Halves) and folder is not None:
            return paired(open_folder(folder, size, split, chosen, halves=True, bits=bits), pairing)
        if isinstance(pairing, LayoutDrawn) and folder is not None:
            return paired(open_folder(folder, size, split, chosen, bits=bits, labels=True), pairing)
        if isinstance(pairing, Enlarged):
            if folder is None:
                raise Unsupported(
                    f"--pair {pairing} is of a folder of pairs, and '{clean.strip()}' is none: --pair bicubic:"
                    f"{pairing.factor} makes any pictures smaller"
                )
            return paired(open_folder(folder, size, split, chosen, factor=pairing.factor, bits=bits), pairing)
        if pairing is not None:
            return paired(open_source(clean.strip(), size, split, chosen), pairing)
        return DegradedSource(open_source(clean.strip(), size, split, chosen), parse_chain(degradations), split)
    if (tables := tables_named(text)) is not None:
        return open_tables(tables, size, split, chosen)
    if text.startswith(PREFIX):
        return open_hub(parse_hub_name(text), size, split, chosen)
    if (arrays := array_file(text)) is not None:
        return open_arrays(arrays, size, split, chosen)
    if at_home(name).is_file():
        if opener := next((opener for suffix, opener in ARCHIVES.items() if text.lower().endswith(suffix)), None):
            into = word(text[: text.rfind(".")].removesuffix(".tar"))
            shard = f", or --data {word(str(Path(text).parent))}, where it is a WebDataset shard"
            raise UsageError(
                f"'{text}' is an archive, and data is a folder: unpack it (python -m {opener} -e {word(text)} {into}), "
                f"and give --data {into}{shard if text.lower().endswith('.tar') else ''}"
            )
        raise UsageError(
            f"'{text}' is a file, and data is a folder of pictures or a dataset's name (zeuxis data lists them)"
        )
    if (file := named_in()) is not None and clean.strip() not in (*ENTRIES, *PUBLISHED):
        raise UsageError(
            f"{file} names the data '{text}', and there is neither a dataset nor, seen from {Path.cwd()}, a folder of "
            "that name: say where the pictures are with --data, or go to where it was trained"
        )
    raise UnknownName("dataset", text, [*ENTRIES, *PUBLISHED], "(zeuxis data lists them)", "folder")


def _is_published(name: str) -> bool:
    """Whether ``name`` means one of the papers' own sets: a folder of such a name that is no copy of it is a folder."""
    return name in PUBLISHED and (copy_of(PUBLISHED[name]) is not None or not Path(name).is_dir())


def _folder(name: str) -> tuple[int, Path | None]:
    """The bits and the folder of pictures that ``name`` means; None where it means something else."""
    if _is_published(name):
        return ALL, require_copy(PUBLISHED[name])
    return bits_and_folder(name)


def _open_published(entry: PublishedSet, size: Size | None, split: str, chosen: Fit) -> Source:
    """One split of the copy on this machine, read as such sets are, with names for the sides of its pairs."""
    folder = require_copy(entry)
    source = open_folder(folder, size, split, chosen, halves=entry.reads == "halves")
    if entry.reads == "halves" and entry.source_half != HALVES[0]:
        source = paired(source, Halves(entry.source_half))
    source.name, source.sides = entry.name, entry.sides
    return source


def _natural(name: str, size: Size) -> bool:
    """Whether that is the size that a world of points has."""
    return name in WORLDS and height_width(size) == ENTRIES[name].spec.shape[1:]


def _side(world: str, size: Size | None) -> int:
    """The side of a world's pictures, which are squares."""
    height, width = ENTRIES[world].spec.shape[1:] if size is None else height_width(size)
    if height != width:
        raise Unsupported(
            f"'{world}' draws squares, not {width}x{height}: give --size as one number, or a folder of its pictures"
        )
    return height


@dataclass(frozen=True)
class Named:
    """A dataset, a world or a folder by its name; what could change under the name is settled."""

    name: str

    def open(self, size: Size | None = None, split: str = "train", fit: str | Fit = SQUARE) -> Source:
        if self.name.startswith(OWN):
            raise UsageError(f"'{self.name}' were pictures given from Python: give them again as data=")
        return open_source(self.name, size, split, fit)


Data = Named | OwnData  # what can be opened as examples, each by ``open(size, split, fit)``


def data_of(data: str | Path | Data | Own) -> Data:
    """Whatever a user gives as data: a name or a folder, own pictures (see :class:`OwnData`), or data already."""
    match data:
        case Named() | OwnData():
            return data
        case str() | Path():
            return Named(pinned(str(data)))
        case _:
            return OwnData.of(data)


def pinned(name: str) -> str:
    """``name`` with what could change under it settled: of a hub dataset, the revision. It opens the same for ever."""
    if (two := two_collections(name)) is not None:
        return ARROW.join(map(pinned, two))
    clean, bar, degradations = name.partition("|")
    if not clean.startswith(PREFIX):
        return name
    return f"{settled(parse_hub_name(clean.strip()))}{' |' if bar else ''}{degradations}"
