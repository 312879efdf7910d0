"""Training pictures varied in ways that leave them as good an example: flipped, turned, with their channels exchanged.

The symmetries of the square are what restorers are trained with since Timofte et al. 2016 ("Seven ways to improve
example-based single image super resolution", 1511.02228, section 3.1); exchanged channels are the RGB permutation of
Yoo et al. 2020 ("Rethinking data augmentation for image super-resolution", 2004.00448, section 3), by which a network
sees colours that its photographs have not. Systems that augment while they train (StyleGAN2-ADA, the flips of
diffusion models) do so by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.conditions import FIELDS, PICTURE_KINDS
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.pairing import PairedSource
from zeuxis.data.source import Source
from zeuxis.data.varied import VariedSource
from zeuxis.errors import UsageError
from zeuxis.rng import derive_seed
from zeuxis.spec import Augmentation

SAID = frozenset({"caption", "instruction", "factors"})  # fields that may say left, right, above and red


def augmented(source: Source, kinds: Sequence[Augmentation]) -> Source:
    """``source`` with its pictures varied anew in every epoch, before whatever degrades them or draws their
    sources; itself without ``kinds``.

    Raises UsageError where the pictures cannot be varied so, or what comes with them would no longer be true.
    """
    if not kinds:
        return source
    if isinstance(source, DegradedSource):
        return DegradedSource(augmented(source.clean, kinds), source.degradation, source.split)
    if isinstance(source, PairedSource):  # a layout is drawn afterwards: its colours are its classes'
        return PairedSource(augmented(source.clean, kinds), source.pairing)
    return AugmentedSource(source, kinds)


class AugmentedSource(VariedSource):
    """``clean``'s examples, each varied in one way of every kind; all pictures of an example alike.

    Which way follows from the epoch and the example.

    Args:
        clean: what is varied.
        kinds: "flips" (from left to right), "turns" (also by quarters: the eight symmetries of a square), "channels"
            (red, green and blue in any of their six orders).
    """

    def __init__(self, clean: Source, kinds: Sequence[Augmentation]) -> None:
        super().__init__(clean)
        self.kinds, self.epoch = tuple(dict.fromkeys(kinds)), 0
        self._check()

    def _check(self) -> None:
        shapes = [self.spec.shape, *([self.spec.source_shape] if self.spec.source_shape else [])]
        kinds = " and ".join(self.kinds)
        if said := sorted(SAID & self.spec.provides):
            raise UsageError(
                f"augment {kinds}: '{self.name}' comes with {' and '.join(said)}, which may say where things are and "
                "of what colour, and would no longer be true: leave augment out"
            )
        if "turns" in self.kinds and (self.buckets or any(shape.height != shape.width for shape in shapes)):
            raise UsageError(f"augment turns: the pictures of '{self.name}' are no squares: take flips, or --size SIDE")
        if "channels" in self.kinds and (self.spec.frames > 1 or any(shape.channels != 3 for shape in shapes)):
            raise UsageError(
                f"augment channels: not all pictures of '{self.name}' have red, green and blue: leave channels out"
            )

    def at(self, epoch: int) -> Self:
        cut = super().at(epoch)
        cut.epoch = epoch
        return cut

    def batch(self, index: Tensor) -> Batch:
        return self._varied(self.clean.batch(index), index)

    def pixels(self, index: Tensor) -> Batch:
        return self._varied(self.clean.pixels(index), index)

    def _varied(self, batch: Batch, index: Tensor) -> Batch:
        pictures = {name for name in batch.condition.given if FIELDS[name].kind in PICTURE_KINDS}
        found: dict[str, Any] = {"": batch.image, **{name: getattr(batch.condition, name) for name in pictures}}
        for kind in self.kinds:
            ways, vary = _KINDS[kind]
            drawn = torch.tensor([_drawn(ways, kind, self.epoch, example) for example in index.tolist()])  # (B,)
            found = {name: vary(values, drawn) for name, values in found.items()}
        return Batch(found.pop(""), replace(batch.condition, **found), batch.index)


def _drawn(ways: int, kind: str, epoch: int, example: int) -> int:
    return derive_seed(0, "augmented", kind, epoch, example) % ways


def _flipped(pictures: Tensor, which: Tensor) -> Tensor:
    """Of ``(B, ..., W)`` those from left to right whose ``which`` (B,) is 1."""
    return torch.where(which.bool().view(-1, *(1,) * (pictures.ndim - 1)), pictures.flip(-1), pictures)


def _turned(pictures: Tensor, which: Tensor) -> Tensor:
    """``(B, ..., H, H)`` by ``which`` (B,) modulo 4 quarters, and from left to right from 4 on."""
    turned = [one.rot90(int(k) % 4, (-2, -1)) for one, k in zip(pictures, which, strict=True)]
    return _flipped(torch.stack(turned), which // 4)


def _exchanged(pictures: Tensor, which: Tensor) -> Tensor:
    """``(B, 3, H, W)`` in the ``which``-th (B,) of the six orders of three channels; masks and layouts as they are."""
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        return pictures
    return torch.stack([one[list(ORDERS[int(k)])] for one, k in zip(pictures, which, strict=True)])


ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_KINDS: Mapping[Augmentation, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "flips": (2, _flipped),
    "turns": (8, _turned),
    "channels": (len(ORDERS), _exchanged),
}
