"""What is said of pictures beside them: metadata as lines or as a table, and texts of their names."""

from __future__ import annotations

import json
import signal
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import many, photo, put

from zeuxis.catalog.assemble import build_for
from zeuxis.data.captions import captions_beside
from zeuxis.data.check import check
from zeuxis.data.folder import open_folder
from zeuxis.data.source import ArraySource
from zeuxis.data.subset import subset
from zeuxis.data.texts import MOST_TEXT
from zeuxis.errors import DataError, UsageError
from zeuxis.recipe import Recipe

N = 40
ODD = 'a\u2028b\x85c, "d" é'


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    many(tmp_path / "root", N)
    return tmp_path / "root"


def lines(text: Callable[[int], str] = str, name: str = "{:03}.png") -> list[bytes]:
    facts = [{"file_name": name.format(k), "text": text(k)} for k in range(N)]
    return [json.dumps(fact, ensure_ascii=False).encode() for fact in facts]


def captions(root: Path) -> set[str]:
    found: set[str] = set()
    for split in ("train", "val", "test"):
        source = open_folder(root, 8, split)
        assert isinstance(source, ArraySource)
        found |= set(source.batch(torch.arange(len(source))).condition.caption or ())
    return found


def left_out(root: Path) -> dict[str, str]:
    return {f.path: f.kind for f in check(root).findings if f.left_out}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_lines_end_with_a_line_feed_and_nothing_else(root: Path, end: bytes, code: str) -> None:
    text = end.join(lines(lambda k: f"{k} {ODD}")).decode()
    data = text.encode(code) if code != "utf-16-be" else b"\xfe\xff" + text.encode(code)
    put(root / "metadata.jsonl", data=data)
    assert captions(root) == {f"{k} {ODD}" for k in range(N)} and left_out(root) == {}


