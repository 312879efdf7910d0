"""A picture to be restored, with all that its file says beside its colours, and its way back into a file."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from zeuxis.api.restore_beside import camera_notes, colour_chunks, exif_at, pixels_to_a_metre
from zeuxis.api.restore_words import Chunks, words_of
from zeuxis.data.bit_depth import avif_bits, dark_notes
from zeuxis.data.deep_png import is_deep, read_deep, turned
from zeuxis.data.picture import (
    BITS,
    FORMATS,
    MOST_PROFILE,
    PHOTOMETRIC,
    TURNED,
    WIDE_MODES,
    Header,
    PictureRefused,
    full_range,
    mend_clear,
    read_header,
    require_whole,
    transparent,
    turn_of,
)
from zeuxis.data.profiles import in_srgb, of_inks
from zeuxis.errors import DataError, NoSuchPath
from zeuxis.nn.fidelity import LUMA
from zeuxis.provenance.record import SOURCE_TYPES

SOURCE_TYPE = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"  # a photograph with what a network added
Box = tuple[int, int, int, int]  # left, top, right, bottom
Pixels = NDArray[np.uint8] | NDArray[np.uint16]
PROFILES = {1: b"GRAY", 3: b"RGB "}  # how the profile of so many channels calls their colours
SEEN = 3  # rows that cubic interpolation sees beside its own, and one more
BAND = 512  # rows that are looked at a time; even
SEVERAL = {"TIFF": "it has {} pages: the first", "MPO": "it holds {} pictures: the first"}
MOVES = "it moves: the first of its {} pictures"


@dataclass(frozen=True, eq=False)
class OpenedPicture:
    """Upright colours ``(H, W, C)``, C 1 or 3, of 8 or 16 bits, and what lies beside them."""

    colours: Pixels
    alpha: Pixels | None = None  # (H, W), in as many bits
    profile: bytes | None = None  # ICC
    exif: bytes | None = None
    notes: tuple[str, ...] = ()  # what of the file is not kept
    beside: Chunks = ()  # of PNG: what its numbers mean, pixels to a metre, what its file says in words
    xmp: str | None = None  # what of its XMP is true of another file

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
        raise NoSuchPath("picture", path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of decoders: what they cannot do is an error
            read_header(path)
            return _with_notes(_opened(path))
    except PictureRefused as reason:
        raise DataError(f"{path}: {reason}") from None
    except MemoryError:
        raise DataError(f"{path}: there is not enough memory for it") from None
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise DataError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def header_of(path: Path) -> Header:
    """Size and mode of a picture file; raises :class:`PictureRefused`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        return read_header(path)


def _opened(path: Path) -> OpenedPicture:
    with Image.open(path, formats=FORMATS) as file:
        mend_clear(path, file)
        notes = several_notes(file, "restored")
        if file.mode == "F":
            raise PictureRefused("floating-point pixels: convert it to 8 or 16 bits a channel", "unsupported")
        if file.format == "TIFF" and file.mode not in WIDE_MODES and max(file.tag_v2.get(BITS, (8,))) > 8:  # type: ignore[attr-defined]
            notes.append("its colours of more than 8 bits are read by 8: convert it to PNG")
        if file.format == "AVIF" and (bits := avif_bits(path) or 8) > 8:
            notes.append(f"its colours of {bits} bits are read by 8: convert it to PNG of 16 bits with another program")
        stored = (file.tag_v2.get(BITS), file.tag_v2.get(PHOTOMETRIC)) if file.format == "TIFF" else None  # type: ignore[attr-defined]
        profile = file.info.get("icc_profile") if file.mode != "CMYK" else None
        if profile is not None and len(profile) > MOST_PROFILE:
            notes.append(
                f"its colour profile of {len(profile) / 1e6:.1f} MB is left out: a PNG with more than "
                f"{MOST_PROFILE >> 20} MiB of it is refused by many programs"
            )
            profile = None
        said = _said(file, notes) if file.format == "TIFF" else None  # decoding turns it, and closes the file
        require_whole(path, file)
        turn = turn_of(file)
        exif, words, xmp = said or _said(file, notes)
        upright = file.transpose(TURNED[turn]) if turn in TURNED else file
        if upright.mode == "CMYK":
            upright = in_srgb(upright)
            notes.append(of_inks(upright))
        beside = (*colour_chunks(path), *pixels_to_a_metre(file.info.get("dpi"), turned=turn >= 5), *words)
    if is_deep(path):
        deep = turned(read_deep(path), turn)
        colours, alpha = (deep[..., :-1], deep[..., -1]) if deep.shape[2] % 2 == 0 else (deep, None)
        notes += dark_notes(int(colours.max()), "restored")
        return OpenedPicture(colours, alpha, profile, exif, tuple(notes), beside, xmp)
    if upright.mode in WIDE_MODES:
        wide = np.asarray(upright if stored is None else full_range(upright, *stored)).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise PictureRefused("pixels outside 16 bits: convert it to 8 or 16 bits a channel", "unsupported")
        notes += dark_notes(int(wide.max()), "restored")
        hidden = upright.info.get("transparency")  # one grey, of PNG
        clear = None if hidden is None else np.where(wide == hidden, 0, 65535).astype(np.uint16)
        return OpenedPicture(wide.astype(np.uint16)[..., None], clear, profile, exif, tuple(notes), beside, xmp)
    kept = None
    if transparent(upright):
        whole = upright.convert("RGBA")
        kept = np.asarray(whole.getchannel("A"))
        grey = upright.mode in ("1", "L", "LA", "La")
        upright = whole.convert("RGB").convert("L") if grey else whole.convert("RGB")
    shown = np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
    return OpenedPicture(shown[..., None] if shown.ndim == 2 else shown, kept, profile, exif, tuple(notes), beside, xmp)


