"""Label maps in folders of one's own: how they are read, what is refused, and that a model paints them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image

from zeuxis.api.model import load
from zeuxis.api.paint import paint
from zeuxis.api.suited import damaged_as
from zeuxis.data.library import open_source
from zeuxis.data.pairing import class_colours
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.recipe import load_recipe
from zeuxis.rng import Stream

N, SIDE = 10, 32


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


def layout(k: int, classes: int = 3) -> np.ndarray:
    """Blocks of classes, of which all are there, no two alike."""
    blocks = Stream(k, "layout").integers(classes, 4, 4).numpy()
    blocks[0] = np.arange(4) % classes
    return np.kron(blocks, np.ones((SIDE // 4, SIDE // 4))).astype(np.uint8)


def saved(classes: np.ndarray, file: Path, kind: str = "grey") -> None:
    """A label map as people save them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "palette":
        made = Image.fromarray(classes, "P")
        made.putpalette(class_colours(256).flatten().tolist())
    elif kind == "colours":
        made = Image.fromarray(class_colours(256).numpy()[classes])
    else:
        made = Image.fromarray(classes.astype(np.uint16) if kind == "16 bits" else classes)
    made.save(file)


def folder(root: Path, kind: str = "grey", names: tuple[str, str] = ("images", "labels"), n: int = N) -> Path:
    """Pictures whose reds are their classes, beside the classes."""
    for k in range(n):
        classes = layout(k)
        pixels = np.stack([60 * classes, np.full_like(classes, k), 255 - classes], -1)
        (root / names[0]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / names[0] / f"{k}.png")
        saved(classes, root / names[1] / f"{k}.png", kind)
    return root