BAD: dict[str, bytes] = {
    "half a line": b'{"file_name": "005.png", "te',
    "another encoding": '{"file_name": "005.png", "text": "é"}'.encode("latin-1"),
    "nested deep": b"[" * 100_000,
    "a huge number": b'{"file_name": "005.png", "text": "x", "n": ' + b"9" * 10_000 + b"}",
    "no object": b'["005.png", "x"]',
    "no text": b'{"file_name": "005.png"}',
    "a text that is none": b'{"file_name": "005.png", "text": 3}',
    "half a character": b'{"file_name": "005.png", "text": "\\ud800"}',
    "a line without end": b'{"file_name": "005.png", "text": "' + b"x" * (1 << 20) + b'"}',
    "nothing there": b'{"file_name": "gone.png", "text": "x"}',
    "elsewhere": b'{"file_name": "../../005.png", "text": "x"}',
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_line_sets_one_picture_aside(root: Path, name: str) -> None:
    data = lines()
    data[5] = BAD[name]
    put(root / "metadata.jsonl", data=b"\n".join(data))
    assert captions(root) == {str(k) for k in range(N) if k != 5}
    out = left_out(root)
    assert len(out) == 2 and out["005.png"] == "unnamed"
    assert next(path for path in out if path != "005.png") in ("metadata.jsonl, line 6", "gone.png", "../../005.png")


@pytest.mark.parametrize(
    ("on_disk", "written"),
    [(unicodedata.normalize("NFD", "é{}.png"), unicodedata.normalize("NFC", "é{}.png")),
     (unicodedata.normalize("NFC", "é{}.png"), unicodedata.normalize("NFD", "é{}.png")),
     ("sub/{}.png", "sub/{}"), ("sub/{}.png", "sub\\{}.png"), ("sub/{}.png", "./sub//{}.png"), ("{}.JPG", "{}.jpg"),
     ("a b#%{}.png", "a b#%{}.png")],
)  # fmt: skip
def test_names_are_found_in_another_form(tmp_path: Path, on_disk: str, written: str) -> None:
    root = tmp_path / "other"
    for k in range(N):
        put(root / on_disk.format(k), photo(k), format="PNG")
    put(root / "metadata.jsonl", data=b"\n".join(lines(name=written.replace("\\", "\\"))))
    assert captions(root) == set(map(str, range(N)))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize(("code", "end"), [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\r\n"), ("utf-8", "\r")])
def test_a_table_of_captions(root: Path, mark: str, code: str, end: str) -> None:
    rows = [f"file_name{mark}text{mark}width", *(f'{k:03}.png{mark}"{k}, ""so""\nit is"{mark}9' for k in range(N))]
    (root / "metadata.csv").write_bytes(end.join(rows).encode(code))
    assert captions(root) == {f'{k}, "so"\nit is' for k in range(N)} and left_out(root) == {}


@pytest.mark.parametrize("bad", [b'005.png,"never closed', b"005.png", b"005.png,\xe9", b"005.png,a,b,c"])
def test_one_bad_row_sets_one_picture_aside(root: Path, bad: bytes) -> None:
    rows = [b"file_name,text", *(b'%03d.png,"%d"' % (k, k) for k in range(N))]
    rows[6] = bad
    (root / "metadata.csv").write_bytes(b"\n".join(rows))
    assert captions(root) == {str(k) for k in range(N) if k != 5}
    assert left_out(root) == {"005.png": "unnamed", "metadata.csv, line 7": "metadata"}


def test_a_table_that_says_no_captions_is_listed_and_not_read(root: Path) -> None:
    (root / "metadata.csv").write_bytes(b"file_name,width\n000.png,9\n")
    assert left_out(root) == {"metadata.csv": "text"} and open_folder(root, 8).spec.provides == frozenset()


def test_lines_that_say_no_captions_are_listed_and_not_read(root: Path) -> None:
    """As people have them beside class folders, with boxes: the pictures are none the worse for it."""
    plain = [{"file_name": f"{k:03}.png", "objects": {"bbox": [[0, 0, 9, 9]]}} for k in range(N)]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, plain)), encoding="utf-8")
    assert left_out(root) == {"metadata.jsonl": "text"}
    source = open_folder(root, 8)
    assert source.spec.provides == frozenset()
    assert "its keys are file_name, objects: file_name, and text or label, are wanted" in " ".join(source.remarks)
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, [{"text": "a"}, *plain])), encoding="utf-8")
    with pytest.raises(DataError, match="wants"):  # a caption without a name is meant as one
        open_folder(root, 8)


def labelled(root: Path, label: Callable[[int], object], **more: Callable[[int], object]) -> ArraySource:
    says = {"label": label, **more}
    facts = [{"file_name": f"{k:03}.png"} | {key: of(k) for key, of in says.items()} for k in range(N)]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, facts)), encoding="utf-8")
    source = open_folder(root, 8, "train")
    assert isinstance(source, ArraySource)
    return source


def test_metadata_tell_classes_by_name(root: Path) -> None:
    source = labelled(root, lambda k: ["robin", "wren 2", "wren 10"][k % 3])
    assert source.spec.provides == {"label"} and source.spec.classes == 3
    assert source.spec.class_names == ("robin", "wren 2", "wren 10")  # in natural order
    assert "read as pictures with 3 classes: 40 used" in " ".join(source.remarks)


def test_metadata_tell_classes_by_number_and_captions_beside(root: Path) -> None:
    source = labelled(root, lambda k: [0, 2.0, "3"][k % 3], text=lambda k: f"bird {k}")
    assert source.spec.provides == {"label", "caption"} and source.spec.classes == 4
    assert "no picture of 1, which nothing is learnt of" in " ".join(source.remarks)
    batch = source.batch(torch.arange(len(source))).condition
    assert batch.label is not None and batch.caption is not None
    for label, caption in zip(batch.label.tolist(), batch.caption, strict=True):
        assert label == [0, 2, 3][int(caption.split()[1]) % 3]


def test_a_class_of_nearly_each_is_none(root: Path) -> None:
    assert labelled(root, str).spec.provides == frozenset()  # numbers of the pictures
    captioned = labelled(root, str, text=str)
    assert captioned.spec.provides == {"caption"}


