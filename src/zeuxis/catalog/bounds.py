"""How much a model's card may ask for: what its file can fill, and no more. A card may come from anyone.

What a constructor is about to make is looked at on the meta device, where it has a shape and takes no memory, and is
refused there where the file holds nothing of that size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from zeuxis.errors import WeightsError
from zeuxis.spec import MOST_SIDE

MOST_NUMBER = 1 << 22  # a whole number among the arguments: a width, a count of steps
MOST_VALUES = 1 << 20  # in lists and tables, vocabularies among them
MOST_DEPTH = 32  # of tables and lists in one another
ROOM = 1 << 24  # numbers of a tensor that no file holds: masks, positions, schedules
WORK = 20_000  # tensors that a constructor may make, beside those of its file
AGAIN = 4  # times as many numbers as the file holds, with what is made and let go
JOINS = (torch.ops.aten.cat, torch.ops.aten.stack)  # which make as many numbers as they are given


def check_card(card: Mapping[str, Any], where: Path) -> None:
    """Refuse a card whose arguments are not such as a model has; raises :class:`WeightsError`."""
    config, spec = card.get("config"), card.get("spec")
    if not isinstance(card.get("system"), str) or not isinstance(config, Mapping) or not isinstance(spec, Mapping):
        raise WeightsError(f"the card in {where} is damaged: it has no system, config and spec")
    count = _check(config, "", where, 0) + _check(spec, "", where, 0)
    if count > MOST_VALUES:
        raise WeightsError(f"the card in {where} holds {count:,} values, and at most {MOST_VALUES:,} are read")
    for name in ("shape", "source_shape"):
        shape = spec.get(name)
        if shape is None and name != "shape":
            continue
        if not isinstance(shape, (list, tuple)) or len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
            raise WeightsError(f"the card in {where} is damaged: its {name} is not channels, rows and columns")
        if max(shape[1:]) > MOST_SIDE or math.prod(shape) > ROOM * 4:
            raise WeightsError(
                f"the card in {where} speaks of pictures of {shape}: at most {MOST_SIDE} a side are made"
            )


def _check(value: Any, name: str, where: Path, depth: int) -> int:
    """How many values ``value`` holds; refuses numbers that are too large, and what is nested too deeply."""
    if depth > MOST_DEPTH:
        raise WeightsError(f"the card in {where} is nested in more than {MOST_DEPTH} levels")
    match value:
        case bool() | str() | None:
            return 1
        case int() if abs(value) > MOST_NUMBER and not name.endswith("seed"):
            raise WeightsError(
                f"the card in {where} has {name or 'a number'} {value:.3g}: at most {MOST_NUMBER:,} is taken"
            )
        case Mapping():
            return sum(_check(each, str(key), where, depth + 1) for key, each in value.items())
        case list() | tuple():
            return 1 + sum(_check(each, name, where, depth + 1) for each in value)
        case _:
            return 1


class Allowance(TorchDispatchMode):
    """Within this context nothing is made that a file of ``tensors`` cannot account for.

    Raises :class:`WeightsError` before memory is taken; ``what`` begins the message.
    """

    def __init__(self, tensors: Mapping[str, Tensor], what: str) -> None:
        super().__init__()
        sizes = [tensor.numel() for tensor in tensors.values()]
        self.largest = max(ROOM, 2 * max([0, *sizes]))  # twice: the row and the column of every number of a triangle
        self.numbers = AGAIN * (sum(sizes) + 2 * ROOM)
        self.works = WORK + 2 * AGAIN * len(sizes)
        self.what = what

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to keep torch.compile away from here torch would import all of that, a second for every model."""
        return False

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        self.works -= 1
        if self.works < 0:
            raise WeightsError(f"{self.what} asks for more work than its file is worth: the card does not fit it")
        for shape in self._large(func, args, given):
            raise WeightsError(
                f"{self.what} asks for a tensor of {tuple(shape)}, and its file holds none so large: the card does not "
                "fit it"
            )
        made = func(*args, **given)
        if not func._schema.is_mutable:  # type: ignore[attr-defined]
            self.numbers -= sum(t.numel() for t in tree_leaves(made) if isinstance(t, Tensor) and not t.is_meta)
            if self.numbers < 0:
                raise WeightsError(f"{self.what} asks for more numbers than its file holds: the card does not fit it")
        return made

    def _large(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Size]:
        """The shapes of what ``func`` would make and must not."""
        leaves = tree_leaves((args, kwargs))
        sizes = [leaf.numel() for leaf in leaves if isinstance(leaf, Tensor)]
        counts = [abs(leaf) for leaf in leaves if type(leaf) is int]
        if func.overloadpacket is torch.ops.aten.eye:  # the one that makes the square of what it is given
            counts += counts[:1]
        # No operation makes more numbers than this: most are known to be harmless without a look at their result.
        most = sum(sizes) if func.overloadpacket in JOINS else math.prod(max(1, n) for n in (*sizes, *counts))
        if func._schema.is_mutable or most <= self.largest:
            return []
        return [tensor.shape for tensor in _made(func, args, kwargs) if tensor.numel() > self.largest]


def _made(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """What ``func`` would make, on the meta device, where it takes no memory."""
    moved, named = tree_map(_to_meta, (args, dict(kwargs)))
    if any(argument.name == "device" for argument in func._schema.arguments):
        named["device"] = torch.device("meta")
    named.pop("pin_memory", None)
    try:
        made = func(*moved, **named)
    except (RuntimeError, TypeError, ValueError, IndexError):  # it looks at the numbers themselves, so it makes few
        return []
    return [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]


def _to_meta(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
