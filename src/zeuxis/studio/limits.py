"""How much one request may ask for, and what may be given to it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from zeuxis.errors import UsageError
from zeuxis.spec import Size, height_width

MOST_PICTURES = 64  # of one job
MOST_GIVEN = 16  # pictures that one job is given
MOST_STEPS = 1000
MOST_SIDE = 2048  # pixels of what is drawn
MOST_DRAWN = 64 << 20  # pixels of all pictures of one job
MOST_FRAMES = 512  # of one walk
MOST_DIRECTIONS = 16  # found, or moved along, at a time
MOST_STRENGTH = 20.0  # of a direction, in standard deviations
MOST_SAMPLES = 5000  # latents that directions are found among
MOST_TEXT = 4000  # characters of a caption
MOST_PARTIALS = 8
MOST_PIXELS = 32_000_000  # of a picture that is given
MOST_BODY = 64 << 20  # bytes of a request
MOST_ITERATIONS = 10_000_000  # of a training
MOST_BATCH = 65_536  # examples of an iteration of a training
MOST_CHANGES = 20  # values of a recipe that one request replaces


def check_knobs(knobs: Mapping[str, object]) -> None:
    """Refuse more steps than one request may ask for."""
    steps = knobs.get("steps", 0)
    if isinstance(steps, (int, float)) and steps > MOST_STEPS:
        raise UsageError(f"steps {steps}: at most {MOST_STEPS} are taken here; zeuxis sample takes more")


def check_size(size: Size | None, pictures: int) -> None:
    """Refuse pictures that are larger, or more of them, than one request may ask for."""
    if size is None:
        return
    height, width = height_width(size)
    if max(height, width) > MOST_SIDE or height * width * pictures > MOST_DRAWN:
        raise UsageError(
            f"{pictures} of {width}x{height}: at most {MOST_SIDE} pixels a side and {MOST_DRAWN >> 20} megapixels in "
            "all are drawn for one request; ask for smaller ones, or fewer"
        )
