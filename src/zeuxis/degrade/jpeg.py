"""JPEG: the real coder, and a copy of it that gradients pass through.

The steps of the baseline coder (ITU-T T.81, Annex A; JFIF for the colours): luma and two half-size chromas, blocks of
8 x 8, a cosine transform, division by a table and rounding. The soft copy replaces the rounding (Shin & Song 2017,
"JPEG-resistant Adversarial Images") and leaves the rest exact.

Axes: h and w rows and columns of blocks.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from zeuxis.batch import to_float, to_uint8
from zeuxis.degrade.degradation import Degradation
from zeuxis.errors import UsageError
from zeuxis.rng import Rng


def _check(part: Degradation, quality: int) -> None:
    if not 1 <= quality <= 100:
        raise UsageError(f"{part}: the quality must lie in 1 to 100")


def coded(image: Tensor, quality: int) -> Tensor:
    """One picture ``(C, H, W)``, C 1 or 3, through the coder of Pillow (libjpeg) and back."""
    if image.shape[0] not in (1, 3):
        raise UsageError(f"JPEG holds pictures of 1 or 3 channels, not {image.shape[0]}")
    pixels = to_uint8(image).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        back = np.array(read).reshape(pixels.shape)
    return to_float(torch.from_numpy(back)).permute(2, 0, 1).to(image)


@dataclass(frozen=True)
class Jpeg(Degradation):
    """Saves at ``quality`` (1 to 100) and opens again, with half-size chromas. No gradient passes."""

    quality: int = 60
    name = "jpeg"
    local = True

    def __post_init__(self) -> None:
        _check(self, self.quality)

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return torch.stack([coded(one, self.quality) for one in image])


@dataclass(frozen=True)
class BlindJpeg(Degradation):
    """:class:`Jpeg` of a quality that nobody tells, drawn evenly from ``least`` to ``most`` for every picture.

    The blocks begin at any of their 64 pixels, as those of a photograph that was cropped since.
    """

    least: int = 10
    most: int = 95
    name = "blind-jpeg"
    local = True

    def __post_init__(self) -> None:
        _check(self, self.least)
        _check(self, self.most)
        if self.least > self.most:
            raise UsageError(f"{self}: write the least quality and the most, least <= most")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        height, width = image.shape[2:]
        quality = self.least + rng.integers(self.most - self.least + 1, len(image))
        corner = rng.integers(BLOCK * BLOCK, len(image))
        made = []
        for one, q, at in zip(image, quality.tolist(), corner.tolist(), strict=True):
            y, x = divmod(at, BLOCK)  # rows and columns of a block that were cut off
            whole = F.pad(one[None], (x, 0, y, 0), mode="replicate")[0]
            made.append(coded(whole, q)[:, y : y + height, x : x + width])
        return torch.stack(made)


@dataclass(frozen=True)
class SoftJpeg(Degradation):
    """JPEG in torch, batched and differentiable: for training through it."""

    quality: int = 60
    name = "soft-jpeg"
    local = True

    def __post_init__(self) -> None:
        _check(self, self.quality)

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        height, width = image.shape[2:]
        if image.shape[1] not in (1, 3):
            raise UsageError(f"JPEG holds pictures of 1 or 3 channels, not {image.shape[1]}")
        levels = (image.clamp(-1, 1) + 1) * 127.5
        padded = F.pad(levels, (0, -width % 16, 0, -height % 16), mode="replicate")
        grey = image.shape[1] == 1
        back = _blocks_coded(padded, _table(LUMA_TABLE, self.quality)) if grey else self._colours(padded)
        return (back[:, :, :height, :width].clamp(0, 255) / 127.5 - 1).to(image.dtype)

    def _colours(self, rgb: Tensor) -> Tensor:
        ycc = torch.einsum("ij,bjhw->bihw", rgb.new_tensor(TO_YCC), rgb)
        luma = _blocks_coded(ycc[:, :1], _table(LUMA_TABLE, self.quality))
        small = F.avg_pool2d(ycc[:, 1:], 2) + 128  # 4:2:0
        chroma = _blocks_coded(small, _table(CHROMA_TABLE, self.quality)) - 128
        # libjpeg's "fancy" upsampling weighs the nearer by 3/4: that is bilinear.
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.einsum("ij,bjhw->bihw", rgb.new_tensor(TO_YCC).inverse(), torch.cat([luma, chroma], 1))


def soft_round(x: Tensor) -> Tensor:
    """Round, plus the cube of what rounding takes away: near the integers, with a gradient between them."""
    rounded = x.detach().round()
    return rounded + (x - rounded) ** 3


def _blocks_coded(plane: Tensor, table: Tensor) -> Tensor:
    """Planes ``(B, C, H, W)`` in [0, 255], H and W multiples of 8, quantised block by block."""
    b, c, h, w = plane.shape
    dct, q = _cosines().to(plane), table.to(plane)
    blocks = (plane - 128).view(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)  # (B, C, h, w, 8, 8)
    kept = soft_round(dct @ blocks @ dct.T / q) * q
    return (dct.T @ kept @ dct).transpose(3, 4).reshape(b, c, h, w) + 128


def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values, ``(8, 8)``."""
    n = torch.arange(8, dtype=torch.float64)
    basis = torch.cos((2 * n[None] + 1) * n[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _table(base: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """libjpeg's scaling of the standard's tables."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(base) * scale + 50) // 100).clamp(1, 255)


BLOCK = 8
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)  # ITU-T T.81, Table K.1
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)  # Table K.2
