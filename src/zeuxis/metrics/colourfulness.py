"""How colourful pictures are: Hasler and Süsstrunk 2003, "Measuring colourfulness in natural images", section 6.

    rg = R - G, yb = (R + G) / 2 - B        M^(3) = sqrt(sigma_rg^2 + sigma_yb^2) + 0.3 sqrt(mu_rg^2 + mu_yb^2)

Of levels in [0, 255], viewers called about 15 slightly, 45 quite and 80 highly colourful.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.errors import UsageError


def colourfulness(image: Tensor) -> Tensor:
    """M^(3) of each of ``(B, 3, H, W)`` in [-1, 1], float64 ``(B,)``; 0 of grey pictures."""
    if image.shape[1] != 3:
        raise UsageError(f"colourfulness is of pictures of 3 channels, and these have {image.shape[1]}")
    red, green, blue = ((image.double() + 1) * 127.5).flatten(2).unbind(1)  # (B, H W) each
    opponents = torch.stack([red - green, (red + green) / 2 - blue])  # (2, B, H W)
    spread, mean = opponents.var(-1, correction=0).sum(0).sqrt(), opponents.mean(-1).square().sum(0).sqrt()
    return spread + 0.3 * mean


def colour_gap(image: Tensor, target: Tensor) -> Tensor:
    """By how much each picture is less or more colourful than its target ``(B,)``, 0 where it is as much so."""
    return (colourfulness(image) - colourfulness(target)).abs()
