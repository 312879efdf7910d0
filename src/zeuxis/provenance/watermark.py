"""An invisible mark in the pixels themselves, which says "made by Zeuxis" where the text of a file was lost.

T. Kalker, G. Depovere, J. Haitsma, M. Maes, "A Video Watermarking System for Broadcast Monitoring" (JAWS), Proc. SPIE
3657, 1999. A pattern w of M x M values is laid over the picture x again and again, weaker where it would be seen::

    y = x + lambda(x) w                                          (1)

``lambda`` is the local scaling by a high-pass filter: flat regions bear little, texture more. Since the pattern
repeats, cutting the picture only moves it, and :mod:`zeuxis.provenance.detection` looks for all moves at once.

======== =========================================================================================
M        :data:`SIDE`, pixels a side of the pattern
w        :func:`pattern`: one wave for each frequency of a band, its phase from the public :data:`KEY`
lambda   :func:`strengths`, in grey levels
======== =========================================================================================

What differs from the paper: w is no white noise but lies in a band of low and middle frequencies (after Cox, Kilian,
Leighton, Shamoon, "Secure Spread Spectrum Watermarking for Multimedia", IEEE Trans. Image Processing 6, 1997), so that
it lives through compression and halving; there are no bits, the mark is there or is not; and it is added in whole
numbers, so that the same picture is marked to the same bytes on every machine. The key is public: anyone can look for
the mark, and anyone who wants to can add or remove it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

WATERMARK = "watermark"  # the key of a record that says by which scheme its picture is marked
SCHEME = 1  # another pattern or strength is another scheme
KEY = b"zeuxis watermark 1"  # public
SIDE = 128
BAND = (0.05, 0.22)  # cycles a pixel: below, pictures are strong; above, JPEG and halving leave nothing
SMALLEST = 256  # pixels of the shorter side: two patterns, of which a quarter may be lost
WEAKEST, STRONGEST = 16, 38  # lambda in sixteenths of a grey level: 1 where all is flat, 2.4 where all is texture
SLOPE = 0.35  # of lambda with the mean of |Laplacian|
RADIUS = 4  # pixels around one in which that mean is taken
CONTEXT = RADIUS + 1  # rows above and below that the strength of one depends on
LUMA = (77, 150, 29)  # 256 times the share of red, green and blue in grey (ITU-R BT.601)
WHOLE = 64  # a standard deviation of the pattern, as a whole number

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def fits(height: int, width: int) -> bool:
    """Whether a picture is large enough to be marked: on a smaller one the mark would be strong to be found at all."""
    return min(height, width) >= SMALLEST


@cache
def waves() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pattern's frequencies in half of the plane: cycles per SIDE down, and across (0 or more); each ``(K,)``."""
    cycles = np.fft.fftfreq(SIDE, 1 / SIDE).round().astype(np.int64)
    down, across = np.meshgrid(cycles, cycles, indexing="ij")
    radius = np.hypot(down, across) / SIDE
    half = (across > 0) | ((across == 0) & (down > 0))
    kept = half & (radius >= BAND[0]) & (radius <= BAND[1])
    return down[kept], across[kept]


