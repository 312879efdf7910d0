"""Files that anyone may have written: only regular ones are opened; drafts say whose they are."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save

import zeuxis as zx
from zeuxis.api.code_file import Coded, read_codes, write_codes
from zeuxis.api.runs import recorded
from zeuxis.catalog.weights import load_system
from zeuxis.data.cache import new_file, new_folder
from zeuxis.errors import ZeuxisError
from zeuxis.files import (
    draft_beside,
    draft_folder,
    file_hash,
    machine,
    open_regular,
    read_bytes,
    read_table,
    remove_drafts,
    why_no_name,
)
from zeuxis.pretrained.convert import convert
from zeuxis.pretrained.lora import _open
from zeuxis.pretrained.parts import holds_unet, open_tensors
from zeuxis.provenance.record import read_record, write_whole
from zeuxis.recipe import load_recipe
from zeuxis.training.checkpoint import read_model, write_folder
from zeuxis.training.log import Log, read_log

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and links of POSIX")


@contextmanager
def not_for_ever() -> Iterator[None]:
    """Fails where the block waits for a pipe or reads a device: a hang would hold up all other tests."""

    def late(number: int, frame: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def circle(path: Path) -> None:
    round = path.with_name("circle")
    round.symlink_to(round)
    path.symlink_to(round)


STRANGE: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link in a circle": circle,
    "a folder": Path.mkdir,
}


def weights_of_a_folder(path: Path) -> None:
    write_folder(path.parent / "model", {"w": torch.ones(1)}, {"system": "pca", "config": {}, "spec": {}}, "model")
    weights = path.parent / "model" / "model.safetensors"
    weights.unlink()
    path.rename(weights)
    read_model(path.parent / "model")


def card_of_a_folder(path: Path) -> None:
    folder = path.parent / "model"
    folder.mkdir()
    path.rename(folder / "model.json")
    load_system(folder)


def record_of_a_run(path: Path) -> None:
    path.rename(path.with_name("run.json"))
    recorded(path.parent)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "record": ("a.png", read_record),
    "codes": ("a.safetensors", read_codes),
    "recipe": ("a.toml", load_recipe),
    "run": ("a.json", record_of_a_run),
    "log": ("log.jsonl", read_log),
    "weights": ("w.safetensors", weights_of_a_folder),
    "card": ("c.json", card_of_a_folder),
    "checkpoint": ("a.pt", convert),
    "published": ("p.safetensors", open_tensors),
    "lora": ("l.safetensors", _open),
    "hash": ("h", file_hash),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", STRANGE)
def test_only_regular_files_are_opened(what: str, reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    STRANGE[what](tmp_path / name)
    with not_for_ever(), pytest.raises((ZeuxisError, OSError)):
        read(tmp_path / name)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, not a file"):
        open_regular(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a device, not a file"):
        open_regular(Path("/dev/zero"))
    with pytest.raises(OSError, match="no name of a file"):
        open_regular(Path("a\0b"))
    assert not holds_unet(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page, not the weights"),
        (b"PK\3\4", "a checkpoint of PyTorch under another name: .*zeuxis convert"),
        (b"\x80\2}q", "a checkpoint of PyTorch under another name"),
        (save({"x": torch.zeros(9)})[:-4], "its end is missing, fetch it again"),
        (b"", "it is empty: fetch it again"),
    ],
)
def test_what_is_no_weights_is_called_by_its_name(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(ZeuxisError, match=f"model.safetensors cannot be read as safetensors: .*{says}"):
        open_tensors(file)


def test_what_is_read_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(11))
    assert read_bytes(tmp_path / "long", 11) == bytes(11)
    with pytest.raises(OSError, match="more than"):
        read_bytes(tmp_path / "long", 10)
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_table(tmp_path / "deep")
    (tmp_path / "list").write_text("[1]")
    with pytest.raises(ValueError, match="no table"):
        read_table(tmp_path / "list")


# -- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddpm", "my run 2", "a.b", "étude", "conx", "x" * 100])
def test_names_that_can_be(name: str) -> None:
    assert why_no_name(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "..", ".", "../../victim", "/etc/passwd", "a/b", "a\\b", "C:x", "nul", "NUL.txt", "com1", "a\0b", "a\x1b[2J",
     "a\nb", ".hidden", "-rf", "a.", "a ", "x" * 101, "a\udcff", "a*"],
)  # fmt: skip
def test_names_that_cannot(name: str) -> None:
    assert why_no_name(name) is not None
    with pytest.raises(ZeuxisError, match="recipe digits: name"):
        load_recipe("digits", (f"name={json.dumps(name)}",))


# -- drafts -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    return process.pid


def test_drafts_of_processes_that_ended_are_swept_and_no_others(ended: int, tmp_path: Path) -> None:
    left = [tmp_path / f".draft-{machine()}-{ended}-0badf00d", tmp_path / ".draft-abcd_123"]
    left[0].mkdir()
    (left[0] / "model.safetensors").write_bytes(b"x")
    left[1].write_bytes(b"x")
    long_ago = time.time() - 100_000
    os.utime(left[1], (long_ago, long_ago))
    stay = [
        draft_beside(tmp_path / "a"),  # of a process at work: this one
        tmp_path / f".draft-{'0' * 8}-{ended}-0badf00d",  # of another machine
        tmp_path / ".draft-xyz0_987",  # of an older version, which may be at work
        tmp_path / ".drafts",
        tmp_path / ".draft-of-mine.txt",
    ]
    for path in stay:
        path.write_bytes(b"x")
    assert sorted(remove_drafts(tmp_path, time.time())) == sorted(left)
    assert sorted(tmp_path.iterdir()) == sorted(stay)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_what_is_written_has_the_permissions_of_any_file(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "file", b"x")
        with new_folder(tmp_path / "prepared") as folder:
            (folder / "images.npy").write_bytes(b"x")
        with new_file(tmp_path / "download") as made:
            made.write_bytes(b"x")
        write_folder(tmp_path / "model", {"w": torch.ones(1)}, {}, "model")
    finally:
        os.umask(before)
    modes = {str(p.relative_to(tmp_path)): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    wanted = dict.fromkeys(modes, 0o666 & ~umask) | dict.fromkeys(("prepared", "model"), 0o777 & ~umask)
    assert modes == wanted and len(modes) == 7


def test_a_draft_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), draft_folder(tmp_path / "final") as draft:
        (draft / "part").write_bytes(b"x")
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "change its permissions"), (errno.ENAMETOOLONG, "shorter name")],
)
@pytest.mark.parametrize("what", ["model", "file", "log", "prepared"])
def test_each_trouble_of_writing_has_a_mend_of_its_own(
    what: str, number: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    def written() -> None:
        match what:
            case "model":
                write_folder(tmp_path / "model", {"w": torch.ones(1)}, {}, "model")
            case "file":
                write_whole(tmp_path / "file", b"x")
            case "log":
                log.write(1, {"loss": 1.0})
            case _:
                with new_folder(tmp_path / "prepared"):
                    refuse()

    log = Log(tmp_path)
    log.close()
    targets = {"model": "zeuxis.training.checkpoint.save_file", "file": "zeuxis.provenance.record.write_draft"}
    monkeypatch.setattr(targets.get(what, "pathlib.Path.open"), refuse)
    with pytest.raises(ZeuxisError, match=says) as caught:
        written()
    assert ("free some" in str(caught.value)) == (number == errno.ENOSPC)


def test_a_full_disk_is_known_from_what_safetensors_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("zeuxis.training.checkpoint.save_file", full)
    with pytest.raises(ZeuxisError, match="free some space"):
        write_folder(tmp_path / "model", {"w": torch.ones(1)}, {}, "model")


def test_a_folder_whose_name_is_no_utf_8_holds_a_run_and_codes(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    run = zx.train("gaussian", data="digits", size=8, out=folder, quiet=True)
    assert run.folder == folder and recorded(folder) is not None
    run.model.sample(1).save(folder / "p.png")
    assert read_record(folder / "p.png")["model"] == str(folder)
    coded = Coded(torch.zeros(4), None, str(folder), "s", "0", (1, 8, 8), folder.name, (8, 8), None)
    write_codes(folder / "a.codes.safetensors", coded)
    assert read_codes(folder / "a.codes.safetensors").original == folder.name
    log = Log(folder)
    log.close()
    assert all("event" in entry for entry in read_log(folder / "log.jsonl"))
