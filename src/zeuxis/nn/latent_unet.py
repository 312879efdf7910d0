"""The U-Net of Stable Diffusion as a table describes it: :class:`zeuxis.nn.unet.UNet` that reads a text.

Published: 1.x ``heads=8``; 2.x ``head_width=64``; XL ``multiples=(1, 2, 4)``, ``attention=(2, 4)``,
``transformer_depth=(0, 2, 10)``, ``head_width=64``, ``added_width=2816`` (:data:`LATENT_UNETS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zeuxis.nn.unet import UNet

LATENT_UNETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "1.x": {"heads": 8},
        "2.x": {"head_width": 64},
        "xl": {
            "multiples": (1, 2, 4),
            "attention": (2, 4),
            "transformer_depth": (0, 2, 10),
            "head_width": 64,
            "added_width": 2816,
        },
    }
)


def latent_unet(
    latent: int,
    context_width: int,
    *,
    extra: int = 0,
    width: int = 320,
    multiples: tuple[int, ...] = (1, 2, 4, 4),
    blocks: int = 2,
    attention: tuple[int, ...] = (1, 2, 4),
    heads: int = 8,
    head_width: int | None = None,
    transformer_depth: int | tuple[int, ...] = 1,
    added_width: int = 0,
) -> UNet:
    """The keys of ``[model.network]``.

    Args:
        extra: channels beside the noisy latent: those of a mask and of a masked picture's latent, in networks that
            were trained to inpaint.
        width: channels at the finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with transformers, besides the middle, which always has one.
        heads: of each attention; or none of it, and
        head_width: channels to a head.
        transformer_depth: blocks of every transformer, or of those of each level (0 where there are none).
        added_width: numbers of the vector of text and sizes that is added to the time's (XL); 0 is without one.
    """
    depth = transformer_depth if isinstance(transformer_depth, int) else tuple(transformer_depth)
    return UNet(
        latent + extra,
        out_channels=latent,
        width=width,
        multiples=tuple(multiples),
        blocks=blocks,
        attention=tuple(attention),
        heads=heads,
        head_width=head_width,
        context_width=context_width,
        transformer_depth=depth,
        added_width=added_width,
        eps=1e-5,
    )
