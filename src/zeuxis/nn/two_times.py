"""A network that is told of two times: that of its picture, and one more, such as how far a step of it shall reach."""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.embed import TimeEmbedding


class TwoTimes(nn.Module):
    """``network`` with the second time embedded as the first is, and added to the vector that it takes."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network
        self.second = TimeEmbedding(network.vector_width)

    def forward(self, x: Tensor, time: Tensor, other: Tensor, vector: Tensor | None = None, **rest: Tensor) -> Tensor:
        """As :class:`Backbone` says; both times are ``(B,)``, on one scale: what is embedded is a step of 1 of it."""
        told = self.second(other)  # (B, D)
        out: Tensor = self.network(x, time, told if vector is None else told + vector, **rest)
        return out
