"""From what a user gives to a ``Condition``, from that to a picture's record, and from the record back.

One class for each kind of :data:`zeuxis.conditions.FIELDS`. In Python and on the command line alike a field is given
once for all pictures, or once for each.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zeuxis.api.pictures import Pictures
from zeuxis.api.still import layout_of, mask_of, picture_of, size_of
from zeuxis.batch import Condition
from zeuxis.conditions import FIELDS, Field, FieldKind
from zeuxis.data.names import natural_key
from zeuxis.data.picture import SUFFIXES
from zeuxis.data.worlds.reading import reader
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError
from zeuxis.spec import DataSpec

CLASSES = 40  # whose names a message lists
WHOLE = 0.9  # the share of a picture of which it is not told that the rest is cut off


def sha256_of(values: Tensor) -> str:
    """SHA-256 of a tensor: its type, its shape and its numbers."""
    kept = values.detach().cpu().contiguous()
    return hashlib.sha256(f"{kept.dtype} {tuple(kept.shape)}".encode() + kept.numpy().tobytes()).hexdigest()


@dataclass(frozen=True)
class Given(ABC):
    """What users give for a field of a model: ``spec`` is what the model's data say of themselves."""

    field: Field
    spec: DataSpec
    model: str

    @abstractmethod
    def each(self, value: Any) -> list[Any]:
        """What was given, one for each picture; or alone, for all of them."""

    @abstractmethod
    def read(self, values: list[Any]) -> Any:
        """The value of the field of ``Condition``; raises :class:`zeuxis.errors.ZeuxisError` with the mend."""

    def absent(self, n: int) -> Any:
        """The value where nothing is given, or None where there is no such thing."""
        return None

    @abstractmethod
    def plain(self, value: Any) -> Any:
        """The value of one picture for its record, ready for JSON."""

    @abstractmethod
    def again(self, plain: Any, given: Any) -> Any:
        """What a user would give to have what a record holds; ``given`` is what the user gave with the record."""

    @property
    def what(self) -> str:
        """The field as errors name it."""
        return f"the {self.field.name}"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its pictures."""
        return self.shape[2], self.shape[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of its pictures."""
        other = self.spec.source_shape if self.field.like == "source_shape" else None
        return other or self.spec.shape


class GivenText(Given):
    """Strings."""

    def each(self, value: Any) -> list[Any]:
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]

    def read(self, values: list[Any]) -> tuple[str, ...]:
        for value in values:
            if not isinstance(value, str):
                raise UsageError(f"{self.what} {value!r} is no text: give a string, or one for each picture")
        read = reader(self.spec) if self.field.name == "caption" else None
        return tuple(values) if read is None else tuple(map(read, values))

    def plain(self, value: Any) -> Any:
        return value[0]

    def again(self, plain: Any, given: Any) -> Any:
        if not isinstance(plain, str):
            raise DataError(f"this picture's record is damaged: its {self.field.name} is no text")
        return plain


