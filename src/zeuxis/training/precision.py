"""In what precision networks compute, and the scaling of losses that float16 needs.

``auto`` is bfloat16 where the processor has instructions by which networks train faster in it, and float32 elsewhere:
with none bfloat16 takes four times as long or more, for every product is converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from zeuxis.errors import lookup
from zeuxis.training.processor import processor

Precision = Literal["float32", "bfloat16", "float16"]
HALVES: Mapping[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}

PRECISIONS: Mapping[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """What ``auto`` comes to on a device, and why."""

    precision: Precision
    why: str


def precision_of(name: str | torch.dtype, device: torch.device | str) -> Precision:
    """The precision called ``name``, or what ``auto`` comes to on ``device``; UnknownName for another."""
    return lookup("precision", str(name).removeprefix("torch."), {AUTO: chosen(device).precision, **PRECISIONS})


def chosen(device: torch.device | str) -> Choice:
    """bfloat16 where ``device`` computes it faster. Asked, not timed: a busy machine must not choose another."""
    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Choice("bfloat16" if native else "float32", f"the GPU has {'' if native else 'no '}bfloat16 of its own")
    if kind != "cpu":
        return Choice("float32", f"nothing is known of bfloat16 on {kind}")
    found = processor().bfloat16
    if found is None:
        return Choice("float32", "the processor tells of no instructions by which bfloat16 is faster")
    return Choice("bfloat16", f"the processor has {found}, by which it is faster")


@cache
def cache_is_sound() -> bool:
    """Whether a weight that autocast first meets without gradients has one where it is met with them. Asked, not timed.

    Older versions of torch (up to 2.10 at least) keep the weight as it was cast first, for the whole context: of a loss
    that asks a network for its own target, nothing would be learnt (pytorch/pytorch#112583).
    """
    with torch.inference_mode(False), torch.enable_grad():
        x, weight = torch.ones(1, 1), torch.ones(1, 1, requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                linear(x, weight)
            return linear(x, weight).requires_grad


def autocast(device: torch.device | str, precision: Precision) -> AbstractContextManager[object]:
    """A context in which matrices are multiplied in ``precision``, whatever the weights are kept in.

    Weights are cast once in it, but for where gradients are recorded and that would lose them.
    """
    dtype = HALVES.get(precision)
    if dtype is None:
        return nullcontext()
    once = not torch.is_grad_enabled() or cache_is_sound()
    return torch.autocast(torch.device(device).type, dtype=dtype, cache_enabled=once)


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
        half = self.scale / 2
        self.scaler.update(half)
        self.restore({"scale": torch.tensor(half, dtype=torch.float64), "growth": torch.tensor(0)})  # counts anew

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
