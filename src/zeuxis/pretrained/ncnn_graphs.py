"""An ncnn graph as a network that runs it: any plain graph from one picture to one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.nn.graph_network import Graph, GraphNetwork, GraphStep
from zeuxis.pretrained.ncnn_files import GraphLayer
from zeuxis.pretrained.ncnn_layers import computed
from zeuxis.pretrained.ncnn_numbers import NcnnNetwork

INPUT = "Input"
COPIES = frozenset({"Split", "Noop", "Dropout"})  # which are looked through


def graph_network(
    read: NcnnNetwork, what: str, *, maps: Sequence[float] = (), onto_given: bool = False
) -> GraphNetwork:
    """The network that a graph is; ``what`` names it in errors, and the rest is as :class:`GraphNetwork` has it.

    Raises :class:`WeightsError` where a layer is not known, or the graph does not make one picture of one.
    """
    try:
        graph = graph_of(read)
        return GraphNetwork(graph, _taken(graph, read) - len(maps), maps=maps, onto_given=onto_given).eval()
    except WeightsError as error:
        raise WeightsError(f"{what}: {error}") from None


def graph_of(read: NcnnNetwork) -> Graph:
    """The layers that compute something, in their order; raises :class:`WeightsError` as :func:`graph_network`."""
    stands_for: dict[str, str] = {}
    given: list[str] = []
    steps: list[GraphStep] = []
    none: Mapping[str, Tensor] = {}
    for layer in read.layers:
        takes = tuple(stands_for.get(name, name) for name in layer.inputs)
        if layer.kind in COPIES:
            if len(takes) != 1:
                raise WeightsError(f"layer {layer.name} is a copy of {len(takes)} things")
            stands_for |= dict.fromkeys(layer.outputs, takes[0])
        elif layer.kind == INPUT:
            given += layer.outputs
        else:
            found = computed(layer, read.tensors.get(layer.name, none))
            name = f"layer {layer.name} ({layer.kind})"
            steps.append(
                GraphStep(name, found.module, takes, layer.outputs, found.shapes, found.sees, found.grows, found.mean)
            )
    if len(given) != 1:
        raise WeightsError(f"it takes {len(given)} things, where it is to take one picture")
    used = {name for step in steps for name in step.takes}
    made = [name for step in steps for name in step.makes if name not in used]
    if len(made) != 1:
        raise WeightsError(f"it makes {len(made)} things, where it is to make one picture")
    return Graph(steps, given[0], made[0])


def _taken(graph: Graph, read: NcnnNetwork) -> int:
    """How many channels a graph takes: what its first convolution does, of squares of pixels or not."""
    scales, weights = graph.scales(), read.tensors
    first = next((layer for layer in read.layers if _is_convolution(layer)), None)
    if first is None:
        raise WeightsError("it has no convolution: it is no network for pictures")
    each = weights[first.name]["weight"].shape[1] * first.whole(7, 1)
    steps = {step.name: step for step in graph.steps}
    scale = scales[steps[f"layer {first.name} ({first.kind})"].takes[0]]
    return max(1, int(each * scale**2))


def _is_convolution(layer: GraphLayer) -> bool:
    return layer.kind in ("Convolution", "ConvolutionDepthWise")
