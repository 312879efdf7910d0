"""From a table of a recipe, ``[model.network]`` or the like, to what it describes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zeuxis.errors import UnknownName, UsageError, lookup

Built = TypeVar("Built")


def build_table(
    key: str, what: str, table: Mapping[str, Any] | None, among: Mapping[str, Callable[..., Built]], *ends: Any
) -> Built:
    """What the table ``model.<key>`` describes: one of ``among`` by its ``kind``, the first where it names none, called
    with ``ends`` and the table's other keys.

    Raises :class:`UnknownName` for a kind of ``what`` that there is not, and for a key that the kind does not take.
    """
    if not isinstance(table or {}, Mapping):
        raise UsageError(f"model.{key} is a table, not '{table}': write model.{key}.kind = '{table}'")
    options = dict(table or {})
    kind = options.pop("kind", next(iter(among)))
    build = lookup(f"kind of {what}", kind, among)
    known = inspect.getfullargspec(build).kwonlyargs
    for name in options:
        if name not in known:
            raise UnknownName(f"key of [model.{key}] for kind '{kind}':", name, known)
    return build(*ends, **options)
