"""One picture of the user's, from a file, Pillow, numpy or torch, as a system takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.batch import to_float
from zeuxis.data import picture
from zeuxis.data.fit import WidthHeight, fit_picture, middle_box
from zeuxis.data.label_maps import BINARY, UNLABELLED
from zeuxis.data.masks import VOID
from zeuxis.data.pairing import class_colours
from zeuxis.data.profiles import in_srgb
from zeuxis.data.refused import UNKNOWN
from zeuxis.errors import DataError, NoSuchPath, Unsupported, UsageError

WHITE = 255
OPAQUE = 128  # the least alpha, of 255, that hides what is behind
SLACK = 1e-3  # beyond [-1, 1], for sums in half precision


def open_picture(path: Path, channels: int) -> Image.Image:
    """The picture at ``path``, upright, in grey (1 channel) or in colour (3), in the colours of sRGB.

    Raises UsageError when there is no such file; DataError when it is not a picture, or too large a one.
    """
    return _plain(in_srgb(_kept(path)), channels, str(path))


def has_colours(path: Path) -> bool:
    """Whether the picture at ``path`` would lose something in grey; as :func:`open_picture` otherwise."""
    pixels = np.asarray(_plain(_kept(path), 3, str(path)))
    return bool((pixels != pixels[..., :1]).any())


def tensor_of(shown: Image.Image) -> Tensor:
    """A grey or colour picture as ``(1, C, H, W)`` in [-1, 1]."""
    pixels = torch.from_numpy(np.array(shown)).reshape(1, shown.height, shown.width, -1)
    return to_float(pixels.permute(0, 3, 1, 2))


def size_of(value: Any, what: str) -> WidthHeight:
    """Width and height of a picture, upright."""
    found = _opened(value, what)
    return found.size if isinstance(found, Image.Image) else (found.shape[2], found.shape[1])


def picture_of(value: Any, channels: int, size: WidthHeight, what: str) -> Tensor:
    """A picture as ``(C, H, W)`` in [-1, 1]: the middle of it that has the proportions of ``size``, at that size.

    Args:
        value: a path; a Pillow picture; an array ``(H, W)`` or ``(H, W, C)``; a tensor ``(C, H, W)`` or ``(H, W)``.
            Whole numbers are uint8 in [0, 255], real ones lie in [-1, 1]. Files and Pillow pictures with a colour
            profile are brought to sRGB.
        channels: how many are wanted. Files, Pillow and uint8 arrays of 1, 3 and 4 are converted to 1 or 3.
        what: names it in errors.

    Raises:
        UsageError: no such file, or numbers outside the range.
        Unsupported: other channels.
        DataError: a file that cannot be read.
    """
    found = _opened(value, what)
    if isinstance(found, Image.Image):
        return tensor_of(fit_picture(_plain(in_srgb(found), channels, what), size))[0]
    if len(found) != channels:
        raise Unsupported(f"{what} has {len(found)} channels, and {channels} are wanted: give it with {channels}")
    if (found.shape[2], found.shape[1]) == size:
        return found
    left, top, right, bottom = middle_box((found.shape[2], found.shape[1]), size)
    part = found[None, :, top:bottom, left:right]
    return interpolate(part, size[::-1], mode="bicubic", antialias=True)[0].clamp(-1, 1)


def alpha_of(value: Any, size: WidthHeight, what: str) -> Image.Image | None:
    """The transparency of a picture as :func:`picture_of` shows it, in mode L; None where nothing is transparent."""
    shown = _image(value, what)
    if not picture.transparent(shown):
        return None
    alpha = shown.convert("RGBA").getchannel("A")
    return None if alpha.getextrema()[0] == WHITE else fit_picture(alpha, size)


def mask_of(value: Any, size: WidthHeight, what: str) -> Tensor:
    """A mask as ``(1, H, W)`` of 0 and 1, read by the nearest pixel: 1 where the picture is to be made.

    That is where a picture is transparent, or light where nothing is; where an array or a tensor, of bools or of
    0 and 1, is true. It may be ``(H, W)``, ``(H, W, 1)`` (numpy) or ``(1, H, W)`` (torch). Raises as
    :func:`picture_of`.
    """
    if isinstance(value, (np.ndarray, Tensor)):
        marks = _plane(value, what)
        if not np.isin(marks, (0, 1)).all():
            raise UsageError(f"{what} holds other values than 0 and 1: give 1 where the picture is to be made")
    else:
        shown = _image(value, what)
        alpha = np.asarray(shown.convert("RGBA").getchannel("A")) if picture.transparent(shown) else None
        if alpha is not None and (alpha < OPAQUE).any():
            marks = alpha < OPAQUE
        else:
            light = np.asarray(_plain(shown, 1, what))
            marks = light > WHITE // 2
            something = light.any() or (shown.mode in picture.WIDE_MODES and np.asarray(shown).any())
            if something and not marks.any():
                raise UsageError(
                    f"{what} is dark all over ({light.max()} of {WHITE} at most), so it marks nothing: make it white "
                    "where the picture is to be made (of 0 and 1, times 255)"
                )
    nearest = fit_picture(Image.fromarray(marks.astype(np.uint8)), size, labels=True)
    return torch.from_numpy(np.array(nearest)).float()[None]


def layout_of(value: Any, size: WidthHeight, names: tuple[str, ...], what: str) -> Tensor:
    """A class for every pixel, int64 ``(H, W)``, read by the nearest pixel.

    A picture holds them as grey values or palette indices, or in the colours of
    :func:`zeuxis.data.pairing.class_colours`; an array or a tensor ``(H, W)`` as whole numbers. 255 is the class void,
    where the last is that.

    Raises:
        UsageError: a class that is none of ``names``, or a colour of none.
        DataError: a file that cannot be read, or has no whole numbers.
    """
    if isinstance(value, (np.ndarray, Tensor)):
        classes = _plane(value, what)
    else:
        shown = _image(value, what)
        if shown.mode == "F":
            raise DataError(f"{what} cannot be used: floating-point pixels name no classes: save it in whole numbers")
        if shown.mode in ("LA", "La"):  # numbers, and how opaque they are, which says nothing
            shown = shown.getchannel(0)
        coloured = shown.mode != "P" and shown.mode not in picture.GREY_MODES
        classes = _of_colours(shown, names, what) if coloured else np.asarray(shown)
    classes = classes.astype(np.int32)
    if names and names[-1] in (UNLABELLED, BINARY[-1]) and len(names) <= VOID:  # as label maps of folders are read
        classes = np.where(classes == VOID, len(names) - 1, classes).astype(np.int32)
    found = np.unique(classes)
    if found[0] < 0 or found[-1] >= len(names):
        wrong = found[0] if found[0] < 0 else found[-1]
        known = ", ".join(f"{k} {name}" for k, name in enumerate(names))
        raise UsageError(f"{what} holds class {wrong}, which is none of the {len(names)} that there are: {known}")
    nearest = fit_picture(Image.fromarray(classes), size, labels=True)
    return torch.from_numpy(np.array(nearest)).long()


def _of_colours(shown: Image.Image, names: tuple[str, ...], what: str) -> Any:
    """The classes ``(H, W)`` whose colours a picture has."""
    pixels = np.asarray(shown.convert("RGB")).astype(np.int64) @ (1 << 16, 1 << 8, 1)  # (H, W)
    table = class_colours(len(names)).numpy().astype(np.int64) @ (1 << 16, 1 << 8, 1)
    order = np.argsort(table)
    at = order[np.searchsorted(table, pixels, sorter=order).clip(max=len(names) - 1)]
    if (strange := pixels[table[at] != pixels]).size:
        known = ", ".join(f"#{colour:06x} {name}" for colour, name in zip(table.tolist(), names, strict=True))
        raise UsageError(
            f"{what} has the colour #{int(strange[0]):06x}, which is no class ({strange.size:,} pixels of such): draw "
            f"without smoothing, in {known}; or give class numbers, in grey or by palette"
        )
    return at


def _kept(path: Path) -> Image.Image:
    """The picture at ``path``, upright, in its own mode."""
    if not path.is_file():
        raise NoSuchPath("picture", path)
    try:
        picture.read_header(path)
        return picture.read_kept(path)
    except picture.PictureRefused as reason:
        if str(reason) == UNKNOWN:
            raise DataError(f"{path} cannot be used: it is no picture of a usual format, such as PNG or JPEG") from None
        raise DataError(f"{path} cannot be used: {reason}") from None


def _plain(shown: Image.Image, channels: int, what: str) -> Image.Image:
    if channels not in (1, 3):
        raise Unsupported(
            f"{what}: {channels} channels are wanted, and a picture gives 1 or 3: give several pictures "
            f"that are laid in its channels, or a tensor of {channels}"
        )
    try:
        return picture.composited(shown, grey=channels == 1)
    except picture.PictureRefused as reason:
        raise DataError(f"{what} cannot be used: {reason}") from None


def _image(value: Any, what: str) -> Image.Image:
    match value:
        case Image.Image():
            return ImageOps.exif_transpose(value)
        case str() | Path():
            return _kept(Path(value))
        case _:
            raise UsageError(f"{what} is a {type(value).__name__}: give a path, a Pillow picture, an array or a tensor")


def _opened(value: Any, what: str) -> Image.Image | Tensor:
    """A Pillow picture, or a tensor ``(C, H, W)`` in [-1, 1]."""
    match value:
        case np.ndarray() if value.ndim in (2, 3):
            planes = value[..., None] if value.ndim == 2 else value
            if planes.dtype == np.uint8 and planes.shape[2] in (1, 3, 4):
                return Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
            return _in_range(torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1))), what)
        case Tensor() if value.ndim in (2, 3):
            return _in_range(value[None] if value.ndim == 2 else value, what)
        case np.ndarray() | Tensor():
            raise UsageError(f"{what} is of shape {tuple(value.shape)}: give (H, W, C) in numpy, (C, H, W) in torch")
        case _:
            return _image(value, what)


def _in_range(values: Tensor, what: str) -> Tensor:
    if values.dtype == torch.uint8:
        return to_float(values.cpu())
    if not values.is_floating_point():
        raise UsageError(f"{what} holds {values.dtype}: give uint8 in [0, 255], or real numbers in [-1, 1]")
    values = values.detach().float().cpu()
    if not (values.abs() <= 1 + SLACK).all():
        raise UsageError(f"{what} holds numbers outside [-1, 1]: scale them (x / 127.5 - 1), or give uint8 in [0, 255]")
    return values


def _plane(value: Any, what: str) -> Any:
    """An array or a tensor of one channel as a numpy array ``(H, W)``."""
    found = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    if found.ndim == 3:
        found = found[0] if isinstance(value, Tensor) and len(found) == 1 else found
        found = found[..., 0] if found.ndim == 3 and found.shape[2] == 1 else found
    if found.ndim != 2:
        raise UsageError(f"{what} is of shape {tuple(value.shape)}: give (H, W)")
    if found.dtype.kind not in "biu" and not (found == found.round()).all():
        raise UsageError(f"{what} holds fractions: give whole numbers")
    return found
