"""The two lines that every transformer here repeats: its four-fold MLP, and the modulation of a norm.

Axes: N tokens, D width.
"""

from __future__ import annotations

from torch import Tensor, nn


def mlp(width: int) -> nn.Sequential:
    """``(..., D)`` to the same, over 4 D, with the tanh approximation of GELU."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Steer normalised tokens ``x`` ``(B, N, D)`` by ``shift`` and ``scale`` ``(B, 1, D)`` (FiLM; adaLN in DiT)."""
    return x * (1 + scale) + shift
