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


def read_picture(path: Path, shape: Shape) -> Tensor:
    """The picture at ``path``, upright, its centre cut to the wanted proportions: ``(1, C, H, W)`` in [-1, 1].

    Raises UsageError when there is no such file; DataError when it is not a picture, or too large a one.
    """
    if not path.is_file():
        raise UsageError(f"there is no picture {path}")
    if shape.channels not in (1, 3):
        raise Unsupported(f"a picture of {shape.channels} channels cannot come from a file: 1 or 3 can")
    try:
        picture.read_header(path)
        seen = picture.read_picture(path, grey=shape.channels == 1)
    except picture.Refused as reason:
        raise DataError(f"{path} cannot be used: {reason}") from None
    cut = ImageOps.fit(seen, (shape.width, shape.height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(cut)).reshape(1, shape.height, shape.width, shape.channels)
    return to_float(pixels.permute(0, 3, 1, 2))
