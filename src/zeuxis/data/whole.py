"""Whether a picture file holds all of its picture: decoders fill up what is missing with grey, and say nothing.

Files that simply end too early are refused by the decoders. These are files that end well and hold too few rows.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, BinaryIO

from zeuxis.data.png_chunks import HEAD, SIGNATURE, png_chunks

if TYPE_CHECKING:
    from zeuxis.data.source import Array  # which imports torch

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's types of colour
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # x, y, steps
AT_ONCE = 1 << 16  # bytes
SCAN = re.compile(rb"\xff\xda")
FILL = bytes(range(1, 255)) * 64  # entropy-coded bytes without a marker


def png_is_whole(file: BinaryIO) -> bool:
    """Whether the compressed rows of a PNG are all there; True for what is no PNG."""
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return True
    wanted, found, unpack = None, 0, zlib.decompressobj()
    for kind, length in png_chunks(file):
        if kind == b"IHDR":
            wanted = _bytes_of_rows(file.read(min(length, HEAD)))
        elif kind == b"IDAT" and wanted is not None:
            while length > 0 and found < wanted and (part := file.read(min(length, AT_ONCE))):
                length -= len(part)
                while part and found < wanted and not unpack.eof:
                    try:
                        found += len(unpack.decompress(part, AT_ONCE))
                    except zlib.error:
                        return False
                    part = unpack.unconsumed_tail
            if found >= wanted:
                return True
    return wanted is not None and found >= wanted


def _bytes_of_rows(header: bytes) -> int:
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    bits = header[8] * CHANNELS.get(header[9], 1)
    if not header[12]:
        return height * (1 + (width * bits + 7) // 8)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in PASSES]
    return sum(h * (1 + (w * bits + 7) // 8) for w, h in sizes if w > 0 and h > 0)


def one_colour(pixels: Array) -> bool:
    """Whether all ``pixels`` (H, W[, C]) are the same."""
    return bool((pixels == pixels[:1, :1]).all())


def jpeg_with_more(data: bytes) -> bytes | None:
    """The JPEG with further bytes where its last scan ends: one that was cut short decodes to another picture then."""
    end = data.rfind(b"\xff\xd9")
    return None if end < 0 or SCAN.search(data) is None else data[:end] + FILL + data[end:]


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height by the first 30 bytes of a WebP; None of anything else."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 25:
        return None
    match head[12:16]:
        case b"VP8X" if len(head) >= 30:
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if len(head) >= 30:
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
        case _:
            return None
