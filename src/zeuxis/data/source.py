"""A source of examples: what every dataset, folder and world looks like to the rest of the house."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.data.ragged import Array as Array
from zeuxis.data.ragged import Bucket, View

Values = Array | Sequence[str]  # of a field of Condition, one per row
WORD = re.compile(r"\w+(?:[-']\w+)*")
FIELDS = frozenset(Condition.__dataclass_fields__)
HASHED_ROWS = 64  # images that a fingerprint reads


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and why; ``kind`` is one word for the reason."""

    path: str
    reason: str
    kind: str = attribute(default="left out", compare=False)


class Source(Protocol):
    """Indexed examples. ``batch`` is a pure function of the indices, so order and seeds live elsewhere.

    ``classes`` and ``class_names`` speak of ``label`` where it is given, otherwise of ``layout``;
    ``layout_names`` always of ``layout``, and is empty where none is given.
    ``words`` is the vocabulary of the captions and instructions; ``factors`` the names and sizes
    of the columns of ``Condition.factors``; ``provides`` the fields of ``Condition`` that a batch carries.
    ``shape`` is that of every picture, or where there are ``buckets`` that of the square which stands for them.
    """

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def classes(self) -> int: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def layout_names(self) -> tuple[str, ...]: ...
    @property
    def words(self) -> tuple[str, ...]: ...
    @property
    def factors(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def provides(self) -> frozenset[str]: ...
    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The files that should have been examples and could not be used."""
        ...

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The examples by the shape of their pictures; empty where all have one. A batch comes from one bucket."""
        ...

    def __len__(self) -> int: ...

    def at(self, epoch: int) -> Source:
        """What epoch ``epoch`` meets: the same examples, cut anew where that is asked for."""
        ...

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (int64 ``(B,)``, each in [0, len)) with images in [-1, 1]."""
        ...

    def pixels(self, index: Tensor) -> Batch:
        """The same as ``batch``, with pictures left in uint8 where they are kept so: ``Batch.floats`` converts them."""
        ...

    def told(self, factors: Tensor) -> Tensor:
        """``factors`` (B, F) with -1 wherever a caption leaves the value open: what a picture drawn from it owes."""
        ...

    def fingerprint(self) -> str:
        """A short stable hash of what the source holds, for the records of measurements."""
        ...


class Outspoken:
    """A source whose captions, where it has any, leave no factor open, and whose pictures are made in float."""

    def pixels(self: Source, index: Tensor) -> Batch:
        return self.batch(index)

    def told(self, factors: Tensor) -> Tensor:
        return factors


class Steady(Outspoken):
    """What is true of most sources: one shape, and the same pictures in every epoch."""

    buckets: tuple[Bucket, ...] = ()

    def at(self, epoch: int) -> Self:
        return self


def _pixels(values: Array) -> Tensor:
    return torch.from_numpy(values)


def _integers(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


def _floats(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


AS_TENSOR: Mapping[str, Callable[[Array], Tensor]] = {
    "label": _integers,  # (N,)
    "source": _pixels,  # (N, C, H, W) uint8
    "style": _pixels,  # (N, C, H, W) uint8
    "mask": _floats,  # (N, 1, H, W) of 0 and 1
    "layout": _integers,  # (N, H, W)
    "factors": _integers,  # (N, F)
}
TEXTS = frozenset({"caption", "instruction"})


class ArraySource(Outspoken):
    """Examples held in arrays, or in memory-mapped files of them.

    Args:
        name: what records and messages call it.
        images: uint8 ``(N, C, H, W)``, or a view of pictures of several sizes (and then so are
            ``source`` and ``mask``).
        fields: per field of ``Condition``, its values for the same N rows: ``label (N,)``,
            ``source`` and ``style`` uint8 ``(N, C, H, W)``, ``mask (N, 1, H, W)`` of 0 and 1,
            ``layout (N, H, W)``, ``factors (N, F)``; ``caption`` and ``instruction`` N strings.
        class_names: names of the labels (of the layout's classes, where no label is given).
        factors: name and number of values of each column of ``factors``.
        rows: which rows make up this source (a split); all of them by default.
        skipped: files that should have been examples but could not be used.
        origin: where it is from, where that is a place and a version; part of the fingerprint.

    The vocabulary is that of all N rows, so that the splits of a dataset agree on it.
    """

    def __init__(
        self,
        name: str,
        images: Array | View,
        *,
        fields: Mapping[str, Values | View] | None = None,
        class_names: Sequence[str] = (),
        factors: Sequence[tuple[str, int]] = (),
        rows: Array | None = None,
        skipped: Sequence[Skipped] = (),
        origin: str = "",
    ) -> None:
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(f"source '{name}': images are {images.dtype} {images.shape}, want uint8 (N, C, H, W)")
        self.name = name
        self.images = images
        self.fields = dict(fields or {})
        for field, values in self.fields.items():
            if field not in FIELDS:
                raise ValueError(f"source '{name}': Condition has no field '{field}'")
            if len(values) != len(images):
                raise ValueError(f"source '{name}': {len(values)} values of '{field}' for {len(images)} images")
        self.shape = Shape(*images.shape[1:])
        self.class_names = tuple(class_names)
        self.classes = len(self.class_names)
        self.factors = tuple((n, int(k)) for n, k in factors)
        self.provides = frozenset(self.fields)
        self.skipped = tuple(skipped)
        self.origin = origin
        self.words = vocabulary(text for field in sorted(TEXTS & self.provides) for text in self._texts(field))
        self.rows = np.arange(len(images)) if rows is None else np.asarray(rows, np.int64)
        self.buckets = images.buckets(self.rows) if isinstance(images, View) else ()

    @cached_property
    def layout_names(self) -> tuple[str, ...]:
        """Names of the layout's classes: their numbers, where nothing better is known."""
        if "layout" not in self.fields:
            return ()
        if self.class_names and "label" not in self.fields:
            return self.class_names
        return tuple(str(k) for k in range(1 + int(np.max(np.asarray(self.fields["layout"])))))

    def __len__(self) -> int:
        return len(self.rows)

    def _texts(self, field: str) -> Iterable[str]:
        values = self.fields[field]
        return () if isinstance(values, View) else values

    def at(self, epoch: int) -> ArraySource:
        if not isinstance(self.images, View):
            return self
        seen = copy.copy(self)
        seen.images = self.images.at(epoch)
        seen.fields = {name: v.at(epoch) if isinstance(v, View) else v for name, v in self.fields.items()}
        return seen

    def batch(self, index: Tensor) -> Batch:
        return self.pixels(index).floats()

    def pixels(self, index: Tensor) -> Batch:
        rows = self.rows[index.numpy()]
        given: dict[str, Any] = {}
        for field, values in self.fields.items():
            if field in TEXTS:
                given[field] = tuple(str(values[r]) for r in rows)
            else:
                given[field] = AS_TENSOR[field](values[rows] if isinstance(values, View) else np.asarray(values)[rows])
        return Batch(_pixels(self.images[rows]), Condition(**given), index.clone())

    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of the length, the shape and 64 evenly spaced images, as they are kept."""
        digest = hashlib.sha256(f"{len(self)} {tuple(self.shape)}{self.origin}".encode())
        some = np.unique(np.linspace(0, max(0, len(self) - 1), min(HASHED_ROWS, len(self))).astype(np.int64))
        kept = self.images.pictures if isinstance(self.images, View) else self.images
        for row in self.rows[some]:
            digest.update(np.ascontiguousarray(kept[row]).tobytes())
        return digest.hexdigest()[:16]


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """The words of ``texts``, in lower case and alphabetical order, as `zeuxis.nn.text` tells words apart."""
    return tuple(sorted({word for text in texts for word in WORD.findall(text.lower())}))
