"""A panorama by repeated uncropping: a picture extended at its left and right, again and again.

Saharia et al. 2021, "Palette: image-to-image diffusion models" (arXiv:2111.05826), whose panoramas grow by half a
window at a time: the window lies half over what is there and half beyond, and the model draws that half.

Windows are as large as the pictures that the model learnt, so the picture is reduced (or enlarged) to their height for
it; what is drawn is then brought to the picture's own size and set beside it. The picture itself stays as it is, bit
for bit.

Axes: H, W of the picture; h, w of it at the model's height; v columns of a window; n of them drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zeuxis.api.restore_models import PANORAMA
from zeuxis.api.restore_picture import OpenedPicture, Pixels, behind_filled, for_network, from_network, in_kind_of
from zeuxis.data.picture import MOST_PIXELS
from zeuxis.errors import DataError, UsageError
from zeuxis.nn.footprint import GIB
from zeuxis.pretrained.restorer import Restorer
from zeuxis.rng import derive_seed
from zeuxis.training.room import free_memory

MOST_WINDOWS = 256
BYTES = 16  # that are held for each number of the result: float32 and copies of the sides, and rows that are written
Check = Callable[[tuple[int, int, int, int], Tensor, Tensor], None]  # where a window drew, what it saw, what it drew


@dataclass(frozen=True)
class Widening:
    """What a picture becomes: ``left`` and ``right`` columns are added, by windows of h x v of which n are drawn."""

    height: int  # H
    width: int  # W
    left: int
    right: int
    window: tuple[int, int]  # h, v
    step: int  # n

    @property
    def whole(self) -> int:
        """Columns of the result."""
        return self.left + self.width + self.right

    @property
    def columns(self) -> int:
        """Those of the picture at the model's height, w."""
        return max(1, round(self.width * self.window[0] / self.height))

    @property
    def finer(self) -> float:
        """Columns of the picture to one at the model's height."""
        return self.width / self.columns

    def windows(self, added: int) -> int:
        """How many draw ``added`` columns."""
        return math.ceil(added / self.finer / self.step)

    def record(self) -> dict[str, Any]:
        return {"left": self.left, "right": self.right, "window": list(self.window), "step": self.step}

    def disclosure(self) -> str:
        return (
            f"Zeuxis made this panorama of a picture of {self.width}x{self.height} pixels, which lies from column "
            f"{self.left} on. What is at its left and right is synthesised: it shows no place that exists."
        )

    def notes(self) -> tuple[str, ...]:
        """What a person should know of it."""
        by = self.height / self.window[0]
        if by <= 1:
            return ()
        return (
            f"its sides are drawn {self.window[0]} pixels high, as the model learnt, and enlarged by {by:.3g}: they "
            "are softer than the picture",
        )


