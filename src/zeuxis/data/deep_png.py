"""PNGs of 16 bits in colour, which Pillow reads by their upper halves alone: read whole, here.

What a pixel is depends on its neighbours to the left and above. So pixels are found along diagonals: all of one
depend on the two before it alone, and are found at once. Interlaced rows are seven pictures, each of some of the pixels
(Adam7; PNG specification, section 8).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from zeuxis.data.picture import MOST_BYTES, MOST_PIXELS, PictureRefused
from zeuxis.data.png_chunks import HEAD, SIGNATURE, png_chunks
from zeuxis.data.refused import bytes_of, stream_of
from zeuxis.data.whole import PASSES
from zeuxis.files import open_regular

CHANNELS = {2: 3, 4: 2, 6: 4}  # of PNG's kinds of colour: RGB, grey and alpha, RGBA
LACES = {0: ((0, 0, 1, 1),), 1: PASSES}  # of each way to interlace, what pictures a file is


def is_deep(file: Path | BinaryIO) -> bool:
    """Whether a file is a PNG of 16 bits in colour or with transparency."""
    with _opened(file) as stream:
        begins = stream.read(len(SIGNATURE) + 8 + HEAD)
    if len(begins) < len(SIGNATURE) + 8 + HEAD or not begins.startswith(SIGNATURE) or begins[12:16] != b"IHDR":
        return False
    bits, colour, _, _, interlaced = begins[24:29]
    return bits == 16 and colour in CHANNELS and interlaced in LACES


def read_deep(file: Path | BinaryIO) -> NDArray[np.uint16]:
    """Pixels ``(H, W, C)`` of a file for which :func:`is_deep` holds; C is 2 (grey and alpha), 3 or 4.

    A colour that stands for nothing (tRNS) becomes transparency.

    Raises :class:`PictureRefused` where it is damaged or too large.
    """
    if (size := bytes_of(file)) > MOST_BYTES:
        raise PictureRefused(f"it has {size >> 20} MiB; at most {MOST_BYTES >> 20} are read", "huge")
    head, packed, clear_colours = b"", [], []
    with _opened(file) as stream:
        try:
            for kind, length in png_chunks(stream):
                if kind == b"IHDR" and not head:  # a second one says nothing of these pixels
                    head = stream.read(min(length, HEAD))
                elif kind == b"IDAT":
                    packed.append(stream.read(length))
                elif kind == b"tRNS":
                    clear_colours.append(stream.read(min(length, 6)))
        except ValueError as error:
            raise PictureRefused(str(error)) from None
    if len(head) < HEAD:
        raise PictureRefused("its first chunk does not state its size, bits and colours")
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    channels = CHANNELS[colour]
    if not 0 < width * height <= MOST_PIXELS:
        raise PictureRefused(f"{width}x{height} is {width * height / 1e6:.0f} megapixels; at most 100 are read", "huge")
    step = 2 * channels  # bytes of a pixel
    parts = [(slice(top, height, down), slice(left, width, right)) for left, top, right, down in LACES[interlaced]]
    sizes = [(len(range(height)[rows]), len(range(width)[columns])) for rows, columns in parts]
    wanted = sum(tall * (1 + wide * step) for tall, wide in sizes if wide)
    unpack = zlib.decompressobj()
    try:
        flat = unpack.decompress(b"".join(packed), wanted)
    except zlib.error as error:
        raise PictureRefused(f"its pixels cannot be unpacked: {error}") from None
    if len(flat) < wanted:
        raise PictureRefused(f"it holds {len(flat)} bytes of pixels, of {wanted}")
    found: NDArray[np.uint16] = np.empty((height, width, channels), np.uint16)
    at = 0
    for (rows, columns), (tall, wide) in zip(parts, sizes, strict=True):
        if tall and wide:
            count = tall * (1 + wide * step)
            kept = np.frombuffer(flat, np.uint8, count, at).reshape(tall, 1 + wide * step)
            found[rows, columns] = _pixels(kept, tall, wide, channels)
            at += count
    for hidden in clear_colours[:1]:
        if channels == 3 and len(hidden) == 6:
            clear = (found == np.frombuffer(hidden, ">u2")).all(2, keepdims=True)
            found = np.concatenate([found, np.where(clear, 0, 65535).astype(np.uint16)], 2)
    return found


def _pixels(kept: NDArray[np.uint8], height: int, width: int, channels: int) -> NDArray[np.uint16]:
    """Pixels ``(H, W, C)`` of rows as they are kept, each with its filter before it."""
    if kept[:, 0].max() > 4:
        raise PictureRefused(f"a row of it is kept by filter {kept[:, 0].max()}, and there are five")
    plain = _unfiltered(kept[:, 1:].reshape(height, width, 2 * channels), kept[:, 0])
    found: NDArray[np.uint16] = plain.reshape(height, width, channels, 2).view(">u2")[..., 0].astype(np.uint16)
    return found


def turned(pixels: NDArray[np.uint16], turn: int) -> NDArray[np.uint16]:
    """Pixels ``(H, W, C)`` upright, of EXIF's way to turn a picture, as Pillow does it."""
    pixels = pixels.swapaxes(0, 1) if turn >= 5 else pixels
    down, across = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(turn, (1, 1))
    return np.ascontiguousarray(pixels[::down, ::across])


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The bytes of ``file`` from their start."""
    if isinstance(file, Path):
        with open_regular(file) as stream:
            yield stream
    else:
        with stream_of(file) as stream:
            yield stream


def _unfiltered(kept: NDArray[np.uint8], filters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes ``(H, W, step)`` of pixels, of what each row's filter left of them."""
    height, width, step = kept.shape
    made = np.zeros((height + 1, width + 1, step), np.uint8)  # with a row above and a column to the left of zeros
    every = np.arange(height)
    for diagonal in range(height + width - 1):
        y = every[max(0, diagonal - width + 1) : min(height, diagonal + 1)]
        x = diagonal - y
        left, up, corner = made[y + 1, x], made[y, x + 1], made[y, x]
        by = filters[y][:, None]
        half = ((left.astype(np.uint16) + up) // 2).astype(np.uint8)
        guess = np.select([by == 1, by == 2, by == 3, by == 4], [left, up, half, paeth(left, up, corner)], np.uint8(0))
        made[y + 1, x + 1] = kept[y, x] + guess
    return made[1:, 1:]


def paeth(left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """PNG's fourth guess: of three neighbours the one nearest to ``left + up - corner``, in that order if equal."""
    a, b, c = (one.astype(np.int16) for one in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    found: NDArray[np.uint8] = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c)).astype(
        np.uint8
    )
    return found
