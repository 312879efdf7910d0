"""The augmentations of StyleGAN2-ADA, each applied to a picture with probability p, all differentiable.

Karras, Aittala, Hellsten, Laine, Lehtinen and Aila 2020 (arXiv:2006.06676), appendix B. A discriminator that sees
pictures only after such changes does not ask a generator for changed ones, as long as enough are left alone to say
which way is up (section 2.2).

A change of geometry is a matrix ``(B, 3, 3)`` that takes points of the new picture, in pixels from its middle, to those
of the old; one of colour is a matrix ``(B, 4, 4)`` that takes old to new.

Axes: S rows and columns of a square picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, pad

from zeuxis.errors import Unsupported
from zeuxis.nn.grid_sample import sample_at
from zeuxis.nn.upfirdn import downsample, normalised, upsample
from zeuxis.rng import Rng

SHIFT = 0.125  # of whole pixels, at most, and the deviation of others, as a share of the side
SCALE = 0.2  # deviation of log2 of the size, and of the aspect
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0  # deviations; of the latter two that of log2
SYM6 = normalised(  # the low-pass filter of Daubechies' symlet of order 6
    (
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    )
)
MARGIN = len(SYM6) // 4  # pixels about a picture that the filter reaches


def blits(n: int, rng: Rng, p: float, side: int) -> Tensor:
    """Mirrored, turned by quarters, shifted by whole pixels. ``(n, 3, 3)``."""
    mirrored = _kept(rng, n, p, rng.integers(2, n), 0)
    quarters = _kept(rng, n, p, rng.integers(4, n), 0)
    shift = _kept(rng, n, p, (2 * rng.uniform(n, 2) - 1) * SHIFT, 0)
    across, down = (shift * side).round().unbind(1)
    matrix = scaling(1.0 - 2.0 * mirrored, torch.ones(n))
    return matrix @ rotation(quarters * (math.pi / 2)) @ translation(-across, -down)


def warps(n: int, rng: Rng, p: float, side: int) -> Tensor:
    """Scaled, turned, stretched along some direction, shifted by any distance. ``(n, 3, 3)``."""
    size = _kept(rng, n, p, (rng.normal(n) * SCALE).exp2(), 1)
    # The picture is turned before or after it is stretched, with probability p together.
    turn = 1 - math.sqrt(max(0.0, 1 - p))
    before, after = (_kept(rng, n, turn, (2 * rng.uniform(n) - 1) * math.pi, 0) for _ in range(2))
    aspect = _kept(rng, n, p, (rng.normal(n) * SCALE).exp2(), 1)
    across, down = _kept(rng, n, p, rng.normal(n, 2) * SHIFT * side, 0).unbind(1)
    matrix = scaling(1 / size, 1 / size) @ rotation(before) @ scaling(1 / aspect, aspect)
    return matrix @ rotation(after) @ translation(-across, -down)


def colours(n: int, rng: Rng, p: float, *, grey: bool) -> Tensor:
    """Brighter, of more contrast, of inverted lightness, of turned hue, of more saturation. ``(n, 4, 4)``.

    Of grey pictures hue and saturation are left out.
    """
    bright = _kept(rng, n, p, rng.normal(n) * BRIGHTNESS, 0)
    contrast = _kept(rng, n, p, (rng.normal(n) * CONTRAST).exp2(), 1)
    inverted = _kept(rng, n, p, rng.integers(2, n), 0)
    grey_axis = torch.tensor([1.0, 1.0, 1.0, 0.0]) / math.sqrt(3)
    along = torch.outer(grey_axis, grey_axis)
    matrix = torch.eye(4).repeat(n, 1, 1)
    matrix[:, :3, :3] *= contrast[:, None, None]
    matrix[:, :3, 3] = (contrast * bright)[:, None]
    matrix = (torch.eye(4) - 2 * along * inverted[:, None, None]) @ matrix
    if grey:
        return matrix
    angle = _kept(rng, n, p, (2 * rng.uniform(n) - 1) * math.pi, 0)
    saturation = _kept(rng, n, p, (rng.normal(n) * SATURATION).exp2(), 1)
    matrix = _about_grey(angle) @ matrix
    return (along + (torch.eye(4) - along) * saturation[:, None, None]) @ matrix


def moved(image: Tensor, matrix: Tensor) -> Tensor:
    """``image`` ``(B, C, H, W)`` under a change of geometry, filtered so that nothing aliases.

    What comes from outside is the picture's reflection. Shifts by whole pixels are exact. Mirror images and quarter
    turns are not, nor are they in the authors' program: the filter is not quite symmetric.
    """
    b, c, h, w = image.shape
    before, after, above, below = _margins(matrix, h, w)
    image = upsample(pad(image, (before, after, above, below), mode="reflect"), SYM6)
    matrix = translation(torch.tensor((before - after) / 2), torch.tensor((above - below) / 2)) @ matrix
    # To twice the size, whose pixels' middles lie elsewhere, and to the units of affine_grid.
    two, half = torch.tensor(2.0), torch.tensor(0.5)
    matrix = scaling(two, two) @ matrix @ scaling(half, half)
    matrix = translation(-half, -half) @ matrix @ translation(half, half)
    rows, columns = 2 * (h + 2 * MARGIN), 2 * (w + 2 * MARGIN)
    to = scaling(torch.tensor(2 / image.shape[3]), torch.tensor(2 / image.shape[2]))
    matrix = to @ matrix @ scaling(torch.tensor(columns / 2), torch.tensor(rows / 2))
    grid = affine_grid(matrix[:, :2].to(image), [b, c, rows, columns], align_corners=False)
    return downsample(sample_at(image, grid), SYM6, crop=2 * MARGIN, flip=True)


def recoloured(image: Tensor, matrix: Tensor) -> Tensor:
    """``image`` ``(B, C, H, W)``, grey or of three channels, under a change of colour; it may leave [-1, 1]."""
    matrix = matrix.to(image)
    if image.shape[1] == 1:
        line = matrix[:, :3].mean(1)  # of equal channels, the mean of what becomes of them
        return image * line[:, :3].sum(1).view(-1, 1, 1, 1) + line[:, 3].view(-1, 1, 1, 1)
    if image.shape[1] != 3:
        raise Unsupported(f"pictures of {image.shape[1]} channels have no hue: leave the changes of colour out")
    return (matrix[:, :3, :3] @ image.flatten(2) + matrix[:, :3, 3:]).view(image.shape)


def augmented_adaptively(image: Tensor, rng: Rng, p: float, *, geometry: bool = True, colour: bool = True) -> Tensor:
    """``image`` ``(B, C, S, S)`` float32 changed in every way with probability ``p`` each; at 0 it is the same."""
    if p <= 0:
        return image
    n, side = len(image), image.shape[-1]
    with torch.autocast(image.device.type, enabled=False):
        matrix = blits(n, rng, p, side)
        out = moved(image.float(), matrix @ warps(n, rng, p, side) if geometry else matrix)
        return recoloured(out, colours(n, rng, p, grey=image.shape[1] == 1)) if colour else out


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """``(..., 3, 3)``, of factors ``(...)``."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([[x, zero, zero], [zero, y, zero], [zero, zero, one]])


