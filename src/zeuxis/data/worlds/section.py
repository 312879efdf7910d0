"""Painting slices of heads. Every tissue is a signed distance in pixels, covered with an edge of one
pixel, and painted over what lies below it, in the order of ``tissue.TISSUES``: a pixel on an edge holds both tissues'
signals in proportion, which is what a scanner sees (the partial volume effect).

The cortex is what lies within its thickness of the brain's surface, and that surface follows every furrow inwards: so
grey matter is a folded band, and white matter has fingers. Of the furrows, a pixel sees the two nearest by angle.

Sums, products, quotients, square roots, minima and maxima only: see ``exact``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.data.worlds.exact import bearing, cosine, sine
from zeuxis.data.worlds.head import NUCLEI, SULCI, VENTRICLES, Head


def paint(heads: Head, signals: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The signals of C contrasts ``(B, C, size, size)`` and the layouts ``(B, size, size)`` int64.

    ``signals`` (B, C, tissues) are those of the pure tissues.
    """
    image = signals[:, :, 0, None, None].repeat(1, 1, size, size)
    layout = torch.zeros(len(signals), size, size, dtype=torch.uint8, device=signals.device)
    sharp = (heads.scale * -size)[:, None, None]  # pixels, inwards
    for k, distance in enumerate(shape_distances(heads, size), start=1):
        cover = distance.mul_(sharp).add_(0.5).clamp_(0, 1)
        for c in range(signals.shape[1]):
            image[:, c].add_((signals[:, c, k, None, None] - image[:, c]).mul_(cover))
        layout.masked_fill_(cover >= 0.5, k)
    return image, layout.long()


def shape_distances(heads: Head, size: int) -> list[Tensor]:
    """How far each pixel is from each tissue but the background, ``(B, H, W)`` each: negative inside.

    In the order of ``tissue.TISSUES``. A tissue's shape includes those that are painted over it.
    """
    x, y, bend_x, bend_y = _places(heads, size)
    skin = _ellipse(x, y, heads.outer, heads.egg)
    inside = _ellipse(x, y, heads.inner, heads.egg)
    skull = skin + (inside - skin) * _per(heads.scalp)
    x, y = x + bend_x, y + bend_y
    white = _surface(heads, x, y, inside + _per(heads.gap))
    grey = white - _per(heads.cortex)

    across = x.abs()
    uneven = torch.where(x < 0, _per(heads.uneven[:, 0]), _per(heads.uneven[:, 1]))
    nuclei = _capsules(across, y, heads.pairs[:, NUCLEI], uneven)
    ventricles = _capsules(across, y, heads.pairs[:, VENTRICLES], uneven)
    lesion = _capsule(x, y, heads.lesion)  # it displaces what was there, so that it is seen wherever there is one
    return [skin, skull, inside, grey, white, nuclei, ventricles, lesion]


def _per(numbers: Tensor) -> Tensor:
    """One number per picture, ``(B,)``, for all its pixels."""
    return numbers[:, None, None]