def several_notes(file: Image.Image, done: str) -> list[str]:
    """What to say of an open file of several pictures, of which one is ``done``."""
    count = getattr(file, "n_frames", 1)
    return [f"{SEVERAL.get(file.format or '', MOVES).format(count)} is {done}"] if count > 1 else []


def _said(file: Image.Image, notes: list[str]) -> tuple[bytes | None, Chunks, str | None]:
    """The camera's notes of an open file, what it says in words, and its XMP."""
    return camera_notes(file, notes), *words_of(file, notes)


def _with_notes(picture: OpenedPicture) -> OpenedPicture:
    """Without a profile of other colours than its own, and with a note where nothing of it can be seen."""
    picture = _with_its_profile(picture)
    if picture.alpha is None or picture.alpha.any():
        return picture
    return replace(picture, notes=(*picture.notes, "it is transparent all over, and so is what is made of it"))


def _with_its_profile(picture: OpenedPicture) -> OpenedPicture:
    """Without a profile of other colours than its own: a PNG that has one is refused, or shown wrong."""
    wanted = PROFILES[picture.colours.shape[2]]
    if picture.profile is None or picture.profile[16:20] == wanted:
        return picture
    of, pixels = (kind.decode("latin-1").strip() for kind in (picture.profile[16:20], wanted))
    note = f"its colour profile is of {of} and its pixels become {pixels}: it is left out"
    return replace(picture, profile=None, notes=(*picture.notes, note))


def in_kind_of(pixels: Pixels, values: Tensor) -> Pixels:
    """``values``, rounded, in as many bits as ``pixels``."""
    found = values.round().cpu().numpy()
    return found.astype(np.uint8) if pixels.dtype == np.uint8 else found.astype(np.uint16)


def alpha_rows(given: OpenedPicture, width: int, height: int) -> Callable[[int, int], Pixels] | None:
    """Of its transparency at another size, by cubic interpolation, the rows from one to before another.

    None where it has none. The whole of it is never held: of a large picture it would be the largest of all.
    """
    alpha = given.alpha
    if alpha is None:
        return None
    if alpha.shape == (height, width):
        return lambda top, bottom: alpha[top:bottom]
    scale = alpha.shape[0] / height

    def rows(top: int, bottom: int) -> Pixels:
        first = max(0, math.floor(top * scale) - SEEN)
        part = alpha[first : math.ceil(bottom * scale) + SEEN].astype(np.float32)
        box = (0.0, top * scale - first, float(part.shape[1]), bottom * scale - first)  # the kernel sees around it too
        found = Image.fromarray(part).resize((width, bottom - top), Image.Resampling.BICUBIC, box=box)
        values = np.asarray(found).clip(0, given.most).round()
        return values.astype(np.uint8) if given.most == 255 else values.astype(np.uint16)

    return rows