def rotation(angle: Tensor) -> Tensor:
    """``(..., 3, 3)``: by ``angle`` ``(...)`` from the x axis towards the y axis."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    sin, cos = angle.sin(), angle.cos()
    return _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])


def translation(x: Tensor, y: Tensor) -> Tensor:
    """``(..., 3, 3)``: by ``x`` and ``y`` ``(...)``."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([[one, zero, x], [zero, one, y], [zero, zero, one]])


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _about_grey(angle: Tensor) -> Tensor:
    """Turned by ``angle`` ``(n,)`` about the axis of greys: ``(n, 4, 4)`` (Rodrigues)."""
    v = 1 / math.sqrt(3)
    cross = torch.tensor([[0.0, -v, v], [v, 0.0, -v], [-v, v, 0.0]])
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    matrix = torch.eye(4).repeat(len(angle), 1, 1)
    matrix[:, :3, :3] = cos * torch.eye(3) + sin * cross + (1 - cos) / 3
    return matrix


def _kept(rng: Rng, n: int, p: float, value: Tensor, otherwise: float) -> Tensor:
    """``value`` ``(n, ...)`` for those of ``n`` pictures that probability ``p`` chooses, ``otherwise`` for the rest."""
    chosen = rng.uniform(n) < p
    return torch.where(
        chosen.view(n, *[1] * (value.ndim - 1)), value.float(), torch.tensor(otherwise, dtype=torch.float32)
    )


def _margins(matrix: Tensor, h: int, w: int) -> tuple[int, int, int, int]:
    """Pixels left, right, above and below from which a new picture takes something, as many as reflection allows."""
    x, y = (w - 1) / 2, (h - 1) / 2
    corners = torch.tensor([[-x, x, x, -x], [-y, -y, y, y], [1.0, 1.0, 1.0, 1.0]])
    reached = (matrix @ corners)[:, :2].transpose(0, 1).flatten(1)  # x and y of every corner
    around = torch.cat([-reached, reached]).amax(1) + 2 * MARGIN - torch.tensor([x, y, x, y])
    left, above, right, below = (
        math.ceil(min(max(float(m), 0.0), side - 1)) for m, side in zip(around, (w, h, w, h), strict=True)
    )
    return left, right, above, below