def test_labels_that_are_no_classes_are_told_of(root: Path) -> None:
    found = labelled(root, lambda k: [k % 2], text=str)
    assert found.spec.provides == {"caption"}
    assert "what 40 have for a label is no class, such as [0]: a name or a number from 0 is" in found.remarks[0]
    said = {one.path: one.reason for one in labelled(root, lambda k: -1 if k == 5 else k % 2).skipped}
    assert said["metadata.jsonl, line 6"] == "label -1 is no class: give a name, or a number from 0"
    cats = labelled(root, lambda k: ["Cat", "cat", "dog"][k % 3])
    assert "3 classes (1 of them differs from another by case alone)" in cats.remarks[0]


def test_a_name_without_its_suffix_means_one_picture_or_none(root: Path) -> None:
    many(root / "more", 1)
    put(root / "000.jpg", photo(0))
    put(root / "metadata.jsonl", data=b"\n".join(lines(name="{:03}")))
    assert captions(root) == set(map(str, range(1, N)))
    assert left_out(root) == {"000": "missing", "000.jpg": "unnamed", "000.png": "unnamed", "more/000.png": "unnamed"}


def test_few_pictures_held_out_have_the_classes_of_those_to_train_on(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for split, n in (("train", 30), ("val", 3)):
        many(root / split, n)
        said = [{"file_name": f"{k:03}.png", "label": ["robin", "wren", "finch"][k % 3]} for k in range(n)]
        put(root / split / "metadata.jsonl", data="\n".join(map(json.dumps, said)).encode())
    assert open_folder(root, 8, "val").batch(torch.arange(3)).condition.label.tolist() == [1, 2, 0]  # type: ignore[union-attr]


def test_a_picture_without_the_class_that_others_have_is_left_out(root: Path) -> None:
    assert labelled(root, lambda k: None if k == 5 else k % 2).spec.classes == 2
    assert left_out(root) == {"metadata.jsonl, line 6": "metadata", "005.png": "unnamed"}
    assert labelled(root, lambda k: True if k == 5 else k % 2, text=str).spec.classes == 2
    assert left_out(root) == {"005.png": "unpaired"}


def test_a_row_of_several_rows_is_none(root: Path) -> None:
    rows = [b"file_name,text", *(b"%03d.png,%d" % (k, k) for k in range(N))]
    rows[6] = b'005.png,5 by 5" wide\n006.png,6" high'
    (root / "metadata.csv").write_bytes(b"\n".join(rows))
    assert captions(root) == {str(k) for k in range(N) if k != 5}  # the picture 006 is named again
    assert left_out(root) == {
        "005.png": "unnamed",
        "metadata.csv, line 7": "metadata",
        "metadata.csv, line 8": "metadata",
    }
    assert any("double them" in f.message for f in check(root).findings)


@pytest.mark.parametrize("first", [b"file_name,text," + b"x" * 200_000, b"\xff\xff,text", b'file_name,"text', b""])
def test_a_table_whose_columns_cannot_be_read_is_listed_and_not_read(root: Path, first: bytes) -> None:
    (root / "metadata.csv").write_bytes(first + b"\n000.png,9\n")
    assert left_out(root) == {"metadata.csv": "text"} and open_folder(root, 8).spec.provides == frozenset()


def test_metadata_of_sixteen_bits_that_end_too_soon_lose_one_line(root: Path) -> None:
    put(root / "metadata.jsonl", data=b"\n".join(lines(lambda k: f"é{k}")).decode().encode("utf-16")[:-3])
    assert captions(root) == {f"é{k}" for k in range(N - 1)}
    assert left_out(root) == {"metadata.jsonl, line 40": "metadata", "039.png": "unnamed"}


def test_lines_go_before_a_table_and_that_is_listed(root: Path) -> None:
    put(root / "metadata.jsonl", data=b"\n".join(lines()))
    put(root / "METADATA.CSV", data=b"file_name,text\n000.png,other\n")
    assert captions(root) == set(map(str, range(N))) and left_out(root) == {"METADATA.CSV": "text"}


def test_a_named_picture_that_cannot_be_used_says_why(root: Path) -> None:
    data = lines()
    data[5] = b'{"file_name": "phone.heic", "text": "x"}'
    put(root / "metadata.jsonl", data=b"\n".join(data))
    for name in ("phone.heic", "other.heic"):
        put(root / name, data=b"x")
    assert left_out(root) == {"phone.heic": "unsupported", "other.heic": "unnamed", "005.png": "unnamed"}


def test_pictures_that_metadata_do_not_name_are_listed_and_are_no_fault(root: Path) -> None:
    put(root / "metadata.jsonl", data=b"\n".join(lines()[:25]))
    found = check(root)
    assert (found.pictures, found.usable, found.refused) == (40, 25, False) and "15 unnamed" in found.read


@pytest.mark.parametrize("inside", [False, True])
def test_metadata_of_splits(tmp_path: Path, inside: bool) -> None:
    root = tmp_path / "splits"
    for split, n in (("train", 30), ("Test", 10)):
        many(root / split, n)
        said = [{"file_name": f"{'' if inside else split + '/'}{k:03}.png", "text": f"{split} {k}"} for k in range(n)]
        home = root / split if inside else root
        with (home / "metadata.jsonl").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in said)
    assert captions(root) == {f"train {k}" for k in range(30)} | {f"Test {k}" for k in range(10)}
    assert left_out(root) == {}


