"""What is kept of data follows from their bytes: no two folders share an entry, no change goes unseen."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zeuxis.batch import to_uint8
from zeuxis.data import contents, download
from zeuxis.data.contents import Contents
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.entries import ENTRIES, RemoteFile
from zeuxis.data.folder import open_folder
from zeuxis.data.library import open_source
from zeuxis.data.own import OwnData
from zeuxis.data.source import ArraySource, Source
from zeuxis.data.unpaired import UnpairedSource
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import DataError

DATE = 1_700_000_000  # that of every file of an archive


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


def bitmaps(folder: Path, level: int, n: int = 12) -> Path:
    """Pictures of one grey level: files of the same names, sizes and dates, whatever the level."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        path = folder / f"{k:02}.bmp"
        Image.new("RGB", (8, 8), (level, level, k)).save(path)
        os.utime(path, (DATE, DATE))
    return folder


def levels(source: Source) -> set[int]:
    """The red of all pictures."""
    return set(to_uint8(source.batch(torch.arange(len(source))).image)[:, 0].unique().tolist())


def test_folders_of_equal_names_sizes_and_dates_keep_their_own_pictures(tmp_path: Path) -> None:
    one, other = bitmaps(tmp_path / "noisy15", 15), bitmaps(tmp_path / "noisy50", 50)
    assert levels(open_folder(one)) == {15} and levels(open_folder(other)) == {50}
    assert open_folder(one).fingerprint() != open_folder(other).fingerprint()


def test_both_sides_of_an_unpaired_folder_keep_their_own_pictures(tmp_path: Path) -> None:
    bitmaps(tmp_path / "both" / "trainA", 15)
    bitmaps(tmp_path / "both" / "trainB", 50)
    both = open_folder(tmp_path / "both")
    assert isinstance(both, UnpairedSource)
    assert levels(both.origin) == {15} and levels(both.target) == {50}


def test_pictures_rewritten_in_place_with_their_old_date_are_seen(tmp_path: Path) -> None:
    before = open_folder(bitmaps(tmp_path / "mine", 15))
    after = open_folder(bitmaps(tmp_path / "mine", 50))
    assert levels(before) == {15} and levels(after) == {50}
    assert not after.holds(before.fingerprint()) and before.holds(before.fingerprint())


def test_a_source_beside_rewritten_in_place_is_seen(tmp_path: Path) -> None:
    bitmaps(tmp_path / "pairs" / "gt", 100)
    bitmaps(tmp_path / "pairs" / "lq", 15)
    first = open_folder(tmp_path / "pairs")
    bitmaps(tmp_path / "pairs" / "lq", 50)
    second = open_folder(tmp_path / "pairs")
    found = second.batch(torch.arange(3)).condition.source
    assert found is not None and to_uint8(found)[:, 0].unique().tolist() == [50]
    assert first.fingerprint() != second.fingerprint()


def test_a_shard_rewritten_in_place_is_seen(tmp_path: Path) -> None:
    def shard(level: int) -> Source:
        with tarfile.open(tmp_path / "shards" / "0.tar", "w") as tar:
            for file in sorted(bitmaps(tmp_path / "loose", level).iterdir()):
                member = tarfile.TarInfo(file.name)
                member.size, member.mtime = file.stat().st_size, DATE
                tar.addfile(member, io.BytesIO(file.read_bytes()))
        os.utime(tmp_path / "shards" / "0.tar", (DATE, DATE))
        return open_folder(tmp_path / "shards")

    (tmp_path / "shards").mkdir()
    first, second = shard(15), shard(50)
    assert levels(first) == {15} and levels(second) == {50} and first.fingerprint() != second.fingerprint()


def test_a_copy_elsewhere_is_the_same_data_and_is_not_decoded_again(tmp_path: Path) -> None:
    first = open_folder(bitmaps(tmp_path / "mine", 15))
    shutil.copytree(tmp_path / "mine", tmp_path / "yours")
    assert open_folder(tmp_path / "yours").fingerprint() == first.fingerprint()
    assert len(list((tmp_path / "cache" / "prepared").iterdir())) == 1


