"""What a request says, checked before it is queued: knobs, conditions, pictures. Imports no torch."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from zeuxis.conditions import FIELDS, Field
from zeuxis.errors import UsageError, lookup
from zeuxis.knobs import Sampling, checked
from zeuxis.studio.folders import Folders, is_picture, path_of, refs_of
from zeuxis.studio.limits import check_knobs
from zeuxis.studio.models import KnownModel

MOST_SEED = 2**32  # of those that are chosen here


def chosen_seed() -> int:
    """A seed for a request that names none."""
    return secrets.randbelow(MOST_SEED)


def checked_knobs(known: KnownModel, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs as the model takes them; raises for one that it lacks, or a value beyond its range."""
    check_knobs(knobs)
    return checked(f"'{known.name}'", known.knobs, Sampling(**knobs))


def check_condition(condition: Mapping[str, Any], n: int, folders: Folders) -> None:
    """Refuse a field that there is not, a value of another kind, and values for another number of pictures."""
    for name, value in condition.items():
        field = lookup("field of a condition", name, FIELDS)
        each = value if isinstance(value, list) else [value]
        if len(each) not in (1, n):
            raise UsageError(f"{len(each)} values of {name} for {n} pictures: give one, or one for each")
        for one in each:
            _check_kind(field, one)
        check_pictures(refs_of(value), folders)


def check_pictures(refs: Sequence[Any], folders: Folders) -> None:
    """Raise :class:`UsageError` where one of the pictures is not there."""
    for ref in refs:
        path_of(ref, folders)


def _check_kind(field: Field, value: Any) -> None:
    """Refuse a value of another kind; above all a text where a picture is wanted, which would be taken for a path."""
    match field.kind:
        case "picture" | "mask" | "class map":
            fits, wanted = is_picture(value), "a picture: upload it first"
        case "text":
            fits, wanted = isinstance(value, str), "a text"
        case "class":
            fits, wanted = isinstance(value, (int, str)), "a class, by number or name"
        case "factors":
            fits, wanted = isinstance(value, dict) and not is_picture(value), "a number for each factor, by name"
    if not fits:
        raise UsageError(f"{field.name}: give {wanted}")
