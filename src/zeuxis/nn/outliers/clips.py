"""Outliers of clips, whose frames lie one after another in the channels: each frame is right, their order is not."""

from __future__ import annotations

from torch import Tensor

from zeuxis.rng import Rng


class Clips:
    """Kinds of outliers of clips of ``frames`` frames."""

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def exchanged(self, image: Tensor, others: Tensor, rng: Rng) -> Tensor:
        """One frame is another clip's."""
        made, which = self._apart(image).clone(), int(rng.integers(self.frames, 1))
        made[:, which] = self._apart(others)[:, which]
        return made.flatten(1, 2)

    def begun_late(self, image: Tensor, others: Tensor, rng: Rng) -> Tensor:
        """The first frames follow the last."""
        return self._apart(image).roll(1 + int(rng.integers(self.frames - 1, 1)), 1).flatten(1, 2)

    def still(self, image: Tensor, others: Tensor, rng: Rng) -> Tensor:
        """One frame throughout."""
        which = int(rng.integers(self.frames, 1))
        return self._apart(image)[:, which : which + 1].expand(-1, self.frames, -1, -1, -1).flatten(1, 2)

    def _apart(self, image: Tensor) -> Tensor:
        """``(B, T, C, H, W)`` of T frames."""
        return image.unflatten(1, (self.frames, -1))
