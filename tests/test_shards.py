"""WebDataset shards: what lies in them, and what a damaged or hostile one can do."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import hostile
import pytest
import torch

from zeuxis.data.check import check
from zeuxis.data.folder import open_folder
from zeuxis.errors import DataError


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


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
    shard(tmp_path / "x.tar", {"a.txt": b"nothing else"})
    with pytest.raises(DataError):
        open_folder(tmp_path, 16)
