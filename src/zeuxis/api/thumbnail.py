"""A sheet made small enough to be kept beside the figures it belongs to."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

WIDEST = 640  # pixels


def small_sheet(sheet: Path, target: Path) -> None:
    """Write ``sheet`` as WebP, at most 640 pixels wide, with a description that says it is synthetic."""
    with Image.open(sheet) as image:
        small = image.convert("RGB")
    if small.width > WIDEST:
        small = small.resize((WIDEST, round(small.height * WIDEST / small.width)), Image.Resampling.BOX)
    exif = Image.Exif()
    exif[0x010E] = "Synthetic: made by Zeuxis."  # ImageDescription
    small.save(target, "WEBP", quality=80, method=6, exif=exif.tobytes())
