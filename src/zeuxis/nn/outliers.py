"""Outliers: pictures that are not of a distribution, made from pictures that are, or from nothing but numbers.

What a detector learns to refuse when it is shown outliers (outlier exposure, Hendrycks et al. 2019, arXiv:1812.04606).
The hard ones are damaged pictures of the distribution itself: joined, pasted into, shuffled, turned; the easy ones are
constants, gradients, stripes, blots and noise. Each kind takes pictures ``(B, C, H, W)`` in [-1, 1], as many ``others``
of the same distribution, and a generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.nn.augment import gaussian_noise
from zeuxis.rng import Rng

Kind = Callable[[Tensor, Tensor, Rng], Tensor]


def make_outliers(image: Tensor, rng: Rng, kinds: tuple[Kind, ...] | None = None) -> Tensor:
    """One outlier for each picture, of a kind drawn at random from ``kinds`` (by default all)."""
    kinds = KINDS if kinds is None else kinds
    chosen = rng.integers(len(kinds), len(image), device=image.device)
    one, others = image.float(), image.float().roll(1, 0)
    made = torch.empty_like(one)
    for k in chosen.unique().tolist():
        rows = (chosen == k).nonzero()[:, 0]
        made[rows] = kinds[k](one[rows], others[rows], rng)
    return made.clamp(-1, 1).to(image.dtype)


# -- masks ----------------------------------------------------------------------------------------


def _grid(image: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates ``(1, H, 1)`` down and ``(1, 1, W)`` to the right, in [-1, 1] on the pixels' centres."""
    height, width = image.shape[2:]
    down = (torch.arange(height, device=image.device) + 0.5) * 2 / height - 1
    right = (torch.arange(width, device=image.device) + 0.5) * 2 / width - 1
    return down[None, :, None], right[None, None, :]


def _blob(image: Tensor, rng: Rng) -> Tensor:
    """A disc, a flower, a polygon or a ring of one, somewhere: ``(B, 1, H, W)`` in [0, 1] with a soft edge of a pixel."""
    b = len(image)
    down, right = _grid(image)
    u = rng.uniform(b, 6, 1, 1, device=image.device)
    y, x = down - (1.6 * u[:, 0] - 0.8), right - (1.6 * u[:, 1] - 0.8)  # (B, H, W)
    lobes = 3 + rng.integers(4, b, 1, 1, device=image.device)
    angle = torch.atan2(y, x) + 2 * math.pi * u[:, 4]
    lobed = 1 + 0.45 * torch.cos(lobes * angle)
    polygon = 1 / torch.cos(angle.remainder(2 * math.pi / lobes) - math.pi / lobes)  # over its inner radius
    disc = torch.ones_like(lobed)
    radius = (0.12 + 0.36 * u[:, 2]) * torch.where(u[:, 3] < 0.3, lobed, torch.where(u[:, 3] < 0.7, polygon, disc))
    inside = radius - torch.hypot(x, y)
    inside = torch.where(u[:, 5] < 0.2, torch.minimum(inside, 0.5 * radius - inside), inside)  # a fifth are rings
    return (0.5 + inside * min(image.shape[2:]) / 2).clamp(0, 1)[:, None]


def _half_plane(image: Tensor, rng: Rng) -> Tensor:
    """One side of a line through the middle third, bool ``(B, 1, H, W)``; half of the lines run along an axis."""
    b = len(image)
    down, right = _grid(image)
    u = rng.uniform(b, 2, 1, 1, device=image.device)
    turn = rng.integers(16, b, 1, 1, device=image.device) * math.pi / 4  # in 8 directions, or in any
    angle = torch.where(turn < 2 * math.pi, turn, 2 * math.pi * u[:, 0])
    return (torch.cos(angle) * right + torch.sin(angle) * down > 0.6 * u[:, 1] - 0.3)[:, None]


def _box(image: Tensor, rng: Rng) -> Tensor:
    """A rectangle of a fifth to three fifths of the sides, bool ``(B, 1, H, W)``."""
    down, right = _grid(image)
    u = rng.uniform(len(image), 4, 1, 1, device=image.device)
    half = 0.2 + 0.4 * u[:, :2]
    y, x = (2 * u[:, 2] - 1) * (1 - half[:, 0]), (2 * u[:, 3] - 1) * (1 - half[:, 1])
    return (((down - y).abs() <= half[:, 0]) & ((right - x).abs() <= half[:, 1]))[:, None]


# -- colours --------------------------------------------------------------------------------------


def _colour(image: Tensor, rng: Rng) -> Tensor:
    """A colour for each picture, ``(B, C, 1, 1)``: any, a grey (black and white among them)."""
    b, c = image.shape[:2]
    any_colour = 2 * rng.uniform(b, c, 1, 1, device=image.device) - 1
    grey = (3 * rng.uniform(b, 1, 1, 1, device=image.device) - 1.5).clamp(-1, 1).expand_as(any_colour)
    return torch.where(rng.integers(2, b, 1, 1, 1, device=image.device) == 0, any_colour, grey)


