"""CIE L*a*b* of sRGB pictures under D65 (IEC 61966-2-1, CIE 15), and bins of its colours.

Conversions are in full precision under autocast too: with products in bfloat16 there and back again is up to 23 of 255.

Axes: Q bins of colour.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)
LINEAR, CUT = 24 / 116, 216 / 24389  # below which the cube root is replaced by a line
SAMPLED = 64  # values of each primary by which the colours that there are are found


def as_it_is(convert: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """``convert``, in the type that it is given whatever autocast there is; what is half becomes float32."""

    @wraps(convert)
    def converted(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return convert(x if x.dtype in (torch.float32, torch.float64) else x.float())

    return converted


@as_it_is
def rgb_to_lab(rgb: Tensor) -> Tensor:
    """``(B, 3, H, W)`` in [0, 1] to L in [0, 100], a and b."""
    light = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    matrix = rgb.new_tensor(TO_XYZ) / rgb.new_tensor(WHITE)[:, None]
    xyz = torch.einsum("ij,bjhw->bihw", matrix, light)
    f = torch.where(xyz > CUT, xyz.clamp_min(CUT) ** (1 / 3), (xyz * 24389 / 27 + 16) / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@as_it_is
def lab_to_rgb(lab: Tensor) -> Tensor:
    """The inverse, clamped to [0, 1]: there are L, a and b that no screen shows."""
    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(f > LINEAR, f**3, (116 * f - 16) * 27 / 24389) * lab.new_tensor(WHITE)[:, None, None]
    linear = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(lab.new_tensor(TO_XYZ)), xyz).clamp(0, 1)
    curved = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curved).clamp(0, 1)


@cache
def colour_bins(side: int = 10) -> NDArray[np.float32]:
    """The middles ``(Q, 2)`` of the squares of a and b, of that side, into which colours of sRGB fall: 261 of 10."""
    values = torch.from_numpy(np.linspace(0, 1, SAMPLED))
    rgb = torch.cartesian_prod(values, values, values).T.reshape(1, 3, SAMPLED, -1)
    ab = rgb_to_lab(rgb)[0, 1:].flatten(1).T.numpy()
    return np.asarray(np.unique(np.round(ab / side), axis=0) * side, np.float32)
