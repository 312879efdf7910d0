"""Whether tensors that were read fit a system, and their way back into it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.game import System
from zeuxis.training.given import stored
from zeuxis.training.state import Tensors


def misfit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str | None:
    """Why ``tensors`` cannot take the place of ``own``, in a few words; None if they can."""
    for kind, names in (("lacks", own.keys() - tensors.keys()), ("has", tensors.keys() - own.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return f"it {kind} {min(names)}{more}"
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            return f"{name} is {tuple(tensors[name].shape)}, want {tuple(tensor.shape)}"
    return None


@torch.no_grad()
def put_back(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], what: str, mend: str) -> None:
    """Copy ``tensors`` into ``own``, in its types and on its devices.

    Raises:
        WeightsError: names or shapes differ; ``what`` and ``mend`` begin and end the message.
    """
    why = misfit(own, tensors)
    if why is not None:
        raise WeightsError(f"{what}: {why}; {mend}")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def without_given(system: System, tensors: Mapping[str, Tensor]) -> Tensors:
    """``tensors`` without what given systems hold: older checkpoints have copies of it."""
    elsewhere = system.state_dict().keys() - stored(system).keys()
    return {name: tensor for name, tensor in tensors.items() if name not in elsewhere}
