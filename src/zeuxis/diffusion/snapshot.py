"""A model's networks as they once were, kept beside it: the weaker guide of autoguidance.

Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", arXiv:2406.02507, where an earlier
snapshot of the same training is among the guides that serve.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn


class Snapshot(nn.ModuleList):
    """Copies of ``networks``, in their order; frozen by whoever owns them."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__(copy.deepcopy(network) for network in networks)

    def take(self, networks: Sequence[nn.Module]) -> None:
        """Become what ``networks``, of the same kinds, are now."""
        for mine, now in zip(self, networks, strict=True):
            mine.load_state_dict(now.state_dict())
