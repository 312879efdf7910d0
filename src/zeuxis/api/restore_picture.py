"""A picture to be restored, with all that its file says beside its colours, and its way back into a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from zeuxis.data.picture import FORMATS, WIDE_MODES, PictureRefused, read_header, transparent
from zeuxis.errors import DataError, UsageError
from zeuxis.provenance.record import SOURCE_TYPES, save_png

SOURCE_TYPE = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"  # a photograph with what a network added
Pixels = NDArray[np.uint8] | NDArray[np.uint16]
WIDTH, HEIGHT = 0xA002, 0xA003  # EXIF's own words for the size, in the block of the camera's settings
CAMERA = 0x8769
PNG_HEAD = 26  # bytes up to a PNG's depth and kind of colour
DEEP_COLOUR = {(16, 2), (16, 4), (16, 6)}  # depths and kinds of colour that Pillow reads by their upper halves


@dataclass(frozen=True, eq=False)
class OpenedPicture:
    """Upright colours ``(H, W, C)``, C 1 or 3, of 8 or 16 bits, and what lies beside them."""

    colours: Pixels
    alpha: Pixels | None = None  # (H, W), in as many bits
    profile: bytes | None = None  # ICC
    exif: bytes | None = None
    notes: tuple[str, ...] = ()  # what of the file is not kept

    @property
    def most(self) -> int:
        """The number of white."""
        return int(np.iinfo(self.colours.dtype).max)


def open_for_restoring(path: Path) -> OpenedPicture:
    """The picture in a file, upright.

    Raises :class:`UsageError` when there is no such file; :class:`DataError` when it is no picture, a damaged or too
    large a one.
    """
    if not path.is_file():
        raise UsageError(f"there is no picture {path}")
    try:
        read_header(path)
        return _opened(path)
    except PictureRefused as reason:
        raise DataError(f"{path}: {reason}") from None
    except MemoryError:
        raise DataError(f"{path}: there is not enough memory for it") from None
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise DataError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _opened(path: Path) -> OpenedPicture:
    notes = []
    with Image.open(path, formats=FORMATS) as file:
        if getattr(file, "n_frames", 1) > 1:
            notes.append(f"it moves: the first of its {file.n_frames} pictures is restored")  # type: ignore[attr-defined]
        if file.format == "PNG" and _depth(path) in DEEP_COLOUR:
            notes.append("its colours of 16 bits are read by 8")
        if file.mode == "CMYK":
            notes.append("its inks (CMYK) become red, green and blue, and its colour profile is left out")
        elif file.mode == "F":
            raise PictureRefused("floating-point pixels: convert it to 8 or 16 bits a channel", "unsupported")
        profile = file.info.get("icc_profile") if file.mode != "CMYK" else None
        upright = ImageOps.exif_transpose(file)
        exif = upright.getexif()
    if upright.mode in WIDE_MODES:
        wide = np.asarray(upright).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise PictureRefused("pixels outside 16 bits: convert it to 8 or 16 bits a channel", "unsupported")
        return OpenedPicture(wide.astype(np.uint16)[..., None], None, profile, _exif(exif), tuple(notes))
    alpha = None
    if transparent(upright):
        whole = upright.convert("RGBA")
        alpha = np.asarray(whole.getchannel("A"))
        grey = upright.mode in ("LA", "La") or (upright.mode == "L")
        upright = whole.convert("RGB").convert("L") if grey else whole.convert("RGB")
    colours = np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
    colours = colours[..., None] if colours.ndim == 2 else colours
    return OpenedPicture(colours, alpha, profile, _exif(exif), tuple(notes))


def _depth(path: Path) -> tuple[int, int]:
    """Bits and kind of colour of a PNG."""
    with path.open("rb") as file:
        head = file.read(PNG_HEAD)
    return (head[24], head[25]) if len(head) == PNG_HEAD else (0, 0)


def _exif(found: Image.Exif) -> bytes | None:
    return found.tobytes() if len(found) else None


def exif_at(exif: bytes | None, width: int, height: int) -> bytes | None:
    """The same camera's notes, with the size where they tell one."""
    if exif is None:
        return None
    notes = Image.Exif()
    notes.load(exif)
    camera = notes.get_ifd(CAMERA)
    camera.update({tag: value for tag, value in ((WIDTH, width), (HEIGHT, height)) if tag in camera})
    return notes.tobytes()


def in_kind_of(pixels: Pixels, values: Tensor) -> Pixels:
    """``values``, rounded, in as many bits as ``pixels``."""
    found = values.round().cpu().numpy()
    return found.astype(np.uint8) if pixels.dtype == np.uint8 else found.astype(np.uint16)


def with_result(given: OpenedPicture, colours: Pixels) -> OpenedPicture:
    """What was made of a picture: its colours, all else as it was, its transparency enlarged by cubic interpolation."""
    height, width = colours.shape[:2]
    alpha = given.alpha
    if alpha is not None and alpha.shape != (height, width):
        values = torch.from_numpy(alpha.astype(np.float32))[None, None]
        large = interpolate(values, (height, width), mode="bicubic", align_corners=False)[0, 0]
        alpha = in_kind_of(alpha, large.clamp(0, given.most))
    return replace(given, colours=colours, alpha=alpha, exif=exif_at(given.exif, width, height))


def save_restored(picture: OpenedPicture, path: Path, record: Mapping[str, Any]) -> None:
    """Write a PNG with its record, whole or not at all."""
    save_png(shown(picture), path, record, profile=picture.profile, exif=picture.exif, source_type=SOURCE_TYPE)


def shown(picture: OpenedPicture) -> Image.Image:
    """As Pillow has it."""
    colours = picture.colours[..., 0] if picture.colours.shape[2] == 1 else picture.colours
    if picture.alpha is None:
        return Image.fromarray(colours)
    image = Image.fromarray(colours)
    image.putalpha(Image.fromarray(picture.alpha))
    return image


def behind_filled(picture: OpenedPicture) -> Pixels:
    """The colours with those of wholly transparent pixels taken from around them.

    What nobody sees is often black, and a network would draw an edge where it begins. Colours are averaged, weighted
    by alpha, over squares of 2, 4, 8, ... pixels, and each pixel takes the finest that holds any.
    """
    if picture.alpha is None or picture.alpha.min() > 0:
        return picture.colours
    colours = torch.from_numpy(picture.colours.astype(np.float32)).permute(2, 0, 1)[None]  # (1, C, H, W)
    weight = torch.from_numpy(picture.alpha.astype(np.float32) / picture.most)[None, None]
    filled = _filled(colours * weight, weight)
    kept = torch.where(weight > 0, colours, filled)
    return in_kind_of(picture.colours, kept[0].permute(1, 2, 0).clamp(0, picture.most))


def _filled(weighted: Tensor, weight: Tensor) -> Tensor:
    """Colours ``(1, C, H, W)`` everywhere, of those that are weighted."""
    here = weighted / weight.clamp_min(1e-6)
    if weight.min() > 0 or max(weight.shape[2:]) == 1:
        return here
    half = [avg_pool2d(values, 2, ceil_mode=True) for values in (weighted, weight)]
    coarse = interpolate(_filled(*half), weight.shape[2:], mode="nearest")
    return torch.where(weight > 0, here, coarse)
