"""Pictures of other worlds, as outliers: each a picture of some other distribution than the one that is learnt."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from zeuxis.data.library import WORLDS
from zeuxis.data.source import Source
from zeuxis.errors import UnknownName, UsageError
from zeuxis.rng import Rng
from zeuxis.spec import Shape


class Foreign:
    """Pictures of the worlds called ``names``, brought to ``shape``.

    Where the shape has more channels than a world, its pictures follow one another in the channels; where it has
    fewer, they are averaged.
    """

    def __init__(self, names: tuple[str, ...], shape: Shape) -> None:
        for name in names:
            if name not in WORLDS:
                raise UnknownName("world", name, WORLDS)
        if names and shape.height != shape.width:
            raise UsageError(f"worlds draw squares, not {shape.width}x{shape.height}: leave out foreign worlds")
        self.names, self.shape = names, shape

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The worlds, made when the first picture is asked for: who judges needs none."""
        return tuple(WORLDS[name](self.shape.height, "train") for name in self.names)

    def pictures(self, n: int, rng: Rng, device: torch.device | str = "cpu") -> Tensor:
        """``n`` pictures ``(n, C, H, W)`` in [-1, 1] of one world, drawn at random."""
        source = self.sources[int(rng.integers(len(self.sources), 1))]
        image = source.batch(rng.integers(len(source), n)).image.to(device)
        channels = self.shape.channels
        if image.shape[1] > channels:
            return image.unflatten(1, (channels, -1)).mean(2) if image.shape[1] % channels == 0 else image[:, :channels]
        return image.repeat(1, -(-channels // image.shape[1]), 1, 1)[:, :channels]
