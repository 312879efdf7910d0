"""PNGs row by row, and those of 16 bits in colour: what is written is what every reader reads."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hostile import chunk
from PIL import Image, ImageOps

from zeuxis.api.restore_picture import open_for_restoring
from zeuxis.data.deep_png import is_deep, read_deep
from zeuxis.data.picture import PictureRefused
from zeuxis.data.whole import PASSES
from zeuxis.errors import DataError, ZeuxisError
from zeuxis.provenance.png_rows import Pixels, PngRows
from zeuxis.provenance.record import SIGNATURE


def smooth(height: int, width: int, channels: int, bits: int) -> Pixels:
    """A picture that each filter suits somewhere."""
    y, x, c = np.mgrid[:height, :width, :channels]
    values = (900 * np.sin(x / 7) + 700 * y + 4000 * c + 13 * x * y) % 65536
    values[height // 2 :] = np.random.default_rng(0).integers(0, 65536, values[height // 2 :].shape)
    return values.astype(np.uint16) if bits == 16 else (values.astype(np.int64) >> 8).astype(np.uint8)


def write(path: Path, pixels: Pixels, cuts: tuple[int, ...] = (3,)) -> None:
    height, width, channels = pixels.shape
    with PngRows(path, (width, height), channels, pixels.itemsize * 8, []) as out:
        for part in np.split(pixels, cuts):
            out.write(part)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_reader_reads_what_was_written(channels: int, tmp_path: Path) -> None:
    pixels = smooth(20, 17, channels, 8)
    write(tmp_path / "a.png", pixels, cuts=(1, 1, 9))
    with Image.open(tmp_path / "a.png") as found:
        assert found.mode == ("L", "LA", "RGB", "RGBA")[channels - 1]
        assert np.array_equal(np.asarray(found).reshape(pixels.shape), pixels)
    plain = zlib.decompress(b"".join(chunk for kind, chunk in chunks(tmp_path / "a.png") if kind == b"IDAT"))
    assert len(set(plain[:: 17 * channels + 1])) > 1  # several filters were of use


def test_grey_of_16_bits(tmp_path: Path) -> None:
    pixels = smooth(20, 17, 1, 16)
    write(tmp_path / "a.png", pixels)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels[..., 0])
    assert not is_deep(tmp_path / "a.png")


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_come_back(channels: int, tmp_path: Path) -> None:
    pixels = smooth(20, 17, channels, 16)
    write(tmp_path / "a.png", pixels)
    assert is_deep(tmp_path / "a.png") and np.array_equal(read_deep(tmp_path / "a.png"), pixels)
    with Image.open(tmp_path / "a.png") as shown:  # Pillow reads these by their upper halves
        upper = np.asarray(shown.convert("LA") if channels == 2 else shown)
    assert np.array_equal(upper, pixels >> 8)


@pytest.mark.parametrize("number", range(5))
def test_every_filter_is_undone(number: int, tmp_path: Path) -> None:
    """Written as the standard has it, byte by byte."""
    pixels = smooth(6, 5, 3, 16)
    plain = pixels.astype(">u2").view(np.uint8).reshape(6, -1).astype(int)
    rows = b""
    for y, row in enumerate(plain):
        above = plain[y - 1] if y else np.zeros_like(row)
        kept = []
        for x, value in enumerate(row):
            a, b, c = (row[x - 6], above[x], above[x - 6]) if x >= 6 else (0, above[x], 0)
            near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            kept.append((value - (0, a, b, (a + b) // 2, near)[number]) % 256)
        rows += bytes([number, *kept])
    file = [(b"IHDR", struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in file)
    (tmp_path / "a.png").write_bytes(SIGNATURE + data)
    assert np.array_equal(read_deep(tmp_path / "a.png"), pixels)


def test_damaged_ones_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.png", smooth(20, 17, 3, 16))
    data = (tmp_path / "a.png").read_bytes()
    at = data.index(b"IDAT") + 4
    spoilt = {
        "packed": data[:at] + b"\xff" * 20 + data[at + 20 :],
        "short": data[: at + 30],
        "huge": data[:16] + struct.pack(">II", 1 << 30, 1 << 30) + data[24:],
        "none": data[: at - 8],
        "no head": data[:8] + struct.pack(">I", 5) + data[12:],
    }
    for name, content in spoilt.items():
        (tmp_path / f"{name}.png").write_bytes(content)
        with pytest.raises(PictureRefused):
            read_deep(tmp_path / f"{name}.png")
        with pytest.raises(DataError):
            open_for_restoring(tmp_path / f"{name}.png")
    head = b"IHDR" + struct.pack(">IIBBBBB", 20, 17, 8, 3, 0, 0, 0)  # of a palette, behind the pixels
    twice = data[:-12] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + data[-12:]
    (tmp_path / "twice.png").write_bytes(twice)
    assert np.array_equal(read_deep(tmp_path / "twice.png"), read_deep(tmp_path / "a.png"))


@pytest.mark.parametrize("turn", range(1, 9))
def test_colours_of_16_bits_stand_upright_as_others_do(turn: int, tmp_path: Path) -> None:
    pixels, exif = smooth(6, 5, 3, 16), Image.Exif()
    exif[0x0112] = turn
    with PngRows(tmp_path / "a.png", (5, 6), 3, 16, [(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))]) as out:
        out.write(pixels)
    with Image.open(tmp_path / "a.png") as shown:
        wanted = np.asarray(ImageOps.exif_transpose(shown))
    found = open_for_restoring(tmp_path / "a.png")
    assert found.most == 65535 and np.array_equal(found.colours >> 8, wanted)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    pixels = smooth(8, 8, 3, 8)
    with pytest.raises(KeyError), PngRows(tmp_path / "a.png", (8, 8), 3, 8, []) as out:
        out.write(pixels[:4])
        raise KeyError
    with pytest.raises(ValueError, match="4 rows of 8"), PngRows(tmp_path / "a.png", (8, 8), 3, 8, []) as out:
        out.write(pixels[:4])
    with pytest.raises(ValueError, match="are written here"), PngRows(tmp_path / "a.png", (8, 8), 3, 8, []) as out:
        out.write(pixels[:, :4])
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ZeuxisError, match="cannot write"):
        PngRows(tmp_path / "file" / "a.png", (8, 8), 3, 8, [])


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    data, at, found = path.read_bytes(), 8, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 5), (33, 17)])
@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_interlaced_colours_of_16_bits_come_back(
    size: tuple[int, int], colour: int, channels: int, tmp_path: Path
) -> None:
    """Seven pictures in one file, each with rows of its own filters."""
    width, height = size
    pixels = smooth(height, width, channels, 16)
    step, rows = 2 * channels, b""
    for x, y, dx, dy in PASSES:
        part = pixels[y::dy, x::dx]
        if part.size:
            flat = part.astype(">u2").tobytes()
            wide = len(flat) // len(part)
            kept = np.frombuffer(flat, np.uint8).reshape(len(part), wide).astype(int)
            up = np.vstack([np.zeros((1, wide), int), kept[:-1]])
            left, corner = (np.hstack([np.zeros((len(part), step), int), one[:, :-step]]) for one in (kept, up))
            nearest = np.abs(np.stack([left, up, corner]) - (left + up - corner)).argmin(0)
            guesses = [0 * kept, left, up, (left + up) // 2, np.choose(nearest, [left, up, corner])]
            for k in range(len(part)):
                rows += bytes([k % 5]) + ((kept - guesses[k % 5])[k] % 256).astype(np.uint8).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 1)
    file = tmp_path / "a.png"
    file.write_bytes(SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert is_deep(file) and np.array_equal(read_deep(file), pixels)
    opened = open_for_restoring(file)
    assert opened.most == 65535 and opened.notes == ()
    with Image.open(file) as shown:  # Pillow's decoder, which keeps the upper halves
        assert np.array_equal(np.asarray(shown.convert({3: "RGB", 2: "LA", 4: "RGBA"}[channels])), pixels >> 8)