def _paint(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A colour that ``others`` show, ``(B, C, 1, 1)``: of 16 of their pixels, the one that differs most from them."""
    b, c = image.shape[:2]
    at = rng.integers(others[0, 0].numel(), b, 1, 16, device=image.device).expand(-1, c, -1)
    pixels = others.flatten(2).gather(2, at)  # (B, C, 16)
    furthest = (pixels - others.mean((2, 3))[:, :, None]).abs().sum(1).argmax(1)
    return pixels.gather(2, furthest.view(b, 1, 1).expand(-1, c, -1))[..., None]


# -- pictures that are damaged --------------------------------------------------------------------


def mixed(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Two pictures, one through the other."""
    share = 0.3 + 0.4 * rng.uniform(len(image), 1, 1, 1, device=image.device)
    return image + share * (others - image)


def joined(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A part of one picture beside the rest of another."""
    return torch.where(_half_plane(image, rng), others, image)


def pasted(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A shape in a colour of another picture, or in any, painted on the picture."""
    paint = torch.where(
        rng.uniform(len(image), 1, 1, 1, device=image.device) < 0.7, _paint(image, others, rng), _colour(image, rng)
    )
    return image + _blob(image, rng) * (paint - image)


def patched(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A rectangle or a shape of another picture, from elsewhere in it."""
    mask = _box(image, rng).float() if int(rng.integers(2, 1)) else _blob(image, rng)
    height, width = image.shape[2:]
    moved = others.roll((_far(height, rng), _far(width, rng)), (2, 3))
    return image + mask * (moved - image)


def covered(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A rectangle of one colour, or all but it."""
    box = _box(image, rng) ^ (rng.uniform(len(image), 1, 1, 1, device=image.device) < 0.2)
    return torch.where(box, _colour(image, rng), image)


def shuffled(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Cut into 2x2, 4x4 or 8x8 parts, all of which change places."""
    b, c, height, width = image.shape
    parts = (2, 2, 4, 8)[int(rng.integers(4, 1))]
    h, w = height // parts, width // parts
    if not h or not w:
        return -image
    cells = image[:, :, : h * parts, : w * parts].reshape(b, c, parts, h, parts, w).transpose(3, 4).flatten(2, 3)
    cycle = rng.uniform(b, parts * parts, device=image.device).argsort(1)
    order = torch.zeros_like(cycle).scatter(1, cycle, cycle.roll(1, 1))  # cells are (B, C, parts^2, h, w)
    cells = cells.gather(2, order[:, None, :, None, None].expand_as(cells))
    made = image.clone()
    made[:, :, : h * parts, : w * parts] = cells.view(b, c, parts, parts, h, w).transpose(3, 4).reshape(
        b, c, h * parts, w * parts
    )
    return made


def rolled(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Shifted by a quarter to three quarters of a side; what leaves comes in at the other end."""
    height, width = image.shape[2:]
    down, right = ((1, 0), (0, 1), (1, 1))[int(rng.integers(3, 1))]
    return image.roll((down * _far(height, rng), right * _far(width, rng)), (2, 3))


def turned(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Upside down, or where it is square by a quarter, a half or three."""
    which = int(rng.integers(4 if image.shape[2] == image.shape[3] else 2, 1))
    return image.flip(2) if which == 0 else image.rot90((2, 1, 3)[which - 1], (2, 3))


def recoloured(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Every channel a random sum of all of them; a third of them negatives."""
    b, c = image.shape[:2]
    mixing = rng.normal(b, c, c, device=image.device) * c**-0.5
    made = torch.einsum("bij,bjhw->bihw", mixing, image) + 0.3 * rng.normal(b, c, 1, 1, device=image.device)
    return torch.where(rng.uniform(b, 1, 1, 1, device=image.device) < 1 / 3, -image, made)


def enlarged(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A part of a third to two thirds of the sides, enlarged to the whole."""
    height, width = image.shape[2:]
    share = (0.35 + 0.3 * rng.uniform(1)).item()
    h, w = max(1, int(share * height)), max(1, int(share * width))
    top, left = int(rng.integers(height - h + 1, 1)), int(rng.integers(width - w + 1, 1))
    return F.interpolate(image[:, :, top : top + h, left : left + w], size=(height, width), mode="bilinear")


def blurred(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Brought down to 2 to a fifth of the pixels a side and up again, smoothly or in squares."""
    height, width = image.shape[2:]
    side = 2 + int(rng.integers(max(1, min(height, width) // 5 - 1), 1))
    small = F.interpolate(image, size=(side, side), mode="area")
    return F.interpolate(small, size=(height, width), mode=("bilinear", "nearest")[int(rng.integers(2, 1))])


def warped(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Bent by a smooth field of displacements, of a twentieth to a sixth of the sides."""
    b, _, height, width = image.shape
    down, right = _grid(image)
    side = 3 + int(rng.integers(4, 1))
    field = F.interpolate(rng.normal(b, 2, side, side, device=image.device), (height, width), mode="bicubic")
    field = field * (0.1 + 0.2 * rng.uniform(b, 1, 1, 1, device=image.device))
    at = torch.stack([right + field[:, 0], down + field[:, 1]], 3)  # (B, H, W, 2)
    return F.grid_sample(image.float(), at, padding_mode="border", align_corners=False)


def ruled(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Under one to six straight lines of one colour, a pixel or two wide."""
    b = len(image)
    down, right = _grid(image)
    ink, made = _colour(image, rng), image
    for _ in range(1 + int(rng.integers(6, 1))):
        u = rng.uniform(b, 3, 1, 1, device=image.device)
        from_line = (torch.cos(math.pi * u[:, 0]) * right + torch.sin(math.pi * u[:, 0]) * down - 1.6 * u[:, 1] + 0.8).abs()
        made = torch.where((from_line * min(image.shape[2:]) < 1 + u[:, 2])[:, None], ink, made)
    return made


def noisy(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Under normal noise of a deviation of 0.4 to 1.2, or with up to half of the pixels replaced."""
    u = rng.uniform(len(image), 2, 1, 1, 1, device=image.device)
    noise = rng.normal(*image.shape, device=image.device)
    replaced = rng.uniform(*image[:, :1].shape, device=image.device) < 0.1 + 0.4 * u[:, 0]
    return torch.where(u[:, 1] < 0.5, image + (0.4 + 0.8 * u[:, 0]) * noise, torch.where(replaced, noise.sign(), image))


# -- pictures made of numbers ---------------------------------------------------------------------


def constant(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """One colour, or running into another, with a little noise on half of them."""
    down, right = _grid(image)
    u = rng.uniform(len(image), 3, 1, 1, device=image.device)
    along = (torch.cos(2 * math.pi * u[:, 0]) * right + torch.sin(2 * math.pi * u[:, 0]) * down + 1)[:, None] / 2
    first = _colour(image, rng)
    made = first + (u[:, 1:2] < 0.5) * along * (_colour(image, rng) - first)
    return made + (u[:, 2:] < 0.5) * 0.1 * rng.normal(*image.shape, device=image.device)


def striped(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Waves in one direction between two colours, smooth or with hard edges."""
    down, right = _grid(image)
    u = rng.uniform(len(image), 4, 1, 1, device=image.device)
    along = torch.cos(2 * math.pi * u[:, 0]) * right + torch.sin(2 * math.pi * u[:, 0]) * down
    wave = torch.sin(math.pi * (1 + min(image.shape[2:]) / 3 * u[:, 1].square()) * along + 2 * math.pi * u[:, 2])
    wave = torch.where(u[:, 3] < 0.5, wave, wave.sign())[:, None] / 2 + 0.5
    first = _colour(image, rng)
    return first + wave * (_colour(image, rng) - first)


def blotched(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Smooth random colour, of 2x2 values to one a pixel, with or without noise."""
    b, c, height, width = image.shape
    side = min((2, 4, 8, 16, height)[int(rng.integers(5, 1))], height, width)
    channels = c if int(rng.integers(2, 1)) else 1
    smooth = F.interpolate(rng.normal(b, channels, side, side, device=image.device), (height, width), mode="bilinear")
    u = rng.uniform(b, 2, 1, 1, device=image.device)[..., None]
    noise = rng.normal(b, channels, height, width, device=image.device)
    return (_colour(image, rng) / 2 + (0.2 + u[:, 0]) * smooth + (u[:, 1] - 0.4).clamp(min=0) * noise).expand(b, c, -1, -1)


def cluttered(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """One to eight shapes of any colour on a colour or on blots: the outlines that photographs and icons have."""
    made = (constant if int(rng.integers(2, 1)) else blotched)(image, others, rng)
    for _ in range(1 + int(rng.integers(8, 1))):
        made = made + _blob(image, rng) * (_colour(image, rng) - made)
    return made


def _far(side: int, rng: Rng) -> int:
    """A shift of a quarter to three quarters of ``side``."""
    return side // 4 + int(rng.integers(max(1, side // 2), 1))


def halved(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Two pictures mixed half and half."""
    return (image + others) / 2


def negative(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Light for dark."""
    return -image


def painted(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Smooth random colour, 4x4 values, enlarged, with noise of up to a deviation of 1."""
    small = rng.normal(*image.shape[:2], 4, 4, device=image.device)
    return gaussian_noise(F.interpolate(small, image.shape[2:], mode="bilinear"), rng, 1.0)


# What the networks that read are shown, which need only notice what they cannot read.
CLASSIC: tuple[Kind, ...] = (halved, negative, painted)
DAMAGED: tuple[Kind, ...] = (mixed, joined, pasted, patched, covered, ruled, shuffled, rolled, turned, enlarged, warped)
DAMAGED += (recoloured, blurred, noisy)
MADE: tuple[Kind, ...] = (constant, striped, blotched, cluttered)
# What is least unlike the pictures is shown most often.
KINDS: tuple[Kind, ...] = (*DAMAGED, *MADE, *3 * (joined,), *4 * (pasted,), *2 * (patched,), shuffled)
