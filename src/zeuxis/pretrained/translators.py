"""Published generators of pix2pix, CycleGAN, pix2pixHD and SPADE, in the names of their authors' programs.

A file holds the generator alone (``latest_net_G.pth``, or ``NAME.pth`` of the published ones): the critic, CycleGAN's
way back and SPADE's encoder are left as they were initialised. The architecture is read off names and shapes. What
these do not tell is as published: pix2pixHD was given the boundaries of instances beside its classes; of SPADE's
generators without a code that of 36 classes (Cityscapes) doubles its side six times, the others five times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.pretrained.kind import CheckpointKind, TensorSource
from zeuxis.spec import DataSpec, Shape

UNET_LEAST = 5  # layers of the smallest U-Net that the authors' program makes
UNET_SHALLOW = 4  # layers from the outside that never have dropout
SIDE = 256  # pixels of the pictures that SPADE's were published for
CITYSCAPES = 36  # classes, one of them for what is none, or the boundaries
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of norms that are taken of each picture here
Names = Mapping[str, str]


@dataclass(frozen=True)
class Translator:
    """What the tensors of a generator tell: of what it makes pictures, the arguments of its system, and which tensor
    of the file each of ours is."""

    channels: int
    arguments: Mapping[str, Any]
    tensors: Names = field(compare=False)
    sources: int | None = None  # channels of what it is given as a picture
    classes: int = 0  # of what it is given as a layout

    def spec(self, side: int) -> DataSpec:
        """Facts of the data: pictures of ``side`` pixels, and what they are made of."""
        given = {name for name, there in (("source", self.sources), ("layout", self.classes)) if there}
        return DataSpec(
            Shape(self.channels, side, side),
            source_shape=None if self.sources is None else Shape(self.sources, side, side),
            layout_names=tuple(map(str, range(self.classes))),
            provides=frozenset(given),
        )


def _size(public: Mapping[str, Tensor], key: str, axis: int) -> int:
    if key not in public or public[key].ndim <= axis:
        raise WeightsError(f"this generator lacks {key}, or it has too few axes: its architecture cannot be read off")
    return public[key].shape[axis]


def _count(public: Mapping[str, Tensor], pattern: str) -> int:
    k = 0
    while pattern.format(k) in public:
        k += 1
    return k


def _with_leaves(layers: Names, leaves: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for ours, theirs in layers.items():
        yield from ((f"{ours}.{leaf}", f"{theirs}.{leaf}") for leaf in leaves)


# -- pix2pix's U-Net: each level of it lies within the one around it ------------------------------------


def _unet(public: Mapping[str, Tensor]) -> Translator:
    depth = 1
    while f"{_level(depth)}1.weight" in public:
        depth += 1
    if depth < UNET_LEAST:
        raise WeightsError(f"a U-Net of {depth} levels: those of the authors' program have {UNET_LEAST} or more")
    convs, norms = {"downs.0": f"{_level(0)}0"}, {}
    for k in range(1, depth):
        innermost = k == depth - 1
        convs[f"downs.{k}"] = f"{_level(k)}1"
        convs[f"ups.{depth - 1 - k}"] = f"{_level(k)}{3 if innermost else 5}"
        norms[f"up_norms.{depth - 1 - k}"] = f"{_level(k)}{4 if innermost else 6}"
        if not innermost:
            norms[f"down_norms.{k}"] = f"{_level(k)}2"
    last = {"last": f"{_level(0)}3"}
    both = ("weight", "bias")
    found = dict([*_with_leaves(convs, ("weight",)), *_with_leaves(norms, both), *_with_leaves(last, both)])
    return Translator(
        channels=_size(public, f"{_level(0)}3.weight", 1),
        sources=_size(public, f"{_level(0)}0.weight", 1),
        arguments={
            "ngf": _size(public, f"{_level(0)}0.weight", 0),
            "depth": depth,
            "dropped": depth - 1 - UNET_SHALLOW,
        },
        tensors={f"generator.{ours}": theirs for ours, theirs in found.items()},
    )


def _level(k: int) -> str:
    return "model.model." if k == 0 else f"model.model.1{'.model.3' * (k - 1)}.model."


# -- generators with residual blocks --------------------------------------------------------------------


@dataclass(frozen=True)
class _ResNet:
    """A residual generator, from ``model.1`` to the last that doubles; ``after`` is the number that follows."""

    downs: int
    blocks: int
    layers: Names
    after: int


def _block(public: Mapping[str, Tensor], ours: str, theirs: str) -> dict[str, str]:
    second = 5 if f"{theirs}.conv_block.5.weight" in public else 6  # after dropout, of which nothing is stored
    return {f"{ours}.layers.0": f"{theirs}.conv_block.1", f"{ours}.layers.3": f"{theirs}.conv_block.{second}"}


def _resnet(public: Mapping[str, Tensor], place: str) -> _ResNet:
    downs = 0
    while f"model.{4 + 3 * downs}.weight" in public and f"model.{4 + 3 * downs}.conv_block.1.weight" not in public:
        downs += 1
    first = 4 + 3 * downs
    blocks = 0
    while f"model.{first + blocks}.conv_block.1.weight" in public:
        blocks += 1
    layers = {f"{place}.0": "model.1"} | {f"{place}.{3 + 3 * k}": f"model.{4 + 3 * k}" for k in range(downs)}
    for b in range(blocks):
        layers |= _block(public, f"{place}.{3 + 3 * downs + b}", f"model.{first + b}")
    for k in range(downs):
        layers[f"{place}.{3 + 3 * downs + blocks + 3 * k}"] = f"model.{first + blocks + 3 * k}"
    return _ResNet(downs, blocks, layers, first + blocks + 3 * downs)


def _cyclegan(public: Mapping[str, Tensor]) -> Translator:
    found = _resnet(public, "layers")
    last = f"model.{found.after + 1}"
    layers = {**found.layers, f"layers.{found.after - 1}": last}
    if found.downs != 2:
        raise WeightsError(f"a residual generator that halves the side {found.downs} times: CycleGAN's does twice")
    inputs, outputs = _size(public, "model.1.weight", 1), _size(public, f"{last}.weight", 0)
    arguments: dict[str, object] = {"ngf": _size(public, "model.1.weight", 0), "blocks": found.blocks, "one_way": True}
    return Translator(
        channels=outputs,
        sources=inputs,
        arguments=arguments if inputs == outputs else arguments | {"identity": 0.0},
        tensors={f"to_image.{a}": b for a, b in _with_leaves(layers, ("weight", "bias"))},
    )


def _pix2pix_hd(public: Mapping[str, Tensor]) -> Translator:
    found = _resnet(public, "coarse")
    layers, enhancers, inner = dict(found.layers), 0, 0
    while f"model{enhancers + 1}_1.1.weight" in public:
        enhancers += 1
    for n in range(1, enhancers + 1):
        front, back, ours = f"model{n}_1", f"model{n}_2", f"enhancers.{n - 1}"
        inner = _count(public, back + ".{}.conv_block.1.weight")
        layers |= {f"{ours}.front.0": f"{front}.1", f"{ours}.front.3": f"{front}.4"}
        for b in range(inner):
            layers |= _block(public, f"{ours}.back.{b}", f"{back}.{b}")
        layers[f"{ours}.back.{inner}"] = f"{back}.{inner}"
    last = f"model{enhancers}_2.{inner + 4}" if enhancers else f"model.{found.after + 1}"
    layers["picture.0"] = last
    arguments = {"downs": found.downs, "blocks": found.blocks, "enhancers": enhancers}
    return Translator(
        channels=_size(public, f"{last}.weight", 0),
        sources=1,
        classes=_size(public, "model.1.weight", 1) - 1,
        arguments=arguments
        | {"ngf": _size(public, f"{last}.weight", 1)}
        | ({"enhancer_blocks": inner} if enhancers else {}),
        tensors={f"generator.{a}": b for a, b in _with_leaves(layers, ("weight", "bias"))},
    )


# -- SPADE ----------------------------------------------------------------------------------------------


def _spade(public: Mapping[str, Tensor]) -> Translator:
    ups = _count(public, "up_{}.conv_0.weight_orig")
    wide, classes = _size(public, "head_0.conv_0.weight_orig", 0), _size(public, "head_0.norm_0.mlp_shared.0.weight", 1)
    places = {"head": "head_0", "middle.0": "G_middle_0", "middle.1": "G_middle_1"}
    places |= {f"ups.{k}": f"up_{k}" for k in range(ups)}
    found = dict(_with_leaves({"first": "fc", "last": "conv_img"}, ("weight", "bias")))
    for ours, theirs in places.items():
        found |= dict(_spade_block(public, ours, theirs))
    coded = public["fc.weight"].ndim == 2 if "fc.weight" in public else False
    doublings = {5: 7, 4: 6 if classes == CITYSCAPES else 5}.get(ups, ups + 1)
    if coded and ups == 4:  # the side that it begins from tells
        doublings = 6 if _size(public, "fc.weight", 0) * 64**2 == wide * SIDE**2 else 5
    return Translator(
        channels=_size(public, "conv_img.weight", 0),
        classes=classes,
        arguments={
            "ngf": wide // 16,
            "nz": _size(public, "fc.weight", 1) if coded else 0,
            "doublings": doublings,
            "hidden": _size(public, "head_0.norm_0.mlp_shared.0.weight", 0),
        },
        tensors={f"generator.{a}": b for a, b in found.items()},
    )


def _spade_block(public: Mapping[str, Tensor], ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    changes = f"{theirs}.conv_s.weight_orig" in public
    for name in ("0", "1", *(["s"] if changes else [])):
        conv, norm = f"{ours}.conv_{name}", f"{ours}.norm_{name}"
        for kept, stored in (("weight", "weight_orig"), ("u", "weight_u"), ("v", "weight_v")):
            yield f"{conv}.{kept}", f"{theirs}.conv_{name}.{stored}"
        if name != "s":
            yield f"{conv}.bias", f"{theirs}.conv_{name}.bias"
        layers = {"shared": "mlp_shared.0", "gamma": "mlp_gamma", "beta": "mlp_beta"}
        there = {f"{norm}.{one}": f"{theirs}.norm_{name}.{other}" for one, other in layers.items()}
        yield from _with_leaves(there, ("weight", "bias"))
        statistics = {f"{norm}.norm": f"{theirs}.norm_{name}.param_free_norm"}
        yield from _with_leaves(statistics, ("running_mean", "running_var"))


# -- the records ----------------------------------------------------------------------------------------


def _kind(
    system: str,
    marks: tuple[str, ...],
    config: Callable[[Mapping[str, Tensor]], Translator],
    optional: tuple[str, ...],
    dropped: tuple[str, ...] = STATISTICS,
    published: Mapping[str, Translator] | None = None,
) -> CheckpointKind[Translator]:
    return CheckpointKind(
        name=f"{system}-generator",
        system=system,
        marks=marks,
        config=config,
        rename=lambda found: {ours: TensorSource((theirs,)) for ours, theirs in found.tensors.items()},
        published=published or {},
        optional=optional,
        dropped_endings=dropped,
        absent_endings=("num_batches_tracked",),
    )


_of = partial(Translator, channels=3, tensors={})
TRANSLATORS: tuple[CheckpointKind[Any], ...] = (
    _kind(
        "pix2pix",
        ("model.model.0.weight", "model.model.3.weight", "model.model.1.model.1.weight"),
        _unet,
        ("critic.",),
        published={
            f"U-Net of {2**depth} pixels": _of(arguments={"ngf": 64, "depth": depth, "dropped": depth - 5})
            for depth in (7, 8)
        },
    ),
    _kind(
        "cyclegan",
        ("model.1.weight", "model.10.conv_block.1.weight"),
        _cyclegan,
        ("to_source.", "image_critic.", "source_critic.", "image_pool.", "source_pool."),
        published={f"{blocks} residual blocks": _of(arguments={"ngf": 64, "blocks": blocks}) for blocks in (6, 9)},
    ),
    _kind(
        "pix2pix-hd",
        ("model.1.weight", "model.13.weight", "model.16.conv_block.1.weight"),
        _pix2pix_hd,
        ("critic.", "coarse_picture."),
    ),
    _kind(
        "spade",
        ("conv_img.weight", "head_0.conv_0.weight_orig", "G_middle_0.norm_0.mlp_shared.0.weight"),
        _spade,
        ("critic.", "encoder."),
        dropped=("num_batches_tracked",),
    ),
)
