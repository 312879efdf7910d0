"""Bringing pictures to a size without distorting them.

Three rules, in this order:
    1. A picture with a plain background that grows by at most a quarter (28 to 32) is padded
       with that background: its pixels stay as they are.
    2. Otherwise the largest centred square is cut out (nothing is cut from a square picture).
    3. The square is resized: Lanczos with antialiasing when it shrinks, bicubic when it grows,
       nearest neighbour for label maps, whose values must not be mixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]


def square_box(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest centred square of a ``width x height`` picture: left, top, right, bottom."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def fit_picture(picture: Image.Image, size: int | None, *, labels: bool = False) -> Image.Image:
    """``picture`` as a ``size x size`` square (rules 2 and 3); unchanged where ``size`` is None."""
    if size is None or picture.size == (size, size):
        return picture
    square = picture.crop(square_box(*picture.size))
    if labels:
        resample = Image.Resampling.NEAREST
    else:
        resample = Image.Resampling.LANCZOS if square.width > size else Image.Resampling.BICUBIC
    return square.resize((size, size), resample)


def fit_images(images: Array, size: int | None, *, background: int | None = None) -> Array:
    """uint8 ``(N, H, W)`` or ``(N, H, W, C)`` to uint8 ``(N, C, size, size)``.

    ``background`` is the grey level around the subject, where the pictures have such a thing.
    """
    if images.ndim == 3:
        images = images[..., None]
    height, width = images.shape[1:3]
    longer = max(height, width)
    if size is not None and (height, width) != (size, size):
        if background is not None and longer <= size <= longer * 5 // 4:
            top, left = (size - height) // 2, (size - width) // 2
            margins = ((0, 0), (top, size - height - top), (left, size - width - left), (0, 0))
            images = np.pad(images, margins, constant_values=background)
        else:
            images = np.stack([_resized(image, size) for image in images])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _resized(image: Array, size: int) -> Array:
    """uint8 ``(H, W, C)`` with 1 or 3 channels to ``(size, size, C)``."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(fit_picture(picture, size)).reshape(size, size, image.shape[2])


def fit_labels(labels: Array, size: int | None) -> Array:
    """Integer maps uint8 ``(N, H, W)`` to ``(N, size, size)``."""
    if size is None:
        return labels
    return np.stack([np.asarray(fit_picture(Image.fromarray(one), size, labels=True)) for one in labels])
