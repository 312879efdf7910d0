"""The members of a tar file of unknown origin, found in bounded work; damage costs what is damaged and no more.

Where a header is damaged the next sound one is looked for at the steps of 512 bytes that headers lie at, and what lies
between is reported. `tarfile` would end there, without a word.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

BLOCK = tarfile.BLOCKSIZE
LOOKED_AT = 4096  # blocks at once
MOST_NOTES = 1 << 20  # bytes of a long name, or of a member's attributes


@dataclass(frozen=True)
class TarMember:
    """One member: ``size`` bytes from ``offset`` on, of the type that `tarfile` numbers."""

    name: str
    offset: int
    size: int
    kind: bytes = tarfile.REGTYPE

    @property
    def regular(self) -> bool:
        """Whether it is a file."""
        return self.kind in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.kind == tarfile.DIRTYPE


@dataclass(frozen=True)
class Lost:
    """Where a header was expected and none was sound; ``name`` as far as it can be read, or ""."""

    name: str
    offset: int
    reason: str


def members(path: Path) -> Iterator[TarMember | Lost]:
    """Every member of the tar file at ``path``, in order, and what was lost to damage.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        end = path.stat().st_size
        at, told, notes = 0, False, _Notes()
        while at < end:
            file.seek(at)
            block = file.read(BLOCK)
            if len(block) < BLOCK:
                yield Lost("", at, "the file ends within a header")
                return
            if not block.strip(b"\0"):
                at = _after_zeros(file, at + BLOCK, end)
                continue
            found = _header(block)
            if found is None:
                if not told:
                    yield Lost(_name(block), at, "its header is damaged")
                told, notes = True, _Notes()
                at = _next_header(file, at + BLOCK, end)
                continue
            told = False
            data, size = at + BLOCK, found.size if _has_data(found.type) else 0
            if size < 0 or data + size > end:
                yield Lost(notes.name or found.name, at, "it is cut off: its bytes go beyond the end of the file")
                at, notes = _next_header(file, data, end), _Notes()
                continue
            at = data + -(-size // BLOCK) * BLOCK
            if found.type in _Notes.KINDS:
                notes.take(found.type, file.read(min(size, MOST_NOTES)))
            elif found.type == tarfile.GNUTYPE_SPARSE:
                yield Lost(notes.name or found.name, data, "a sparse file: write the shard without --sparse")
                at, notes = _next_header(file, at, end), _Notes()
            else:
                yield TarMember(notes.name or found.name, data, size, found.type)
                notes = _Notes()


class _Notes:
    """What extended headers say of the member behind them."""

    KINDS = (
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    )

    def __init__(self) -> None:
        self.name = ""

    def take(self, kind: bytes, data: bytes) -> None:
        if kind == tarfile.GNUTYPE_LONGNAME:
            self.name = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif kind in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            while data:  # records "LENGTH KEY=VALUE\n"
                length = data.partition(b" ")[0]
                if not length.isdigit() or not 0 < int(length[:9]) <= len(data):
                    return
                key, _, value = data[len(length) + 1 : int(length)].rstrip(b"\n").partition(b"=")
                if key == b"path":
                    self.name = value.decode("utf-8", "surrogateescape")
                data = data[int(length) :]


def _header(block: bytes) -> tarfile.TarInfo | None:
    """What a block says, where its checksum is right."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return None


def _name(block: bytes) -> str:
    """A name at the start of a damaged header, where it looks like one."""
    name = block[:100].split(b"\0")[0].decode("utf-8", "replace")
    return name if name.isprintable() and "\ufffd" not in name else ""


def _has_data(kind: bytes) -> bool:
    """Whether bytes follow the header: not of links, folders and devices, whatever size they state."""
    no_bytes = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
    return kind not in no_bytes


def _after_zeros(file: BinaryIO, at: int, end: int) -> int:
    """Where the next block that holds something lies, or the end."""
    while at < end:
        file.seek(at)
        part = file.read(LOOKED_AT * BLOCK)
        if rest := len(part.lstrip(b"\0")):
            return at + (len(part) - rest) // BLOCK * BLOCK
        at += len(part)
    return end


def _next_header(file: BinaryIO, at: int, end: int) -> int:
    """Where the next block with a right checksum lies, or the end."""
    while at < end:
        file.seek(at)
        part = file.read(LOOKED_AT * BLOCK)
        n = len(part) // BLOCK
        blocks = np.frombuffer(part, np.uint8, n * BLOCK).reshape(n, BLOCK)
        sums = blocks.sum(1, dtype=np.int64) - blocks[:, 148:156].sum(1, dtype=np.int64) + 8 * ord(" ")
        stated = blocks[:, 148:154].astype(np.int64)  # octal digits, spaces or zeros around them
        likely = ((stated == 0) | (stated == 32) | ((stated >= 48) & (stated < 56))).all(1) & (sums > 256)
        for k in np.flatnonzero(likely):
            if _header(part[k * BLOCK : (k + 1) * BLOCK]) is not None:
                return at + int(k) * BLOCK
        at += max(n, 1) * BLOCK
    return end
