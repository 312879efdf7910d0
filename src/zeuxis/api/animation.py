"""The previews of a run, one after another, as a moving picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from zeuxis.api.moving import webp
from zeuxis.errors import DataError, UsageError
from zeuxis.provenance.record import as_asked, read_record, write_whole

SECONDS = 6.0  # of the whole, about
FASTEST, SLOWEST = 0.08, 1.0  # seconds that a sheet stays
LAST = 2.0  # seconds that the last stays


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
    write_whole(path, as_asked(webp(frames, durations, read_record(sheets[-1])), ".webp"))
    return len(frames)
