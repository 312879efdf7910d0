"""WebDataset shards: what lies in them, and what a damaged or hostile one can do."""

from __future__ import annotations

import io
import json
import re
import tarfile
from functools import cache
from pathlib import Path
from typing import BinaryIO

import hostile
import pytest
import torch

from zeuxis.data.check import check
from zeuxis.data.folder import open_folder
from zeuxis.data.library import open_source
from zeuxis.data.shards import Member, read_shard
from zeuxis.data.source import Skipped
from zeuxis.data.tar import BLOCK, Lost, TarMember, members
from zeuxis.data.texts import MOST_TEXT
from zeuxis.errors import DataError, UsageError


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@cache
def picture(seed: int) -> bytes:
    return hostile.coded(hostile.noise("RGB", seed, 20), "PNG")


def labelled(first: int, n: int) -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for k in range(first, first + n):
        made |= {f"{k:04d}.png": picture(k), f"{k:04d}.cls": b"%d" % (k % 3), f"{k:04d}.txt": b"number %d" % k}
    return made


def test_shards_give_pictures_captions_and_labels(tmp_path: Path) -> None:
    shard(tmp_path / "a-000.tar", labelled(0, 20))
    facts = {f"sub/{k}.json": json.dumps({"caption": f"number {k}", "label": k % 3}).encode() for k in range(20, 40)}
    shard(tmp_path / "a-001.tar", facts | {f"sub/{k}.png": picture(k) for k in range(20, 40)})
    source = open_folder(tmp_path)
    assert (
        source.spec.provides == {"caption", "label"} and source.spec.classes == 3 and source.spec.shape == (3, 20, 20)
    )
    seen = 0
    for split in ("train", "val", "test"):
        part = open_folder(tmp_path, split=split)
        batch = part.batch(torch.arange(len(part)))
        for image, text, label in zip(batch.image, batch.condition.caption, batch.condition.label, strict=True):
            k = int(text.split()[1])
            assert label == k % 3
            pixels = torch.frombuffer(bytearray(hostile.noise("RGB", k, 20).tobytes()), dtype=torch.uint8)
            assert torch.equal(((image + 1) * 127.5).round().to(torch.uint8), pixels.view(20, 20, 3).permute(2, 0, 1))
            seen += 1
    assert seen == 40 and check(tmp_path).usable == 40
    shard(tmp_path / "a-001.tar", labelled(40, 4))  # a shard that changes is noticed
    assert sum(len(open_folder(tmp_path, split=s)) for s in ("train", "val", "test")) == 24


