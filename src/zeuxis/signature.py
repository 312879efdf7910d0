"""Functions whose keywords come from a table: their signature spells them out for help, notebooks and options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def taking(keywords: Mapping[str, Any]) -> Callable[[F], F]:
    """Let the ``**`` parameter of a function read as ``keywords``, name to annotation, each ``None`` by default."""

    def spelled(function: F) -> F:
        signature = inspect.signature(function, eval_str=True)  # names as text would not be looked up again
        kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        (rest,) = (p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD)
        added = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=v)
                 for k, v in keywords.items()]  # fmt: skip
        function.__dict__["__signature__"] = signature.replace(parameters=[*kept, *added])
        notes = {key: value for key, value in function.__annotations__.items() if key != rest}
        function.__annotations__ = {**notes, **keywords}
        return function

    return spelled