def test_files_are_hashed_once_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = contents.file_hash

    def counted(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(contents, "file_hash", counted)
    folder = bitmaps(tmp_path / "mine", 15, n=3)
    open_folder(folder)
    open_folder(folder)
    assert len(hashed) == 6, "a file of this very moment may change within the same tick of the clock"
    monkeypatch.setattr(contents, "TICK", -60.0)
    open_folder(folder)
    open_folder(folder)
    assert len(hashed) == 9
    bitmaps(folder, 50, n=3)
    assert levels(open_folder(folder)) == {50} and len(hashed) == 12


def test_files_that_change_while_they_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bitmaps(tmp_path / "mine", 15, n=3)
    real = contents.file_hash

    def meanwhile(path: Path) -> str:
        found = real(path)
        for written in bitmaps(folder, 50, n=3).iterdir():
            os.utime(written, (1, 1))  # another date, however coarse the clock
        return found

    monkeypatch.setattr(contents, "file_hash", meanwhile)
    with pytest.raises(DataError, match="while they were read: start again"):
        Contents(folder, sorted(folder.iterdir())).digest()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bitmaps(tmp_path / "mine", 15, n=3)

    def failing(path: Path) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(contents, "file_hash", failing)
        with pytest.raises(DataError, match=r"mine/0\d\.bmp' cannot be read \(Input/output error\)"):
            open_folder(folder)
    gone = Contents(folder, sorted(folder.iterdir()))
    (folder / "01.bmp").unlink()
    with pytest.raises(DataError, match=r"01\.bmp' cannot be read"):
        gone.require_unchanged()


def test_a_fingerprint_depends_on_every_example_and_every_field() -> None:
    images = np.arange(300, dtype=np.uint16).astype(np.uint8).reshape(300, 1, 1, 1).repeat(4, 2).repeat(4, 3)
    captions = [f"picture {k}" for k in range(300)]

    def source(k: int | None = None, caption: bool = False, label: bool = False) -> ArraySource:
        shown, said, labels = images.copy(), list(captions), np.arange(300) % 7
        if k is not None:
            shown[k, 0, 3, 3] += 1
        if caption:
            said[123] = "another"
        if label:
            labels[299] = 0
        return ArraySource("s", shown, fields={"caption": said, "label": labels})

    prints = [source(), source(1), source(2), source(298), source(caption=True), source(label=True)]
    assert len({s.fingerprint() for s in prints}) == len(prints)
    assert source().fingerprint() == source().fingerprint()
    assert source(1).earlier_fingerprint() == source().earlier_fingerprint(), "it read 64 of the pictures"
    assert source().holds(source(1).earlier_fingerprint()) and not source().holds(source(1).fingerprint())


def test_own_pictures_and_degraded_ones_depend_on_all_bytes() -> None:
    arrays = np.zeros((100, 8, 8, 3), np.uint8)
    changed = arrays.copy()
    changed[[k for k in range(100) if k % 3], 2, 5, 1] = 9
    one, other = OwnData.of(arrays).source(), OwnData.of(changed).source()
    assert one.fingerprint() != other.fingerprint()
    noise = parse_chain("noise:0.1")
    damaged = {
        DegradedSource(source, noise, split).fingerprint() for source in (one, other) for split in ("train", "val")
    }
    assert len(damaged) == 4


def test_the_fingerprint_of_prepared_pictures_is_that_of_the_same_in_memory(tmp_path: Path) -> None:
    kept = open_source(bitmaps(tmp_path / "mine", 15), 8)
    assert isinstance(kept, ArraySource) and kept.content
    loose = ArraySource(kept.name, np.array(kept.images), rows=kept.rows)
    assert loose.fingerprint() == kept.fingerprint()


def test_a_download_that_was_put_there_by_hand_is_checked(tmp_path: Path) -> None:
    entry = next(e for e in ENTRIES.values() if e.remote)
    folder = tmp_path / "cache" / "downloads" / entry.name
    folder.mkdir(parents=True)
    for file in entry.remote:
        (folder / file.name).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"not the published .*: delete it"):
        download.fetch(entry)
    assert isinstance(entry.remote[0], RemoteFile)
