"""One's own pictures from Python: an array, a list of pictures, a mapping of such columns, or a torch ``Dataset``.

Everything becomes one :class:`~zeuxis.data.source.ArraySource` in memory, split into train, val and test as folders
are: the same pictures are set apart whenever the same number of them is given.

Axes: X pictures and y their labels, as scikit-learn calls them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from zeuxis.data.fit import LARGER, SQUARE, Fit, brought, fit_picture
from zeuxis.data.levels import levels_of
from zeuxis.data.names import in_natural_order
from zeuxis.data.picture import GREY_MODES, WIDE_MODES, composited, upright
from zeuxis.data.shards import MOST_CLASSES
from zeuxis.data.source import Array, ArraySource, Skipped, Values
from zeuxis.data.split import carve
from zeuxis.errors import LISTED, DataError, UnknownName, UsageError
from zeuxis.spec import Size

NAME = "own-pictures"  # how records call them, with a fingerprint; the split depends on it
TEXTS = frozenset({"caption", "instruction"})
PICTURES = frozenset({"image", "source", "style"})
COLUMNS = ("image", "label", "caption", "instruction", "source", "style")
COLOUR_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
COLUMNS_MEND = "pairs are (picture, label), all else is a mapping of columns"

Own = Array | Tensor | Sequence[Any] | Mapping[str, Any] | Dataset[Any]


@dataclass
class OwnData:
    """Own pictures, read once: columns of equal length, by field of ``Condition``, ``image`` among them."""

    columns: dict[str, list[Any]]
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def of(cls, data: Own) -> OwnData:
        """Read whatever kind of pictures ``data`` is.

        An array is ``(N, H, W)`` or ``(N, H, W, C)``, a tensor ``(N, C, H, W)``: uint8 in [0, 255] or floats in
        [0, 1]. A sequence or a ``Dataset`` holds PIL pictures or such arrays of one picture each, or pairs of one and
        its label, or mappings with the keys of :data:`COLUMNS`. A mapping has such columns; a tuple of an array of
        pictures and their labels is two of them.

        Raises UsageError for anything else, DataError where no picture could be read.
        """
        if isinstance(data, (np.ndarray, Tensor)):
            return cls(_checked({"image": _rows(data)}))
        if _is_pictures_and_labels(data):
            return cls(_checked({"image": _rows(data[0]), "label": list(data[1])}))
        if isinstance(data, Mapping):
            return cls(_checked({str(name): _column(str(name), values) for name, values in data.items()}))
        if isinstance(data, (Sequence, Dataset)):
            return _items(data)
        raise UsageError(
            f"data of type {type(data).__name__}: give a name, a folder, an array (N, H, W, C), a tensor (N, C, H, W), "
            "a list of PIL pictures, a mapping of columns, or a torch Dataset with __len__ and __getitem__ (of another "
            "library's data set list(data), whose rows are such mappings)"
        )

    def __len__(self) -> int:
        return len(self.columns["image"])

    @cached_property
    def name(self) -> str:
        """What records call these pictures: by a fingerprint, so that a run finds its own again."""
        digest = hashlib.sha256()
        for name in sorted(self.columns):
            for value in self.columns[name]:
                digest.update(_picture(value, name).tobytes() if name in PICTURES else repr(value).encode())
        return f"{NAME}:{digest.hexdigest()[:16]}"

    def open(self, size: Size | None = None, split: str = "train", fit: str | Fit = SQUARE) -> ArraySource:
        """As named data are opened; they are held at one size, as centred parts of that shape."""
        if str(fit) != str(SQUARE):
            raise UsageError(f"fit {fit}: own data from Python are held at one shape; use fit 'square', or a folder")
        return self.source(size, split)

    def source(self, size: Size | None = None, split: str = "train") -> ArraySource:
        """One split, as pictures of ``size`` (a side, or height and width); without it they must have one size."""
        fields = {name: self._field(name, size) for name in self.columns if name != "image"}
        label = fields.get("label")
        names: tuple[str, ...] = ()
        if label is not None:
            names, numbers = classes_of(self.columns["label"])
            fields["label"] = numbers
        splits = carve(NAME, [str(row) for row in range(len(self))])
        if split not in splits:
            raise UnknownName("split", split, splits)
        rows = splits[split] or list(range(len(self)))  # too few to set any apart: all of them are looked at
        pictures = [_picture(value, "image") for value in self.columns["image"]]
        images = _stack(pictures, size, "image")
        found = ArraySource(
            self.name,
            images,
            fields=fields,
            class_names=names,
            rows=np.asarray(rows),
            skipped=self.skipped,
        )
        if label is not None and (bare := sorted(set(range(len(names))) - set(fields["label"]))):
            some = ", ".join(names[k] for k in bare[:LISTED]) + (", ..." if len(bare) > LISTED else "")
            found.remarks = (f"no picture of class {some}, which nothing is learnt of: labels count from 0",)
        if size is not None:
            sides = [picture.size for picture in pictures]
            found.remarks += tuple(brought(sides, size, "size=(height, width) keeps more"))
        if size is not None and "source" in self.columns and (times := self._times_larger()) >= LARGER:
            found.remarks += (
                f"sources are {times:.3g} times smaller than their pictures and are brought to their size: what is to "
                "enlarge them as they are takes a folder of both (hr/ and lr/)",
            )
        if images.max(initial=0) == 1:
            found.remarks += (
                "no value of the pictures is above 1 of 255, so they are black: of values 0 and 1 give 255 * x",
            )
        return found

    def _times_larger(self) -> float:
        """How many times as wide as its source the first picture is."""
        image, source = (_picture(self.columns[name][0], name) for name in ("image", "source"))
        return image.width / source.width

    def _field(self, name: str, size: Size | None) -> Values:
        values = self.columns[name]
        if name in PICTURES:
            return _stack([_picture(value, name) for value in values], size, name)
        if name not in TEXTS:
            return np.asarray(values, dtype=object)
        return [_text(value, name) for value in values]


def _is_pictures_and_labels(data: Any) -> TypeGuard[tuple[Any, Any]]:
    """Whether it is what many call ``(X, y)``: a tuple of an array of pictures and a row of labels."""
    if not isinstance(data, tuple) or len(data) != 2 or not isinstance(data[0], (np.ndarray, Tensor)):
        return False
    pictures, labels = data
    row = labels.ndim == 1 if isinstance(labels, (np.ndarray, Tensor)) else isinstance(labels, list)
    return row and pictures.ndim in (3, 4) and len(pictures) == len(labels)


def _text(value: Any, name: str) -> str:
    """A caption as it is given, of several the first; "" where there is none."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        texts = [each for each in value if isinstance(each, str)]
        if len(texts) < len(value):
            raise UsageError(f"a {name} is a list of {type(value[0]).__name__}: give a text, or a list of texts")
        value = texts[0] if texts else None
    return "" if _is_missing(value) else str(value)


