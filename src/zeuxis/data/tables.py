"""Tables of pictures as sources: Parquet files on this machine, and what those of the hub share with them.

The files of the pictures are copied out of the tables and decoded as those of a folder are: once, within the same
bounds, and what cannot be used is skipped. Splits are those of the files' names (`zeuxis.data.table_files`); what is
missing of them is set apart from the training pictures, as in a folder.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from zeuxis.data import parquet, prepared
from zeuxis.data.arrange import Arranged
from zeuxis.data.bit_depth import ALL
from zeuxis.data.cache import cache_dir, explained
from zeuxis.data.contents import Contents
from zeuxis.data.decode import PictureDecoder
from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.hub_name import HubName
from zeuxis.data.layouts import Listing
from zeuxis.data.preparing import SPLITS, prepare
from zeuxis.data.source import ArraySource, Skipped
from zeuxis.data.split import carve
from zeuxis.data.splits import Home
from zeuxis.data.survey import survey
from zeuxis.data.table_files import TableFile, of_config, parts_of
from zeuxis.data.table_rows import Mapped, Row, listed, mapped
from zeuxis.data.tables_name import SUFFIX, TablesName
from zeuxis.errors import DataError, NoSuchPath, UnknownName, UsageError
from zeuxis.files import at_home, draft_folder
from zeuxis.spec import Size, spell_size

Part = tuple[str, Path]  # a split, and a file of it


def open_tables(
    name: TablesName, size: Size | None = None, split: str = "train", fit: Fit = SQUARE, bits: int = ALL
) -> ArraySource:
    """The pictures in a Parquet file or in a folder of such, brought to ``size`` by ``fit``; else as `open_folder`.

    Raises:
        UsageError: pyarrow is not installed; pictures of several sizes, or a fit that needs one, and no ``size``.
        DataError: no tables, no pictures in them, or more than one in twenty that cannot be used.
        UnknownName: no such split, config or column.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if fit.mixed and size is None:
        raise UsageError(f"--fit {fit}: to which size? Give --size (in a recipe: size)")
    found = _Tables(name)
    kept = cache_dir() / "prepared" / f"tables-{spell_size(size)}-{found.key(size, fit, bits)}"

    def decoded() -> None:
        parquet.require_pyarrow("tables of Parquet are")
        with unpacked(name, found.parts, kept) as listing:
            decoder = PictureDecoder(found.path, listing.examples, size, listing.members, fit, bits=bits)
            prepare(decoder, listing, kept, found.divided, said=listing.how)

    def opened(part: str) -> ArraySource:
        return prepared.open_prepared(kept, decoded, found.path.name, part, fit, size)

    source = prepared.held_out_or_learnt(opened, split, "give ten or more", str(found.path))
    source.ignored = found.ignored
    return source


@contextmanager
def arranged_tables(name: TablesName) -> Iterator[Arranged]:
    """What tables hold, as a folder is understood; the files of their pictures lie in a draft that is removed again."""
    parquet.require_pyarrow("tables of Parquet are")
    found = _Tables(name)
    with unpacked(name, found.parts, cache_dir() / "prepared" / "tables-looked-at") as listing:
        of_split: dict[str, Listing] = {}
        for part, _ in found.parts:
            of_split.setdefault(part, Listing(class_names=listing.class_names, members=listing.members))
        for example in listing.examples:
            of_split[example.image.partition("/")[0]].examples.append(example)
        for one in listing.skipped:
            of_split[one.path.partition("/")[0]].skipped.append(one)
        parts = [(Home(split=part, name=part), each) for part, each in of_split.items()]
        yield Arranged(found.path, parts, found.ignored, listing.how)


