"""Where the faces of a photograph are, by the cascades that come with OpenCV 4.

Viola and Jones 2001, "Rapid object detection using a boosted cascade of simple features": the package
``opencv-python-headless`` holds trained cascades of faces and of eyes. Nothing is downloaded. OpenCV 5 comes without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zeuxis.errors import Unsupported, UsageError

EXTRA = 'pip install "opencv-python-headless<5"'
MOST_SEEN = 1024  # pixels a side among which faces are looked for
LEAST = 24  # pixels a side of a face that is looked for
# In 114 pictures that are common for tests (BSD68, Set5, Set12, Set14, and old photographs) eleven faces are so found,
# and nothing that is none.
UNSURE, SURE = 55.0, 56.0  # the cascade's sum of votes: below the one no face, above the other one without eyes too
FACES = "haarcascade_frontalface_alt2.xml"
EYES = ("haarcascade_eye_tree_eyeglasses.xml", "haarcascade_eye.xml")
EXPECTED = ((0.31, 0.385), (0.66, 0.385))  # where eyes are in the cascade's box, in its sides
ASTRAY = 0.14  # how far from there, at most
ALIGNED_EYES, ALIGNED_APART = 0.469, 0.247  # their height and distance in the pictures that restorers learn (FFHQ's)


@dataclass(frozen=True)
class FacePlace:
    """A square around a face: its middle and side in pixels, and by how much it is turned, in radians, clockwise."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def corners(self) -> NDArray[np.float64]:
        """Its corners ``(4, 2)``, x before y, from the upper left in the direction of the clock."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        units = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        found: NDArray[np.float64] = self.side / 2 * units @ turn.T + (self.x, self.y)
        return found


def parse_place(text: str) -> FacePlace:
    """The square of ``X,Y,W,H``, left, top, width and height in pixels; grown about its middle where it is none.

    Raises :class:`UsageError` for what is no box.
    """
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--face {text}: write X,Y,W,H, the left, top, width and height in pixels") from None
    if not (min(width, height) >= 1 and all(map(math.isfinite, (x, y, width, height)))):
        raise UsageError(f"--face {text}: width and height are pixels, 1 or more")
    return FacePlace(x + width / 2, y + height / 2, max(width, height))


def finder_lacks() -> str | None:
    """Why faces cannot be looked for, and what mends it; None where they can."""
    return None if _cascades() is not None else _no_cascades()


def _no_cascades() -> str:
    lacks = "is not installed" if find_spec("cv2") is None else "came without its cascades, as version 5 does"
    return f"faces are found by OpenCV, which {lacks}: {EXTRA}, or give --face X,Y,W,H"


def _cascades() -> Path | None:
    """The folder of the cascades of OpenCV 4. Version 5 comes without, and so do those of some systems."""
    found = find_spec("cv2")
    folders = [] if found is None else [Path(place) / "data" for place in found.submodule_search_locations or ()]
    return next((folder for folder in folders if (folder / FACES).is_file()), None)


def find_faces(pixels: NDArray[Any]) -> list[FacePlace]:
    """The faces in a picture ``(H, W, C)`` of 8 or 16 bits, the largest first, framed as restorers learn them.

    Raises :class:`Unsupported` where the extra is not installed, or is an OpenCV without cascades.
    """
    folder = _cascades()
    if folder is None:
        raise Unsupported(_no_cascades())
    try:
        import cv2  # noqa: PLC0415  (an extra)
    except ImportError as error:  # the variant with windows wants libraries of a desktop
        raise Unsupported(f"OpenCV does not load ({error}): {EXTRA}, or give --face X,Y,W,H") from None
    grey = Image.fromarray((pixels.mean(2) * (255 / np.iinfo(pixels.dtype).max)).round().astype(np.uint8))
    scale = max(1.0, max(grey.size) / MOST_SEEN)
    seen = np.asarray(grey.resize([round(side / scale) for side in grey.size], Image.Resampling.BOX))
    cascade = cv2.CascadeClassifier(str(folder / FACES))
    boxes, _, votes = cascade.detectMultiScale3(seen, 1.1, 4, minSize=(LEAST, LEAST), outputRejectLevels=True)
    found = []
    for (x, y, side, _), sure in zip(boxes, votes, strict=True):
        eyes = _eyes(seen[y : y + side, x : x + side], folder)
        if sure >= SURE or (sure >= UNSURE and eyes is not None):
            found.append(_framed(float(x), float(y), float(side), eyes or EXPECTED, scale))
    return sorted(found, key=lambda place: -place.side)


Eyes = tuple[tuple[float, float], tuple[float, float]]  # the left one in the picture, the right one: x and y


def _eyes(face: NDArray[np.uint8], folder: Path) -> Eyes | None:
    """Where the eyes of a face are, in its sides; None where not both are found."""
    import cv2  # noqa: PLC0415  (an extra)

    side = 240
    upper = Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC).crop((0, 0, side, side * 6 // 10))
    for name in EYES:
        found = cv2.CascadeClassifier(str(folder / name)).detectMultiScale(np.asarray(upper), 1.05, 4, minSize=(36, 36))
        middles = [(float(x + w / 2) / side, float(y + h / 2) / side) for x, y, w, h in found]
        left, right = (_nearest(middles, place) for place in EXPECTED)
        if left is not None and right is not None:
            return left, right
    return None


def _nearest(middles: Sequence[tuple[float, float]], place: tuple[float, float]) -> tuple[float, float] | None:
    near = sorted((math.dist(one, place), one) for one in middles)
    return near[0][1] if near and near[0][0] <= ASTRAY else None


def _framed(x: float, y: float, side: float, eyes: Eyes, scale: float) -> FacePlace:
    """The square whose eyes lie level where those of the pictures do that restorers learn."""
    (x0, y0), (x1, y1) = ((scale * (x + side * u), scale * (y + side * v)) for u, v in eyes)
    angle, whole = math.atan2(y1 - y0, x1 - x0), math.dist((x0, y0), (x1, y1)) / ALIGNED_APART
    down = (0.5 - ALIGNED_EYES) * whole  # from between the eyes to the middle of the square
    middle = (x0 + x1) / 2 - down * math.sin(angle), (y0 + y1) / 2 + down * math.cos(angle)
    return FacePlace(*middle, whole, angle)
