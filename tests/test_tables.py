"""Tables of pictures on this machine: Parquet files as public sets have them, sound and damaged."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tabled import png, rows

from zeuxis.batch import to_uint8
from zeuxis.data import parquet, tables
from zeuxis.data.check import check
from zeuxis.data.library import open_source
from zeuxis.data.source import ArraySource
from zeuxis.data.table_files import TableFile, parts_of
from zeuxis.data.tables_name import TablesName, parse_tables_name
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError

WITH_ARROW = importlib.util.find_spec("pyarrow") is not None
needs_arrow = pytest.mark.skipif(not WITH_ARROW, reason="pyarrow is not installed")
NAMES = ("robin", "wren", "owl")


def write(path: Path, table: Sequence[dict[str, Any]], names: Sequence[str] = NAMES, group: int = 7) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.Table.from_pylist(list(table))
    if names:
        declared = {"info": {"features": {"label": {"_type": "ClassLabel", "names": list(names)}}}}
        made = made.replace_schema_metadata({"huggingface": json.dumps(declared)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, row_group_size=group)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "birds").mkdir()
    return tmp_path / "birds"


def opened(name: str | Path, split: str = "train", size: int | None = 8) -> ArraySource:
    source = open_source(name, size, split)
    assert isinstance(source, ArraySource)
    return source


def colours(source: ArraySource) -> list[tuple[int, ...]]:
    pixels = to_uint8(source.batch(torch.arange(len(source))).image)
    return [tuple(p[:, 4, 4].tolist()) for p in pixels]


def facts(source: ArraySource) -> list[tuple[int, str | None, str]]:
    """Of every example its number, the name of its class and its caption."""
    condition = source.batch(torch.arange(len(source))).condition
    labels = [None] * len(source) if condition.label is None else condition.label.tolist()
    names = [None if label is None else source.spec.class_names[label] for label in labels]
    return list(zip([c[0] for c in colours(source)], names, condition.caption or [""] * len(source), strict=True))


# -- without pyarrow ----------------------------------------------------------------------------------


def test_without_pyarrow_it_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "train.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    for name in (home, home / "train.parquet", f"parquet:{home}"):
        with pytest.raises(UsageError, match=r"tables of Parquet are read with pyarrow.*: pip install pyarrow"):
            open_source(name, 8)
        with pytest.raises(UsageError, match="pip install pyarrow"):
            check(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("parquet:birds", TablesName("birds")),
        ("parquet:~/a, b/c=d.parquet", TablesName("~/a, b/c=d.parquet")),
        ("parquet:birds,image=photo,label=", TablesName("birds", image="photo", label="")),
        (
            "parquet:birds,config=small,split=dev,caption=a title",
            TablesName("birds", "dev", "small", caption="a title"),
        ),
    ],
)
def test_a_name_is_spelled_as_it_is_read(text: str, name: TablesName) -> None:
    assert parse_tables_name(text) == name and parse_tables_name(str(name)) == name


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean image"):
        parse_tables_name("parquet:birds,imag=x")
    for text in ("parquet:", "parquet:,image=x", "parquet:birds,image="):
        with pytest.raises(UsageError):
            parse_tables_name(text)


def of(*paths: str, split: str | None = None) -> dict[str, list[str]]:
    found = parts_of(TablesName("birds", split), [TableFile(path, 1) for path in paths])
    return {part: [file.path for file in files] for part, files in found.items()}


def test_splits_are_told_by_the_names_of_files() -> None:
    both = ("data/test-00000-of-00001.parquet", "data/train-00000-of-00001.snappy.parquet")
    assert list(of(*both)) == ["train", "test"], "that to train on comes first: its columns count"
    assert of("testing.parquet", "Training.parquet") == {"train": ["Training.parquet"], "test": ["testing.parquet"]}
    assert of("part-00000-ab12.parquet", "part-00001-ab12.parquet").keys() == {"train"}, "pieces of no split"
    assert of("test-00000-of-00001.parquet") == {"train": ["test-00000-of-00001.parquet"]}, "one split is divided"
    assert of(*both, split="test") == {"train": ["data/test-00000-of-00001.parquet"]}
    with pytest.raises(DataError, match="no split 'train' but dev, test: choose one, as parquet:birds,split=SPLIT"):
        of("dev.parquet", "test.parquet")


# -- what is read -------------------------------------------------------------------------------------


@needs_arrow
def test_a_folder_as_the_hub_lays_it_out(home: Path) -> None:
    write(home / "data" / "train-00000-of-00002.parquet", rows(30))
    write(home / "data" / "train-00001-of-00002.parquet", rows(10, blue=9))
    write(home / "data" / "validation-00000-of-00001.parquet", rows(5, blue=200))
    (home / "README.md").write_text("birds")
    train, val, test = (opened(home, split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (36, 5, 4), "a missing split is held out of those to train on"
    assert train.spec.provides == {"label", "caption"} and train.spec.class_names == NAMES
    assert all(name == NAMES[k % 3] and text == f"bird {k}" for k, name, text in facts(train))
    assert {blue for *_, blue in colours(val)} == {200}
    assert train.name == "birds" and [one.path for one in train.ignored] == ["README.md"]
    read = "read as tables of Parquet, pictures of 'image', 3 classes of 'label', captions of 'text': 45 used"
    assert train.remarks[0] == f"{read}; not used: none"
    assert opened(home).fingerprint() == train.fingerprint()


@needs_arrow
def test_what_the_hub_s_client_keeps_is_read_through_its_links(home: Path) -> None:
    kept = home / "datasets--someone--birds"
    snapshot, blob = kept / "snapshots" / ("a" * 40), kept / "blobs" / "123"
    write(blob, rows(20))
    (snapshot / "data").mkdir(parents=True)
    (snapshot / "data" / "train-00000-of-00001.parquet").symlink_to(Path("..") / ".." / ".." / "blobs" / "123")
    (snapshot / "data" / "test.parquet").symlink_to(write(home / "elsewhere.parquet", rows(9)))
    source = opened(snapshot)
    assert (
        len(source) == 16
        and "outside the folder" in {one.path: one.reason for one in source.ignored}["data/test.parquet"]
    )
    assert len(opened(snapshot / "data" / "train-00000-of-00001.parquet")) == 16


@needs_arrow
def test_a_file_alone_is_divided_as_a_folder_is(home: Path) -> None:
    table = [{"photo": png((k, 0, 0)), "id": k} for k in range(30)]  # plain bytes
    file = write(home / "test-00000-of-00001.parquet", table, names=())
    sizes = [len(opened(file, split)) for split in ("train", "val", "test")]
    assert sizes == [24, 3, 3] and opened(file).spec.provides == set()
    assert "columns that are not read: id" in opened(file).remarks[0]
    few = write(home / "few.parquet", rows(5))
    assert len(opened(few, "val")) == 5 and "validation shows those of training" in opened(few, "val").remarks[-1]
    with pytest.raises(DataError, match="too few pictures to set any apart for 'test'"):
        opened(few, "test")


@needs_arrow
def test_labels_and_captions_become_conditions_by_the_rules_of_metadata(home: Path) -> None:
    table = rows(30)
    for k, row in enumerate(table):
        row["label"] = f" {'zab'[k % 3]}"
        row["text"] = [f"first {k}", "second"] if k else None
    source = opened(write(home / "a.parquet", table, names=()))
    assert source.spec.class_names == ("a", "b", "z")
    assert all(name == "zab"[k % 3] and text == (f"first {k}" if k else "") for k, name, text in facts(source))
    for row in table:
        row["label"] = str(row["image"]["path"])
    own = opened(write(home / "b.parquet", table, names=()))
    assert own.spec.provides == {"caption"} and "nearly each picture a class of its own" in own.remarks[0]
    assert len(opened(f"parquet:{home / 'b.parquet'},label=label").spec.class_names) == 30, "asked for by name"
    for k, row in enumerate(rows(30)):
        table[k] = {**row, "label": -1 if k % 5 else 0}
    few = opened(write(home / "c.parquet", table))
    assert few.spec.provides == {"caption"} and "fewer than half of the pictures a class" in few.remarks[0]


@needs_arrow
def test_categories_of_pandas_are_labels(home: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.table(
        {
            "image": pa.array([png((k, 0, 0)) for k in range(12)]),
            "class": pa.array([NAMES[k % 3] for k in range(12)]).dictionary_encode(),
        }
    )
    pq.write_table(made, home / "a.parquet")
    assert opened(home / "a.parquet").spec.class_names == ("owl", "robin", "wren")


@needs_arrow
@pytest.mark.parametrize(("second", "classes"), [(0.0, ("0", "1", "2")), (0.5, ())], ids=["whole", "scores"])
def test_whole_numbers_that_pandas_wrote_as_real_ones_are_labels(
    second: float, classes: tuple[str, ...], home: Path
) -> None:
    """As it does where one is missing; that picture has no class, and scores are none."""
    given = [float(k % 3) + (second if k % 3 else 0) for k in range(40)]
    table = [{**row, "label": label} for row, label in zip(rows(40), [*given[:39], None], strict=True)]
    source = opened(write(home / "all.parquet", table, names=()))
    assert source.spec.class_names == classes
    assert [one.reason for one in source.skipped] == (["its class is None, none of 3"] if classes else [])


@needs_arrow
def test_a_split_without_labels_costs_no_labels_and_no_refusal(home: Path) -> None:
    write(home / "train.parquet", rows(30))
    write(home / "test.parquet", [{**row, "label": -1} for row in rows(20, blue=200)])
    source, test = opened(home), opened(home, "test")
    assert source.spec.class_names == NAMES and "test tells no classes, and is not used" in source.remarks[0]
    assert len(test) == 3 and {blue for *_, blue in colours(test)} == {0}, "held out of those with labels"
    write(home / "test.parquet", [{"image": row["image"]} for row in rows(20)], names=())
    assert opened(home).spec.provides == {"label", "caption"}, "columns are those of the pictures to train on"


@needs_arrow
def test_classes_that_another_file_numbers_otherwise_are_the_same_by_name(home: Path) -> None:
    write(home / "train.parquet", rows(30))
    write(home / "test.parquet", [{**row, "label": 2 - row["label"]} for row in rows(9)], names=NAMES[::-1])
    assert all(name == NAMES[k % 3] for k, name, _ in facts(opened(home, "test")))


@needs_arrow
def test_tables_beside_pictures_are_told_of_and_read_when_asked_for(home: Path) -> None:
    write(home / "data" / "train.parquet", rows(30))
    (home / "preview.png").write_bytes(png((9, 9, 9)))
    source = open_source(home, 8)
    assert len(source) == 1 and any("--data parquet:FOLDER reads tables" in line for line in source.remarks)
    asked = opened(f"parquet:{home}")
    assert len(asked) == 24 and {one.path: one.kind for one in asked.ignored} == {"preview.png": "beside"}


@needs_arrow
def test_columns_and_configs_are_chosen_by_the_spelling(home: Path) -> None:
    table = [{"left": png((k, 0, 0)), "right": png((k, 0, 90))} for k in range(20)]
    write(home / "small" / "train.parquet", table, names=())
    write(home / "large" / "train.parquet", rows(20))
    with pytest.raises(DataError, match=r"several configs: choose one, as parquet:.*,config=NAME \(large, small\)"):
        opened(home)
    with pytest.raises(DataError, match=r"several columns of pictures .left, right.*,config=small,image=COLUMN"):
        opened(f"parquet:{home},config=small")
    assert {blue for *_, blue in colours(opened(f"parquet:{home},config=small,image=right"))} == {90}
    with pytest.raises(UnknownName, match="did you mean right"):
        opened(f"parquet:{home / 'small'},image=rigt")


@needs_arrow
def test_pairs_are_not_looked_for_in_tables(home: Path) -> None:
    write(home / "train.parquet", rows(20))
    assert open_source(f"{home} | shrink:2", 16).spec.provides >= {"source"}
    for pair in ("halves", "layout", "enlarge:2"):
        with pytest.raises(Unsupported):
            open_source(f"{home} | {pair}", 16)


# -- trouble ------------------------------------------------------------------------------------------


@needs_arrow
def test_damaged_pictures_are_set_aside_and_nothing_in_a_row_is_a_path(home: Path) -> None:
    secret = home.parent / "secret.png"
    secret.write_bytes(png((250, 250, 250)))
    table = rows(80)
    table[1]["image"] = None
    table[2]["image"] = {"bytes": None, "path": str(secret)}
    table[3]["image"] = {"bytes": png((3, 0, 0), (90, 90))[:-30], "path": "cut.png"}
    write(home / "train.parquet", table)
    source = opened(home)
    assert [one.path for one in source.skipped] == ["train/00000001", "train/00000002", "train/00000003"]
    assert f"names a file and does not hold it: '{str(secret)[:80]}'" in source.skipped[1].reason
    seen = [c for split in ("train", "val", "test") for c in colours(opened(home, split))]
    assert sorted(seen) == [(k, 0, 0) for k in range(80) if k not in (1, 2, 3)]
    assert source.remarks[0].endswith("77 used; not used: 1 damaged, 2 missing")
    looked = check(home)
    assert (looked.usable, looked.pictures, looked.refused) == (77, 80, False)
    assert [f.path for f in looked.findings if f.left_out] == [f"train/0000000{k}" for k in (1, 2, 3)]
    write(home / "train.parquet", table[:30])
    with pytest.raises(DataError, match=r"2 of 30 pictures in .*birds' cannot be used"):
        opened(home)
    assert check(home).refused


@needs_arrow
def test_a_damaged_row_group_costs_its_rows_alone(home: Path) -> None:
    import pyarrow.parquet as pq

    file = write(home / "train.parquet", rows(200), group=8)
    with pq.ParquetFile(file) as found:
        start = found.metadata.row_group(3).column(0).dictionary_page_offset
    held = bytearray(file.read_bytes())
    held[start : start + 40] = bytes(40)
    file.write_bytes(held)
    source = opened(file)
    assert [one.path for one in source.skipped] == [f"train/{k:08d}" for k in range(24, 32)]
    assert {one.kind for one in source.skipped} == {"damaged"} and "row group 3" in source.skipped[0].reason
    assert source.remarks[0].endswith("192 used; not used: 8 damaged")


@needs_arrow
def test_a_file_that_is_no_table_is_named_with_a_mend(home: Path) -> None:
    file = write(home / "train.parquet", rows(20))
    whole = file.read_bytes()
    for damaged in (b"", whole[:-5], whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"train\.parquet' cannot be read as Parquet .*get it again"):
            opened(home)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match="pointer of Git LFS and not the table itself: git lfs pull"):
        opened(home)


@needs_arrow
def test_a_text_that_is_none_costs_its_row(home: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.array([b"bird", b"\xff\xfe\xfa", *[b"bird"] * 38])
    made = pa.table({"image": pa.array([png((k, 0, 0)) for k in range(40)]), "text": texts.view(pa.string())})
    pq.write_table(made, home / "a.parquet")
    (aside,) = opened(home / "a.parquet").skipped
    assert aside.path == "train/00000001" and "not UTF-8" in aside.reason


@needs_arrow
def test_a_changed_table_is_read_anew(home: Path) -> None:
    file = write(home / "train.parquet", rows(20))
    before = opened(home).fingerprint()
    write(file, rows(20, blue=7))
    assert opened(home).fingerprint() != before and {blue for *_, blue in colours(opened(home))} == {7}


@needs_arrow
def test_rows_come_a_few_at_a_time_however_large_a_row_group_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    file = write(home / "a.parquet", rows(40), group=40)
    asked: list[int] = []

    class Watched(pq.ParquetFile):  # type: ignore[misc]
        def iter_batches(self, batch_size: int, **more: Any) -> Any:
            asked.append(batch_size)
            return super().iter_batches(batch_size, **more)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    monkeypatch.setattr(parquet, "AT_ONCE_BYTES", 1)
    assert len(list(parquet.rows(file, ["image"]))) == 40 and asked == [1]


@needs_arrow
def test_a_full_disk_is_noticed_before_anything_is_unpacked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    write(home / "train.parquet", rows(20))
    monkeypatch.setattr(tables.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DataError, match="set ZEUXIS_CACHE"):
        opened(home)
