"""Single pictures and masks in every form that people keep them in: read rightly, or refused with the reason."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import cut_jpeg, many, orientation, photo, put, rows_missing, wide
from hostile import chunk, coded, noise, png
from PIL import Image

from zeuxis.api.restore_picture import open_for_restoring
from zeuxis.data import decode, picture
from zeuxis.data.check import check
from zeuxis.data.folder import open_folder
from zeuxis.data.layouts import Example
from zeuxis.data.picture import AVIF, SUFFIXES, PictureRefused, composited, read_header, read_picture
from zeuxis.data.png_chunks import png_chunks
from zeuxis.data.room import Room
from zeuxis.data.whole import webp_size
from zeuxis.errors import DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


# -- orientation, bits, colours -----------------------------------------------------------------------

UPRIGHT = np.zeros((6, 10), np.uint8)
UPRIGHT[:3, :5], UPRIGHT[3:, :5] = 255, 128  # every turn of it is another picture
STORED = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
          6: np.rot90, 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}  # fmt: skip


@pytest.mark.parametrize("turn", STORED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", *(["AVIF"] if AVIF else [])])
def test_every_orientation_is_applied_once(tmp_path: Path, kind: str, turn: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[turn](np.repeat(np.repeat(UPRIGHT, 4, 0), 4, 1))))
    how = {"tiffinfo": {274: turn}} if kind == "TIFF" else {"exif": orientation(turn)}
    path = put(tmp_path / f"a.{kind.lower()}", stored.convert("RGB"), **how)
    header = read_header(path)
    assert (header.width, header.height) == (40, 24)
    found = np.asarray(read_picture(path, grey=True)).astype(int)
    assert found.shape == (24, 40) and np.abs(found[2::4, 2::4] - UPRIGHT).max() < 24


@pytest.mark.parametrize("level", [0, 1000, 65535])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_sixteen_bits_with_either_end_white(tmp_path: Path, level: int, white_is_zero: bool) -> None:
    path = put(tmp_path / "a.tif", data=wide(level, tiffinfo={262: 0} if white_is_zero else {}))
    found = np.asarray(read_picture(path, grey=True))
    assert (found == round((65535 - level if white_is_zero else level) / 257)).all()


def test_eight_bits_with_white_at_zero(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tif", Image.new("L", (8, 8), 40), tiffinfo={262: 0})
    assert (np.asarray(read_picture(path, grey=True)) == 40).all()


def test_grey_with_alpha_is_grey_and_wide_transparency_is_white(tmp_path: Path) -> None:
    half = Image.new("LA", (2, 1), (10, 255))
    half.putpixel((1, 0), (10, 0))
    assert read_header(put(tmp_path / "la.png", half)).grey
    rows = zlib_rows(np.array([[1000, 40000]], np.uint16))
    path = put(tmp_path / "w.png", data=png(2, 1, chunk(b"tRNS", struct.pack(">H", 1000)), rows, depth=16))
    assert np.asarray(read_picture(path, grey=True)).tolist() == [[255, 156]]


@pytest.mark.parametrize(("depth", "row", "clear"), [(2, 0b00_01_10_11, 1), (4, 0x1F, 15)])
def test_a_transparent_grey_of_few_bits_is_white(tmp_path: Path, depth: int, row: int, clear: int) -> None:
    rows = chunk(b"IDAT", zlib.compress(bytes((0, row))))
    data = png(8 // depth, 1, chunk(b"tRNS", struct.pack(">H", clear)), rows, depth=depth)
    for file in (put(tmp_path / "few.png", data=data), io.BytesIO(data)):
        found = np.asarray(read_picture(file, grey=True)).tolist()
        assert found == ([[0, 255, 170, 255]] if depth == 2 else [[17, 255]])
    kept = open_for_restoring(tmp_path / "few.png")
    assert kept.alpha is not None and np.flatnonzero(kept.alpha[0] == 0).tolist() == [1]


def test_a_transparent_colour_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    values = np.array([[[5000, 6000, 7000], [50000, 40000, 30000]]], ">u2")
    rows = chunk(b"IDAT", zlib.compress(b"\0" + values.tobytes()))
    data = png(2, 1, chunk(b"tRNS", values[0, 0].tobytes()), rows, depth=16, colour=2)
    found = read_picture(put(tmp_path / "deep.png", data=data), grey=False)
    assert [found.getpixel((k, 0)) for k in (0, 1)] == [(255, 255, 255), (195, 156, 117)]


def zlib_rows(values: np.ndarray) -> bytes:

    return chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK",
                                  "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16B"])  # fmt: skip
@pytest.mark.parametrize("grey", [False, True])
def test_every_mode_is_shown_or_refused(mode: str, grey: bool) -> None:
    try:
        assert composited(Image.new(mode, (8, 8)), grey=grey).mode == ("L" if grey else "RGB")
    except PictureRefused as refused:
        assert refused.kind == "unsupported"


@pytest.mark.parametrize("suffix", sorted(SUFFIXES | {s.upper() for s in SUFFIXES}))
def test_every_suffix_that_is_read_is_found(root: Path, suffix: str) -> None:
    put(root / f"a{suffix}", data=coded(photo(1), "PNG"))  # what counts is what is inside
    assert (check(root).usable, check(root).pictures) == (1, 1)


IMPOSTORS = {
    b"": "an empty file",
    bytes(4096): "nothing but zeros",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n": "git lfs pull",
    b"\n <!DOCTYPE html><html>": "a page of HTML",
    b"\0\0\0\x18ftypheic" + bytes(50): "HEIC",
    b"%PDF-1.7": "a PDF",
    b"hello": "no picture of a usual format",
}


@pytest.mark.parametrize("data", IMPOSTORS)
def test_what_has_only_a_picture_s_name_is_called_by_its_own(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(PictureRefused, match=IMPOSTORS[data]):
        read_header(put(tmp_path / "a.jpg", data=data))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("notes", [b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0nonsense", b"Exif\0\0"])
def test_damaged_notes_say_nothing_against_a_picture(tmp_path: Path, notes: bytes) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        path = put(tmp_path / f"a.{kind.lower()}", photo(1), exif=notes)
        assert read_header(path).width == 24 and read_picture(path, grey=False).size == (24, 18)


# -- files that end well and lack a part --------------------------------------------------------------


def progressive_cut() -> bytes:
    data = coded(noise("RGB", 1, 96), "JPEG", progressive=True)
    return data[: len(data) // 2] + b"\xff\xd9"


def shorter(kind: str) -> bytes:
    """A picture of 20 rows whose header says 64."""
    data = bytearray(coded(noise("L", 1, 64).crop((0, 0, 64, 20)), kind))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 7] = struct.pack(">H", 64)
    elif kind == "TIFF":
        start = struct.unpack("<I", data[4:8])[0]
        for entry in range(start + 2, start + 2 + 12 * data[start], 12):
            if struct.unpack("<H", data[entry : entry + 2])[0] == 257:
                data[entry + 8 : entry + 12] = struct.pack("<I", 64)
    elif kind == "GIF":
        at = data.index(b",", 13 + 3 * 2 ** (1 + (data[10] & 7)))
        data[8:10] = data[at + 7 : at + 9] = struct.pack("<H", 64)
    elif kind == "BMP":
        data[22:26] = struct.pack("<i", 64)
    return bytes(data)


CUT: dict[str, Callable[[], bytes]] = {
    "rows.png": rows_missing,
    "none.png": lambda: rows_missing(rows=0),
    "last.png": lambda: rows_missing(rows=63),
    "cut.jpg": cut_jpeg,
    "closed.jpg": lambda: cut_jpeg(b"\xff\xd9"),
    "progressive.jpg": progressive_cut,
    "shorter.jpg": lambda: shorter("JPEG"),
    "shorter.tif": lambda: shorter("TIFF"),
    "shorter.gif": lambda: shorter("GIF"),
    "shorter.bmp": lambda: shorter("BMP"),
}


@pytest.mark.parametrize("name", CUT)
def test_a_picture_that_lacks_a_part_is_damaged(root: Path, name: str) -> None:
    put(root / name, data=CUT[name]())
    (found,) = check(root).findings
    assert (found.path, found.kind, found.left_out) == (name, "damaged", True)
    assert "truncated" in found.message, found.message


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("PNG", {}), ("PNG", {"bits": 1}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"quality": 5}),
     ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)  # fmt: skip
@pytest.mark.parametrize("flat", [False, True])
def test_whole_pictures_are_not_accused(tmp_path: Path, kind: str, settings: dict[str, object], flat: bool) -> None:
    shown = Image.new("L", (90, 70), 200) if flat else noise("L", 2, 80).crop((0, 0, 79, 61))
    if "bits" in settings:
        shown = shown.convert("P")
    data = coded(shown, kind, **settings) + b"something behind it"
    assert read_picture(put(tmp_path / f"a.{kind.lower()}", data=data), grey=True).size == shown.size


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 5), (8, 8), (33, 17)])
def test_an_interlaced_png_is_whole(tmp_path: Path, size: tuple[int, int]) -> None:
    import zlib

    from zeuxis.data.whole import PASSES

    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in PASSES]
    raw = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    for data, good in ((raw, True), (raw[:-1], False)):
        made = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
        path = put(tmp_path / "a.png", data=made)
        if good:
            assert np.array_equal(np.asarray(read_picture(path, grey=True)), pixels)
        else:
            with pytest.raises(PictureRefused, match="truncated"):
                read_picture(path, grey=True)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    data = coded(noise("RGB", 1, 32), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    path = put(tmp_path / "a.jpg", data=data[:last] + data[last:-2] * 2000 + data[-2:])
    with pytest.raises(PictureRefused, match=r"progressive JPEG of 20\d\d scans"):
        read_picture(path, grey=False)


# -- memory -------------------------------------------------------------------------------------------


class Watched(Room):
    """A room that tells when somebody has to wait, and the most that was taken of it."""

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels)
        self.waits, self.most = threading.Event(), 0
        wait_for = self._changed.wait_for

        def told(free: Callable[[], bool]) -> bool:
            if not free():
                self.waits.set()
            return wait_for(free)

        self._changed.wait_for = told  # type: ignore[method-assign]

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        with super().of(pixels):
            self.most = max(self.most, self.taken)
            yield


def test_who_finds_no_room_waits_until_there_is() -> None:
    room, inside = Watched(100), threading.Event()

    def work() -> None:
        with room.of(60):
            inside.set()

    other = threading.Thread(target=work)
    with room.of(30), room.of(30):
        other.start()
        assert room.waits.wait(60), "there are 40 of 100 left, and 60 are asked for"
        assert not inside.is_set() and room.taken == 60
    other.join(60)
    assert inside.is_set() and room.taken == 0


def test_who_fits_in_does_not_wait() -> None:
    room = Watched(100)
    with room.of(60), room.of(40):
        assert room.taken == 100 and not room.waits.is_set()


def test_who_asks_for_more_than_all_has_it_alone() -> None:
    room = Watched(100)
    with room.of(1000):
        assert room.taken == 100
    with pytest.raises(KeyError), room.of(10):
        raise KeyError
    assert room.taken == 0


@pytest.mark.parametrize("size", [24, None])
def test_pictures_take_their_room_while_they_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    many(root, 8)
    room, real, held = Watched(24 * 18), decode.read_kept, []  # as much as one of them

    def watched(file: Path) -> Image.Image:
        held.append(room.taken)
        return real(file)

    monkeypatch.setattr(decode, "read_kept", watched)
    monkeypatch.setattr(decode, "IN_FLIGHT", room)
    open_folder(root, size)
    assert held == [24 * 18] * 8 and room.taken == 0


def test_a_pair_takes_room_for_both_and_a_large_file_for_its_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gt", "lq"):
        many(root / name, 2)
    put(root / "gt" / "001.png", data=coded(photo(1), "PNG") + bytes(100_000))
    room = Watched(1_000_000)
    monkeypatch.setattr(decode, "IN_FLIGHT", room)
    decoder = decode.PictureDecoder(root, [Example(f"gt/00{k}.png", f"lq/00{k}.png") for k in (0, 1)], 8)
    for row, least in ((0, 2 * 24 * 18), (1, 24 * 18 + 2 * 100_000 // picture.BYTES_EACH)):
        room.most = 0
        decoder.decode(row)
        assert least <= room.most < least + 24 * 18


def test_a_file_larger_than_any_picture_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST_BYTES", 2000)
    data = coded(photo(1), "PNG")
    for file in (put(tmp_path / "a.png", data=data + bytes(2001)), io.BytesIO(data + bytes(2001))):
        for read in (read_header, lambda file: read_picture(file, grey=False)):
            with pytest.raises(PictureRefused, match=r"the file has 0 MB; at most 0 are read") as caught:
                read(file)
            assert caught.value.kind == "huge"
    assert read_header(put(tmp_path / "b.png", data=data + bytes(2000 - len(data)))).bytes == 2000


@pytest.mark.parametrize("where", [b"IHDR", b"IDAT"])
def test_chunks_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: bytes) -> None:
    data = coded(photo(1), "PNG")
    at = data.index(where) - 4 if where == b"IDAT" else 33
    path = put(tmp_path / "a.png", data=data[:at] + chunk(b"prVt", b"") * 50 + data[at:])
    with path.open("rb") as file:
        assert len(list(png_chunks(file, 100))) >= 52
        with pytest.raises(ValueError, match="more than 50 chunks"):
            list(png_chunks(file, 50))
    with io.BytesIO(b"no PNG at all") as file, pytest.raises(ValueError, match="no PNG"):
        next(png_chunks(file))


def test_a_webp_s_size_is_known_before_it_is_opened(tmp_path: Path) -> None:
    for settings in ({"lossless": True}, {"quality": 80}, {"exif": orientation(6)}):
        data = coded(photo(1, (123, 77)), "WEBP", **settings)
        assert webp_size(data[:30]) == (123, 77)
    assert webp_size(coded(photo(1), "PNG")[:30]) is None
    data = bytearray(coded(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    data[21:25] = (16382 | 16382 << 14).to_bytes(4, "little")  # 268 megapixels in a few bytes
    with pytest.raises(PictureRefused, match="268 megapixels") as caught:
        read_header(put(tmp_path / "a.webp", data=bytes(data)))
    assert caught.value.kind == "huge"


@pytest.mark.parametrize("where", ["read_header", "read_kept"])
@pytest.mark.parametrize("trouble", [MemoryError(), OSError("out of memory when reading image file"),
                                     OSError(5, "Input/output error")])  # fmt: skip
def test_a_picture_that_cannot_be_read_now_is_not_damaged_for_ever(
    root: Path, monkeypatch: pytest.MonkeyPatch, where: str, trouble: Exception
) -> None:
    many(root, 30)
    real = Image.open

    def failing(file: object, *rest: object, **more: object) -> Image.Image:
        found = real(file, *rest, **more)
        if getattr(file, "name", "") == "004.png":
            if where == "read_header":
                raise trouble
            monkeypatch.setattr(found, "load", lambda: (_ for _ in ()).throw(trouble))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(picture.Image, "open", failing)
        with pytest.raises(DataError, match=r"004\.png': .*(memory|Input/output).*start again"):
            open_folder(root, 8)
        kinds = {f.path: f.kind for f in check(root).findings if f.left_out}
        assert kinds["004.png"] in ("memory", "unreadable")
    assert open_folder(root, 8).skipped == () and check(root).usable == 30


def test_a_picture_for_which_memory_was_short_is_tried_once_more_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(root, 12)
    real, short = decode.read_kept, {"003.png", "007.png"}

    def failing(file: Path) -> Image.Image:
        if file.name in short:
            short.remove(file.name)
            raise MemoryError
        return real(file)

    monkeypatch.setattr(decode, "read_kept", failing)
    assert open_folder(root, 8).skipped == () and not short


def test_many_pictures_without_memory_are_not_called_damaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 12)

    def failing(file: Path) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(decode, "read_kept", failing)
    with pytest.raises(DataError, match="not enough memory to decode it: close other programs"):
        open_folder(root, 8)
    found = check(root)
    assert {f.kind for f in found.findings} == {"memory"} and found.usable == 0


# -- masks --------------------------------------------------------------------------------------------


def half(value: int, kind: type = np.uint8) -> np.ndarray:
    made = np.zeros((16, 16), kind)
    made[:, :8] = value
    return made


def palette(*colours: int) -> Image.Image:
    made = Image.fromarray(half(1)).convert("P")
    made.putpalette(list(colours))
    return made


def alpha(level: int) -> Image.Image:
    made = np.full((16, 16, 4), level, np.uint8)
    made[..., 3] = half(255)
    return Image.fromarray(made)


def coloured(*colour: int) -> Image.Image:
    made = np.zeros((16, 16, 3), np.uint8)
    made[:, :8] = colour
    return Image.fromarray(made)


def void() -> Image.Image:
    """Class numbers with a thin border of 255."""
    made = half(7)
    made[:, 7] = 255
    return Image.fromarray(made)


MASKS: dict[str, Callable[[], bytes]] = {
    "white": lambda: coded(Image.fromarray(half(255)), "PNG"),
    "zero and one": lambda: coded(Image.fromarray(half(1)), "PNG"),
    "class numbers": lambda: coded(Image.fromarray(half(20)), "PNG"),
    "class numbers and void": lambda: coded(void(), "PNG"),
    "one bit": lambda: coded(Image.fromarray(half(255)).convert("1"), "PNG"),
    "sixteen bits": lambda: coded(Image.fromarray(half(65535, np.uint16)), "PNG"),
    "sixteen bits, 255": lambda: coded(Image.fromarray(half(255, np.uint16)), "PNG"),
    "sixteen bits, 1": lambda: coded(Image.fromarray(half(1, np.uint16)), "PNG"),
    "sixteen bits, objects": lambda: coded(Image.fromarray(half(3001, np.uint16)), "PNG"),
    "a palette in colour": lambda: coded(palette(0, 0, 0, 10, 20, 100), "PNG"),
    "a palette in grey": lambda: coded(palette(0, 0, 0, 255, 255, 255), "PNG"),
    "a palette of faint greys": lambda: coded(palette(0, 0, 0, 1, 1, 1), "PNG"),
    "alpha over black": lambda: coded(alpha(0), "PNG"),
    "alpha over white": lambda: coded(alpha(255), "PNG"),
    "blue": lambda: coded(coloured(0, 0, 90), "PNG"),
    "grey as colours": lambda: coded(coloured(255, 255, 255), "PNG"),
    "a lossy white": lambda: coded(Image.fromarray(half(255)), "JPEG"),
    "a lossy colour": lambda: coded(coloured(200, 0, 0), "JPEG", subsampling=0),
    "a gif": lambda: coded(Image.fromarray(half(255)), "GIF"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_read_as_they_are_kept(root: Path, name: str) -> None:
    for k in range(10):
        put(root / "images" / f"{k}.png", photo(k, (16, 16)))
        put(root / "masks" / f"{k}.png", data=MASKS[name]())
    source = open_folder(root, 16)
    mask = source.batch(torch.arange(len(source))).condition.mask
    assert mask is not None and (mask[..., :8] == 1).all() and (mask[..., 8:] == 0).all()
    assert len(source.remarks) == 1


def test_a_faint_grey_in_white_masks_is_no_class(root: Path) -> None:
    faint = half(255)
    faint[:, 8:] = 3  # a scanner's black
    for k in range(10):
        put(root / "images" / f"{k}.png", photo(k, (16, 16)))
        put(root / "masks" / f"{k}.png", Image.fromarray(faint if k % 2 else half(255)))
    source = open_folder(root, 16)
    assert source.batch(torch.arange(8)).condition.mask[..., 8:].sum() == 0


@pytest.mark.parametrize(("level", "what"), [(0, "empty"), (255, "full")])
def test_masks_that_are_all_empty_or_full_are_told(root: Path, level: int, what: str) -> None:
    for k in range(10):
        put(root / "images" / f"{k}.png", photo(k, (16, 16)))
        put(root / "masks" / f"{k}.png", Image.new("L", (16, 16), level))
    remark = f"every mask is {what}: look whether they are the right ones"
    assert open_folder(root, 16).remarks[1:] == check(root).remarks == (remark,)
    put(root / "masks" / "0.png", Image.fromarray(half(255)))
    assert open_folder(root, 16).remarks[1:] == check(root).remarks == ()
    assert sum(f.kind == f"{what} mask" for f in check(root).findings) == 9


def test_a_file_like_thing_is_left_at_its_start() -> None:
    file = io.BytesIO(coded(photo(1), "WEBP"))
    assert read_header(file).width == 24 and read_picture(file, grey=False).size == (24, 18)
