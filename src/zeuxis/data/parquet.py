"""Parquet files as plain rows. pyarrow reads them, and belongs to the extra ``data``."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zeuxis.errors import DataError, UsageError

AT_ONCE = 64  # rows in memory
ColumnKind = Literal["image", "integer", "text", "other"]


@dataclass(frozen=True)
class Column:
    """A column, by its type, what it may be used for."""

    name: str
    kind: ColumnKind
    class_names: tuple[str, ...] = ()  # of integers that number classes, where the file names them


def require_pyarrow() -> None:
    """Raise :class:`UsageError` where pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("datasets of the hub are read with pyarrow, which is not installed: pip install pyarrow")


def columns(path: Path) -> list[Column]:
    """The columns of a file.

    Raises:
        DataError: it is no Parquet file.
    """
    import pyarrow as pa  # noqa: PLC0415  (an extra)
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    features = _features(schema.metadata or {})
    found = []
    for field in schema:
        feature = features.get(field.name)
        feature = feature if isinstance(feature, dict) else {}
        names = feature.get("names")
        kind: ColumnKind = "other"
        if feature.get("_type") == "Image" or _holds_files(field.type):
            kind = "image"
        elif pa.types.is_integer(field.type) or pa.types.is_boolean(field.type):
            kind = "integer"
        elif _is_text(field.type) or (pa.types.is_list(field.type) and _is_text(field.type.value_type)):
            kind = "text"
        found.append(Column(field.name, kind, tuple(map(str, names)) if isinstance(names, list) else ()))
    return found


def _is_text(kind: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _holds_files(kind: Any) -> bool:
    """Whether values are files: bytes, or the hub's pairs of ``bytes`` and ``path``."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_struct(kind):
        return "bytes" in [kind.field(k).name for k in range(kind.num_fields)]
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What the hub's own library noted of the columns; nothing where it noted nothing that can be read."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):  # notes are a convenience: the types of the columns remain
        return {}
    return found if isinstance(found, dict) else {}


def rows(path: Path, wanted: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of a file as plain values, with the columns ``wanted``.

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE, columns=list(wanted)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"'{path}' cannot be read as Parquet ({' '.join(str(error).split())}): delete it to fetch it again"
    )
