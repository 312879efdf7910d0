"""A network that is given as a graph of layers, as exchange formats have it, run layer by layer.

What tiles must know of it (by how much it enlarges, how far it sees, which sizes it takes) is worked out from the
graph: scales and reach follow from those of its layers, and the border that it wants around a picture from what becomes
of two sizes, told by shapes alone. A network whose convolutions fill nothing up gives fewer pixels than a picture has;
the picture's border is repeated around it by as many as are lost.

Axes: n pixels a side that are given to the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from zeuxis.errors import WeightsError
from zeuxis.nn.picture_network import PictureNetwork, Tiles

MOST_SCALE, MOST_STEP, MOST_BORDER = 16, 64, 64
MOST_FLOATS = 1 << 16  # for each pixel that is given: a graph is text from anywhere
TRIED = 256  # pixels a side, at least, whose shapes are followed
WORKING = 2  # times what lives between layers is taken while one computes
NONE: Mapping[int, Tensor] = MappingProxyType({})
Shape = tuple[int, int, int]  # channels, rows, columns


def told(*shapes: Shape) -> str:
    """``"3x64x64 and 48x64x64"``."""
    return " and ".join("x".join(map(str, shape)) for shape in shapes)


@dataclass(frozen=True)
class GraphStep:
    """A layer: it makes values of values, whose shapes follow from theirs by ``shapes``; that raises
    :class:`WeightsError` where the layer cannot be given such.

    ``sees`` is how far a pixel of what it makes sees, in pixels of what it takes; ``grows`` by how much the sides grow,
    0 for what belongs to the picture as a whole; ``mean`` whether it is the mean over the whole picture.
    """

    name: str  # in messages
    module: nn.Module
    takes: tuple[str, ...]
    makes: tuple[str, ...]
    shapes: Callable[..., tuple[Shape, ...]]
    sees: int = 0
    grows: Fraction = Fraction(1)
    mean: bool = False


class Graph(nn.Module):
    """Layers in the order in which they run.

    Args:
        steps: each takes what those before it made.
        given: the name of what the graph is given.
        made: the name of what comes out.
    """

    def __init__(self, steps: Sequence[GraphStep], given: str, made: str) -> None:
        super().__init__()
        self.steps, self.given, self.made = tuple(steps), given, made
        self.layers = nn.ModuleList(step.module for step in steps)
        last = {name: k for k, step in enumerate(steps) for name in step.takes}
        idle = {name: k for k, step in enumerate(steps) for name in step.makes if name not in last}
        ends = last | idle  # a value is let go once nothing after takes it
        self._over = [[name for name, k in ends.items() if k == at and name != made] for at in range(len(steps))]

    def forward(self, x: Tensor, means: Mapping[int, Tensor] = NONE) -> Tensor:
        """What the graph makes of ``x``; what a step of ``means`` makes stands there."""
        return self._run(x, means, len(self.steps))[self.made]

    def mean_of(self, x: Tensor, at: int, means: Mapping[int, Tensor]) -> tuple[Tensor, int]:
        """What step ``at`` makes of ``x``, a mean, and of how many pixels."""
        step, values = self.steps[at], self._run(x, means, at)
        (taken,) = (values[name] for name in step.takes)
        return self.layers[at](taken), math.prod(taken.shape[2:])

    def _run(self, x: Tensor, means: Mapping[int, Tensor], end: int) -> dict[str, Tensor]:
        """What there is before step ``end``."""
        values = {self.given: x}
        del x
        for k, (step, layer, over) in enumerate(zip(self.steps[:end], self.layers, self._over, strict=False)):
            made = means[k] if k in means else layer(*(values[name] for name in step.takes))
            values.update(zip(step.makes, (made,) if isinstance(made, Tensor) else made, strict=True))
            for name in over:
                del values[name]
        return values

    def shape_of(self, given: Shape) -> tuple[Shape, int]:
        """The shape of what is made of pictures of that shape, and how many numbers live at a time.

        Raises :class:`WeightsError` with the layer to which something else comes than it takes.
        """
        shapes, most = {self.given: given}, 0
        for step, over in zip(self.steps, self._over, strict=True):
            taken = [shapes[name] for name in step.takes]
            try:
                made = step.shapes(*taken)
            except WeightsError as error:
                raise WeightsError(f"{step.name} cannot be given {told(*taken)}: {error}") from None
            shapes.update(zip(step.makes, made, strict=True))
            most = max(most, sum(map(math.prod, shapes.values())))
            for name in over:
                del shapes[name]
        return shapes[self.made], most

    def scales(self) -> dict[str, Fraction]:
        """Pixels of each value for one of what is given; 0 of what belongs to the picture as a whole."""
        found = {self.given: Fraction(1)}
        for step in self.steps:
            scale = max((found[name] for name in step.takes), default=Fraction(0)) * step.grows
            found |= dict.fromkeys(step.makes, scale)
        return found

    def reach(self) -> int:
        """How far, in pixels of what is given, a pixel of the result sees; means over the whole picture beside."""
        scales, found = self.scales(), {self.given: Fraction(0)}
        for step in self.steps:
            far = max((found[name] for name in step.takes if scales[name]), default=Fraction(0))
            finest = min((scales[name] for name in step.takes if scales[name]), default=Fraction(1))
            found |= dict.fromkeys(step.makes, far + step.sees / finest)
        return math.ceil(found[self.made])


@dataclass(frozen=True)
class GraphFit:
    """What a graph does to pictures, in pixels; see :class:`PictureNetwork`."""

    channels: int  # that come out
    scale: int
    step: int
    border: int  # that the graph wants at each side of a picture
    floats: int


class GraphNetwork(PictureNetwork):
    """Pictures ``(B, C, H, W)`` in [0, 1] to pictures ``(B, C, scale H, scale W)``, as a graph has it.

    Args:
        graph: of pictures of ``channels`` channels, and one more for each of ``maps``.
        channels: of the pictures.
        maps: what is told beside the picture: values that are the same everywhere, each a channel.
        onto_given: whether what the graph makes is added to the picture, enlarged by repetition.

    Raises:
        WeightsError: the graph makes no such pictures; the message says of which layer on.
    """

    def __init__(self, graph: Graph, channels: int, *, maps: Sequence[float] = (), onto_given: bool = False) -> None:
        super().__init__()
        fit = fitted(graph, channels + len(maps))
        if fit.channels != channels:
            raise WeightsError(
                f"of {channels} channels it makes {fit.channels}: give a network from pictures to pictures"
            )
        self.graph, self.onto_given = graph, onto_given
        self.channels, self.scale, self.step, self.border = channels, fit.scale, fit.step, fit.border
        self.reach, self.floats = graph.reach(), fit.floats
        self._means: Mapping[int, Tensor] = NONE  # of the whole picture, where tiles of it are given
        self.register_buffer("maps", torch.tensor(list(maps), dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        made: Tensor = self.graph(self._taken(x), self._means)[:, :, : self.scale * height, : self.scale * width]
        return made + interpolate(x, scale_factor=self.scale, mode="nearest") if self.onto_given else made

    def _taken(self, x: Tensor) -> Tensor:
        """What the graph is given of a picture."""
        height, width = x.shape[2:]
        b = self.border
        wide = pad(x, (b, b - width % -self.step, b, b - height % -self.step), mode="replicate")
        maps = self.get_buffer("maps").to(x).view(1, -1, 1, 1).expand(len(x), -1, *wide.shape[2:])
        return torch.cat([wide, maps], 1)

    def agreed(self, tiles: Tiles) -> GraphNetwork:
        """With the means of all tiles, one after another: what a later one is of depends on those before it.

        The tiles are gone through once for each, as far as it; so do the authors of Real-CUGAN ("syncgap").
        """
        means: dict[int, Tensor] = {}
        for at in (k for k, step in enumerate(self.graph.steps) if step.mean):
            found = [self.graph.mean_of(self._taken(tile), at, means) for tile in tiles()]
            pixels = sum(count for _, count in found)
            means[at] = torch.stack([mean * (count / pixels) for mean, count in found]).sum(0)
        other = copy(self)  # of the same numbers
        other._means = means
        return other


def fitted(graph: Graph, channels: int) -> GraphFit:
    """What a graph of that many channels does to pictures; raises :class:`WeightsError` as :class:`GraphNetwork`."""
    scales = graph.scales()
    scale, step = scales[graph.made], math.lcm(*(value.denominator for value in scales.values()))
    if scale.denominator != 1 or not 1 <= scale <= MOST_SCALE:
        raise WeightsError(f"what it makes is {float(scale):g} times as large: give one that enlarges by whole numbers")
    if step > MOST_STEP:
        raise WeightsError(f"it works on pictures in squares of {step} pixels, and at most {MOST_STEP} are known here")
    reason = "it takes pictures of no size"
    least = math.ceil(TRIED / step) * step
    for n in range(least, least + step):
        try:
            (deep, high, wide), alive = graph.shape_of((channels, n, n + step))
        except WeightsError as error:
            reason = str(error)
            continue
        border, rest = divmod(int(scale) * n - high, 2 * int(scale))
        inner = n + step - 2 * border
        if rest or not 0 <= border <= MOST_BORDER or inner % step or wide != scale * inner:
            reason = f"of {n}x{n + step} pixels it makes {high}x{wide}: it does not enlarge evenly"
            continue
        floats = math.ceil(WORKING * alive / (n * (n + step)))
        if floats > MOST_FLOATS:
            raise WeightsError(f"it holds {floats} numbers for each pixel, and at most {MOST_FLOATS} are known here")
        return GraphFit(deep, int(scale), step, border, floats)
    raise WeightsError(reason)
