"""A source of examples: what every dataset, folder and world is to the rest of the library.

In shapes, beside the letters of `zeuxis.batch`: N rows of arrays, F factors.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zeuxis import conditions
from zeuxis.batch import Batch, Condition
from zeuxis.conditions import FieldKind
from zeuxis.data.ragged import Array as Array
from zeuxis.data.ragged import Bucket, Ragged, View
from zeuxis.nn.words import words_of
from zeuxis.spec import DataSpec, Shape

Values = Array | Sequence[str]  # of a field of Condition, one per row
CONDITION_FIELDS = frozenset(Condition.__dataclass_fields__)
HASHED_ROWS = 64  # images that fingerprints of 0.1.0 read
HASHED_AT_ONCE = 1024  # rows


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and why; ``kind`` is one word for the reason."""

    path: str
    reason: str
    kind: str = attribute(default="left out", compare=False)

    @property
    def fault(self) -> bool:
        """Whether something is wrong with it: not where the layout left it out."""
        return self.kind not in CHOSEN and self.picture

    @property
    def picture(self) -> bool:
        """Whether it was meant as a picture."""
        return self.kind not in NO_PICTURES


def tally(said: str, used: int, out: Iterable[Skipped], rest: Iterable[Skipped] = ()) -> str:
    """The line that says how data were read (``said``), how many are used, and what is ``out`` or no picture at all."""
    kinds = [Counter(one.kind for one in each) for each in (out, rest)]
    not_used = [f"{n} {kind}" for each in kinds for kind, n in sorted(each.items())]
    return f"read as {said}: {used} used; not used: {', '.join(not_used) or 'none'}"


CHOSEN = frozenset({"stray", "unnamed", "beside", "repeated"})  # pictures that a layout has no place for
NO_PICTURES = frozenset({"hidden", "no picture", "archive", "table", "link", "text", "empty"})


