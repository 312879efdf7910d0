"""The faces of a photograph: cut out and set upright, restored, and put back with a soft seam.

Beside each stands how far its identity moved, by ``identity-faces``, which says nothing of faces that are unlike those
that it knows.

Axes: S pixels a side of the square that a restorer sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from zeuxis.api.restore_picture import Box, Pixels, for_network, from_network, in_kind_of
from zeuxis.batch import Shape
from zeuxis.catalog.assemble import load_given
from zeuxis.errors import UsageError
from zeuxis.game import System
from zeuxis.nn.fidelity import COARSE
from zeuxis.pretrained.face_finder import FacePlace
from zeuxis.pretrained.restorer import Restorer

JUDGE = "identity-faces"
SEAM = 0.15  # of half the square's side, over which a face passes into the photograph
Check = Callable[[Box, Tensor, Tensor], None]  # is told where a face is, what was given and what was made


@dataclass(frozen=True)
class FaceMoved:
    """A face that was restored; ``cosine`` is that of its identity before and after, None where the judge abstains."""

    place: FacePlace
    cosine: float | None
    same: bool | None  # whether the judge takes the two for one person

    def __str__(self) -> str:
        what = f"face of {self.place.side:.0f} pixels about column {self.place.x:.0f}, row {self.place.y:.0f}: "
        if self.cosine is None:
            return what + f"{JUDGE} abstains: this is unlike the drawn faces that it knows; see for yourself who it is"
        who = "the same person" if self.same else "another person"
        return what + f"its identity moved by {1 - self.cosine:.2f} (cosine {self.cosine:.2f}; {who} by {JUDGE})"


def restore_faces(
    colours: Pixels, places: Sequence[FacePlace], restorer: Restorer, device: str, check: Check
) -> tuple[Pixels, list[FaceMoved]]:
    """A picture ``(H, W, C)`` whose faces are restored, and what came of each, in the order of ``places``.

    Raises :class:`UsageError` where a face lies outside the picture, and what ``check`` raises.
    """
    side = restorer.network.side
    assert side is not None
    judge = load_given(JUDGE).to(device).eval()
    most, out, found = int(np.iinfo(colours.dtype).max), colours.copy(), []
    for place in places:
        left, top, right, bottom = box = box_of(place, colours.shape[1], colours.shape[0])
        part = torch.from_numpy(out[top:bottom, left:right].astype(np.float32) / most).permute(2, 0, 1)[None].to(device)
        here = replace(place, x=place.x - left, y=place.y - top)
        given = cut_out(part, here, side)  # (1, C, S, S)
        seen = for_network(given[0], restorer.network.channels)
        made = restorer.network(seen).float()
        check(box, seen, made)
        face = from_network(_held(restorer, made, seen, place.side), part.shape[1]).permute(2, 0, 1)[None].clamp(0, 1)
        found.append(_moved(judge, place, given, face))
        out[top:bottom, left:right] = in_kind_of(colours, put_back(part, face, here)[0].permute(1, 2, 0) * most)
    return out, found


def _held(restorer: Restorer, made: Tensor, given: Tensor, side: float) -> Tensor:
    """Held to the photograph, if it is to be: to what is coarse there, not in the enlarged face."""
    if restorer.fidelity is None:
        return made
    enlarged = max(1, round(made.shape[2] / side))
    return replace(restorer.fidelity, factor=COARSE * enlarged)(made, given)


def box_of(place: FacePlace, width: int, height: int) -> Box:
    """The pixels around a square; :class:`UsageError` where it lies outside the picture."""
    corners = place.corners()
    (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int) - 1, np.ceil(corners.max(0)).astype(int) + 1
    box = max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom))
    if not (0 <= place.x < width and 0 <= place.y < height):
        raise UsageError(
            f"a face about column {place.x:.0f}, row {place.y:.0f} lies outside the picture of {width}x{height} pixels"
        )
    return box


def cut_out(picture: Tensor, place: FacePlace, side: int) -> Tensor:
    """The square of a picture ``(1, C, H, W)`` as ``(1, C, side, side)``, upright; beyond its edges it is mirrored."""
    finer = max(1, math.ceil(place.side / side))  # points a pixel, so that a large face is averaged
    at = (torch.arange(side * finer, device=picture.device) + 0.5) / (side * finer) * 2 - 1
    y, x = torch.meshgrid(at, at, indexing="ij")
    found = _sampled(picture, *_turned(place.side / 2 * x, place.side / 2 * y, place), padding="reflection")
    return found if finer == 1 else torch.nn.functional.avg_pool2d(found, finer)


def put_back(picture: Tensor, face: Tensor, place: FacePlace) -> Tensor:
    """A picture ``(1, C, H, W)`` with a face ``(1, C, S, S)`` in a square of it, which ends softly inside."""
    smaller = max(1, round(min(face.shape[2], place.side)))
    face = interpolate(face, (smaller, smaller), mode="bicubic", antialias=True) if smaller < face.shape[2] else face
    height, width = picture.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=face.device) + 0.5, torch.arange(width, device=face.device) + 0.5, indexing="ij"
    )
    cos, sin = math.cos(place.angle), math.sin(place.angle)
    u, v = ((x - place.x) * cos + (y - place.y) * sin, (y - place.y) * cos - (x - place.x) * sin)
    u, v = 2 * u / place.side, 2 * v / place.side  # -1 to 1 within the square
    inside = ((1 - torch.maximum(u.abs(), v.abs())) / SEAM).clamp(0, 1)
    weight = inside * inside * (3 - 2 * inside)
    half = smaller / 2
    return picture.lerp(_sampled(face, half * (u + 1), half * (v + 1), padding="border"), weight)


def _turned(x: Tensor, y: Tensor, place: FacePlace) -> tuple[Tensor, Tensor]:
    """Columns and rows of points that are given from the middle of the square, along its sides."""
    cos, sin = math.cos(place.angle), math.sin(place.angle)
    return place.x + cos * x - sin * y, place.y + sin * x + cos * y


def _sampled(picture: Tensor, x: Tensor, y: Tensor, padding: str) -> Tensor:
    """``picture`` at columns and rows, in which the first pixel reaches from 0 to 1."""
    height, width = picture.shape[2:]
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)[None]
    return grid_sample(picture, grid.to(picture), mode="bilinear", padding_mode=padding, align_corners=False)


def _moved(judge: System, place: FacePlace, before: Tensor, after: Tensor) -> FaceMoved:
    """How far a face ``(1, C, S, S)`` in [0, 1] moved."""
    shape = Shape(*judge.shape)
    size = (shape.height, shape.width)
    one, other = (
        interpolate(2 * face.expand(-1, shape.channels, -1, -1) - 1, size, mode="bilinear", antialias=True).clamp(-1, 1)
        for face in (before, after)
    )
    if not bool(judge.in_distribution(torch.cat([one, other])).all()):
        return FaceMoved(place, None, None)
    cosine = float((judge.encode(one) * judge.encode(other)).sum())
    return FaceMoved(place, cosine, bool(judge.verify(one, other) > 0))
