"""``zeuxis restore``: what a picture's file says is kept, folders go on, and nothing is lost or overwritten."""

from __future__ import annotations

import errno
import html
import json
import os
import re
import shlex
import struct
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pytest
import torch
from folders import cut_jpeg, rows_missing
from hostile import chunk, coded, damaged, unusual
from PIL import Image, ImageCms
from safetensors.torch import save_file

from zeuxis.api import restore as api_restore
from zeuxis.api import restore_page, restore_picture
from zeuxis.api.marks import detect_in
from zeuxis.api.restore import restore
from zeuxis.api.restore_models import restorer_for
from zeuxis.api.restore_page import busiest
from zeuxis.api.restore_picture import OpenedPicture, alpha_rows, behind_filled, open_for_restoring
from zeuxis.cli import main
from zeuxis.data.deep_png import read_deep
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError, ZeuxisError
from zeuxis.nn.compact import CompactNet
from zeuxis.nn.dncnn import DnCNNNet
from zeuxis.provenance import png_rows
from zeuxis.provenance.png_rows import PngRows
from zeuxis.provenance.record import read_record

ORIENTATION, WIDTH, MAKE = 0x0112, 0xA002, 0x010F


def public(network: CompactNet | DnCNNNet, prefix: str, file: Path) -> Path:
    save_file({key.replace("layers", prefix): value.contiguous() for key, value in network.state_dict().items()}, file)
    return file


def doubling(file: Path, change: float = 0.02, channels: int = 3) -> Path:
    """A network that doubles a picture, with a little of its own."""
    rng = torch.Generator().manual_seed(0)
    network = CompactNet(channels, width=4, inner=1, scale=2)
    for value in network.parameters():
        value.data = torch.randn(value.shape, generator=rng) * change ** (1 / 3)
    return public(network, "body", file)


def denoiser(file: Path) -> Path:
    """One that changes nothing: it finds no noise."""
    network = DnCNNNet(depth=17, width=2)
    for value in network.parameters():
        value.data.zero_()
    return public(network, "model", file)


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    return doubling(tmp_path / "twice.safetensors")


@pytest.fixture
def same(tmp_path: Path) -> Path:
    return denoiser(tmp_path / "same.safetensors")


def photo(width: int = 20, height: int = 12, mode: str = "RGB", seed: int = 0) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(values[..., 0] if channels == 1 else values, mode if channels == 1 else None).convert(mode)


# -- what is kept -------------------------------------------------------------------------------------


