"""On what share of foreign pictures does each recogniser abstain: python benchmarks/abstention.py [NAME ...]

A table in Markdown: a row for each kind of picture, a column for each shipped model that can abstain (or those that
are named, run folders among them). Its own held-out pictures should be recognised (more than 98 % of them), each other
kind be abstained on (90 % or more). With --alone: what the networks' own doubt abstains on, without detectors.

Real pictures are read from $ZEUXIS_DATA, and rows without theirs left out. A star marks kinds of which no detector was
shown the like in training; of the others it was shown the like with other numbers, of worlds (but terrain, motion and
scenes-styles, save where a recipe names them) other pictures. Where a kind is in distribution for a world (land upside
down is land), there is a dash. Halves of two scenes are now and then a scene.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.api.model import load
from zeuxis.batch import Batch
from zeuxis.catalog.listing import entry
from zeuxis.catalog.weights import shipped
from zeuxis.data.entries import kin
from zeuxis.data.foreign import LIKE_ANOTHER
from zeuxis.data.library import WORLDS, open_source
from zeuxis.data.worlds.placement import FIRST_SHAPE_CLASS, coverage
from zeuxis.data.worlds.scenes import Scenes
from zeuxis.errors import ZeuxisError
from zeuxis.rng import Stream
from zeuxis.spec import Shape
from zeuxis.systems.recognition._family import OODDetector

N = 192  # pictures of a kind
RICH = 9  # a rich scene has so many factors or more: time, season, weather, and those of its objects
OWN = 1024
DRAWN = ("scenes", "scenes-rich-all", "faces", "plants", "phantoms", "terrain", "motion", "scenes-styles")
REAL = (
    "nuclei128",
    "noto-emoji",
    "fluent-emoji",
    "nouns32",
    "cifar10",
    "fashion-mnist",
    "mnist",
    "digits",
    "clothing96",
    "grocery64",
    "photos-bsds200",
    "faces-gray64",
)
LEFT_RIGHT, UPPER_LOWER = "left and right halves of two", "upper and lower halves of two"
Pictures = Callable[[Tensor, Stream], Tensor]  # own pictures (B, C, H, W) to as many of another kind


def quarters_swapped(x: Tensor, rng: Stream) -> Tensor:
    h, w = x.shape[2] // 2, x.shape[3] // 2
    return x.roll((h, w), (2, 3))


def other(x: Tensor) -> Tensor:
    """Another picture for each; of faces another person's, of whom one after another shows eight."""
    return x.roll(len(x) // 2, 0)


def halves(x: Tensor, rng: Stream) -> Tensor:
    return torch.cat([x[..., : x.shape[3] // 2], other(x)[..., x.shape[3] // 2 :]], 3)


def top_and_foot(x: Tensor, rng: Stream) -> Tensor:
    return torch.cat([x[:, :, : x.shape[2] // 2], other(x)[:, :, x.shape[2] // 2 :]], 2)


def shuffled(x: Tensor, rng: Stream) -> Tensor:
    side = x.shape[2] // 4
    cells = F.unfold(x, side, stride=side)[:, :, rng.permutation(16)]
    return F.fold(cells, x.shape[2:], side, stride=side)


def tiled(x: Tensor, rng: Stream) -> Tensor:
    return F.avg_pool2d(x, 2).repeat(1, 1, 2, 2)


def framed(x: Tensor, rng: Stream) -> Tensor:
    """Small, within a grey frame."""
    small, side = F.avg_pool2d(x, 2), x.shape[2]
    return F.pad(small, (side // 4,) * 4, value=0.0)


def rippled(x: Tensor, rng: Stream) -> Tensor:
    """Rows shifted by a wave of a tenth of the side."""
    b, _, h, _ = x.shape
    grid = F.affine_grid(torch.eye(2, 3).expand(b, 2, 3), list(x.shape), align_corners=False).clone()
    grid[..., 0] += 0.2 * torch.sin(torch.arange(h) * 4 * torch.pi / h)[None, :, None]
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def gridded(x: Tensor, rng: Stream) -> Tensor:
    """Under black lines, every sixth row and column."""
    made = x.clone()
    made[:, :, ::6] = made[:, :, :, ::6] = -1
    return made


def mirrored_half(x: Tensor, rng: Stream) -> Tensor:
    """The upper half over its own reflection."""
    top = x[:, :, : x.shape[2] // 2]
    return torch.cat([top, top.flip(2)], 2)


def checkerboard(x: Tensor, rng: Stream) -> Tensor:
    side = 2 + rng.integers(7, len(x), 1, 1)
    at = torch.arange(x.shape[2])
    board = ((at[None, :, None] // side + at[None, None, :] // side) % 2).float()[:, None]
    one, two = (2 * rng.uniform(2, *x.shape[:2], 1, 1) - 1).unbind(0)
    return one + board * (two - one)


def fractal(x: Tensor, rng: Stream) -> Tensor:
    """Noise of all octaves, as Perlin's."""
    made = torch.zeros_like(x)
    side = 2
    while side <= x.shape[2]:
        made += F.interpolate(rng.normal(*x.shape[:2], side, side), x.shape[2:], mode="bicubic") / side
        side *= 2
    return (1.5 * made).clamp(-1, 1)


def contrast(x: Tensor, rng: Stream) -> Tensor:
    """Two levels a channel."""
    return torch.where(x > x.mean((2, 3), keepdim=True), 1.0, -1.0)


def grey(x: Tensor, rng: Stream) -> Tensor:
    return x.mean(1, keepdim=True).expand_as(x)


def plain(value: float) -> Pictures:
    return lambda x, rng: torch.full_like(x, value)


def strongly_blurred(x: Tensor, rng: Stream) -> Tensor:
    return F.interpolate(F.interpolate(x, size=(5, 5), mode="area"), x.shape[2:], mode="bilinear")


def third_object(x: Tensor, rng: Stream) -> Tensor:
    """Scenes of two objects with one of another scene of the same time of day, beside them."""
    size, world = x.shape[2], Scenes(x.shape[2], "test")
    found = x[:0]
    for index in torch.arange(4000).split(500):
        if len(found) >= len(x):
            break
        batch, other = world.batch(index), world.batch(index + 4000)
        cover, more = coverage(world.placed(index), size), coverage(world.placed(index + 4000), size)[:, :1]
        pair = batch.condition.factors[:, 7] > 0  # type: ignore[index]
        apart = (F.max_pool2d(cover.amax(1, keepdim=True), 3, 1, 1) * more).amax((1, 2, 3)) == 0
        alike = batch.condition.factors[:, 0] == other.condition.factors[:, 0]  # type: ignore[index]
        image = torch.where(more > 0, batch.image + more * (other.image - batch.image), batch.image)
        found = torch.cat([found, image[pair & apart & alike]])
    return found[: len(x)]


def squared(x: Tensor, rng: Stream) -> Tensor:
    side = x.shape[2]
    made = x.clone()
    made[:, :, side // 3 : 2 * side // 3, side // 3 : 2 * side // 3] = -1
    return made


def without_seam(batch: Batch, dim: int) -> Tensor:
    """Which joined halves of two scenes differ from a scene at most in a step of tone, bool ``(B,)``.

    Both are of one time, weather and (where ground meets ground beside it) season, and no object lies on the line.
    """
    factors, shown = batch.condition.factors, batch.condition.layout
    assert factors is not None and shown is not None
    setting = factors[:, :1] if factors.shape[1] < RICH else factors[:, :3] if dim == 3 else factors[:, [0, 2]]
    line = shown.narrow(dim - 1, shown.shape[dim - 1] // 2 - 1, 2)  # (B, H, W) has no channels
    whole = (line < FIRST_SHAPE_CLASS).flatten(1).all(1)
    return (setting == other(setting)).all(1) & whole & other(whole)


KINDS: dict[str, Pictures] = {
    "black": plain(-1),
    "white": plain(1),
    "grey": plain(0),
    "one colour": lambda x, rng: (2 * rng.uniform(*x.shape[:2], 1, 1) - 1).expand_as(x),
    "uniform noise": lambda x, rng: 2 * rng.uniform(*x.shape) - 1,
    "normal noise": lambda x, rng: (0.5 * rng.normal(*x.shape)).clamp(-1, 1),
    "fractal noise *": fractal,
    "checkerboard *": checkerboard,
    "stripes": lambda x, rng: torch.sin(torch.arange(x.shape[3]) * (0.3 + rng.uniform(len(x), 1, 1, 1))).expand_as(x),
    "quarters swapped": quarters_swapped,
    LEFT_RIGHT: halves,
    UPPER_LOWER: top_and_foot,
    "4x4 parts shuffled": shuffled,
    "upside down": lambda x, rng: x.flip(2),
    "a quarter turn": lambda x, rng: x.rot90(1, (2, 3)),
    "negative": lambda x, rng: -x,
    "two mixed": lambda x, rng: (x + other(x)) / 2,
    "blurred to 5x5": strongly_blurred,
    "noise of 0.6": lambda x, rng: (x + 0.6 * rng.normal(*x.shape)).clamp(-1, 1),
    "a black square": squared,
    "grey tones": grey,
    "channels turned": lambda x, rng: x.roll(1, 1),
    "two levels *": contrast,
    "tiled 2x2 *": tiled,
    "in a frame *": framed,
    "rippled *": rippled,
    "under a grid *": gridded,
    "reflected *": mirrored_half,
}


NOT_FOREIGN = {  # by world: kinds after which its pictures are still its own
    "terrain": {"upside down", "a quarter turn"},
    "phantoms": {"grey tones", "channels turned"},
}


def to_shape(image: Tensor, shape: Shape) -> Tensor:
    """Pictures at the size, and with the channels, of ``shape``."""
    image = F.interpolate(image, size=(shape.height, shape.width), mode="bilinear", antialias=True).clamp(-1, 1)
    if image.shape[1] > shape.channels:
        image = image.mean(1, keepdim=True)
    return image.repeat(1, -(-shape.channels // image.shape[1]), 1, 1)[:, : shape.channels]


def sets(data: str, shape: Shape) -> Iterator[tuple[str, Tensor]]:
    """Pictures of other worlds and of real datasets."""
    for name in (*DRAWN, *REAL):
        if set(kin(name)) & set(kin(data)) or (name, data) == ("motion", "motion-clips"):
            continue
        try:
            source = open_source(name, shape.height if name in WORLDS else None, "test")
        except ZeuxisError:
            continue
        index = torch.linspace(0, len(source) - 1, min(N, len(source))).long()
        batch = source.batch(index)
        image = batch.image
        if name in LIKE_ANOTHER:  # some of them are another world's as they are
            assert batch.condition.label is not None
            image = image[batch.condition.label != LIKE_ANOTHER[name]]
        yield name if name in WORLDS else f"{name} *", to_shape(image, shape)


def table(name: str, alone: bool = False) -> dict[str, float]:
    """The share of its own pictures that it recognises, and of each other kind that it abstains on.

    ``alone`` asks what the network's own doubt abstains on, without the detector.
    """
    model = load(name)
    data, shape, rng = _card(name)["data"], model.system.shape, Stream(0, "abstention")
    source = open_source(data, shape.height, "test")
    batch = source.batch(torch.arange(OWN))
    own = batch.image

    def inside(image: Tensor) -> Tensor:
        if alone and isinstance(model.system, OODDetector):
            return model.system.ood_score(image) <= model.system.ood_threshold
        return model.system.in_distribution(image)

    def abstains(image: Tensor) -> float:
        with torch.inference_mode():
            found = torch.cat([inside(part) for part in image.split(128)])
        return 1 - float(found.float().mean())

    found = {"its own, recognised": 1 - abstains(own)}
    found |= {kind: abstains(image) for kind, image in sets(data, shape)}
    left_out = NOT_FOREIGN.get(data, set())
    found |= {kind: abstains(make(own[:N], rng)) for kind, make in KINDS.items() if kind not in left_out}
    if data == "motion-clips":
        clip = own[:N].unflatten(1, (-1, 3))  # (B, T, 3, H, W)
        found["first two frames of another clip"] = abstains(
            torch.cat([other(clip)[:, :2], clip[:, 2:]], 1).flatten(1, 2)
        )
        found["frames in another order"] = abstains(clip[:, [0, 2, 1, 3]].flatten(1, 2))
        found["one frame four times"] = abstains(clip[:, [1, 1, 1, 1]].flatten(1, 2))
    if data in ("scenes", "scenes-rich-all"):
        some = source.batch(torch.arange(N))
        for kind, make, dim in ((LEFT_RIGHT, halves, 3), (UPPER_LOWER, top_and_foot, 2)):
            seamless = without_seam(some, dim)
            found[f"{kind}, such as differ from a scene in tone alone"] = float(seamless.float().mean())
            found[f"{kind}, the others"] = abstains(make(some.image, rng)[~seamless])
    if data == "scenes":
        found["a third object"] = abstains(third_object(own[:N], rng))
    return found


def _card(name: str) -> dict[str, str]:
    folder = shipped()[name] if name in shipped() else Path(name) / "model"
    card: dict[str, str] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return card


def main(names: list[str], alone: bool) -> None:
    torch.set_num_threads(1)
    able = [name for name in shipped() if "in_distribution" in entry(_card(name)["system"]).card.verbs]
    tables = {name: table(name, alone) for name in names or able}
    rows = list(dict.fromkeys(kind for found in tables.values() for kind in found))
    print("|  | " + " | ".join(tables) + " |")
    print("| --- |" + " ---: |" * len(tables))
    for kind in rows:
        cells = [f"{100 * found[kind]:.0f}" if kind in found else "-" for found in tables.values()]
        print(f"| {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "--alone"], "--alone" in sys.argv)