class _Tables:
    """Tables that were found on this machine, and the splits that they are of."""

    def __init__(self, name: TablesName) -> None:
        given = at_home(name.path)
        self.path = given.absolute() if given.is_file() else given.resolve()  # a file keeps the name that it is given
        files, self.ignored = _found(self.path, name)
        chosen = parts_of(name, of_config(name, files))
        root = self.path if self.path.is_dir() else self.path.parent
        self.parts = [(part, root / file.path) for part, held in chosen.items() for file in held]
        read = {path for _, path in self.parts}
        others = [file.path for file in files if root / file.path not in read]
        self.ignored += tuple(Skipped(path, "of another split or config: see parquet:", "table") for path in others)
        self.name, self.contents = name, Contents(self.path, [path for _, path in self.parts])

    def key(self, size: Size | None, fit: Fit, bits: int) -> str:
        """A hash of all that decides the prepared arrays: bytes, splits, what is wanted of them, and the target."""
        wanted = replace(self.name, path="")
        facts = (prepared.FORMAT, str(wanted), [part for part, _ in self.parts], size, str(fit), bits)
        return hashlib.sha256(ascii((*facts, self.contents.digest())).encode()).hexdigest()[:24]

    def divided(self, names: Sequence[str]) -> Mapping[str, Sequence[int]]:
        self.contents.require_unchanged()  # all is decoded: from the bytes that the key was made of
        return divided("folder", names)


def _found(path: Path, name: TablesName) -> tuple[list[TableFile], tuple[Skipped, ...]]:
    """The tables at ``path``, and what else lies in a folder of them."""
    if path.is_file():
        return [TableFile(path.name, path.stat().st_size)], ()
    if not path.is_dir():
        raise NoSuchPath("folder or file", name.path)
    looked = survey(path)
    if not looked.tables:
        unused = next((f": {one.path} {one.reason}" for one in looked.ignored if one.path.endswith(SUFFIX)), "")
        raise DataError(f"there is no file ending in {SUFFIX} in '{path}' that can be read{unused}")
    files = [TableFile(table, (path / table).stat().st_size) for table in looked.tables]
    beside = [Skipped(one, "a picture beside tables, of which those are read", "beside") for one in looked.pictures]
    return files, (*looked.ignored, *beside)


@contextmanager
def unpacked(name: HubName | TablesName, parts: Sequence[Part], kept: Path) -> Iterator[Listing]:
    """The listing of the tables ``parts``, whose pictures' files lie beside ``kept`` while this lasts.

    Raises:
        DataError: a table is none, lacks the pictures that others have, or there is no room for the pictures.
    """
    with explained(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
    needed, free = sum(path.stat().st_size for _, path in parts), shutil.disk_usage(kept.parent).free
    if needed > free:
        raise DataError(
            f"'{name}' has {needed / 1e6:,.0f} MB of tables, whose pictures are unpacked for a while, and "
            f"'{kept.parent}' has {free / 1e6:,.0f} MB free: set ZEUXIS_CACHE to a folder with more"
        )
    columns = mapped(name, parquet.columns(parts[0][1]))
    with draft_folder(kept) as room:
        with explained(kept):
            listing = listed(_rows(parts, columns), columns, room / "pictures", name)
        yield listing


def _rows(parts: Sequence[Part], columns: Mapped) -> Iterator[tuple[str, Row | parquet.LostRow]]:
    """Every row with its name: the split, and its number there. Labels count as the first file names them."""
    counts = dict.fromkeys(SPLITS, 0)
    for part, path in parts:
        known = {column.name: column for column in parquet.columns(path)}
        if columns.image not in known:
            raise DataError(f"'{path}' has no column '{columns.image}', as other tables beside it: remove it")
        names = known[columns.label].class_names if columns.label in known else ()
        others = names if names != columns.class_names else ()
        for row in parquet.rows(path, columns.wanted):
            yield f"{part}/{counts[part]:08d}", _renamed(row, columns, others)
            counts[part] += 1


def _renamed(row: Row | parquet.LostRow, columns: Mapped, others: Sequence[str]) -> Row | parquet.LostRow:
    """``row`` with its class by name, where its file numbers ``others`` than the first."""
    if isinstance(row, parquet.LostRow) or columns.label is None or not others:
        return row
    label = row.get(columns.label)
    return row if type(label) is not int or not 0 <= label < len(others) else {**row, columns.label: others[label]}


def divided(seed: str, names: Sequence[str]) -> dict[str, list[int]]:
    """The positions of every split among ``names``; those that are missing are set apart from "train"."""
    found: dict[str, list[int]] = {}
    for position, key in enumerate(names):
        found.setdefault(key.partition("/")[0], []).append(position)
    train = found.pop("train", [])
    carved = carve(seed, [names[k] for k in train], tuple(s for s in ("test", "val") if s not in found))
    return found | {split: [train[k] for k in positions] for split, positions in carved.items()}
