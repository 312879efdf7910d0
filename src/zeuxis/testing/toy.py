"""A small source that gives everything a condition may hold."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zeuxis.data.source import ArraySource

CAPTIONS = ("a red circle", "a blue square by day", "two green stars", "nothing at night")
FACTORS = (("time", 2), ("shape", 5))


def toy_source(channels: int = 3, size: int | tuple[int, int] = 32, n: int = 48) -> ArraySource:
    """``n`` coloured blobs ``(channels, H, W)`` with every field that a condition may have.

    ``size`` is the pixels a side, or the height and the width.
    """
    images, layout = (array.copy() for array in _blobs(channels, *((size, size) if isinstance(size, int) else size), n))
    return ArraySource(
        "toy",
        images,
        fields={
            "label": np.arange(n) % 10,
            "caption": [CAPTIONS[k % len(CAPTIONS)] for k in range(n)],
            "source": 255 - images,
            "layout": layout,
            "factors": np.stack([np.arange(n) % k for _, k in FACTORS], 1),
        },
        class_names=[str(k) for k in range(10)],
        factors=FACTORS,
    )


@lru_cache(maxsize=32)
def _blobs(channels: int, rows: int, columns: int, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The pictures ``(N, C, H, W)`` and their layouts ``(N, H, W)``: for a whole suite, drawn a few times."""
    r = np.random.default_rng(0)
    y, x = np.mgrid[0:rows, 0:columns] / np.array([rows, columns]).reshape(2, 1, 1)
    at, wide = r.uniform(0.25, 0.75, (n, 2, 1, 1)), r.uniform(0.1, 0.3, (n, 1, 1))
    blob = np.exp(-((x - at[:, 0]) ** 2 + (y - at[:, 1]) ** 2) / wide**2)  # (N, H, W)
    images = (255 * blob[:, None] * r.uniform(0.3, 1, (n, channels, 1, 1))).astype(np.uint8)
    return images, (blob > 0.3).astype(np.int64) + (blob > 0.8)
