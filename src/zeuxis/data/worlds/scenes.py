"""The first world: one or two coloured shapes on the ground or in the sky, by day or at night.

A scene is drawn from its factors (``grammar.FACTORS``) and a row of uniform numbers for all that a
caption leaves open: where, how large exactly, how turned, what shade. So every label is exact, and the
same scene can be rendered at any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape, to_float
from zeuxis.data.worlds import grammar, sdf
from zeuxis.data.worlds.counter import mix, uniforms
from zeuxis.errors import UnknownName, UsageError
from zeuxis.rng import MAX_SEED, derive_seed

SPLITS = {"train": (0, 90), "val": (90, 95), "test": (95, 100)}  # in hundredths of all scene descriptions
SINGLES = 0.2  # the share of pictures with one object

# Lengths are shares of the picture's side.
RADII = (0.125, 0.2125)  # small, large
RADIUS_JITTER = 0.05  # of the radius, either way
EDGE = 0.02  # least distance of an object from the frame
GAP = 0.03  # least distance between two objects
LEAN = 0.5  # largest offset across a relation, as a share of the distance along it
HORIZON = (0.70, 0.80)
HAZE = 0.06  # the height over which sky turns to ground

# Colours are red, green, blue in [0, 255].
PAINTS = torch.tensor(
    [[222, 40, 44], [247, 138, 28], [250, 216, 40], [42, 166, 72], [44, 92, 228], [146, 56, 186]], dtype=torch.float32
)
SKY_TOP = torch.tensor([[176, 206, 240], [8, 12, 40]], dtype=torch.float32)  # by day, at night
SKY_FOOT = torch.tensor([[232, 238, 246], [26, 32, 72]], dtype=torch.float32)
GROUND = torch.tensor([[208, 214, 186], [20, 30, 36]], dtype=torch.float32)
LIGHT = torch.tensor([1.0, 0.85])  # on the objects, by day and at night
SHADE_JITTER = 10.0  # of sky and ground, either way
PAINT_JITTER = 0.06  # of an object's brightness, either way

SKY_CLASS, GROUND_CLASS, FIRST_SHAPE_CLASS = 0, 1, 2
LAYOUT_CLASSES = FIRST_SHAPE_CLASS + len(grammar.SHAPES)

_TURNS = [math.radians(t / 2) for t in range(-2 * sdf.MAX_TURN, 2 * sdf.MAX_TURN + 1)]
_COS = torch.tensor([math.cos(t) for t in _TURNS])  # tables, because vectorised cosines differ in their last bit
_SIN = torch.tensor([math.sin(t) for t in _TURNS])
_DRAWN = tuple(sdf.SHAPES[name] for name in grammar.SHAPES)
SLOTS = 15  # uniform numbers per picture: see stage()


@dataclass(frozen=True, slots=True)
class Stage:
    """B scenes, placed and lit: all that a picture depends on but its size. Object 1 is the upper or left one."""

    factors: Tensor  # (B, F) int64
    centre: Tensor  # (B, 2, 2): object; x to the right, y down
    radius: Tensor  # (B, 2)
    turn: Tensor  # (B, 2) int64, into the table of turns
    paint: Tensor  # (B, 2, 3)
    sky_top: Tensor  # (B, 3)
    sky_foot: Tensor  # (B, 3)
    ground: Tensor  # (B, 3)
    horizon: Tensor  # (B,)

    def __len__(self) -> int:
        return len(self.factors)

    def shapes(self) -> Tensor:
        """The class of each object, ``(B, 2)`` int64; -1 where there is no object 2."""
        return torch.stack([self.factors[:, 4], self.factors[:, 7] - 1], 1)


def stage(factors: Tensor, u: Tensor) -> Stage:
    """Place and light scenes with complete ``factors`` (B, F), by uniform numbers ``u`` (B, SLOTS)."""
    device = factors.device
    time, relation, size_1, colour_1, _, size_2, colour_2, _ = factors.unbind(1)
    sizes = torch.stack([size_1, (size_2 - 1).clamp(min=0)], 1)
    colours = torch.stack([colour_1, (colour_2 - 1).clamp(min=0)], 1)
    radius = torch.tensor(RADII, device=device)[sizes] * (1 + RADIUS_JITTER * (2 * u[:, 0:2] - 1))
    turn = (u[:, 2:4] * len(_TURNS)).long()

    brightness = LIGHT.to(device)[time][:, None] * (1 + PAINT_JITTER * (2 * u[:, 4:6] - 1))
    paint = PAINTS.to(device)[colours] * brightness[..., None]
    shade = SHADE_JITTER * (2 * u[:, 6:9] - 1)
    return Stage(
        factors,
        _place(relation, radius, u[:, 9:13]),
        radius,
        turn,
        paint.clamp(max=255),
        (SKY_TOP.to(device)[time] + shade[:, 0:1]).clamp(0, 255),
        (SKY_FOOT.to(device)[time] + shade[:, 1:2]).clamp(0, 255),
        (GROUND.to(device)[time] + shade[:, 2:3]).clamp(0, 255),
        HORIZON[0] + (HORIZON[1] - HORIZON[0]) * u[:, 13],
    )


def _place(relation: Tensor, radius: Tensor, u: Tensor) -> Tensor:
    """Centres ``(B, 2, 2)``: the objects' boxes lie within the frame and apart along the relation's axis."""
    low, high = EDGE + radius, 1 - EDGE - radius  # (B, 2)
    # Along the axis: object 1 before object 2, what room is left shared out before, between and after them.
    room = 1 - 2 * EDGE - GAP - 2 * radius.sum(1)
    before, upto = torch.minimum(u[:, 0], u[:, 1]), torch.maximum(u[:, 0], u[:, 1])
    along_1 = low[:, 0] + room * before
    along_2 = EDGE + 2 * radius[:, 0] + GAP + radius[:, 1] + room * upto
    # Across it: object 1 anywhere, object 2 where the relation stays plain.
    across_1 = low[:, 0] + (high[:, 0] - low[:, 0]) * u[:, 2]
    reach = LEAN * (along_2 - along_1)
    least = torch.maximum(low[:, 1], across_1 - reach)
    most = torch.minimum(high[:, 1], across_1 + reach)
    across_2 = least + (most - least) * u[:, 3]
    # A single object has the whole frame.
    along_1 = torch.where(relation == 0, low[:, 0] + (high[:, 0] - low[:, 0]) * u[:, 0], along_1)

    across = torch.stack([across_1, across_2], 1)
    along = torch.stack([along_1, along_2], 1)
    upright = (relation == 1)[:, None]  # "above": the axis is y
    return torch.stack([torch.where(upright, across, along), torch.where(upright, along, across)], 2)


def coverage(scene: Stage, size: int) -> Tensor:
    """How much of each pixel each object covers, in [0, 1], ``(B, 2, size, size)``."""
    device = scene.centre.device
    shapes = scene.shapes().flatten()  # (2B,)
    at = (torch.arange(size, device=device) + 0.5)[None, :]  # pixel centres, in pixels
    centre, radius, turn = scene.centre.flatten(0, 1) * size, scene.radius.flatten() * size, scene.turn.flatten()
    cover = torch.zeros(len(shapes), size, size, device=device)
    cos, sin = _COS.to(device)[turn], _SIN.to(device)[turn]
    x, y = at - centre[:, 0:1], at - centre[:, 1:2]  # (2B, size)
    for k, distance in enumerate(_DRAWN):
        rows = (shapes == k).nonzero()[:, 0]
        grid = sdf.Grid(x[rows], y[rows], radius[rows], cos[rows], sin[rows])
        cover[rows] = distance(grid).neg_().add_(0.5).clamp_(0, 1)
    return cover.view(len(scene), 2, size, size)


def paint(scene: Stage, cover: Tensor) -> Tensor:
    """Images ``(B, 3, H, W)`` in [-1, 1], on the 256 levels of a picture file, of objects that ``cover`` (B, 2, H, W)."""
    size = cover.shape[2]
    row = (torch.arange(size, device=cover.device) + 0.5)[None, :] / size  # (1, H)
    horizon = scene.horizon[:, None]
    fall = (row / horizon).clamp(max=1)[:, None]  # (B, 1, H): 0 at the top, 1 from the horizon on
    earth = ((row - horizon) / HAZE + 0.5).clamp(0, 1)[:, None]
    sky = scene.sky_top[..., None] * (1 - fall) + scene.sky_foot[..., None] * fall  # (B, 3, H)
    back = (sky * (1 - earth) + scene.ground[..., None] * earth)[..., None]  # (B, 3, H, 1)
    # Objects are disjoint, so their contributions add.
    contrast = scene.paint[..., None, None] - back[:, None]  # (B, 2, 3, H, 1)
    image = cover[:, 0:1] * contrast[:, 0]
    image.add_(cover[:, 1:2] * contrast[:, 1]).add_(back)
    return to_float(image.round_())


def layout(scene: Stage, cover: Tensor) -> Tensor:
    """The class of each pixel, ``(B, H, W)`` int64: sky, ground, then the shapes in ``grammar.SHAPES``'s order."""
    size = cover.shape[2]
    row = (torch.arange(size, device=cover.device) + 0.5)[None, :] / size
    classes = (row >= scene.horizon[:, None]).long()[:, :, None].repeat(1, 1, size)
    for k in (0, 1):
        shape = (scene.shapes()[:, k] + FIRST_SHAPE_CLASS)[:, None, None]
        classes = torch.where(cover[:, k] >= 0.5, shape, classes)
    return classes


