"""One scene in several manners: as it is, sketched, in brush strokes, as a mosaic."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zeuxis.batch import to_float
from zeuxis.counter import mix, uniforms
from zeuxis.data.worlds.placement import COS, SIN
from zeuxis.data.worlds.rich.arrange import Arrangement
from zeuxis.data.worlds.rich.paint import Layers, layers, picture
from zeuxis.rng import derive_seed

PAPER, INK = torch.tensor([250.0, 246.0, 236.0]), torch.tensor([52.0, 48.0, 60.0])
LINE = 0.011  # half the width of a line, as a share of the side; half a pixel at least
WASH = 0.25  # how much of the colours a sketch keeps
TILES, GROUT, SHADOW = 20, 0.12, 0.55  # tiles along a side; the gap between two, in tiles; how dark the gap is
STROKES, LONG, WIDE = 26, 0.055, 0.02  # strokes along a side; half their length and half their width
UNEVEN = 16.0  # how far a stroke's or a tile's colour is off, either way
_KEY = derive_seed(0, "rich", "styles")


def flat(scene: Arrangement, made: Layers) -> Tensor:
    """The scene as it is: ``(B, 3, H, W)`` in [0, 255], as all of these."""
    return (picture(scene, made) + 1) * 127.5


def sketch(scene: Arrangement, made: Layers) -> Tensor:
    """Outlines in ink with a thin wash on paper."""
    size = made.corner.shape[0]
    half = max(0.5, LINE * size)
    line = (half + 0.5 - made.distance.abs()).clamp(0, 1)  # (B, 2, H, W)
    row = torch.arange(size, device=line.device) + 0.5
    ground = (half + 0.5 - (row - (scene.horizon * size)[:, None]).abs()).clamp(0, 1)[:, :, None]  # (B, H, 1)
    cover = made.cover
    hidden = ground * (1 - cover[:, 0])
    ink = torch.maximum(torch.maximum(line[:, 0], hidden) * (1 - cover[:, 1]), line[:, 1])[:, None]
    paper = PAPER.to(line.device)[:, None, None]
    washed = paper + WASH * (flat(scene, made) - paper)
    return washed + ink * (INK.to(line.device)[:, None, None] - washed)


def mosaic(scene: Arrangement, made: Layers) -> Tensor:
    """Square tiles of one colour each, with gaps between them."""
    size = made.corner.shape[0]
    at = (torch.arange(size, device=scene.horizon.device) + 0.5) * TILES / size
    tile = at.long()  # (size,)
    number = tile[:, None] * TILES + tile[None, :]  # (H, W)
    image = flat(scene, made)
    flatly = image.flatten(2)  # (B, 3, H W)
    sums = torch.zeros(*flatly.shape[:2], TILES * TILES, device=image.device).index_add_(2, number.flatten(), flatly)
    counts = number.flatten().bincount(minlength=TILES * TILES).clamp(min=1)
    off = UNEVEN * (2 * uniforms(_KEY, scene.key, TILES * TILES) - 1)[:, None]  # (B, 1, tiles)
    tiles = (sums / counts + off)[:, :, number.flatten()].view(image.shape)
    edge = torch.minimum(at - tile, 1 - (at - tile))  # to the border of the tile, in tiles
    gap = torch.minimum(edge[:, None], edge[None, :]) * size / TILES  # in pixels
    cover = (gap - GROUT / 2 * size / TILES + 0.5).clamp(0, 1)
    return tiles * (SHADOW + (1 - SHADOW) * cover)


def brush(scene: Arrangement, made: Layers) -> Tensor:
    """Strokes of the brush, each of the colour that is under it, the later over the earlier."""
    size = made.corner.shape[0]
    image = flat(scene, made)
    b, n = len(scene), STROKES * STROKES
    u = uniforms(_KEY, mix(scene.key), 4 * n).unflatten(1, (n, 4))
    cell = torch.arange(n, device=image.device)
    grid = torch.stack([cell % STROKES, cell // STROKES], 1)  # (n, 2)
    at = (grid + u[..., :2]) / STROKES * size  # (B, n, 2), in pixels
    under = at.long().clamp(max=size - 1)
    colour = image.flatten(2).gather(2, (under[..., 1] * size + under[..., 0])[:, None].expand(-1, 3, -1))
    colour = colour + UNEVEN * (2 * u[:, None, :, 2] - 1)  # (B, 3, n)
    turn = (u[..., 3] * len(COS)).long()
    cos, sin = COS.to(image.device)[turn], SIN.to(image.device)[turn]
    cos, sin = (cos + sin) * 0.5**0.5, (cos - sin) * 0.5**0.5  # about the diagonal
    long, wide = LONG * size, max(0.7, WIDE * size)
    reach = int(long) + 2
    window = torch.arange(-reach, reach + 1, device=image.device)
    x, y = under[..., 0:1] + window, under[..., 1:2] + window  # (B, n, w)
    dx, dy = (x + 0.5 - at[..., 0:1])[..., None, :], (y + 0.5 - at[..., 1:2])[..., :, None]
    along, across = (
        (dx * cos[..., None, None] + dy * sin[..., None, None]),
        (dy * cos[..., None, None] - dx * sin[..., None, None]),
    )
    inside = (along / long) ** 2 + (across / wide) ** 2 <= 1  # (B, n, w, w)
    inside &= ((x >= 0) & (x < size))[..., None, :] & ((y >= 0) & (y < size))[..., :, None]
    where = (y[..., :, None] * size + x[..., None, :]).clamp(0, size * size - 1)
    order = (u[..., 2] * (1 << 20)).long() * n + cell  # later strokes have higher numbers, no two the same
    value = torch.where(inside, order[..., None, None] + 1, 0)
    top = torch.zeros(b, size * size, dtype=torch.int64, device=image.device)
    top.scatter_reduce_(1, where.flatten(1), value.flatten(1), "amax")
    stroke = ((top - 1) % n)[:, None].expand(-1, 3, -1)
    painted = torch.where(top[:, None] > 0, colour.gather(2, stroke), image.flatten(2))
    return painted.view(image.shape)


STYLES: Mapping[str, Callable[[Arrangement, Layers], Tensor]] = {
    "flat": flat,
    "sketch": sketch,
    "brush": brush,
    "mosaic": mosaic,
}


def styled(scene: Arrangement, size: int, style: str) -> Tensor:
    """``scene`` in the manner called ``style``: ``(B, 3, size, size)`` in [-1, 1], on the 256 levels of a file."""
    return to_float(STYLES[style](scene, layers(scene, size)).round().clamp(0, 255))
