"""Own pictures from Python: arrays, tensors, lists, mappings, torch Datasets; and what may be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from zeuxis.data.own import OwnData
from zeuxis.errors import DataError, UnknownName, UsageError

COLOUR = np.random.default_rng(0).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)  # (N, H, W, C)


class Pairs(Dataset[Any]):
    """Pictures and class names, of which the fourth is damaged."""

    def __len__(self) -> int:
        return len(COLOUR)

    def __getitem__(self, k: int) -> tuple[Image.Image, str]:
        if k == 3:
            raise OSError("image file is truncated")
        return Image.fromarray(COLOUR[k]), ("boot", "bag")[k % 2]


def everything(data: Any, size: Any = None) -> np.ndarray:
    """The images of all splits, by row."""
    read = OwnData.of(data)
    parts = [read.source(size, split) for split in ("train", "val", "test")]
    rows = np.concatenate([part.rows for part in parts])
    return np.concatenate([part.images[part.rows] for part in parts])[np.argsort(rows)]


def test_a_dataset_of_one_tensor_is_its_pictures_and_zeros_and_ones_are_told_of() -> None:
    tensor = torch.from_numpy(COLOUR).permute(0, 3, 1, 2)
    assert np.array_equal(everything(TensorDataset(tensor)), everything(COLOUR))
    (line,) = OwnData.of((COLOUR > 127).astype(np.uint8)).open().remarks
    assert "give 255 * x" in line
    assert not OwnData.of((COLOUR > 127).astype(np.float32)).open().remarks
    assert not OwnData.of(COLOUR * 0).open().remarks, "black pictures may be meant"
    with pytest.raises(UsageError, match=r"\(12, 10, 3\): \(C, H, W\) is wanted, as of permute\(0, 3, 1, 2\)"):
        OwnData.of(torch.from_numpy(COLOUR)).open()


def test_arrays_tensors_and_lists_are_the_same_pictures() -> None:
    wanted = COLOUR.transpose(0, 3, 1, 2)
    forms = {
        "uint8": COLOUR,
        "floats": COLOUR / 255,
        "tensor": torch.from_numpy(wanted.copy()),
        "float tensor": torch.from_numpy(wanted.copy()).float() / 255,
        "pictures": [Image.fromarray(x) for x in COLOUR],
        "mapping": {"image": COLOUR},
    }
    for name, form in forms.items():
        assert np.array_equal(everything(form), wanted), name
    assert np.array_equal(everything(COLOUR[..., 0]), COLOUR[:, None, :, :, 0])


def test_splits_part_the_pictures_and_stay() -> None:
    read = OwnData.of(COLOUR)
    rows = {split: read.source(None, split).rows.tolist() for split in ("train", "val", "test")}
    assert sorted(row for part in rows.values() for row in part) == list(range(40))
    assert len(rows["val"]) == len(rows["test"]) == 4
    assert rows == {split: OwnData.of(COLOUR[::-1]).source(None, split).rows.tolist() for split in rows}
    with pytest.raises(UnknownName, match="did you mean train"):
        read.source(None, "trian")


def test_a_dataset_gives_labels_and_its_damaged_item_is_skipped() -> None:
    source = OwnData.of(Pairs()).source(8)
    assert source.spec.class_names == ("bag", "boot") and source.spec.shape == (3, 8, 8)
    assert source.spec.provides == {"label"}
    assert [(file.path, file.reason) for file in source.skipped] == [("item 3", "image file is truncated")]
    batch = source.batch(torch.arange(len(source)))
    kept = [k for k in range(40) if k != 3]
    assert batch.condition.label is not None
    assert batch.condition.label.tolist() == [1 - kept[row] % 2 for row in source.rows]


def test_numbers_are_classes_and_captions_are_kept() -> None:
    data = {"image": COLOUR, "label": np.arange(40) % 3, "caption": [f"a picture {k}" for k in range(40)]}
    source = OwnData.of(data).source()
    assert source.spec.class_names == ("0", "1", "2")
    batch = source.batch(torch.tensor([0]))
    assert batch.condition.caption == (f"a picture {source.rows[0]}",)


def test_pictures_of_several_sizes_need_a_size() -> None:
    mixed = [Image.new("L", (20, 10), 50), Image.new("RGB", (9, 9), (1, 2, 3)), Image.new("RGBA", (9, 9), (0, 0, 0, 0))]
    with pytest.raises(UsageError, match="2 sizes"):
        OwnData.of(mixed).source()
    images = OwnData.of(mixed).source((6, 4)).images  # too few to set any apart
    assert images.shape == (3, 3, 6, 4)
    assert (images[2] == 255).all()  # what is transparent lies on white


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (COLOUR.astype(np.float32), UsageError, r"floats in \[0, 1\]"),
        (COLOUR / 127.5 - 1, UsageError, r"\(x \+ 1\) / 2"),
        (COLOUR.transpose(0, 3, 1, 2), UsageError, "give a tensor"),
        ([], DataError, "none of the 0 items"),
        ({"image": COLOUR, "lable": range(40)}, UnknownName, "did you mean label"),
        ({"label": range(40)}, UsageError, "must be 'image'"),
        ({"image": COLOUR, "label": range(39)}, UsageError, "differ in length"),
        ({"image": COLOUR, "label": [-1] * 40}, UsageError, "count from 0"),
        ([{"image": COLOUR[0], "label": 1}, {"image": COLOUR[1]}], UsageError, "item 1"),
        (42, UsageError, "torch Dataset"),
        (COLOUR[:0], DataError, "hold no pictures"),
        (COLOUR[:, :0], UsageError, "no pixels"),
        (COLOUR[0], UsageError, r"one picture in colour: .*x\[None\]"),
        ({"image": COLOUR[0]}, UsageError, "one picture in colour"),
        (["a.png", "b.png"], UsageError, "is a text"),
        ([(COLOUR[0], 1, "more")], UsageError, "3 parts"),
        ([[[0, 1], [2]]], UsageError, "no array"),
        ([{"image": {"bytes": b"", "path": None}}], UsageError, "image is a dict: give a PIL picture"),
        ({"image": [None] * 3}, UsageError, "image is None: give a PIL picture"),
        ({"image": COLOUR, "label": 3}, UsageError, "value for each picture"),
        ({"image": COLOUR, "label": [10**12] * 40}, UsageError, "at most 99999"),
        ({"image": COLOUR, "label": np.eye(40)}, UsageError, r"argmax\(1\)"),
        ({"image": COLOUR, "label": torch.eye(40)}, UsageError, r"argmax\(1\)"),
        ({"image": COLOUR, "label": [*range(39), None]}, UsageError, "picture 39 has no label"),
        ({"image": COLOUR, "label": [*range(39), float("nan")]}, UsageError, "picture 39 has no label"),
    ],
    ids=[
        "float32 to 255",
        "floats below 0",
        "channels first",
        "empty",
        "typo",
        "no image",
        "lengths",
        "negative",
        "odd",
        "number",
        "no rows",
        "no pixels",
        "one array",
        "one in a column",
        "paths",
        "triples",
        "ragged",
        "not decoded",
        "none",
        "one label",
        "a label too large",
        "one-hot",
        "one-hot tensor",
        "no label",
        "a label that pandas left out",
    ],
)
def test_what_may_be_wrong_is_said(data: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        OwnData.of(data).source()


def test_files_behind_pictures_are_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(COLOUR[0]).save(path)
    path.write_bytes(path.read_bytes()[:60])
    try:
        torn = Image.open(path)
    except OSError:  # Pillow refuses it already
        return
    read = OwnData.of([torn, Image.fromarray(COLOUR[1])])
    assert len(read) == 1 and read.skipped[0].path == "item 0"


def test_numbers_of_any_type_are_the_same_classes() -> None:
    k = np.arange(40) % 3
    forms = [k, k.astype(np.float32), k[:, None], torch.from_numpy(k), torch.from_numpy(k).to(torch.uint8), k.tolist()]
    for labels in forms:
        source = OwnData.of({"image": COLOUR, "label": labels}).source()
        label = source.batch(torch.arange(len(source))).condition.label
        assert source.spec.class_names == ("0", "1", "2") and not source.remarks
        assert label is not None and label.tolist() == k[source.rows].tolist()
    from_one = OwnData.of({"image": COLOUR, "label": k + 1}).source()
    assert from_one.spec.classes == 4 and "no picture of class 0" in from_one.remarks[0]


def test_tensors_from_training_and_what_rounding_took_are_pictures() -> None:
    wanted = COLOUR.transpose(0, 3, 1, 2)
    real = torch.from_numpy(wanted.copy()).float() / 255
    assert np.array_equal(everything(real.requires_grad_()), wanted)
    assert np.array_equal(everything(COLOUR / 255 * (1 + 1e-6) - 1e-7), wanted)  # as a resize leaves them
    assert everything(real.bfloat16()).shape == wanted.shape
    assert np.array_equal(everything([[x, 0] for x in COLOUR]), wanted)  # pairs, as a collated list has them


def test_pictures_from_pillow_are_upright_as_files_are() -> None:
    for turn, upright in ((6, np.rot90(COLOUR[0], -1)), (3, np.rot90(COLOUR[0], 2)), (9, COLOUR[0])):
        lying, notes = Image.fromarray(COLOUR[0]), Image.Exif()
        notes[0x0112] = turn
        lying.info["exif"] = notes.tobytes()  # as it is opened from a file
        assert np.array_equal(OwnData.of([lying]).source().images[0].transpose(1, 2, 0), upright)


def test_a_caption_that_is_missing_says_nothing() -> None:
    captions = ["a boot", None, float("nan"), *["a bag"] * 37]
    source = OwnData.of({"image": COLOUR, "caption": captions}).source()
    assert set(source.fields["caption"]) == {"a boot", "", "a bag"}


def test_what_becomes_of_pictures_of_another_size_is_said() -> None:
    assert not OwnData.of(COLOUR).source().remarks and not OwnData.of(COLOUR).source((12, 10)).remarks
    (line,) = OwnData.of(COLOUR).source(16).remarks
    assert "of 40 pictures brought to 16 x 16 pixels 40 are cut to their middle" in line and "enlarged" in line
    assert "size=(height, width)" in line


def test_of_several_captions_the_first_is_read() -> None:
    captions = [["a boot", "a shoe"], ("a boot",), np.array(["a boot", "brown"]), [], *["a bag"] * 36]
    assert set(OwnData.of({"image": COLOUR, "caption": captions}).source().fields["caption"]) == {"a boot", "", "a bag"}
    with pytest.raises(UsageError, match="a caption is a list of int"):
        OwnData.of({"image": COLOUR, "caption": [[1, 2]] * 40}).source()


def test_pictures_and_their_labels_as_a_pair() -> None:
    wanted = OwnData.of({"image": COLOUR, "label": np.arange(40) % 3}).source()
    tensor = torch.from_numpy(COLOUR).permute(0, 3, 1, 2)
    for labels in (np.arange(40) % 3, torch.arange(40) % 3, (np.arange(40) % 3).tolist()):
        for pictures in (COLOUR, tensor):
            found = OwnData.of((pictures, labels)).source()
            assert np.array_equal(found.images, wanted.images)
            assert np.array_equal(found.fields["label"], wanted.fields["label"])
    assert len(OwnData.of((COLOUR[0], COLOUR[1])).source().images) == 2, "a tuple of pictures stays one"
    grey = OwnData.of((COLOUR[..., 0], np.array([b"bag", b"boot"])[np.arange(40) % 2])).source()
    assert grey.spec.class_names == ("bag", "boot") and grey.images.shape == (40, 1, 12, 10)


def test_small_sources_that_are_enlarged_are_told_of() -> None:
    large, small = np.zeros((3, 32, 32, 3), np.uint8), np.zeros((3, 8, 8, 3), np.uint8)
    own = OwnData.of({"image": large, "source": small})
    (line,) = own.source(32).remarks
    assert "sources are 4 times smaller" in line and "hr/ and lr/" in line
    assert own.source().spec.source_shape == (3, 8, 8) and not own.source().remarks, (
        "without a size they stay as they are"
    )
    assert not OwnData.of({"image": large, "source": large}).source(32).remarks
