"""Pictures that are given, coded again: nothing of the file that came is kept but the picture. Imports no torch."""

from __future__ import annotations

import io
import tempfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zeuxis.data.deep_png import is_deep, read_deep, turned
from zeuxis.data.picture import FORMATS, MOST_PROFILE, read_header, read_kept, turn_in
from zeuxis.data.profiles import in_srgb, of_inks
from zeuxis.data.refused import UNKNOWN, PictureRefused, impostor
from zeuxis.errors import UsageError
from zeuxis.provenance.png_rows import PngRows
from zeuxis.studio.limits import MOST_PIXELS

SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WEBP"}
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})  # as PNG keeps them
GREYS = frozenset({"L", "I", "I;16"})  # whose 16 bits Pillow keeps


def cleaned(content: bytes) -> bytes:
    """The picture in ``content`` as a PNG of our own: upright, with its transparency, palette and colour profile.

    What is of 16 bits stays so (:mod:`zeuxis.data.deep_png`), and is restored as such. The profile says which colours
    its numbers are; inks are brought to those by theirs. Nothing is kept besides.

    Raises :class:`UsageError` for anything but a PNG, JPEG or WebP of at most 32 megapixels.
    """
    kind = next((name for begins, name in SIGNATURES.items() if content.startswith(begins)), None)
    if kind is None or (kind == "WEBP" and content[8:12] != b"WEBP"):
        raise UsageError(_what_else(content))
    try:
        header = read_header(io.BytesIO(content))
        if header.width * header.height > MOST_PIXELS:
            millions = header.width * header.height / 1e6
            raise UsageError(
                f"the picture is {header.width}x{header.height}, {millions:.0f} megapixels, and at most "
                f"{MOST_PIXELS // 1_000_000} are taken: make it smaller"
            )
        shown = read_kept(io.BytesIO(content))
        shown = in_srgb(shown) if shown.mode == "CMYK" else shown
        deep = _deep(content)
    except PictureRefused as reason:
        raise UsageError(f"the picture cannot be used: {reason}") from None
    profile = shown.info.get("icc_profile") if shown.mode != "CMYK" else None
    profile = profile if profile is not None and len(profile) <= MOST_PROFILE else None
    if deep is not None:
        return _as_deep_png(deep, profile)
    plain = shown if shown.mode in MODES else shown.convert("RGBA" if "A" in shown.mode else "RGB")
    bare = Image.frombytes(plain.mode, plain.size, plain.tobytes())
    if plain.mode == "P":
        bare.putpalette(plain.getpalette() or [])
    kept = {"transparency": plain.info.get("transparency"), "icc_profile": profile}
    out = io.BytesIO()
    bare.save(out, "PNG", **{name: value for name, value in kept.items() if value is not None})
    return out.getvalue()


def _what_else(content: bytes) -> str:
    """What was given in place of a picture, where that is known: telephones make HEIC, say."""
    reason = str(impostor(io.BytesIO(content)))
    if reason == UNKNOWN:
        return "this is no PNG, JPEG or WebP: give a picture in one of these forms"
    return f"this is no PNG, JPEG or WebP, but {reason}"


def not_kept(content: bytes) -> list[str]:
    """What of a picture that was taken is lost as it is coded again, in words."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as shown:
        found = []
        if shown.format in ("PNG", "WEBP") and (several := getattr(shown, "n_frames", 1)) > 1:
            found.append(f"it moves: the first of its {several} pictures is taken")
        if shown.mode == "CMYK":
            found.append(of_inks(in_srgb(shown)))
        elif len(shown.info.get("icc_profile") or b"") > MOST_PROFILE:
            found.append("its colour profile is left out, which is too large for a PNG")
    return found


def _deep(content: bytes) -> NDArray[np.uint16] | None:
    """Pixels ``(H, W, C)``, upright, of a PNG of 16 bits in colour or with transparency; None of others."""
    stream = io.BytesIO(content)
    return turned(read_deep(stream), turn_in(stream)) if is_deep(stream) else None


def _as_deep_png(pixels: NDArray[np.uint16], profile: bytes | None) -> bytes:
    height, width, channels = pixels.shape
    beside = [] if profile is None else [(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep.png"
        with PngRows(path, (width, height), channels, 16, beside) as out:
            out.write(pixels)
        return path.read_bytes()
