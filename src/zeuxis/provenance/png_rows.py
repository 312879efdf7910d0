"""A PNG written row by row, of 8 or 16 bits: a picture that memory need not hold at once.

Each row is kept as one of PNG's filters predicts it best (the least sum of absolute differences, as the standard
recommends); the file appears whole or not at all.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from zeuxis.data.deep_png import paeth
from zeuxis.data.png_chunks import SIGNATURE
from zeuxis.errors import ZeuxisError, mend_of
from zeuxis.files import draft_beside

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's kinds of colour by channels: grey, grey and alpha, RGB, RGBA
LEVEL = 6  # of compression
AT_ONCE = 4 << 20  # bytes of rows for which filters are tried
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class PngRows:
    """Writes ``path`` from the top to the bottom; use it as a context manager.

    Args:
        size: width and height.
        channels: 1 to 4: grey, grey and alpha, RGB, RGBA.
        bits: 8 or 16.
        chunks: kinds and contents of what lies before the pixels (text, profile, EXIF).

    Raises :class:`ZeuxisError` where it cannot be written.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], channels: int, bits: int, chunks: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self.path, self.channels, self.bits = path, channels, bits
        self.width, self.height = size
        self.rows = 0
        self.above = np.zeros(self.width * channels * bits // 8, np.uint8)  # the last row written
        self.packer = zlib.compressobj(LEVEL)
        head = struct.pack(">IIBBBBB", *size, bits, COLOURS[channels], 0, 0, 0)
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.draft = draft_beside(path)
            self.file = self.draft.open("xb")
            try:
                self.file.write(SIGNATURE)
                for kind, content in ((b"IHDR", head), *chunks):
                    self._chunk(kind, content)
            except BaseException:
                self._drop()
                raise

    def write(self, rows: Pixels) -> None:
        """Add rows ``(n, W, C)``."""
        wanted = np.uint8 if self.bits == 8 else np.uint16
        if rows.dtype != wanted or rows.shape[1:] != (self.width, self.channels):
            raise ValueError(
                f"rows of {rows.dtype} {rows.shape}: {self.width} pixels of {self.channels} are written here"
            )
        if not len(rows):
            return
        values = rows if self.bits == 8 else rows.astype(">u2")
        plain = np.ascontiguousarray(values).view(np.uint8).reshape(len(rows), -1)
        many = max(1, AT_ONCE // plain.shape[1])
        for k in range(0, len(plain), many):
            part = plain[k : k + many]
            with _explained(self.path):
                self._data(self.packer.compress(self._filtered(part).tobytes()))
            self.above = part[-1].copy()
        self.rows += len(rows)

    def _filtered(self, plain: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rows ``(n, bytes)`` as ``(n, 1 + bytes)``: the number of a filter, and what it leaves."""
        step = self.channels * self.bits // 8
        up = np.vstack([self.above[None], plain[:-1]])
        left, corner = np.zeros_like(plain), np.zeros_like(plain)
        left[:, step:], corner[:, step:] = plain[:, :-step], up[:, :-step]
        kept = [plain, plain - left, plain - up, plain - paeth(left, up, corner)]  # filters 0, 1, 2 and 4
        costs = np.stack([np.abs(one.view(np.int8).astype(np.int16)).sum(1, dtype=np.int64) for one in kept])
        best = costs.argmin(0)
        made = np.empty((len(plain), plain.shape[1] + 1), np.uint8)
        for k, (number, one) in enumerate(zip((0, 1, 2, 4), kept, strict=True)):
            made[best == k, 0], made[best == k, 1:] = number, one[best == k]
        return made

    def _data(self, content: bytes) -> None:
        if content:
            self._chunk(b"IDAT", content)

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self.file.write(struct.pack(">I", len(content)) + kind + content)
        self.file.write(struct.pack(">I", zlib.crc32(kind + content)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.rows != self.height:
                raise ValueError(f"{self.rows} rows of {self.height} were written")
            with _explained(self.path), self.file:
                if kind is None:
                    self._data(self.packer.flush())
                    self._chunk(b"IEND", b"")
                    self.file.flush()
                    os.fsync(self.file.fileno())
            if kind is None:
                with _explained(self.path):
                    self.draft.replace(self.path)
        finally:
            self._drop()

    def _drop(self) -> None:
        """Close and remove the draft, where it is still there."""
        self.file.close()
        self.draft.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what a disk refuses into an error that says what to do."""
    try:
        yield
    except OSError as error:
        mend = mend_of(error, "give another --out")
        raise ZeuxisError(f"cannot write {path}: {error.strerror}; {mend}") from None
