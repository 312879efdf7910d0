"""Pictures of each world a second, with all their labels; scenes beside the same ones drawn with Pillow.

    python benchmarks/world_rate.py [--size 64] [--batch 256] [--threads 1]

Pillow draws the shapes four times as large and shrinks them, which is how it anti-aliases.
"""

from __future__ import annotations

import math

import _race
import numpy as np
import torch
from PIL import Image, ImageDraw

from zeuxis.data.library import WORLDS, open_source
from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.placement import HAZE, Placement
from zeuxis.data.worlds.scenes import Scenes

OVERSAMPLED = 4


def pillow(scene: Placement, k: int, size: int) -> Image.Image:
    """Scene ``k``, drawn by Pillow."""
    side = size * OVERSAMPLED
    y = (np.arange(side)[:, None] + 0.5) / side  # (side, 1)
    top, foot, ground = (t[k].numpy() for t in (scene.sky_top, scene.sky_foot, scene.ground))
    fall = np.minimum(1, y / float(scene.horizon[k]))
    earth = np.clip((y - float(scene.horizon[k])) / HAZE + 0.5, 0, 1)
    column = (top * (1 - fall) + foot * fall) * (1 - earth) + ground * earth
    page = Image.fromarray(column.round().astype(np.uint8)[:, None]).resize((side, side), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(page)
    for which, shape in enumerate(scene.shapes()[k].tolist()):
        if shape >= 0:
            x, y = (float(v) * side for v in scene.centre[k, which])
            r, colour = float(scene.radius[k, which]) * side, tuple(round(v) for v in scene.paint[k, which].tolist())
            _shape(pen, grammar.SHAPES[shape], x, y, r, colour)
    return page.resize((size, size), Image.Resampling.BOX)


def _shape(pen: ImageDraw.ImageDraw, name: str, x: float, y: float, r: float, colour: tuple[int, ...]) -> None:
    if name == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif name == "ring":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=round(r / 2))
    else:
        radii = {"square": [1.0] * 4, "triangle": [1.0] * 3, "star": [1.0, 0.47] * 5}[name]
        first = math.pi / 4 if name == "square" else math.pi / 2
        corners = [
            (
                x + r * q * math.cos(first + 2 * math.pi * i / len(radii)),
                y - r * q * math.sin(first + 2 * math.pi * i / len(radii)),
            )
            for i, q in enumerate(radii)
        ]
        pen.polygon(corners, fill=colour)


def main() -> None:
    given = _race.arguments(__doc__, size=64, batch=256).parse_args()
    torch.set_num_threads(given.threads)
    size, index = given.size, torch.arange(given.batch)
    worlds = [open_source(name, size) for name in WORLDS]
    seconds = _race.race(
        {name: lambda source=source: source.batch(index) for name, source in zip(WORLDS, worlds, strict=True)},
        given.turns,
    )
    rows = [_race.alone(f"{name}, {size}x{size}, all labels", seconds[name], given.batch) for name in WORLDS]
    scenes = Scenes(size)
    staged = scenes.placed(index)
    beside = _race.race(
        {
            _race.OURS: lambda: scenes.batch(index),
            "Pillow, without labels": lambda: [pillow(staged, k, size) for k in range(given.batch)],
        },
        given.turns,
    )
    rows += _race.compared(f"scenes, {size}x{size}, all labels", beside, given.batch)
    _race.told(rows, given)


if __name__ == "__main__":
    main()
