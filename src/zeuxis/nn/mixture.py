"""A network between two of its kind, parameter by parameter (Wang et al. 2018, ESRGAN, 1809.00219, section 3.4)."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def mixed(one: Net, other: Net, share: float) -> Net:
    """A copy of ``one`` whose parameters and buffers are moved to those of ``other`` by ``share``: 1 is ``other``."""
    found = copy.deepcopy(one)
    theirs = other.state_dict()
    with torch.no_grad():
        for name, value in found.state_dict().items():
            if value.is_floating_point():
                value.lerp_(theirs[name].to(value), share)
    return found
