"""Pairs that data hold already: a world's exact layout as the source, one of two styles, the halves of one picture.

What ``--pair`` spells beside degradations (`zeuxis.degrade.language`):

    layout             the source is the layout, a colour for every class (those of PASCAL VOC's maps); of a folder its
                       masks are read as label maps (`zeuxis.data.label_maps`)
    outlines           the source is where classes meet, white on black: one channel
    masks              the source is the mask, white on black: one channel; masks:image->mask turns it round
    style:FLAT->3D     which side of given pairs is the source and which the image
    halves             each picture is two, side by side: the left half is the source; halves:right->left turns it round
    enlarge:4          given pairs whose sources are four times smaller, as they are (`zeuxis.data.aligned`)
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.data.source import Source
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.spec import DataSpec, Shape

ANY_SIDES = ("source", "image")  # how the sides of pairs may be called that have no names
HALVES = ("left", "right")
MASKED = ("mask", "image")
FACTORS = tuple(map(str, range(2, 9)))


class PairRule(ABC):
    """How pairs come of data; ``str`` spells it."""

    @abstractmethod
    def spec(self, clean: Source) -> DataSpec:
        """The facts of the pairs. Raises :class:`Unsupported` or :class:`UsageError` where the data give none."""

    @abstractmethod
    def __call__(self, batch: Batch) -> Batch:
        """The pairs of a batch, with images in [-1, 1]."""


@dataclass(frozen=True)
class LayoutDrawn(PairRule):
    """The layout in colours, or the borders in it."""

    outlines: bool = False

    def __str__(self) -> str:
        return "outlines" if self.outlines else "layout"

    def spec(self, clean: Source) -> DataSpec:
        spec = clean.spec
        if "layout" not in spec.provides:
            raise Unsupported(
                f"'{clean.name}' has no class for every pixel, which --pair {self} draws: use a world such as scenes, "
                "a folder with images/ and labels/, or --pair edges, which any picture has"
            )
        shape = Shape(1 if self.outlines else 3, spec.shape.height, spec.shape.width)
        return replace(spec, source_shape=shape, provides=spec.provides | {"source"})

    def __call__(self, batch: Batch) -> Batch:
        layout = batch.condition.layout
        assert layout is not None  # the data provide it
        drawn = 2 * borders(layout) - 1 if self.outlines else coloured(layout)
        return replace(batch, condition=replace(batch.condition, source=drawn))


@dataclass(frozen=True)
class MaskDrawn(PairRule):
    """The mask as a picture: the source, or what is made of the picture; edges drawn by hand are such masks."""

    source: str = MASKED[0]

    def __str__(self) -> str:
        return "masks" if self.source == MASKED[0] else "masks:image->mask"

    def spec(self, clean: Source) -> DataSpec:
        spec = clean.spec
        if "mask" not in spec.provides:
            raise Unsupported(
                f"'{clean.name}' has no masks, which --pair {self} draws: give a folder with images/ and masks/, whose "
                "pictures have the same names"
            )
        drawn = Shape(1, spec.shape.height, spec.shape.width)
        pairs = replace(spec, source_shape=drawn, provides=spec.provides - {"mask"} | {"source"})
        return pairs if self.source == MASKED[0] else turned(pairs)

    def __call__(self, batch: Batch) -> Batch:
        mask = batch.condition.mask
        assert mask is not None  # the data provide it
        drawn = replace(batch, condition=replace(batch.condition, mask=None, source=2 * mask.float() - 1))
        return drawn if self.source == MASKED[0] else changed_places(drawn)


@dataclass(frozen=True)
class Sides(PairRule):
    """Given pairs, of whose sides one is the source and the other the image."""

    source: str
    image: str

    def __str__(self) -> str:
        return f"style:{self.source}->{self.image}"

    def spec(self, clean: Source) -> DataSpec:
        spec = clean.spec
        if spec.source_shape is None:
            raise Unsupported(f"'{clean.name}' holds no pairs, of which --pair {self} chooses the sides")
        if self._side(clean, self.source) == self._side(clean, self.image):
            raise UsageError(f"--pair {self}: both are the same side: choose two of {', '.join(clean.sides)}")
        return turned(spec) if self.turns(clean) else spec

    def turns(self, clean: Source) -> bool:
        """Whether the source becomes the image."""
        return self._side(clean, self.source) == 1

    def _side(self, clean: Source, name: str) -> int:
        """0 for what is the source in ``clean``, 1 for the image."""
        for sides in (clean.sides, ANY_SIDES):
            if name in sides:
                return sides.index(name)
        raise UnknownName(f"side of '{clean.name}'", name, clean.sides)

    def __call__(self, batch: Batch) -> Batch:
        return changed_places(batch)


@dataclass(frozen=True)
class Halves(PairRule):
    """Pictures of two, side by side, as the published sets of pix2pix are.

    ``clean`` is a folder opened so (`zeuxis.data.folder`), each file divided before it is brought to a size.
    """

    source: str = HALVES[0]

    def __str__(self) -> str:
        return "halves" if self.source == HALVES[0] else f"halves:{HALVES[1]}->{HALVES[0]}"

    def spec(self, clean: Source) -> DataSpec:
        if clean.spec.source_shape is None:
            raise Unsupported(f"--pair {self} is of a folder of pictures, and '{clean.name}' is none")
        return clean.spec if self.source == HALVES[0] else turned(clean.spec)

    def __call__(self, batch: Batch) -> Batch:
        return batch if self.source == HALVES[0] else changed_places(batch)


@dataclass(frozen=True)
class Enlarged(PairRule):
    """Given pairs whose sources are ``factor`` times smaller, of which windows are cut that show the same place.

    ``clean`` is a folder opened so (`zeuxis.data.aligned`).
    """

    factor: int

    def __str__(self) -> str:
        return f"enlarge:{self.factor}"

    def spec(self, clean: Source) -> DataSpec:
        return clean.spec

    def __call__(self, batch: Batch) -> Batch:
        return batch


def turned(spec: DataSpec) -> DataSpec:
    """The facts of pairs whose sides have changed places."""
    assert spec.source_shape is not None
    return replace(spec, shape=spec.source_shape, source_shape=spec.shape)


def changed_places(batch: Batch) -> Batch:
    """The pairs of a batch with the sources as images, and the images as sources."""
    source = batch.condition.source
    assert source is not None  # the data give pairs
    return replace(batch, image=source, condition=replace(batch.condition, source=batch.image))


class PairedSource(Source):
    """``clean`` as a pairing has it; all else as ``clean`` has it."""

    def __init__(self, clean: Source, pairing: PairRule) -> None:
        if clean.buckets:
            raise UsageError(f"--pair {pairing} is of pictures of one shape: use --fit square or crop")
        self.clean, self.pairing = clean, pairing
        self.name = f"{clean.name} | {pairing}"
        self.spec = pairing.spec(clean)
        self.sides = clean.sides
        self.paired = clean.paired or not isinstance(pairing, Sides)  # to choose sides makes no pairs
        self.skipped, self.ignored, self.remarks = clean.skipped, clean.ignored, clean.remarks

    def __len__(self) -> int:
        return len(self.clean)

    def at(self, epoch: int) -> Self:
        cut = copy.copy(self)
        cut.clean = self.clean.at(epoch)
        return cut

    def batch(self, index: Tensor) -> Batch:
        return self.pairing(self.clean.batch(index))

    def longest_caption(self) -> str:
        return self.clean.longest_caption()

    def told(self, batch: Batch) -> tuple[str, ...] | None:
        return self.clean.told(batch)

    def stated_factors(self, factors: Tensor) -> Tensor:
        return self.clean.stated_factors(factors)

    def fingerprint(self) -> str:
        """Of the data and of how pairs come of them."""
        facts = (self.clean.fingerprint(), str(self.pairing))
        return f"2-{hashlib.sha256(ascii(facts).encode()).hexdigest()[:16]}"


def paired(clean: Source, pairing: PairRule) -> Source:
    """The pairs that ``clean`` gives; itself where it is so already."""
    if isinstance(pairing, Sides):
        pairing.spec(clean)
        if not pairing.turns(clean):
            return clean
    return PairedSource(clean, pairing)


def parse_pairing(line: str) -> PairRule | None:
    """The pairing that ``line`` spells; None where it spells something else, such as degradations.

    Raises :class:`UsageError` for a pairing that is spelt wrong, or is followed by anything.
    """
    name, _, rest = (part.strip() for part in line.partition(":"))
    first = name.partition("|")[0].strip()
    if first not in SPELT:
        return None
    if "|" in line:
        raise UsageError(f"--pair {line.strip()}: '{first}' makes pairs by itself: leave out what follows the bar")
    sides = [part.strip() for part in rest.split("->")] if rest else []
    if first == "style" and len(sides) == 2 and all(sides):
        return Sides(*sides)
    if first == "halves" and (not sides or sorted(sides) == sorted(HALVES)):
        return Halves(sides[0]) if sides else Halves()
    if first == "masks" and (not rest or sides == ["image", "mask"]):
        return MaskDrawn(MASKED[1]) if rest else MaskDrawn()
    if first == "enlarge" and rest in FACTORS:
        return Enlarged(int(rest))
    if first in ("layout", "outlines") and not rest:
        return LayoutDrawn(first == "outlines")
    raise UsageError(f"--pair {line.strip()}: write {SPELT[first]}")


SPELT = {
    "layout": "layout",
    "outlines": "outlines",
    "masks": "masks, or masks:image->mask",
    "style": "style:FROM->TO, such as style:flat->threed",
    "halves": "halves, or halves:right->left",
    "enlarge": "enlarge:4, of which 4 is by how much pictures are larger than their sources (2 to 8)",
}


def class_colours(classes: int) -> Tensor:
    """The colours of PASCAL VOC's label maps, uint8 ``(K, 3)``.

    Class k has the bits of k spread over red, green and blue, from the highest bit down (Everingham et al. 2010).
    """
    table = torch.zeros(classes, 3, dtype=torch.int64)
    k = torch.arange(classes)
    for bit in range(8):
        for channel in range(3):
            table[:, channel] |= ((k >> (3 * bit + channel)) & 1) << (7 - bit)
    return table.to(torch.uint8)


def coloured(layout: Tensor) -> Tensor:
    """A layout ``(B, H, W)`` in the colours of its classes, ``(B, 3, H, W)`` in [-1, 1]."""
    table = class_colours(int(layout.max()) + 1).to(layout.device)
    return (table[layout].movedim(3, 1).float() / 127.5) - 1


def borders(layout: Tensor) -> Tensor:
    """Where neighbours in a layout ``(B, H, W)`` differ, ``(B, 1, H, W)``: 1 on both sides of a border, 0 elsewhere.

    As pix2pixHD marks the boundaries of instances (Wang et al. 2018, arXiv:1711.11585, section 3.3).
    """
    edge = torch.zeros_like(layout, dtype=torch.bool)
    across, down = layout[:, :, 1:] != layout[:, :, :-1], layout[:, 1:] != layout[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return edge[:, None].float()


def outlines(layout: Tensor) -> Tensor:
    """Where a layout ``(B, H, W)`` differs from its neighbour at the right or below, ``(B, 1, H, W)``: lines one pixel
    wide, 1 on the side before the border and 0 elsewhere."""
    edge = torch.zeros_like(layout, dtype=torch.bool)
    edge[:, :, :-1] |= layout[:, :, 1:] != layout[:, :, :-1]
    edge[:, :-1] |= layout[:, 1:] != layout[:, :-1]
    return edge[:, None].float()
