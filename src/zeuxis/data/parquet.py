"""Parquet files as plain rows. pyarrow reads them, and belongs to the extra ``data``.

A file is read from its first row group to its last, a few rows at a time: memory holds one page of each column (some
MB as files are usually written), however large the file is. What lies in a damaged row group is lost, and no more.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zeuxis.data.refused import LFS
from zeuxis.errors import DataError, UsageError

AT_ONCE = 64  # rows in memory
AT_ONCE_BYTES = 64 << 20  # of rows in memory, if each were as large as all of its row group
BUFFER = 1 << 20  # bytes that are read at a time
MOST_ROWS = 50_000_000  # of a file: it is its word that is taken for their number
ColumnKind = Literal["image", "integer", "real", "text", "other"]


@dataclass(frozen=True)
class Column:
    """A column, by its type, what it may be used for."""

    name: str
    kind: ColumnKind
    class_names: tuple[str, ...] = ()  # of integers that number classes, where the file names them


@dataclass(frozen=True)
class LostRow:
    """A row that cannot be read, and why."""

    reason: str


def require_pyarrow(what: str = "datasets of the hub are") -> None:
    """Raise :class:`UsageError` where pyarrow is not installed; ``what`` needs it."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"{what} read with pyarrow, which is not installed: pip install pyarrow")


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
        of_list = pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
        kind: ColumnKind = "other"
        if feature.get("_type") == "Image" or _holds_files(field.type):
            kind = "image"
        elif pa.types.is_integer(_values(field.type)) or pa.types.is_boolean(_values(field.type)):
            kind = "integer"
        elif pa.types.is_floating(_values(field.type)):
            kind = "real"
        elif _is_text(_values(field.type)) or (of_list and _is_text(field.type.value_type)):
            kind = "text"
        found.append(Column(field.name, kind, tuple(map(str, names)) if isinstance(names, list) else ()))
    return found


def _values(kind: Any) -> Any:
    """The type of what a column holds, where it is kept as numbers in a list of all values (categories of pandas)."""
    import pyarrow as pa  # noqa: PLC0415

    return kind.value_type if pa.types.is_dictionary(kind) else kind


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
    except (ValueError, KeyError, TypeError, RecursionError):  # a convenience: the types of the columns remain
        return {}
    return found if isinstance(found, dict) else {}


def rows(path: Path, wanted: Sequence[str]) -> Iterator[Mapping[str, Any] | LostRow]:
    """The rows of a file as plain values, with those of the columns ``wanted`` that it has.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    with file:
        if (n := file.metadata.num_rows) > MOST_ROWS:
            raise DataError(f"'{path}' says that it has {n:,} rows: at most {MOST_ROWS:,} are read, divide it")
        for number in range(file.num_row_groups):
            group, read = file.metadata.row_group(number), 0
            try:
                for batch in file.iter_batches(_at_once(group, wanted), row_groups=[number], columns=list(wanted)):
                    yield from _plain(batch)
                    read += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                lost = LostRow(f"row group {number} of '{path.name}' is damaged: {' '.join(str(error).split())[:200]}")
                yield from (lost for _ in range(read, group.num_rows))


def _plain(batch: Any) -> Iterator[Mapping[str, Any] | LostRow]:
    """The rows of a batch; a text that is none costs its own row."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # before any was given
        if batch.num_rows > 1:
            for k in range(batch.num_rows):
                yield from _plain(batch.slice(k, 1))
        else:
            yield LostRow("its text is not UTF-8")


def _at_once(group: Any, wanted: Sequence[str]) -> int:
    """How many rows to have in memory: a value may be as large as all that is kept of its column."""
    kept = (group.column(k) for k in range(group.num_columns))
    read = (one.total_uncompressed_size for one in kept if one.path_in_schema.partition(".")[0] in wanted)
    most = max(read, default=0)
    return max(1, min(AT_ONCE, AT_ONCE_BYTES // max(1, most)))


def _damaged(path: Path, error: Exception) -> DataError:
    why = " ".join(str(error).split())
    if _start(path) == LFS:
        return DataError(f"'{path}' is a pointer of Git LFS and not the table itself: git lfs pull fetches it")
    return DataError(f"'{path}' cannot be read as Parquet ({why}): delete it and get it again")


def _start(path: Path) -> bytes:
    """How a file begins, as far as that can be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS))
    except OSError:
        return b""
