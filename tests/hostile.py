"""A corpus of two hundred hostile files, made by code: damaged, misnamed, huge, unusual.

Each is named after what should happen: ``use-...`` must be used, ``out-...`` must be skipped, and ``any-...`` (a
picture with a few bytes wrong) may be either, but nothing may crash, hang, or fill the memory.
"""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from pathlib import Path

from PIL import Image

SIDE = 24


def noise(mode: str, seed: int, side: int = SIDE) -> Image.Image:
    """A picture of random bytes."""
    bytes_each = {"L": 1, "P": 1, "I;16": 2, "RGB": 3, "CMYK": 4}[mode]
    return Image.frombytes(mode, (side, side), random.Random(seed).randbytes(side * side * bytes_each))


def coded(picture: Image.Image, kind: str, **settings: object) -> bytes:
    """The bytes of a picture file."""
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG of stated size with whatever chunks."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


def exif(entries: bytes, count: int = 1) -> bytes:
    """An EXIF block of ``count`` raw entries."""
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4)


def damaged() -> dict[str, bytes]:
    """Every format: whole, misnamed, cut off, with wrong bytes, with something behind it."""
    made: dict[str, bytes] = {}
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        data, end = coded(noise("RGB", 0), kind), kind.lower()
        made[f"use-plain-{kind}.{end}"] = data
        made[f"use-misnamed-{kind}.png"] = data  # what counts is what is inside
        made[f"use-tail-{kind}.{end}"] = data + b"<script>alert(1)</script>"
        made[f"out-head-{kind}.{end}"] = data[:6]
        for share in (0.2, 0.5, 0.8, 0.95):
            made[f"any-cut-{share}-{kind}.{end}"] = data[: int(len(data) * share)]
        for seed in range(14):
            wrong, draw = bytearray(data), random.Random(seed)
            for _ in range(1 + seed):
                wrong[draw.randrange(len(wrong))] = draw.randrange(256)
            made[f"any-flipped-{seed}-{kind}.{end}"] = bytes(wrong)
    return made


def unusual() -> dict[str, bytes]:
    """Modes, animations, sizes and names that are rare and valid."""
    made: dict[str, bytes] = {}
    for mode in ("L", "P", "RGBA", "LA", "1"):
        made[f"use-mode-{mode}.png"] = coded(noise("RGB", 1).convert("L").convert(mode), "PNG")
    made["use-mode-I16.png"] = coded(noise("I;16", 1), "PNG")
    made["use-cmyk.jpg"] = coded(noise("CMYK", 2), "JPEG")
    made["use-wide.tiff"] = coded(noise("I;16", 3), "TIFF")
    frames = [noise("P", k) for k in range(4)]
    made["use-animated.gif"] = coded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for kind, seed in (("WEBP", 4), ("PNG", 6), ("TIFF", 8)):
        two = [noise("RGB", seed), noise("RGB", seed + 1)]
        made[f"use-animated-{kind}.{kind.lower()}"] = coded(two[0], kind, save_all=True, append_images=two[1:])
    made["use-one-pixel.png"] = coded(noise("RGB", 8, 1), "PNG")
    made["use-sliver.png"] = coded(Image.new("RGB", (1, 4000)), "PNG")
    made["use-palette-clear.png"] = coded(noise("P", 9), "PNG", transparency=0)
    made["use-turned.jpg"] = coded(noise("RGB", 10), "JPEG", exif=exif(struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)))
    circle = struct.pack("<HHII", 0x8769, 4, 1, 8)  # an EXIF directory that lies within itself
    made["any-exif-circle.jpg"] = coded(noise("RGB", 11), "JPEG", exif=exif(circle * 4, 4))
    plain = coded(noise("RGB", 12), "PNG")
    names = ("spaces and 'quotes'.png", "\u00fcml\u00e4ut-\U0001f600.png", ";rm -rf.png", "\n-line.png", "UPPER.PNG")
    return made | {f"use-{name}": plain for name in names}


def bombs() -> dict[str, bytes]:
    """Small files that state, or unpack to, far too much; and files that state nonsense."""
    row, large = zlib.compress(bytes(1_000_100), 9), zlib.compress(bytes(80_000_000), 9)
    wide_bmp = struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    wide_gif = struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;"
    tiff_circle = struct.pack("<HHHIII", 1, 0x100, 3, 1, 8, 8)
    pixels = chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
    return {
        "out-bomb-stated.png": png(30_000, 30_000, chunk(b"IDAT", row)),
        "out-bomb-more.png": png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", row)),
        "out-bomb-bmp.bmp": b"BM" + wide_bmp,
        "out-bomb-gif.gif": b"GIF89a" + wide_gif,
        "any-bomb-text.png": png(8, 8, chunk(b"zTXt", b"a\0\0" + large), pixels),
        "any-bomb-profile.png": png(8, 8, chunk(b"iCCP", b"a\0\0" + large), pixels),
        "out-too-little.png": png(64, 64, chunk(b"IDAT", zlib.compress(bytes(10)))),
        "use-too-much.png": png(8, 8, chunk(b"IDAT", zlib.compress(bytes(2_000_000)))),
        "out-no-pixels.png": png(8, 8),
        "out-zero-wide.png": png(0, 8, chunk(b"IDAT", zlib.compress(b""))),
        "out-strange-depth.png": png(8, 8, pixels, depth=7, colour=9),
        "out-ppm-huge.ppm": b"P6 99999999 99999999 255\n" + bytes(64),
        "out-ppm-negative.ppm": b"P6 -5 5 255\n" + bytes(75),
        "out-tiff-circle.tiff": b"II*\0\x08\0\0\0" + tiff_circle,
        "out-floating.tiff": coded(Image.new("F", (SIDE, SIDE), 0.5), "TIFF"),
    }


def impostors() -> dict[str, bytes]:
    """Files that are no pictures."""
    return {
        "out-empty.png": b"",
        "out-zeros.png": bytes(4096),
        "out-text.jpg": b"I am a picture, I promise.",
        "out-html.png": b"<html><body onload=alert(1)></body></html>",
        "out-svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "out-postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "out-pickle.png": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
        "out-zip.png": b"PK\x03\x04" + bytes(60),
        "out-elf.bmp": b"\x7fELF" + bytes(200),
        "out-pdf.tiff": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    }


def write(folder: Path) -> dict[str, str]:
    """Write the corpus into ``folder``: every name, with "use", "out" or "any"."""
    files = damaged() | unusual() | bombs() | impostors()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "out-pipe.png")
    links = {"dangling": folder / "nowhere.png", "circle": folder / "out-circle.png"}
    links |= {"leads-away": Path("/etc/hostname"), "endless": Path("/dev/zero")}
    for name, target in links.items():
        (folder / f"out-{name}.png").symlink_to(target)
    no_text = os.fsdecode(b"use-\xff\xfe-bytes.png")
    (folder / no_text).write_bytes(coded(noise("RGB", 13), "PNG"))
    (folder / "folder.png").mkdir()  # walked into, and empty
    return {name: name[:3] for name in (*files, "out-pipe.png", *(f"out-{n}.png" for n in links), no_text)}
