"""Equivariance: whether a picture moves and turns with what it is made from.

Karras et al. 2021 (arXiv:2106.12423), section 2.2 and appendix E. Symbols -> code: t and R -> transforms, of what a
generator begins with    g -> draw    EQ-T, EQ-T_frac, EQ-R -> "eq-t", "eq-t-frac", "eq-r"

The figure is the peak signal-to-noise ratio in dB of the picture of the transformed input against the transformed
picture, over all pictures and the pixels where the latter is known. A unit of length is the picture's side; the origin
is its centre; x goes to the right and y down.

Axes: S rows and columns of a square picture, h rows and columns of a finer one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, grid_sample

from zeuxis.errors import Unsupported
from zeuxis.rng import Rng

Draw = Callable[[Tensor, Tensor | None], Tensor]  # codes (B, ...), the inverse of what is done to each (B, 3, 3)
FARTHEST = 0.125  # that a picture is moved along an axis
LANCZOS = 3  # a: lobes of the window of interpolation
SUPPORT = 2 * LANCZOS  # of the windows of two filters, one after the other
FINER = 4  # times the rate at which a turned picture is read off
TOGETHER = 8  # pictures that are made at a time
RANGE = 2.0  # of pixels
# By name, which of an integral, a fractional move or a rotation is asked.
EQUIVARIANCES = ("eq-t", "eq-t-frac", "eq-r")


def equivariance(name: str, draw: Draw, codes: Tensor, rng: Rng) -> float:
    """The figure ``name`` of the pictures that ``draw`` makes of ``codes``, each transformed in its own way.

    Infinite where the pictures are equal. Raises :class:`Unsupported` for pictures that are too small to tell, and what
    ``draw`` raises.
    """
    error = known = torch.zeros((), dtype=torch.float64)
    for part in codes.split(TOGETHER):
        plain = draw(part, None)
        side = plain.shape[-1]
        if side <= 2 * SUPPORT + 1:
            raise Unsupported(f"of pictures of {side} pixels a side, nothing is left inside the filters of {name}")
        chance = 2 * rng.uniform(len(part), 2).double() - 1  # in [-1, 1)
        match name:
            case "eq-t":
                moves = (chance * FARTHEST * side).round() / side
                made, pairs = draw(part, translations(-moves)), moved(plain, moves)
            case "eq-t-frac":
                moves = chance * FARTHEST
                made, pairs = draw(part, translations(-moves)), moved(plain, moves)
            case "eq-r":
                angles = chance[:, 0] * math.pi
                made, pairs = draw(part, rotations(-angles)), turned(plain, angles)
                made = torch.cat([_filtered(one, bandlimit(-angle, 1)) for one, angle in _each(made, angles)])
            case _:
                raise ValueError(name)
        for one, (wanted, mask) in zip(made, pairs, strict=True):
            apart = (one.double() - wanted.double()).square().mean(0)
            error = error + (apart * mask).sum().cpu()
            known = known + mask.sum().cpu()
    return float(10 * torch.log10(RANGE**2 / (error / known)))


def translations(by: Tensor) -> Tensor:
    """Of ``(B, 2)``, x before y: ``(B, 3, 3)``."""
    matrix = torch.eye(3).repeat(len(by), 1, 1)
    matrix[:, :2, 2] = by.float()
    return matrix


def rotations(angles: Tensor) -> Tensor:
    """Counter-clockwise, as one sees it, by ``(B,)`` radians: ``(B, 3, 3)``."""
    matrix = torch.eye(3).repeat(len(angles), 1, 1)
    cos, sin = angles.cos().float(), angles.sin().float()
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cos, sin, -sin, cos
    return matrix


# -- transformed pictures: each (C, S, S) with its mask (S, S), 1 where nothing from beyond the edge is in it --------


def moved(image: Tensor, moves: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures ``(B, C, S, S)`` moved by ``(B, 2)``: T_x of appendix E.1; between pixels by Lanczos' filter, E.2."""
    side = image.shape[-1]
    for one, move in _each(image, moves * side):
        mask = one.new_ones(side, side)
        for axis, distance in ((3, float(move[0])), (2, float(move[1]))):
            whole = math.floor(distance)
            share = distance - whole
            inexact = min(share, 1 - share) > 1e-6
            whole += round(share) * (not inexact)
            # From pixel k - whole, or from those 2 after it to 3 before it.
            reach = torch.arange(1 - LANCZOS, LANCZOS + 1) if inexact else torch.zeros(1, dtype=torch.int64)
            weight = torch.sinc(reach - share) * torch.sinc((reach - share) / LANCZOS) if inexact else torch.ones(1)
            weights = zip(reach.tolist(), (weight / weight.sum()).tolist(), strict=True)
            one = torch.stack([w * _shifted(one, whole + k, axis) for k, w in weights]).sum(0)
            for k in (int(reach[0]), int(reach[-1])):
                mask = mask * _shifted(torch.ones_like(mask)[None, None], whole + k, axis)[0, 0]
        yield one[0], mask


