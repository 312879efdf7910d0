"""A folder of anyone's pictures: every layout, every kind of picture, every kind of trouble."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import chunk, coded
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from zeuxis.batch import Shape, to_uint8
from zeuxis.data import decode, folder
from zeuxis.data.batches import Batches
from zeuxis.data.fit import Buckets
from zeuxis.data.folder import open_folder
from zeuxis.data.library import open_source
from zeuxis.data.picture import PictureRefused, read_header, read_picture
from zeuxis.data.source import ArraySource, Skipped
from zeuxis.errors import DataError, UnknownName, UsageError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    return made


def save(path: Path, colour: tuple[int, ...] | int = RED, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def many(root: Path, n: int, **how: object) -> None:
    for k in range(n):
        save(root / f"{k:03}.png", (k % 256, 0, 0), **how)  # type: ignore[arg-type]


def opened(root: Path, size: int | None = 8, split: str = "train") -> ArraySource:
    source = open_folder(root, size, split)
    assert isinstance(source, ArraySource)
    return source


def colours(source: ArraySource) -> list[tuple[int, ...]]:
    """The colour in the middle of every picture of a split, in order."""
    pixels = to_uint8(source.batch(torch.arange(len(source))).image)
    return [tuple(p[:, p.shape[1] // 2, p.shape[2] // 2].tolist()) for p in pixels]


# -- kinds of pictures --------------------------------------------------------------------------------


def test_every_usual_format(root: Path) -> None:
    for suffix in ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm", "PNG"):
        path = save(root / f"one.{suffix}", (200, 100, 50))
        header = read_header(path)
        assert (header.width, header.height) == (12, 12)
        found = np.asarray(read_picture(path, grey=False)).astype(int)
        assert np.abs(found - (200, 100, 50)).max() <= 6, suffix


def test_transparency_goes_onto_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    for name in ("a.png", "a.webp", "a.tiff"):
        half.save(tmp_path / name, lossless=True)
        found = read_picture(tmp_path / name, grey=False)
        assert [found.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE], name
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    palette.save(tmp_path / "p.gif", transparency=1)
    for name in ("p.png", "p.gif"):
        found = read_picture(tmp_path / name, grey=False)
        assert [found.getpixel((x, 0)) for x in (0, 1)] == [BLUE, WHITE], name
    grey = Image.new("LA", (2, 1), (10, 255))
    grey.putpixel((1, 0), (10, 0))
    grey.save(tmp_path / "la.png")
    found = read_picture(tmp_path / "la.png", grey=False)
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [(10, 10, 10), WHITE]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    wide = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    for name in ("wide.png", "wide.tiff"):
        Image.fromarray(wide).save(tmp_path / name)
        assert np.asarray(read_picture(tmp_path / name, grey=True)).tolist() == [[0, 1, 128, 255]], name
        assert read_header(tmp_path / name).grey


def test_cmyk_and_palette(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    red = np.asarray(read_picture(tmp_path / "c.jpg", grey=False)).astype(int)
    assert np.abs(red - RED).max() < 12
    Image.new("RGB", (4, 4), GREEN).convert("P").save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png", grey=False).getpixel((0, 0)) == GREEN


def test_exif_orientation_is_obeyed(tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 10), RED)
    picture.paste(BLUE, (0, 0, 10, 10))  # blue on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: blue on top
    picture.save(tmp_path / "turned.png", exif=exif)
    header = read_header(tmp_path / "turned.png")
    assert (header.width, header.height) == (10, 20)
    found = read_picture(tmp_path / "turned.png", grey=False)
    assert found.size == (10, 20)
    assert found.getpixel((5, 2)) == BLUE and found.getpixel((5, 17)) == RED


@pytest.mark.parametrize("kind", [b"eXIf", b"iTXt"])
def test_an_orientation_behind_the_pixels_of_a_png_is_obeyed_by_the_header_too(kind: bytes, tmp_path: Path) -> None:
    """Programs that edit notes append them: what is cut out of a picture follows from its header."""
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    data = coded(Image.new("RGB", (20, 10), RED), "PNG")
    (tmp_path / "late.png").write_bytes(
        data[:-12] + chunk(kind, exif.tobytes().removeprefix(b"Exif\0\0") if kind == b"eXIf" else xmp) + data[-12:]
    )
    header = read_header(tmp_path / "late.png")
    assert (header.width, header.height) == read_picture(tmp_path / "late.png", grey=False).size == (10, 20)


def test_a_header_is_read_without_its_pixels_where_a_text_behind_them_says_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coded(Image.new("RGB", (20, 10), RED), "PNG")
    (tmp_path / "dated.png").write_bytes(data[:-12] + chunk(b"tEXt", b"date:create\0" + bytes(25)) + data[-12:])
    monkeypatch.setattr(PngImageFile, "load", lambda self: pytest.fail("it was decoded"))
    assert read_header(tmp_path / "dated.png").width == 20


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (GREEN, RED, BLUE)]
    for name, kind in (("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.tiff", "TIFF"), ("a.jpg", "MPO")):
        frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:])
        pixel = np.array(read_picture(tmp_path / name, grey=False).getpixel((1, 1)))
        assert np.abs(pixel - GREEN).max() < 8, name


def png_with_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def truncated(path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path.read_bytes()[: path.stat().st_size // 2]


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "empty.png": lambda path: b"",
    "text.jpg": lambda path: b"this is not a picture",
    "page.png": lambda path: b"<html><body>404</body></html>",
    "cut.png": truncated,
    "cut.jpg": truncated,
    "cut.webp": truncated,
    "cut.bmp": truncated,
    "cut.tiff": truncated,
    "bomb.png": lambda path: png_with_header(30_000, 30_000),
    "bomb-below-the-decoders-own-limit.png": lambda path: png_with_header(10_000, 12_000),
    "hollow.png": lambda path: png_with_header(64, 64),
    "nothing.png": lambda path: png_with_header(0, 0),
    "script.png": lambda path: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(never run) show\n",
    "float.tiff": lambda path: float_tiff(path),
    "pickle.png": lambda path: b"\x80\x04\x95\x1a\x00\x00\x00.",
}


def float_tiff(path: Path) -> bytes:
    Image.fromarray(np.linspace(0, 3, 64, dtype=np.float32).reshape(8, 8)).save(path)
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_used_is_set_aside_and_listed(root: Path, name: str, tmp_path: Path) -> None:
    many(root, 30)
    (root / name).write_bytes(HOSTILE[name](root / name))
    source = opened(root)
    assert [one.path for one in source.skipped] == [name]
    assert source.skipped[0].reason and "\n" not in source.skipped[0].reason
    assert sum(len(opened(root, split=split)) for split in ("train", "val", "test")) == 30
    seen = [c for split in ("train", "val", "test") for c in colours(opened(root, split=split))]
    assert sorted(seen) == [(k, 0, 0) for k in range(30)], "a pixel of the refused picture came through"
    reports = list((tmp_path / "cache").rglob("skipped.jsonl"))
    assert [json.loads(reports[0].read_text())["path"]] == [name] and len(reports) == 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_picture_is_refused_by_its_header(root: Path) -> None:
    (root / "huge.png").write_bytes(png_with_header(30_000, 30_000))
    with pytest.raises(PictureRefused, match=r"900 ?million|900000000|megapixels"):
        read_header(root / "huge.png")
    (root / "large.png").write_bytes(png_with_header(10_000, 12_000))
    with pytest.raises(PictureRefused, match="10000x12000 is 120 megapixels"):
        read_header(root / "large.png")
    (root / "allowed.png").write_bytes(png_with_header(8_000, 8_000))
    assert read_header(root / "allowed.png").width == 8_000


def test_above_one_in_twenty_it_stops(root: Path, tmp_path: Path) -> None:
    many(root, 18)
    for k in range(2):
        (root / f"bad{k}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 20 pictures .*more than 5 %: bad0\.png \(.*bad1\.png") as caught:
        opened(root)
    assert "\n" not in str(caught.value)
    reports = list((tmp_path / "cache").rglob("*.skipped.jsonl"))
    assert len(reports) == 1 and str(reports[0]) in str(caught.value)
    assert [json.loads(line)["path"] for line in reports[0].read_text().splitlines()] == ["bad0.png", "bad1.png"]
    save(root / "one-more.png")
    (root / "bad1.png").unlink()
    assert len(opened(root).skipped) == 1  # one of 20 is allowed


def test_pictures_that_fail_only_when_decoded_count_too(root: Path) -> None:
    many(root, 10)
    for k in range(5):
        (root / f"cut{k}.png").write_bytes(truncated(root / f"cut{k}.png"))
    with pytest.raises(DataError, match="5 of 15"):
        opened(root)


# -- sizes and channels -------------------------------------------------------------------------------


def test_mixed_sizes_are_cut_to_the_centre_and_never_stretched(root: Path) -> None:
    wide = Image.new("RGB", (60, 20), RED)
    wide.paste(GREEN, (20, 0, 40, 20))
    wide.save(root / "wide.png")
    tall = Image.new("RGB", (10, 30), RED)
    tall.paste(BLUE, (0, 10, 10, 20))
    tall.save(root / "tall.png")
    source = opened(root, 16)
    assert source.spec.shape == Shape(3, 16, 16)
    pixels = to_uint8(source.batch(torch.arange(2)).image)
    assert (pixels[0] == torch.tensor(BLUE).view(3, 1, 1)).all()
    assert (pixels[1] == torch.tensor(GREEN).view(3, 1, 1)).all()


def test_grey_folders_have_one_channel(root: Path) -> None:
    save(root / "a.png", 7, mode="L")
    save(root / "b.jpg", 200, mode="L")
    assert opened(root).spec.shape == (1, 8, 8)
    save(root / "c.png", RED)
    source = opened(root)
    assert source.spec.shape == (3, 8, 8)
    assert colours(source)[0] == (7, 7, 7)


def test_natural_size_where_all_have_one(root: Path) -> None:
    many(root, 3, size=(10, 6))
    assert opened(root, None).spec.shape == (3, 6, 10)
    save(root / "other.png", size=(9, 9))
    with pytest.raises(UsageError, match="2 sizes"):
        opened(root, None)


# -- layouts ------------------------------------------------------------------------------------------


def test_a_flat_folder_of_three(root: Path) -> None:
    for name, colour in (("c", BLUE), ("a", RED), ("b", GREEN)):
        save(root / f"{name}.png", colour)
    (root / "notes.txt").write_text("not a picture")
    save(root / ".hidden.png")
    save(root / "__MACOSX" / "x.png")
    source = opened(root)
    assert colours(source) == [RED, GREEN, BLUE]
    assert source.spec.provides == frozenset() and source.spec.classes == 0 and source.skipped == ()
    assert len(Batches(source, 8, seed=0).next()) == 8
    with pytest.raises(DataError, match="too few pictures to set any apart for 'test'"):
        opened(root, split="test")


def test_one_subfolder_is_no_class(root: Path) -> None:
    save(root / "img" / "a.png", RED)
    save(root / "img" / "deeper" / "b.png", GREEN)
    assert colours(opened(root)) == [RED, GREEN]
    assert opened(root).spec.provides == frozenset()


def test_class_folders(root: Path) -> None:
    for k in range(3):
        save(root / "zebra" / f"{k}.png", RED)
        save(root / "ant" / "deeper" / f"{k}.png", BLUE)
    source = opened(root)
    assert source.spec.class_names == ("ant", "zebra") and source.spec.classes == 2
    label = source.batch(torch.arange(6)).condition.label
    assert label is not None
    assert [(RED if k else BLUE) for k in label.tolist()] == colours(source)


def test_given_splits_share_their_classes(root: Path) -> None:
    for name, colour in (("a", RED), ("b", GREEN), ("c", BLUE)):
        for k in range(10):
            save(root / "train" / name / f"{k}.png", colour)
    for k in range(4):
        save(root / "test" / "c" / f"{k}.png", BLUE)
    train, val, test = (opened(root, split=split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (27, 3, 4)
    assert train.spec.class_names == test.spec.class_names == ("a", "b", "c")
    label = test.batch(torch.arange(4)).condition.label
    assert label is not None and label.tolist() == [2, 2, 2, 2]


def test_splits_do_not_overlap_and_do_not_depend_on_where_the_folder_is(root: Path, tmp_path: Path) -> None:
    many(root, 60)
    parts = {split: colours(opened(root, split=split)) for split in ("train", "val", "test")}
    assert {k: len(v) for k, v in parts.items()} == {"train": 48, "val": 6, "test": 6}
    assert len({c for part in parts.values() for c in part}) == 60
    elsewhere = tmp_path / "moved"
    root.rename(elsewhere)
    assert colours(opened(elsewhere, split="test")) == parts["test"]
    with pytest.raises(UnknownName, match="did you mean test"):
        opened(elsewhere, split="tset")


def write_metadata(root: Path, lines: list[dict[str, object]]) -> None:
    (root / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_captions_from_metadata(root: Path) -> None:
    save(root / "b.png", GREEN)
    save(root / "sub" / "a.png", RED)
    save(root / "unnamed.png", BLUE)
    write_metadata(root, [{"file_name": "sub/a.png", "text": "a red cat"}, {"file_name": "b.png", "text": "Grün!"}])
    source = opened(root)
    batch = source.batch(torch.arange(2))
    assert batch.condition.caption == ("a red cat", "Grün!")
    assert colours(source) == [RED, GREEN]
    assert source.spec.words == ("a", "cat", "grün", "red")


def test_metadata_never_leads_out_of_the_folder(root: Path, tmp_path: Path) -> None:
    many(root, 20)
    outside = save(tmp_path / "secret.png", GREEN)
    (root / "link.png").symlink_to(outside)
    odd = ["../secret.png", str(outside), "link.png", "x\0y.png", "n" * 5000 + ".png", "gone.png", ".", ""]
    lines = [{"file_name": f"{k:03}.png", "text": "red"} for k in range(20)]
    for name in odd:
        write_metadata(root, [*lines, {"file_name": name, "text": "odd"}])
        source = opened(root)
        assert len([one for one in source.skipped if one.fault]) == 1, name
        seen = [c for split in ("train", "val", "test") for c in colours(opened(root, split=split))]
        assert len(seen) == 20 and GREEN not in seen, name
    write_metadata(root, [*lines, {"file_name": "../secret.png", "text": "odd"}])
    assert {one.path: "outside" in one.reason for one in opened(root).skipped} == {
        "link.png": True,
        "../secret.png": True,
    }


@pytest.mark.parametrize("line", ["{", "[]", '{"file_name": "a.png"}', '{"file_name": 3, "text": "x"}', '"a.png"'])
def test_a_wrong_line_of_metadata_is_pointed_at(root: Path, line: str) -> None:
    save(root / "a.png")
    (root / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"metadata\.jsonl, line 2"):
        opened(root)


def test_links_are_followed_within_the_folder_only(root: Path, tmp_path: Path) -> None:
    many(root, 40)
    outside = save(tmp_path / "elsewhere" / "secret.png", GREEN)
    (root / "inside.png").symlink_to(root / "000.png")
    (root / "outside.png").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    source = opened(root)
    out = [Skipped(name, "leads outside the folder: copy the file in") for name in ("folder/secret.png", "outside.png")]
    assert list(source.skipped) == out, "what a linked folder elsewhere holds is not used, and not lost in silence"
    seen = [c for split in ("train", "val", "test") for c in colours(opened(root, split=split))]
    assert len(seen) == 41 and GREEN not in seen
    (root / "outside.png").unlink()
    (root / "folder").unlink()
    (root / "circle.png").symlink_to(root / "circle.png")
    assert [one.path for one in opened(root).skipped] == ["circle.png"]


def test_gt_and_lq_are_pairs(root: Path) -> None:
    for k in range(21):
        save(root / "gt" / f"{k}.png", (k, 0, 0), size=(24, 12))
        save(root / "lq" / f"{k}.jpg", (0, 0, 0), size=(12, 6))
    save(root / "gt" / "alone.png")
    source = opened(root)
    assert source.spec.provides == {"source"}
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.source is not None and batch.condition.source.shape == batch.image.shape
    assert (to_uint8(batch.condition.source) == 0).all()
    assert {c[0] for c in colours(source)} <= set(range(21))
    assert source.skipped == (Skipped("gt/alone.png", "no partner in lq/"),)


def test_a_pair_of_other_proportions_is_set_aside(root: Path) -> None:
    for k in range(30):
        save(root / "A" / f"{k}.png", RED)
        save(root / "B" / f"{k}.png", BLUE, size=(12, 12 if k else 16))
    source = opened(root)
    assert [one.path for one in source.skipped] == ["B/0.png"] and "proportions" in source.skipped[0].reason
    batch = source.batch(torch.arange(1))
    assert colours(source)[0] == BLUE
    assert batch.condition.source is not None and batch.condition.source[0, 0].min() == 1


def test_a_broken_half_removes_the_pair(root: Path) -> None:
    for k in range(30):
        save(root / "gt" / f"{k}.png", RED)
        save(root / "lq" / f"{k}.png", BLUE)
    (root / "lq" / "3.png").write_bytes(truncated(root / "lq" / "3.png"))
    (root / "lq" / "3.png").write_bytes((root / "lq" / "3.png").read_bytes())
    source = opened(root)
    assert [one.path for one in source.skipped] == ["gt/3.png"]
    assert sum(len(opened(root, split=split)) for split in ("train", "val", "test")) == 29


def test_pairs_side_by_side(root: Path) -> None:
    for k in range(30):
        both = Image.new("RGB", (24 if k else 25, 12), RED)  # the left half: A
        both.paste(BLUE, (12, 0, 25, 12))
        (root / "AB").mkdir(exist_ok=True)
        both.save(root / "AB" / f"{k}.png")
    source = opened(root)
    batch = source.batch(torch.arange(2))
    assert batch.image.shape == (2, 3, 8, 8) and colours(source)[0] == BLUE
    assert batch.condition.source is not None
    assert (to_uint8(batch.condition.source) == torch.tensor(RED).view(1, 3, 1, 1)).all()
    assert [one.path for one in source.skipped] == ["AB/0.png"] and "even width" in source.skipped[0].reason


def test_unpaired_collections(root: Path) -> None:
    for k in range(20):
        save(root / "trainA" / f"{k}.png", (k, 0, 0))
    for k in range(10):
        save(root / "trainB" / f"{k}.png", (0, 0, k))
    for k in range(3):
        save(root / "testA" / f"{k}.png", (100 + k, 0, 0))
        save(root / "testB" / f"{k}.png", (0, 0, 100 + k))
    source = open_folder(root, 8)
    assert source.spec.provides == {"source"} and len(source) == 18  # 20 less the two that were set apart for val
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.source is not None
    blues = to_uint8(batch.image)[:, 2, 0, 0].tolist()
    reds = to_uint8(batch.condition.source)[:, 0, 0, 0].tolist()
    assert len(set(blues)) == 9 and len(set(reds)) == 18, "not all of both collections is met"
    assert to_uint8(batch.image)[:, 0].max() == 0 and to_uint8(batch.condition.source)[:, 2].max() == 0
    some = source.batch(torch.tensor([7]))
    assert torch.equal(some.image[0], batch.image[7])
    test = open_folder(root, 8, "test").batch(torch.arange(3))
    assert to_uint8(test.image)[:, 2].min() >= 100


# -- the cache ----------------------------------------------------------------------------------------


def test_decoding_happens_once_until_something_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 5)
    decoded: list[Path] = []
    real = decode.read_kept

    def counted(path: Path) -> Image.Image:
        decoded.append(path)
        return real(path)

    monkeypatch.setattr(decode, "read_kept", counted)
    first = opened(root)
    assert isinstance(first.images, np.memmap) and len(decoded) == 5
    assert opened(root).fingerprint() == first.fingerprint() and len(decoded) == 5
    opened(root, 16)
    assert len(decoded) == 10
    save(root / "002.png", BLUE, size=(30, 30))
    assert BLUE in colours(opened(root)) and len(decoded) == 15


def test_an_interrupted_decoding_leaves_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 5)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder.prepared, "write_prepared", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(root)
    assert list((tmp_path / "cache" / "prepared").iterdir()) == []
    assert len(opened(root)) == 5


def test_a_full_disk_is_foreseen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 3)
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(decode.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="ZEUXIS_CACHE"):
        opened(root)


def test_a_disk_that_fills_is_explained(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decode, "_state", full)
    with pytest.raises(DataError, match=r"No space left.*ZEUXIS_CACHE"):
        opened(root)


# -- names --------------------------------------------------------------------------------------------


def test_a_folder_by_path(root: Path) -> None:
    many(root, 4)
    assert len(open_source(root, 8)) == len(open_source(str(root), 8)) == 4
    restored = open_source(f"{root} | blur:1", 8)
    assert restored.spec.provides == {"source"}


def test_empty_and_missing_folders_are_explained(root: Path) -> None:
    with pytest.raises(DataError, match=r"no pictures in .*\.jpg"):
        opened(root)
    (root / "readme.txt").write_text("")
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        opened(root)
    with pytest.raises(DataError, match="no folder"):
        open_folder(root / "missing")
    with pytest.raises(UnknownName, match=r"there is no folder .*missing"):
        open_source(str(root / "missing"))


def test_odd_file_names(root: Path) -> None:
    for name in ("spa ce", "newline\n", "'quote\"", "ünï", "-rf", "%s{}", "a" * 200):
        save(root / f"{name}.png")
    assert len(opened(root)) == 7


def test_what_was_set_aside_is_still_known_when_the_folder_is_degraded(tmp_path: Path) -> None:
    from zeuxis.data.library import open_source

    for k in range(40):
        Image.new("RGB", (16, 16), (k, 2 * k, 3 * k)).save(tmp_path / f"{k}.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\ntorn")
    source = open_source(f"{tmp_path} | grey", 8)
    assert [Path(file.path).name for file in source.skipped] == ["torn.png"]


def test_pictures_with_masks(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for k in range(30):
        Image.new("RGB", (40, 40), (k, 2 * k, 3 * k)).save(tmp_path / f"images/{k:02d}.png")
        mask = Image.new("L", (20, 20) if k % 2 else (40, 40))  # half as large is well: it is brought to size
        mask.paste(255, (0, 0, mask.width // 2, mask.height))
        mask.save(tmp_path / f"masks/{k:02d}.{'gif' if k % 3 else 'png'}")
    Image.new("RGB", (40, 40)).save(tmp_path / "images/alone.png")
    source = open_folder(tmp_path, 16)
    assert source.spec.provides == {"mask"} and source.spec.shape == (3, 16, 16)
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.mask is not None and batch.condition.mask.shape == (len(source), 1, 16, 16)
    assert (batch.condition.mask[..., :8] == 1).all() and (batch.condition.mask[..., 8:] == 0).all()
    assert source.skipped == (Skipped("images/alone.png", "no partner in masks/"),)
    Image.new("L", (40, 13)).save(tmp_path / "masks/alone.png")
    assert "its mask is 40x13" in open_folder(tmp_path, 16).skipped[0].reason
    for k in range(1, 30, 2):
        (tmp_path / f"masks/{k:02d}.{'gif' if k % 3 else 'png'}").unlink()
        (tmp_path / f"images/{k:02d}.png").unlink()
    (tmp_path / "images/alone.png").unlink()
    (tmp_path / "masks/alone.png").unlink()
    assert open_folder(tmp_path).batch(torch.arange(1)).condition.mask.shape == (1, 1, 40, 40)  # as they are
    Image.new("L", (20, 20)).save(tmp_path / "masks/00.png")
    with pytest.raises(DataError, match="give the size that is wanted"):
        open_folder(tmp_path)


def test_what_is_cut_off_or_enlarged_is_told(tmp_path: Path) -> None:
    """A network of squares trains on the middles of photographs, and a small one is a blur: neither unsaid."""
    for k, (wide, tall) in enumerate([(32, 32), (64, 64), (48, 32), (20, 30)] * 3):
        Image.new("RGB", (wide, tall), (k * 20, 80, 120)).save(tmp_path / f"{k}.png")
    line = open_folder(tmp_path, 32).remarks[1]
    assert line.startswith("of 12 pictures brought to 32 x 32 pixels 6 are cut to their middle, of which the least")
    assert "the least keeps 67%, 3 are smaller, and enlarged (of networks that take other shapes, --size" in line
    assert len(open_folder(tmp_path, 32, fit=Buckets()).remarks) == 1
    assert "9 are cut" in open_folder(tmp_path, (32, 48)).remarks[1], "height and width"


def test_the_page_beside_drawn_pictures_is_none_of_them(tmp_path: Path) -> None:
    for k in range(12):
        Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / f"{k:04d}.png")
    info = PngInfo()
    info.add_itxt("zeuxis", '{"seed": 0, "sheet_of": 12}')
    for name in ("sheet.png", "x-sheet-0012.png", "other.png"):
        Image.new("RGB", (34, 26)).save(tmp_path / name, pnginfo=info)
    Image.new("RGB", (8, 8)).save(tmp_path / "my-sheet.png")
    line = open_folder(tmp_path, 8).remarks[0]
    assert line == "read as pictures: 14 used; not used: 2 page"  # by name and record, not by one of them


def test_the_folder_of_a_run_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("run.json", "model/model.json"):
        (tmp_path / name).write_text("{}")
    Image.new("RGB", (34, 26)).save(tmp_path / "preview.png")
    with pytest.raises(DataError, match=r"is the folder of a run, whose pictures are previews: .*zeuxis info"):
        open_folder(tmp_path, 8)


def test_what_becomes_of_transparency_is_told(tmp_path: Path) -> None:
    for k in range(12):
        Image.new("RGBA" if k < 5 else "RGB", (8, 8), (255, 0, 0, 0)[: 4 if k < 5 else 3]).save(
            tmp_path / f"{k:02}.png"
        )
    source = open_folder(tmp_path, 8)
    assert source.remarks[1:] == ("5 of 12 pictures have an alpha channel: what is transparent is white now",)
    assert set(colours(source)) == {WHITE, RED}


def classes(k: int, kind: str) -> Image.Image:
    """A mask of background, two kinds of things and the pixels between, as people keep them."""
    numbers = np.zeros((40, 40), np.uint8)
    numbers[:10], numbers[20:30, : 10 + k] = 1, 2
    if kind == "numbers":
        return Image.fromarray(numbers)
    if kind == "palette":
        painted = Image.fromarray(numbers).convert("P")
        painted.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        return painted
    white = Image.fromarray(np.where(numbers > 0, 255, 0).astype(np.uint8))
    return white.resize((61, 61), Image.Resampling.BICUBIC) if kind == "soft edges" else white


@pytest.mark.parametrize(("kind", "told"), [("numbers", 1), ("palette", 1), ("white", 0), ("soft edges", 0)])
def test_masks_of_several_kinds_of_things_are_told_of_where_they_become_one(
    kind: str, told: int, tmp_path: Path
) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for k in range(10):
        Image.new("RGB", (40, 40), (k, 2 * k, 3 * k)).save(tmp_path / f"images/{k}.png")
        classes(k, kind).save(tmp_path / f"labels/{k}.png")
    source = open_folder(tmp_path, 40)
    assert sum("masks hold up to 3 values" in remark for remark in source.remarks) == told
