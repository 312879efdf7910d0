"""Rich scenes as light: radiance beyond what a screen shows, and the exposures that a camera takes of it.

A picture's values are taken as reflectances. Lamps and the sun or moon add light that falls off with the distance
d as 1 / (1 + (d / r)^2) and shine themselves many times brighter than paper. A camera clips what is brighter than
its white. The display's gamma is taken as 2, so that squares and square roots do, which round the same everywhere.

The range is compressed for learning by the mu-law of Kalantari and Ramamoorthi 2017, "Deep high dynamic range
imaging of dynamic scenes" (doi:10.1145/3072959.3073609), Eq. 6: T(H) = log(1 + mu H) / log(1 + mu), mu = 5000.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.batch import to_float
from zeuxis.counter import mix, uniforms
from zeuxis.data.worlds.rich.arrange import Arrangement
from zeuxis.data.worlds.rich.paint import layers, picture
from zeuxis.rng import derive_seed

MU = 5000.0
MOST = 64.0  # the radiance that T maps to 1; paper in plain daylight has 1
STOPS = (-3, 0, 3)  # of the three exposures: 1/8, 1 and 8 times
AMBIENT = torch.tensor([0.8, 0.06])  # by day, at night
LAMPS = 3
LAMP_RADIUS, LAMP_REACH = 0.022, 0.12
LAMP = ((12.0, 60.0), torch.tensor([1.0, 0.86, 0.62]))  # least and most radiance, and its colour
SHINE = 0.06  # the light that a lamp sheds on what is beside it, as a share of its radiance
_KEY = derive_seed(0, "rich", "light")


def radiance(scene: Arrangement, size: int) -> Tensor:
    """Linear light ``(B, 3, size, size)`` in [0, MOST]."""
    device = scene.horizon.device
    shown = (picture(scene, layers(scene, size)) + 1) / 2
    u = uniforms(_KEY, mix(scene.key), 4 * LAMPS).unflatten(1, (LAMPS, 4))  # (B, LAMPS, 4)
    at = (torch.arange(size, device=device) + 0.5) / size
    light = AMBIENT.to(device)[scene.factors[:, 0]][:, None, None, None]
    lamps = torch.zeros(len(scene), 1, size, size, device=device)
    low, high = LAMP[0]
    for k in range(LAMPS):
        x, y, strength, there = u[:, k, :, None, None].unbind(1)
        power = torch.where(there < 0.6, low + (high - low) * strength, 0.0)  # (B, 1, 1)
        dx, dy = at[None, None, :] - (0.05 + 0.9 * x), at[None, :, None] - (0.05 + 0.9 * y)
        off = dx * dx + dy * dy
        light = light + (SHINE * power / (1 + off / LAMP_REACH**2))[:, None]
        disc = ((LAMP_RADIUS - off.sqrt()) * size + 0.5).clamp(0, 1)
        lamps = torch.maximum(lamps, (power * disc)[:, None])
    return (shown * shown * light + lamps * LAMP[1].to(device)[:, None, None]).clamp(max=MOST)


def compress(light: Tensor) -> Tensor:
    """T of linear light in [0, MOST], as an image in [-1, 1]."""
    scale = torch.log1p(MU * light.double() / MOST) / math.log1p(MU)  # doubles: logarithms differ in their last bit
    return (2 * scale - 1).float()


def expand(image: Tensor) -> Tensor:
    """The linear light of which :func:`compress` made ``image``."""
    return (torch.expm1((image.double() + 1) / 2 * math.log1p(MU)) * MOST / MU).float()


def expose(light: Tensor, stops: float) -> Tensor:
    """What a camera records of linear light, ``stops`` above the plain exposure: [-1, 1] on 256 levels, clipped."""
    return to_float(((light * 2.0**stops).clamp(0, 1).sqrt() * 255).round())


def brackets(moments: list[Tensor]) -> Tensor:
    """Three exposures of one scene at three moments, side by side as channels: ``(B, 9, H, W)`` in [-1, 1]."""
    return torch.cat([expose(light, stops) for light, stops in zip(moments, STOPS, strict=True)], 1)
