"""Files as one zip that is written while it is sent, so that it takes no memory and no place. Imports no torch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

CHUNK = 1 << 20  # bytes at a time
DATE = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same files make the same zip


class _Sink(io.RawIOBase):
    """What was written since it was last taken; it cannot be sought in, so that sizes follow the files."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        added = bytes(data)  # type: ignore[call-overload]
        self._held += added
        return len(added)

    def taken(self) -> bytes:
        """What is held, which is let go of."""
        found = bytes(self._held)
        self._held.clear()
        return found


def zip_of(files: Sequence[Path]) -> Iterator[bytes]:
    """A zip of ``files`` under their own names, in parts of about a mebibyte; stored, for PNGs are packed already."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for path in files:
            entry = zipfile.ZipInfo(path.name, DATE)
            entry.file_size = path.stat().st_size  # from which on a large one is written as such
            with path.open("rb") as source, packed.open(entry, "w") as target:
                while part := source.read(CHUNK):
                    target.write(part)
                    yield sink.taken()
    yield sink.taken()
