"""Pictures in files of NumPy's: which arrays are pictures, which classes, and which split each is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zeuxis.api.functions import train
from zeuxis.batch import to_uint8
from zeuxis.data.array_files import open_arrays
from zeuxis.data.check import check
from zeuxis.data.fit import SQUARE
from zeuxis.data.library import open_source
from zeuxis.data.own import OwnData
from zeuxis.errors import DataError, UsageError

GREY = np.random.default_rng(0).integers(2, 255, (40, 8, 6), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(2, 255, (40, 8, 6, 3), dtype=np.uint8)
K = np.arange(40) % 4


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def file(home: Path, **arrays: Any) -> Path:
    path = home / "some.npz"
    np.savez(path, **arrays)
    return path


def everything(path: Path, size: int | None = None) -> tuple[np.ndarray, list[int]]:
    """All pictures ``(N, C, H, W)`` and their classes, whatever the split, in the file's order where it has none."""
    source = open_arrays(path, size, "train", SQUARE)
    label = source.fields.get("label")
    return np.asarray(source.images), [] if label is None else np.asarray(label).tolist()


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": COLOUR, "labels": K},
        {"arr_0": COLOUR, "arr_1": K},
        {"x": COLOUR.transpose(0, 3, 1, 2), "y": K[:, None]},
        {"data": COLOUR / 255, "target": np.eye(4)[K]},
        {"pixels": COLOUR.astype(np.int64), "classes": K.astype(np.float32), "notes": np.zeros((2, 2))},
    ],
    ids=["by name", "as programs that sample", "channels first", "real numbers and one-hot", "the only pictures"],
)
def test_pictures_and_classes_are_found(arrays: dict[str, Any], home: Path) -> None:
    images, label = everything(file(home, **arrays))
    assert np.array_equal(images, COLOUR.transpose(0, 3, 1, 2)) and label == K.tolist()


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("{}-x", "{}-y")])
def test_splits_are_those_that_the_names_tell(names: tuple[str, str], home: Path) -> None:
    pictures, labels = names
    halves = {"train": slice(24), "test": slice(24, 40)}
    arrays = {
        name.format(split): held[some]
        for name, held in ((pictures, GREY), (labels, K))
        for split, some in halves.items()
    }
    path = file(home, **arrays)
    train_part, val, test = (open_source(path, None, split) for split in ("train", "val", "test"))
    assert (len(train_part), len(val), len(test)) == (22, 2, 16), "what is missing is held out of the training pictures"
    batch = test.batch(torch.arange(16))
    assert np.array_equal(to_uint8(batch.image)[:, 0].numpy(), GREY[24:])
    assert batch.condition.label is not None and batch.condition.label.tolist() == K[24:].tolist()
    assert "24 of" in train_part.remarks[0] and "4 classes" in train_part.remarks[0]


def test_a_file_of_one_array_and_pictures_of_two_values(home: Path) -> None:
    np.save(home / "x.npy", GREY > 128)
    images, label = everything(home / "x.npy")
    assert np.array_equal(images[:, 0], np.where(GREY > 128, 255, 0)) and label == []
    clear = np.concatenate([COLOUR, np.zeros_like(COLOUR[..., :1])], 3)
    np.save(home / "x.npy", clear)
    images, _ = everything(home / "x.npy", 4)
    assert images.shape == (40, 3, 4, 4) and (images == 255).all(), "what is transparent is white"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": GREY - 128.0}, r"from -126 to 126: give uint8 in \[0, 255\]"),
        ({"x": GREY.astype(np.uint16)}, "of 16 bits x / 65535"),
        ({"x": COLOUR, "labels": K[:7]}, "40 pictures of 'x' and 7 labels of 'labels'"),
        ({"a": COLOUR, "b": COLOUR}, r"several arrays that may be pictures \(a, b\)"),
        ({"x_test": COLOUR}, r"no pictures to train on.*x_test \(40, 8, 6, 3\)"),
        ({"x": COLOUR[..., :2]}, r"shape \(40, 8, 6, 2\)"),
        ({"x": np.array([{}], dtype=object)}, "pickled objects"),
    ],
    ids=["below 0", "16 bits", "lengths", "which", "none to train on", "two channels", "pickle"],
)
def test_what_is_wrong_with_a_file_is_said(arrays: dict[str, Any], says: str, home: Path) -> None:
    with pytest.raises((DataError, UsageError), match=says):
        open_source(file(home, **arrays))


def test_labels_of_several_classes_are_none(home: Path) -> None:
    source = open_source(file(home, train_images=COLOUR, train_labels=np.ones((40, 3), int)))
    assert "label" not in source.spec.provides and "not used: train_labels" in source.remarks[0]


def test_a_file_is_data_as_a_folder_is(home: Path) -> None:
    path = file(home, x=COLOUR, y=K)
    run = train("gaussian", path, size=4, out=home / "run", quiet=True)
    assert run.model.card["data"] == str(path) and run.model.sample(2).tensor.shape == (2, 3, 4, 4)
    with pytest.raises(UsageError, match="--fit crop"):
        open_source(path, 4, fit="crop")
    with pytest.raises(UsageError, match="zeuxis data"):
        check(path)
    (home / "of-arrays").mkdir()
    np.save(home / "of-arrays" / "x.npy", GREY)
    with pytest.raises(DataError, match=r"'x.npy' holds arrays: .*--data .*x.npy"):
        open_source(home / "of-arrays", 4)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read as arrays"):
        open_source(path, 4)


def test_pictures_of_16_bits_and_of_two_values_from_python_are_those_of_files() -> None:
    from PIL import Image

    wide = GREY.astype(np.uint16) * 257
    pictures = OwnData.of([Image.fromarray(one) for one in wide]).source().images
    assert np.array_equal(pictures[:, 0], GREY)
    assert np.array_equal(OwnData.of(GREY > 128).source().images[:, 0], np.where(GREY > 128, 255, 0))
    assert np.array_equal(OwnData.of(torch.from_numpy(GREY[:, None]).long()).source().images[:, 0], GREY)
    with pytest.raises(UsageError, match="of 16 bits x / 65535"):
        OwnData.of(wide).source()
