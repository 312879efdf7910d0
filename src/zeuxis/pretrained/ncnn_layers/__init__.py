"""What each kind of layer of an ncnn graph computes: one line for each kind in :data:`LAYERS`.

Settings are numbered as in ncnn's own description of its operators. A setting that a line of the table does not name is
refused, for it would change what the layer computes. Values are ``(B, C, H, W)``; what ncnn keeps as a vector (a mean
over the picture) is ``(B, C, 1, 1)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from zeuxis.errors import WeightsError
from zeuxis.pretrained.ncnn_files import GraphLayer
from zeuxis.pretrained.ncnn_layers.activations import (
    bounded,
    elu,
    gelu,
    hard_sigmoid,
    hard_swish,
    hardened,
    plain,
    prelu,
    relu,
)
from zeuxis.pretrained.ncnn_layers.arithmetic import batch_norm, binary, constant, elementwise, scale
from zeuxis.pretrained.ncnn_layers.convolutions import convolution, deconvolution, inner_product
from zeuxis.pretrained.ncnn_layers.moves import concat, crop, padding, pooling, resize, shuffle, slices, unshuffle
from zeuxis.pretrained.ncnn_layers.parts import Compute, Computed, Numbers, refusal

HINTS = frozenset({30, 31})  # the shape of the result, and which precision may be used: they change nothing
CONVOLVED = (*range(7), *range(9, 17), 18)


@dataclass(frozen=True)
class LayerKind:
    """How a kind of layer is computed, and the settings that are known of it."""

    compute: Compute
    keys: frozenset[int] = frozenset()


def _kind(compute: Compute, *keys: int) -> LayerKind:
    return LayerKind(compute, frozenset(keys))


LAYERS: Mapping[str, LayerKind] = {
    "BatchNorm": _kind(batch_norm, 0, 1),
    "BinaryOp": _kind(binary, 0, 1, 2),
    "Clip": _kind(bounded, 0, 1),
    "Concat": _kind(concat, 0),
    "Convolution": _kind(convolution, *CONVOLVED),
    "ConvolutionDepthWise": _kind(convolution, *CONVOLVED, 7),
    "Crop": _kind(crop, 0, 1, 2, 9, 10, 11),
    "Deconvolution": _kind(deconvolution, *CONVOLVED, 19),
    "DeconvolutionDepthWise": _kind(deconvolution, *CONVOLVED, 7, 19),
    "ELU": _kind(elu, 0),
    "Eltwise": _kind(elementwise, 0, 1),
    "GELU": _kind(gelu, 0),
    "HardSigmoid": _kind(hardened(hard_sigmoid), 0, 1),
    "HardSwish": _kind(hardened(hard_swish), 0, 1),
    "InnerProduct": _kind(inner_product, 0, 1, 2, 9, 10),
    "Interp": _kind(resize, 0, 1, 2, 6),
    "MemoryData": _kind(constant, 0, 1, 2, 21),
    "Mish": _kind(plain(nn.Mish())),
    "PReLU": _kind(prelu, 0),
    "Padding": _kind(padding, 0, 1, 2, 3, 4, 5),
    "PixelShuffle": _kind(shuffle, 0, 1),
    "Pooling": _kind(pooling, 0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15),
    "ReLU": _kind(relu, 0),
    "Reorg": _kind(unshuffle, 0, 1),
    "Scale": _kind(scale, 0, 1),
    "Sigmoid": _kind(plain(nn.Sigmoid())),
    "Slice": _kind(slices, 0, 1),
    "Swish": _kind(plain(nn.SiLU())),
    "TanH": _kind(plain(nn.Tanh())),
}


def computed(layer: GraphLayer, numbers: Numbers) -> Computed:
    """What a layer computes; raises :class:`WeightsError` for a kind or a setting that is not known."""
    if layer.kind not in LAYERS:
        raise WeightsError(f"layer {layer.name} is a {layer.kind[:40]}, a kind of layer that is not known here")
    kind = LAYERS[layer.kind]
    other = [f"{key}={value}" for key, value in layer.facts.items() if value and key not in kind.keys | HINTS]
    if other:
        raise refusal(layer, f"has the setting {other[0]}")
    return kind.compute(layer, numbers)
