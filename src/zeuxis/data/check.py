"""Looking a folder through before anything is learnt from it: what would be left out, and what is worth a look.

The rules are those by which pictures are used (`zeuxis.data.layouts`, `zeuxis.data.decode`), so what is reported
as left out here is what would be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image

from zeuxis.data.arrange import Arranged, arrange
from zeuxis.data.array_files import array_file
from zeuxis.data.bit_depth import bits_and_folder
from zeuxis.data.decode import PictureDecoder, in_threads
from zeuxis.data.folder import TRIAL
from zeuxis.data.layouts import Example
from zeuxis.data.picture import FORMATS, IN_FLIGHT, PictureRefused, read_header
from zeuxis.data.preparing import most_skipped
from zeuxis.data.source import Array, Skipped
from zeuxis.data.tables import arranged_tables
from zeuxis.data.tables_name import TablesName, tables_named
from zeuxis.errors import UsageError
from zeuxis.escaping import word
from zeuxis.spec import Size, height_width

TINY = 16  # pixels: the shorter side below which little can be learnt


@dataclass(frozen=True)
class FileFinding:
    """A file that is worth a look. ``left_out`` says whether it would not be used."""

    path: str
    kind: str  # "damaged", "huge", "unpaired", ... or, of files that are used, "duplicate", "tiny", "animated"
    message: str
    left_out: bool


@dataclass(frozen=True)
class Checked:
    """What a folder holds, and the line that says how it was read."""

    folder: str
    read: str
    pictures: int  # found, usable or not
    usable: int
    least: tuple[int, int]  # width and height of the smallest usable picture, by area; zeros where there is none
    most: tuple[int, int]
    findings: tuple[FileFinding, ...]
    refused: bool  # as a whole, because too much of one split cannot be used
    remarks: tuple[str, ...] = ()  # what is odd about all of it


def check(path: str | Path, size: Size | None = None) -> Checked:
    """Decode every picture of a folder and report what was found; nothing is written.

    With ``size``, pictures whose shorter side is below its shorter one count as tiny, since they would be enlarged.

    Raises:
        DataError: no folder, or one whose splits cannot be told.
    """
    with _arranged(path) as (found, bits):
        return _checked(found, bits, size)


@contextmanager
def _arranged(path: str | Path) -> Iterator[tuple[Arranged, int]]:
    """What the folder or the tables at ``path`` hold, while this lasts, and where white is in files of 16 bits."""
    bits, folder = bits_and_folder(path)
    if folder is None and array_file(path) is not None:
        raise UsageError(
            f"'{path}' holds arrays, of which no picture is left out: zeuxis data {word(str(path))} shows them"
        )
    tables = tables_named(path) if folder is None else None
    if tables is None:
        found = arrange(path if folder is None else folder)
        if not found.tabled:
            yield found, bits
            return
        tables = TablesName(str(found.root))
    with arranged_tables(tables) as looked:
        yield looked, bits


def _checked(found: Arranged, bits: int, size: Size | None) -> Checked:
    findings = [FileFinding(one.path, one.kind, one.reason, True) for one in found.ignored]
    failed: list[Skipped] = []
    sizes: list[tuple[int, int]] = []
    first_of: dict[bytes, str] = {}
    pictures = usable = 0
    refused = False
    remarks: list[str] = list(found.remarks)
    for _, listing in found.parts:
        decoder = PictureDecoder(found.root, listing.examples, TRIAL, listing.members, bits=bits)
        bad = list(decoder.skipped)
        looks = []
        for example, look in _looked_at(decoder):
            if isinstance(look, PictureRefused):
                bad.append(Skipped(example.image, str(look), look.kind))
                continue
            looks.append(look)
            findings += look.remarks(example.image, min(height_width(size or TINY)), first_of)
        out = [one for one in (*listing.skipped, *bad) if one.picture]
        faults = sum(one.fault for one in out)
        findings += [FileFinding(one.path, one.kind, one.reason, True) for one in (*listing.skipped, *bad)]
        failed += bad
        sizes += [(look.width, look.height) for look in looks]
        pictures, usable = pictures + len(looks) + len(out), usable + len(looks)
        refused |= not looks or faults > most_skipped() * (len(looks) + faults)
        remarks += [*decoder.remarks, *decoder.too_dark()]
        for kind in ("empty", "full"):
            if looks and all(look.mask == kind for look in looks):
                remarks.append(f"every mask is {kind}: look whether they are the right ones")
    least, most = (choose(sizes, key=_area, default=(0, 0)) for choose in (min, max))
    line = found.line(failed)
    return Checked(
        str(found.root), line, pictures, usable, least, most, tuple(findings), refused, tuple(dict.fromkeys(remarks))
    )


@dataclass(frozen=True)
class _Look:
    """What decoding shows of a picture that can be used."""

    width: int
    height: int
    animated: bool
    digest: bytes  # of the size and the decoded pixels, at the trial's size
    mask: Literal["", "empty", "full"] = ""  # where it has one that is

    def remarks(self, name: str, least: int, first_of: dict[bytes, str]) -> Iterator[FileFinding]:
        if self.animated:
            yield FileFinding(name, "animated", "several pictures in one file, of which the first is used", False)
        if min(self.width, self.height) < least:
            yield FileFinding(name, "tiny", f"{self.width}x{self.height}: it would be enlarged to {least}", False)
        if self.mask:
            yield FileFinding(name, f"{self.mask} mask", f"its mask is {self.mask}", False)
        if (twin := first_of.setdefault(self.digest, name)) != name:
            yield FileFinding(name, "duplicate", f"the same as {twin}, as far as {TRIAL} pixels a side show", False)


def _looked_at(decoder: PictureDecoder) -> Iterator[tuple[Example, _Look | PictureRefused]]:
    """Every example whose header was good, decoded once; a few are in memory at a time."""

    def look(row: int) -> _Look:
        example = decoder.examples[row]
        with decoder.file(example.image) as file:
            header = read_header(file)
        pixels = decoder.decode(row)
        digest = hashlib.sha256(repr((header.width, header.height)).encode())
        for part in pixels:
            digest.update(part.tobytes())
        with IN_FLIGHT.of(header.room), decoder.file(example.image) as file:
            animated = _animated(file)
        return _Look(
            header.width, header.height, animated, digest.digest(), _kind_of(pixels[1]) if example.mask else ""
        )

    yield from zip(decoder.examples, in_threads(look, range(len(decoder.examples))), strict=True)


def _kind_of(mask: Array) -> Literal["", "empty", "full"]:
    return "empty" if not mask.any() else "full" if mask.all() else ""


def _animated(file: Path | BinaryIO) -> bool:
    """Whether another picture follows the first."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            picture.seek(1)
    except EOFError:
        return False
    except Exception:  # noqa: BLE001  (it follows, but is damaged: decoders raise nearly anything)
        return True
    return True


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
