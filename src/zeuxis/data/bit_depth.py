"""Files of 16 bits a channel that hold fewer: scans and cameras of 12 bits, whose white is 4,095 of 65,535.

Nothing in such a file tells of it, and as it stands it is nearly black. That is said, never guessed: ``bits12:FOLDER``
is the folder whose files of 16 bits have their white at 12 (8 to 16). Files of 8 bits in it are read as ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from zeuxis.data.cache import data_folder
from zeuxis.data.deep_png import is_deep, read_deep
from zeuxis.data.picture import WIDE_MODES, composited, to_bytes
from zeuxis.errors import UsageError

ALL = 16
NAME = re.compile(r"bits(\d+):(.+)", re.DOTALL)
AVIF_HEAD, AV1_CONFIGURATION = 1 << 16, b"av1C\x81"  # bytes in which that box lies; its name, marker and version
USUAL = (8, 10, 12, 14)  # what files of 16 bits hold beside 16
COLOURS = {2: "LA", 3: "RGB", 4: "RGBA"}  # by their number of channels


def bits_and_folder(name: str | Path) -> tuple[int, Path | None]:
    """Of ``bits12:FOLDER`` 12 and the folder; of another name 16 and the folder that it means. None: there is none.

    Raises :class:`UsageError` for bits that there are not.
    """
    found, folder = NAME.fullmatch(str(name)), data_folder(name)
    if found is None or folder is not None:
        return ALL, folder
    if not min(USUAL) <= int(found[1]) <= ALL:
        raise UsageError(f"'{name}': files of 16 bits hold from {min(USUAL)} to {ALL}: write bits12:{found[2]}")
    return int(found[1]), data_folder(found[2])


def brightest(kept: Image.Image, file: Path | BinaryIO) -> int | None:
    """The largest value of a picture of 16 bits a channel, of 65,535; of colours, which Pillow reads by their upper
    halves, the largest that it can be. None of other pictures."""
    if kept.mode in WIDE_MODES:
        return int(np.asarray(kept).max())
    if kept.format != "PNG" or kept.mode not in ("RGB", "RGBA", "LA") or not isinstance(file, Path):
        return None
    colours = kept.convert("L") if kept.mode == "LA" else kept.convert("RGB")
    top = int(np.asarray(colours).max())
    return 256 * top + 255 if top < 1 << (USUAL[-1] - 8) and is_deep(file) else None


def avif_bits(file: Path) -> int | None:
    """How many bits a channel of an AVIF has, 8, 10 or 12, by the configuration of its codec (``av1C``: AV1 codec ISO
    media file format binding, section 2.3); None of other files. Pillow reads them by 8."""
    with file.open("rb") as opened:
        head = opened.read(AVIF_HEAD)
    at = head.find(AV1_CONFIGURATION)
    if head[4:12] not in (b"ftypavif", b"ftypavis") or at < 0 or len(head) < at + 7:
        return None
    high, twelve = head[at + 6] & 0x40, head[at + 6] & 0x20
    return 12 if high and twelve else 10 if high else 8


def read_bits(kept: Image.Image, file: Path | BinaryIO, *, grey: bool, bits: int) -> Image.Image:
    """The picture in mode L or RGB, white being at ``bits`` in files of 16.

    Raises :class:`PictureRefused` where it holds more than those.
    """
    if bits < ALL and kept.mode not in WIDE_MODES and isinstance(file, Path) and is_deep(file):
        deep = read_deep(file)  # (H, W, C)
        colours = to_bytes(deep[..., : 3 if deep.shape[2] > 2 else 1].astype(np.int64), bits)
        clear = deep[..., colours.shape[2] :] >> 8  # alpha is of 16 bits, whatever the colours are
        kept = Image.fromarray(np.concatenate([colours, clear.astype(np.uint8)], 2), COLOURS[deep.shape[2]])
    return composited(kept, grey=grey, bits=bits)


def held(top: int) -> int:
    """How many bits files of 16 may hold whose largest value is ``top``: the fewest usual ones; 16 of black ones."""
    return next((bits for bits in USUAL if 0 < top < 1 << bits), ALL)


def looks_black(tops: Sequence[int | None], folder: Path) -> str | None:
    """What to say of pictures with these largest values (:func:`brightest`); None where all is well."""
    wide = [top for top in tops if top is not None]
    bits = held(max(wide, default=0))
    if bits == ALL:
        return None
    mend = f"write bits{bits}:{folder}" if folder.is_dir() else "bring them to 16 bits first"
    return (
        f"{len(wide):,} of {len(tops):,} pictures are of 16 bits and reach no more than {max(wide):,} of 65,535, so "
        f"they look dark or black: if white is at {(1 << bits) - 1:,}, {mend}"
    )


def dark_notes(top: int | None, done: str) -> list[str]:
    """What to say of one picture of 16 bits that reaches ``top`` (None of others), and what was ``done`` with it."""
    if (bits := held(top or 0)) == ALL:
        return []
    return [
        f"it is of 16 bits and reaches no more than {top:,} of 65,535, and is {done} as dark as it is: if it holds "
        f"{bits} bits, multiply its values by {65535 / ((1 << bits) - 1):.4g} first"
    ]
