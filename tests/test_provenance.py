"""A picture's record: written whole, read without decoding, and never trusted."""

import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zeuxis.cli import main
from zeuxis.errors import DataError, UsageError, ZeuxisError
from zeuxis.escaping import printable
from zeuxis.provenance import record as module
from zeuxis.provenance.parameters import parameters, read_parameters
from zeuxis.provenance.record import KEY, MAX_TEXT, SIGNATURE, SOURCE_TYPE, read_record, record, save_png
from zeuxis.version import __version__


def a_record(**changes):
    return record(
        **{
            "model": "scenes",
            "system": "flow-matching",
            "weights_sha256": "ab" * 32,
            "recipe": "scenes",
            "data": "scenes",
            "seed": 2**62,
            "sampling": {"steps": 4, "guidance": 2.5},
            "condition": {"caption": "a small red circle, at night — crème"},
            "device": "cpu",
            "dtype": "float32",
            **changes,
        }
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


def itxt(content: bytes, packed: bool = False) -> bytes:
    return chunk(b"iTXt", KEY.encode() + b"\0" + (b"\1" if packed else b"\0") + b"\0\0\0" + content)


def test_round_trip_and_the_same_call_gives_the_same_bytes(tmp_path):
    image = Image.new("RGB", (5, 3), (10, 200, 30))
    save_png(image, tmp_path / "deep" / "a.png", a_record())
    save_png(image, tmp_path / "b.png", a_record())
    assert read_record(tmp_path / "deep" / "a.png") == a_record()
    assert (tmp_path / "deep" / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.png", "deep"]  # no drafts left


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("{home}/runs/one", "~/runs/one"),
        ("{home}", "~"),
        ("bits12:{home}/photos | blur:2", "bits12:~/photos | blur:2"),
        ("{home}/A {home}/B | style:A->B", "~/A ~/B | style:A->B"),
        ("{home}2/runs/one", "{home}2/runs/one"),
        ("/mnt{home}/runs/one", "/mnt{home}/runs/one"),
        ("scenes", "scenes"),
    ],
)
def test_a_record_names_no_home(given, recorded, tmp_path, monkeypatch):
    home = tmp_path / "alice"
    home.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    made = a_record(model=given.format(home=home), data=given.format(home=home))
    assert made["model"] == made["data"] == recorded.format(home=home)


