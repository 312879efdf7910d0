"""What the numbers of a picture mean: those of another space of colours, by its profile (ICC), brought to sRGB.

Telephones keep Display P3 and many cameras Adobe RGB; read as sRGB such pictures are dull. Inks (CMYK) are colours by
their profile alone: without it what is printed as grey may be read as green.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms, features

from zeuxis.data.picture import transparent

RGB, INKS = b"RGB ", b"CMYK"  # how a profile calls the colours that it is of
ALIKE = 2  # levels of 255: a profile by which no colour moves further is sRGB's, in one of its many wordings
STEPS = (0, 64, 128, 192, 255)  # of each colour that is asked about
PLACE = slice(16, 20)  # in a profile: which colours it is of


def in_srgb(picture: Image.Image) -> Image.Image:
    """``picture`` in the colours of sRGB, in mode RGB or RGBA, by the profile in it.

    It is as it was where it has no profile, one of sRGB, of grey or of other colours than its own, or one that is
    damaged, which all programs take for none.
    """
    profile = picture.info.get("icc_profile")
    inks = picture.mode == "CMYK"
    if not isinstance(profile, bytes) or not (inks or picture.mode in ("RGB", "RGBA", "P", "PA")):
        return picture
    if profile[PLACE] != (INKS if inks else RGB):
        return picture
    if not features.check("littlecms2"):  # a Pillow that somebody built without it
        return picture
    try:
        to_srgb = _transform(profile, "CMYK" if inks else "RGB")
        if not inks and _same(to_srgb):
            return picture
        return _brought(picture, to_srgb)
    except ImageCms.PyCMSError:
        return picture


def of_inks(brought: Image.Image) -> str:
    """What to say of a picture of inks (CMYK) that :func:`in_srgb` was given, and gave back so."""
    how = ", as they have no profile of colours that can be used" if brought.mode == "CMYK" else " by its profile"
    return f"its inks (CMYK) become red, green and blue{how}"


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """Relative colorimetric with black at black, as programs for photographs do by themselves."""
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _same(to_srgb: ImageCms.ImageCmsTransform) -> bool:
    """Whether colours all over the cube stay where they are."""
    some = np.stack(np.meshgrid(STEPS, STEPS, STEPS), -1).reshape(1, -1, 3).astype(np.uint8)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(some), to_srgb))
    return bool(np.abs(moved.astype(int) - some.astype(int)).max() <= ALIKE)


def _brought(picture: Image.Image, to_srgb: ImageCms.ImageCmsTransform) -> Image.Image:
    """Colours alone are brought; transparency is kept."""
    alpha = picture.convert("RGBA").getchannel("A") if transparent(picture) else None
    found = ImageCms.applyTransform(picture if picture.mode == "CMYK" else picture.convert("RGB"), to_srgb)
    assert found is not None  # as it was not done in place
    found.info = {}  # the profile, and a colour that stood for nothing
    if alpha is not None:
        found.putalpha(alpha)
    return found
