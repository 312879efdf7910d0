"""Why a picture is not used, and what a file is that only has a picture's name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LFS = b"version https://git-lfs"
IMPOSTORS = {  # how files begin that often lie where a picture should
    LFS: "a pointer of Git LFS: fetch the picture with git lfs pull",
    b"<!doctype html": "a page of HTML",
    b"<html": "a page of HTML",
    b"<?xml": "XML, perhaps SVG: convert it to PNG",
    b"<svg": "SVG: convert it to PNG",
    b"%pdf": "a PDF: convert it to PNG",
    b"%!ps": "PostScript: convert it to PNG",
    b"8bps": "a Photoshop file: convert it to PNG",
    b"\xff\x0a": "JPEG XL: convert it to PNG or JPEG",
}

UNKNOWN = "cannot identify image file: no picture of a usual format"


class PictureRefused(Exception):
    """A picture that cannot be used; the message is the reason, ``kind`` one word for it."""

    def __init__(self, reason: str, kind: str = "damaged") -> None:
        super().__init__(reason)
        self.kind = kind

    @property
    def passing(self) -> bool:
        """Whether the reason lies in this moment and not in the file: it is not to be remembered."""
        return self.kind in ("memory", "unreadable")


@contextmanager
def stream_of(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The bytes of ``file`` from their start; one that is open already stays so, at its start."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            yield stream
    else:
        file.seek(0)
        yield file
        file.seek(0)


def bytes_of(file: Path | BinaryIO) -> int:
    """How long a file is."""
    with stream_of(file) as stream:
        return stream.seek(0, os.SEEK_END)


def impostor(file: Path | BinaryIO) -> PictureRefused:
    """What a file is that is no picture of a usual format."""
    with stream_of(file) as stream:
        head = stream.read(64)
    if not head:
        return PictureRefused("an empty file")
    if not head.strip(b"\0"):
        return PictureRefused("nothing but zeros, as an interrupted copy leaves them")
    if head[4:8] == b"ftyp":
        brand = "AVIF" if head[8:11] == b"avi" else "HEIC, or a film"
        return PictureRefused(f"holds {brand}, whatever its name says: convert it to PNG or JPEG", "unsupported")
    known = next((what for magic, what in IMPOSTORS.items() if head.lower().lstrip().startswith(magic)), None)
    return PictureRefused(known or UNKNOWN)
