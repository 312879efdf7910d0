"""A perceptron whose output i depends only on the inputs before i (Germain et al. 2015, "MADE", arXiv:1502.03509).

Every hidden unit has a degree m: it depends on the inputs 1..m, and outputs of numbers above m depend on it (Eq. 8
and 9). Output i can see its neighbour i - 1 by units of degree i - 1 alone: so a layer of fewer than d - 1 units loses
dependencies, however its degrees are chosen.

Axes: d inputs, H units of a hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.errors import UsageError, lookup


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are masked; ``mask`` is ``(outputs, inputs)`` of 0 and 1."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def cyclic(d: int, width: int) -> Tensor:
    """Degrees ``(H,)``: 1, 2, .. d - 1, 1, 2, ..; with fewer units the inputs past the last degree reach nothing."""
    return torch.arange(width) % max(1, d - 1) + 1


def even(d: int, width: int) -> Tensor:
    """The same where all degrees occur; with fewer units as many degrees, evenly spaced: neighbours alone are lost."""
    return cyclic(d, width) if width >= d - 1 else torch.linspace(1, d - 1, width).round().long()


DEGREES: Mapping[str, Callable[[int, int], Tensor]] = {"complete": cyclic, "even": even, "cyclic": cyclic}


def masks(d: int, widths: Sequence[int], degrees: str) -> list[Tensor]:
    """Bool ``(units, units below)`` of each layer, the last of them that of the outputs ``(d, H)``."""
    assign = lookup("degrees", degrees, DEGREES)
    numbers = torch.arange(1, d + 1)
    of_layers = [numbers, *(assign(d, width) for width in widths)]  # of the inputs, their own numbers
    hidden = [above[:, None] >= below for below, above in pairwise(of_layers)]  # Eq. 8
    return [*hidden, numbers[:, None] > of_layers[-1]]  # Eq. 9


def lost_share(d: int, layers: Sequence[Tensor]) -> float:
    """The share of pairs j < i of which output i does not depend on input j, by the product of the masks."""
    reached = torch.eye(d)
    for mask in layers:
        reached = (mask.float() @ reached).clamp(max=1)  # (units, d)
    pairs = d * (d - 1) // 2
    return 1 - float(reached.double().sum()) / pairs if pairs else 0.0


class MADE(nn.Module):
    """``(B, d)`` to ``outputs`` numbers for each of the d: ``(B, outputs, d)``, the i-th functions of x_1..x_{i-1}.

    With ``degrees`` "complete" a layer of fewer than d - 1 units is refused; "even" and "cyclic" do with fewer, and
    lose dependencies: see :func:`even` and :func:`cyclic`. The last layer begins at zero.
    """

    def __init__(self, d: int, outputs: int, *, widths: tuple[int, ...], degrees: str = "complete") -> None:
        super().__init__()
        self.outputs = outputs
        hidden = masks(d, widths, degrees)
        if degrees == "complete" and min(widths, default=d) < d - 1:
            lost, least = lost_share(d, hidden), lost_share(d, masks(d, widths, "even"))
            raise UsageError(
                f"widths {list(widths)} are fewer than the {d - 1} units that {d} numbers in a row need: {lost:.2%} of "
                f"the dependencies would be lost. Give widths of at least {d - 1}, or set degrees = 'even' to lose "
                f"{least:.2%}, between near numbers"
            )
        layers: list[nn.Module] = []
        for mask in hidden[:-1]:
            layers += [MaskedLinear(mask), nn.SiLU()]
        last = MaskedLinear(hidden[-1].repeat(outputs, 1))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out.unflatten(1, (self.outputs, -1))