@pytest.mark.parametrize("kind", ["grey", "palette", "colours", "16 bits"])
def test_a_class_for_every_pixel_is_read_however_it_is_kept(tmp_path: Path, kind: str) -> None:
    source = open_source(f"{folder(tmp_path / 'own', kind)} | layout", SIDE)
    assert source.spec.layout_names == ("class 0", "class 1", "class 2") and "layout" in source.spec.provides
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.layout is not None
    reds = ((batch.image[:, 0] + 1) * 127.5 / 60).round().long()
    assert torch.equal(batch.condition.layout, reds)
    small = open_source(f"{tmp_path / 'own'} | layout", SIDE // 2).batch(torch.tensor([0])).condition.layout
    assert small is not None and torch.equal(small, batch.condition.layout[:1, ::2, ::2])
    assert any("label maps of 3 classes" in remark for remark in source.remarks)


def test_classes_have_the_names_in_their_file_and_what_nobody_labelled_is_the_last(tmp_path: Path) -> None:
    root = folder(tmp_path / "own", names=("photos", "segmentations"))
    (root / "classes.txt").write_text("sky\nroad\ntree\nhouse\n")
    source = open_source(f"{root} | layout", SIDE)
    assert source.spec.layout_names == ("sky", "road", "tree", "house") and not source.ignored
    part = layout(0)
    part[:4] = 255
    saved(part, root / "segmentations" / "0.png")
    source = open_source(f"{root} | layout", SIDE)
    assert source.spec.layout_names[-2:] == ("house", "void")
    batch = source.batch(torch.arange(len(source)))
    assert batch.condition.layout is not None and int(batch.condition.layout.max()) == 4
    for k in range(N):
        saved(np.where(layout(k) > 0, 255, 0).astype(np.uint8), root / "segmentations" / f"{k}.png")
    (root / "classes.txt").unlink()
    assert open_source(f"{root} | layout", SIDE).spec.layout_names == ("nothing", "something")


def test_splits_count_their_classes_alike(tmp_path: Path) -> None:
    folder(tmp_path / "own" / "train")
    folder(tmp_path / "own" / "test", n=2)
    saved(np.full((SIDE, SIDE), 5, np.uint8), tmp_path / "own" / "test" / "labels" / "0.png")
    named = {split: open_source(f"{tmp_path / 'own'} | layout", SIDE, split).spec for split in ("train", "test")}
    assert named["train"].layout_names == named["test"].layout_names and len(named["train"].layout_names) == 6


def test_what_is_no_label_map_is_refused_with_the_reason(tmp_path: Path) -> None:
    root = folder(tmp_path / "own")
    (root / "classes.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"holds class 2, and the 2 classes are numbered from 0 to 1"):
        open_source(f"{root} | layout", SIDE)
    (root / "classes.txt").write_text("a\nb\n\nc\n")
    with pytest.raises(DataError, match=r"must name the classes"):
        open_source(f"{root} | layout", SIDE)
    (root / "classes.txt").unlink()
    saved(layout(0)[:-4], root / "labels" / "0.png")
    (root / "labels" / "1.png").unlink()
    with pytest.raises(DataError, match=r"32x32, its label map labels/0\.png 32x28|no partner in labels/") as error:
        open_source(f"{root} | layout", SIDE)
    assert "32x28" in str(error.value) and "no partner in labels/" in str(error.value)
    root = folder(tmp_path / "grey", n=2)
    saved(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE).astype(np.uint8), root / "labels" / "0.png")
    with pytest.raises(DataError, match=r"up to 254, which look like levels of grey"):
        open_source(f"{root} | layout", SIDE)
    root = folder(tmp_path / "colours", n=1)
    Image.fromarray(np.full((SIDE, SIDE, 3), (1, 2, 3), np.uint8)).save(root / "labels" / "0.png")
    with pytest.raises(DataError, match=r"the colour #010203, which is none of PASCAL VOC's"):
        open_source(f"{root} | layout", SIDE)
    Image.fromarray(layout(0)).convert("RGB").save(root / "images" / "only.png")
    with pytest.raises(Unsupported, match=r"and no class for every pixel: give a folder with images/ and labels/"):
        open_source(f"{root / 'images'} | layout", SIDE)
    with pytest.raises(UsageError, match=r"of pictures with label maps the middle is shown"):
        open_source(f"{folder(tmp_path / 'cropped')} | layout", SIDE, fit="crop")


def test_what_paints_layouts_takes_a_folder_s_masks_for_them() -> None:
    here = str(Path(__file__).parent)
    assert damaged_as(load_recipe("spade"), here) == f"{here} | layout"
    assert damaged_as(load_recipe("spade"), "scenes") == "scenes"
    assert damaged_as(load_recipe("spade"), f"{here} | outlines") == f"{here} | outlines"
    assert damaged_as(load_recipe("vae"), here) == here


def test_spade_is_trained_on_a_folder_and_paints_such_a_map(tmp_path: Path, command: Command) -> None:
    root = folder(tmp_path / "own")
    marked = layout(0)
    marked[:8] = 255
    saved(marked, root / "labels" / "0.png")
    sizes = ("model.ngf=1", "model.nz=4", "model.doublings=3", "model.hidden=8", "model.ndf=4", "model.layers=1")
    changed = [word for size in sizes for word in ("--set", size)]
    run = tmp_path / "run"
    code, _, err = command("train", "spade", "--data", root, "--size", SIDE, "--iterations", 2, "--out", run, *changed)
    assert code == 0 and "label maps of 4 classes" in err
    code, out, _ = command("paint", run, "--classes", "--json")
    assert code == 0 and '"void"' in out
    code, out, _ = command("paint", run, "--layout", root / "labels" / "0.png", "--out", tmp_path / "made.png")
    assert code == 0 and (tmp_path / "made-sheet.png").is_file()
    model = load(run)
    own = np.where(marked == 255, 3, marked)
    assert torch.equal(paint(model, own).tensor, paint(model, root / "labels" / "0.png").tensor)
    saved(np.full((SIDE, SIDE), 9, np.uint8), tmp_path / "other.png")
    code, _, err = command("paint", run, "--layout", tmp_path / "other.png", "--out", tmp_path / "b.png")
    assert code == 2 and "class 9, which is none of the 4" in err