def test_a_home_that_is_the_whole_disk_or_nobodys_is_left(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    assert a_record(data="/photos")["data"] == "/photos"

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert a_record(data="/home/alice/photos")["data"] == "/home/alice/photos"


def test_the_versions_are_read_once_for_all_pictures(monkeypatch):
    read = []
    monkeypatch.setattr(module, "version", lambda package: read.append(package) or "1")
    module._installed.cache_clear()
    try:
        assert [module.versions()["torch"] for _ in range(3)] == ["1"] * 3 and sorted(read) == ["numpy", "torch"]
    finally:
        module._installed.cache_clear()  # which holds what was made up


def test_other_programs_see_that_it_is_synthetic_and_the_pixels_are_untouched(tmp_path):
    image = Image.effect_noise((8, 8), 50)
    save_png(image, tmp_path / "a.png", a_record())
    with Image.open(tmp_path / "a.png") as shown:
        assert shown.tobytes() == image.tobytes()
        assert "synthesised" in shown.text["Description"]
        assert SOURCE_TYPE in shown.info["XML:com.adobe.xmp"]
        assert json.loads(shown.text[KEY])["synthetic"] is True


def test_a_packed_record_and_one_after_the_pixels_are_read(tmp_path):
    text = json.dumps(a_record()).encode()
    path = tmp_path / "a.png"
    path.write_bytes(png(chunk(b"IDAT", b"x" * 100), itxt(zlib.compress(text), packed=True)))
    assert read_record(path) == a_record()


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"GIF89a", UsageError, "not a PNG"),
        (png(), UsageError, "carries no record"),
        (png(itxt(b"{")), DataError, "not JSON"),
        (png(itxt(b"\xff\xfe")), DataError, "damaged"),
        (png(itxt(b"[" * 100_000)), DataError, "not JSON"),
        (png(itxt(b'{"format": 99}')), DataError, "update Zeuxis"),
        (png(itxt(b'{"format": 1, "model": 3}')), DataError, "'model'"),
        (png(itxt(zlib.compress(b" " * (MAX_TEXT * 20)), packed=True)), DataError, "unpacks to more"),
        (png(itxt(b"{}"))[:30], DataError, "cut short"),
        (png(itxt(b"{}")).replace(b"{}", b"{!"), DataError, "checksum"),
        (png(itxt(b" " * (MAX_TEXT + 2048))), UsageError, "carries no record"),
    ],
)
def test_what_is_not_a_record_is_refused_in_one_line(tmp_path, content, error, says):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(error, match=says) as raised:
        read_record(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_misuse_and_an_unwritable_place_is_said(tmp_path):
    with pytest.raises(UsageError, match="there is no picture"):
        read_record(tmp_path / "none.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(ZeuxisError, match="cannot write"):
        save_png(Image.new("L", (1, 1)), tmp_path / "file" / "a.png", a_record())


def test_too_long_a_record_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="MiB"):
        save_png(Image.new("L", (1, 1)), tmp_path / "a.png", a_record(condition={"caption": "x" * MAX_TEXT}))
    assert list(tmp_path.iterdir()) == []


def test_the_line_for_other_programs_is_made_of_the_record(tmp_path):
    path = tmp_path / "a.png"
    made = a_record(sampling={"steps": 4, "guidance": 2.5, "sampler": "ddim"}, model="runs/a, b")
    save_png(Image.new("RGB", (6, 5)), path, made)
    settings = "Steps: 4, Sampler: ddim, CFG scale: 2.5, Seed: 4611686018427387904, Size: 6x5, Model hash: ababababab, "
    line = f'a small red circle, at night — crème\n{settings}Model: "runs/a, b", Version: zeuxis {__version__}'
    assert read_parameters(path) == line
    with Image.open(path) as shown:
        assert shown.text["parameters"] == line


@pytest.mark.parametrize("evil", ["a\nSteps: 9, Seed: 1", "\x1b[31m", "\u202e", "\ud800"])
def test_a_caption_stays_in_its_line_and_is_not_obeyed(tmp_path, evil):
    line = parameters(a_record(condition={"caption": evil, "negative": evil}), 1, 1)
    assert len(line.splitlines()) == 3 and line.splitlines()[1].startswith("Negative prompt: ")
    assert printable(line.replace("\n", "")) == line.replace("\n", "")
    save_png(Image.new("L", (1, 1)), tmp_path / "a.png", a_record(condition={"caption": evil}))
    assert read_parameters(tmp_path / "a.png") == parameters(a_record(condition={"caption": evil}), 1, 1)


def test_without_caption_and_knobs_the_line_holds_what_there_is():
    line = parameters(a_record(sampling={}, condition={"label": 3}, weights_sha256=None), 8, 8)
    assert line == f"Seed: {2**62}, Size: 8x8, Model: scenes, Version: zeuxis {__version__}"


def test_an_instruction_is_what_a_picture_was_asked_by():
    line = parameters(a_record(condition={"instruction": "make it night", "negative": "fog"}), 8, 8)
    assert line.splitlines()[:2] == ["make it night", "Negative prompt: fog"]


def test_a_damaged_line_is_an_error_and_none_is_none(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    assert read_parameters(path) is None
    path.write_bytes(png(chunk(b"iTXt", b"parameters\0\1\0\0\0not packed")))
    with pytest.raises(DataError, match="damaged"):
        read_parameters(path)
    path.write_bytes(png(chunk(b"iTXt", b"parameters\0\0")))
    with pytest.raises(DataError, match="damaged"):
        read_parameters(path)


def test_the_line_of_another_program_is_told_though_it_is_all_there_is(tmp_path, capsys):
    line = "a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Seed: 7"
    info = PngInfo()
    info.add_text("parameters", line)
    Image.new("RGB", (70, 70)).save(tmp_path / "a.png", pnginfo=info)
    assert main(["info", str(tmp_path / "a.png"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["marks"]["parameters"] == line and set(told) == {"marks"}
    Image.new("RGB", (70, 70)).save(tmp_path / "b.png")
    assert main(["info", str(tmp_path / "b.png")]) == 2
    assert "carries no record" in capsys.readouterr().err
