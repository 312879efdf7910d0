"""How much one request may ask for, and what may be given to it. Imports no torch."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image

from zeuxis.data.picture import MOST_PROFILE, read_header, read_kept
from zeuxis.data.refused import PictureRefused
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
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WEBP"}
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})  # as PNG keeps them


def cleaned(content: bytes) -> bytes:
    """The picture in ``content`` as a PNG of our own: upright, with its transparency, palette and colour profile.

    The profile says which colours its numbers are; that of inks goes with them. Nothing is kept besides.

    Raises :class:`UsageError` for anything but a PNG, JPEG or WebP of at most 32 megapixels.
    """
    kind = next((name for begins, name in SIGNATURES.items() if content.startswith(begins)), None)
    if kind is None or (kind == "WEBP" and content[8:12] != b"WEBP"):
        raise UsageError("this is no PNG, JPEG or WebP: give a picture in one of these forms")
    try:
        header = read_header(io.BytesIO(content))
        if header.width * header.height > MOST_PIXELS:
            millions = header.width * header.height / 1e6
            raise UsageError(
                f"the picture is {header.width}x{header.height}, {millions:.0f} megapixels, and at most "
                f"{MOST_PIXELS // 1_000_000} are taken: make it smaller"
            )
        shown = read_kept(io.BytesIO(content))
    except PictureRefused as reason:
        raise UsageError(f"the picture cannot be used: {reason}") from None
    plain = shown if shown.mode in MODES else shown.convert("RGBA" if "A" in shown.mode else "RGB")
    bare = Image.frombytes(plain.mode, plain.size, plain.tobytes())
    if plain.mode == "P":
        bare.putpalette(plain.getpalette() or [])
    profile = shown.info.get("icc_profile") if shown.mode != "CMYK" else None
    kept = {
        "transparency": plain.info.get("transparency"),
        "icc_profile": profile if profile is not None and len(profile) <= MOST_PROFILE else None,
    }
    out = io.BytesIO()
    bare.save(out, "PNG", **{name: value for name, value in kept.items() if value is not None})
    return out.getvalue()


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