class GivenClass(Given):
    """Classes by number or name; all of them in turn where none is given."""

    def each(self, value: Any) -> list[Any]:
        if isinstance(value, (Tensor, np.ndarray)):
            value = value.tolist()
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]

    def read(self, values: list[Any]) -> Tensor:
        return torch.tensor([self._number(value) for value in values])

    def absent(self, n: int) -> Tensor | None:
        return torch.arange(n) % self.spec.classes if self.spec.classes else None

    def plain(self, value: Any) -> Any:
        number = int(value[0])
        return {"number": number, "name": self.spec.class_names[number]}

    def again(self, plain: Any, given: Any) -> Any:
        match plain:
            case int() | {"number": int()} if not isinstance(plain, bool):
                number, names = plain if isinstance(plain, int) else plain["number"], self.spec.class_names
                return names[number] if 0 <= number < len(names) else number
            case _:
                raise DataError(f"this picture's record is damaged: its {self.field.name} is no class")

    def _called(self, value: int | str) -> int | None:
        """The class that a number means where all are called by numbers (folders 1 to 10): that of this name, from
        Python and in a command; None elsewhere."""
        names = self.spec.class_names
        called = [int(name) for name in names if name.isdecimal()]
        if len(called) < len(names) or called == list(range(len(names))):
            return None
        if not str(value).isdecimal() or int(value) not in called:
            raise UnknownName("class", str(value), names)
        return called.index(int(value))

    def _number(self, value: int | str) -> int:
        if (called := self._called(value)) is not None:
            return called
        names, classes = self.spec.class_names, self.spec.classes
        if isinstance(value, str) and value in names:
            return names.index(value)
        try:
            number = int(value) if isinstance(value, str) else index(value)
        except (ValueError, TypeError):
            listed = ", ".join(f"{k} {name}" for k, name in enumerate(names[:CLASSES]))
            more = f" and {classes - CLASSES} more" if classes > CLASSES else ""
            raise UnknownName("class", str(value), names, all_known=f"the classes are {listed}{more}") from None
        if not 0 <= number < classes:
            raise UsageError(
                f"{self.field.name} {number} is outside the {classes} classes of '{self.model}' (0 to {classes - 1})"
            )
        return number


class Shown(Given):
    """What is given as pictures: their hashes go into a record, and they must be given again to replay it."""

    axes = 3  # of one picture in an array or a tensor

    def each(self, value: Any) -> list[Any]:
        match value:
            case Pictures():
                return list(value.tensor)
            case np.ndarray() | Tensor() if value.ndim > self.axes:
                return list(value)
            case str() | Path() | Image.Image() | np.ndarray() | Tensor():
                return [value]
            case Sequence():
                return list(value)
            case _:
                raise UsageError(f"{self.what} is a {type(value).__name__}: give a path, a Pillow picture, an array "
                                 "or a tensor, or one for each picture")  # fmt: skip

    def read(self, values: list[Any]) -> Tensor:
        return torch.stack([self.one(value, self.label(value)) for value in values])

    def cut(self, values: list[Any]) -> tuple[str, ...]:
        """A sentence for each of ``values`` of other proportions than are wanted, of which much is cut off."""
        found = []
        for part in (part for value in values for part in self._parts(value)):
            if not isinstance(part, (str, Path, Image.Image)):  # numbers of a program, which knows their shape
                continue
            (width, height), (w, h) = size_of(part, self.label(part)), self.size
            kept = min(width * h, height * w) / max(width * h, height * w)
            if kept <= WHOLE:
                found.append(
                    f"of {self.label(part)} the middle is taken, {kept:.0%} of it: it has {width}x{height} pixels, and "
                    f"{w}x{h} are drawn"
                )
        return tuple(found)

    def _parts(self, value: Any) -> list[Any]:
        """The pictures that one is made of."""
        return [value]

    @abstractmethod
    def one(self, value: Any, what: str) -> Tensor:
        """One picture, as the field holds it."""

    def label(self, value: Any) -> str:
        """One picture as errors name it."""
        return f"{self.what} {value}" if isinstance(value, (str, Path)) else self.what

    def plain(self, value: Any) -> Any:
        return {"sha256": sha256_of(value[0]), "size": [value.shape[-1], value.shape[-2]]}

    def again(self, plain: Any, given: Any) -> Any:
        if given is None:
            name = self.field.name
            raise Unsupported(
                f"this picture was made from a {name}, of which its record holds no more than the hash: "
                f"give it again ({self.field.option} FILE)"
            )
        return given


