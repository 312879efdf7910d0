"""The page of what was restored: of each picture its busiest part, before and after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zeuxis.api.naming import counted
from zeuxis.api.page import Page
from zeuxis.api.restore_faces import box_of
from zeuxis.api.restore_paths import AFTER, BEFORE
from zeuxis.api.restore_picture import SOURCE_TYPE, Box, OpenedPicture
from zeuxis.pretrained.face_finder import FacePlace
from zeuxis.provenance.record import save_png, write_png

SIDE = 96  # pixels of the original that are shown
MOST_PAIRS = 200
MOST_SEEN = 1024  # pixels a side among which that part is looked for
MOST_SHOWN = 2048  # pixels a side of what a page shows
MOST_STEM, SHORT = 200, 40  # bytes that a name may have beside its ending, and letters that are kept of a longer one


def preview_files(page: Path, name: str) -> tuple[Path, Path]:
    """Where the two parts of the picture called ``name`` lie, beside the page."""
    folder, stem = page.with_name(f"{page.stem}-files"), name.replace("/", "__")
    long = len(os.fsencode(stem)) > MOST_STEM  # as the name of a picture deep inside folders is
    if long or stem.replace("__", "/") != name:  # another name would have the same file
        stem = f"{stem[:SHORT] if long else stem}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return folder / f"{stem}{BEFORE}", folder / f"{stem}{AFTER}"


def write_preview(
    page: Path, name: str, before: OpenedPicture, after: OpenedPicture, record: Mapping[str, Any]
) -> None:
    """A part of a picture, enlarged by cubic interpolation, and the same part of what was made of it."""
    files, made = preview_files(page, name), _eight_bits(after)
    made.thumbnail((MOST_SHOWN, MOST_SHOWN))
    write_png(_eight_bits(before).resize(made.size, Image.Resampling.BICUBIC), files[0])
    save_png(made, files[1], {**record, "part": "of the picture"}, SOURCE_TYPE)


def write_page(page: Path, names: Sequence[str], model: str, task: str, problems: Sequence[str], command: str) -> None:
    """The page, with those of the pictures whose parts were written."""
    found = [name for name in names if all(file.is_file() for file in preview_files(page, name))]
    made = Page("Before and after", f"{counted(len(names), 'picture')}, {task} by {model}.")
    made.command(command)
    shown = found[:MOST_PAIRS]
    for name in shown:
        before, after = (f"{file.parent.name}/{file.name}" for file in preview_files(page, name))
        made.heading(name)
        made.pictures({"before: real, enlarged by cubic interpolation": before, "after": after})
    if len(names) > len(shown):
        made.text(f"And {len(names) - len(shown)} more.")
    if problems:
        made.heading("Not restored")
        for line in problems:
            made.text(line)
    made.write(page)


def busiest(picture: OpenedPicture) -> Box:
    """The square, as left, top, right and bottom, in which grey changes most from pixel to pixel.

    Of a large picture every second pixel is looked at, or every third, ...: this must not take more memory than
    restoring does.
    """
    whole_h, whole_w = picture.colours.shape[:2]
    step = -(-max(whole_h, whole_w) // MOST_SEEN)
    grey = picture.colours[::step, ::step].mean(2, dtype=np.float32)
    height, width = grey.shape
    side_h, side_w = min(SIDE // step or 1, height), min(SIDE // step or 1, width)
    change = np.zeros((height + 1, width + 1), np.float64)
    change[2:, 1:] += np.abs(np.diff(grey, axis=0))
    change[1:, 2:] += np.abs(np.diff(grey, axis=1))
    total = change.cumsum(0).cumsum(1)  # of all above and to the left
    inside = total[side_h:, side_w:] - total[:-side_h, side_w:] - total[side_h:, :-side_w] + total[:-side_h, :-side_w]
    top, left = map(int, np.unravel_index(int(inside.argmax()), inside.shape))
    shown_h, shown_w = min(SIDE, whole_h), min(SIDE, whole_w)
    left, top = min(step * left, whole_w - shown_w), min(step * top, whole_h - shown_h)
    return left, top, left + shown_w, top + shown_h


def shown_of(place: FacePlace, picture: OpenedPicture) -> Box:
    """The pixels around a face."""
    return box_of(place, picture.colours.shape[1], picture.colours.shape[0])


def _eight_bits(picture: OpenedPicture) -> Image.Image:
    """As browsers show it, on white."""
    parts = [picture.colours, *([] if picture.alpha is None else [picture.alpha[..., None]])]
    values = np.concatenate(parts, 2).astype(np.int64)
    pixels = ((values + 128) // 257 if picture.most > 255 else values).astype(np.uint8)
    if picture.alpha is None:
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    rgba = Image.fromarray(pixels).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")
