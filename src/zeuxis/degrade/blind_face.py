"""The damage that GFP-GAN is trained against (Wang et al. 2021, 2101.04061, section 4.1): once, and of random strength.

x = [(y * k_sigma) shrunk by r + n_delta]_JPEG_q, enlarged to the size that it had. The ranges are those of the authors'
program for 512 pixels, whose blur is measured in shares of the side here, so that smaller faces are blurred as much.
Departures: brightness, colour and greyness are not changed; JPEG is the real coder.

Symbols -> code: k_sigma -> kernel, r -> r, delta -> delta, q -> quality
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.degrade import kernels
from zeuxis.degrade.degradation import Degradation
from zeuxis.degrade.jpeg import coded
from zeuxis.errors import UsageError
from zeuxis.rng import Rng

SIDE, REACH = 512, 20  # pixels of their faces, and of a kernel on either side of its middle
SIGMA, FACTOR, NOISE, QUALITY = (0.1, 10.0), (0.8, 8.0), (0.0, 20.0), (60, 100)
EVEN = 0.5  # how often a blur is the same in all directions


@dataclass(frozen=True)
class BlindFace(Degradation):
    """GFP-GAN's random blur, shrinking, noise and JPEG, at ``amount`` times its strength, and enlarged again."""

    amount: float = 1.0
    name = "blind-face"

    def __post_init__(self) -> None:
        if not (self.amount > 0 and math.isfinite(self.amount)):
            raise UsageError(f"{self}: the amount must be above 0")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return torch.stack([self._one(one[None], own)[0] for one, own in zip(image, rng.each(len(image)), strict=True)])

    def _one(self, image: Tensor, rng: Rng) -> Tensor:
        """One picture ``(1, C, H, W)``."""
        size, side = image.shape[2:], min(image.shape[2:])
        u = rng.uniform(7).double()
        wide, tall = (self.amount * side / SIDE * (SIGMA[0] + (SIGMA[1] - SIGMA[0]) * u[k : k + 1]) for k in (0, 1))
        tall = wide if float(u[2]) < EVEN else tall
        reach = max(1, min(REACH, math.ceil(3 * float(torch.maximum(wide, tall)))))
        kernel = kernels.gaussian(reach, wide, tall, math.pi * (2 * u[3:4] - 1))
        r = max(0.8, self.amount * (FACTOR[0] + (FACTOR[1] - FACTOR[0]) * float(u[4])))
        small = [max(1, int(n / r)) for n in size]
        shrunk = F.interpolate(kernels.filtered(image, kernel), small, mode="bilinear", antialias=True)
        delta = self.amount * (NOISE[0] + (NOISE[1] - NOISE[0]) * float(u[5]))  # in levels of 255
        noisy = shrunk + delta * 2 / 255 * rng.normal(*shrunk.shape, device=image.device).to(image.dtype)
        quality = round(max(1.0, 100 - self.amount * (QUALITY[1] - QUALITY[0]) * float(u[6])))
        seen = coded(noisy[0].clamp(-1, 1), quality)[None]
        return F.interpolate(seen, size, mode="bilinear", align_corners=False).clamp(-1, 1)
