"""What is wrong with a request, in words: where, and what of a value that may be of several kinds.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from zeuxis.errors import UsageError

M = TypeVar("M", bound=BaseModel)
KINDS = frozenset(("bool", "int", "float", "str", "PictureRef", "PictureParts"))  # which pydantic puts into the place
OTHER_KIND = ("_type", "_parsing")  # how it ends its word for a value of another kind than the one it tried
OTHER_TABLE = ("missing", "extra_forbidden")  # its words for a table that was perhaps meant to be another
SHOULD = "Input should be "


class ParameterRefused(UsageError):
    """A parameter of one of the public APIs that cannot be had here."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


def read_as(kind: type[M], values: Mapping[str, Any]) -> M:
    """``values`` as a request of that kind; raises :class:`ParameterRefused`."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        where, message, _ = told(error.errors())
        raise ParameterRefused(where, f"{where}: {message}") from None


def told(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """Where the first fault is, what it is, and pydantic's word for it.

    A value that may be of several kinds was tried as each of them. Where it is of one of these and something else is
    wrong with it (too long, too large), that is the fault; otherwise all the kinds are named that it could be.
    """
    of_its_kind = [each for each in errors if not str(each["type"]).endswith(OTHER_KIND)]
    if of_its_kind:
        nearest = next((each for each in of_its_kind if each["type"] not in OTHER_TABLE), of_its_kind[0])
        return _place(nearest), _words(nearest), str(nearest["type"])
    first = errors[0]
    messages = dict.fromkeys(str(each["msg"]) for each in errors if _place(each) == _place(first))
    *others, last = [message.removeprefix(SHOULD) for message in messages]
    if not others or not all(message.startswith(SHOULD) for message in messages):
        return _place(first), _words(first), str(first["type"])
    return _place(first), f"{SHOULD}{', '.join(others)} or {last}", str(first["type"])


def _words(error: Mapping[str, Any]) -> str:
    """What pydantic, or one of our own checks, says of it."""
    text = str(error["msg"]).removeprefix("Value error, ")
    return "give a file, under its name" if text.startswith("Expected UploadFile") else text


def _place(error: Mapping[str, Any]) -> str:
    """The dotted name of the value, without the kinds that it was tried as."""
    names = [str(name) for name in error["loc"]]
    return ".".join(name for name in names if name.removeprefix("constrained-") not in KINDS and "[" not in name)
