"""ncnn graphs as networks of ours: a graph is compared with the one that our network would be, layer by layer.

Kinds, wiring and settings must all be the same, so what is read is what the graph says and nothing is guessed from
shapes. The names of our tensors come with the graph that is expected. Copies (``Split``) are looked through. A graph
that is none of ours is run as it stands (:mod:`zeuxis.pretrained.ncnn_graphs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from zeuxis.nn.compact import CompactNet
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.reduced import Reduced
from zeuxis.nn.rrdb import BETA, CONVOLUTIONS, SLOPE, RRDBNet
from zeuxis.pretrained.ncnn_files import GraphLayer, Value
from zeuxis.pretrained.ncnn_graphs import graph_network
from zeuxis.pretrained.ncnn_numbers import NcnnNetwork

MOST_BLOCKS, MOST_WIDTH = 200, 1024
DEFAULTS: Mapping[str, Mapping[int, Value]] = {  # of settings, where they are not 0
    "Convolution": {2: 1, 3: 1},
    "Interp": {1: 1.0, 2: 1.0},
    "Eltwise": {},
}
NEAREST, BICUBIC = 1, 3  # kinds of Interp
LEAKY = 2  # the kind of activation


@dataclass(frozen=True)
class PlannedLayer:
    """A layer by what it does: its kind, the layers that it takes, counted from 0, and its settings but defaults."""

    kind: str
    takes: tuple[int, ...]
    settings: tuple[tuple[int, Value], ...] = ()
    ours: str = ""  # the module of ours that has its numbers

    def is_like(self, other: PlannedLayer) -> bool:
        """Whether both do the same."""
        return (self.kind, self.takes, self.settings) == (other.kind, other.takes, other.settings)


@dataclass
class GraphPlan:
    """The graph of a network of ours, written down layer by layer; each method gives the layer's number."""

    layers: list[PlannedLayer] = field(default_factory=list)

    def add(self, kind: str, *takes: int, ours: str = "", **settings: Value) -> int:
        """``settings`` by ``k`` and the key."""
        given = {int(key.removeprefix("k")): value for key, value in settings.items()}
        self.layers.append(PlannedLayer(kind, takes, _told(kind, given), ours))
        return len(self.layers) - 1

    def conv(self, takes: int, ours: str, inputs: int, outputs: int, slope: float | None = None) -> int:
        """A 3x3 convolution with biases, perhaps with a leaky ReLU after it."""
        active: dict[str, Value] = {} if slope is None else {"k9": LEAKY, "k10": (slope,)}
        count = 9 * inputs * outputs
        return self.add("Convolution", takes, ours=ours, k0=outputs, k1=3, k4=1, k5=1, k6=count, **active)

    def residual(self, made: int, kept: int) -> int:
        """``kept + BETA made``."""
        return self.add("Eltwise", made, kept, k0=1, k1=(BETA, 1.0))

    def sum(self, *takes: int) -> int:
        return self.add("BinaryOp", *sorted(takes))


def network_of(read: NcnnNetwork, what: str) -> PictureNetwork:
    """The network that a graph is: one of ours with its numbers where it is the same, else the graph itself.

    ``what`` names it in errors; raises :class:`WeightsError` where it is no network from one picture to one.
    """
    found = known_network(read)
    return graph_network(read, what) if found is None else found


def known_network(read: NcnnNetwork) -> PictureNetwork | None:
    """The network of ours that a graph is, with its numbers; None where it is none."""
    layers = _looked_through(read.layers)
    kinds = [one.kind for one, _ in layers]
    with torch.device("meta"):  # nothing is taken or drawn for a network that the graph only claims to be
        network = _rrdb_sizes(layers, kinds) if "Eltwise" in kinds else _compact_sizes(layers, kinds)
    if network is None:
        return None
    plan = _rrdb_plan(network) if isinstance(network, RRDBNet) else _compact_plan(network)
    if len(plan) != len(layers) or any(not one.is_like(wanted) for (one, _), wanted in zip(layers, plan, strict=True)):
        return None
    names = {file.name: wanted.ours for (_, file), wanted in zip(layers, plan, strict=True) if wanted.ours}
    if not _fill(network, {ours: read.tensors[theirs] for theirs, ours in names.items()}):
        return None
    return network.requires_grad_(False).eval()


def _looked_through(layers: Sequence[GraphLayer]) -> list[tuple[PlannedLayer, GraphLayer]]:
    """The layers without copies, each beside its line."""
    made: dict[str, int] = {}  # the layer that makes a name
    found: list[tuple[PlannedLayer, GraphLayer]] = []
    for layer in layers:
        takes = tuple(made[name] for name in layer.inputs)
        if layer.kind == "Split" and len(takes) == 1:
            made |= dict.fromkeys(layer.outputs, takes[0])
            continue
        made |= dict.fromkeys(layer.outputs, len(found))
        if layer.kind == "BinaryOp":
            takes = tuple(sorted(takes))  # a sum, or else its settings say so
        found.append((PlannedLayer(layer.kind, takes, _told(layer.kind, layer.facts)), layer))
    return found