def test_a_photograph_keeps_its_notes_its_profile_and_stands_upright(twice: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Camera"
    exif.get_ifd(0x8769)[WIDTH] = 20
    photo().save(tmp_path / "a.jpg", exif=exif, icc_profile=profile, quality=95)
    made = restore([tmp_path / "a.jpg"], twice)
    assert made.done == (tmp_path / "a-restored.png",) and made.task == "enlarge:2"
    with Image.open(made.done[0]) as found:
        assert found.size == (24, 40) and found.mode == "RGB"  # turned by a quarter, and doubled
        assert found.info["icc_profile"] == profile
        notes = found.getexif()
        assert notes[MAKE] == "Camera" and ORIENTATION not in notes and notes.get_ifd(0x8769)[WIDTH] == 24


def test_a_colour_profile_that_readers_of_png_refuse_is_left_out_with_a_note(twice: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = (len(profile) + (1 << 20)).to_bytes(4) + profile[4:] + bytes(1 << 20)
    photo().save(tmp_path / "a.jpg", icc_profile=large, quality=95)
    made = restore([tmp_path / "a.jpg"], twice)
    assert any("colour profile of 1.0 MB is left out" in note for note in made.notes)
    with Image.open(made.done[0]) as found:  # which Pillow would refuse to do
        assert found.size == (40, 24) and "icc_profile" not in found.info


def test_the_record_says_what_was_made_of_what(twice: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    (file,) = restore([tmp_path / "a.png"], twice).done
    made = read_record(file)
    assert made["synthetic"] and "made by Zeuxis from another one" in made["disclosure"]
    assert made["sampling"] == {"task": "enlarge:2"} and made["condition"]["source"]["file"] == "a.png"
    assert b"compositeWithTrainedAlgorithmicMedia" in file.read_bytes()
    assert main(["info", str(file)]) == 0
    assert main(["sample", "--replay", str(file)]) == 2  # and not a traceback: it says what to do instead


def test_a_persons_photograph_is_marked_only_if_that_is_asked(
    twice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(140, 130).resize((70, 65)).resize((140, 130)).save(tmp_path / "a.png")
    command = ["restore", str(tmp_path / "a.png"), "--model", str(twice), "--out"]
    for name, flags, has in (("plain", [], False), ("marked", ["--watermark"], True)):
        assert main([*command, str(tmp_path / f"{name}.png"), *flags]) == 0
        assert ("watermark" in read_record(tmp_path / f"{name}.png")) is has
        assert detect_in(tmp_path / f"{name}.png").marked is has
    assert main([*command, str(tmp_path / "marked.png")]) != 0
    assert "marked.png is there, and is with a watermark, and is asked for without" in capsys.readouterr().err
    photo(20, 20).save(tmp_path / "a.png")
    assert main([*command, str(tmp_path / "small.png"), "--watermark"]) == 1
    assert "too few for the watermark" in capsys.readouterr().err and not (tmp_path / "small.png").exists()


def test_grey_stays_grey_and_16_bits_stay(same: Path, twice: Path, tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (9, 11), np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide).save(tmp_path / "wide.tif")
    photo(mode="L").save(tmp_path / "grey.png")
    made = restore([tmp_path / n for n in ("wide.png", "wide.tif", "grey.png")], same, out=tmp_path / "out")
    assert [file.name for file in made.done] == ["wide-png.png", "wide-tif.png", "grey.png"]
    for file in made.done[:2]:
        assert np.array_equal(np.asarray(Image.open(file)), wide)
    with Image.open(made.done[2]) as grey:
        assert grey.mode == "L" and np.array_equal(np.asarray(grey), np.asarray(photo(mode="L")))
    (large,) = restore([tmp_path / "grey.png"], twice, out=tmp_path / "large.png").done  # by a network of colours
    assert Image.open(large).mode == "L" and Image.open(large).size == (40, 24)


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_sixteen_bits_with_either_end_white_are_seen_as_they_are(tmp_path: Path, white_is_zero: bool) -> None:
    level = np.full((6, 7), 1234, np.uint16)
    Image.fromarray(level).save(tmp_path / "a.tif", tiffinfo={262: 0} if white_is_zero else {})
    opened = open_for_restoring(tmp_path / "a.tif")
    assert (opened.colours == (65535 - level if white_is_zero else level)[..., None]).all()
    dark = ["reaches no more than 1,234 of 65,535", "if it holds 12 bits, multiply its values by 16 first"]
    assert all(any(part in note for note in opened.notes) is not white_is_zero for part in dark)


def test_colours_of_16_bits_stay(same: Path, tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (9, 11, 4), np.uint16)
    deep[..., 3] |= 1  # nowhere wholly transparent
    with PngRows(tmp_path / "deep.png", (11, 9), 4, 16, []) as out:
        out.write(deep)
    (file,) = restore([tmp_path / "deep.png"], same, page=True).done
    assert np.array_equal(read_deep(file), deep)


def test_colours_go_through_a_grey_network_one_by_one(same: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    (file,) = restore([tmp_path / "a.png"], same).done
    assert np.array_equal(np.asarray(Image.open(file)), np.asarray(photo()))


def test_transparency_is_kept_and_nothing_is_drawn_around_it(same: Path, twice: Path, tmp_path: Path) -> None:
    values = np.zeros((16, 16, 4), np.uint8)
    values[4:12, 4:12] = (200, 100, 50, 255)
    Image.fromarray(values).save(tmp_path / "a.png")
    opened = open_for_restoring(tmp_path / "a.png")
    assert (behind_filled(opened) == (200, 100, 50)).all()  # not black, where nobody sees it
    (file,) = restore([tmp_path / "a.png"], same).done
    with Image.open(file) as found:
        assert found.mode == "RGBA" and np.array_equal(np.asarray(found)[..., 3], values[..., 3])
    (large,) = restore([tmp_path / "a.png"], twice, out=tmp_path / "large.png").done
    values[..., :3] = (200, 100, 50)  # what nobody sees is other now, and changes nothing
    Image.fromarray(values).save(tmp_path / "b.png")
    (other,) = restore([tmp_path / "b.png"], twice, out=tmp_path / "other.png").done
    assert np.array_equal(np.asarray(Image.open(large)), np.asarray(Image.open(other)))
    alpha = np.asarray(Image.open(large))[..., 3]
    assert alpha.shape == (32, 32) and alpha[16, 16] == 255 and alpha[0, 0] == 0


@pytest.mark.parametrize("most", [255, 65535])
def test_transparency_is_enlarged_and_filled_some_rows_at_a_time(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, kind = np.random.default_rng(0), np.uint8 if most == 255 else np.uint16
    alpha = (rng.integers(0, most + 1, (37, 29)) * (rng.random((37, 29)) < 0.2)).astype(kind)
    given = OpenedPicture(rng.integers(0, most + 1, (37, 29, 3)).astype(kind), alpha)
    rows = alpha_rows(given, 4 * 29, 4 * 37)
    assert rows is not None and alpha_rows(replace(given, alpha=None), 29, 37) is None
    bands = [rows(top, min(148, top + 13)) for top in range(0, 148, 13)]
    whole = np.asarray(Image.fromarray(alpha.astype(np.float32)).resize((116, 148), Image.Resampling.BICUBIC))
    assert np.abs(np.concatenate(bands) - whole.clip(0, most)).max() < 0.51, "as if it were enlarged at once"
    monkeypatch.setattr(restore_picture, "BAND", 2048)
    at_once = behind_filled(given)
    monkeypatch.setattr(restore_picture, "BAND", 8)
    assert np.array_equal(behind_filled(given), at_once)
    assert np.array_equal(at_once[alpha > 0], given.colours[alpha > 0])
    (row, column) = np.argwhere(alpha == 0)[50]
    while (alpha[row // 2 * 2 :, column // 2 * 2 :][:2, :2] > 0).sum() != 1:  # one neighbour alone is seen: its colour
        row, column = row + (column == 28), (column + 1) % 29
    square = np.s_[row // 2 * 2 : row // 2 * 2 + 2, column // 2 * 2 : column // 2 * 2 + 2]
    (colour,) = given.colours[square][alpha[square] > 0]
    assert np.abs(at_once[square][alpha[square] == 0].astype(int) - colour).max() <= 1


def test_a_colour_that_stands_for_nothing_becomes_transparency(same: Path, tmp_path: Path) -> None:
    wide = np.arange(99, dtype=np.uint16).reshape(9, 11) * 600
    Image.fromarray(wide).save(tmp_path / "wide.png", transparency=1200)
    photo(mode="L").save(tmp_path / "grey.png", transparency=int(np.asarray(photo(mode="L"))[0, 0]))
    photo().convert("P").save(tmp_path / "palette.gif", transparency=int(np.asarray(photo().convert("P"))[0, 0]))
    made = restore([tmp_path / name for name in ("wide.png", "grey.png", "palette.gif")], same, out=tmp_path / "out")
    assert np.array_equal(read_deep(made.done[0])[..., 1] == 0, wide == 1200)
    for file, mode in zip(made.done[1:], ("LA", "RGBA"), strict=True):
        with Image.open(file) as found:
            assert found.mode == mode and found.getchannel("A").getpixel((0, 0)) == 0


def test_a_colour_of_16_bits_that_stands_for_nothing_becomes_transparency(same: Path, tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (9, 11, 3), np.uint16)
    with PngRows(tmp_path / "deep.png", (11, 9), 3, 16, [(b"tRNS", deep[4, 5].astype(">u2").tobytes())]) as out:
        out.write(deep)
    (file,) = restore([tmp_path / "deep.png"], same).done
    made = read_deep(file)
    assert made.shape == (9, 11, 4) and np.argwhere(made[..., 3] == 0).tolist() == [[4, 5]]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_the_smallest_pictures(size: tuple[int, int], twice: Path, tmp_path: Path) -> None:
    photo(*size).save(tmp_path / "a.png")
    (file,) = restore([tmp_path / "a.png"], twice, page=True).done
    assert Image.open(file).size == (2 * size[0], 2 * size[1])


def test_what_is_not_kept_is_said(same: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "moves.gif", save_all=True, append_images=[photo(seed=1)])
    photo().convert("CMYK").save(tmp_path / "ink.jpg")
    made = restore([tmp_path / "moves.gif", tmp_path / "ink.jpg"], same, out=tmp_path / "out")
    assert len(made.done) == 2
    assert "the first of its 2 pictures" in made.notes[0] and "CMYK" in made.notes[1]


# -- what a file says beside its pixels ------------------------------------------------------------------


def gammas(level: float = 1.0) -> bytes:
    """A PNG whose numbers are light itself (gamma 1), of wide primaries, at 300 dots an inch."""
    primaries = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    said = [chunk(b"gAMA", struct.pack(">I", round(100000 * level))), chunk(b"cHRM", struct.pack(">8I", *primaries))]
    plain = coded(photo(), "PNG", dpi=(300, 300))
    return plain[:33] + b"".join(said) + plain[33:]


def test_what_the_numbers_of_a_png_mean_stays_with_them(twice: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(gammas())
    (file,) = restore([tmp_path / "a.png"], twice).done
    with Image.open(tmp_path / "a.png") as before, Image.open(file) as after:
        assert before.info["gamma"] == 1.0
        for key in ("gamma", "chromaticity", "dpi"):
            assert after.info[key] == before.info[key]


@pytest.mark.parametrize(("kind", "turned"), [("JPEG", False), ("JPEG", True), ("TIFF", False)])
def test_the_size_in_print_stays(kind: str, turned: bool, twice: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6 if turned else 1
    (tmp_path / "a").write_bytes(coded(photo(), kind, dpi=(300, 150), exif=exif))
    (file,) = restore([tmp_path / "a"], twice).done
    with Image.open(file) as found:
        assert found.info["dpi"] == pytest.approx((150, 300) if turned else (300, 150), abs=0.02)


def test_a_colour_profile_of_other_colours_is_left_out_with_a_note(same: Path, tmp_path: Path) -> None:
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.applyTransform(photo(), ImageCms.buildTransform(rgb, lab, "RGB", "LAB")).save(tmp_path / "lab.tif")
    photo(mode="L").save(tmp_path / "grey.png", icc_profile=ImageCms.ImageCmsProfile(rgb).tobytes())
    made = restore([tmp_path / "lab.tif", tmp_path / "grey.png"], same, out=tmp_path / "out")
    assert "profile is of Lab and its pixels become RGB" in made.notes[0] and "is of RGB" in made.notes[1]
    for file in made.done:
        with Image.open(file) as found:
            assert "icc_profile" not in found.info


def test_damaged_notes_cost_the_notes_and_not_the_picture(same: Path, tmp_path: Path) -> None:
    for name, settings in (("a.webp", {"lossless": True}), ("b.jpg", {"quality": 95})):
        photo().save(tmp_path / name, exif=b"Exif\0\0nonsense", **settings)
    made = restore([tmp_path / "a.webp", tmp_path / "b.jpg"], same, out=tmp_path / "out")
    assert len(made.done) == 2 and all("EXIF) are damaged, and left out" in note for note in made.notes)


def test_the_notes_of_a_tiff_stay_and_what_says_how_it_was_kept_does_not(twice: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "scan.tif", tiffinfo={MAKE: "Scanner", 0x0132: "2020:01:02 03:04:05", ORIENTATION: 6})
    (file,) = restore([tmp_path / "scan.tif"], twice).done
    with Image.open(file) as found:
        notes = found.getexif()
    assert found.size == (24, 40) and dict(notes) == {MAKE: "Scanner", 0x0132: "2020:01:02 03:04:05"}


def test_some_cameras_tell_the_size_twice(twice: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0100], exif[0x0101] = 20, 12
    photo().save(tmp_path / "a.jpg", exif=exif)
    (file,) = restore([tmp_path / "a.jpg"], twice).done
    with Image.open(file) as found:
        notes = found.getexif()
    assert (notes[0x0100], notes[0x0101]) == (40, 24)


@pytest.mark.parametrize(("kind", "words"), [("GIF", "it moves"), ("TIFF", "it has 2 pages"), ("MPO", "2 pictures")])
def test_of_several_pictures_it_is_said_what_they_are(kind: str, words: str, same: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(coded(photo(), kind, save_all=True, append_images=[photo(seed=1)]))
    assert words in restore([tmp_path / "a"], same).notes[0]


@pytest.mark.parametrize("data", [cut_jpeg(b"\xff\xd9"), rows_missing()], ids=["jpeg", "png"])
def test_a_picture_that_lacks_a_part_is_not_restored_as_if_it_were_whole(
    data: bytes, same: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match="truncated"):
        restore([tmp_path / "a"], same)


def test_black_and_white_stay_grey_where_one_of_them_is_transparent(same: Path, tmp_path: Path) -> None:
    photo(mode="L").convert("1").save(tmp_path / "a.png", transparency=0)
    with Image.open(restore([tmp_path / "a.png"], same).done[0]) as found:
        assert found.mode == "LA"


def test_a_picture_in_tiles_is_that_without(twice: Path, tmp_path: Path) -> None:
    photo(90, 70).save(tmp_path / "a.png")
    (one,) = restore([tmp_path / "a.png"], twice, out=tmp_path / "one.png").done
    (other,) = restore([tmp_path / "a.png"], twice, out=tmp_path / "other.png", tile=32).done
    apart = np.abs(np.asarray(Image.open(one)).astype(int) - np.asarray(Image.open(other)))
    assert apart.max() <= 1
    with pytest.raises(UsageError, match="--tile 8 is too small"):
        restore([tmp_path / "a.png"], twice, out=tmp_path / "third.png", tile=8)


# -- folders ------------------------------------------------------------------------------------------


def folder_of(root: Path, n: int = 4) -> Path:
    (root / "in" / "deep").mkdir(parents=True)
    for k in range(n):
        photo(seed=k).save(root / "in" / ("deep" if k % 2 else "") / f"{k}.png")
    return root / "in"


def test_a_folder_goes_on_where_it_stopped(twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, written = folder_of(tmp_path), list[Path]()
    kept = png_rows.os.fsync

    def full(handle: int) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(Path())
        kept(handle)

    monkeypatch.setattr(png_rows.os, "fsync", full)
    with pytest.raises(ZeuxisError, match="No space left"):
        restore([given], twice, page=False)
    monkeypatch.setattr(png_rows.os, "fsync", kept)
    written = sorted((tmp_path / "in-restored").rglob("*.*"))  # no drafts among them
    assert len(written) == 2
    stamps = {path: path.stat().st_mtime_ns for path in written}
    made = restore([given], twice)
    assert set(made.before) == set(written) and len(made.done) == 2 and not made.problems
    assert stamps == {path: path.stat().st_mtime_ns for path in written}
    assert made.done[0].parent in (tmp_path / "in-restored", tmp_path / "in-restored" / "deep")
    assert len(restore([given], twice).before) == 4
    photo(seed=9).save(given / "0.png")  # another picture under the same name
    again = restore([given], twice)
    assert len(again.before) == 3 and "--overwrite" in again.problems[0]
    assert len(restore([given], twice, overwrite=True).done) == 1


def test_what_is_no_picture_costs_a_line_and_not_the_rest(twice: Path, tmp_path: Path) -> None:
    given = folder_of(tmp_path, 2)
    (given / "notes.txt").write_text("hello")
    (given / ".hidden.png").write_bytes(b"")
    (given / "broken.png").write_bytes((given / "0.png").read_bytes()[:60])
    (given / "empty.jpg").write_bytes(b"")
    made = restore([given], twice, out=tmp_path / "out")
    assert len(made.done) == 2 and len(made.problems) == 3
    assert all("\n" not in line and str(given) in line for line in made.problems)
    assert made.problems[0].endswith("notes.txt: not a picture")


def test_pictures_that_are_not_read_are_told_of_with_the_mend(twice: Path, tmp_path: Path) -> None:
    given = folder_of(tmp_path, 1)
    (given / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    made = restore([given], twice, out=tmp_path / "out")
    assert made.problems[0].endswith("IMG_1.HEIC: HEIC is not read: convert it to PNG or JPEG")
    (given / "0.png").unlink()
    with pytest.raises(UsageError, match=r"no picture in .*: IMG_1.HEIC, HEIC is not read"):
        restore([given], twice, out=tmp_path / "other")


def test_links_to_folders_and_to_nowhere_are_told_of(same: Path, tmp_path: Path) -> None:
    given, far = folder_of(tmp_path, 1), tmp_path / "far"
    far.mkdir()
    photo().save(far / "b.png")
    (given / "album").symlink_to(far)
    (given / "gone.png").symlink_to(tmp_path / "nowhere.png")
    made = restore([given], same, out=tmp_path / "out")
    assert [file.name for file in made.done] == ["0.png"] and made.failed == 1
    assert made.problems[0].endswith("album: a link to a folder, which is not followed: give that by itself")
    assert "gone.png: cannot be read" in made.problems[1]


def test_a_folder_may_have_a_dot_in_its_name_and_a_file_large_letters(same: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        photo().save(tmp_path / name)
    (tmp_path / "made.v2").mkdir()
    assert restore([tmp_path / "a.png"], same, out=tmp_path / "made.v2").done == (tmp_path / "made.v2" / "a.png",)
    both = restore([tmp_path / "a.png", tmp_path / "b.png"], same, out=tmp_path / "made.v3").done
    assert both == (tmp_path / "made.v3" / "a.png", tmp_path / "made.v3" / "b.png")
    assert restore([tmp_path / "a.png"], same, out=tmp_path / "C.PNG").done == (tmp_path / "C.PNG",)


def test_a_folder_of_hostile_files_ends_with_lines(same: Path, tmp_path: Path) -> None:
    files = damaged() | {name: data for name, data in unusual().items() if "/" not in name}
    chosen = dict(list(files.items())[::4])
    (tmp_path / "in").mkdir()
    for name, data in chosen.items():
        (tmp_path / "in" / name).write_bytes(data)
    made = restore([tmp_path / "in"], same, out=tmp_path / "out")
    assert len(made.done) + len(made.problems) == len(chosen)
    lines = " ".join(made.problems)
    assert not [name for name in chosen if name.startswith("use-") and name in lines]
    assert not [file for file in made.done if file.name.startswith("out-")]


def test_two_pictures_of_one_name_do_not_become_one(same: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for kind in ("png", "bmp"):
        photo().save(tmp_path / "in" / f"a.{kind}")
    made = restore([tmp_path / "in"], same, out=tmp_path / "out")
    assert {file.name for file in made.done} == {"a-png.png", "a-bmp.png"}


def test_the_page_shows_each_before_and_after(twice: Path, tmp_path: Path) -> None:
    given = folder_of(tmp_path, 2)
    made = restore([given], twice, out=given / "better")  # inside: it is not walked into
    assert made.page == given / "better" / "index.html"
    text = made.page.read_text(encoding="utf-8")
    for name in ("0.png", "deep__1.png"):
        for when in ("before", "after"):
            assert f"index-files/{name}.{when}.png" in text
            assert (given / "better" / "index-files" / f"{name}.{when}.png").is_file()
    assert len(restore([given], twice, out=given / "better").before) == 2


def test_no_more_parts_are_written_than_the_page_shows(
    same: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (api_restore, restore_page):
        monkeypatch.setattr(module, "MOST_PAIRS", 2)
    given = folder_of(tmp_path, 5)
    made = restore([given], same, out=tmp_path / "out")
    assert len(made.done) == 5 and made.page is not None
    assert len(list((tmp_path / "out" / "index-files").iterdir())) == 4 and len(shown_on(made.page)) == 2
    assert "And 3 more." in made.page.read_text(encoding="utf-8")


def shown_on(page: Path) -> dict[str, Path]:
    """The picture that a page shows before each heading's picture was restored."""
    found = re.findall(r"<h2>([^<]+)</h2><div class=row><figure><img src='([^']+)'", page.read_text(encoding="utf-8"))
    return {name: page.parent / unquote(file) for name, file in found}


def test_a_name_that_is_no_text_spoils_no_page(same: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")  # of a disk from before UTF-8
    try:
        photo().save(tmp_path / name)
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    made = restore([tmp_path / name], same, page=True)
    assert made.page is not None and "caf\\udce9.png" in made.page.read_text("utf-8")
    for file in re.findall("<img src='([^']+)'", made.page.read_text("utf-8")):
        assert (tmp_path / os.fsdecode(unquote_to_bytes(html.unescape(file)))).is_file()


def test_the_page_shows_of_every_picture_its_own(same: Path, tmp_path: Path) -> None:
    """Those of one name in two folders, and those whose names with their folders read alike."""
    for k, name in enumerate(("red/0.png", "blue/0.png", "blue/a/b.png", "blue/a__b.png", "blue/50%23.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (40 * k, 0, 0)).save(tmp_path / name)
    for paths in ([tmp_path / "red", tmp_path / "blue"], [tmp_path / "red/0.png", tmp_path / "blue/0.png"]):
        made = restore(paths, same, page=True)
        assert made.page is not None
        shown = shown_on(made.page)
        assert {"red/0.png", "blue/0.png"} <= shown.keys() and len(shown) == len(made.done)
        for name, file in shown.items():
            original = tmp_path / name if (tmp_path / name).is_file() else tmp_path / "blue" / name
            assert Image.open(file).getpixel((0, 0)) == Image.open(original).getpixel((0, 0)), name


def test_results_in_a_walked_folder_are_no_originals(same: Path, tmp_path: Path) -> None:
    given = folder_of(tmp_path, 2)
    restore([given / "0.png"], same, page=True)
    assert (given / "0-restored.png").is_file() and list(given.glob("0-restored-files/*.png"))
    made = restore([given], same)
    assert {file.name for file in made.done} == {"0.png", "1.png"}
    assert restore([given / "0-restored.png"], same).done  # but named, they are


# -- nothing is lost ----------------------------------------------------------------------------------


def test_originals_are_not_overwritten_unless_asked(same: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(DataError, match="is there, and is the original"):
        restore([tmp_path / "a.png"], same, out=tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    with pytest.raises(UsageError, match="folder of the originals"):
        restore([tmp_path], same, out=tmp_path)
    restore([tmp_path / "a.png"], same, out=tmp_path / "a.png", overwrite=True)
    assert read_record(tmp_path / "a.png")["system"] == "restorer"
    with pytest.raises(UsageError, match=r"end it in \.png"):
        restore([tmp_path / "a.png"], same, out=tmp_path / "b.jpg")


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "not finite"), (-5.0, "black"), (5.0, "of one colour")])
def test_a_spoilt_tile_is_named_and_nothing_is_written(value: float, words: str, tmp_path: Path) -> None:
    network = CompactNet(width=4, inner=1, scale=2)
    network.layers[-1].bias.data.fill_(value)  # type: ignore[union-attr, operator]
    photo(90, 70).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"the tile of 32x32 pixels at column 0, row 0 came out {words}"):
        restore([tmp_path / "a.png"], public(network, "body", tmp_path / "bad.safetensors"), tile=32)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "bad.safetensors"]


def test_a_black_picture_may_stay_black(same: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    assert restore([tmp_path / "a.png"], same).done


def test_a_tile_may_lose_a_hot_pixel_and_not_its_tone(tmp_path: Path) -> None:
    network = CompactNet(width=4, inner=1, scale=2)
    network.layers[-1].weight.data.zero_()  # type: ignore[union-attr, operator]
    network.layers[-1].bias.data.fill_(-0.2)  # type: ignore[union-attr, operator]
    darker = public(network, "body", tmp_path / "darker.safetensors")
    night = Image.new("RGB", (40, 40))
    night.putpixel((21, 17), (40, 40, 40))
    night.save(tmp_path / "night.png")
    (made,) = restore([tmp_path / "night.png"], darker).done
    assert not np.asarray(Image.open(made)).any()
    Image.new("RGB", (40, 40), (40, 40, 40)).save(tmp_path / "dusk.png")
    with pytest.raises(DataError, match="came out black"):
        restore([tmp_path / "dusk.png"], darker)


def test_a_result_that_memory_cannot_hold_is_said_before(
    twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(64, 64).save(tmp_path / "a.png")
    monkeypatch.setattr("zeuxis.api.restore_job.free_memory", lambda device: 1000)
    with pytest.raises(DataError, match="128x128 pixels needs"):
        restore([tmp_path / "a.png"], twice)


# -- models and tasks ---------------------------------------------------------------------------------


def test_tasks_that_nothing_at_hand_does_are_refused(
    same: Path, twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeuxis.pretrained.upscalers.wheel_folder", lambda wheel: None)
    for model, task, error, words in [
        (None, None, UsageError, "say what to do"),
        (None, "enlarge:5", Unsupported, "zeuxis train sr-resnet --data ~/photos --scale 5 trains one"),
        (None, "enlarge:9", UsageError, "write enlarge:2"),
        (None, "colorize", Unsupported, "zeuxis train colorizer --data ~/photos --size 64 trains one"),
        (None, "face", Unsupported, "zeuxis convert GFPGANv1.4.pth"),
        (None, "denoize", UnknownName, "did you mean denoise"),
        (twice, "enlarge:4", UsageError, r"does enlarge:2, not enlarge:4: --model (enlarge-4|realesrgan-x4plus) does"),
        (twice, "enlarge:8", UsageError, "zeuxis train sr-resnet --data ~/photos --scale 8 trains one"),
        (twice, "denoise", UsageError, "does enlarge:2, not denoise: --model denoise does"),
        (same, "enlarge:2", UsageError, "does denoise, not enlarge:2"),
        ("realesrgan-x4", None, UnknownName, "did you mean realesrgan-x4plus"),
        ("realesr-animevideov3-x2", None, Unsupported, "pip install"),
        (tmp_path / "absent.safetensors", None, UsageError, "there is no file"),
    ]:
        with pytest.raises(error, match=words) as found:
            restorer_for(model, task)
        assert "\n" not in str(found.value)


def test_a_larger_scale_is_reduced_to_what_is_asked_for(tmp_path: Path) -> None:
    network = CompactNet(width=4, inner=1, scale=4)
    for value in network.parameters():
        value.data.zero_()
    file = public(network, "body", tmp_path / "four.safetensors")
    photo().save(tmp_path / "a.png")
    made = restore([tmp_path / "a.png"], file, "enlarge:2")
    assert made.task == "enlarge:2" and Image.open(made.done[0]).size == (40, 24)
    values = np.asarray(Image.open(made.done[0])).reshape(12, 2, 20, 2, 3)
    assert np.abs(values.mean((1, 3)) - np.asarray(photo())).max() < 40  # its own picture, not a shifted one


def test_the_command(twice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo().save(tmp_path / "a.png")
    assert main(["restore", str(tmp_path / "a.png"), "--model", str(twice), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["done"] == [str(tmp_path / "a-restored.png")] and found["task"] == "enlarge:2"
    assert main(["restore", str(tmp_path / "a.png"), "--model", str(twice)]) == 0
    assert "done before: 1" in capsys.readouterr().out
    assert main(["restore", "--models"]) == 0
    told = capsys.readouterr().out
    assert "realesrgan-x4plus" in told and told.count("BSD-3-Clause") == 1, "a licence is told once, below the list"
    assert main(["restore"]) == 2 and main(["restore", str(tmp_path / "no.png"), "--model", str(twice)]) == 2
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert main(["restore", str(tmp_path / "b.png"), "--model", str(twice)]) == 1
    assert capsys.readouterr().err.count("\n") == 3


def test_the_command_fails_where_a_picture_was_not_restored(
    twice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = folder_of(tmp_path, 2)
    (given / "notes.txt").write_text("no picture, and nobody said that it is")
    assert main(["restore", str(given), "--model", str(twice)]) == 0
    assert f"-> {tmp_path / 'in-restored'}\n" in capsys.readouterr().out  # one of them in a folder inside
    (given / "broken.png").write_bytes(b"no picture")
    assert main(["restore", str(given), "--model", str(twice)]) == 1
    said = capsys.readouterr()
    assert "done before: 2" in said.out and "broken.png" in said.err
    assert main(["restore", str(given), "--model", str(twice), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 1


def test_the_page_tells_the_command_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = denoiser(tmp_path / "my model.safetensors")
    photo().save(tmp_path / "a.png")
    made = restore([tmp_path / "a.png"], model, out=tmp_path / "b c.png", tile=96, page=True)
    assert made.page is not None
    (told,) = re.findall("<code>(.*?)</code>", made.page.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(html.unescape(told))
    assert words[0] == "zeuxis" and "--tile" in words and "b c.png" in words[words.index("--out") + 1]
    made.page.unlink()
    (tmp_path / "b c.png").unlink()
    assert main(words[1:]) == 0 and made.page.is_file() and (tmp_path / "b c.png").is_file()


def test_the_busiest_part_is_looked_for_where_a_page_wants_it(
    same: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for height, width in ((300, 4000), (3000, 97), (7, 2500)):
        colours = np.zeros((height, width, 1), np.uint8)
        at = slice(height // 2, height // 2 + 40), slice(width - 60, width - 20)
        colours[at] = np.random.default_rng(0).integers(0, 256, colours[at].shape)
        left, top, right, bottom = busiest(OpenedPicture(colours))
        assert (right - left, bottom - top) == (min(96, width), min(96, height))
        part = colours[top:bottom, left:right]
        assert part.shape[:2] == (bottom - top, right - left)
        assert (part > 0).sum() > 0.9 * (colours > 0).sum()
    photo().save(tmp_path / "a.png")
    monkeypatch.setattr("zeuxis.api.restore_job.busiest", lambda picture: pytest.fail("nobody asked for it"))
    assert restore([tmp_path / "a.png"], same).done


def test_progress_tells_the_share_of_all_pixels(twice: Path, tmp_path: Path) -> None:
    given, told = folder_of(tmp_path, 3), list[float]()
    restore([given], twice, report=lambda message, share: told.append(share) if share is not None else None)
    assert told == sorted(told) and told[-1] == 1 and len(told) == 3


def test_convert_says_what_reads_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = DnCNNNet(depth=17, width=2)
    torch.save(
        {key.replace("layers", "model"): value for key, value in network.state_dict().items()}, tmp_path / "d.pth"
    )
    assert main(["convert", str(tmp_path / "d.pth")]) == 0
    said = capsys.readouterr()
    assert f"zeuxis restore PICTURE --model {tmp_path / 'd.safetensors'}" in said.out and "no kind" not in said.err
    torch.save({f"model.{2 * k}.weight": torch.zeros(4, 4, 3, 3) for k in range(7)}, tmp_path / "ircnn.pth")
    assert main(["convert", str(tmp_path / "ircnn.pth")]) == 0
    said = capsys.readouterr()
    assert "zeuxis restore" not in said.out and "no kind" in said.err