class Source(ABC):
    """Indexed examples. ``batch`` is a pure function of the indices, so order and seeds live elsewhere.

    ``spec`` holds the facts of the data; its shape is that of every picture, or where there are ``buckets``
    that of the one which stands for them. ``skipped`` are the files that should have been examples and could not be
    used, ``ignored`` whatever else lies beside them; ``remarks`` say in a line each how a folder was read, and what is
    odd about it. ``buckets`` are the examples by the shape of their pictures, empty where all have one; a batch comes
    from one bucket.
    """

    name: str
    spec: DataSpec
    skipped: tuple[Skipped, ...] = ()
    ignored: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    paired: bool = True  # whether a source, where there is one, belongs to the image beside it
    sides: tuple[str, str] = ("source", "image")  # what the two of a pair are called

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (int64 ``(B,)``, each in [0, len)) with images in [-1, 1]."""

    def pixels(self, index: Tensor) -> Batch:
        """The same with pictures left in uint8 where they are kept so: ``Batch.floats`` converts them on a device."""
        return self.batch(index)

    @abstractmethod
    def fingerprint(self) -> str:
        """A short stable hash of all that the source holds, for the records of runs and of measurements."""

    def earlier_fingerprint(self) -> str:
        """What 0.1.0 recorded of the same data."""
        return self.fingerprint()

    def holds(self, recorded: str) -> bool:
        """Whether a run or a measurement that recorded the fingerprint ``recorded`` had these data."""
        return recorded in (self.fingerprint(), self.earlier_fingerprint())

    def at(self, epoch: int) -> Self:
        """The source as epoch ``epoch`` has it: the same examples, cut anew where that is asked for."""
        return self

    def labels(self) -> Tensor | None:
        """The classes of all examples, int64 ``(N,)``, where they are known without a picture being looked at."""
        return None

    def told(self, batch: Batch) -> tuple[str, ...] | None:
        """The captions of a batch of this source in the distribution that training captions have, in any split."""
        return batch.condition.caption

    def longest_caption(self) -> str:
        """That of the most words among its captions and those of its other splits; "" where that is not known."""
        return ""

    def collections(self) -> tuple[Source, Source] | None:
        """The sources and the images as data of their own, where no two of them belong together; else None."""
        return None

    def stated_factors(self, factors: Tensor) -> Tensor:
        """``factors`` (B, F) with -1 where their captions leave the value open; by default they leave none open."""
        return factors


def _pixels(values: Array) -> Tensor:
    return torch.from_numpy(values)


def _integers(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


def _floats(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


BY_KIND: Mapping[FieldKind, Callable[[Array], Tensor]] = {
    "class": _integers,  # (N,)
    "picture": _pixels,  # (N, C, H, W) uint8
    "mask": _floats,  # (N, 1, H, W) of 0 and 1
    "class map": _integers,  # (N, H, W)
    "factors": _integers,  # (N, F)
}
TEXTS = frozenset(name for name, field in conditions.FIELDS.items() if field.kind == "text")
AS_TENSOR = {name: BY_KIND[conditions.FIELDS[name].kind] for name in CONDITION_FIELDS - TEXTS}


class ArraySource(Source):
    """Examples held in arrays, or in memory-mapped files of them.

    Args:
        name: what records and messages call it.
        images: uint8 ``(N, C, H, W)``, or a view of pictures of several sizes (and then so are
            ``source`` and ``mask``).
        fields: per field of ``Condition``, its values for the same N rows: ``label (N,)``,
            ``source`` and ``style`` uint8 ``(N, C, H, W)``, ``mask (N, 1, H, W)`` of 0 and 1,
            ``layout (N, H, W)``, ``factors (N, F)``; ``caption`` and ``instruction`` N strings.
        class_names: names of the labels; their numbers, where nothing better is known.
        layout_names: names of the layout's classes; their numbers, where nothing better is known.
        factors: name and number of values of each column of ``factors``.
        frames: pictures in time that lie one after another in the images' channels.
        rows: which rows make up this source (a split); all of them by default.
        skipped: files that should have been examples but could not be used.
        origin: where it is from, where that is a place and a version; part of the fingerprint.
        content: :func:`content_hash` of the rows, where it is known already.

    The vocabulary is that of all N rows, so that the splits of a dataset agree on it.
    """

    def __init__(
        self,
        name: str,
        images: Array | View,
        *,
        fields: Mapping[str, Values | View] | None = None,
        class_names: Sequence[str] = (),
        layout_names: Sequence[str] = (),
        factors: Sequence[tuple[str, int]] = (),
        frames: int = 1,
        rows: Array | None = None,
        skipped: Sequence[Skipped] = (),
        origin: str = "",
        content: str | None = None,
    ) -> None:
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(f"source '{name}': images are {images.dtype} {images.shape}, want uint8 (N, C, H, W)")
        self.name = name
        self.images = images
        self.fields = dict(fields or {})
        for field, values in self.fields.items():
            if field not in CONDITION_FIELDS:
                raise ValueError(f"source '{name}': Condition has no field '{field}'")
            if len(values) != len(images):
                raise ValueError(f"source '{name}': {len(values)} values of '{field}' for {len(images)} images")
        self.skipped = tuple(skipped)
        self.origin, self.content = origin, content
        provides = frozenset(self.fields)
        self.spec = DataSpec(
            shape=Shape(*images.shape[1:]),
            source_shape=self._source_shape(),
            frames=frames,
            class_names=self._names("label", class_names),
            layout_names=self._names("layout", layout_names),
            words=vocabulary(text for field in sorted(TEXTS & provides) for text in self._texts(field)),
            factors=tuple((n, int(k)) for n, k in factors),
            provides=provides,
        )
        self.rows = np.arange(len(images)) if rows is None else np.asarray(rows, np.int64)
        self.buckets = images.buckets(self.rows) if isinstance(images, View) else ()

    def _source_shape(self) -> Shape | None:
        values = self.fields.get("source")
        return Shape(*values.shape[1:]) if isinstance(values, (np.ndarray, View)) else None

    def _names(self, field: str, given: Sequence[str]) -> tuple[str, ...]:
        """The names of the classes of ``field``."""
        if field not in self.fields:
            if given:
                raise ValueError(f"source '{self.name}': names of '{field}' without its values: give those as a field")
            return ()
        values = np.asarray(self.fields[field])
        return tuple(given) or tuple(str(k) for k in range(1 + int(values.max()) if values.size else 0))

    def __len__(self) -> int:
        return len(self.rows)

    def _texts(self, field: str) -> Iterable[str]:
        values = self.fields[field]
        return () if isinstance(values, View) else values

    def longest_caption(self) -> str:
        texts = self._texts("caption") if "caption" in self.fields else ()
        return max(map(str, texts), key=lambda text: len(words_of(text)), default="")

    def at(self, epoch: int) -> Self:
        if not isinstance(self.images, View):
            return self
        cut = copy.copy(self)
        cut.images = self.images.at(epoch)
        cut.fields = {name: v.at(epoch) if isinstance(v, View) else v for name, v in self.fields.items()}
        return cut

    def labels(self) -> Tensor | None:
        values = self.fields.get("label")
        return None if values is None or isinstance(values, View) else _integers(np.asarray(values)[self.rows])

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
        """SHA-256 (16 hex digits) of the shape, the classes and every byte of every example, as they are kept."""
        content = self.content or content_hash(self.images, self.fields, self.rows)
        facts = (len(self), tuple(self.spec.shape), self.spec.class_names, self.spec.layout_names, self.origin, content)
        return f"2-{hashlib.sha256(ascii(facts).encode()).hexdigest()[:16]}"

    def earlier_fingerprint(self) -> str:
        """Of the length, the shape and 64 evenly spaced images."""
        digest = hashlib.sha256(f"{len(self)} {tuple(self.spec.shape)}{self.origin}".encode())
        some = np.unique(np.linspace(0, max(0, len(self) - 1), min(HASHED_ROWS, len(self))).astype(np.int64))
        kept = self.images.pictures if isinstance(self.images, View) else self.images
        for row in self.rows[some]:
            digest.update(np.ascontiguousarray(kept[row]).tobytes())
        return digest.hexdigest()[:16]


def content_hash(images: Array | Ragged | View, fields: Mapping[str, Values | Ragged | View], rows: Array) -> str:
    """SHA-256 of all that the examples ``rows`` hold: every picture, every label, every caption."""
    digest = hashlib.sha256()
    for name, values in (("image", images), *sorted(fields.items())):
        kept = values.pictures if isinstance(values, View) else values
        digest.update(f"{name} {len(rows)} ".encode())
        if isinstance(kept, np.ndarray):
            digest.update(f"{kept.dtype.str} {kept.shape[1:]} ".encode())
            for start in range(0, len(rows), HASHED_AT_ONCE):
                digest.update(kept[rows[start : start + HASHED_AT_ONCE]].tobytes())
        elif isinstance(kept, Ragged):
            for row in rows:
                digest.update(f"{kept[row].shape} ".encode() + kept[row].tobytes())
        else:
            digest.update(ascii([str(kept[row]) for row in rows]).encode())
    return digest.hexdigest()


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """The words of ``texts`` (:func:`zeuxis.nn.words.words_of`), in alphabetical order."""
    return tuple(sorted({word for text in texts for word in words_of(text)}))
