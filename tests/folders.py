"""Folders of photographs as people have them, made by code: every kind of file in known numbers."""

from __future__ import annotations

import os
import struct
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from hostile import chunk, coded, exif, noise, png
from PIL import Image, ImageCms

from zeuxis.data.source import Source

TOTAL = 317
CLASSES = ("2 wren", "10 owl", "Größe #50%", "zebra")  # in natural order


def photo(seed: int, size: tuple[int, int] = (24, 18), mode: str = "RGB") -> Image.Image:
    """A smooth picture of its own."""
    y, x = np.mgrid[: size[1], : size[0]]
    phase = np.array([seed % 7, seed % 11, seed % 13])
    waves = 127 + 100 * np.sin(0.2 * x[..., None] + 0.3 * y[..., None] * (1 + seed % 3) + phase)
    return Image.fromarray(waves.astype(np.uint8)).convert(mode)


def put(path: Path, picture: Image.Image | None = None, data: bytes = b"", **settings: object) -> Path:
    """A file at ``path``: ``picture``, or ``data``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture is None:
        path.write_bytes(data)
    else:
        picture.save(path, **settings)
    return path


def told(source: Source) -> tuple[str, ...]:
    """The remarks of a source, but that pictures of other proportions were cut, and what is transparent is white."""
    said = (" pictures brought to ", " have an alpha channel")
    return tuple(line for line in source.remarks if not any(part in line for part in said))


def many(folder: Path, n: int, start: int = 0, **settings: object) -> None:
    """``n`` pictures called 000.png, 001.png, ..."""
    for k in range(start, start + n):
        if settings:
            put(folder / f"{k:03}.png", photo(k), **settings)
        else:
            put(folder / f"{k:03}.png", data=_png(k))


@cache
def _png(seed: int) -> bytes:
    return coded(photo(seed), "PNG")


def rows_missing(width: int = 64, height: int = 64, rows: int = 20) -> bytes:
    """A PNG that ends well and holds too few rows."""
    raw = b"".join(b"\0" + np.random.default_rng(k).bytes(3 * width) for k in range(rows))
    return png(width, height, chunk(b"IDAT", zlib.compress(raw)), colour=2)


def cut_jpeg(end: bytes = b"") -> bytes:
    """The first half of a JPEG, with ``end`` behind it."""
    data = coded(noise("RGB", 1, 96), "JPEG")
    return data[: len(data) // 2] + end


def wide(level: int, **settings: object) -> bytes:
    """A TIFF of 16 bits a pixel."""
    return coded(Image.fromarray(np.full((16, 16), level, np.uint16)), "TIFF", **settings)


def orientation(turn: int) -> bytes:
    """EXIF that says how a picture is turned."""
    return exif(struct.pack("<HHIHH", 0x0112, 3, 1, turn, 0))


def animated(kind: str, seed: int) -> bytes:
    frames = [photo(seed + k, mode="P" if kind == "GIF" else "RGB") for k in range(3)]
    return coded(frames[0], kind, save_all=True, append_images=frames[1:])


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def clear_palette(k: int) -> bytes:
    return coded(photo(k, mode="P"), "PNG", transparency=0)


@dataclass(frozen=True)
class Kind:
    """So many files of a kind; the last part of ``name`` is their suffix."""

    name: str
    count: int
    made: Callable[[int], bytes]


def adobe(k: int) -> bytes:
    return coded(noise("CMYK", k), "JPEG")


USED = (
    Kind("plain.JPG", 30, lambda k: coded(photo(k, (30 + k, 20)), "JPEG")),
    Kind("png.png", 16, lambda k: coded(photo(k), "PNG")),
    Kind("turned.jpg", 8, lambda k: coded(photo(k), "JPEG", exif=orientation(k % 8 + 1))),
    Kind("turned.tif", 8, lambda k: coded(photo(k), "TIFF", tiffinfo={274: k % 8 + 1})),
    Kind("palette.png", 8, clear_palette),
    Kind("alpha.png", 8, lambda k: coded(photo(k, mode="RGBA"), "PNG")),
    Kind("grey-alpha.png", 8, lambda k: coded(photo(k, mode="LA"), "PNG")),
    Kind("sixteen.png", 8, lambda k: coded(noise("I;16", k), "PNG")),
    Kind("one-bit.png", 6, lambda k: coded(photo(k, mode="1"), "PNG")),
    Kind("grey.jpeg", 6, lambda k: coded(photo(k, mode="L"), "JPEG")),
    Kind("cmyk.jpg", 6, adobe),
    Kind("progressive.jpe", 6, lambda k: coded(photo(k), "JPEG", progressive=True)),
    Kind("phone.jfif", 6, lambda k: coded(photo(k), "JPEG")),
    Kind("moving.gif", 6, lambda k: animated("GIF", k)),
    Kind("moving.apng", 4, lambda k: animated("PNG", k)),
    Kind("moving.webp", 4, lambda k: animated("WEBP", k)),
    Kind("lossy.webp", 6, lambda k: coded(photo(k), "WEBP")),
    Kind("bitmap.bmp", 4, lambda k: coded(photo(k), "BMP")),
    Kind("bitmap.dib", 2, lambda k: coded(photo(k), "DIB")),
    Kind("plain.ppm", 4, lambda k: coded(photo(k), "PPM")),
    Kind("plain.pbm", 2, lambda k: coded(photo(k, mode="1"), "PPM")),
    Kind("white-is-zero.tif", 4, lambda k: wide(1000 * k, tiffinfo={262: 0})),
    Kind("profile.png", 4, lambda k: coded(photo(k), "PNG", icc_profile=profile())),
    Kind("misnamed.png", 4, lambda k: coded(photo(k), "JPEG")),
)
DAMAGED = (
    Kind("empty.jpg", 2, lambda k: b""),
    Kind("cut.jpg", 2, lambda k: cut_jpeg()),
    Kind("cut-and-closed.jpg", 1, lambda k: cut_jpeg(b"\xff\xd9")),
    Kind("rows-missing.png", 1, lambda k: rows_missing()),
    Kind("page.jpg", 1, lambda k: b"<html>404</html>"),
)
UNSUPPORTED = (
    Kind("phone.HEIC", 2, lambda k: b"\0\0\0\x18ftypheic" + bytes(64)),
    Kind("raw.CR2", 1, lambda k: b"II*\0" + bytes(64)),
)
ODD_NAMES = ("spa ce.jpg", "hash#1.jpg", "50%.jpg", "CON.jpg", "-rf.jpg", "'quote\".jpg", "new\nline.jpg")
HIDDEN = (".DS_Store", "._000.jpg", "Thumbs.db", "desktop.ini")


def write_photographs(root: Path) -> dict[str, str]:
    """317 photographs in four classes, and what lies beside them: every file and folder (with a ``/``), with "used" or
    the kind of reason for which it is not."""
    fate: dict[str, str] = {}
    at = 0

    def place(name: str, data: bytes, kind: str) -> None:
        nonlocal at
        path = f"{CLASSES[at % len(CLASSES)]}/{name}"
        put(root / path, data=data)
        fate[path], at = kind, at + 1

    for kinds, kind in ((USED, "used"), (DAMAGED, "damaged"), (UNSUPPORTED, "unsupported")):
        for one in kinds:
            for k in range(one.count):
                place(f"{k:03}-{one.name}", one.made(k), kind)
    plain = coded(photo(3), "JPEG")
    for name in (*ODD_NAMES, unicodedata.normalize("NFD", "é.jpg"), os.fsdecode(b"\xff\xfe.jpg")):
        place(name, plain, "used")
    place("huge.png", png(30_000, 30_000, chunk(b"IDAT", zlib.compress(bytes(99)))), "huge")
    place("photo without a suffix", plain, "unsupported")
    elsewhere = put(root.parent / "elsewhere.jpg", data=plain)
    for name, target in (("away.jpg", elsewhere), ("nowhere.jpg", root / "zebra" / "gone.jpg")):
        (root / "zebra" / name).symlink_to(target)
        fate[f"zebra/{name}"] = "outside" if target is elsewhere else "no file"
    for k in range(4):
        put(root / f"stray-{k}.jpg", data=plain)
        fate[f"stray-{k}.jpg"] = "stray"
    for k in range(TOTAL - len(fate)):
        place(f"{k:03}.jpg", coded(photo(k), "JPEG"), "used")
    for name in HIDDEN:
        for folder in ("", "zebra/"):
            put(root / f"{folder}{name}", data=b"x")
            fate[folder + name] = "hidden"
    for folder in ("__MACOSX/", ".git/", "zebra/@eaDir/"):
        put(root / folder / "000.jpg", data=plain)
        fate[folder] = "hidden"
    for name, kind in (("notes.txt", "text"), ("film.mp4", "no picture"), ("more.zip", "archive")):
        put(root / name, data=b"x")
        fate[name] = kind
    return fate
