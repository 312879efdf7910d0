"""Conditions that say of every place what is wanted there: maps that a network is shown beside the noisy one.

A :class:`SpatialConditioner` gives the entry ``shown`` ``(B, E, h, w)`` of a conditioning: E channels at the resolution
of what is denoised (Rombach et al. 2022, arXiv:2112.10752, section 3.3: concatenation). Under no condition they are
zeros. :func:`control_picture` gives the same conditions at the picture's own resolution, for a control branch.

Legend: B images, n as many as the argument n says, C channels, H rows, W columns, h and w those of what is denoised,
K classes of a layout, Z channels of a latent.

Axes: E channels shown, Z channels of a latent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, one_hot

from zeuxis.batch import Condition, Shape
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.nn.conditioner import Conditioner, Conditioning
from zeuxis.spec import DataSpec


class SpatialConditioner(Conditioner):
    """What the maps of both kinds share: zeros for what is dropped, and the device that they are made on."""

    nothing: Tensor  # (1, E, h, w) zeros

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.channels = channels  # E
        self.size = size  # h and w
        self.register_buffer("nothing", torch.zeros(1, channels, *size), persistent=False)

    def maps(self, condition: Condition) -> Tensor:
        """``(B, E, h, w)`` of a condition that has the fields."""
        raise NotImplementedError

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Conditioning:
        self.check(condition)
        maps = self.maps(condition.to(self.nothing.device))
        return {"shown": maps if drop is None else maps.masked_fill(drop[:, None, None, None], 0.0)}

    def null(self, n: int) -> Conditioning:
        return {"shown": self.nothing.expand(n, -1, -1, -1)}


class LayoutConditioner(SpatialConditioner):
    """A class for every pixel: of each place of the map, the share of every class."""

    fields = frozenset({"layout"})

    def __init__(self, classes: int, size: tuple[int, int]) -> None:
        if classes < 2:
            raise Unsupported("condition 'layout' needs data with a layout of 2 classes or more: use a world that has")
        super().__init__(classes, size)

    def maps(self, condition: Condition) -> Tensor:
        assert condition.layout is not None
        return adaptive_avg_pool2d(layout_planes(condition.layout, self.channels), self.size)


class InpaintingConditioner(SpatialConditioner):
    """Where the picture is to be made, and the latent of the picture without that part (section 4.5)."""

    fields = frozenset({"mask", "source"})

    def __init__(self, encode: Callable[[Tensor], Tensor], latent: Shape, picture: Shape, source: Shape | None) -> None:
        if source is None or tuple(source) != tuple(picture):
            raise Unsupported(
                "condition 'mask' needs data with masked pictures of the pictures' own shape: degrade it "
                "(--pair strokes, hole, mask, outpaint or uncrop)"
            )
        super().__init__(1 + latent.channels, (latent.height, latent.width))
        self.encode = encode

    def maps(self, condition: Condition) -> Tensor:
        assert condition.mask is not None and condition.source is not None
        mask = condition.mask.float()
        with torch.no_grad():
            seen = self.encode(condition.source * (1 - mask))  # (B, Z, h, w)
        return torch.cat([adaptive_max_pool2d(mask, self.size), seen], 1)  # a place is known where all of it is


def layout_planes(layout: Tensor, classes: int) -> Tensor:
    """A layout ``(B, H, W)`` as K planes of zeros and ones, ``(B, K, H, W)`` float32; UsageError for a class beyond."""
    if bool(((layout < 0) | (layout >= classes)).any()):
        found = sorted(set(layout.unique().tolist()) - set(range(classes)))
        raise UsageError(f"a layout holds the class {found[0]}: its {classes} are counted from 0 to {classes - 1}")
    return one_hot(layout, classes).movedim(-1, 1).float()


def control_picture(field: str, condition: Condition, spec: DataSpec) -> Tensor:
    """The picture ``(B, C, H, W)`` in [0, 1] that the ``field`` of a condition is to a control branch.

    Its C are :func:`control_channels`. Raises :class:`Unsupported` where the condition has no such field.
    """
    return lookup("condition of a ControlNet", field, _PICTURES)(condition.required(field), spec)


def control_channels(field: str, spec: DataSpec) -> int:
    """C of :func:`control_picture` for data of ``spec``; raises :class:`Unsupported` where it has no such field."""
    channels = lookup("condition of a ControlNet", field, _CHANNELS)(spec)
    if not channels:
        raise Unsupported(f"condition '{field}' needs data that has it: use such data, or pair it (--pair edges)")
    return channels


_PICTURES: Mapping[str, Callable[[Tensor, DataSpec], Tensor]] = {
    "layout": lambda layout, spec: layout_planes(layout, len(spec.layout_names)),
    "source": lambda source, spec: (source + 1) / 2,
    "mask": lambda mask, spec: mask.float(),
}
_CHANNELS: Mapping[str, Callable[[DataSpec], int]] = {
    "layout": lambda spec: len(spec.layout_names),
    "source": lambda spec: 0 if spec.source_shape is None else spec.source_shape.channels,
    "mask": lambda spec: 1,
}
