"""Opening a picture file of unknown origin: any usual format and mode, and none that could do harm.

The header is read first, and a picture is refused there if it is too large, so nothing is decoded
that could exhaust the memory. EXIF orientation is applied, transparency is composited on white,
16-bit grey is scaled to 8 bits, animations give their first frame. Colour profiles are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from zeuxis.data.source import Array

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # what may be decoded, whatever the suffix
MOST_PIXELS = 100_000_000
GREY_MODES = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L"})
WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L"})  # 16 bits a pixel; Pillow widens some to 32
ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 turn the picture by a quarter


class PictureRefused(Exception):
    """A picture that cannot be used; the message is the reason, ``kind`` one word for it."""

    def __init__(self, reason: str, kind: str = "damaged") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Header:
    """What is known before decoding: the size as it will be shown, and whether it is grey."""

    width: int
    height: int
    grey: bool


def read_header(file: Path | BinaryIO) -> Header:
    """Size and mode of a picture file, without decoding it.

    Raises:
        Refused: not a picture of a usual format, empty, or of more than 100 megapixels.
    """
    try:
        with Image.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise PictureRefused(
                    f"{width}x{height} is {width * height / 1e6:.0f} megapixels; at most 100 are read", "huge"
                )
            exif = Image.Image.getexif(picture)  # PNG's own method would decode the picture to look further
            if exif.get(ORIENTATION, 1) in (5, 6, 7, 8):
                width, height = height, width
            return Header(width, height, picture.mode in GREY_MODES and "transparency" not in picture.info)
    except PictureRefused:
        raise
    except Exception as error:  # a damaged header makes decoders raise nearly anything
        raise PictureRefused(_reason(error)) from error


def read_picture(file: Path | BinaryIO, *, grey: bool) -> Image.Image:
    """The picture, upright, in mode L or RGB.

    Raises:
        Refused: it cannot be decoded, or has pixels that are no brightness (floating point).
    """
    return composited(read_kept(file), grey=grey)


def read_kept(file: Path | BinaryIO) -> Image.Image:
    """The picture, upright, in the mode that it is kept in: palette indices and transparency as they are.

    Raises:
        Refused: it cannot be decoded.
    """
    try:
        with Image.open(file, formats=FORMATS) as picture:
            return ImageOps.exif_transpose(picture)
    except Exception as error:  # as above
        raise PictureRefused(_reason(error)) from error


def composited(picture: Image.Image, *, grey: bool) -> Image.Image:
    """``picture`` in mode L or RGB; raises :class:`PictureRefused` where its pixels are no brightness."""
    if picture.mode in WIDE_MODES:
        picture = Image.fromarray(_to_bytes(np.asarray(picture).astype(np.int64)))
    elif picture.mode == "F":
        raise PictureRefused("floating-point pixels: convert it to 8 or 16 bits a channel", "unsupported")
    elif transparent(picture):
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return picture.convert("L" if grey else "RGB")


def transparent(picture: Image.Image) -> bool:
    """Whether it has an alpha channel or a transparent colour."""
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def _to_bytes(wide: Array) -> Array:
    """16-bit brightness to 8 bits, rounded."""
    if wide.min() < 0 or wide.max() > 65535:
        raise PictureRefused("pixels outside 16 bits: convert it to 8 or 16 bits a channel", "unsupported")
    return ((wide + 128) // 257).astype(np.uint8)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
