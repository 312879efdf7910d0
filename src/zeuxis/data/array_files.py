"""Pictures in a file of NumPy's: ``.npy``, and ``.npz`` as Keras, MedMNIST and programs that sample write them.

    images labels, x y, arr_0 arr_1                   pictures and their classes
    x_train y_train x_test y_test                     the same of each split (Keras)
    train_images train_labels val_images ...          and so (MedMNIST)

Pictures of a split are the array that is called so, or the only one of three or four axes: ``(N, H, W)``,
``(N, H, W, C)`` or ``(N, C, H, W)``, of 1, 3 or 4 channels, in levels or in [0, 1] (`zeuxis.data.levels`). Classes are
numbers, names, or rows with a single 1. What a split lacks is held out of the training pictures as of a folder's.
Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeuxis.data import prepared
from zeuxis.data.cache import cache_dir, new_folder
from zeuxis.data.contents import Contents
from zeuxis.data.fit import Fit, fit_images
from zeuxis.data.levels import levels_of
from zeuxis.data.own import classes_of
from zeuxis.data.preparing import SPLITS
from zeuxis.data.source import Array, ArraySource, Values
from zeuxis.data.split import carve
from zeuxis.data.splits import SPLIT_OF
from zeuxis.errors import DataError, UnknownName, UsageError
from zeuxis.files import at_home
from zeuxis.spec import Size, spell_size

SUFFIXES = (".npz", ".npy")
PICTURES = ("images", "image", "imgs", "img", "pictures", "x", "data", "samples", "arr_0", "")
LABELS = ("labels", "label", "y", "targets", "target", "classes", "class", "arr_1")
CHANNELS = (1, 3, 4)
PARTS = re.compile(r"[_\-. ]+")
Arrays = dict[str, Array]


def array_file(name: str | Path) -> Path | None:
    """The file of arrays that ``name`` means; None where it means something else."""
    path = at_home(name)
    return path if str(name).lower().endswith(SUFFIXES) and path.is_file() else None


def open_arrays(path: Path, size: Size | None, split: str, fit: Fit) -> ArraySource:
    """One split of the pictures in a file, brought to ``size``.

    Raises:
        DataError: no pictures, or arrays that do not belong together; a damaged file.
        UsageError: numbers that are no levels; a fit of pictures of several sizes.
        UnknownName: no such split.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if fit.mixed:
        raise UsageError(
            f"--fit {fit}: '{path}' holds pictures of one shape, of which the middle is shown: leave it out"
        )
    path = path.absolute()
    contents = Contents(path, [path])
    key = hashlib.sha256(ascii((prepared.FORMAT, size, contents.digest())).encode()).hexdigest()[:24]
    kept = cache_dir() / "prepared" / f"arrays-{spell_size(size)}-{key}"

    def decoded() -> None:
        images, fields, known = _prepared(path, size)
        contents.require_unchanged()
        with new_folder(kept) as made:
            np.save(made / "images.npy", images)
            prepared.write_prepared(made, fields, known)

    def opened(part: str) -> ArraySource:
        return prepared.open_prepared(kept, decoded, path.name, part)

    return prepared.held_out_or_learnt(opened, split, "give ten or more", str(path))


@dataclass(frozen=True)
class _Part:
    """One split: its pictures uint8 ``(N, H, W, C)``, and what tells their classes."""

    called: str
    images: Array
    labels: Array | None


def _prepared(path: Path, size: Size | None) -> tuple[Array, dict[str, Values], prepared.Known]:
    parts, unused = _parts(path)
    fitted = [fit_images(part.images, size) for part in parts.values()]
    shapes = sorted({image.shape[1:] for image in fitted})
    if len(shapes) > 1:
        raise UsageError(f"the splits of '{path}' hold pictures of the shapes {shapes}: bring them to one with --size")
    images = np.concatenate(fitted)
    fields: dict[str, Values] = {}
    names: tuple[str, ...] = ()
    told = [part.labels for part in parts.values() if part.labels is not None]
    if len(told) == len(parts):
        names, fields["label"] = classes_of([label for labels in told for label in labels.tolist()])
    ends = np.cumsum([0, *(len(part.images) for part in parts.values())]).tolist()
    rows = {split: list(range(start, end)) for split, start, end in zip(parts, ends, ends[1:], strict=False)}
    free = rows.pop("train")
    carved = carve("arrays", list(map(str, free)), tuple(s for s in ("test", "val") if s not in rows))
    rows |= {split: [free[place] for place in places] for split, places in carved.items()}
    remarks = [_said(parts, names, unused, some_told=bool(told))]
    if images.max(initial=0) == 1:
        remarks.append("no value of the pictures is above 1 of 255, so they are black: of values 0 and 1 give 255 * x")
    return images, fields, prepared.Known({"class_names": names}, splits=rows, remarks=remarks)