def _rows(data: Array | Tensor) -> list[Any]:
    """The pictures of an array."""
    if isinstance(data, np.ndarray) and data.ndim == 3 and data.shape[2] in (3, 4):
        raise UsageError(f"an array of shape {data.shape} is one picture in colour: give (N, H, W, C), such as x[None]")
    if data.ndim == 0:
        raise UsageError("an array of one number holds no pictures: give (N, H, W, C)")
    return list(data)


def _column(name: str, values: Any) -> list[Any]:
    if name in PICTURES and isinstance(values, (np.ndarray, Tensor)):
        return _rows(values)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UsageError(f"the column '{name}' is one {type(values).__name__}: give a value for each picture")
    return list(values)


def _is_missing(value: Any) -> bool:
    """Whether a table holds nothing there: None, or the number that pandas writes in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _checked(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns, known and of one length."""
    for name in columns:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS)
    if "image" not in columns:
        raise UsageError(f"own data have the columns {', '.join(columns) or 'none'}: one of them must be 'image'")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise UsageError(f"columns of own data differ in length: {lengths}")
    if not columns["image"]:
        raise DataError("own data hold no pictures: there is nothing to train on")
    return columns


def _items(data: Sequence[Any] | Dataset[Any]) -> OwnData:
    """What a sequence or a Dataset holds; an item that cannot be read is skipped, and listed."""
    rows: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for k in range(_length(data)):
        try:
            rows.append(_row(data[k]))
        except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow raises of damaged files
            skipped.append(Skipped(f"item {k}", str(error) or type(error).__name__, "damaged"))
    if not rows:
        why = f"; the first: {skipped[0].reason}" if skipped else ""
        raise DataError(f"none of the {len(skipped)} items of own data is a picture{why}")
    names = set(rows[0])
    if odd := next((k for k, row in enumerate(rows) if set(row) != names), None):
        raise UsageError(f"items of own data differ: the first has {sorted(names)}, item {odd} {sorted(rows[odd])}")
    return OwnData(_checked({name: [row[name] for row in rows] for name in rows[0]}), skipped)


def _length(data: Sequence[Any] | Dataset[Any]) -> int:
    if isinstance(data, Sequence):
        return len(data)
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(
            "a torch Dataset without __len__ has no end: give one with __len__ and __getitem__, or a list of pictures"
        ) from None


def _row(item: Any) -> dict[str, Any]:
    """An item as columns: pictures are copied out of files here, so that damage shows."""
    if isinstance(item, Mapping):
        row = {str(name): value for name, value in item.items()}
    elif isinstance(item, tuple) and len(item) == 1:  # as TensorDataset has them
        row = {"image": item[0]}
    elif isinstance(item, tuple) or (isinstance(item, list) and item and _is_picture(item[0])):
        if len(item) != 2:
            raise UsageError(
                f"an item of own data has {len(item)} parts: give a picture, a pair of one and its label, or a mapping "
                f"with the keys {', '.join(COLUMNS)}"
            )
        row = {"image": item[0], "label": item[1]}
    else:
        row = {"image": item}
    for name in PICTURES & row.keys():
        if isinstance(row[name], Image.Image):
            row[name] = row[name].copy()
    return row


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image.Image) or (isinstance(value, (np.ndarray, Tensor)) and value.ndim > 1)