def parts_in(folder: Path) -> list[Path]:
    """The pictures in a folder that are parts of one, such as frames of a film, in natural order: 2 before 10."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(found, key=lambda path: natural_key(path.name))


class GivenPicture(Shown):
    """Pictures, each perhaps of several that lie one after another in the channels.

    Those are a sequence in Python; a folder of nothing else, or names with commas between them, in either place.
    """

    def one(self, value: Any, what: str) -> Tensor:
        parts = self._parts(value)
        channels = self.shape[0]
        if len(parts) > 1 and channels % len(parts) == 0:
            each = channels // len(parts)
            return torch.cat([picture_of(part, each, self.size, self.label(part)) for part in parts])
        if len(parts) != 1:
            raise UsageError(
                f"{what} is {len(parts)} pictures for {channels} channels: give "
                + (f"{channels // 3} in colour or {channels} in grey" if channels > 3 and channels % 3 == 0
                   else f"{channels} in grey" if channels != 3 else "one, or 3 in grey")
                + " (for several pictures to make, give each by itself)"
            )  # fmt: skip
        return picture_of(parts[0], channels, self.size, self.label(parts[0]))

    def _parts(self, value: Any) -> list[Any]:
        match value:
            case str() | Path() if Path(value).is_dir():
                return parts_in(Path(value))
            case str() if "," in value and not Path(value).exists():
                return [part.strip() for part in value.split(",")]
            case list() | tuple():
                return list(value)
            case _:
                return [value]


class GivenMask(Shown):
    """Masks."""

    def one(self, value: Any, what: str) -> Tensor:
        return mask_of(value, self.size, what)


class GivenClassMap(Shown):
    """A class for every pixel."""

    axes = 2

    def one(self, value: Any, what: str) -> Tensor:
        if not self.spec.layout_names:
            raise Unsupported(f"'{self.model}' does not say which classes a {self.field.name} has: train it on data "
                              "that give them")  # fmt: skip
        return layout_of(value, self.size, self.spec.layout_names, what)


class GivenFactors(Given):
    """The value of every factor: numbers in order, or by name; as text ``time=1,shape=3``."""

    def each(self, value: Any) -> list[Any]:
        match value:
            case str() | Mapping():
                return [value]
            case Tensor() | np.ndarray():
                return [row.tolist() for row in (value if value.ndim > 1 else value[None])]
            case _ if all(isinstance(x, int) for x in value):
                return [list(value)]
            case _:
                return list(value)

    def read(self, values: list[Any]) -> Tensor:
        return torch.tensor([self._row(value) for value in values])

    def plain(self, value: Any) -> Any:
        return {name: int(x) for (name, _), x in zip(self.spec.factors, value[0], strict=True)}

    def again(self, plain: Any, given: Any) -> Any:
        if not isinstance(plain, Mapping):
            raise DataError(f"this picture's record is damaged: its {self.field.name} have no names")
        return plain

    def _row(self, value: Any) -> list[int]:
        if isinstance(value, str):
            value = dict(part.partition("=")[::2] for part in value.replace(" ", "").split(","))
        names = [name for name, _ in self.spec.factors]
        if not isinstance(value, Mapping):
            value = dict(zip(names, value, strict=False)) if len(value) == len(names) else {}
        for name in value:
            if name not in names:
                raise UnknownName(f"factor of '{self.model}'", str(name), names)
        wanted = ", ".join(f"{name} (0 to {count - 1})" for name, count in self.spec.factors)
        try:
            row = [int(value[name]) for name in names]
        except (KeyError, ValueError):
            raise UsageError(f"{self.what} want a whole number for each of: {wanted}") from None
        if any(not 0 <= x < count for x, (_, count) in zip(row, self.spec.factors, strict=True)):
            raise UsageError(f"{self.what} {row} are out of range: {wanted}")
        return row


GIVEN: Mapping[FieldKind, type[Given]] = {
    "text": GivenText,
    "class": GivenClass,
    "picture": GivenPicture,
    "mask": GivenMask,
    "class map": GivenClassMap,
    "factors": GivenFactors,
}


def given(name: str, spec: DataSpec, model: str) -> Given:
    """How the field ``name`` is given to ``model``."""
    return GIVEN[FIELDS[name].kind](FIELDS[name], spec, model)


def condition_of(
    model: str, spec: DataSpec, takes: frozenset[str], optional: frozenset[str], n: int, asked: Mapping[str, Any]
) -> Condition:
    """The condition of ``n`` pictures from what a user gave for the fields that ``model`` ``takes``.

    Raises :class:`UsageError` for a field that is missing, given a wrong number of times, or cannot be read.
    """
    values: dict[str, Any] = {}
    for name in sorted(takes):
        way = given(name, spec, model)
        if asked.get(name) is None:
            values[name] = way.absent(n)
            if values[name] is None and name not in optional:
                raise UsageError(f"'{model}' needs a {name}: give it ({way.field.option} {way.field.metavar}): "
                                 f"{way.field.meaning}")  # fmt: skip
            continue
        each = way.each(asked[name])
        if len(each) not in (1, n):
            raise UsageError(f"{len(each)} values of {name} for {n} pictures: give one, or one for each")
        values[name] = way.read(each)
    both = asked.get("mask") is not None and asked.get("source") is not None and {"mask", "source"} <= takes
    if both and (spec.source_shape is None or spec.source_shape[1:] == spec.shape[1:]):
        must_lie_on(given("mask", spec, model), given("source", spec, model), asked)
    return Condition(**values).expand(n)


def must_lie_on(masks: Given, sources: Given, asked: Mapping[str, Any]) -> None:
    """Refuse a mask whose proportions are not those of its source: both are cut to the model's, each by itself."""
    for mask, source in zip(masks.each(asked["mask"]), sources.each(asked["source"]), strict=False):
        if isinstance(source, (str, Path)) and not Path(source).is_file():
            continue  # several pictures
        if isinstance(source, (list, tuple)):
            continue
        (width, height), (wide, high) = _sides(mask, masks), _sides(source, sources)
        if width * high != height * wide:
            raise UsageError(
                f"the mask is {width}x{height} pixels and the source {wide}x{high}: give a mask of the source's size"
            )