def turned(image: Tensor, angles: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures ``(B, C, S, S)`` turned by ``(B,)`` radians: R_alpha of appendix E.3.

    A filter leaves the frequencies that both the picture and the turned one can hold, at a rate :data:`FINER` times as
    high, at which values are read off between the nearest samples.
    """
    side = image.shape[-1]
    middle = (side - 1) / 2
    at = torch.arange(side, dtype=torch.float64) - middle
    for one, angle in _each(image, angles):
        taps = bandlimit(angle, FINER)  # (h, h)
        kernel = taps.to(one).expand(one.shape[1], 1, *taps.shape)
        fine = conv_transpose2d(one, kernel, stride=FINER, groups=one.shape[1])
        cos, sin = math.cos(angle), math.sin(angle)
        x = cos * at - sin * at[:, None] + middle  # (S, S): from where, in pixels
        y = sin * at + cos * at[:, None] + middle
        centre = (len(taps) - 1) / 2  # where the first pixel is in the finer picture
        grid = (2 * (FINER * torch.stack([x, y], 2) + centre) + 1) / fine.shape[-1] - 1
        made = grid_sample(fine, grid[None].to(fine), align_corners=False)
        least, most = SUPPORT - 0.5, side - SUPPORT - 0.5
        inside = (x >= least) & (x <= most) & (y >= least) & (y <= most)
        border = torch.zeros_like(inside)  # of what the picture compared with is filtered by
        border[SUPPORT - 1 : 1 - SUPPORT, SUPPORT - 1 : 1 - SUPPORT] = True
        yield made[0], (inside & border).to(made)


def bandlimit(angle: Tensor | float, finer: int) -> Tensor:
    """What leaves the frequencies that a square grid and one turned by ``angle`` both hold, ``(h, h)`` float64.

    Two sincs one after the other, under two Lanczos windows one after the other; at each of ``finer`` squared places
    between pixels its sum is 1. h = 2 * SUPPORT * finer - 1.
    """
    ideal = _crossed(torch.sinc, angle, finer, 64)  # pixels either way, beyond which a sinc is cut off
    kept = ideal * _crossed(_lanczos, angle, finer, 8)  # beyond which nothing is of what is kept
    n = 2 * SUPPORT * finer
    places = torch.nn.functional.pad(kept, (0, 1, 0, 1)).view(n // finer, finer, n // finer, finer)
    return (places / places.sum((0, 2), keepdim=True)).view(n, n)[:-1, :-1]


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < LANCZOS, torch.sinc(x / LANCZOS), torch.zeros_like(x))


def _crossed(line: Callable[[Tensor], Tensor], angle: Tensor | float, finer: int, reach: int) -> Tensor:
    """The product of ``line`` along rows and columns convolved with the same turned: its middle, SUPPORT pixels wide.

    Computed over ``reach`` pixels either way; what wraps around there has all but vanished.
    """
    x = torch.arange(1 - reach * finer, reach * finer, dtype=torch.float64) / finer
    y, cos, sin = x[:, None], math.cos(angle), math.sin(angle)
    size = (2 * reach * finer, 2 * reach * finer)
    straight, slanted = line(x) * line(y), line(cos * x + sin * y) * line(-sin * x + cos * y)
    both = torch.fft.irfft2(torch.fft.rfft2(straight, size) * torch.fft.rfft2(slanted, size), size)
    middle = reach * finer - 1
    cut = (reach - SUPPORT) * finer
    return both.roll((-middle, -middle), (0, 1))[cut : -cut - 1, cut : -cut - 1]


def _filtered(image: Tensor, taps: Tensor) -> Tensor:
    """R*_alpha of appendix E.3: the frequencies of a picture that was turned, of one that need not be."""
    kernel = taps.to(image).expand(image.shape[1], 1, *taps.shape)
    return conv2d(image, kernel, padding=len(taps) // 2, groups=image.shape[1])


def _shifted(image: Tensor, by: int, axis: int) -> Tensor:
    """Moved by whole pixels; 0 comes in."""
    side = image.shape[axis]
    out = torch.zeros_like(image)
    if abs(by) < side:
        out.narrow(axis, max(by, 0), side - abs(by)).copy_(image.narrow(axis, max(-by, 0), side - abs(by)))
    return out


def _each(image: Tensor, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each picture, still ``(1, C, S, S)``, with its own value."""
    yield from zip(image.split(1), values, strict=True)
