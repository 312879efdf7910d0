"""What the kinds of layers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import torch
from torch import Tensor, nn

from zeuxis.errors import WeightsError
from zeuxis.nn.graph_network import Shape, told
from zeuxis.pretrained.ncnn_files import GraphLayer

T = TypeVar("T")
Numbers = Mapping[str, Tensor]
Shapes = tuple[Shape, ...]
Compute = Callable[["GraphLayer", Numbers], "Computed"]


def together(*shapes: Shape) -> Shapes:
    """Of what is computed number by number, where a side of 1 is as long as another's."""
    sides = [{shape[k] for shape in shapes} - {1} for k in range(3)]
    if any(len(side) > 1 for side in sides):
        raise WeightsError(f"{told(*shapes)} do not fit together")
    deep, high, wide = (max(side, default=1) for side in sides)
    return ((deep, high, wide),)


def of_channels(count: int) -> Callable[[Shape], Shapes]:
    """Of what has a number for each of so many channels, or one for all."""

    def shapes(given: Shape) -> Shapes:
        if count not in (1, given[0]):
            raise WeightsError(f"it has numbers for {count} channels")
        return (given,)

    return shapes


@dataclass(frozen=True)
class Computed:
    """A layer as a module; the rest as :class:`zeuxis.nn.graph_network.GraphStep` has it."""

    module: nn.Module
    shapes: Callable[..., Shapes] = together
    sees: int = 0
    grows: Fraction = Fraction(1)
    mean: bool = False


class Function(nn.Module):
    """A function without numbers of its own."""

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(*given)


def refusal(layer: GraphLayer, why: str) -> WeightsError:
    """The error that says what of a layer is not known."""
    return WeightsError(f"layer {layer.name} ({layer.kind}) {why}, which is not known here")


def chosen(layer: GraphLayer, key: int, known: Mapping[int, T], what: str, default: int = 0) -> T:
    """Which of ``known`` stands under ``key``; raises :class:`WeightsError` where none does."""
    found = layer.whole(key, default)
    if found not in known:
        raise refusal(layer, f"has {what} {found}")
    return known[found]


def must_take(layer: GraphLayer, count: int) -> None:
    """Raise :class:`WeightsError` unless a layer takes so many values."""
    if len(layer.inputs) != count:
        raise refusal(layer, f"takes {len(layer.inputs)} values in place of {count}")


def filled(weight: Tensor, bias: Tensor | None, make: Callable[[bool], nn.Module]) -> nn.Module:
    """A layer of torch's with these numbers; none are drawn for it."""
    with torch.device("meta"):
        module = make(bias is not None)
    module.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}), assign=True)
    return module.requires_grad_(False)
