"""The members of a tar file of unknown origin, found in bounded work; damage costs what is damaged and no more.

Where a header is damaged the next sound one is looked for at the steps of 512 bytes that headers lie at, and what lies
between is reported. `tarfile` ends at such a header without a word (or, told to ignore it, goes on without one), and
raises where it follows another that speaks of it.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

BLOCK = tarfile.BLOCKSIZE
MOST_AT_ONCE = 4096  # blocks
LENGTH = re.compile(rb"([0-9]{1,9}) ")  # of a record: there are no longer ones in so few bytes
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
            for key, value in _records(data):
                if key == b"path":
                    self.name = value.decode("utf-8", "surrogateescape")


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of an extended header's records, "LENGTH KEY=VALUE\\n", as far as their lengths are sound."""
    at = 0
    while found := LENGTH.match(data, at):
        end = at + int(found[1])
        if not found.end() <= end <= len(data):
            return
        key, _, value = data[found.end() : end].rstrip(b"\n").partition(b"=")
        yield key, value
        at = end


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


def _windows(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The whole blocks (N, 512) from byte ``at`` on with where they begin: one, then twice as many, and so on, so that
    no more is read than a few times what is passed over."""
    many = 1
    while at < end:
        file.seek(at)
        part = file.read(many * BLOCK)
        n = len(part) // BLOCK
        if n:
            yield at, np.frombuffer(part, np.uint8, n * BLOCK).reshape(n, BLOCK)
        at += max(n, 1) * BLOCK
        many = min(2 * many, MOST_AT_ONCE)


def _after_zeros(file: BinaryIO, at: int, end: int) -> int:
    """Where the next block that holds something lies, or the end."""
    for start, blocks in _windows(file, at, end):
        if len(found := np.flatnonzero(blocks.any(1))):
            return start + int(found[0]) * BLOCK
    last = end // BLOCK * BLOCK  # a part of a block, if anything
    file.seek(last)
    return last if file.read(BLOCK).strip(b"\0") else end


def _next_header(file: BinaryIO, at: int, end: int) -> int:
    """Where the next block with a right checksum lies, or the end."""
    for start, blocks in _windows(file, at, end):
        sums = blocks.sum(1, dtype=np.int64) - blocks[:, 148:156].sum(1, dtype=np.int64) + 8 * ord(" ")
        stated = blocks[:, 148:154].astype(np.int64)  # octal digits, spaces or zeros around them
        likely = ((stated == 0) | (stated == 32) | ((stated >= 48) & (stated < 56))).all(1) & (sums > 256)
        for k in np.flatnonzero(likely):
            if _header(blocks[k].tobytes()) is not None:
                return start + int(k) * BLOCK
    return end
