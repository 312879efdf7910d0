"""Draw ``docs/images/gan-points.webp``: the game of 2014 on points in one dimension, as it moves.

Run as ``python tools/draw_points.py [SEED]``. The hill is the data's density, the bars are what the generator makes,
the line is what the discriminator says of each point, from 0 at the foot to 1 at the top, and the dotted one what the
best discriminator would say of the generator as it stands, p / (p + q).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.catalog.build import build
from zeuxis.game import Player, System, Turn, play_round
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.adversarial._line import ScalarNormal

DATA = ScalarNormal(0.35, 0.15)
MODEL = {"nz": 1, "hidden": 32, "units": 16, "pieces": 4, "keep_input": 1.0, "keep_hidden": 1.0, "critic_steps": 2}
RATE = 4e-3  # of Adam, which takes hundreds of rounds where plain gradient descent takes thousands
WIDTH, HEIGHT, BINS, TALLEST = 420, 210, 70, 4.0  # pixels; bars; the density that reaches the top
FRAMES, EVERY, BATCH, MANY = 40, 7, 256, 8_000  # rounds between frames; points of a round, and of a frame
SEEN = 0.03  # the density below which nothing is said of the best
HILL, BAR, SAYS, BEST = (206, 224, 240), (238, 150, 76), (30, 60, 110), (120, 120, 120)


def main(seed: int = 0) -> None:
    system = build("gan", DataSpec(shape=Shape(1, 1, 1)), MODEL, seed)
    players, rng = system.players(), Stream(seed, "points")
    optimisers = {p.name: torch.optim.Adam(p.parameters(), RATE, (0.0, 0.99)) for p in players}

    def step(player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> None:
        optimisers[player.name].zero_grad()
        value = loss(turns[0])
        assert value is not None  # no player of this game passes
        value.backward()
        optimisers[player.name].step()

    frames = []
    for k in range(FRAMES * EVERY):
        for optimiser in optimisers.values():
            optimiser.param_groups[0]["lr"] = RATE * (1 - k / (FRAMES * EVERY))  # or they circle for ever
        if k % EVERY == 0:
            frames.append(frame(system, seed))
        play_round(system, players, partial(drawn, rng, k), step)
    target = Path(__file__).parent.parent / "docs" / "images" / "gan-points.webp"
    times = [120] * (len(frames) - 1) + [2000]
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=70, method=4)


def drawn(rng: Stream, k: int) -> list[Turn]:
    """The turn of round ``k``, on fresh points ``(B, 1, 1, 1)``."""
    return [Turn(Batch(DATA.draw(BATCH, rng)[:, :, None, None]), rng, k, k / (FRAMES * EVERY))]


@torch.no_grad()
def frame(system: System, seed: int) -> Image.Image:
    """The game as it stands."""
    edges = torch.linspace(-1, 1, BINS + 1)
    x = (edges[1:] + edges[:-1]) / 2
    made = system.decode(Stream(seed, "frame").normal(MANY, MODEL["nz"])).flatten()
    q = torch.histc(made, BINS, -1, 1) / MANY * BINS / 2  # a density
    p = DATA.density(x)
    says = torch.sigmoid(system.get_submodule("discriminator")(x[:, None]))
    best = p / (p + q).clamp(min=1e-6)
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    across = [(k + 0.5) * WIDTH / BINS for k in range(BINS)]
    draw.polygon([(0, HEIGHT), *zip(across, up(p / TALLEST), strict=True), (WIDTH, HEIGHT)], fill=HILL)
    for left, top in zip(across, up(q / TALLEST), strict=True):
        draw.rectangle((left - 2, top, left + 2, HEIGHT), fill=BAR)
    for point, top, seen in zip(across, up(best), p + q, strict=True):
        if seen > SEEN:
            draw.ellipse((point - 1.5, top - 1.5, point + 1.5, top + 1.5), fill=BEST)
    for one, other in pairwise(zip(across, up(says), strict=True)):
        draw.line((*one, *other), fill=SAYS, width=2)
    return picture


def up(share: Tensor) -> list[float]:
    """Shares of the height as rows of pixels, from the top."""
    return [HEIGHT * (1 - min(1.0, float(s))) for s in share]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
