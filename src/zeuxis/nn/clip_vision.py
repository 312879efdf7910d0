"""CLIP's vision tower (Radford et al. 2021, arXiv:2103.00020, section 2.4), and the towers of :data:`IMAGE_TOWERS`.

A vision transformer (Dosovitskiy et al. 2020, 2010.11929) with one more layer norm, before the blocks; what stands at
the class token is the picture's vector. Weights come from :mod:`zeuxis.pretrained.clip_keys`.

Axes: D width, P width of the projection, p side of a patch, N = 1 + H W / p^2 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.clip_block import ClipBlock
from zeuxis.nn.features import FeatureNetwork
from zeuxis.nn.table import build_table

CLIP_VISION: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "vit-b-32": {"patch": 32, "width": 768, "depth": 12, "heads": 12, "projection": 512},
        "vit-b-16": {"patch": 16, "width": 768, "depth": 12, "heads": 12, "projection": 512},
        "vit-l-14": {"patch": 14, "width": 1024, "depth": 24, "heads": 16, "projection": 768},
    }
)
"""Published towers for pictures of 224 x 224, as keywords of :class:`ClipVisionTower`."""


class VisionStates(NamedTuple):
    """What a tower makes of a picture."""

    layers: tuple[Tensor, ...]  # depth + 1 of (B, N, D): the normalised tokens, then what each block leaves
    pooled: Tensor  # (B, D): the last at the class token, normalised
    projected: Tensor | None  # (B, P): its projection; None of a tower that has none


class ImageTower(nn.Module):
    """A network of :data:`IMAGE_TOWERS`."""

    def embed(self, image: Tensor) -> Tensor:
        """Standardised pictures ``(B, C, H, W)`` to ``(B, P)``, of any length."""
        raise NotImplementedError


class ClipVisionTower(ImageTower):
    """Pictures ``(B, C, H, W)``, standardised as in training, to :class:`VisionStates`.

    Args:
        channels: C.
        size: H and W, or one number for both; multiples of ``patch``.
        patch: p.
        width, depth, heads: of the transformer.
        hidden: width of its MLPs; None is four times ``width``.
        activation: of its MLPs, "quick-gelu" (OpenAI's) or "gelu" (OpenCLIP's).
        projection: P; None for a tower without projection.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        size: int | tuple[int, int] = 224,
        patch: int = 32,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        hidden: int | None = None,
        activation: str = "quick-gelu",
        projection: int | None = None,
    ) -> None:
        super().__init__()
        rows, columns = size if isinstance(size, tuple) else (size, size)
        if rows % patch or columns % patch:
            raise UsageError(f"{rows} x {columns} is not made of whole {patch} x {patch} patches: change one of them")
        self.patchify = nn.Conv2d(channels, width, patch, patch, bias=False)
        self.class_token = nn.Parameter(torch.empty(width))
        self.position = nn.Parameter(torch.empty(1 + rows * columns // patch**2, width))
        self.norm_in = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            ClipBlock(width, heads, hidden or 4 * width, activation, causal=False) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = None if projection is None else nn.Linear(width, projection, bias=False)
        nn.init.normal_(self.class_token, std=width**-0.5)
        nn.init.normal_(self.position, std=width**-0.5)
        for block in self.blocks:
            assert isinstance(block, ClipBlock)
            block.initialise(depth)
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, std=width**-0.5)

    def forward(self, image: Tensor) -> VisionStates:
        x = self.patchify(image).flatten(2).transpose(1, 2)  # (B, N - 1, D)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], 1) + self.position
        layers = [x := self.norm_in(x)]
        for block in self.blocks:
            x = block(x)
            layers.append(x)
        pooled: Tensor = self.norm(x[:, 0])
        return VisionStates(tuple(layers), pooled, None if self.projection is None else self.projection(pooled))

    def embed(self, image: Tensor) -> Tensor:
        """The projection alone ``(B, P)``."""
        projected = self(image).projected
        assert isinstance(projected, Tensor)  # it was built with one
        return projected


class ConvTower(ImageTower):
    """Pictures ``(B, C, H, W)`` to ``(B, P)`` by convolutions, which need far fewer pictures than a transformer."""

    def __init__(self, shape: Shape, projection: int, *, widths: tuple[int, ...], features: int) -> None:
        super().__init__()
        self.network = FeatureNetwork(shape, (projection,), widths=widths, features=features)

    def embed(self, image: Tensor) -> Tensor:
        (projected,) = self.network(image)
        return projected


def vit(
    shape: Shape,
    projection: int,
    *,
    patch: int = 32,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    hidden: int | None = None,
    activation: str = "quick-gelu",
) -> ImageTower:
    """The published tower (:class:`ClipVisionTower`); by default that of ViT-B/32.

    Args:
        patch: side of a patch in pixels; it divides the picture's sides.
        width: channels of a token, a multiple of ``heads``.
        depth: transformer blocks.
        heads: of each attention.
        hidden: width of the MLPs; none is four times ``width``.
        activation: of the MLPs, "quick-gelu" (OpenAI's) or "gelu" (OpenCLIP's).
    """
    return ClipVisionTower(
        channels=shape.channels,
        size=(shape.height, shape.width),
        patch=patch,
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        activation=activation,
        projection=projection,
    )


def conv(shape: Shape, projection: int, *, widths: tuple[int, ...] = (32, 64, 128), features: int = 256) -> ImageTower:
    """A small convolutional network (:class:`zeuxis.nn.features.FeatureNetwork`) in place of the paper's ResNets.

    Args:
        widths: channels of the stages; each halves the picture's sides until one has 4 pixels.
        features: numbers of the feature vector below the projection.
    """
    return ConvTower(shape, projection, widths=tuple(widths), features=features)


IMAGE_TOWERS: Mapping[str, Callable[..., ImageTower]] = {"vit": vit, "conv": conv}  # the first is the default


def build_image_tower(table: Mapping[str, Any] | None, shape: Shape, projection: int) -> ImageTower:
    """The tower of ``[model.image]``: ``kind`` (by default the first of :data:`IMAGE_TOWERS`), and its own keys.

    Raises :class:`UnknownName` for a kind that there is not, and for a key that the
    kind does not take.
    """
    return build_table("image", "image tower", table, IMAGE_TOWERS, shape, projection)
