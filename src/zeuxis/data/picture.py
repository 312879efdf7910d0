"""Opening a picture file of unknown origin: any usual format and mode, and none that could do harm.

The header is read first, and a picture is refused there if it is too large, so nothing is decoded that could exhaust
the memory; over all threads no more pixels are decoded at a time than one file may have. Orientation is applied,
transparency is composited on white, 16-bit grey is scaled to 8 bits, animations give their first frame. Colour
profiles are ignored. A file that ends well and lacks a part of its picture is refused like one that is cut off.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError, features
from PIL.TiffImagePlugin import TiffImageFile

from zeuxis.data import suffixes
from zeuxis.data.png_chunks import png_chunks
from zeuxis.data.refused import PictureRefused as PictureRefused
from zeuxis.data.refused import bytes_of, impostor, stream_of
from zeuxis.data.room import Room
from zeuxis.data.whole import jpeg_with_more, one_colour, png_is_whole, webp_size

if TYPE_CHECKING:
    from zeuxis.data.source import Array  # which imports torch

AVIF = importlib.util.find_spec("PIL.AvifImagePlugin") is not None and bool(features.check("avif"))
SUFFIXES = suffixes.ALWAYS | suffixes.AVIF if AVIF else suffixes.ALWAYS
UNREAD = suffixes.PICTURES - SUFFIXES  # pictures that are not read are told of, everything else is no picture
# What may be decoded, whatever the suffix.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", *(("AVIF",) if AVIF else ()))
MOST_PIXELS = 100_000_000
MOST_BYTES = 1 << 30  # of a file: more than those pixels take, whatever they are kept as
MOST_PROFILE = 1 << 20  # bytes of a colour profile: Pillow refuses a PNG with a larger one
LARGE = 1_000_000  # pixels; a smaller picture does not fail for want of memory
BYTES_EACH = 16  # that decoding takes of a pixel, at most
IN_FLIGHT = Room(MOST_PIXELS)
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})
WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L"})  # 16 bits a pixel; Pillow widens some to 32
ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 turn the picture by a quarter
WIDTH, HEIGHT, BITS, PHOTOMETRIC = 256, 257, 258, 262  # tags of a TIFF
TURNED = {  # how a picture of each orientation is brought upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEPTH_AT = 24  # where a PNG says how many bits its values have
NOTED = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # how texts of a PNG begin that may tell its orientation
MOST_SCANS = 200  # of a progressive JPEG; those that are made have about ten


@dataclass(frozen=True)
class Header:
    """What is known before decoding: the size as it will be shown, whether it is grey, the bytes of the file, and
    whether it has an alpha channel or a transparent colour."""

    width: int
    height: int
    grey: bool
    bytes: int = 0
    alpha: bool = False

    @property
    def room(self) -> int:
        """The pixels whose memory decoding may take: its own, or more where the file, held twice, is larger."""
        return max(self.width * self.height, 2 * self.bytes // BYTES_EACH)


def read_header(file: Path | BinaryIO) -> Header:
    """Size and mode of a picture file, without decoding it.

    Raises:
        PictureRefused: not a picture of a usual format, empty, or of more than 100 megapixels.
    """
    with _refusing(file), IN_FLIGHT.of(_taken_by_opening(file)), _opened(file) as picture:
        width, height = picture.size
        if isinstance(picture, TiffImageFile):  # whether Pillow has turned its size already depends on its version
            width, height = int(picture.tag_v2[WIDTH]), int(picture.tag_v2[HEIGHT])
        if _turn_of_header(file, picture) in (5, 6, 7, 8):
            width, height = height, width
        return Header(width, height, picture.mode in GREY_MODES, bytes_of(file), transparent(picture))


def read_picture(file: Path | BinaryIO, *, grey: bool) -> Image.Image:
    """The picture, upright, in mode L or RGB.

    Raises:
        PictureRefused: it cannot be decoded, or has pixels that are no brightness (floating point).
    """
    return composited(read_kept(file), grey=grey)


def read_kept(file: Path | BinaryIO) -> Image.Image:
    """The picture, upright, in the mode that it is kept in: palette indices and transparency as they are.

    Raises:
        PictureRefused: it cannot be decoded.
    """
    with _refusing(file), _opened(file) as picture:
        tiff = (
            (picture.tag_v2.get(BITS), picture.tag_v2.get(PHOTOMETRIC)) if isinstance(picture, TiffImageFile) else None
        )
        require_whole(file, picture)
        if tiff is not None:  # Pillow has turned it
            return full_range(picture, *tiff) if picture.mode in WIDE_MODES else picture
        turn = TURNED.get(turn_of(picture))
        return picture if turn is None else _labelled(picture.transpose(turn), picture.format)


def turn_in(file: Path | BinaryIO) -> int:
    """The EXIF orientation of a picture file; raises :class:`PictureRefused` where it is none."""
    with _refusing(file), _opened(file) as picture:
        return _turn_of_header(file, picture)


def turn_of(picture: Image.Image) -> int:
    """The EXIF orientation of a picture: 1 (upright) where it has none, or notes that cannot be read."""
    try:
        return int(Image.Image.getexif(picture).get(ORIENTATION, 1))  # PNG's own method would decode to look further
    except Exception:  # noqa: BLE001  (damaged notes raise nearly anything, and say nothing against the picture)
        return 1


def _turn_of_header(file: Path | BinaryIO, picture: Image.Image) -> int:
    """The orientation of a picture that is not decoded; of a PNG whose notes follow its pixels it must be."""
    if picture.format == "PNG" and _notes_follow(file):
        with IN_FLIGHT.of(picture.width * picture.height):
            picture.load()
    return turn_of(picture)


def _notes_follow(file: Path | BinaryIO) -> bool:
    """Whether a PNG holds something after its pixels that may tell how it is turned."""
    late = False
    with stream_of(file) as stream:
        for kind, _ in png_chunks(stream):
            late = late or kind == b"IDAT"
            if late and (
                kind == b"eXIf" or (kind in (b"tEXt", b"zTXt", b"iTXt") and stream.read(32).startswith(NOTED))
            ):
                return True
    return False


def upright(picture: Image.Image) -> Image.Image:
    """``picture``, which was opened elsewhere, as its notes say that it is to be seen."""
    picture.load()  # TIFFs are turned by this, and lose the note
    turn = TURNED.get(turn_of(picture))
    return picture if turn is None else picture.transpose(turn)


def _labelled(picture: Image.Image, kind: str | None) -> Image.Image:
    picture.format = kind
    return picture


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[Image.Image]:
    """The opened file, if it is not too large."""
    if (size := bytes_of(file)) > MOST_BYTES:
        raise PictureRefused(f"the file has {size / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:,.0f} are read", "huge")
    with Image.open(file, formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > MOST_PIXELS:
            raise _too_large(width, height)
        mend_clear(file, picture)
        yield picture


def mend_clear(file: Path | BinaryIO, picture: Image.Image) -> None:
    """Bring the transparent colour of an open PNG to 8 bits: Pillow widens greys of 2 and 4 bits to that and narrows
    colours of 16, but leaves this one as the file has it, so that nothing is transparent."""
    clear = picture.info.get("transparency")
    if picture.format != "PNG" or not isinstance(clear, (int, tuple)):
        return
    with stream_of(file) as stream:
        depth = stream.read(DEPTH_AT + 1)[DEPTH_AT]
    if isinstance(clear, int) and picture.mode == "L" and clear < 1 << depth < 256:
        picture.info["transparency"] = clear * 255 // ((1 << depth) - 1)
    elif isinstance(clear, tuple) and max(clear) > 255:
        picture.info["transparency"] = tuple(value >> 8 for value in clear)


def _too_large(width: int, height: int) -> PictureRefused:
    return PictureRefused(f"{width}x{height} is {width * height / 1e6:.0f} megapixels; at most 100 are read", "huge")


def _taken_by_opening(file: Path | BinaryIO) -> int:
    """The pixels that a file takes memory for when it is opened: all of a WebP's, none of others'."""
    with stream_of(file) as stream:
        size = webp_size(stream.read(30))
    if size is not None and size[0] * size[1] > MOST_PIXELS:
        raise _too_large(*size)
    return 0 if size is None else size[0] * size[1]


def require_whole(file: Path | BinaryIO, picture: Image.Image) -> None:
    """Decode ``picture``, which was opened from ``file``.

    Raises :class:`PictureRefused` where it lacks a part that decoders fill up in silence.
    """
    scans = bool(picture.info.get("progressive"))  # of a JPEG, each of which goes over the whole picture
    if picture.format in ("JPEG", "MPO") and scans:
        with stream_of(file) as stream:
            if (n := stream.read().count(b"\xff\xda")) > MOST_SCANS:
                raise PictureRefused(f"a progressive JPEG of {n} scans: at most {MOST_SCANS} are read", "huge")
    if isinstance(picture, TiffImageFile) and picture.tile:
        boxes = [tile[1] for tile in picture.tile if tile[1] is not None]
        if boxes and max(box[3] for box in boxes) < picture.tag_v2[HEIGHT]:
            raise PictureRefused("image file is truncated: strips are missing")
    picture.load()
    if picture.format == "PNG":
        with stream_of(file) as stream:
            if not png_is_whole(stream):
                raise PictureRefused("image file is truncated: rows are missing")
    elif picture.format in ("JPEG", "MPO"):
        width, height = picture.size
        corner = picture.crop((max(0, width - 8), max(0, height - 8), width, height))
        if not scans and not one_colour(np.asarray(corner)):  # what a decoder fills up is of one colour
            return
        with stream_of(file) as stream:
            more = jpeg_with_more(stream.read())
        if more is not None:
            with Image.open(io.BytesIO(more), formats=("JPEG",)) as again:
                if not np.array_equal(np.asarray(again), np.asarray(picture)):
                    raise PictureRefused("image file is truncated: a part of the picture is missing")


def full_range(picture: Image.Image, bits: tuple[int, ...] | int | None, photometric: int | None) -> Image.Image:
    """Grey of a TIFF of more than 8 bits a pixel in 0 to 65535, white being large, as Pillow leaves to do."""
    depth = int(bits[0]) if isinstance(bits, tuple) else int(bits or 16)
    wide = np.asarray(picture).astype(np.int64)
    top = (1 << depth) - 1
    if depth > 16 or wide.min() < 0 or wide.max() > top:
        return picture
    if photometric == 0:  # white is zero
        wide = top - wide
    return Image.fromarray((wide * 65535 // top).astype(np.uint16))


def composited(picture: Image.Image, *, grey: bool, bits: int = 16) -> Image.Image:
    """``picture`` in mode L or RGB, white being at ``bits`` of one of 16.

    Raises :class:`PictureRefused` where its pixels are no brightness, or more than that.
    """
    mode = "L" if grey else "RGB"
    if picture.mode in WIDE_MODES:
        wide = np.asarray(picture).astype(np.int64)
        shown = to_bytes(wide, bits)
        if isinstance(clear := picture.info.get("transparency"), int):
            shown[wide == clear] = 255
        return Image.fromarray(shown).convert(mode)
    if picture.mode == "F":
        raise PictureRefused("floating-point pixels: convert it to 8 or 16 bits a channel", "unsupported")
    try:
        if transparent(picture):
            rgba = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
        return picture.convert(mode)
    except ValueError as error:  # a space of colours that Pillow does not bring to red, green and blue
        raise PictureRefused(f"colours as {picture.mode}: convert it to RGB ({error})", "unsupported") from error


def transparent(picture: Image.Image) -> bool:
    """Whether it has an alpha channel or a transparent colour."""
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def to_bytes(wide: Array, bits: int = 16) -> Array:
    """Brightness of ``bits`` to 8 bits, rounded."""
    white = (1 << bits) - 1
    if wide.min() < 0 or wide.max() > 65535:
        raise PictureRefused("pixels outside 16 bits: convert it to 8 or 16 bits a channel", "unsupported")
    if wide.max() > white:
        raise PictureRefused(f"pixels up to {wide.max():,}: more than {bits} bits hold ({white:,})", "unsupported")
    return ((wide * 255 + white // 2) // white).astype(np.uint8)


@contextmanager
def _refusing(file: Path | BinaryIO) -> Iterator[None]:
    """Whatever a damaged file makes decoders raise, which is nearly anything, as a refusal with its reason."""
    try:
        yield
    except PictureRefused:
        raise
    except MemoryError as error:
        raise PictureRefused("there was not enough memory to decode it", "memory") from error
    except Exception as error:
        raise _refusal(file, error) from error


def _refusal(file: Path | BinaryIO, error: Exception) -> PictureRefused:
    if isinstance(error, OSError) and error.errno is not None:  # of the system, not of a decoder
        return PictureRefused(f"cannot be read: {error.strerror}", "unreadable")
    if "memory" in str(error) or not _room_for(file):
        return PictureRefused("there was not enough memory to decode it", "memory")
    if isinstance(error, Image.DecompressionBombError):
        pixels = next((int(number) for number in re.findall(r"\d+", str(error))), 0)
        return PictureRefused(f"{pixels / 1e6:,.0f} megapixels; at most 100 are read", "huge")
    if isinstance(error, UnidentifiedImageError):
        return impostor(file)
    text = " ".join(str(error).split())
    return PictureRefused(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _room_for(file: Path | BinaryIO) -> bool:
    """Whether the memory that a large WebP takes could be had: its decoder fails without a reason."""
    try:
        pixels = _taken_by_opening(file)
        if pixels > LARGE:
            bytearray(pixels * BYTES_EACH)
    except MemoryError:
        return False
    except (PictureRefused, OSError):
        return True
    return True