def must_mark(mask: Tensor) -> None:
    """Refuse masks ``(B, 1, H, W)`` of which one leaves nothing to be made: everything would stay as it was."""
    if not mask.flatten(1).any(1).all():
        raise UsageError("the mask marks nothing: make it light, or transparent, where the picture is to be made")


def _sides(value: Any, way: Given) -> tuple[int, int]:
    """Width and height of what was given."""
    match value:
        case np.ndarray():
            return value.shape[1], value.shape[0]
        case Tensor():
            return value.shape[-1], value.shape[-2]
        case _:
            return size_of(value, way.what)


def plain_of(condition: Condition, spec: DataSpec, model: str) -> dict[str, Any]:
    """The condition of one picture as its record has it."""
    return {name: given(name, spec, model).plain(getattr(condition, name)) for name in sorted(condition.given)}


def again(recorded: Mapping[str, Any], spec: DataSpec, model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a user would give to have what a record holds; ``asked`` are the pictures that it does not hold."""
    unknown = sorted(set(recorded) - set(FIELDS))
    if unknown:
        raise Unsupported(
            f"this picture's record holds {', '.join(unknown)}: only pictures of zeuxis sample are replayed"
        )
    for name in asked:
        if name not in recorded:
            raise UsageError(f"this picture was made without a {name}: leave {FIELDS[name].option} out")
    return {name: given(name, spec, model).again(plain, asked.get(name)) for name, plain in recorded.items()}


def changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of a condition is not as a record of this or an older version has it, one sentence each."""
    found = []
    for name, before in recorded.items():
        match FIELDS[name].kind, before, now[name]:
            case "class", int(), {"number": number} if number == before:
                pass
            case "picture" | "mask" | "class map", str(), _:
                found.append(f"the {name} cannot be checked: the record, of an older version, holds no hash of it")
            case _ if before != now[name]:
                found.append(f"the {name} was {before}, is {now[name]}")
    return found
