"""Network files like those of the public programs, built by hand: names, shapes, settings; tensors drawn by name.

The public programs are not needed: their classes are stood in for by others of the same names, which pickle to the same
opcodes. What their networks draw with these very tensors was obtained once, and is kept in the tests.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zeuxis.rng import Stream

Shapes = dict[str, tuple[int, ...]]
Z, W = 6, 5  # numbers of a latent and of a code
PROGRAM = "import pathlib\npathlib.Path({mark!r}).touch()\n"  # what a file's own program would do if it were run
SIDES = (4, 8, 16)
BASE, MOST = 64, 8  # channels: min(64 / side, 8)
CUT = (12, 12)  # taps of StyleGAN3's filters where both its rates are alike


def channels(side: int) -> int:
    return min(BASE // side, MOST)


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of that name: the same each time, of a size that keeps activations at about 1."""
    leaf = name.rpartition(".")[2]
    noise = Stream(5, name).normal(*shape)
    match leaf:
        case "resample_filter":
            line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
            return torch.outer(line, line)
        case "transform":
            return torch.eye(3)
        case "magnitude_ema":
            return 0.5 + Stream(5, name).uniform(*shape)
        case "freqs":
            return noise.clamp(-1, 1)
        case "up_filter" | "down_filter":
            return torch.zeros(shape)
    if "input.affine" in name:  # about the identity: a rotation by what is nearly 0 / 0 would magnify rounding
        return 0.1 * noise + (torch.eye(4)[0] if leaf == "bias" else 0)
    if ".fc" in f".{name}" and "mapping" in name:
        return noise * (100.0 if leaf == "weight" else 30.0)
    if leaf in ("bias", "noise_strength"):
        return 0.3 * noise + float(name.endswith("affine.bias"))
    return noise


def mapping(layers: int, classes: int = 0, latent: int = Z, width: int = W) -> Shapes:
    found: Shapes = {}
    if classes:
        found |= {"embed.weight": (width, classes), "embed.bias": (width,)}
    for k in range(layers):
        first = latent + (width if classes else 0)
        found |= {f"fc{k}.weight": (width, width if k else first), f"fc{k}.bias": (width,)}
    return found


