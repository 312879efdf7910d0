"""What is kept of data heals: a file that is missing, torn or changed is noticed, and made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from folders import many, put, told

from zeuxis.data.folder import open_folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    for name in ("ant", "bee"):
        many(tmp_path / "root" / name, 20)
    put(tmp_path / "root" / "ant" / "bad.png", data=b"")
    return tmp_path / "root"


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped byte of pictures": lambda kept: flipped(kept / "images.npy"),
    "fewer pictures": lambda kept: os.truncate(kept / "images.npy", 500),
    "no pictures": lambda kept: (kept / "images.npy").unlink(),
    "no head": lambda kept: (kept / "images.npy").write_bytes(b""),
    "a flipped label": lambda kept: flipped(kept / "label.npy"),
    "no labels": lambda kept: (kept / "label.npy").unlink(),
    "flipped rows": lambda kept: flipped(kept / "rows-train.npy"),
    "no rows": lambda kept: (kept / "rows-train.npy").unlink(),
    "torn facts": lambda kept: os.truncate(kept / "about.json", 60),
    "facts of another kind": lambda kept: (kept / "about.json").write_text("[1]"),
    "changed facts": lambda kept: (kept / "about.json").write_text(
        (kept / "about.json").read_text().replace("ant", "cow")
    ),
    "facts that are no text": lambda kept: (kept / "about.json").write_bytes(b"\xff\xfe\xfd"),
    "a torn report": lambda kept: (kept / "skipped.jsonl").write_text('{"path": "a'),
    "no report": lambda kept: (kept / "skipped.jsonl").unlink(),
    "an empty folder": lambda kept: [path.unlink() for path in kept.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again_and_that_is_said(root: Path, tmp_path: Path, damage: str) -> None:
    before = open_folder(root, 8)
    first = before.batch(torch.arange(9)).image
    (kept,) = (tmp_path / "cache" / "prepared").iterdir()
    DAMAGE[damage](kept)
    after = open_folder(root, 8)
    assert after.fingerprint() == before.fingerprint() and after.spec == before.spec and after.skipped == before.skipped
    assert torch.equal(after.batch(torch.arange(9)).image, first)
    assert "was damaged" in after.remarks[1] and "made again" in after.remarks[1]
    assert open_folder(root, 8).remarks == before.remarks, "it is sound again"


def test_a_cache_that_was_copied_is_sound(root: Path, tmp_path: Path) -> None:
    open_folder(root, 8)
    (kept,) = (tmp_path / "cache" / "prepared").iterdir()
    for path in kept.iterdir():
        os.utime(path, (9, 9) if path.name == "about.json" else None)
    assert len(told(open_folder(root, 8))) == 1


def test_notes_of_contents_that_are_torn_are_made_again(root: Path, tmp_path: Path) -> None:
    for path in root.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    before = open_folder(root, 8)
    for text in (b"", b"\xff\xff", b"abc"):
        for path in (tmp_path / "cache" / "contents").iterdir() if (tmp_path / "cache" / "contents").is_dir() else ():
            path.write_bytes(text)
        assert open_folder(root, 8).fingerprint() == before.fingerprint()
        assert len(list((tmp_path / "cache" / "prepared").iterdir())) == 1


def test_deleting_all_that_is_kept_is_well(root: Path, tmp_path: Path) -> None:
    source = open_folder(root, 8)
    shutil.rmtree(tmp_path / "cache")
    assert source.batch(torch.arange(4)).image.isfinite().all(), "an open one stays readable"
    assert open_folder(root, 8).fingerprint() == source.fingerprint()
