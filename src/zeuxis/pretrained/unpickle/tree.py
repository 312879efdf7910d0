"""The value of a pickle unfolded: its tensors by name, and everything else as JSON."""

from __future__ import annotations

import math
from typing import Any

from .bounds import MAX_DEPTH, MAX_ITEMS, MAX_NAME, MAX_TEXT, Refused
from .values import Array, Name, Opaque, Tensor

SOURCES = frozenset({"module_src", "build_module_src"})  # programs in the file, of which the length alone is told
# Levels of a pickled module that its state dict lacks, and of a network of dnnlib's.
PLUMBING = frozenset({"_modules", "_parameters", "_buffers", "components"})


def _named(value: Any) -> dict[str, Any] | None:
    """Variables of a network of dnnlib's by their names, if ``value`` is a list of such pairs."""
    pairs = value if isinstance(value, list) else []
    if not pairs or not all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in pairs):
        return None
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


class Tree:
    """A value unfolded: its tensors by dotted name, its other leaves as JSON, the names of what was not made."""

    def __init__(self, value: Any) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.unmade: set[str] = set()
        self.items = self.text = 0
        self.facts = self.walk(value, ())

    def walk(self, value: Any, path: tuple[str, ...]) -> Any:
        """The facts in ``value``; its tensors are put aside under ``path``."""
        self.items += 1
        if self.items > MAX_ITEMS or len(path) > MAX_DEPTH:
            bound = "MAX_ITEMS" if self.items > MAX_ITEMS else "MAX_DEPTH"
            raise Refused(f"it unfolds to more than {MAX_ITEMS:,} values or {MAX_DEPTH} levels (bound: {bound})")
        match value:
            case Tensor():
                name = ".".join(path) or "tensor"
                if len(name) > MAX_NAME:
                    raise Refused(f"the name of a tensor in it has more than {MAX_NAME} characters (bound: MAX_NAME)")
                self.write(len(name))
                if self.tensors.setdefault(name, value) is not value:
                    raise Refused(f"two tensors in it would be called '{name}'")
                return None
            case Array():
                return "<array>" if value.tensor is None else self.walk(value.tensor, path)
            case dict():
                return {self.spelt(k): self.walk(v, (*path, str(k))) for k, v in value.items()}
            case list() | tuple():
                return [self.walk(v, (*path, str(k))) for k, v in enumerate(value)]
            case Opaque():
                self.unmade.add(value.name)
                self.write(len(value.name))
                return {"object": value.name, "parts": [self.part(p, path) for p in value.parts]}
            case str():
                self.write(len(value))
                return value
            case bool() | None:
                return value
            case int() if abs(value) < 1 << 63:
                return value
            case float() if math.isfinite(value):
                return value
            case float():
                return str(value)
            case Name():
                return str(value)
            case bytes() | bytearray():
                return f"<{len(value)} bytes>"
            case _:
                return f"<{type(value).__name__.lower()}>"

    def part(self, part: Any, path: tuple[str, ...]) -> Any:
        """A part of an object that was not made: a pickled module's levels are left out of its tensors' names."""
        if not isinstance(part, dict):
            return self.walk(part, (*path, "parts"))
        found = {}
        for k, v in part.items():
            if k in SOURCES and isinstance(v, str):
                found[self.spelt(k)] = f"<{len(v)} characters>"
            else:
                named = _named(v) if k == "variables" else None
                found[self.spelt(k)] = self.walk(named or v, path if k in PLUMBING or named else (*path, str(k)))
        return found

    def spelt(self, key: Any) -> str:
        """A key as JSON has it."""
        text = str(key)
        self.write(len(text))
        return text

    def write(self, characters: int) -> None:
        """Account for text that is written down: a short file can name a long text over and over."""
        self.text += characters
        if self.text > MAX_TEXT:
            raise Refused(f"it unfolds to more than {MAX_TEXT >> 20} million characters of text (bound: MAX_TEXT)")