def style_layer(inputs: int, outputs: int, kernel: int, side: int | None) -> Shapes:
    found: Shapes = {"weight": (outputs, inputs, kernel, kernel), "bias": (outputs,)}
    found |= {"affine.weight": (inputs, W), "affine.bias": (inputs,)}
    if side:
        found |= {"noise_const": (side, side), "noise_strength": (), "resample_filter": (4, 4)}
    return found


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def stylegan2(classes: int = 0) -> Shapes:
    """Of a generator for colour pictures of 16 pixels."""
    found = under("mapping", mapping(2, classes) | {"w_avg": (W,)})
    for side in SIDES:
        here, below = channels(side), channels(side // 2)
        block = f"synthesis.b{side}"
        found[f"{block}.resample_filter"] = (4, 4)
        if side == 4:
            found[f"{block}.const"] = (here, 4, 4)
        else:
            found |= under(f"{block}.conv0", style_layer(below, here, 3, side))
        found |= under(f"{block}.conv1", style_layer(here, here, 3, side))
        found |= under(f"{block}.torgb", style_layer(here, 3, 1, None))
    return found


def stylegan3(radial: bool, classes: int = 0) -> Shapes:
    """Of a generator of four layers for colour pictures of 16 pixels, as the public program sizes it."""
    found = under("mapping", mapping(2, classes) | {"w_avg": (W,)})
    found |= under("synthesis.input", {"weight": (8, 8), "freqs": (8, 2), "phases": (8,), "transform": (3, 3)})
    found |= under("synthesis.input", {"affine.weight": (4, W), "affine.bias": (4,), "size": (2,)})
    before = 8
    for k, (size, here) in enumerate(((36, 8), (36, 8), (36, 4), (16, 4), (16, 3))):
        kernel = 1 if radial or k == 4 else 3
        layer = style_layer(before, here, kernel, None) | {"magnitude_ema": (), "in_size": (2,), "out_size": (2,)}
        if k < 4:
            layer |= {"up_filter": CUT[:1], "down_filter": CUT if radial and k < 2 else CUT[:1]}
        found |= under(f"synthesis.L{k}_{size}_{here}", layer)
        before = here
    return found


def discriminator(classes: int = 0) -> Shapes:
    found: Shapes = {"b16.fromrgb.weight": (channels(16), 3, 1, 1), "b16.fromrgb.bias": (channels(16),)}
    for side in SIDES[:0:-1]:
        here, below = channels(side), channels(side // 2)
        found |= {f"b{side}.conv0.weight": (here, here, 3, 3), f"b{side}.conv0.bias": (here,)}
        found |= {f"b{side}.conv1.weight": (below, here, 3, 3), f"b{side}.conv1.bias": (below,)}
        found |= {f"b{side}.skip.weight": (below, here, 1, 1), f"b{side}.skip.resample_filter": (4, 4)}
    filters = ["b16.fromrgb", "b4.conv", *(f"b{side}{of}" for side in (8, 16) for of in ("", ".conv0", ".conv1"))]
    found |= {f"{where}.resample_filter": (4, 4) for where in filters}
    last = channels(4)
    found |= {"b4.conv.weight": (last, last + 1, 3, 3), "b4.conv.bias": (last,)}
    found |= {"b4.fc.weight": (last, 16 * last), "b4.fc.bias": (last,)}
    found |= {"b4.out.weight": (last if classes else 1, last), "b4.out.bias": (last if classes else 1,)}
    return found | (under("mapping", mapping(8, classes, 0, last)) if classes else {})


# -- state dicts of stylegan2-pytorch -----------------------------------------------------------------


def states() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state dicts of a generator and a discriminator for colour pictures of 16 pixels, in that program's names."""

    def modulated(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
        found: Shapes = {f"{name}.weight": (1, outputs, inputs, kernel, kernel)}
        return found | {f"{name}.modulation.weight": (inputs, Z), f"{name}.modulation.bias": (inputs,)}

    def styled(name: str, inputs: int, outputs: int) -> Shapes:
        found = modulated(f"{name}.conv", inputs, outputs, 3)
        return found | {f"{name}.noise.weight": (1,), f"{name}.activate.bias": (outputs,)}

    def pixels(name: str, inputs: int) -> Shapes:
        return modulated(f"{name}.conv", inputs, 3, 1) | {f"{name}.bias": (1, 3, 1, 1)}

    generator: Shapes = {f"style.{k}.weight": (Z, Z) for k in (1, 2)} | {f"style.{k}.bias": (Z,) for k in (1, 2)}
    generator |= {"input.input": (1, channels(4), 4, 4), "noises.noise_0": (1, 1, 4, 4)}
    generator |= styled("conv1", channels(4), channels(4)) | pixels("to_rgb1", channels(4))
    judge: Shapes = {"convs.0.0.weight": (channels(16), 3, 1, 1), "convs.0.1.bias": (channels(16),)}
    for k, side in enumerate(SIDES[1:]):
        here, below = channels(side), channels(side // 2)
        generator |= styled(f"convs.{2 * k}", below, here) | styled(f"convs.{2 * k + 1}", here, here)
        generator |= {f"convs.{2 * k}.conv.blur.kernel": (4, 4), f"to_rgbs.{k}.upsample.kernel": (4, 4)}
        generator |= pixels(f"to_rgbs.{k}", here) | {f"noises.noise_{2 * k + j}": (1, 1, side, side) for j in (1, 2)}
        block = f"convs.{len(SIDES) - 1 - k}"
        judge |= {f"{block}.conv1.0.weight": (here, here, 3, 3), f"{block}.conv1.1.bias": (here,)}
        judge |= {f"{block}.conv2.0.kernel": (4, 4), f"{block}.skip.0.kernel": (4, 4)}
        judge |= {f"{block}.conv2.1.weight": (below, here, 3, 3), f"{block}.conv2.2.bias": (below,)}
        judge |= {f"{block}.skip.1.weight": (below, here, 1, 1)}
    last = channels(4)
    judge |= {"final_conv.0.weight": (last, last + 1, 3, 3), "final_conv.1.bias": (last,)}
    judge |= {"final_linear.0.weight": (last, 16 * last), "final_linear.0.bias": (last,)}
    judge |= {"final_linear.1.weight": (1, last), "final_linear.1.bias": (1,)}
    return {k: stated(k, v) for k, v in generator.items()}, {k: stated(k, v) for k, v in judge.items()}


def stated(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of that name, of a size that keeps activations at about 1."""
    if name.endswith("kernel"):
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        return torch.outer(line, line) * (4 if "blur" in name or "upsample" in name else 1)
    noise = Stream(5, "state", name).normal(*shape)
    if name.startswith("style."):
        return noise * (100.0 if name.endswith("weight") else 30.0)
    if name.endswith(("bias", "noise.weight")):
        return 0.3 * noise + float(name.endswith("modulation.bias"))
    return noise


# -- pickles of the PyTorch program -------------------------------------------------------------------


class Persistent:
    """Pickles as an object that brings its own program."""

    def __init__(self, name: str, state: dict[str, Any], program: str, version: object = 6) -> None:
        self.meta = {"type": "class", "version": version, "module_src": program, "class_name": name, "state": state}

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,), None


def module(
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Mapping[str, Any]],
    program: str = "",
    version: object = 6,
    name: str = "",
) -> Persistent:
    """Nested objects of ``tensors`` by their dotted names; ``settings`` are the attributes of each, by its name."""
    own: dict[str, Any] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        head, _, rest = key.partition(".")
        if rest:
            parts.setdefault(head, {})[rest] = value
        else:
            own[key] = value
    for key in settings:  # parts without tensors
        if key.startswith(name) and key != name:
            head = key.removeprefix(f"{name}." if name else "").partition(".")[0]
            if head and (not name or key.startswith(f"{name}.")):
                parts.setdefault(head, {})
    arrays = {k: np.array([1, 1]) for k in own if k.endswith("size")}
    held = {k: v for k, v in own.items() if k not in arrays}
    learnt = {k: torch.nn.Parameter(v) for k, v in held.items() if k.endswith(("weight", "bias", "const", "strength"))}
    state = {
        "training": False,
        "_parameters": learnt,
        "_buffers": {k: v for k, v in held.items() if k not in learnt},
        "_non_persistent_buffers_set": set(),
        "_modules": {
            head: module(inner, settings, program, version, f"{name}.{head}" if name else head)
            for head, inner in parts.items()
        },
        "gain": np.float64(0.5),
        **arrays,
        **settings.get(name, {}),
    }
    return Persistent(f"Layer {name}", state, program, version)


def values(shapes: Shapes, seed: str) -> dict[str, Tensor]:
    """Tensors of these names, drawn by them and by ``seed``."""
    return {name: drawn(f"{seed}.{name}", shape) for name, shape in shapes.items()}


def general(classes: int = 0) -> dict[str, Any]:
    return {"z_dim": Z, "w_dim": W, "c_dim": classes, "img_resolution": 16, "img_channels": 3}


def judge_settings(classes: int = 0) -> dict[str, dict[str, Any]]:
    built = {"channel_base": BASE, "channel_max": MOST, "conv_clamp": 256}
    return {
        "": {"c_dim": classes, "img_resolution": 16, "img_channels": 3, "_init_kwargs": built},
        "b16": {"architecture": "resnet", "_init_kwargs": {}},
        "b4.mbstd": {"group_size": 2, "num_channels": 1},
    }


def smooth_settings(classes: int = 0) -> dict[str, dict[str, Any]]:
    built = {"channel_base": BASE, "channel_max": MOST, "conv_clamp": 256, "num_fp16_res": 4}
    return {
        "": general(classes),
        "synthesis": {"_init_kwargs": built},
        "synthesis.b4": {"architecture": "skip"},
        "synthesis.b4.conv1": {"use_noise": True, "activation": "lrelu"},
    }


def alias_free_settings(radial: bool, classes: int = 0) -> dict[str, dict[str, Any]]:
    built: dict[str, Any] = {"channel_base": 64, "channel_max": 8, "num_layers": 4}
    built |= {"conv_kernel": 1, "use_radial_filters": True} if radial else {}
    return {"": general(classes), "synthesis": {"num_layers": 4, "num_critical": 2, "_init_kwargs": built}}


def torch_file(
    shapes: Shapes,
    settings: dict[str, dict[str, Any]],
    *,
    classes: int = 0,
    pipe: bool = False,
    program: str = "",
    version: object = 6,
) -> dict[str, Any]:
    """What is pickled: a generator, its average and a discriminator."""
    easy = sys.modules["dnnlib.util"].EasyDict
    judge = module(values(discriminator(classes), "D"), judge_settings(classes), program, version)
    p = {"": {"_init_kwargs": easy(scale=1, brightness=1)}}
    return {
        "G": module(values(shapes, "G raw"), settings, program, version),
        "D": judge,
        "G_ema": module(values(shapes, "G"), settings, program, version),
        "augment_pipe": module({"p": torch.tensor(0.25)}, p, program, version) if pipe else None,
        "training_set_kwargs": easy(class_name="training.dataset.ImageFolderDataset", path="pictures"),
    }


# -- pickles of the TensorFlow programs ---------------------------------------------------------------


def to_flow(name: str, value: Tensor, judges: bool = False) -> Iterator[tuple[str, Any]]:
    """A tensor of the PyTorch program as a variable of a network: the inverse of what reading does."""
    part, _, leaf = name.rpartition(".")
    array = value.numpy()
    words = part.split(".")
    if leaf == "resample_filter":
        return
    if leaf == "w_avg":
        yield "dlatent_avg", array
    elif words[0] == "mapping":
        layer = "LabelEmbed" if words[1] == "embed" else f"{'Mapping' if judges else 'Dense'}{words[1][2:]}"
        yield f"{'' if judges else 'mapping/'}{layer}/{leaf}", np.ascontiguousarray(array.T)
    elif leaf == "const":
        yield "synthesis/4x4/Const/const", array[None]
    elif leaf == "noise_const":
        side = int(words[1][1:])
        yield f"synthesis/noise{2 * side.bit_length() - 7 + int(words[2][4:])}", array[None, None]
    else:
        generated = words[0] == "synthesis"
        block, layer = (words[1], words[2]) if generated else (words[0], words[1])
        side = block[1:]
        if generated:
            called = {"conv0": "Conv0_up", "conv1": "Conv" if side == "4" else "Conv1", "torgb": "ToRGB"}[layer]
        else:
            called = {
                "fromrgb": "FromRGB",
                "conv0": "Conv0",
                "conv1": "Conv1_down",
                "skip": "Skip",
                "conv": "Conv",
            }.get(layer, {"fc": "Dense0", "out": "Output"}.get(layer, ""))
        if "affine" in words:
            leaf = {"weight": "mod_weight", "bias": "mod_bias"}[leaf]
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
            array = array[::-1, ::-1] if called == "Conv0_up" else array
        elif leaf == "mod_bias":
            array = array - 1
        where = called if called == "Output" else f"{side}x{side}/{called}"
        yield f"{'synthesis/' * generated}{where}/{leaf}", np.array(array.T if array.ndim == 2 else array, order="C")


def flow_file(
    version: int = 4,
    build: str = "G_main",
    program: str = "",
    change: Mapping[str, Any] | None = None,
    classes: int = 0,
    **settings: Any,
) -> tuple[Any, ...]:
    """A tuple of three networks, of StyleGAN2, of version 5 StyleGAN2-ADA; ``change`` are variables of the generators
    that are others."""
    kind = sys.modules["dnnlib.tflib.network"].Network
    own = {"latent_size": Z, "dlatent_size": W, "resolution": 16, "num_channels": 3, "fmap_base": BASE // 2}
    own |= {"fmap_max": MOST, "mapping_layers": 2} | ({"label_size": classes} if classes else {}) | settings

    def network(name: str, variables: dict[str, Any], **components: Any) -> Any:
        net = kind()
        net.state = {
            "version": version,
            "name": name,
            "static_kwargs": own,
            "components": components,
            "build_module_src": program,
            "build_func_name": build if name == "G" else name,
            "variables": list(variables.items()),
        }
        if version == 5:
            net.state |= {"input_shapes": [[None, Z], [None, classes]], "input_names": ["latents_in", "labels_in"]}
        return net

    def generator(seed: str) -> Any:
        shapes = values(stylegan2(classes), seed)
        every = dict(pair for item in shapes.items() for pair in to_flow(*item)) | dict(change or {})
        split = {
            part: {k.removeprefix(f"{part}/"): v for k, v in every.items() if k.startswith(f"{part}/")}
            for part in ("synthesis", "mapping")
        }
        top = {"dlatent_avg": every["dlatent_avg"]}
        for own in (top, split["synthesis"]) if version < 5 else ():
            own["lod"] = np.array(0, np.float32)
        return network("G", top, **{part: network(part, held) for part, held in split.items()})

    judge = dict(pair for item in values(discriminator(classes), "D").items() for pair in to_flow(*item, judges=True))
    return generator("G raw"), network("D_stylegan2", judge), generator("G")


Variables = dict[str, Tensor]
GROWN_BASE, GROWN_MOST = 128, 4  # of ProGAN and StyleGAN: channels at R pixels are min(256 / R, 4)


def grown_channels(side: int) -> int:
    return min(2 * GROWN_BASE // side, GROWN_MOST)


def grown(side: int, styles: bool) -> tuple[Variables, Variables]:
    """The variables of a generator and a discriminator of ProGAN, or of StyleGAN, in TensorFlow's layout."""
    generator: dict[str, tuple[int, ...]] = {"lod": ()}
    judge: dict[str, tuple[int, ...]] = {"lod": ()}
    top = side.bit_length() - 3
    for level in range(top + 1):
        at = 4 << level
        here, below, name = grown_channels(at), grown_channels(at // 2), f"{at}x{at}"
        first = ("Const", "Conv") if styles else ("Dense", "Conv")
        for k, layer in enumerate(("Conv0_up", "Conv1") if level else first):
            if layer == "Const":
                generator["4x4/Const/const"] = (1, here, 4, 4)
            elif layer == "Dense":
                generator["4x4/Dense/weight"] = (Z, 16 * here)
            else:
                generator[f"{name}/{layer}/weight"] = (3, 3, below if level and not k else here, here)
            generator[f"{name}/{layer}/bias"] = (here,)
            if styles:
                generator[f"noise{2 * level + k}"] = (1, 1, at, at)
                generator[f"{name}/{layer}/Noise/weight"] = (here,)
                generator[f"{name}/{layer}/StyleMod/weight"] = (W, 2 * here)
                generator[f"{name}/{layer}/StyleMod/bias"] = (2 * here,)
        for found, kind, shape in ((generator, "ToRGB", (1, 1, here, 3)), (judge, "FromRGB", (1, 1, 3, here))):
            found[f"{kind}_lod{top - level}/weight"], found[f"{kind}_lod{top - level}/bias"] = shape, shape[-1:]
        if level:
            judge |= {f"{name}/Conv0/weight": (3, 3, here, here), f"{name}/Conv0/bias": (here,)}
            judge |= {f"{name}/Conv1_down/weight": (3, 3, here, below), f"{name}/Conv1_down/bias": (below,)}
        else:
            judge |= {"4x4/Conv/weight": (3, 3, here + 1, here), "4x4/Conv/bias": (here,)}
            judge |= {"4x4/Dense0/weight": (16 * here, here), "4x4/Dense0/bias": (here,)}
            judge |= {"4x4/Dense1/weight": (here, 1), "4x4/Dense1/bias": (1,)}
    seeded = (("grown", generator), ("judge", judge))
    one, other = (
        {name: Stream(6, seed, name).normal(*shape) * (name != "lod") for name, shape in shapes.items()}
        for seed, shapes in seeded
    )
    return one, other


def grown_file(side: int, styles: bool, **settings: Any) -> tuple[Any, ...]:
    """A tuple of three networks, of ProGAN (version 2, one network each) or StyleGAN (version 3)."""
    kind = sys.modules["dnnlib.tflib.network"].Network
    own = {"latent_size": Z, "dlatent_size": W, "resolution": side, "num_channels": 3, "fmap_base": GROWN_BASE}
    own |= {"fmap_max": GROWN_MOST, "mbstd_group_size": 2} | settings

    def network(build: str, variables: Variables, **components: Any) -> Any:
        net = kind()
        pairs = [(name, value.numpy()) for name, value in variables.items()]
        net.state = {"version": 3 if styles else 2, "name": build, "static_kwargs": own, "build_module_src": ""}
        net.state |= {"build_func_name": build, "variables": pairs} | ({"components": components} if styles else {})
        return net

    made, judge = grown(side, styles)
    if not styles:
        generator = network("G_paper", made)
        return generator, network("D_paper", judge), generator
    codes = {name.replace("fc", "Dense"): shape for name, shape in mapping(2).items()}
    codes_of = {name.replace(".", "/"): 100 * Stream(6, name).normal(*shape[::-1]) for name, shape in codes.items()}
    parts = {"synthesis": network("G_synthesis", made), "mapping": network("G_mapping", codes_of)}
    average = {"lod": torch.zeros(()), "dlatent_avg": Stream(6, "mean").normal(W)}
    generator = network("G_style", average, **parts)
    return generator, network("D_basic", judge), generator


# -- the classes that the files name ------------------------------------------------------------------


@contextmanager
def public_names() -> Iterator[None]:
    """While files are pickled, modules of the public programs' names."""

    def _reconstruct_persistent_obj(meta: object) -> object:
        raise AssertionError("a program in a file was run")

    class EasyDict(dict):  # type: ignore[type-arg]
        pass

    class Network:
        state: dict[str, Any]

        def __getstate__(self) -> dict[str, Any]:
            return self.state

    things = {
        "torch_utils.persistence": _reconstruct_persistent_obj,
        "dnnlib.util": EasyDict,
        "dnnlib.tflib.network": Network,
    }
    names = {"torch_utils", "dnnlib", "dnnlib.tflib", *things}
    before = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    for name, thing in things.items():
        thing.__module__, thing.__qualname__ = name, thing.__name__
        setattr(sys.modules[name], thing.__name__, thing)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old
