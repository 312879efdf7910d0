"""Outliers that are pictures of the distribution, damaged: ``(image, others, rng)`` to as many pictures.

``others`` are further pictures of the distribution, as many as ``image`` (B, C, H, W) in [-1, 1].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.nn.augment import gaussian_noise
from zeuxis.nn.outliers.masks import blob, box, colour, far, grid, half_plane, paint
from zeuxis.rng import Rng


def mixed(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Two pictures, one through the other."""
    share = 0.3 + 0.4 * rng.uniform(len(image), 1, 1, 1, device=image.device)
    return image + share * (others - image)


def joined(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A part of one picture beside the rest of another."""
    return torch.where(half_plane(image, rng), others, image)


def pasted(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A shape in a colour of another picture, or in any, painted on the picture."""
    shade = torch.where(
        rng.uniform(len(image), 1, 1, 1, device=image.device) < 0.7, paint(image, others, rng), colour(image, rng)
    )
    return image + blob(image, rng) * (shade - image)


def patched(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A rectangle or a shape of another picture, from elsewhere in it."""
    mask = box(image, rng).float() if int(rng.integers(2, 1)) else blob(image, rng)
    height, width = image.shape[2:]
    moved = others.roll((far(height, rng), far(width, rng)), (2, 3))
    return image + mask * (moved - image)


def covered(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A rectangle of one colour, or all but it."""
    kept = box(image, rng) ^ (rng.uniform(len(image), 1, 1, 1, device=image.device) < 0.2)
    return torch.where(kept, colour(image, rng), image)


def shuffled(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Cut into 2x2, 4x4 or 8x8 parts, all of which change places."""
    b, c, height, width = image.shape
    parts = (2, 2, 4, 8)[int(rng.integers(4, 1))]
    h, w = height // parts, width // parts
    if not h or not w:
        return -image
    cells = image[:, :, : h * parts, : w * parts].reshape(b, c, parts, h, parts, w).transpose(3, 4).flatten(2, 3)
    cycle = rng.uniform(b, parts * parts, device=image.device).argsort(1)
    order = torch.zeros_like(cycle).scatter(1, cycle, cycle.roll(1, 1))  # cells are (B, C, parts^2, h, w)
    cells = cells.gather(2, order[:, None, :, None, None].expand_as(cells))
    made = image.clone()
    made[:, :, : h * parts, : w * parts] = (
        cells.view(b, c, parts, parts, h, w).transpose(3, 4).reshape(b, c, h * parts, w * parts)
    )
    return made


def rolled(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Shifted by a quarter to three quarters of a side; what leaves comes in at the other end."""
    height, width = image.shape[2:]
    down, right = ((1, 0), (0, 1), (1, 1))[int(rng.integers(3, 1))]
    return image.roll((down * far(height, rng), right * far(width, rng)), (2, 3))


def turned(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Upside down, or where it is square by a quarter, a half or three."""
    which = int(rng.integers(4 if image.shape[2] == image.shape[3] else 2, 1))
    return image.flip(2) if which == 0 else image.rot90((2, 1, 3)[which - 1], (2, 3))


def recoloured(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Every channel a random sum of all of them; a third of them negatives."""
    b, c = image.shape[:2]
    mixing = rng.normal(b, c, c, device=image.device) * c**-0.5
    made = torch.einsum("bij,bjhw->bihw", mixing, image) + 0.3 * rng.normal(b, c, 1, 1, device=image.device)
    return torch.where(rng.uniform(b, 1, 1, 1, device=image.device) < 1 / 3, -image, made)


def enlarged(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A part of a third to two thirds of the sides, enlarged to the whole."""
    height, width = image.shape[2:]
    share = (0.35 + 0.3 * rng.uniform(1)).item()
    h, w = max(1, int(share * height)), max(1, int(share * width))
    top, left = int(rng.integers(height - h + 1, 1)), int(rng.integers(width - w + 1, 1))
    return F.interpolate(image[:, :, top : top + h, left : left + w], size=(height, width), mode="bilinear")


def blurred(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Brought down to 2 to a fifth of the pixels a side and up again, smoothly or in squares."""
    height, width = image.shape[2:]
    side = 2 + int(rng.integers(max(1, min(height, width) // 5 - 1), 1))
    small = F.interpolate(image, size=(side, side), mode="area")
    return F.interpolate(small, size=(height, width), mode=("bilinear", "nearest")[int(rng.integers(2, 1))])


def warped(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Bent by a smooth field of displacements, of a twentieth to a sixth of the sides."""
    b, _, height, width = image.shape
    down, right = grid(image)
    side = 3 + int(rng.integers(4, 1))
    field = F.interpolate(rng.normal(b, 2, side, side, device=image.device), (height, width), mode="bicubic")
    field = field * (0.1 + 0.2 * rng.uniform(b, 1, 1, 1, device=image.device))
    at = torch.stack([right + field[:, 0], down + field[:, 1]], 3)  # (B, H, W, 2)
    return F.grid_sample(image.float(), at, padding_mode="border", align_corners=False)


def ruled(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Under one to six straight lines of one colour, a pixel or two wide."""
    b = len(image)
    down, right = grid(image)
    ink, made = colour(image, rng), image
    for _ in range(1 + int(rng.integers(6, 1))):
        u = rng.uniform(b, 3, 1, 1, device=image.device)
        from_line = (
            torch.cos(math.pi * u[:, 0]) * right + torch.sin(math.pi * u[:, 0]) * down - 1.6 * u[:, 1] + 0.8
        ).abs()
        made = torch.where((from_line * min(image.shape[2:]) < 1 + u[:, 2])[:, None], ink, made)
    return made


def noisy(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Under normal noise of a deviation of 0.4 to 1.2, or with up to half of the pixels replaced."""
    u = rng.uniform(len(image), 2, 1, 1, 1, device=image.device)
    noise = rng.normal(*image.shape, device=image.device)
    replaced = rng.uniform(*image[:, :1].shape, device=image.device) < 0.1 + 0.4 * u[:, 0]
    return torch.where(u[:, 1] < 0.5, image + (0.4 + 0.8 * u[:, 0]) * noise, torch.where(replaced, noise.sign(), image))


def halved(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Two pictures mixed half and half."""
    return (image + others) / 2


def negative(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Light for dark."""
    return -image


def painted(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Smooth random colour, 4x4 values, enlarged, with noise of up to a deviation of 1."""
    small = rng.normal(*image.shape[:2], 4, 4, device=image.device)
    return gaussian_noise(F.interpolate(small, image.shape[2:], mode="bilinear"), rng, 1.0)
