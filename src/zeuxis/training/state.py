"""The stateful parts of a training, each named once: what :func:`tensors_of` writes, :func:`restore` reads back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from zeuxis.errors import WeightsError

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Part:
    """Something with a state of named tensors; ``""`` may be the name of the only one."""

    name: str
    state: Callable[[], Tensors]
    restore: Callable[[Tensors], None]


def tensors_of(parts: Sequence[Part]) -> Tensors:
    """The tensors of all parts, as ``<part>/<name>``."""
    return {_key(part.name, name): tensor for part in parts for name, tensor in part.state().items()}


def restore(parts: Sequence[Part], tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`tensors_of` returned, part by part in their order.

    Raises:
        WeightsError: the tensors hold something that belongs to no part.
    """
    left = dict(tensors)
    for part in parts:
        mine = {k: left.pop(k) for k in tuple(left) if k == part.name or k.startswith(f"{part.name}/")}
        part.restore({k.removeprefix(part.name).removeprefix("/"): tensor for k, tensor in mine.items()})
    if left:
        raise WeightsError(
            f"the checkpoint holds '{next(iter(left))}', which this training has not: "
            "use the recipe that it was trained with"
        )


def _key(part: str, name: str) -> str:
    return f"{part}/{name}" if name else part
