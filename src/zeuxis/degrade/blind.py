"""Blind degradation of the second order (Real-ESRGAN: Wang et al. 2021, 2107.10833, Section 3).

Blur, resizing, noise and JPEG, twice over, each of a random kind and strength: what happens to a picture that is
photographed, shared, shrunk and shared again. Training on all of it is meant to generalise to real degradations.

As in the published training the picture is sharpened first, and the sharpened one is what the degraded one is to be
restored to. Departures: JPEG is the real coder at whole qualities (theirs is a copy of it in torch that repeats the
chromas); each picture is degraded by itself, so no pool of earlier pairs is needed; kernels are cut to what mirroring
a small picture can supply.

Paper -> code: r and sigma of the resizing and the noise -> ``Stage``; beta_g, beta_p -> ``_shape``; omega_c -> the
cutoff of ``kernels.sinc``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.degrade import kernels
from zeuxis.degrade.degradation import Degradation, require_divisible
from zeuxis.degrade.jpeg import coded
from zeuxis.degrade.sharpen import sharpened
from zeuxis.degrade.tone import Grey
from zeuxis.errors import UsageError
from zeuxis.rng import Rng, Stream

MODES = ("area", "bilinear", "bicubic")
KERNELS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)  # iso, aniso, generalised iso, aniso, plateau iso, aniso
GENERALISED, PLATEAU = (0.5, 4.0), (1.0, 2.0)  # the ranges of the shape beta
SINC = 0.1  # the share of first and second blurs that ring
LAST_SINC = 0.8


@dataclass(frozen=True)
class Stage:
    """The ranges of one of the two rounds; noise is in levels of 255, and its Poisson scale as in the paper's code.

    The first round resizes relative to the picture, the second relative to the small one that is wanted.
    """

    blurred: float  # how often
    sigma: tuple[float, float]
    resize: tuple[float, float]  # from the least to the most scale
    chances: tuple[float, float, float]  # of enlarging, shrinking, keeping
    gaussian: tuple[float, float]
    poisson: tuple[float, float]


FIRST = Stage(1.0, (0.2, 3.0), (0.15, 1.5), (0.2, 0.7, 0.1), (1, 30), (0.05, 3.0))
SECOND = Stage(0.8, (0.2, 1.5), (0.3, 1.2), (0.3, 0.4, 0.3), (1, 25), (0.05, 2.5))
GREY_NOISE = 0.4
QUALITY = (30, 95)


@dataclass(frozen=True)
class Blind(Degradation):
    """Real-ESRGAN's two rounds of random blur, resizing, noise and JPEG, ending ``factor`` times smaller.

    The result has 256 levels, as a file has. Training pairs have the sharpened picture as their target.
    """

    factor: int = 4
    name = "blind"
    local = True

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise UsageError(f"{self}: the factor must be at least 1")

    def target(self, image: Tensor) -> Tensor:
        return sharpened(image)

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        height, width = image.shape[2:]
        require_divisible(str(self), width, height, self.factor)
        size = (height // self.factor, width // self.factor)
        return torch.stack(
            [
                _degraded(one[None], own, size)[0]
                for one, own in zip(sharpened(image), rng.each(len(image)), strict=True)
            ]
        )


def _degraded(image: Tensor, rng: Stream, size: tuple[int, int]) -> Tensor:
    for stage, sides in ((FIRST, (image.shape[2], image.shape[3])), (SECOND, size)):
        if _chance(rng, stage.blurred):
            image = kernels.filtered(image, _kernel(rng, stage.sigma))
        image = _noisy(_resized(image, rng, stage, sides), rng, stage)
        if stage is FIRST:
            image = _coded(image, rng)
    # The last resizing with its ringing, and the last JPEG, in either order.
    if _chance(rng, 0.5):
        image = _coded(_ringing(_to_size(image, rng, size), rng), rng)
    else:
        image = _ringing(_to_size(_coded(image, rng), rng, size), rng)
    return ((image + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


def _kernel(rng: Stream, sigmas: tuple[float, float]) -> Tensor:
    reach = 3 + int(rng.integers(8, 1))  # 7 to 21 pixels wide
    if _chance(rng, SINC):
        return kernels.sinc(reach, _double(_between(rng, math.pi / 3 if reach < 6 else math.pi / 5, math.pi)))
    kind = _pick(rng, KERNELS)
    sx = _double(_between(rng, *sigmas))
    sy = sx if kind % 2 == 0 else _double(_between(rng, *sigmas))
    angle = _double(_between(rng, -math.pi, math.pi))
    if kind < 2:
        return kernels.gaussian(reach, sx, sy, angle)
    if kind < 4:
        return kernels.generalised(reach, sx, sy, angle, _shape(rng, *GENERALISED))
    return kernels.plateau(reach, sx, sy, angle, _shape(rng, *PLATEAU))


def _shape(rng: Stream, least: float, most: float) -> Tensor:
    """beta: half the time up to 1, the Gaussian's own, and half the time from it on."""
    return _double(_between(rng, least, 1.0) if _chance(rng, 0.5) else _between(rng, 1.0, most))


def _resized(image: Tensor, rng: Stream, stage: Stage, sides: tuple[int, int]) -> Tensor:
    least, most = stage.resize
    scale = (_between(rng, 1.0, most), _between(rng, least, 1.0), 1.0)[_pick(rng, stage.chances)]
    mode = MODES[int(rng.integers(3, 1))]
    return _interpolated(image, (max(1, int(sides[0] * scale)), max(1, int(sides[1] * scale))), mode)


def _to_size(image: Tensor, rng: Stream, size: tuple[int, int]) -> Tensor:
    return _interpolated(image, size, MODES[int(rng.integers(3, 1))])


def _interpolated(image: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    if mode == "area":
        return F.interpolate(image, size, mode=mode)
    return F.interpolate(image, size, mode=mode, align_corners=False)


def _noisy(image: Tensor, rng: Stream, stage: Stage) -> Tensor:
    grey = _chance(rng, GREY_NOISE)
    if _chance(rng, 0.5):
        sigma = _between(rng, *stage.gaussian) * 2 / 255
        shape = (1, 1 if grey else image.shape[1], *image.shape[2:])
        noise = sigma * rng.normal(*shape, device=image.device).to(image.dtype)
    else:
        scale = _between(rng, *stage.poisson)
        seen = Grey().apply(image)[:, :1] if grey else image
        light = ((seen + 1) * 127.5).round().clamp(0, 255) / 255
        counts = 2.0 ** math.ceil(math.log2(len(light.unique())))  # levels in use, as published
        noise = 2 * scale * (rng.poisson(light * counts) / counts - light)
    return (image + noise).clamp(-1, 1)


def _coded(image: Tensor, rng: Stream) -> Tensor:
    return coded(image[0].clamp(-1, 1), round(_between(rng, *QUALITY)))[None]


def _ringing(image: Tensor, rng: Stream) -> Tensor:
    if not _chance(rng, LAST_SINC):
        return image
    return kernels.filtered(
        image, kernels.sinc(3 + int(rng.integers(8, 1)), _double(_between(rng, math.pi / 3, math.pi)))
    )


def _between(rng: Stream, least: float, most: float) -> float:
    return least + (most - least) * float(rng.uniform(1))


def _chance(rng: Stream, share: float) -> bool:
    return float(rng.uniform(1)) < share


def _pick(rng: Stream, shares: tuple[float, ...]) -> int:
    u = float(rng.uniform(1))
    for k, share in enumerate(shares):
        u -= share
        if u < 0:
            return k
    return len(shares) - 1


def _double(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)
