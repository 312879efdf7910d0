"""Canny's edge detector with an answer for every threshold at once.

Canny 1986, "A computational approach to edge detection", IEEE TPAMI 8(6), sections IV to VI.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad

from zeuxis.degrade.edges import slopes


def canny(image: Tensor, sigma: float = 1.0, ratio: float = 0.4) -> Tensor:
    """Edges of pictures ``(B, C, H, W)`` in [-1, 1], ``(B, 1, H, W)`` in [0, 1].

    With a high threshold t and a low one of ``ratio`` t, Canny's edges are where the answer is t or more: those of
    strength t, and those of strength ratio t that are joined to them.
    """
    x, y = slopes(_smoothed(image, sigma))
    strength = (x.square() + y.square()).sqrt()
    strength = (strength * 1024).round() / 1024  # so that the two sides of a sharp step are alike on any machine
    return joined(thin(strength, torch.atan2(y, x)), ratio).clamp(max=1)


def thin(strength: Tensor, normal: Tensor) -> Tensor:
    """Strengths ``(B, 1, H, W)``, 0 where a neighbour across the edge has more; ``normal`` is the angle across it.

    It is taken as one of four: along rows, along columns, and both ways aslant. Of two neighbours that are alike the
    first counts.
    """
    quarter = (normal / (math.pi / 4)).round().long().remainder(4)
    around, (rows, columns) = pad(strength, (1, 1, 1, 1)), strength.shape[2:]
    keep = torch.zeros_like(strength, dtype=torch.bool)
    for k, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        before = around[..., 1 - down : 1 - down + rows, 1 - right : 1 - right + columns]
        after = around[..., 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]
        keep |= (quarter == k) & (strength > before) & (strength >= after)
    return strength * keep


def joined(strength: Tensor, ratio: float) -> Tensor:
    """Hysteresis for all thresholds: the largest t so that a pixel of ``ratio`` t or more is joined, by such pixels, to
    one of t; ``(B, 1, H, W)``.

    Morphological reconstruction by dilation (Vincent 1993, IEEE TIP 2(2)) of the strengths below strengths / ratio.
    """
    most, found = strength / ratio, strength
    while True:
        grown = torch.minimum(max_pool2d(found, 3, stride=1, padding=1), most)
        if torch.equal(grown, found):
            return found
        found = grown


def _smoothed(image: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    at = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    taps = (-0.5 * (at / sigma).square()).exp()
    taps = (taps / taps.sum()).expand(image.shape[1], 1, 1, -1)
    wide = conv2d(pad(image, (reach, reach, 0, 0), mode="replicate"), taps, groups=image.shape[1])
    return conv2d(pad(wide, (0, 0, reach, reach), mode="replicate"), taps.mT, groups=image.shape[1])