def _told(kind: str, facts: Mapping[int, Value]) -> tuple[tuple[int, Value], ...]:
    """The settings that are not as they are without being told."""
    usual = DEFAULTS.get(kind, {})
    return tuple(sorted((key, value) for key, value in facts.items() if value != usual.get(key, 0)))


# -- RRDB ---------------------------------------------------------------------------------------------


def _rrdb_sizes(layers: Sequence[tuple[PlannedLayer, GraphLayer]], kinds: Sequence[str]) -> RRDBNet | None:
    convs = [file for one, file in layers if one.kind == "Convolution"]
    blocks, doublings = kinds.count("Eltwise") // 4, kinds.count("Interp")  # three inside each block, one around it
    if doublings > 4 or len(convs) != 3 * CONVOLUTIONS * blocks + doublings + 4:
        return None
    width, growth, channels = (convs[k].whole(0) for k in (0, 1, -1))
    if not _fair_sizes(blocks, width, growth, channels):
        return None
    return RRDBNet(channels, blocks=blocks, width=width, growth=growth, doublings=doublings)


def _rrdb_plan(network: RRDBNet) -> list[PlannedLayer]:
    plan, width = GraphPlan(), network.first.out_channels
    first = h = plan.conv(plan.add("Input"), "first", network.channels, width)
    growth = network.growth
    for b in range(len(network.body)):
        outer = h
        for r in range(3):
            seen, together = [h], h
            for k in range(CONVOLUTIONS - 1):
                name = f"body.{b}.blocks.{r}.convs.{k}"
                seen.append(plan.conv(together, name, width + k * growth, growth, SLOPE))
                together = plan.add("Concat", *seen)
            name = f"body.{b}.blocks.{r}.convs.{CONVOLUTIONS - 1}"
            h = plan.residual(plan.conv(together, name, width + (CONVOLUTIONS - 1) * growth, width), h)
        h = plan.residual(h, outer)
    h = plan.sum(first, plan.conv(h, "after_body", width, width))
    for k in range(len(network.ups)):
        h = plan.conv(plan.add("Interp", h, k0=NEAREST, k1=2.0, k2=2.0), f"ups.{k}", width, width, SLOPE)
    plan.conv(plan.conv(h, "fine", width, width, SLOPE), "last", width, network.channels)
    return plan.layers


# -- compact ------------------------------------------------------------------------------------------


def _compact_sizes(
    layers: Sequence[tuple[PlannedLayer, GraphLayer]], kinds: Sequence[str]
) -> CompactNet | Reduced | None:
    convs = [file for one, file in layers if one.kind == "Convolution"]
    factors = [file.whole(0) for one, file in layers if one.kind == "PixelShuffle"]
    if len(convs) < 2 or len(factors) != 1 or not 1 <= factors[0] <= 16:
        return None
    width, scale = convs[0].whole(0), factors[0]
    channels = convs[-1].whole(0) // scale**2
    if not _fair_sizes(len(convs) - 2, width, channels):
        return None
    network = CompactNet(channels, width=width, inner=len(convs) - 2, scale=scale)
    last = layers[-1][1]
    if last.kind != "Interp":
        return network
    wanted = scale * last.reals(1)[0] if last.reals(1) else 0.0
    whole = wanted.is_integer() and 1 <= wanted < scale
    return Reduced(network, int(wanted), antialias=False) if whole else None


def _compact_plan(network: PictureNetwork) -> list[PlannedLayer]:
    inner = network.network if isinstance(network, Reduced) else network
    assert isinstance(inner, CompactNet)
    begins = "network.layers" if isinstance(network, Reduced) else "layers"
    plan = GraphPlan()
    given = h = plan.add("Input")
    for k, layer in enumerate(inner.layers):
        name = f"{begins}.{k}"
        if isinstance(layer, nn.Conv2d):
            h = plan.conv(h, name, layer.in_channels, layer.out_channels)
        elif isinstance(layer, nn.PReLU):
            h = plan.add("PReLU", h, ours=name, k0=layer.num_parameters)
    scale = float(inner.scale)
    h = plan.sum(plan.add("PixelShuffle", h, k0=inner.scale), plan.add("Interp", given, k0=NEAREST, k1=scale, k2=scale))
    if isinstance(network, Reduced):
        share = network.scale / inner.scale
        plan.add("Interp", h, k0=BICUBIC, k1=share, k2=share)
    return plan.layers


# -- the numbers --------------------------------------------------------------------------------------


def _fair_sizes(blocks: int, *widths: int) -> bool:
    """Asked before a network is made: a graph is text from anywhere."""
    return 0 <= blocks <= MOST_BLOCKS and all(1 <= width <= MOST_WIDTH for width in widths)


def _fill(network: nn.Module, tensors: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Give ``network`` the numbers of each of its layers; False where they are not as it has them."""
    own, given = network.state_dict(), {}
    for name, parts in tensors.items():
        for part, tensor in parts.items():
            given[f"{name}.{'weight' if part == 'slope' else part}"] = tensor
    if given.keys() != own.keys() or any(value.shape != own[key].shape for key, value in given.items()):
        return False
    network.load_state_dict(given, assign=True)
    return True
