"""The 317 photographs of `folders`: read without a word missing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from folders import CLASSES, TOTAL, told, write_photographs

from zeuxis.data.check import check
from zeuxis.data.folder import open_folder
from zeuxis.data.source import CHOSEN, NO_PICTURES, ArraySource


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photographs").mkdir()
    return tmp_path / "photographs"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_317_photographs_are_read_without_a_word_missing(root: Path, tmp_path: Path) -> None:
    fate = write_photographs(root)
    not_used = {path: kind for path, kind in fate.items() if kind != "used"}
    pictures = {path: kind for path, kind in fate.items() if kind not in NO_PICTURES}
    assert len(pictures) == TOTAL

    found = check(root)
    assert {f.path: f.kind for f in found.findings if f.left_out} == not_used
    assert (found.pictures, found.usable, found.refused) == (
        TOTAL,
        TOTAL - len(pictures.keys() & not_used.keys()),
        False,
    )
    said = dict(reversed(part.split(" ", 1)) for part in found.read.partition("not used: ")[2].split(", "))
    assert {kind: int(n) for kind, n in said.items()} == Counter(not_used.values())
    assert found.read.startswith(f"read as 4 classes, a folder each: {found.usable} used; not used: ")

    parts = {split: open_folder(root, 16, split) for split in ("train", "val", "test")}
    train = parts["train"]
    assert isinstance(train, ArraySource) and told(train) == (found.read,) and train.spec.class_names == CLASSES
    assert sum(map(len, parts.values())) == found.usable
    assert {one.path: one.kind for one in (*train.skipped, *train.ignored)} == not_used
    labels = Counter(k for p in parts.values() for k in p.batch(torch.arange(len(p))).condition.label.tolist())
    wanted = Counter(CLASSES.index(path.partition("/")[0]) for path, kind in fate.items() if kind == "used")
    assert labels == wanted, "a label was shifted"
    (report,) = (tmp_path / "cache").rglob("skipped.jsonl")
    kept = [json.loads(line) for line in report.read_text().splitlines()]
    assert Counter(one["kind"] for one in kept) == Counter(k for p, k in not_used.items() if p in pictures)
    faults = [kind for kind in not_used.values() if kind not in CHOSEN | NO_PICTURES]
    assert 0 < len(faults) <= 0.05 * TOTAL