def descriptions() -> Tensor:
    """The factors of every scene that can be told, ``(N, F)`` int64: singles first, then pairs."""
    time, size, colour, shape = (
        torch.arange(len(v)) for v in (grammar.TIMES, grammar.SIZES, grammar.COLOURS, grammar.SHAPES)
    )
    none = torch.zeros(1, dtype=torch.int64)
    singles = torch.cartesian_prod(time, none, size, colour, shape, none, none, none)
    pairs = torch.cartesian_prod(time, torch.tensor([1, 2]), size, colour, shape, size + 1, colour + 1, shape + 1)
    return torch.cat([singles, pairs])


def split_descriptions(split: str) -> Tensor:
    """The rows of :func:`descriptions` that belong to ``split``: a hash decides, so no two splits share one."""
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    rows = descriptions()
    code = torch.zeros(len(rows), dtype=torch.int64)
    for k, (_, values) in enumerate(grammar.FACTORS):
        code = code * values + rows[:, k]
    part = mix(mix(code + 1)).remainder(100)
    low, high = SPLITS[split]
    return rows[(part >= low) & (part < high)]


class Scenes:
    """Scenes with exact labels; example ``i`` of a split is the same scene in every run and at every size.

    ``label`` is the shape of the object that the caption names first; ``layout`` has ``LAYOUT_CLASSES``
    classes; ``factors`` are ``grammar.FACTORS``. The splits share no scene description, hence no caption.
    """

    gives = frozenset({"label", "caption", "layout", "factors"})
    words = grammar.WORDS
    factors = grammar.FACTORS
    class_names = grammar.SHAPES
    classes = len(grammar.SHAPES)

    def __init__(self, size: int = 32, split: str = "train", length: int = 1_000_000, time: str | None = None) -> None:
        if size < 8 or length < 1:
            raise UsageError(
                f"scenes: size {size}, length {length}: the size must be at least 8, the length at least 1"
            )
        rows = split_descriptions(split)
        if time is not None:
            if time not in grammar.TIMES:
                raise UnknownName("time", time, grammar.TIMES)
            rows = rows[rows[:, 0] == grammar.TIMES.index(time)]
        self.name = "scenes" if time is None else f"scenes-{time}"
        self.shape = Shape(3, size, size)
        self.length = length
        self.singles, self.pairs = rows[rows[:, 1] == 0], rows[rows[:, 1] > 0]
        self.key = derive_seed(0, "scenes", split, time or "any")

    def __len__(self) -> int:
        return self.length

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        scene, captions, label = self._scenes(index)
        cover = coverage(scene, self.shape.height)
        condition = Condition(label=label, caption=captions, layout=layout(scene, cover), factors=scene.factors)
        return Batch(paint(scene, cover), condition, index)

    def stage(self, index: Tensor) -> Stage:
        """The scenes of ``index``, placed and lit but not painted."""
        return self._scenes(index)[0]

    def instances(self, index: Tensor) -> Tensor:
        """Which pixels each object fills, bool ``(B, 2, H, W)``; object 1 is that of the factors."""
        return coverage(self.stage(index), self.shape.height) >= 0.5

    def captions(self) -> tuple[str, ...]:
        """Every caption of the split, each once, in a fixed order."""
        facts = [(row, swapped) for row in self.pairs.tolist() for swapped in (False, True)]
        facts += [(row, False) for row in self.singles.tolist()]
        return tuple(dict.fromkeys(grammar.describe(grammar.facts_from(*f)) for f in facts))

    def _scenes(self, index: Tensor) -> tuple[Stage, tuple[str, ...], Tensor]:
        """The placed scenes of ``index``, their captions and the class named first ``(B,)``."""
        if len(index) and not (0 <= int(index.min()) and int(index.max()) < self.length):
            raise IndexError(f"{self.name}: examples {int(index.min())} to {int(index.max())} of {self.length}")
        u = uniforms(self.key, index, 3 + SLOTS)
        single = u[:, 0] < SINGLES
        swapped = (u[:, 2] < 0.5) & ~single
        singles, pairs = self.singles.to(index.device), self.pairs.to(index.device)
        rows = torch.where(
            single[:, None],
            singles[(u[:, 1] * len(singles)).long().clamp(max=len(singles) - 1)],
            pairs[(u[:, 1] * len(pairs)).long().clamp(max=len(pairs) - 1)],
        )
        label = torch.where(swapped, rows[:, 7] - 1, rows[:, 4])
        told = zip(rows.tolist(), swapped.tolist(), strict=True)
        captions = tuple(grammar.describe(grammar.facts_from(row, swap)) for row, swap in told)
        return stage(rows, u[:, 3:]), captions, label


