"""Looking a folder through before anything is learnt from it: what would be left out, and what is worth a look.

The rules are those by which pictures are used (`zeuxis.data.layouts`, `zeuxis.data.decode`), so what is reported
as left out here is what would be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from zeuxis.data.decode import PictureDecoder, in_threads
from zeuxis.data.folder import MOST_SKIPPED, homes
from zeuxis.data.layouts import Example, list_folder
from zeuxis.data.picture import FORMATS, PictureRefused, read_header
from zeuxis.errors import DataError
from zeuxis.spec import Size, height_width

TINY = 16  # pixels: the shorter side below which little can be learnt
TRIAL = 64  # pixels a side that pictures are decoded to


@dataclass(frozen=True)
class FileFinding:
    """A file that is worth a look. ``left_out`` says whether it would not be used."""

    path: str
    kind: str  # "damaged", "huge", "unpaired", ... or, of files that are used, "duplicate", "tiny", "animated"
    message: str
    left_out: bool


@dataclass(frozen=True)
class Checked:
    """What a folder holds."""

    folder: str
    pictures: int  # found, usable or not
    usable: int
    least: tuple[int, int]  # width and height of the smallest usable picture, by area; zeros where there is none
    most: tuple[int, int]
    findings: tuple[FileFinding, ...]

    @property
    def refused(self) -> bool:
        """Whether the folder would be refused as a whole, because too much of it cannot be used."""
        return not self.usable or self.pictures - self.usable > MOST_SKIPPED * self.pictures


def check(path: str | Path, size: Size | None = None) -> Checked:
    """Decode every picture of a folder and report what was found; nothing is written.

    With ``size``, pictures whose shorter side is below its shorter one count as tiny, since they would be enlarged.

    Raises:
        DataError: no folder, or a ``metadata.jsonl`` that cannot be read.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise DataError(f"'{root}' is no folder: give a folder of pictures")
    findings: list[FileFinding] = []
    sizes: list[tuple[int, int]] = []
    first_of: dict[bytes, str] = {}
    pictures = 0
    for home, classes in homes(root):
        listing = list_folder(home, classes)
        decoder = PictureDecoder(home, listing.examples, TRIAL, listing.members)
        prefix = "" if home == root else f"{home.name}/"
        pictures += len(listing.examples) + len(listing.skipped)
        skipped = [*listing.skipped, *decoder.skipped]
        findings += [FileFinding(prefix + one.path, one.kind, one.reason, True) for one in skipped]
        for example, found in _looked_at(decoder):
            name = prefix + example.image
            if isinstance(found, PictureRefused):
                findings.append(FileFinding(name, found.kind, str(found), True))
                continue
            sizes.append((found.width, found.height))
            findings += found.remarks(name, min(height_width(size or TINY)), first_of)
    least, most = (choose(sizes, key=_area, default=(0, 0)) for choose in (min, max))
    return Checked(str(root), pictures, len(sizes), least, most, tuple(findings))


@dataclass(frozen=True)
class _Look:
    """What decoding shows of a picture that can be used."""

    width: int
    height: int
    animated: bool
    digest: bytes  # of the size and the decoded pixels, at the trial's size

    def remarks(self, name: str, least: int, first_of: dict[bytes, str]) -> Iterator[FileFinding]:
        if self.animated:
            yield FileFinding(name, "animated", "several pictures in one file, of which the first is used", False)
        if min(self.width, self.height) < least:
            yield FileFinding(name, "tiny", f"{self.width}x{self.height}: it would be enlarged to {least}", False)
        if (twin := first_of.setdefault(self.digest, name)) != name:
            yield FileFinding(name, "duplicate", f"the same as {twin}, as far as {TRIAL} pixels a side show", False)


def _looked_at(decoder: PictureDecoder) -> Iterator[tuple[Example, _Look | PictureRefused]]:
    """Every example whose header was good, decoded once; a few are in memory at a time."""

    def look(row: int) -> _Look:
        example = decoder.examples[row]
        header = read_header(decoder.file(example.image))
        pixels = decoder.decode(row)
        digest = hashlib.sha256(repr((header.width, header.height)).encode())
        for part in pixels:
            digest.update(part.tobytes())
        return _Look(header.width, header.height, _animated(decoder.file(example.image)), digest.digest())

    yield from zip(decoder.examples, in_threads(look, range(len(decoder.examples))), strict=True)


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