def widening_of(given: OpenedPicture, restorer: Restorer) -> Widening:
    """How a picture is widened for a panorama.

    Raises:
        UsageError: the picture is too narrow for it, or not for the model's channels, or that takes too many windows.
        DataError: the result would be too large to be read again, or for the memory.
    """
    window, share, factor = restorer.network.drawn_at, restorer.extends, restorer.factor
    assert window is not None and share is not None and factor is not None
    height, width, channels = given.colours.shape
    if restorer.network.channels < channels:
        raise UsageError(f"'{restorer.name}' draws grey pictures, and this one has colours: give it a grey one")
    added = round(width * factor) - width
    step = round(share * window[1])
    if added < 1 or not 0 < step < window[1]:
        raise UsageError(f"panorama:{factor:g} adds nothing to a picture of {width} pixels: give a larger factor")
    found = Widening(height, width, added // 2, added - added // 2, window, step)
    count = found.windows(found.left) + found.windows(found.right)
    if count > MOST_WINDOWS:
        raise UsageError(
            f"panorama:{factor:g} of {width}x{height} pixels takes {count:,} windows of {window[1]}x{window[0]}, and "
            f"at most {MOST_WINDOWS} are drawn: give a smaller factor, or a picture that is less wide"
        )
    if found.columns > MOST_WINDOWS * window[1]:
        raise UsageError(
            f"{width}x{height} pixels are too flat for windows of {window[1]}x{window[0]}: cut it to a part"
        )
    if height * found.whole > MOST_PIXELS:
        raise DataError(
            f"a panorama of {found.whole}x{height} is {height * found.whole / 1e6:.0f} megapixels, and at most "
            f"{MOST_PIXELS // 10**6} are read again: give a smaller factor or picture"
        )
    needs = BYTES * height * found.whole * (channels + (given.alpha is not None))
    free = free_memory("cpu")
    if free is not None and needs > free:
        raise DataError(
            f"a panorama of {found.whole}x{height} pixels needs {needs / GIB:.2g} GiB, of which {free / GIB:.2g} are "
            "free: give a smaller factor or picture"
        )
    return found


def widened(
    given: OpenedPicture,
    how: Widening,
    restorer: Restorer,
    name: str,
    device: str,
    check: Check,
    told: Callable[[float], None],
) -> Pixels:
    """The colours ``(H, left + W + right, C)`` of the panorama; those of the picture are its own.

    The same seed gives the same: each window draws from a seed of its own, which follows from that, from its place, and
    from the ``name`` of the picture, or all pictures of a folder would have the same things at their sides. Raises what
    ``check`` raises.
    """
    channels = given.colours.shape[2]
    h, columns = how.window[0], how.columns
    levels = behind_filled(given).astype(np.float32)
    levels /= given.most
    small = _resized(levels, (columns, h))  # (h, w, C)
    strip = for_network(torch.from_numpy(small).permute(2, 0, 1).clamp(0, 1).to(device), restorer.network.channels)
    before, count, done = 0, how.windows(how.left) + how.windows(how.right), 0  # columns left of the picture
    with torch.inference_mode():
        for side, added in (("right", how.right), ("left", how.left)):
            for k in range(how.windows(added)):
                strip = _grown(strip, side, derive_seed(restorer.seed, PANORAMA, name, side, k), how, restorer, check)
                before += how.step if side == "left" else 0
                done += 1
                told(done / count)
    drawn = from_network(strip, channels).clamp(0, 1).cpu().numpy()  # (h, .., C)
    first, last = before, before + columns  # where the picture lies in it
    left = _part(drawn, first - how.left / how.finer, first, (how.left, how.height))
    right = _part(drawn, last, last + how.right / how.finer, (how.right, how.height))
    sides = [in_kind_of(given.colours, torch.from_numpy(one).clamp(0, 1) * given.most) for one in (left, right)]
    found: Pixels = np.concatenate([sides[0], given.colours, sides[1]], 1)
    return found


def _grown(strip: Tensor, side: str, seed: int, how: Widening, restorer: Restorer, check: Check) -> Tensor:
    """A strip ``(B, C, h, .)`` with n columns more at one side."""
    (h, v), n = how.window, how.step
    shared = min(v - n, strip.shape[3])  # columns that are there already
    known = strip[..., -shared:] if side == "right" else strip[..., :shared]
    blank, seen = strip.new_full((*strip.shape[:3], n), 0.5), strip.new_zeros(len(strip), 1, h, shared)
    parts = [torch.cat([known, seen], 1), torch.cat([blank, torch.ones_like(blank[:, :1])], 1)]
    shown = torch.cat(parts if side == "right" else parts[::-1], 3)
    made = restorer.network.seeded(seed)(shown).float()  # (B, C, h, shared + n)
    new = made[..., shared:] if side == "right" else made[..., :n]
    start = strip.shape[3] if side == "right" else 0
    check((0, h, start, start + n), known, new)
    return torch.cat([strip, new] if side == "right" else [new, strip], 3)


def _part(drawn: NDArray[np.float32], start: float, end: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """Columns ``start`` to ``end`` of a strip ``(h, ., C)`` as ``(H, columns, C)``; ``size`` is columns and H."""
    if size[0] == 0:
        return np.zeros((size[1], 0, drawn.shape[2]), np.float32)
    return _resized(drawn, size, (max(0.0, start), 0, min(end, drawn.shape[1]), drawn.shape[0]))


def _resized(
    pixels: NDArray[np.float32], size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """Pixels ``(H, W, C)``, or those in ``box``, at width and height ``size``: cubic; averaged where smaller."""
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BICUBIC, box))
        for plane in pixels.transpose(2, 0, 1)
    ]
    return np.stack(planes, 2)


def beside_nothing(given: OpenedPicture, how: Widening) -> OpenedPicture:
    """The picture as large as its panorama, grey where that is drawn: for a page of before and after."""
    at = ((0, 0), (how.left, how.right), (0, 0))
    colours = cast(Pixels, np.pad(given.colours, at, constant_values=given.most // 2))
    return replace(given, colours=colours, alpha=alpha_beside(given, how))


def alpha_beside(given: OpenedPicture, how: Widening) -> Pixels | None:
    """The transparency of a panorama ``(H, .)``: what is drawn hides what is behind it."""
    if given.alpha is None:
        return None
    return cast(Pixels, np.pad(given.alpha, ((0, 0), (how.left, how.right)), constant_values=given.most))