def test_a_truncated_shard_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    shard(tmp_path / "whole.tar", labelled(0, 60))
    shard(tmp_path / "cut.tar", labelled(60, 40))
    data = (tmp_path / "cut.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2 + 100])
    found = check(tmp_path)
    damaged = [f for f in found.findings if f.left_out]
    assert 60 < found.usable < 100 and damaged and all(f.path.startswith("cut.tar") for f in damaged)
    assert len(open_folder(tmp_path, 16)) > 40
    (tmp_path / "cut.tar").write_bytes(b"no tar at all" * 100)
    assert check(tmp_path).usable == 60


def test_hostile_members_do_nothing(tmp_path: Path) -> None:
    members = labelled(0, 80)
    members |= {"../../escape.png": picture(90), "../../escape.cls": b"1", "/abs.png": picture(91), "/abs.cls": b"1"}
    shard(tmp_path / "x.tar", members)
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        for kind, target in ((tarfile.SYMTYPE, "/etc/hostname"), (tarfile.LNKTYPE, "0000.png"), (tarfile.FIFOTYPE, "")):
            info = tarfile.TarInfo(f"link-{ord(kind)}.png")
            info.type, info.linkname = kind, target
            tar.addfile(info)
    found = check(tmp_path)
    assert (found.usable, found.pictures) == (82, 85), "a name that leads outside is only a name: nothing is unpacked"
    assert [f.path for f in found.findings if f.left_out] == [f"x.tar/link-{kind}.png" for kind in (50, 49, 54)]
    assert not list(tmp_path.parent.rglob("escape.png"))


def test_what_does_not_fit_together_is_set_aside(tmp_path: Path) -> None:
    odd = {"two.png": picture(1), "two.jpg": picture(2), "alone.txt": b"no picture", "none.png": picture(3)}
    odd |= {
        "bad.png": picture(4),
        "bad.cls": b"three",
        "worse.png": picture(5),
        "worse.json": b"{",
        "worse.cls": b"999999",
    }
    shard(tmp_path / "x.tar", labelled(0, 200) | odd)
    reasons = {one.path: one.reason for one in open_folder(tmp_path, 16).skipped}
    assert (
        reasons["x.tar/two"] == "several pictures of one name" and reasons["x.tar/alone"] == "no picture of that name"
    )
    assert "where others have one" in reasons["x.tar/none.png"] and "where others have one" in reasons["x.tar/bad.png"]
    assert {"x.tar/bad.cls", "x.tar/worse.json"} <= set(reasons)
    assert "'three' is no number from 0 to 99999" in reasons["x.tar/bad.cls"]
    shard(tmp_path / "x.tar", {"a.txt": b"nothing else"})
    with pytest.raises(DataError):
        open_folder(tmp_path, 16)


def pictures(path: Path, n: int) -> bytes:
    shard(path, {f"{k:03}.png": picture(k) for k in range(n)})
    return path.read_bytes()


@pytest.mark.parametrize("byte", [0, 105, 124, 130, 148, 156, 257, 511])  # name, mode, size, checksum, type, magic
@pytest.mark.parametrize("which", [0, 10, 29])
def test_a_flipped_byte_in_a_header_costs_one_member(tmp_path: Path, byte: int, which: int) -> None:
    data = bytearray(pictures(tmp_path / "a.tar", 30))
    with tarfile.open(tmp_path / "a.tar") as tar:
        header = tar.getmembers()[which].offset
    data[header + byte] ^= 0x41
    (tmp_path / "a.tar").write_bytes(data)
    found = check(tmp_path)
    lost = [f for f in found.findings if f.left_out]
    assert (found.usable, len(lost)) == (29, 1) and "header is damaged" in lost[0].message
    assert lost[0].path == f"a.tar/{f'{which:03}' if byte else f'q{which:02}'}.png"


def test_what_lies_between_two_sound_headers_is_told_once(tmp_path: Path) -> None:
    data = bytearray(pictures(tmp_path / "a.tar", 30))
    with tarfile.open(tmp_path / "a.tar") as tar:
        starts = [member.offset for member in tar.getmembers()]
    data[starts[5] : starts[9]] = b"\xaa" * (starts[9] - starts[5])
    (tmp_path / "a.tar").write_bytes(data)
    found = check(tmp_path)
    assert found.usable == 26 and [f.path for f in found.findings if f.left_out] == [f"a.tar, byte {starts[5]}"]


def test_a_member_of_any_stated_size_ends_in_bounded_work(tmp_path: Path) -> None:
    for size in (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + bytes(6) + b"\x7f\xff\xff\xff\xff"):
        data = bytearray(pictures(tmp_path / "a.tar", 40))
        with tarfile.open(tmp_path / "a.tar") as tar:
            start = tar.getmembers()[3].offset
        data[start + 124 : start + 136] = size
        data[start + 148 : start + 156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
        (tmp_path / "a.tar").write_bytes(data)
        found = check(tmp_path)
        assert found.usable == 39 and [f.path for f in found.findings if f.left_out] == ["a.tar/003.png"], size


def test_repeated_members_and_members_that_are_no_pictures_are_listed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        names = ("1.png", "2.png", "1.png", "3.heic", "4.seg.png", "5.npy", "._1.png", "6.PNG")
        for k, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = len(picture(k))
            tar.addfile(info, io.BytesIO(picture(k)))
    found = check(tmp_path)
    assert {f.path.removeprefix("a.tar/"): f.kind for f in found.findings if f.left_out} == {
        "1.png": "repeated", "3.heic": "unsupported", "4.seg.png": "unsupported", "5.npy": "no picture",
        "._1.png": "hidden",
    }  # fmt: skip
    assert found.usable == 3
    first = open_folder(tmp_path, 20).batch(torch.arange(1)).image if not found.refused else None
    assert first is None or torch.isfinite(first).all()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_and_long_names_are_read(tmp_path: Path, form: int) -> None:
    names = [f"{'deep/' * 12}{'n' * 60}ü{k}.png" for k in range(20)]
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        for k, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = len(picture(k))
            tar.addfile(info, io.BytesIO(picture(k)))
    (tmp_path / "both.TAR").write_bytes((tmp_path / "a.tar").read_bytes() * 2)  # one behind the other
    found = check(tmp_path)
    assert found.usable == 40 and {f.kind for f in found.findings if f.left_out} == {"repeated"}


def test_shards_in_folders_of_splits(tmp_path: Path) -> None:
    for split, n in (("Train", 20), ("validation", 4)):
        (tmp_path / split).mkdir()
        shard(tmp_path / split / "0.tar", labelled(0, n))
    assert [len(open_folder(tmp_path, 16, split)) for split in ("train", "val", "test")] == [18, 4, 2]


def test_shards_whose_names_tell_splits(tmp_path: Path) -> None:
    for k, (name, n) in enumerate({"birds-train-000": 20, "birds-train-001": 20, "birds-val-000": 4}.items()):
        shard(tmp_path / f"{name}.tar", labelled(100 * k, n))
    assert [len(open_folder(tmp_path, 16, split)) for split in ("train", "val", "test")] == [36, 4, 4]
    held_out = open_folder(tmp_path, 16, "val").batch(torch.arange(4)).condition.caption
    assert held_out == tuple(f"number {k}" for k in range(200, 204))
    assert "splits train, val by the names of shards" in open_folder(tmp_path, 16).remarks[0]
    shard(tmp_path / "extra.tar", labelled(300, 5))
    assert [one.kind for one in open_folder(tmp_path, 16).skipped] == ["beside"]


def test_shards_without_any_to_train_on_are_no_splits(tmp_path: Path) -> None:
    for name in ("val-000", "val-001"):
        shard(tmp_path / f"{name}.tar", labelled(0, 10))
    assert [len(open_folder(tmp_path, 16, split)) for split in ("train", "val", "test")] == [16, 2, 2]


def test_classes_of_shards_are_those_to_train_on(tmp_path: Path) -> None:
    few = {name: data for name, data in labelled(0, 30).items() if not name.endswith(("02.cls", "02.png", "02.txt"))}
    shard(tmp_path / "train.tar", few)
    shard(tmp_path / "val.tar", {**few, "0999.png": picture(999), "0999.cls": b"7"})
    val = open_folder(tmp_path, 16, "val")
    assert val.spec.classes == 3 and len(val) == 29
    assert [one.reason for one in val.skipped] == ["its class 7 is not among those to train on"]
    shard(tmp_path / "train.tar", {name: data for name, data in few.items() if not name.endswith(".cls")})
    assert open_folder(tmp_path, 16, "val").spec.provides == {"caption"}


def extended(records: bytes) -> bytes:
    """A header that says so of the member behind it."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    return info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % BLOCK)


@cache
def named(name: str, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(-(-size // BLOCK) * BLOCK)


@pytest.mark.parametrize(
    ("records", "name"),
    [
        (b"19 path=other.png\n\n", "other.png"),
        (b"18 path=other.png\n", "other.png"),
        (b"0" * 8 + b"1" + b"0" * 5000 + b" path=other.png\n", "plain.png"),  # no number of Python's
        (b"9" * 5000 + b" path=other.png\n", "plain.png"),
        (b"18 path=other.png\n" + b"1" * 5000, "other.png"),
        (b"3 path=other.png\n", "plain.png"),
        (b"0 path=other.png\n", "plain.png"),
        (b"-5 path=other.png\n", "plain.png"),
    ],
)
def test_records_of_any_length_are_read_as_far_as_they_are_sound(tmp_path: Path, records: bytes, name: str) -> None:
    (tmp_path / "a.tar").write_bytes(extended(records) + named("plain.png") + bytes(2 * BLOCK))
    assert [one.name for one in members(tmp_path / "a.tar")] == [name]


def test_many_records_are_read_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zeuxis.data import tar

    looked = []

    class Counted:
        def match(self, data: bytes, at: int) -> object:
            looked.append((len(data), at))
            return LENGTH.match(data, at)

    LENGTH = tar.LENGTH
    monkeypatch.setattr(tar, "LENGTH", Counted())
    records = b"6 a=b\n" * 1000
    (tmp_path / "a.tar").write_bytes(extended(records) + named("plain.png"))
    assert [one.name for one in members(tmp_path / "a.tar")] == ["plain.png"]
    assert looked == [(6000, 6 * k) for k in range(1001)], "the same bytes, never copied anew"


def read_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[TarMember | Lost]]:
    """How many bytes are asked for while the members of a tar file are found."""
    asked = 0
    real = Path.open

    class Counting:
        def __init__(self, file: BinaryIO) -> None:
            self.file, self.seek = file, file.seek

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def read(self, n: int) -> bytes:
            nonlocal asked
            found = self.file.read(n)
            asked += len(found)
            return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode: Counting(real(self, mode)))
        found = list(members(path))
    return asked, found


BROKEN = b"\xaa" * BLOCK
SPANS = {
    "damaged and sound headers by turns": (BROKEN + named("a.png")) * 600,
    "zeros and headers by turns": (bytes(BLOCK) + named("a.png")) * 600,
    "damage of every length": b"".join(BROKEN * (k % 40) + named("a.png") for k in range(400)),
    "members beyond the end": named("a.png", 1 << 30)[:BLOCK] * 600,
    "headers that are nearly right": (named("a.png")[:60] + b"x" + named("a.png")[61:]) * 3000,
}


@pytest.mark.parametrize("name", SPANS)
def test_the_work_on_a_damaged_shard_follows_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "a.tar").write_bytes(SPANS[name] + named("last.png") + bytes(2 * BLOCK))
    asked, found = read_of(tmp_path / "a.tar", monkeypatch)
    assert found[-1].name == "last.png" and isinstance(found[-1], TarMember)
    assert asked <= 8 * len(SPANS[name]), f"{asked / len(SPANS[name]):.1f} times its size"


def test_bytes_behind_the_end_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(named("a.png") + bytes(2 * BLOCK) + b"x" * 100)
    assert [(type(one), one.offset) for one in members(tmp_path / "a.tar")] == [(TarMember, BLOCK), (Lost, 3 * BLOCK)]


def test_of_a_picture_in_a_shard_no_more_is_read_than_its_reader_asks_for(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(100) + bytes(range(200)) + b"more")
    with Member(tmp_path / "a.tar", 100, 200).open() as file:
        assert file.read(3) == bytes(range(3)) and file.tell() == 3
        assert file.seek(-5, io.SEEK_END) == 195 and file.read() == bytes(range(195, 200)) and file.read(1) == b""
        assert file.seek(1000) == 1000 and file.read(10) == b""
        file.seek(0)
        assert file.read() == bytes(range(200))
        with pytest.raises(ValueError, match="no byte -1"):
            file.seek(-1)
    with Member(tmp_path / "a.tar", 0, 1 << 60).open() as file:  # a size that a header states
        assert len(file.read(64)) == 64


def test_captions_and_classes_of_shards_are_read_as_those_of_folders(tmp_path: Path) -> None:
    said: dict[str, bytes] = {f"{k:02}.png": picture(k) for k in range(12)}
    said |= {
        "00.txt": b"\xef\xbb\xbfmarked",
        "01.txt": "wide \u00e9".encode("utf-16"),
        "02.json": b'\xef\xbb\xbf{"text": ["an object", "the same in other words"]}',
        "03.json": b'{"text": "true is no class", "label": true}',
        "04.json": b'{"text": "nor is a word", "label": "cat"}',
        "05.json": b'{"text": "half \\ud800"}',
        "06.txt": b"x" * (MOST_TEXT + 1),
        "07.json": b'{"text": "' + b"x" * MOST_TEXT + b'"}',
        "08.json": b'{"text": "too large", "label": 1' + b"0" * 5000 + b"}",
        "09.txt": b"\xff\xfe\x00",
        "10.json": b"[" * 30_000,
        "11.caption": b"x" * MOST_TEXT,
    }
    shard(tmp_path / "a.tar", said)
    from zeuxis.data.layouts import Listing
    from zeuxis.data.shards import read_shard

    listing = Listing()
    found = read_shard(tmp_path / "a.tar", "a.tar", listing.skipped)
    captions = {key: one.caption for key, one in found.items()}
    assert captions == {
        "00": "marked", "01": "wide \u00e9", "02": "an object", "03": "true is no class", "04": "nor is a word",
        "05": None, "06": None, "07": None, "08": None, "09": None, "10": None, "11": "x" * MOST_TEXT,
    }  # fmt: skip
    assert all(one.label is None for one in found.values())
    reasons = {one.path.removeprefix("a.tar/"): (one.kind, one.reason) for one in listing.skipped}
    assert {key: kind for key, (kind, _) in reasons.items()} == {
        "03.json": "text", "04.json": "text", "05.json": "damaged", "06.txt": "damaged", "07.json": "damaged",
        "08.json": "damaged", "09.txt": "damaged", "10.json": "damaged",
    }  # fmt: skip
    assert "'True' is no number" in reasons["03.json"][1] and "lone surrogate" in reasons["05.json"][1]
    assert "longer than the 65,536 bytes" in reasons["06.txt"][1] and "broken UTF-16" in reasons["09.txt"][1]


def test_several_pictures_of_an_example_are_told_which_one_is_read(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", {"0.png": picture(0), "0.lr.png": picture(1), "0.raw.cr2": b"x", "0.meta.bin": b"x"})
    skipped: list[Skipped] = []
    assert list(read_shard(tmp_path / "a.tar", "a.tar", skipped)["0"].pictures) == ["0.png"]
    assert [one.reason.partition(": ")[2] for one in skipped] == [
        "of an example the picture 0.png is",
        "convert it to PNG or JPEG",
        "no picture, no text",
    ]


def test_of_a_shard_alone_its_folder_is_advised(tmp_path: Path) -> None:
    (tmp_path / "birds-000.tar").touch()
    with pytest.raises(UsageError, match=f"or --data {re.escape(str(tmp_path))}, where it is a WebDataset shard"):
        open_source(tmp_path / "birds-000.tar", 8)
