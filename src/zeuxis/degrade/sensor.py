"""The noise of a camera's sensor, added to the raw picture, before the camera's processing.

Brooks et al. 2019, "Unprocessing Images for Learned Raw Denoising" (1811.11127): a picture is taken back to raw
(Section 3, in reverse), gets shot and read noise there, and is developed again. Developing mixes neighbours and
colours, so the noise ends up soft, coloured and stronger in the shadows, as in photographs.

Paper -> code: lambda_shot, lambda_read -> shot, read; g_r, g_b -> gains; CCM -> ``CAMERAS``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.degrade.degradation import Degradation
from zeuxis.errors import UsageError
from zeuxis.rng import Rng

# XYZ to the colours of four cameras' sensors (the DNG files of the Darmstadt Noise Dataset).
CAMERAS = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
RED_GAIN, BLUE_GAIN = (1.9, 2.4), (1.5, 1.9)
BRIGHTNESS = (0.8, 0.1)  # mean and deviation of the inverse of the digital gain
READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.20, 0.26  # of log read noise over log shot noise (Section 3.1)


@dataclass(frozen=True)
class Sensor(Degradation):
    """The noise of a camera's sensor, processed with the picture, its shot level drawn from ``least`` to ``most``.

    It is drawn for every picture, evenly in its logarithm.

    The paper's range is the default. Both 0 leave only what mosaicing costs. Pictures are RGB with even sides.
    """

    least: float = 0.0001
    most: float = 0.012
    name = "sensor"
    local = True

    def __post_init__(self) -> None:
        if not (0 < self.least <= self.most < 1 or self.least == self.most == 0):
            raise UsageError(f"{self}: write the least and the most shot noise, 0 < least <= most < 1, or 0,0 for none")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        b, c, height, width = image.shape
        if c != 3 or height % 2 or width % 2:
            raise UsageError(f"{self}: pictures are {c} x {height} x {width}: sensors need RGB and even sides")
        u = rng.uniform(b, 7, device=image.device).to(image.dtype)
        to_camera = _colour_matrix(u[:, :4])  # (B, 3, 3)
        gains = _gains(u[:, 4], u[:, 5], rng.normal(b, device=image.device).to(image.dtype))  # (B, 3)

        # Unprocess: tone curve, gamma, colours, white balance, in reverse.
        linear = _gamma_expanded(_tone_inverted((image + 1) / 2))
        camera = torch.einsum("bij,bjhw->bihw", to_camera, linear)
        raw = _mosaic(_dimmed(camera, gains).clamp(0, 1))

        if self.most:
            shot = torch.exp(math.log(self.least) + math.log(self.most / self.least) * u[:, 6])
            spread = READ_SPREAD * rng.normal(b, device=image.device).to(image.dtype)
            read = torch.exp(READ_SLOPE * shot.log() + READ_OFFSET + spread)
            noise = rng.normal(*raw.shape, device=image.device).to(image.dtype)
            raw = raw + noise * (raw * shot[:, None, None, None] + read[:, None, None, None]).sqrt()  # Eq. 1

        # Process: white balance, demosaicing, colours, gamma, tone curve.
        camera = _demosaic(raw, gains).clamp(0, 1)
        linear = torch.einsum("bij,bjhw->bihw", to_camera.inverse(), camera).clamp(0, 1)
        return _toned(linear.clamp(min=1e-8) ** (1 / 2.2)) * 2 - 1


def _colour_matrix(u: Tensor) -> Tensor:
    """A mixture (B, 3, 3) of the four cameras by weights ``u`` (B, 4), from sRGB to the camera; grey stays grey."""
    weight = u / u.sum(1, keepdim=True)
    xyz_to_camera = torch.einsum("bk,kij->bij", weight, u.new_tensor(CAMERAS))
    to_camera = xyz_to_camera @ u.new_tensor(RGB_TO_XYZ)
    return to_camera / to_camera.sum(2, keepdim=True)


def _gains(red: Tensor, blue: Tensor, normal: Tensor) -> Tensor:
    """The camera's digital gain times the white balance of each colour, (B, 3)."""
    balance = torch.stack(
        [
            RED_GAIN[0] + (RED_GAIN[1] - RED_GAIN[0]) * red,
            torch.ones_like(red),
            BLUE_GAIN[0] + (BLUE_GAIN[1] - BLUE_GAIN[0]) * blue,
        ],
        1,
    )
    return balance / (BRIGHTNESS[0] + BRIGHTNESS[1] * normal).clamp(min=0.3)[:, None]


def _dimmed(camera: Tensor, gains: Tensor) -> Tensor:
    """Divided by the gains, but with highlights left bright: a plain division would turn white grey (Section 3.4)."""
    white = ((camera.mean(1, keepdim=True) - 0.9).clamp(min=0) / 0.1) ** 2  # (B, 1, H, W)
    inverse = 1 / gains[:, :, None, None]
    return camera * torch.maximum(white + (1 - white) * inverse, inverse)


def _mosaic(camera: Tensor) -> Tensor:
    """``(B, 3, H, W)`` to the colours of a Bayer sensor, red, green, green, blue: ``(B, 4, H/2, W/2)``."""
    r, g, b = camera.unbind(1)
    return torch.stack([r[:, ::2, ::2], g[:, ::2, 1::2], g[:, 1::2, ::2], b[:, 1::2, 1::2]], 1)


def _demosaic(raw: Tensor, gains: Tensor) -> Tensor:
    """White-balanced and interpolated: every pixel's missing colours are the mean of the nearest measured ones."""
    b, _, h, w = raw.shape
    known = raw.new_zeros(b, 3, 2 * h, 2 * w)
    known[:, 0, ::2, ::2], known[:, 1, ::2, 1::2] = raw[:, 0], raw[:, 1]
    known[:, 1, 1::2, ::2], known[:, 2, 1::2, 1::2] = raw[:, 2], raw[:, 3]
    known = F.pad(known * gains[:, :, None, None], (2, 2, 2, 2), mode="reflect")  # even: keeps the mosaic
    tent = raw.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    cross = raw.new_tensor([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    weight = torch.stack([tent, cross, tent])[:, None]
    return F.conv2d(known, weight, groups=3)[:, :, 1:-1, 1:-1]


def _tone_inverted(x: Tensor) -> Tensor:
    """The inverse of the smooth step 3 x^2 - 2 x^3 on [0, 1]."""
    return 0.5 - (torch.asin(1 - 2 * x.clamp(0, 1)) / 3).sin()


def _toned(x: Tensor) -> Tensor:
    return 3 * x**2 - 2 * x**3


def _gamma_expanded(x: Tensor) -> Tensor:
    return x.clamp(min=1e-8) ** 2.2
