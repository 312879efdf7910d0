"""Augmentation: small random changes that keep a picture's meaning.

Each takes ``(B, C, H, W)`` in
[-1, 1] and a generator, and changes every picture in its own way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.rng import Rng


def random_shift(image: Tensor, rng: Rng, pixels: int) -> Tensor:
    """Shifted by up to ``pixels`` along either axis; the border is repeated."""
    b, c, h, w = image.shape
    padded = F.pad(image, (pixels,) * 4, mode="replicate")
    down, right = rng.integers(2 * pixels + 1, b, 2, device=image.device).unbind(1)
    rows = (down[:, None] + torch.arange(h, device=image.device))[:, None, :, None]  # (B, 1, H, 1)
    columns = (right[:, None] + torch.arange(w, device=image.device))[:, None, None, :]  # (B, 1, 1, W)
    batch = torch.arange(b, device=image.device).view(b, 1, 1, 1)
    channel = torch.arange(c, device=image.device).view(1, c, 1, 1)
    return padded[batch, channel, rows, columns]


def random_flip(image: Tensor, rng: Rng) -> Tensor:
    """Flipped from left to right in about every second picture."""
    flipped = rng.integers(2, len(image), 1, 1, 1, device=image.device).bool()
    return torch.where(flipped, image.flip(3), image)


def color_jitter(image: Tensor, rng: Rng, amount: float) -> Tensor:
    """Contrast times, and brightness plus, up to ``amount``; the result stays in [-1, 1]."""
    gain, lift = (2 * rng.uniform(len(image), 2, device=image.device) - 1).mul(amount).unbind(1)
    return (image * (1 + gain).view(-1, 1, 1, 1) + lift.view(-1, 1, 1, 1)).clamp(-1, 1)


def gaussian_noise(image: Tensor, rng: Rng, amount: float) -> Tensor:
    """With normal noise whose deviation is drawn evenly from [0, ``amount``] for each picture."""
    deviation = amount * rng.uniform(len(image), 1, 1, 1, device=image.device)
    return image + deviation * rng.normal(*image.shape, device=image.device)


def random_blur(image: Tensor, rng: Rng) -> Tensor:
    """Mixed, by a random share, with its own 3x3 mean: between sharp and slightly out of focus."""
    share = rng.uniform(len(image), 1, 1, 1, device=image.device)
    blurred = F.avg_pool2d(F.pad(image, (1,) * 4, mode="replicate"), 3, stride=1)
    return image + share * (blurred - image)


def augmented(image: Tensor, rng: Rng, jitter: float, noise: float) -> Tensor:
    """:func:`color_jitter`, :func:`random_blur`, :func:`gaussian_noise`: as uneven as generated pictures."""
    return gaussian_noise(random_blur(color_jitter(image, rng, jitter), rng), rng, noise)