def _picture(value: Any, name: str) -> Image.Image:
    """One picture, grey or colour, of 8 bits, upright."""
    if isinstance(value, Image.Image):
        value = upright(value)
        if value.has_transparency_data:
            return value.convert("RGBA")
        if value.mode in WIDE_MODES:  # white is at 65,535, as in files
            return composited(value, grey=True)
        if value.mode == "F":
            raise UsageError(f"a picture of mode {value.mode}: bring it to 8 bits first, for instance by numpy")
        return value.convert("L" if value.mode in GREY_MODES else "RGB")
    if isinstance(value, Tensor):
        if value.ndim != 3 or value.shape[0] not in COLOUR_MODES:
            last = value.ndim == 3 and value.shape[2] in COLOUR_MODES
            mend = ", as of permute(0, 3, 1, 2) of all, or an array" if last else " with 1, 3 or 4 channels"
            raise UsageError(f"a tensor of {name} has the shape {tuple(value.shape)}: (C, H, W) is wanted{mend}")
        value = value.detach().cpu().movedim(0, -1)
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if value is None or isinstance(value, (Mapping, bytes)):
        raise UsageError(
            f"{name} is {'None' if value is None else f'a {type(value).__name__}'}: give a PIL picture, an array "
            "(H, W, C) or a tensor (C, H, W)"
        )
    if isinstance(value, (str, Path)):
        raise UsageError(f"{name} '{value}' is a text: give pictures (PIL.Image.open), or the folder that holds them")
    try:
        array = np.asarray(value)
    except ValueError:
        raise UsageError(f"{name} is a {type(value).__name__} that is no array (H, W, C): {COLUMNS_MEND}") from None
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in COLOUR_MODES:
        raise UsageError(
            f"an array of {name} has the shape {array.shape}: (H, W), or (H, W, C) with 1, 3 or 4 channels, is wanted "
            "(for (C, H, W) give a tensor)"
        )
    if not array.size:
        raise UsageError(f"an array of {name} has the shape {array.shape}: there are no pixels in it")
    array = levels_of(array, name)
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array, COLOUR_MODES[array.shape[-1]])


def _stack(pictures: Sequence[Image.Image], size: Size | None, name: str) -> Array:
    """uint8 ``(N, C, H, W)``; in colour if one of them is."""
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    sizes = {picture.size for picture in pictures}
    if size is None:
        if len(sizes) > 1:
            raise UsageError(
                f"{name}s of {len(sizes)} sizes, such as {sorted(sizes)[:3]}: say which is wanted with size="
            )
        target = sizes.pop()
    else:
        target = (size, size) if isinstance(size, int) else (size[1], size[0])
    shown = [_opaque(picture, mode) for picture in pictures]
    fitted = [picture if picture.size == target else fit_picture(picture, target) for picture in shown]
    stacked = np.stack([np.asarray(picture) for picture in fitted])  # (N, H, W[, C])
    return np.ascontiguousarray(stacked[:, None] if stacked.ndim == 3 else np.moveaxis(stacked, -1, 1))


def _opaque(picture: Image.Image, mode: str) -> Image.Image:
    """On white where it is transparent, as files are read."""
    if picture.mode == "RGBA":
        page = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(page, picture)
    return picture.convert(mode)


def classes_of(labels: Sequence[Any]) -> tuple[tuple[str, ...], Array]:
    """The names of classes, and each label's number: numbers count from 0, names are in natural order."""
    plain = [_label(label, row) for row, label in enumerate(labels)]
    numbers = [label for label in plain if isinstance(label, int) and not isinstance(label, bool)]
    if len(numbers) == len(plain):
        if min(numbers) < 0:
            raise UsageError(f"label {min(numbers)}: labels that are numbers count from 0")
        if max(numbers) >= MOST_CLASSES:
            raise UsageError(
                f"label {max(numbers)}: labels that are numbers count from 0 to at most {MOST_CLASSES - 1}, and every "
                "one between is a class; give numbers of another kind as texts"
            )
        return tuple(map(str, range(max(numbers) + 1))), np.asarray(numbers, np.int64)
    names = in_natural_order(str(label) for label in plain)
    places = {name: k for k, name in enumerate(names)}
    return names, np.asarray([places[str(label)] for label in plain], np.int64)


def _label(label: Any, row: int) -> Any:
    """A label as Python has it; a whole number whatever type it came in."""
    if isinstance(label, (Tensor, np.ndarray, np.generic)):
        if label.size != 1 if isinstance(label, (np.ndarray, np.generic)) else label.numel() != 1:
            raise UsageError(
                f"the label of picture {row} has the shape {tuple(label.shape)}: give one number or name for each "
                "(of one-hot rows the place of the 1: argmax(1))"
            )
        label = label.item()
    label = label.decode(errors="backslashreplace") if isinstance(label, bytes) else label
    if _is_missing(label):
        raise UsageError(f"picture {row} has no label ({label}): leave it out, or give a class of its own for such")
    return int(label) if isinstance(label, float) and label.is_integer() else label
