"""The chunks that a PNG consists of, walked over without reading what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD = 13  # bytes of the first chunk, which states size, bits and colours
MOST_CHUNKS = 1_000_000


def png_chunks(file: BinaryIO, most: int = MOST_CHUNKS) -> Iterator[tuple[bytes, int]]:
    """Kind and length of every chunk up to the end of the picture; the file is then at what the chunk holds.

    Raises ValueError where it does not begin as a PNG does, or has more than ``most`` chunks.
    """
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise ValueError("it is no PNG")
    at = len(SIGNATURE)
    for _ in range(most):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length = int.from_bytes(head[:4])
        yield head[4:], length
        at += 12 + length
    raise ValueError(f"it has more than {most:,} chunks")