@cache
def phases(key: bytes = KEY) -> NDArray[np.float64]:
    """The phase of every wave ``(K,)`` in [0, 2 pi): 16 bits each of SHA-256 of the key and a counter."""
    count = len(waves()[0])
    blocks = (hashlib.sha256(key + k.to_bytes(4, "big")).digest() for k in range(-(-count // 16)))
    return 2 * np.pi / 65536 * np.frombuffer(b"".join(blocks), ">u2", count)


@cache
def pattern(key: bytes = KEY) -> NDArray[np.int64]:
    """w ``(SIDE, SIDE)``: of mean 0 and standard deviation WHOLE; its amplitudes fall as those of pictures do."""
    down, across = waves()
    spectrum = np.zeros((SIDE, SIDE), np.complex128)
    spectrum[down, across] = np.exp(1j * phases(key)) / np.sqrt(np.hypot(down, across))
    wave = np.fft.ifft2(spectrum).real
    found: NDArray[np.int64] = np.rint(WHOLE * wave / wave.std()).astype(np.int64)
    return found


def luma(pixels: Pixels) -> NDArray[np.int64]:
    """Grey ``(H, W)``, in whole numbers, of pixels ``(H, W)`` or ``(H, W, C)``: C 1 to 4, a fourth is transparency."""
    whole = pixels.astype(np.int64)
    if whole.ndim == 2:
        return whole
    if whole.shape[2] == 1:
        return whole[..., 0]
    colours = min(whole.shape[2], 3)
    found: NDArray[np.int64] = whole[..., :colours] @ np.array(LUMA[:colours]) >> 8
    return found


def mean_around(values: NDArray[np.float64], radius: int = RADIUS) -> NDArray[np.float64]:
    """The mean of ``values`` ``(H, W)`` over the square around each, as if the picture's edge went on for ever."""
    side = 2 * radius + 1
    sums = np.pad(np.pad(values, radius, mode="edge").cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    found: NDArray[np.float64] = (
        sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    ) / side**2
    return found


def strengths(grey: NDArray[np.int64]) -> NDArray[np.int64]:
    """lambda ``(H, W)`` in sixteenths of a grey level, of grey values ``(H, W)`` in [0, 255]."""
    p = np.pad(grey, 1, mode="edge")
    laplacian = np.abs(4 * grey - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:])
    busy = mean_around(laplacian.astype(np.float64))  # sums of whole numbers: exact
    found: NDArray[np.int64] = np.rint(16 * SLOPE * busy).clip(WEAKEST, STRONGEST).astype(np.int64)
    return found


def marked(pixels: Pixels, top: int = 0, key: bytes = KEY) -> Pixels:
    """Pixels ``(H, W)`` or ``(H, W, C)`` of 8 or 16 bits with the mark in their colours, equation 1.

    Two channels are red and green, a fourth is transparency, which stays. ``top`` is the row of the picture that the
    first row is.
    """
    most = int(np.iinfo(pixels.dtype).max)
    height, width = pixels.shape[:2]
    grey = luma(pixels)
    scaling = strengths(grey if most == 255 else grey // 257)
    rows, columns = (np.arange(n) % SIDE for n in (height, width))
    wave = pattern(key)[(rows[:, None] + top) % SIDE, columns]  # (H, W)
    added = (scaling * wave * (most // 255) + 8 * WHOLE) // (16 * WHOLE)  # rounded to whole levels
    whole = pixels.astype(np.int64)
    if whole.ndim == 2:
        return _as(pixels, (whole + added).clip(0, most))
    colours = min(whole.shape[2], 3)
    whole[..., :colours] = (whole[..., :colours] + added[..., None]).clip(0, most)
    return _as(pixels, whole)


def _as(pixels: Pixels, whole: NDArray[np.int64]) -> Pixels:
    """Whole numbers in as many bits as ``pixels``."""
    return whole.astype(np.uint8) if pixels.dtype == np.uint8 else whole.astype(np.uint16)


def marked_rows(parts: Iterable[Pixels]) -> Iterator[Pixels]:
    """A picture that comes some rows ``(n, W, C)`` at a time, marked as :func:`marked` would mark the whole."""
    held: Pixels | None = None  # rows before those to come: CONTEXT that were given on, and those that were not
    given = done = 0  # rows that came, rows that were given on
    for part in parts:
        held = part if held is None else np.concatenate([held, part])
        given += len(part)
        first = given - len(held)
        ready = given - CONTEXT
        if ready <= done:
            continue
        yield marked(held, first)[done - first : ready - first]
        done, held = ready, held[max(0, ready - CONTEXT - first) :]
    if held is not None:
        first = given - len(held)
        yield marked(held, first)[done - first :]
