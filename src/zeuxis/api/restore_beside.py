"""What a picture's file says beside its pixels, and how a PNG says it: the camera's notes, what the numbers of its
colours mean, and how large it is in print.
"""

from __future__ import annotations

import math
import struct
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from PIL import Image

from zeuxis.data.picture import ORIENTATION
from zeuxis.data.png_chunks import png_chunks

WIDTH, HEIGHT = 0xA002, 0xA003  # EXIF's own words for the size, in the block of the camera's settings
CAMERA, PLACE = 0x8769, 0x8825  # blocks of EXIF: the camera's settings, and where it was
# What of a TIFF's tags are a camera's or a scanner's notes (description, make, model, software, date, artist,
# copyright): the rest says how its pixels are kept.
NOTES_OF_TIFF = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
COLOUR_CHUNKS = (b"cICP", b"gAMA", b"cHRM", b"sRGB")  # of PNG: what its numbers mean, beside a profile
MOST_MEANING = 64  # bytes of such a chunk
INCH = 0.0254  # metres
Chunks = list[tuple[bytes, bytes]]  # of PNG: kinds and contents


def camera_notes(file: Image.Image, notes: list[str]) -> bytes | None:
    """The camera's notes, without how the picture is turned; damaged ones are told of in ``notes``."""
    try:
        found = file.getexif()
        if file.format == "TIFF":
            found = _notes_of_tiff(found)
        elif ORIENTATION in found:
            del found[ORIENTATION]
        return found.tobytes() if len(found) else None
    except Exception:  # noqa: BLE001  (of damaged notes nearly anything, which says nothing against the picture)
        notes.append("its camera's notes (EXIF) are damaged, and left out")
        return None


def _notes_of_tiff(found: Image.Exif) -> Image.Exif:
    """The camera's notes among the tags of a TIFF, as other files have them."""
    notes = Image.Exif()
    notes.update({tag: found[tag] for tag in NOTES_OF_TIFF if tag in found})
    notes.update({block: dict(inner) for block in (CAMERA, PLACE) if (inner := found.get_ifd(block))})
    return notes


def exif_at(exif: bytes | None, width: int, height: int) -> bytes | None:
    """The same camera's notes, with the size where they tell one."""
    if exif is None:
        return None
    notes = Image.Exif()
    notes.load(exif)
    blocks: dict[tuple[int, int], MutableMapping[int, Any]] = {(0x0100, 0x0101): notes}  # some cameras write both
    if CAMERA in notes:  # which to look for it would make
        blocks[WIDTH, HEIGHT] = notes.get_ifd(CAMERA)
    for tags, block in blocks.items():
        block.update({tag: side for tag, side in zip(tags, (width, height), strict=True) if tag in block})
    return notes.tobytes()


def colour_chunks(path: Path) -> Chunks:
    """What a PNG says of its numbers beside a colour profile; nothing of other files."""
    with path.open("rb") as file:
        try:
            return [
                (kind, file.read(length))
                for kind, length in png_chunks(file)
                if kind in COLOUR_CHUNKS and length <= MOST_MEANING
            ]
        except ValueError:  # it is no PNG
            return []


def pixels_to_a_metre(dpi: object, *, turned: bool) -> Chunks:
    """PNG's chunk of the resolution for print, of pixels to an inch along both sides."""
    try:
        across, down = (float(number) for number in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):  # none, or no numbers
        return []
    sides = (down, across) if turned else (across, down)
    if not all(math.isfinite(side) and side > 1 and side / INCH < 1 << 31 for side in sides):
        return []
    return [(b"pHYs", struct.pack(">IIB", *(round(side / INCH) for side in sides), 1))]