def test_texts_of_the_pictures_names(root: Path) -> None:
    for k in range(N):
        (root / f"{k:03}.txt").write_text(f"\ufeffnumber {k}\n" if k % 2 else f"number {k}", encoding="utf-8")
    (root / "readme.txt").write_text("no caption")
    assert captions(root) == {f"number {k}" for k in range(N)} and left_out(root) == {"readme.txt": "text"}
    assert f"captions of {N} in texts of their names" in open_folder(root, 8).remarks[0]
    (root / "003.txt").write_bytes(b"\xff\xfe\xfa")
    (root / "004.txt").write_text("é" * (MOST_TEXT // 2), encoding="utf-8")
    (root / "005.txt").write_text("é" * (MOST_TEXT // 2) + "!", encoding="utf-8")
    assert left_out(root) == {"readme.txt": "text", "003.png": "metadata", "005.png": "metadata"}
    reasons = {f.path: f.message for f in check(root).findings if f.left_out}
    assert "its caption 003.txt cannot be read: broken UTF-16" in reasons["003.png"]
    assert "its caption 005.txt cannot be read: longer than the 65,536 bytes" in reasons["005.png"]


@pytest.mark.parametrize(
    ("picture", "text"),
    [("cafe\u0301{}.png", "caf\u00e9{}.txt"), ("IMG_{}.png", "img_{}.TXT"), ("{}.png", "{}.png.txt")],
    ids=["accents", "case", "whole name"],
)
def test_texts_are_found_in_whatever_form_the_name_is_written(tmp_path: Path, picture: str, text: str) -> None:
    folder = tmp_path / "named"
    for k in range(N):
        put(folder / picture.format(k), photo(k))
        put(folder / text.format(k), data=f"number {k}".encode())
    assert captions(folder) == {f"number {k}" for k in range(N)}


def test_a_text_is_of_the_picture_that_is_called_just_so(tmp_path: Path) -> None:
    for name in ("A", "b"):
        (tmp_path / f"{name}.txt").write_text(f"of {name}")
    beside = captions_beside(tmp_path, ["A.png", "a.png", "b.png"], ["A.txt", "b.txt"])
    assert beside.said == {"A.png": "of A", "b.png": "of b"}


def test_texts_that_are_not_used_are_told(root: Path) -> None:
    for k in range(N // 2 - 1):
        (root / f"{k:03}.txt").write_text(f"number {k}")
    assert f"texts of the names of {N // 2 - 1} are not read: fewer than half" in open_folder(root, 8).remarks[0]
    for k in range(N):
        (root / f"{k:03}.txt").write_text("0 0.5 0.5")
    assert "hold numbers, and are no captions" in open_folder(root, 8).remarks[0]


def test_texts_beside_pictures_in_class_folders(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        many(tmp_path / "two" / name, 10)
        for k in range(10):
            put(tmp_path / "two" / name / f"{k:03}.txt", data=f"{name} {k}".encode())
    source = open_folder(tmp_path / "two", 8)
    batch = source.batch(torch.arange(len(source))).condition
    assert source.spec.provides == {"label", "caption"} and batch.label is not None and batch.caption is not None
    for label, text in zip(batch.label.tolist(), batch.caption, strict=True):
        assert text.startswith(source.spec.class_names[label])


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.25 0.1\n1 0.1 0.1 0.2 0.2", "3"])
def test_texts_of_numbers_are_no_captions(root: Path, text: str) -> None:
    for k in range(N):
        (root / f"{k:03}.txt").write_text(text)
    assert open_folder(root, 8).spec.provides == frozenset() and set(left_out(root).values()) == {"text"}


def test_a_long_text_of_digits_is_looked_through_once(root: Path) -> None:
    def late(number: int, frame: object) -> None:
        raise TimeoutError("it looks through a text again from each of its letters")

    for k in range(N):
        (root / f"{k:03}.txt").write_text("1" * (MOST_TEXT - 1) + "x")  # a minute each, were it looked through so
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    try:
        assert open_folder(root, 8).spec.provides == {"caption"}
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_lone_text_is_no_caption_of_all(root: Path) -> None:
    (root / "003.txt").write_text("mine")
    assert open_folder(root, 8).spec.provides == frozenset() and left_out(root) == {"003.txt": "text"}


def controls(root: Path, write: Callable[[int], str], name: str = "metadata.jsonl") -> ArraySource:
    """Pictures in ``images/`` and ``shown/`` with a file of metadata that is written line by line."""
    (root / "all").mkdir()
    for k in range(N):
        put(root / "all" / "images" / f"{k:03}.png", photo(k, (24, 24)))
        put(root / "all" / "shown" / f"{k:03}.png", photo(k + 100, (24, 24)))
    put(root / "all" / name, data="\n".join(map(write, range(N))).encode())
    source = open_folder(root / "all", 24)
    assert isinstance(source, ArraySource)
    return source


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (("file_name", "conditioning_image", "text"), "metadata.jsonl"),
        (("output_file_name", "input_file_name", "prompt"), "metadata.jsonl"),
        (("target", "source", "prompt"), "prompt.json"),
    ],
)
def test_metadata_may_name_what_a_picture_is_made_from(root: Path, keys: tuple[str, str, str], name: str) -> None:
    def line(k: int) -> str:
        # Pictures come in the opposite order of their sources, so that a shift would show.
        values = f"images/{k:03}.png", f"shown/{N - 1 - k:03}.png", f"caption {k}"
        return json.dumps(dict(zip(keys, values, strict=True)))

    source = controls(root, line, name)
    assert source.spec.provides == {"caption", "source"} and not source.skipped
    assert "pictures with captions and sources" in source.remarks[0]
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.caption is not None and batch.condition.source is not None
    for caption, shown in zip(batch.condition.caption, batch.condition.source, strict=True):
        pixels = torch.from_numpy(np.array(photo(100 + N - 1 - int(caption.split()[1]), (24, 24)))).permute(2, 0, 1)
        assert torch.allclose(shown, pixels / 127.5 - 1, atol=1e-6)


def test_where_a_picture_was_found_is_no_source(root: Path) -> None:
    def line(k: int) -> str:
        source = "images/001.png" if k == 0 else "a collection"
        return json.dumps({"file_name": f"images/{k:03}.png", "source": source, "text": "words"})

    assert controls(root, line).spec.provides == {"caption"}


def test_a_source_that_is_missing_costs_its_picture(root: Path) -> None:
    def line(k: int) -> str:
        shown = f"shown/{k if k != 3 else 999:03}.png"
        return json.dumps({"file_name": f"images/{k:03}.png", "source": shown, "text": "words"})

    source = controls(root, line)
    assert [(one.path, one.kind) for one in source.skipped if one.fault] == [("images/003.png", "unpaired")]
    assert "shown/999.png" in next(one.reason for one in source.skipped if one.fault)


def test_names_are_relative_to_the_metadata_or_the_folder_or_whole(root: Path) -> None:
    put(root / "metadata.jsonl", data=b"\n".join(lines(name=f"{root}/{{:03}}.png")))
    assert len(captions(root)) == N
    for path in root.glob("*.png"):
        put(root / "train" / path.name, data=path.read_bytes())
        path.unlink()
    (root / "metadata.jsonl").unlink()
    put(root / "train" / "metadata.jsonl", data=b"\n".join(lines(name="train/{:03}.png")))
    assert len(captions(root)) == N
    outside = {"file_name": "/etc/hostname.png", "text": "none of ours"}
    put(root / "train" / "metadata.jsonl", data=b"\n".join([*lines(), json.dumps(outside).encode()]))
    assert left_out(root) == {"/etc/hostname.png": "outside"}


def test_of_several_captions_in_a_line_the_first_is_read(root: Path) -> None:
    several = [json.dumps({"file_name": f"{k:03}.png", "text": [f"first {k}", "second"]}).encode() for k in range(N)]
    put(root / "metadata.jsonl", data=b"\n".join(several))
    assert captions(root) == {f"first {k}" for k in range(N)}
    put(root / "metadata.jsonl", data=b"\n".join([*several[1:], b'{"file_name": "000.png", "text": ["a", 1]}']))
    assert left_out(root) == {"000.png": "unnamed", f"metadata.jsonl, line {N}": "metadata"}


def test_what_is_not_read_of_captions_says_what_is(root: Path) -> None:
    for k in range(N):
        put(root / f"{k:03}.txt", data=b"words")
    put(root / "000.caption", data=b"other words")
    for name in ("captions.jsonl", "captions.json", "train-00000-of-00001.parquet", "data.arrow", "facts.json"):
        put(root / name, data=b"x")
    reasons = {one.path: one.reason for one in open_folder(root, 8).ignored}
    assert reasons["000.caption"] == "000.txt is read"
    assert "call it metadata.jsonl or metadata.csv" in reasons["captions.jsonl"]
    assert "captions are read of metadata.jsonl" in reasons["captions.json"]
    assert "--data parquet:FOLDER" in reasons["train-00000-of-00001.parquet"] and "from Python" in reasons["data.arrow"]
    assert reasons["facts.json"] == "no picture"


@pytest.mark.parametrize(
    ("system", "model", "mend"),
    [
        (
            "flow-matching",
            {"condition": "caption", "network": {"kind": "unet", "width": 8}},
            r"--set model\.text\.length=31",
        ),
        ("caption-lm", {}, r"--set model\.longest=31"),
        ("align-draw", {}, r"--set model\.length=31"),
        ("clip", {"text": {"width": 16, "depth": 1, "heads": 1, "length": 18}}, r"--set model\.text\.length=33"),
    ],
)
def test_captions_that_a_model_cannot_read_are_told_before_it_learns(
    root: Path, system: str, model: dict[str, Any], mend: str
) -> None:
    for k in range(N):
        put(root / f"{k:03}.txt", data=" ".join(["word"] * (31 if k == 7 else 16)).encode())
    recipe = Recipe(name="long", about="", system=system, data="root", size=32, model=model)
    source = open_folder(root, 32)
    with pytest.raises(UsageError, match=f"captions of up to 31 words .*, and '{system}' .* reads 16: {mend}"):
        build_for(recipe, source, on_meta=True)
    assert subset(source, 5).longest_caption() == " ".join(["word"] * 31), "also where it is of another part"
    put(root / "007.txt", data=b"short")
    build_for(recipe, open_folder(root, 32), on_meta=True)