def chunks_beside(given: OpenedPicture, text: PngInfo, width: int, height: int) -> list[tuple[bytes, bytes]]:
    """What a PNG of the result holds beside its pixels: its text, what is kept of the given, the camera's notes."""
    found = [*((kind, content) for kind, content, *_ in text.chunks), *given.beside]
    if given.profile is not None:
        found.insert(0, (b"iCCP", b"ICC Profile\0\0" + zlib.compress(given.profile)))
    exif = exif_at(given.exif, width, height)
    if exif is not None:
        found.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    return found


def in_colour(picture: OpenedPicture) -> OpenedPicture:
    """A grey picture in red, green and blue, of which a profile of grey says nothing."""
    colours: Pixels = np.concatenate([picture.colours] * 3, axis=2)
    lost = () if picture.profile is None else ("its colour profile is of grey: it is left out",)
    return replace(picture, colours=colours, profile=None, notes=(*picture.notes, *lost))


def part_of(picture: OpenedPicture, box: Box) -> OpenedPicture:
    """The part of a picture inside left, top, right and bottom."""
    left, top, right, bottom = box
    alpha = None if picture.alpha is None else picture.alpha[top:bottom, left:right]
    return replace(picture, colours=picture.colours[top:bottom, left:right], alpha=alpha)


def with_channels(given: OpenedPicture, pixels: Pixels) -> OpenedPicture:
    """A picture like ``given`` of pixels ``(H, W, C)``, whose last channel is its transparency if it has one."""
    if given.alpha is None:
        return replace(given, colours=pixels)
    return replace(given, colours=pixels[..., :-1], alpha=pixels[..., -1])


def behind_filled(picture: OpenedPicture) -> Pixels:
    """The colours with those of wholly transparent pixels taken from around them.

    What nobody sees is often black, and a network would draw an edge where it begins. Colours are averaged, weighted
    by alpha, over squares of 2, 4, 8, ... pixels, and each pixel takes the finest that holds any. Some rows at a time
    are looked at, but for what is a quarter as large.
    """
    alpha = picture.alpha
    if alpha is None or alpha.min() > 0 or not alpha.any():  # there is nothing to fill, or no colour to take
        return picture.colours
    height, width = alpha.shape
    bands = [slice(top, min(height, top + BAND)) for top in range(0, height, BAND)]
    halves = [[avg_pool2d(values, 2, ceil_mode=True) for values in _weighted(picture, band)] for band in bands]
    coarse = _filled(*(torch.cat(parts, 2) for parts in zip(*halves, strict=True)))
    made = picture.colours.copy()
    for band in bands:
        hidden = torch.from_numpy(alpha[band] == 0)
        rows, columns = torch.arange(band.start, band.stop) // 2, torch.arange(width) // 2
        near = coarse[0, :, rows][:, :, columns].permute(1, 2, 0)  # (n, W, C)
        made[band][hidden.numpy()] = in_kind_of(made, near[hidden].clamp(0, picture.most))
    return made


def _weighted(picture: OpenedPicture, band: slice) -> tuple[Tensor, Tensor]:
    """Some rows of the colours ``(1, C, n, W)`` times their alpha, and that."""
    assert picture.alpha is not None
    colours = torch.from_numpy(picture.colours[band].astype(np.float32)).permute(2, 0, 1)[None]
    weight = torch.from_numpy(picture.alpha[band].astype(np.float32) / picture.most)[None, None]
    return colours * weight, weight


def _filled(weighted: Tensor, weight: Tensor) -> Tensor:
    """Colours ``(1, C, H, W)`` everywhere, of those that are weighted."""
    here = weighted / weight.clamp_min(1e-6)
    if weight.min() > 0 or max(weight.shape[2:]) == 1:
        return here
    half = [avg_pool2d(values, 2, ceil_mode=True) for values in (weighted, weight)]
    coarse = interpolate(_filled(*half), weight.shape[2:], mode="nearest")
    return torch.where(weight > 0, here, coarse)


def for_network(picture: Tensor, channels: int) -> Tensor:
    """A picture ``(C, h, w)`` as a batch: grey three times over in one, or each colour by itself."""
    if len(picture) == channels:
        return picture[None]
    return picture.expand(1, 3, -1, -1) if channels == 3 else picture[:, None]


def from_network(made: Tensor, channels: int) -> Tensor:
    """The inverse of :func:`for_network`: ``(h, w, C)``."""
    if made.shape[:2] == (3, 1):
        made = made.transpose(0, 1)
    rows = made[0]
    if len(rows) != channels:
        rows = (rows * rows.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    return rows.permute(1, 2, 0)
