"""In what precision networks compute, and the scaling of losses that float16 needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from zeuxis.errors import lookup

Precision = Literal["float32", "bfloat16", "float16"]
HALVES: Mapping[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}

PRECISIONS: Mapping[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}


def precision_of(name: str) -> Precision:
    """The precision called ``name``; UnknownName for another."""
    return lookup("precision", name, PRECISIONS)


def autocast(device: torch.device | str, precision: Precision) -> torch.autocast:
    """A context in which matrices are multiplied in ``precision``, whatever the weights are kept in."""
    dtype = HALVES.get(precision)
    return torch.autocast(torch.device(device).type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


class Scaler:
    """Scales one player's loss so that float16 gradients do not vanish (Micikevicius et al. 2017, arXiv:1710.03740).

    The scale halves when a gradient overflows, and doubles after 2,000 steps in a row without an overflow.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.scaler = torch.amp.GradScaler(torch.device(device).type)

    @property
    def scale(self) -> float:
        return float(self.scaler.get_scale())

    def __call__(self, loss: Tensor) -> Tensor:
        scaled: Tensor = self.scaler.scale(loss)
        return scaled

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale, in place."""
        self.scaler.unscale_(optimiser)

    def update(self) -> None:
        """What follows a step: the scale grows now and then."""
        self.scaler.update()

    def halve(self) -> None:
        """What follows a gradient that was not finite, or whose norm was not."""
        self.scaler.update(self.scale / 2)

    def state(self) -> dict[str, Tensor]:
        state = self.scaler.state_dict()
        return {
            "scale": torch.tensor(state["scale"], dtype=torch.float64),
            "growth": torch.tensor(state["_growth_tracker"]),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what :meth:`state` returned; nothing, where the checkpoint is of a training without a scaler."""
        if state:
            growth = {"scale": float(state["scale"]), "_growth_tracker": int(state["growth"])}
            self.scaler.load_state_dict({**self.scaler.state_dict(), **growth})
