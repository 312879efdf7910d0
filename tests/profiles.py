"""Colour profiles (ICC) that are made for tests: none ships with Python."""

from __future__ import annotations

import itertools
import struct
from functools import cache

from PIL import ImageCms


@cache
def srgb() -> bytes:
    """That of sRGB."""
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


@cache
def exchanged() -> bytes:
    """sRGB's with its red and its blue in each other's places."""
    made = bytearray(srgb())
    count = struct.unpack_from(">I", made, 128)[0]
    places = {bytes(made[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    made[places[b"rXYZ"]], made[places[b"bXYZ"]] = b"b"[0], b"r"[0]
    return bytes(made)


@cache
def inks() -> bytes:
    """Of four inks: the first is a grey of half the lightness of paper, the last is black, the others are water."""
    lightness = [round(255 * (1 - c / 2) * (1 - k)) for c, _, _, k in itertools.product((0, 1), repeat=4)]
    same = bytes(range(256))
    table = b"mft1" + bytes((0, 0, 0, 0, 4, 3, 2, 0))
    table += struct.pack(">9i", *(65536 if k % 4 == 0 else 0 for k in range(9)))
    table += 4 * same + b"".join(bytes((light, 128, 128)) for light in lightness) + 3 * same
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    head = struct.pack(">I4sI4s4s4s", 144 + len(table), bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">III", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + table