class UnpairedScenes:
    """Night scenes (the image) beside unrelated day scenes (``source``): unpaired translation with known truth.

    ``factors`` are those of the source: a good translation keeps them all but the time.
    """

    name = "scenes-day-night"
    gives = frozenset({"source", "factors"})
    words: tuple[str, ...] = ()
    factors = grammar.FACTORS
    class_names: tuple[str, ...] = ()
    classes = 0

    def __init__(self, size: int = 32, split: str = "train", length: int = 1_000_000) -> None:
        self.day = Scenes(size, split, length, "day")
        self.night = Scenes(size, split, length, "night")
        self.shape = self.day.shape

    def __len__(self) -> int:
        return len(self.day)

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        size = self.shape.height
        day, night = self.day.stage(index), self.night.stage(index)
        source = paint(day, coverage(day, size))
        return Batch(paint(night, coverage(night, size)), Condition(source=source, factors=day.factors), index)


def draw(caption: str, n: int = 1, seed: int = 0, size: int = 32) -> Batch:
    """``n`` pictures of ``caption``; what it leaves open (a size, the time, the places) varies with ``seed`` and row.

    The condition holds complete captions and factors. Raises ``UsageError`` for a caption that cannot be told.
    """
    facts = grammar.parse(caption)
    wanted = torch.tensor(grammar.factors_of(facts)).repeat(n, 1)  # (n, F)
    u = uniforms(derive_seed(seed, "draw"), torch.arange(n), len(grammar.FACTORS) + SLOTS)
    for k, name in enumerate(grammar.VALUES):
        if name in ("time", "size_1", "size_2"):
            free = (u[:, k] * 2).long() + (1 if name == "size_2" else 0)
            wanted[:, k] = torch.where(wanted[:, k] == grammar.UNSPECIFIED, free, wanted[:, k])
    swapped = facts.relation in grammar.RELATIONS[2:]
    captions = tuple(grammar.describe(grammar.facts_from(row, swapped)) for row in wanted.tolist())
    label = torch.full((n,), grammar.SHAPES.index(facts.first.shape))
    scene = stage(wanted, u[:, len(grammar.FACTORS) :])
    cover = coverage(scene, size)
    return Batch(
        paint(scene, cover), Condition(label=label, caption=captions, layout=layout(scene, cover), factors=wanted)
    )
