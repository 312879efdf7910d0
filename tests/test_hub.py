"""Datasets of the hub: a hub made here, whose files are Parquet where pyarrow is installed, and rows where not."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tabled import png, rows

from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import load
from zeuxis.api.runs import train
from zeuxis.batch import to_uint8
from zeuxis.data import hub, hub_files, parquet
from zeuxis.data.folder import open_folder
from zeuxis.data.hub_name import HubName, parse_hub_name
from zeuxis.data.library import open_source, pinned
from zeuxis.data.parquet import Column
from zeuxis.data.source import ArraySource
from zeuxis.data.table_files import TableFile
from zeuxis.data.table_rows import mapped
from zeuxis.errors import DataError, UnknownName, UsageError
from zeuxis.recipe import Train, load_recipe

OLD, NEW, CONVERTED = "0" * 39 + "1", "0" * 39 + "2", "c" * 40
REPO = "someone/birds"
WITH_ARROW = importlib.util.find_spec("pyarrow") is not None


COLUMNS = [
    Column("image", "image"),
    Column("label", "integer", ("robin", "wren", "owl")),
    Column("text", "text"),
    Column("extra", "other"),
]


class FakeHub:
    """Repositories by commit, and what was asked of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.commits: dict[str, dict[str, list[dict[str, Any]]]] = {}  # commit -> path -> rows
        self.refs: dict[str | None, str] = {}
        self.columns = COLUMNS
        self.looked: list[str | None] = []
        self.fetched: list[str] = []

    def put(self, commit: str, ref: str | None, files: dict[str, list[dict[str, Any]]]) -> None:
        self.commits[commit] = files
        self.refs |= {ref: commit, commit: commit}

    def dataset_info(self, repo: str, revision: str | None = None, files_metadata: bool = False) -> SimpleNamespace:
        self.looked.append(revision)
        if repo != REPO or revision not in self.refs:
            raise OSError(f"404 for {repo}\n at {revision}")
        commit = self.refs[revision]
        files = [SimpleNamespace(rfilename=path, size=100) for path in ["README.md", "birds.py", *self.commits[commit]]]
        return SimpleNamespace(sha=commit, siblings=files)

    def hf_hub_download(self, repo: str, path: str, *, repo_type: str, revision: str, cache_dir: str) -> str:
        assert repo == REPO and repo_type == "dataset" and path.endswith(".parquet"), "only tables are fetched"
        self.fetched.append(path)
        file = self.home / revision / path
        file.parent.mkdir(parents=True, exist_ok=True)
        self.write(file, self.commits[revision][path])
        return str(file)

    def write(self, file: Path, table: list[dict[str, Any]]) -> None:
        """Stand-in for a Parquet file: its name alone, by which the rows are found again."""
        file.write_text(json.dumps([file.parent.name]))
        self.tables = {**getattr(self, "tables", {}), file: table}

    def read(self, file: Path, wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
        for row in self.tables[file]:
            yield {name: row.get(name) for name in wanted}


class ArrowHub(FakeHub):
    """The same with real Parquet files."""

    def write(self, file: Path, table: list[dict[str, Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        features = {c.name: {"_type": "ClassLabel", "names": c.class_names} for c in self.columns if c.class_names}
        made = pa.Table.from_pylist(table)
        declared = json.dumps({"info": {"features": features}})
        pq.write_table(made.replace_schema_metadata({"huggingface": declared}), file, row_group_size=7)


@pytest.fixture(params=["rows", "parquet"])
def there(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    if request.param == "parquet" and not WITH_ARROW:
        pytest.skip("pyarrow is not installed")
    made = (ArrowHub if request.param == "parquet" else FakeHub)(tmp_path / "hub")
    if request.param == "rows":
        monkeypatch.setattr(parquet, "require_pyarrow", lambda: None)
        monkeypatch.setattr(parquet, "columns", lambda path: made.columns)
        monkeypatch.setattr(parquet, "rows", made.read)
    monkeypatch.setattr(hub_files, "client", lambda: made)
    made.put(OLD, "v1", {"data/train-00000-of-00001.parquet": rows(30, blue=100)})
    made.put(
        NEW,
        None,
        {
            "data/train-00000-of-00002.parquet": rows(40),
            "data/train-00001-of-00002-4fe.parquet": rows(20, blue=50),
            "data/validation-00000-of-00001.parquet": rows(8, blue=200),
        },
    )
    return made


def colours(source: ArraySource) -> list[tuple[int, ...]]:
    pixels = to_uint8(source.batch(torch.arange(len(source))).image)
    return [tuple(p[:, 4, 4].tolist()) for p in pixels]


def opened(name: str, size: int | None = 8, split: str = "train", fit: str = "square") -> ArraySource:
    source = open_source(name, size, split, fit)
    assert isinstance(source, ArraySource)
    return source


# -- the spelling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hub:a/b", HubName("a/b")),
        ("hub:a-1/b.c_d@main", HubName("a-1/b.c_d", "main")),
        ("hub:a/b@refs/convert/parquet:train", HubName("a/b", "refs/convert/parquet", "train")),
        ("hub:a/b:test,image=photo,label=", HubName("a/b", None, "test", image="photo", label="")),
        ("hub:a/b,config=small,caption=a title", HubName("a/b", config="small", caption="a title")),
    ],
)
def test_a_name_is_spelled_as_it_is_read(text: str, name: HubName) -> None:
    assert parse_hub_name(text) == name and parse_hub_name(str(name)) == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hub:birds", "write hub:OWNER/NAME"),
        ("hub:../../etc", "write hub:OWNER/NAME"),
        ("hub:a/b/c", "write hub:OWNER/NAME"),
        ("hub:a/b@", "write hub:OWNER/NAME"),
        ("hub:a/b,imag=x", "did you mean image"),
        ("hub:a/b,image", "write image=VALUE"),
        ("hub:a/b,image=", "no pictures without an image column"),
    ],
)
def test_a_name_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_hub_name(text)


@pytest.mark.parametrize(
    ("path", "config", "split"),
    [
        ("data/train-00000-of-00002.parquet", "default", "train"),
        ("data/train-00000-of-00002-4fe1c0.parquet", "default", "train"),
        ("plain_text/test-00000-of-00001.parquet", "plain_text", "test"),
        ("default/validation/0000.parquet", "default", "validation"),
        ("small/partial-train/0003.parquet", "small", "partial-train"),
        ("train.parquet", "default", "train"),
        ("train/part-0001.parquet", "default", "train"),
    ],
)
def test_files_are_told_apart_by_their_paths(path: str, config: str, split: str) -> None:
    assert (TableFile(path, 1).config, TableFile(path, 1).split) == (config, split)


def test_paths_that_lead_out_are_not_taken(there: FakeHub) -> None:
    there.put(NEW, None, {"train.parquet": rows(20), "../../test.parquet": rows(5, blue=9)})
    assert len(opened(f"hub:{REPO}")) == 16 and there.fetched == ["train.parquet"]


def test_the_real_client_takes_what_it_is_asked() -> None:
    import inspect

    real = hub_files.client()
    inspect.signature(real.dataset_info).bind(REPO, revision=None, files_metadata=True)
    inspect.signature(real.hf_hub_download).bind(REPO, "a", repo_type="dataset", revision=NEW, cache_dir="b")


# -- columns ------------------------------------------------------------------------------------------


def chosen(columns: list[Column], **options: str) -> tuple[str, str | None, str | None]:
    found = mapped(HubName("a/b", **options), columns)
    return found.image, found.label, found.caption


def test_columns_are_chosen_by_the_rule() -> None:
    assert chosen(COLUMNS) == ("image", "label", "text")
    one, two = Column("scan", "image"), Column("img", "image")
    assert chosen([one, Column("label", "other"), Column("caption", "text")]) == ("scan", None, "caption")
    assert chosen([one, two]) == ("img", None, None)
    assert chosen([one, two], image="scan") == ("scan", None, None)
    texts = [two, Column("text", "text"), Column("caption", "text"), Column("class", "text")]
    assert chosen(texts) == ("img", "class", "caption")
    assert chosen(texts, label="", caption="text") == ("img", None, "text")
    with pytest.raises(UnknownName, match="column of 'a/b' 'imgs': did you mean img"):
        chosen([one, two], image="imgs")
    with pytest.raises(DataError, match=r"several columns of pictures .scan, depth.*,image=COLUMN"):
        chosen([one, Column("depth", "image")])
    with pytest.raises(DataError, match="no column of pictures among text, caption, class"):
        chosen(texts[1:])


# -- opening ------------------------------------------------------------------------------------------


def test_pictures_labels_captions_and_splits(there: FakeHub) -> None:
    source = opened(f"hub:{REPO}")
    assert source.name == f"hub:{REPO}@{NEW}" and source.spec.provides == {"label", "caption"}
    assert source.spec.class_names == ("robin", "wren", "owl")
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.label is not None and batch.condition.caption is not None
    for (red, _, blue), label, caption in zip(
        colours(source), batch.condition.label.tolist(), batch.condition.caption, strict=True
    ):
        assert label == red % 3 and caption == f"bird {red}" and blue in (0, 50)
    val, test = (opened(f"hub:{REPO}", split=split) for split in ("val", "test"))
    assert sorted(colours(val)) == [(k, 0, 200) for k in range(8)], "the hub's own validation split"
    assert len(test) == 6 and len(source) == 54, "a tenth of the training pictures is set apart for the test"
    assert not set(colours(test)) & set(colours(source))


def test_a_dataset_is_prepared_once_and_pinned_names_need_no_hub(there: FakeHub) -> None:
    name = pinned(f"hub:{REPO}")
    assert name == f"hub:{REPO}@{NEW}" and pinned(name) == name
    before = opened(name).fingerprint()
    there.looked.clear()
    there.fetched.clear()
    assert opened(name).fingerprint() == before and opened(name, split="val").name == name
    assert not there.looked and not there.fetched
    assert pinned(f"hub:{REPO}:train | blur:2") == f"hub:{REPO}@{NEW}:train | blur:2"
    assert pinned("./photos | blur") == "./photos | blur"
    there.put("0" * 39 + "3", None, {"train.parquet": rows(40, blue=1)})  # the dataset moves on
    assert opened(name).fingerprint() == before != opened(f"hub:{REPO}").fingerprint()


def test_a_revision_is_part_of_the_fingerprint(there: FakeHub) -> None:
    there.put("0" * 39 + "3", "v1-again", there.commits[OLD])
    one, again = opened(f"hub:{REPO}@v1"), opened(f"hub:{REPO}@v1-again")
    assert colours(one) == colours(again) and one.fingerprint() != again.fingerprint()


def test_one_split_is_divided_as_a_folder_is(there: FakeHub) -> None:
    parts = {s: opened(f"hub:{REPO}:validation,label=", split=s) for s in ("train",)}
    assert sorted(colours(parts["train"])) == [(k, 0, 200) for k in range(8)]
    assert parts["train"].spec.provides == {"caption"}
    with pytest.raises(DataError, match="too few pictures to set any apart for 'test'"):
        opened(f"hub:{REPO}:validation", split="test")
    with pytest.raises(UnknownName, match="did you mean train"):
        opened(f"hub:{REPO}:trian")


def test_what_the_hub_converted_is_used_where_there_are_no_tables(there: FakeHub) -> None:
    there.put(NEW, None, {})
    with pytest.raises(DataError, match="404"):
        opened(f"hub:{REPO}")
    there.put(CONVERTED, hub_files.CONVERTED, {"default/train/0000.parquet": rows(20)})
    assert opened(f"hub:{REPO}").name == f"hub:{REPO}@{CONVERTED}"
    there.refs["main"] = NEW
    with pytest.raises(DataError, match="holds no Parquet files"):
        opened(f"hub:{REPO}@main")


def test_configs_must_be_chosen(there: FakeHub) -> None:
    there.put(NEW, None, {"big/train/0000.parquet": rows(20), "small/train/0000.parquet": rows(12, blue=9)})
    with pytest.raises(DataError, match=r"several configs: .*,config=NAME \(big, small\)"):
        opened(f"hub:{REPO}")
    assert {blue for _, _, blue in colours(opened(f"hub:{REPO},config=small"))} == {9}
    with pytest.raises(UnknownName, match="did you mean small"):
        opened(f"hub:{REPO},config=smal")


def test_texts_as_labels_and_lists_of_captions(there: FakeHub) -> None:
    table = [{**row, "label": "zab"[k % 3], "text": [f"first {k}", "second"]} for k, row in enumerate(rows(20))]
    there.put(NEW, None, {"train.parquet": table})
    there.columns = [COLUMNS[0], Column("label", "text"), COLUMNS[2]]
    source = opened(f"hub:{REPO}")
    assert source.spec.class_names == ("a", "b", "z")
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.caption is not None and batch.condition.label is not None
    for (red, _, _), caption, label in zip(
        colours(source), batch.condition.caption, batch.condition.label.tolist(), strict=True
    ):
        assert caption == f"first {red}" and "abz"[label] == "zab"[red % 3]


def test_fits_are_those_of_folders(there: FakeHub) -> None:
    sizes = ((40, 20), (20, 40), (30, 30))
    table = [{"image": {"bytes": png((k, 0, 0), sizes[k % 3]), "path": None}} for k in range(30)]
    there.put(NEW, None, {"train.parquet": table})
    there.columns = COLUMNS[:1]
    buckets = opened(f"hub:{REPO}", 32, fit="bucket:8").buckets
    assert {(b.shape.width, b.shape.height) for b in buckets} == {(32, 32), (40, 24), (24, 40)}
    assert opened(f"hub:{REPO}", 16, fit="crop").spec.shape == (3, 16, 16)
    with pytest.raises(UsageError, match="sizes: give the size"):
        opened(f"hub:{REPO}", None)
    assert open_source(f"hub:{REPO} | shrink:2", 16).spec.provides == {"source"}


# -- trouble ------------------------------------------------------------------------------------------


def bomb() -> bytes:
    out = bytearray(png((0, 0, 0)))
    out[16:24] = (30_000).to_bytes(4, "big") * 2  # the size in the header
    import zlib

    out[29:33] = zlib.crc32(bytes(out[12:29])).to_bytes(4, "big")
    return bytes(out)


BAD: dict[str, tuple[Any, str]] = {
    "nothing": (None, "no picture in this row"),
    "empty": ({"bytes": b"", "path": None}, "no picture in this row"),
    "elsewhere": ({"bytes": None, "path": "/etc/passwd"}, "names a file and does not hold it"),
    "text": ({"bytes": b"not a picture", "path": None}, "cannot identify image file"),
    "bomb": ({"bytes": bomb(), "path": None}, "megapixels|pixels"),
    "cut": ({"bytes": png((1, 2, 3), (300, 300))[:-30], "path": None}, ""),
    "pickle": ({"bytes": b"\x80\x04\x95\x1a\x00\x00\x00.", "path": None}, "cannot identify image file"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("trouble", BAD)
def test_what_cannot_be_used_is_set_aside_with_a_reason(there: FakeHub, trouble: str) -> None:
    value, reason = BAD[trouble]
    table = rows(30)
    table[7] = {**table[7], "image": value}
    there.put(NEW, None, {"train.parquet": table})
    source = opened(f"hub:{REPO}")
    (aside,) = source.skipped
    assert aside.path == "train/00000007" and aside.reason
    import re

    assert re.search(reason, aside.reason), aside.reason
    seen = [c for s in ("train", "val", "test") for c in colours(opened(f"hub:{REPO}", split=s))]
    assert sorted(seen) == [(k, 0, 0) for k in range(30) if k != 7]


def test_a_caption_longer_than_any_is_set_aside_and_not_cut(there: FakeHub) -> None:
    table = rows(30)
    table[7] = {**table[7], "text": "é" * 40_000}
    there.put(NEW, None, {"train.parquet": table})
    (aside,) = opened(f"hub:{REPO}").skipped
    assert aside.path == "train/00000007" and "longer than the 65,536 bytes of a caption" in aside.reason


def test_too_much_trouble_is_refused_by_the_dataset_s_name(there: FakeHub, tmp_path: Path) -> None:
    table = rows(30)
    for k in range(3):
        table[k] = {**table[k], "label": -1}
    there.put(NEW, None, {"train.parquet": table})
    with pytest.raises(DataError, match=rf"3 of 30 pictures in 'hub:{REPO}@{NEW}' .*its class is -1, none of 3"):
        opened(f"hub:{REPO}")
    assert not [p for p in (tmp_path / "cache" / "prepared").iterdir() if p.is_dir()], "nothing half-made is left"
    assert len(opened(f"hub:{REPO},label=")) == 24


def test_a_picture_s_file_is_bounded(there: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from zeuxis.data import table_rows

    monkeypatch.setattr(table_rows, "MOST_BYTES", 2000)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    table = rows(30)
    table[0] = {**table[0], "image": {"bytes": out.getvalue(), "path": None}}
    there.put(NEW, None, {"train.parquet": table})
    assert [one.path for one in opened(f"hub:{REPO}").skipped] == ["train/00000000"]


def test_what_the_hub_refuses_is_explained(there: FakeHub) -> None:
    for name in ("hub:someone/birdz", f"hub:{REPO}@nowhere"):
        with pytest.raises(DataError, match=r"cannot read 'hub:someone/bird.* from the hub .*check its name") as caught:
            opened(name)
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_noticed_before_anything_is_fetched(there: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_files.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DataError, match="ZEUXIS_CACHE"):
        opened(f"hub:{REPO}")
    assert not there.fetched


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(hub_files, "client", lambda: pytest.fail("the hub was asked before"))
    for name in (f"hub:{REPO}", f"hub:{REPO}@{NEW}"):
        with pytest.raises(UsageError, match="pip install pyarrow"):
            open_source(name, 8)


def test_no_program_of_a_repository_is_run_or_even_fetched(there: FakeHub) -> None:
    opened(f"hub:{REPO}")  # it holds birds.py: FakeHub.hf_hub_download refuses all but tables
    assert there.fetched and all(path.endswith(".parquet") for path in there.fetched)
    for module in (hub, hub_files, parquet):
        assert module.__file__ is not None
        text = Path(module.__file__).read_text(encoding="utf-8")
        assert "trust_remote_code" not in text and "import datasets" not in text


@pytest.mark.skipif(not WITH_ARROW, reason="pyarrow is not installed")
def test_parquet_files_of_many_kinds(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "raw": pa.array([b"a", None]),
            "file": pa.array([{"bytes": b"b", "path": "p"}, None]),
            "n": pa.array([1, None], pa.int8()),
            "yes": pa.array([True, False]),
            "word": pa.array(["x", None], pa.large_string()),
            "words": pa.array([["x"], []]),
            "real": pa.array([1.5, 2.0]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    kinds = {c.name: c.kind for c in parquet.columns(tmp_path / "t.parquet")}
    assert kinds == {"raw": "image", "file": "image", "n": "integer", "yes": "integer", "word": "text",
                     "words": "text", "real": "real"}  # fmt: skip
    assert list(parquet.rows(tmp_path / "t.parquet", ["n", "raw"])) == [
        {"n": 1, "raw": b"a"},
        {"n": None, "raw": None},
    ]
    for note in (b"", b"[]", b"{", b'{"info": {"features": [1]}}', b'{"info": {"features": {"n": 3}}}'):
        pq.write_table(table.replace_schema_metadata({b"huggingface": note}), tmp_path / "t.parquet")
        assert {c.name: c.kind for c in parquet.columns(tmp_path / "t.parquet")} == kinds
    whole = (tmp_path / "t.parquet").read_bytes()
    for damaged in (b"", b"PAR1", whole[:-5], whole[: len(whole) // 2]):
        (tmp_path / "t.parquet").write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as Parquet"):
            parquet.columns(tmp_path / "t.parquet")


# -- training -----------------------------------------------------------------------------------------


def test_a_run_records_the_commit_and_goes_on_with_it(there: FakeHub, tmp_path: Path) -> None:
    recipe = load_recipe("pca").model_copy(
        update={"data": f"hub:{REPO}", "size": 8, "model": {"components": 4}, "train": Train(iterations=1)}
    )
    run = train(recipe, out=tmp_path / "run")
    assert json.loads((run.folder / "run.json").read_text())["recipe"]["data"] == f"hub:{REPO}@{NEW}"
    model = load(run.folder)
    assert model.card["data"] == f"hub:{REPO}@{NEW}"
    there.put("0" * 39 + "3", None, {"train.parquet": rows(40, blue=1)})
    there.looked.clear()
    figure = evaluate(model, metrics=("psnr",), samples=4)[0].as_dict()
    assert there.looked == [] and figure["reference"].startswith(
        opened(f"hub:{REPO}@{NEW}", split="test").fingerprint()
    )
    with pytest.raises(UsageError, match="holds a run of another recipe"):
        train(recipe, out=tmp_path / "run")  # what the name means now is other data


def test_a_folder_called_like_a_dataset_is_reached_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hub:a" / "b").mkdir(parents=True)
    (tmp_path / "hub:a" / "b" / "1.png").write_bytes(png((1, 2, 3)))
    monkeypatch.chdir(tmp_path)
    assert open_source("./hub:a/b", 8).fingerprint() == open_folder(tmp_path / "hub:a" / "b", 8).fingerprint()