def _said(parts: Mapping[str, _Part], names: tuple[str, ...], unused: list[str], *, some_told: bool) -> str:
    """How the file was read, in a line."""
    each = ", ".join(f"{len(part.images):,} of '{part.called}'" for part in parts.values())
    classes = f", {len(names)} classes" if names else ", classes not of all splits and not used" if some_told else ""
    return f"read as arrays: pictures {each}{classes}; not used: {', '.join(unused) or 'none'}"


def _parts(path: Path) -> tuple[dict[str, _Part], list[str]]:
    """The splits in their order, "train" among them, and the names of arrays that are not used."""
    groups: dict[str, dict[str, tuple[str, Array]]] = {}
    for name, array in _arrays(path).items():
        words = PARTS.split(name.lower())
        told = [SPLIT_OF[word] for word in words if word in SPLIT_OF]
        rest = name.lower() if len(told) != 1 else "_".join(word for word in words if word not in SPLIT_OF)
        groups.setdefault(told[0] if len(told) == 1 else "", {})[rest] = name, array
    found: dict[str, _Part] = {}
    used: set[str] = set()
    for split in (*SPLITS, ""):
        if (held := _part(path, groups.get(split, {}))) is None or (not split and "train" in found):
            continue
        found[split or "train"], names = held
        used |= set(names)
    if "train" not in found:
        there = ", ".join(f"{name} {array.shape}" for held in groups.values() for name, array in held.values())
        raise DataError(f"'{path}' holds no pictures to train on, (N, H, W, C) called images or x: it has {there}")
    unused = [name for held in groups.values() for name, _ in held.values() if name not in used]
    return {split: found[split] for split in SPLITS if split in found}, unused


def _part(path: Path, held: Mapping[str, tuple[str, Array]]) -> tuple[_Part, list[str]] | None:
    """What the arrays of one split are, and the names of those that are used; None without pictures."""
    able = {rest: one for rest, one in held.items() if one[1].ndim in (3, 4) and one[1].dtype.kind in "buif"}
    called = next((rest for rest in PICTURES if rest in able), next(iter(able)) if len(able) == 1 else None)
    if called is None:
        if able:
            names = ", ".join(name for name, _ in able.values())
            raise UsageError(f"'{path}' holds several arrays that may be pictures ({names}): call one of them images")
        return None
    name, pictures = able[called]
    images = _opaque(_channels_last(path, name, pictures))
    if not len(images):
        return None
    key = next((rest for rest in LABELS if rest in held), None)
    labels = None if key is None else _single(held[key][1])
    if key is None or labels is None:
        return _Part(name, images, None), [name]
    if len(labels) != len(images):
        raise DataError(f"'{path}' has {len(images)} pictures of '{name}' and {len(labels)} labels of '{held[key][0]}'")
    return _Part(name, images, labels), [name, held[key][0]]


def _single(labels: Array) -> Array | None:
    """A class for each picture ``(N,)``; None where they tell several of one, or none."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "buif" and labels.shape[1] > 1:
        one_hot = bool(np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all())
        return labels.argmax(1) if one_hot else None
    return labels if labels.ndim == 1 and labels.dtype.kind in "buifUS" else None


def _channels_last(path: Path, name: str, pictures: Array) -> Array:
    """uint8 ``(N, H, W, C)``."""
    shape = pictures.shape
    if pictures.ndim == 3 and shape[2] not in CHANNELS[1:]:
        pictures = pictures[..., None]
    elif pictures.ndim == 4 and shape[3] not in CHANNELS and shape[1] in CHANNELS:
        pictures = np.moveaxis(pictures, 1, -1)
    if pictures.ndim != 4 or pictures.shape[3] not in CHANNELS:
        raise DataError(
            f"'{name}' of '{path}' has the shape {shape}: (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 "
            "channels is wanted"
        )
    return levels_of(pictures, f"'{name}' of '{path}'") if pictures.size else pictures.astype(np.uint8)


def _opaque(images: Array) -> Array:
    """On white where they are transparent, as files are read."""
    if images.shape[3] != 4:
        return images
    alpha = images[..., 3:].astype(np.uint32)
    shown = (images[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return shown.astype(np.uint8)


def _arrays(path: Path) -> Arrays:
    """All arrays of a file, by name; that of an ``.npy`` is called ""."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        why = " ".join(str(error).split())
        if "allow_pickle" in why:
            why = "it holds pickled objects, which could run anything: save arrays of numbers"
        raise DataError(f"'{path}' cannot be read as arrays of NumPy: {why}") from None
