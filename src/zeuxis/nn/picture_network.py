"""What all networks that make a picture of a picture say of themselves, so that tiles can be cut for them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Self

import torch
from torch import Tensor, nn

from zeuxis.nn.fidelity import COARSE, Fidelity

Tiles = Callable[[], Iterable[Tensor]]


class PictureNetwork(nn.Module, ABC):
    """Pictures ``(B, C, H, W)`` in [0, 1] of any size to pictures ``(B, C, scale H, scale W)``, about in [0, 1].

    ``reach`` is how far, in pixels of what it is given, a pixel of the result sees; ``floats`` about how many numbers
    live at a time for each pixel that it is given; ``step`` pixels a side are one where it is coarsest, and what it
    makes follows from where those squares begin. One that is ``masked`` is given one channel more, 1 where it is to
    make the picture and 0 where that stays. One that has a ``side`` takes no picture but those of as many pixels a
    side, each of one face, upright. One that draws says by ``drawn_at`` at how many rows and columns it learnt to.
    """

    channels: int
    scale: int
    reach: int
    floats: int
    step: int = 1
    masked: bool = False
    side: int | None = None
    drawn_at: tuple[int, int] | None = None

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The pictures that are made of ``x``."""

    def placed_on(self, device: str) -> Self:
        """Moved to the device, with the channels of a pixel side by side in memory: convolutions are quicker so."""
        return self.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def held_to(self, fidelity: Fidelity) -> PictureNetwork:
        """The same network, whose pictures stay nearer to what it is given."""
        return Faithful(self, fidelity)

    def seeded(self, seed: int) -> PictureNetwork:
        """The same network, whose draws begin at that seed; one that draws nothing is itself."""
        return self

    def placed_at(self, top: int, left: int) -> PictureNetwork:
        """The same network for the part of a picture that begins at that row and column; one that draws draws for it
        what it would there in the whole, and others are themselves."""
        return self

    def agreed(self, tiles: Tiles) -> PictureNetwork:
        """The same network for the tiles of one picture, of which it takes what belongs to the picture as a whole (its
        means) from all, where it takes any; ``tiles`` gives them, or some that speak for them, each time anew."""
        return self


class Faithful(PictureNetwork):
    """What ``network`` makes, drawn towards what agrees with the picture that it is given."""

    def __init__(self, network: PictureNetwork, fidelity: Fidelity) -> None:
        super().__init__()
        self.network, self.fidelity = network, fidelity
        self.channels, self.scale, self.floats = network.channels, network.scale, network.floats
        self.side, self.reach, self.step = network.side, network.reach + 2 * COARSE, math.lcm(network.step, COARSE)
        self.drawn_at = network.drawn_at

    def placed_at(self, top: int, left: int) -> PictureNetwork:
        return Faithful(self.network.placed_at(top, left), self.fidelity)

    def agreed(self, tiles: Tiles) -> PictureNetwork:
        return Faithful(self.network.agreed(tiles), self.fidelity)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.fidelity(self.network(x).float(), x.float())
        return made