def _places(heads: Head, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each pixel's place in the head ``(B, H, W)``, gently bent, and the further bending of the brain."""
    at = ((torch.arange(size, device=heads.x.device) + 0.5) / size - 0.5)[None, :]
    right, down = (at - heads.x[:, None]) / heads.scale[:, None], (at - heads.y[:, None]) / heads.scale[:, None]
    cos, sin = heads.cos[:, None], heads.sin[:, None]
    x = (cos * right)[:, None, :] + (sin * down)[:, :, None]
    y = (cos * down)[:, :, None] - (sin * right)[:, None, :]
    bend_x, bend_y = torch.zeros_like(x), torch.zeros_like(y)
    for waves, on_x, on_y in ((heads.coarse, x, y), (heads.fine, bend_x, bend_y)):
        for k in range(waves.shape[1]):
            rate_x, rate_y, phase, high_x, high_y = waves[:, k].unbind(1)
            # The sine of a sum is separable: sin(a + b) = sin a cos b + cos a sin b.
            a, b = rate_x[:, None] * right + phase[:, None], rate_y[:, None] * down
            wave = sine(a)[:, None, :] * cosine(b)[:, :, None] + cosine(a)[:, None, :] * sine(b)[:, :, None]
            on_x.add_(wave * _per(high_x))
            on_y.add_(wave * _per(high_y))
    return x, y, bend_x, bend_y


def _ellipse(x: Tensor, y: Tensor, half: Tensor, egg: Tensor) -> Tensor:
    """Distance to first order to an ellipse of half-axes ``half`` (B, 2) whose lower end is wider by ``egg``."""
    a, b = _per(half[:, 0]), _per(half[:, 1])
    v = y / b
    u = x / (a * (1 + _per(egg) * v.clamp(-1, 1)))
    q = (u * u + v * v).sqrt_().clamp_(min=1e-3)
    u, v = u.div_(a), v.div_(b)
    slope = u.mul_(u).add_(v.mul_(v)).sqrt_().clamp_(min=1e-3)
    return (q - 1).mul_(q).div_(slope)


def _surface(heads: Head, x: Tensor, y: Tensor, hull: Tensor) -> Tensor:
    """Distance to white matter: to the brain's surface with its furrows and the fissure, less the cortex."""
    into = torch.minimum(y - _per(heads.fissure[:, 0]), _per(heads.fissure[:, 1]) - y).clamp_(min=0)
    narrow = heads.furrow + 0.0025
    surface = torch.maximum(hull, _per(narrow) - (x * x + into.mul_(into)).sqrt_())
    turn = bearing(x / _per(heads.inner[:, 0]), y / _per(heads.inner[:, 1])).mul_(SULCI).sub_(0.5)
    first = turn.floor()
    tables = (heads.tips[:, 0], heads.tips[:, 1], heads.ways[:, 0], heads.ways[:, 1], heads.curves)
    for step in (0, 1):
        near = (first + step).long().remainder_(SULCI).flatten(1)
        tip_x, tip_y, way_x, way_y, curve = (table.gather(1, near).view(x.shape) for table in tables)
        dx, dy = x - tip_x, y - tip_y
        along = (dx * way_x).add_(dy * way_y)
        aside = dx.mul_(way_y).sub_(dy.mul_(way_x))
        short, along = along.clamp(max=0), along.clamp_(min=0)
        aside.sub_(curve.mul_(along).mul_(along))
        wide = along.mul_(_per(heads.flare)).add_(_per(heads.furrow))
        surface = torch.maximum(surface, wide.sub_(aside.mul_(aside).add_(short.mul_(short)).sqrt_()))
    return surface.add_(_per(heads.cortex))


def _capsules(x: Tensor, y: Tensor, capsules: Tensor, share: Tensor) -> Tensor:
    """Distance to the nearest of ``capsules`` (B, N, 5), whose radii are multiplied by ``share`` (B, H, W)."""
    far = _capsule(x, y, capsules[:, 0], share)
    for k in range(1, capsules.shape[1]):
        far = torch.minimum(far, _capsule(x, y, capsules[:, k], share))
    return far


def _capsule(x: Tensor, y: Tensor, capsule: Tensor, share: Tensor | None = None) -> Tensor:
    """Distance to a segment with round ends, ``capsule`` (B, 5): x, y of one end, x, y of the other, radius."""
    x0, y0, x1, y1, radius = (_per(part) for part in capsule.unbind(1))
    way_x, way_y = x1 - x0, y1 - y0
    dx, dy = x - x0, y - y0
    length = (way_x * way_x + way_y * way_y).clamp(min=1e-9)
    along = (dx * (way_x / length)).add_(dy * (way_y / length)).clamp_(0, 1)
    dx.sub_(along * way_x)
    dy.sub_(along.mul_(way_y))
    return dx.mul_(dx).add_(dy.mul_(dy)).sqrt_().sub_(radius if share is None else share * radius)
