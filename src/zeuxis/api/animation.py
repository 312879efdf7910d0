"""The previews of a run, one after another, as a moving picture."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from zeuxis.errors import DataError, UsageError
from zeuxis.provenance.record import XMP, read_record, write_whole

SECONDS = 6.0  # of the whole, about
FASTEST, SLOWEST = 0.08, 1.0  # seconds that a sheet stays
LAST = 2.0  # seconds that the last stays
USER_COMMENT, DESCRIPTION = 0x9286, 0x010E  # EXIF tags


def animation(run: Path, path: Path) -> int:
    """Write the preview sheets of the ``run`` folder to ``path`` as an animated WebP; returns how many there are.

    It says that it is synthetic as pictures do, and holds the last sheet's record.

    Raises:
        UsageError: no previews, or another ending than .webp.
        DataError: sheets of several sizes.
    """
    if path.suffix.lower() != ".webp":
        raise UsageError(f"{path}: the previews of a run move as WebP alone: give {path.with_suffix('.webp')}")
    sheets = sorted((run / "previews").glob("*.png"))
    if not sheets:
        raise UsageError(f"{run} has no previews: give the folder of a run that draws pictures")
    frames = []
    for sheet in sheets:
        with Image.open(sheet) as image:
            frames.append(image.convert("RGB"))
    if len({frame.size for frame in frames}) > 1:
        raise DataError(f"the previews in {run / 'previews'} differ in size: move those of another training away")
    each = min(SLOWEST, max(FASTEST, SECONDS / len(frames)))
    durations = [round(1000 * each)] * (len(frames) - 1) + [round(1000 * LAST)]
    write_whole(path, _webp(frames, durations, read_record(sheets[-1])))
    return len(frames)


def _webp(frames: list[Image.Image], durations: list[int], record: dict[str, Any]) -> bytes:
    """The bytes of an animated WebP that is shown again and again."""
    exif = Image.Exif()
    exif[DESCRIPTION] = str(record["disclosure"])
    exif[USER_COMMENT] = json.dumps(record, sort_keys=True).encode()
    buffer = BytesIO()
    frames[0].save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        quality=90,
        exif=exif,
        xmp=XMP.encode(),
    )
    return buffer.getvalue()
