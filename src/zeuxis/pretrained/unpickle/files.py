"""The three forms of file: a zip and a row of pickles, as torch.save writes them, and one plain pickle."""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from typing import Any

from .bounds import MAX_MEMBERS, MAX_PICKLE, Refused, WorkBound
from .machine import Machine, ReadWithin
from .values import WIDTHS, Storage

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how checkpoints older than the zip format begin


def read_zip(data: mmap.mmap) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The value in a zip checkpoint, and where each storage lies: (first byte, bytes)."""
    with zipfile.ZipFile(io.BufferedReader(_Window(data))) as archive:
        there = [i for i in archive.infolist() if not i.is_dir()]
        if len(there) > MAX_MEMBERS:
            raise Refused(f"it has {len(there):,} members, and at most {MAX_MEMBERS:,} are read (bound: MAX_MEMBERS)")
        if any("/code/" in f"/{i.filename}" for i in there) and any(
            i.filename.endswith("constants.pkl") for i in there
        ):
            raise Refused(
                "it is a program of TorchScript, which is never run: give the weights (state_dict) it is made of"
            )
        if sum(i.file_size for i in there) > len(data):
            raise Refused("its members overlap, so that reading them takes longer than the file is long")
        members = {i.filename: _place(data, i) for i in there}
    roots = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if members and all(name.endswith(".npy") for name in members):
        raise Refused("it is an archive of arrays of numpy (.npz), not the weights of a network")
    if len(roots) != 1:
        raise Refused("it is a zip file, but not one that torch.save wrote")
    root = roots[0].removesuffix("data.pkl")
    if f"{root}byteorder" in members:
        start, length = members[f"{root}byteorder"]
        if data[start : start + min(length, 16)] != b"little":
            raise Refused("it was written on a big-endian machine")
    start, length = members[roots[0]]
    if length > MAX_PICKLE:
        raise Refused(f"its pickle is longer than {MAX_PICKLE >> 20} MiB")
    places = {name.removeprefix(f"{root}data/"): place for name, place in members.items()}
    return Machine(WorkBound(length), read_within).run(io.BytesIO(data[start : start + length])), places


class _Window(io.RawIOBase):
    """The mapped file as a stream, for ``zipfile``, which wants to close what it reads."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self.at, len(self.data))[whence]
        if at < 0:
            raise OSError("a seek before the start")
        self.at = at
        return at

    def readinto(self, buffer: Any) -> int:
        part = self.data[self.at : self.at + len(buffer)]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)


def _place(data: mmap.mmap, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member's bytes lie. Nothing is unpacked: torch.save stores members as they are."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
        raise Refused("a member of it is compressed or encrypted, which torch.save never does")
    head = data[info.header_offset : info.header_offset + 30]
    if len(head) < 30 or head[:4] != b"PK\3\4":
        raise Refused("its zip directory is damaged")
    start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
    if start + info.file_size > len(data):
        raise Refused("it is cut short")
    # A checksum of 0 is what torch.save writes when it is set not to compute any.
    if info.CRC and zlib.crc32(memoryview(data)[start : start + info.file_size]) != info.CRC:
        raise Refused("it is damaged: a checksum in it is wrong")
    return start, info.file_size


def read_pickles(data: mmap.mmap) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The same for the other forms: one pickle that holds all, or those of :func:`read_legacy`."""
    bound = WorkBound(len(data))
    first = Machine(bound, read_within).run(data)
    return read_legacy(data, len(data), bound, read_within) if first == MAGIC else (first, {})


def read_within(content: bytes, bound: WorkBound) -> Storage:
    """The storage in a file within the file, which torch.save wrote."""
    stream = io.BytesIO(content)
    if Machine(bound).run(stream) != MAGIC:
        raise Refused("what it says is a storage was not written by torch.save")
    value, places = read_legacy(stream, len(content), bound)
    if not isinstance(value, Storage) or value.key not in places:
        raise Refused("what it says is a storage is none")
    start, length = places[value.key]
    return Storage("", value.dtype, value.count, memoryview(content)[start : start + length])


def read_legacy(
    data: mmap.mmap | io.BytesIO, size: int, bound: WorkBound, within: ReadWithin | None = None
) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The older form, behind its first pickle: others one after the other, then the storages in the order they name."""
    if Machine(bound, within).run(data) != PROTOCOL:
        raise Refused("it is a pickle, but not one that torch.save wrote")
    Machine(bound, within).run(data)  # what machine wrote it
    machine = Machine(bound, within)
    value = machine.run(data)
    places = {}
    for key in Machine(bound, within).run(data):
        (count,) = struct.unpack("<q", data.read(8))
        length = count * WIDTHS[machine.storages[key].dtype]
        if count < 0 or data.tell() + length > size:
            raise Refused("it is cut short")
        places[key] = (data.tell(), length)
        data.seek(length, io.SEEK_CUR)
    return value, places
