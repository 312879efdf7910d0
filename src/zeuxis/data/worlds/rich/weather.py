"""The background of rich scenes, and what falls in front of it: sky, sun or moon, clouds, ground, flowers, rain, snow.

Small things are splatted: each is a soft disc in a window of a few pixels, and where several meet the
largest coverage counts, which does not depend on their order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.counter import uniforms
from zeuxis.data.worlds.rich.arrange import Arrangement
from zeuxis.data.worlds.rich.facts import SEASONS, TIMES, WEATHERS
from zeuxis.rng import derive_seed

HAZE = 0.05  # the height over which sky turns to ground
GLOW = torch.tensor([[255, 246, 205], [214, 220, 255]], dtype=torch.float32)  # of the sun, of the moon
GLOW_RADIUS = torch.tensor([0.07, 0.035])
CLOUDS = 4
CLOUD = torch.tensor([[255, 255, 255], [74, 80, 98]], dtype=torch.float32)
FLOWERS, FLOWER_RADIUS = 12, 0.013
PETALS = torch.tensor([[250, 250, 250], [246, 150, 190], [250, 224, 90]], dtype=torch.float32)
DROPS, STREAK, DROP_RADIUS = 16, 6, 0.011  # drops, splats of each, their radius
SLANT, STREAK_LENGTH = -0.03, 0.1  # how far a streak goes to the left, and down
FLAKES, FLAKE_RADIUS = 28, 0.0165
LEAVES, LEAF_RADIUS = 12, 0.012  # on the ground in autumn
LEAF = torch.tensor([[196, 92, 40], [170, 120, 30], [120, 70, 40]], dtype=torch.float32)
FALLEN = torch.tensor([[112, 150, 224], [252, 252, 255]], dtype=torch.float32)  # rain, snow
OPACITY = (0.6, 0.95)
_KEY = derive_seed(0, "rich", "weather")
SLOTS = 2 * FLAKES + 4 * CLOUDS + 3 * FLOWERS


def backdrop(scene: Arrangement, size: int) -> Tensor:
    """Sky and ground with all that is behind the objects, ``(B, 3, size, size)`` in [0, 255]."""
    device = scene.horizon.device
    at = (torch.arange(size, device=device) + 0.5) / size
    horizon = scene.horizon[:, None]
    down = (at / horizon).clamp(max=1)[:, None]  # (B, 1, H)
    earth = ((at - horizon) / HAZE + 0.5).clamp(0, 1)[:, None, :, None]  # (B, 1, H, 1)
    sky = (scene.sky_top[..., None] * (1 - down) + scene.sky_foot[..., None] * down)[..., None]  # (B, 3, H, 1)
    image = sky.expand(-1, -1, -1, size).clone()
    time, season, weather = scene.factors[:, 0], scene.factors[:, 1], scene.factors[:, 2]
    u = uniforms(_KEY, scene.key, SLOTS)

    clear = (weather == WEATHERS.index("clear")).nonzero()[:, 0]
    x, y = at[None, None, :] - scene.sun[clear, 0, None, None], at[None, :, None] - scene.sun[clear, 1, None, None]
    off = (x * x + y * y) / (GLOW_RADIUS.to(device)[time[clear]] ** 2)[:, None, None]
    glow = (1.6 / (1 + off * off)).clamp(max=1)[:, None]  # (N, 1, H, W): a disc with a soft rim
    image[clear] += glow * (GLOW.to(device)[time[clear]][..., None, None] - image[clear])

    cloudy = (weather == WEATHERS.index("cloudy")).nonzero()[:, 0]
    white = torch.zeros(len(cloudy), size, size, device=device)
    for k in range(CLOUDS):
        place = u[cloudy, 4 * k : 4 * k + 4, None, None]  # (N, 4, 1, 1)
        wide, high = 0.10 + 0.12 * place[:, 2], 0.03 + 0.04 * place[:, 3]
        x, y = (at[None, None, :] - place[:, 0]) / wide, (at[None, :, None] - 0.05 - 0.4 * place[:, 1]) / high
        white = torch.maximum(white, (1 - x * x - y * y).clamp(min=0))
    image[cloudy] += (
        0.9 * white.clamp(max=0.6)[:, None] * (CLOUD.to(device)[time[cloudy]][..., None, None] - image[cloudy])
    )
    image = image + earth * (scene.ground[..., None, None] - image)

    scattered = u[:, 4 * CLOUDS : 4 * CLOUDS + 3 * FLOWERS].unflatten(1, (FLOWERS, 3))
    low = (scene.horizon + 0.04)[:, None]
    spots = torch.stack([scattered[..., 0], low + (0.98 - low) * scattered[..., 1]], -1)  # (B, FLOWERS, 2)
    for name, colours, radius in (("spring", PETALS, FLOWER_RADIUS), ("autumn", LEAF, LEAF_RADIUS)):
        rows = (season == SEASONS.index(name)).nonzero()[:, 0]
        kinds = (scattered[rows, :, 2] * len(colours)).long()
        light = torch.where(time[rows] == TIMES.index("night"), 0.35, 1.0)[:, None, None, None]
        for which, colour in enumerate(colours.to(device)):
            there = torch.where((kinds == which)[..., None], spots[rows], -1.0)  # others lie outside
            cover = _splat(there, radius, size)[:, None]
            image[rows] += cover * (colour[:, None, None] * light - image[rows])
    return image


def fall(scene: Arrangement, image: Tensor) -> Tensor:
    """``image`` (B, 3, H, W) in [0, 255] with the rain or the snow that falls in front of everything."""
    size, weather = image.shape[2], scene.factors[:, 2]
    u = uniforms(_KEY, scene.key, SLOTS)[:, -2 * FLAKES :].unflatten(1, (FLAKES, 2))
    image = image.clone()
    rainy = (weather == WEATHERS.index("rainy")).nonzero()[:, 0]
    steps = torch.arange(STREAK, device=image.device) / (STREAK - 1)
    slope = torch.tensor([SLANT, STREAK_LENGTH], device=image.device)
    streaks = (u[rainy, :DROPS, None] + steps[:, None] * slope).flatten(1, 2)  # (N, DROPS * STREAK, 2)
    snowy = (weather == WEATHERS.index("snowy")).nonzero()[:, 0]
    for rows, spots, radius, colour, opacity in (
        (rainy, streaks, DROP_RADIUS, FALLEN[0], OPACITY[0]),
        (snowy, u[snowy], FLAKE_RADIUS, FALLEN[1], OPACITY[1]),
    ):
        cover = opacity * _splat(spots, radius, size)[:, None]
        image[rows] += cover * (colour.to(image.device)[:, None, None] - image[rows])
    return image


def _splat(spots: Tensor, radius: float, size: int) -> Tensor:
    """How much discs about ``spots`` (B, N, 2), shares of the side, cover each pixel: ``(B, size, size)`` in [0, 1].

    A disc smaller than a pixel covers its pixel by the share of its area.
    """
    b = len(spots)
    r = max(radius * size, 0.5)
    faint = min(1.0, (radius * size / 0.5) ** 2)
    reach = math.ceil(r + 0.5)
    at = spots * size
    first = at.floor().long() - reach
    window = torch.arange(2 * reach + 1, device=spots.device)
    x, y = first[..., 0:1] + window, first[..., 1:2] + window  # (B, N, w)
    dx, dy = x + 0.5 - at[..., 0:1], y + 0.5 - at[..., 1:2]
    off = (dx * dx)[..., None, :] + (dy * dy)[..., :, None]  # (B, N, w, w)
    cover = (r + 0.5 - off.sqrt_()).clamp_(0, 1).mul_(faint)
    inside = ((x >= 0) & (x < size))[..., None, :] & ((y >= 0) & (y < size))[..., :, None]
    where = (y[..., :, None] * size + x[..., None, :]).clamp(0, size * size - 1)
    page = torch.zeros(b, size * size, device=spots.device)
    page.scatter_reduce_(1, where.flatten(1), (cover * inside).flatten(1), "amax")
    return page.view(b, size, size)
