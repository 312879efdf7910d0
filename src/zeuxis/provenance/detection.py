"""Looks for the mark of :mod:`zeuxis.provenance.watermark`, and says how likely as strong a one is by chance.

Kalker, Depovere, Haitsma, Maes 1999 (see there): the picture's spectrum is compared with the pattern's by their phases
alone (SPOMF, the symmetrical phase-only matched filter), for all shifts of the pattern at once by an inverse Fourier
transform::

    c(shift) = Re sum_k  X_k / |X_k|  conj(W_k / |W_k|)  exp(2 pi i k shift / M)           (2)
    z = max c / sqrt(K / 2)                                                             (3)

X_k is the picture's value at wave k of K. Without a mark the phases have nothing to do with the key's, so each term has
mean 0 and variance 1/2, and c / sqrt(K / 2) is a standard normal number, whatever the picture. Of all the shifts and
sizes that are tried the largest counts; by the union bound its chance is at most their number times that of one::

    p = min(1, N Q(z)),    Q the normal distribution's upper tail                       (4)

Where the paper folds the picture to one pattern, which asks for its true size, we read X_k from the spectrum of the
whole picture at k / (M s), for every size s in a range: shrunk and enlarged pictures are found as well. Before that the
local mean is taken off and the local deviation divided by, so that edges and texture do not drown the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zeuxis.provenance.watermark import KEY, SIDE, luma, mean_around, phases, waves

SIZES = (0.45, 2.2)  # of the picture against the one that was marked: those that are looked at
STEP = 2.0  # pixels by which the picture's side differs from one size to the next
FALSE_ALARM = 1e-6  # the chance that a picture without a mark is called marked; at most
MOST = 1024  # pixels a side that are looked at, in the middle: the mark is everywhere
LEAST = 64  # pixels of the shorter side below which nothing can be said
NOISE = 4.0  # grey levels squared, of a flat region: so much is never taken for structure
TAPER = 0.02  # of the side that fades out at each edge

Grey = NDArray[np.int64]
Spectrum = NDArray[np.complex128]


@dataclass(frozen=True)
class Detection:
    """What was found: equation 3, a bound on its chance without a mark, at which size, and the verdict."""

    score: float
    p_value: float
    size: float
    verdict: str

    @property
    def marked(self) -> bool:
        """Whether the chance is below :data:`FALSE_ALARM`."""
        return self.verdict == MARKED

    def __str__(self) -> str:
        if self.verdict == TOO_SMALL:
            return self.verdict
        chance = "p < 1e-300" if self.p_value < 1e-300 else f"p = {self.p_value:.2g}"
        at = "" if not self.marked or abs(self.size - 1) < 0.005 else f", at {100 * self.size:.0f} % of its size"
        return f"{self.verdict} (score {self.score:.1f}, {chance}{at})"


MARKED, UNMARKED, TOO_SMALL = "marked by Zeuxis", "no mark found", f"too small to tell: under {LEAST} pixels"


def detect(pixels: NDArray[np.uint8], key: bytes = KEY) -> Detection:
    """Look for the mark in pixels ``(H, W)`` or ``(H, W, C)``; about a second for a large picture."""
    if min(pixels.shape[:2]) < LEAST:
        return Detection(0.0, 1.0, 1.0, TOO_SMALL)
    transform, tried = spectrum(middle(luma(pixels))), sizes(max(pixels.shape[:2]))
    found = [score(transform, size, key) for size in tried]
    best = int(np.argmax(found))
    chance = min(1.0, len(tried) * SIDE**2 * upper_tail(found[best]))  # (4)
    return Detection(found[best], chance, float(tried[best]), MARKED if chance < FALSE_ALARM else UNMARKED)


def middle(grey: Grey) -> Grey:
    """The middle of a picture, at most MOST pixels a side."""
    top, left = (max(0, (side - MOST) // 2) for side in grey.shape)
    return grey[top : top + MOST, left : left + MOST]


def spectrum(grey: Grey) -> Spectrum:
    """The transform of grey values ``(H, W)``, whitened, about their middle, twice as dense as it need be or denser."""
    values = grey.astype(np.float64)
    values -= mean_around(values)
    values /= np.sqrt(mean_around(values**2) + NOISE)
    values *= faded(values.shape[0])[:, None] * faded(values.shape[1])
    height, width = values.shape
    padded = np.zeros([1 << (2 * side - 1).bit_length() for side in values.shape])
    padded[:height, :width] = values
    return np.fft.rfft2(np.roll(padded, (-(height // 2), -(width // 2)), (0, 1)))


def faded(side: int) -> NDArray[np.float64]:
    """Weights ``(side,)`` that rise from 0 at both edges as a cosine does."""
    rise = max(1, int(TAPER * side))
    edge = 0.5 - 0.5 * np.cos(np.pi * (np.arange(rise) + 0.5) / rise)
    return np.concatenate([edge, np.ones(side - 2 * rise), edge[::-1]])


def sizes(side: int) -> NDArray[np.float64]:
    """The sizes to try of a picture of ``side`` pixels, 1 among them, so dense that none in between is missed."""
    step = STEP / min(side, MOST)
    smaller, larger = (math.ceil(abs(math.log(end)) / step) for end in SIZES)
    return np.exp(step * np.arange(-smaller, larger + 1))


def score(transform: Spectrum, size: float, key: bytes = KEY) -> float:
    """Equation 3 for a picture of ``size`` times that at which it was marked."""
    down, across = waves()
    kept = np.maximum(np.abs(down), np.abs(across)) < SIDE * size / 2  # what its pixels can hold
    down, across = down[kept], across[kept]
    high, wide = transform.shape[0], 2 * (transform.shape[1] - 1)  # pixels, of which the transform is half
    rows = np.rint(down * (high / (SIDE * size))).astype(np.int64) % high
    found = transform[rows, np.rint(across * (wide / (SIDE * size))).astype(np.int64)]  # X_k
    found = found / np.maximum(np.abs(found), 1e-12) * np.exp(-1j * phases(key)[kept])
    alike = np.zeros((SIDE, SIDE // 2 + 1), np.complex128)
    alike[down, across] = found / 2  # the other half of the plane bears the other half of the real part
    upright = across == 0
    alike[-down[upright], 0] = found[upright].conj() / 2
    shifted = np.fft.irfft2(alike, (SIDE, SIDE), norm="forward")  # (2)
    return float(shifted.max() / math.sqrt(len(down) / 2))  # (3)


def upper_tail(z: float) -> float:
    """Q: the chance that a standard normal number exceeds ``z``."""
    return 0.5 * math.erfc(z / math.sqrt(2))
