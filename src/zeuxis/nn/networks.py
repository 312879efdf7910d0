"""The networks of diffusion models by name, each with the keys of ``[model.network]`` that it takes.

The functions below are those tables: their keyword arguments are the keys, their defaults the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.dit import DiT
from zeuxis.nn.magnitude_unet import MagnitudeUNet
from zeuxis.nn.resampling_unet import ResamplingUNet
from zeuxis.nn.table import build_table
from zeuxis.nn.unet import UNet, check_sides, start_as_ddpm
from zeuxis.nn.uvit import UViT


@dataclass(frozen=True)
class Ends:
    """What a network is for, which the data and the method decide: images of ``shape`` in and out, ``extra`` channels
    beside the noisy image, and a context of that width (0: none)."""

    shape: Shape
    extra: int = 0
    context_width: int = 0

    @property
    def channels(self) -> int:
        """Of what goes in."""
        return self.shape.channels + self.extra

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.shape.height, self.shape.width


def dit(ends: Ends, *, patch: int = 2, width: int = 384, depth: int = 12, heads: int = 6) -> Backbone:
    """A transformer on patches (:class:`DiT`).

    Args:
        patch: side of a patch in pixels; it divides the picture's sides, and a network of larger ones costs less.
        width: channels of a token, a multiple of ``heads``.
        depth: transformer blocks.
        heads: of each attention.
    """
    return DiT(
        ends.channels,
        ends.size,
        out_channels=ends.shape.channels,
        context_width=ends.context_width,
        patch=patch,
        width=width,
        depth=depth,
        heads=heads,
    )


def unet(
    ends: Ends,
    *,
    width: int = 128,
    multiples: tuple[int, ...] = (1, 2, 2, 2),
    blocks: int = 2,
    attention: tuple[int, ...] = (2,),
    heads: int = 1,
) -> Backbone:
    """DDPM's convolutions (:class:`UNet`).

    Args:
        width: channels at the finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        heads: of each attention.
    """
    check_sides(*ends.size, len(multiples))
    network = UNet(
        ends.channels,
        out_channels=ends.shape.channels,
        context_width=ends.context_width,
        width=width,
        multiples=multiples,
        blocks=blocks,
        attention=attention,
        heads=heads,
        ddpm=True,
    )
    start_as_ddpm(network)
    return network


def uvit(
    ends: Ends,
    *,
    patch: int = 4,
    fine: int = 64,
    fine_depth: int = 3,
    width: int = 160,
    depth: int = 4,
    heads: int = 5,
) -> Backbone:
    """Convolutions with a transformer in the middle (:class:`UViT`).

    Args:
        patch: pixels a side that a token of the middle covers; even, and it divides the picture's sides.
        fine: channels of the convolutions, whose cells are half as wide as a patch.
        fine_depth: residual blocks of the convolutions on the way down, and again on the way up.
        width: channels of a token, a multiple of ``heads``.
        depth: transformer blocks in the middle.
        heads: of each attention.
    """
    return UViT(
        ends.channels,
        ends.size,
        out_channels=ends.shape.channels,
        context_width=ends.context_width,
        patch=patch,
        fine=fine,
        fine_depth=fine_depth,
        width=width,
        depth=depth,
        heads=heads,
    )


def ddpmpp(
    ends: Ends,
    *,
    width: int = 128,
    multiples: tuple[int, ...] = (2, 2, 2),
    blocks: int = 4,
    attention: tuple[int, ...] = (2,),
    heads: int = 1,
) -> Backbone:
    """DDPM++ (:class:`ResamplingUNet`), by default EDM's for CIFAR-10.

    Args:
        width: channels at the finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        heads: of each attention.
    """
    return _resampling(ends, width=width, multiples=multiples, blocks=blocks, attention=attention, heads=heads)


def ncsnpp(
    ends: Ends,
    *,
    width: int = 128,
    multiples: tuple[int, ...] = (2, 2, 2),
    blocks: int = 4,
    attention: tuple[int, ...] = (2,),
    heads: int = 1,
) -> Backbone:
    """NCSN++ (:class:`ResamplingUNet`), by default EDM's for CIFAR-10.

    Args:
        width: channels at the finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        heads: of each attention.
    """
    return _resampling(
        ends, width=width, multiples=multiples, blocks=blocks, attention=attention, heads=heads,
        fourier=True, residual=True, taps=(1, 3, 3, 1),
    )  # fmt: skip


def adm(
    ends: Ends,
    *,
    width: int = 192,
    multiples: tuple[int, ...] = (1, 2, 3, 4),
    blocks: int = 3,
    attention: tuple[int, ...] = (2, 4, 8),
    head_width: int = 64,
) -> Backbone:
    """ADM (:class:`ResamplingUNet`), by default that for ImageNet at 64 pixels, without learnt variances.

    Args:
        width: channels at the finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        head_width: channels of each head of an attention; it divides the level's.
    """
    return _resampling(
        ends, width=width, multiples=multiples, blocks=blocks, attention=attention, head_width=head_width,
        modulate=True, scale=1.0,
    )  # fmt: skip


def mp_unet(
    ends: Ends,
    *,
    width: int = 192,
    multiples: tuple[int, ...] = (1, 2, 3, 4),
    blocks: int = 3,
    attention: tuple[int, ...] = (4, 8),
    head_width: int = 64,
) -> Backbone:
    """A U-Net that preserves magnitudes (:class:`MagnitudeUNet`), by default EDM2-S for latents of 64 x 64.

    Args:
        width: channels at the finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        head_width: channels of each head of an attention; a level with fewer has one head.
    """
    check_sides(*ends.size, len(multiples))
    _attends_to_no_caption(ends)
    return MagnitudeUNet(
        ends.channels,
        out_channels=ends.shape.channels,
        width=width,
        multiples=tuple(multiples),
        blocks=blocks,
        attention=attention,
        head_width=head_width,
    )


def _resampling(ends: Ends, *, multiples: tuple[int, ...], **options: Any) -> Backbone:
    check_sides(*ends.size, len(multiples))
    _attends_to_no_caption(ends)
    return ResamplingUNet(ends.channels, out_channels=ends.shape.channels, multiples=tuple(multiples), **options)


def _attends_to_no_caption(ends: Ends) -> None:
    if ends.context_width:
        raise UsageError(
            "networks of kind 'ddpm++', 'ncsn++', 'adm' and 'mp-unet' attend to no caption: use 'unet', 'dit' or 'uvit'"
        )


NETWORKS: Mapping[str, Callable[..., Backbone]] = {
    "dit": dit,
    "unet": unet,
    "uvit": uvit,
    "ddpm++": ddpmpp,
    "ncsn++": ncsnpp,
    "adm": adm,
}


# The same for methods whose papers have a U-Net: the first is the default.
UNETS: Mapping[str, Callable[..., Backbone]] = {
    "unet": unet,
    "ddpm++": ddpmpp,
    "ncsn++": ncsnpp,
    "adm": adm,
    "dit": dit,
    "uvit": uvit,
}


# The same for a method that brings weights back to their magnitude after every step.
UNETS_AND_MP: Mapping[str, Callable[..., Backbone]] = {**UNETS, "mp-unet": mp_unet}


def build_network(
    table: Mapping[str, Any] | None, ends: Ends, among: Mapping[str, Callable[..., Backbone]] = NETWORKS
) -> Backbone:
    """The network of ``[model.network]``: ``kind`` (by default the first of ``among``), and that kind's own keys.

    Raises :class:`UnknownName` for a kind that there is not, and for a key that the kind does not take.
    """
    return build_table("network", "network", table, among, ends)
