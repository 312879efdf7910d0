"""One picture of the user's, as a system wants to see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zeuxis.batch import Shape, to_float
from zeuxis.data import picture
from zeuxis.errors import DataError, Unsupported, UsageError


def open_picture(path: Path, channels: int) -> Image.Image:
    """The picture at ``path``, upright, in grey (1 channel) or in colour (3).

    Raises UsageError when there is no such file; DataError when it is not a picture, or too large a one.
    """
    if not path.is_file():
        raise UsageError(f"there is no picture {path}")
    if channels not in (1, 3):
        raise Unsupported(f"a picture of {channels} channels cannot come from a file: 1 or 3 can")
    try:
        picture.read_header(path)
        return picture.read_picture(path, grey=channels == 1)
    except picture.Refused as reason:
        raise DataError(f"{path} cannot be used: {reason}") from None


def tensor_of(seen: Image.Image) -> Tensor:
    """A grey or colour picture as ``(1, C, H, W)`` in [-1, 1]."""
    pixels = torch.from_numpy(np.array(seen)).reshape(1, seen.height, seen.width, -1)
    return to_float(pixels.permute(0, 3, 1, 2))


def read_picture(path: Path, shape: Shape) -> Tensor:
    """The picture at ``path``, upright, its centre cut to the wanted proportions: ``(1, C, H, W)`` in [-1, 1].

    Raises as :func:`open_picture`.
    """
    seen = open_picture(path, shape.channels)
    return tensor_of(ImageOps.fit(seen, (shape.width, shape.height), Image.Resampling.LANCZOS))
