"""Which mask says what is to be made in a picture: one for all, or for each its own in a folder of masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from zeuxis.api.restore_paths import Errand
from zeuxis.api.restore_picture import header_of
from zeuxis.api.still import OPAQUE, mask_of
from zeuxis.data.picture import SUFFIXES, PictureRefused, composited, read_kept, transparent
from zeuxis.errors import UsageError

MOST_HIDDEN = 0.5  # of a picture: more is told, for what was to stay may have been marked
DARK, LIGHT = 32, 223  # levels that are plainly one or the other
MOST_BETWEEN = 0.1  # of a mask's pixels: more is told


def mask_for(masks: Path | None, errand: Errand) -> Path | None:
    """The mask of a picture: ``masks`` itself, or in that folder the file of the picture's name, whatever its suffix.

    Of ``album/a.jpg`` in a folder of pictures it is ``album/a.png`` in that of masks. None where no mask is asked for.
    Raises :class:`UsageError` where the folder holds none or several for it.
    """
    if masks is None or not masks.is_dir():
        return masks
    place = Path(errand.name)
    folder = masks / place.parent
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [file for file in inside if file.stem == place.stem and file.suffix.lower() in SUFFIXES]
    if len(found) == 1:
        return found[0]
    wanted = folder / f"{place.stem}.png"
    what = f"{found[0].name} and {found[1].name} are both there: leave one" if found else f"there is no {wanted}"
    raise UsageError(f"{errand.source}: its mask is looked for in {masks}, and {what}")


def hidden_by(mask: Path, picture: Path, width: int, height: int) -> Tensor:
    """The mask ``(1, H, W)`` of a picture, 1 where it is to be made.

    Raises :class:`UsageError` for one of another size, or that hides nothing or everything.
    """
    try:
        header = header_of(mask)
    except PictureRefused as reason:
        raise UsageError(f"the mask {mask}: {reason}") from None
    if (header.width, header.height) != (width, height):
        raise UsageError(
            f"the mask {mask} is {header.width}x{header.height} pixels and {picture} {width}x{height}: give one of the "
            "picture's size"
        )
    marks = mask_of(str(mask), (width, height), f"the mask {mask}")
    share = float(marks.mean())
    if share in (0.0, 1.0):
        what = "nothing of the picture: make what is to be painted" if share == 0 else "all of it: make what is to stay"
        raise UsageError(f"the mask {mask} hides {what} {'light' if share == 0 else 'dark'}")
    return marks


def doubts_about(mask: Path, marks: Tensor) -> tuple[str, ...]:
    """What tells that a mask may say something else than was meant, a line each.

    It marks more than it leaves, as one does that is light where the picture is to stay, or one that was painted on a
    transparent ground; or it is no drawing in dark and light, as a photograph that was painted on.
    """
    found, share = [], float(marks.mean())
    kept = read_kept(mask)
    alpha = np.asarray(kept.convert("RGBA").getchannel("A")) if transparent(kept) else None
    by_alpha = alpha is not None and bool((alpha < OPAQUE).any())
    if share > MOST_HIDDEN:
        what = "transparent" if by_alpha else "light"
        found.append(f"the mask {mask} is {what} in {share:.0%} of the picture, which is made: was the rest meant?")
    if not by_alpha:
        levels = np.asarray(composited(kept, grey=True))
        between = float(((levels > DARK) & (levels < LIGHT)).mean())
        if between > MOST_BETWEEN:
            found.append(
                f"the mask {mask} is neither dark nor light in {between:.0%} of its pixels: what is lighter than half "
                "is made, the rest stays"
            )
    return tuple(found)
