"""What state dicts of StyleGAN2 hold: those of stylegan2-pytorch, a well-known program of others, and of the authors'.

``{"g": ..., "d": ..., "g_ema": ..., ...}``: no settings lie beside the tensors, so sizes are read off their shapes. The
generator lies elsewhere in the files of those who build on it (``state_dict.decoder.`` of pSp and e4e, a file of its
own); where a file has no average, or no discriminator, it does without. Of the authors' PyTorch program some keep the
state dicts alone, ``{"G": ..., "D": ..., "G_ema": ...}``, in place of its network files.

Axes: W numbers of a style code, L layers that are given a code each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import WeightsError
from zeuxis.nn.stylegan2 import StyleMapping
from zeuxis.nn.upfirdn import BLUR
from zeuxis.pretrained.kind import PARALLEL, check_keys
from zeuxis.pretrained.style_names import layers_of_mapping
from zeuxis.pretrained.style_settings import StyleFile, must_know, without
from zeuxis.rng import Stream
from zeuxis.spec import MOST_SIDE

MARKS = ("input.input", "style.1.weight", "conv1.conv.modulation.weight", "to_rgb1.conv.modulation.weight")
AUTHORS = ("synthesis.b4.const", "mapping.fc0.weight", "synthesis.b4.torgb.weight", "synthesis.b8.conv0.weight")
AVERAGE, RAW, JUDGE = "g_ema.", "g.", "d."  # of the authors in capitals
MEAN = "latent_avg"  # of codes; training keeps none, what else writes such files does
AUGMENTED = "ada_aug_p"  # the probability of its augmentations, a number or a tensor
DRAWN = 4096  # codes whose mean stands for it, as in the program's own sampling
READ = "of such files, StyleGAN2 with channels of a base over the side is read"

_STYLED = (
    ("conv.weight", "weight"),
    ("conv.modulation.weight", "affine.weight"),
    ("conv.modulation.bias", "affine.bias"),
    ("noise.weight", "noise_strength"),
    ("activate.bias", "bias"),
)
_PIXELS = (
    ("conv.weight", "weight"),
    ("conv.modulation.weight", "affine.weight"),
    ("conv.modulation.bias", "affine.bias"),
    ("bias", "bias"),
)


def generator_place(keys: Iterable[str]) -> str | None:
    """The prefix of the generator's names, None where there is none: of the average before that of training."""
    names = set(keys)
    found = _marked(names, MARKS)
    return _marked(names, AUTHORS) if found is None else found


def _marked(names: set[str], marks: tuple[str, ...]) -> str | None:
    """The same, of names that have all of ``marks``."""
    first = marks[0]
    places = {key.removesuffix(first) for key in names if key.endswith(first)}
    found = [p for p in places if (not p or p.endswith(".")) and all(p + mark in names for mark in marks)]
    called = {p: p.removesuffix(PARALLEL).lower() for p in found}
    return min(found, key=lambda p: (not called[p].endswith(AVERAGE), called[p].endswith(RAW), p), default=None)


def of_states(facts: Any, tensors: Mapping[str, Tensor], what: str) -> StyleFile:
    """What a file holds that :func:`generator_place` knows. Raises :class:`WeightsError` for what is no StyleGAN2."""
    place = generator_place(tensors)
    assert place is not None
    own = _under(place, tensors)
    if AUTHORS[0] in own:
        return _of_authors(place, own, tensors, what)
    beside = re.sub(r"(^|\.)g(_ema)?\.$", r"\1", place.removesuffix(PARALLEL))  # where the discriminator lies
    judge = _under(beside + JUDGE, tensors)
    judge = _under(PARALLEL, judge) or judge
    depth = 1 + sum(1 for key in own if re.fullmatch(r"to_rgbs\.\d{1,3}\.conv\.weight", key))
    side = 4 << (depth - 1)
    if not 4 < side <= MOST_SIDE:
        raise WeightsError(f"{what}: {place}to_rgbs are of {side} pixels a side, and 8 to {MOST_SIDE} are read")
    layers = sum(1 for key in own if re.fullmatch(r"style\.\d{1,4}\.weight", key))
    names = _generator(depth, layers)
    noises = {key for key in names if key.startswith("noises.")}
    kept = noises if noises & set(own) else set()  # early versions of the program kept none
    public = _placed(own, names, (set(names) - noises) | kept, f"{what}: {place[:-1] or 'it'}", "G.")
    if judge:
        wanted = _discriminator(depth)
        public |= _placed(judge, wanted, set(wanted), f"{what}: {beside}{JUDGE[:-1]}", "D.")
    width, channels = public["G.mapping.fc0.bias"].numel(), public["G.synthesis.b4.torgb.bias"].numel()
    _must_be_there(what, width, width, channels)
    mean = _told_mean(tensors, beside, width, what)
    public["G.mapping.w_avg"] = _drawn_mean(public, width, layers, what) if mean is None else mean
    arguments: dict[str, Any] = {"nz": width, "width": width, "mapping": layers, **_widths(public, depth, what)}
    p = facts.get(AUGMENTED) if isinstance(facts, dict) else None
    if (number := tensors.get(AUGMENTED)) is not None and number.numel() == 1:
        p = float(number)
    adaptive = isinstance(p, float) and 0 < p <= 1
    if adaptive:
        arguments |= {"augment": "bgc", "start": p}
    absent: tuple[str, ...] = () if judge else ("discriminator.",)
    absent += () if kept else tuple(f"generator.synthesis.blocks.{k}.conv{n}.noise" for k in range(depth) for n in "01")
    made = ("G.mapping.w_avg",) if mean is None else ()
    system = "stylegan2-ada" if adaptive else "stylegan2"
    return StyleFile(system, Shape(channels, side, side), 0, arguments, public, absent=absent, made=made)


def _of_authors(place: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], what: str) -> StyleFile:
    """The same of the authors' names, which tell neither where activations are cut off nor how many are compared."""
    sides = sorted(int(found[1]) for key in own if (found := re.fullmatch(r"synthesis\.b(\d{1,5})\.conv1\.bias", key)))
    depth, side = len(sides), sides[-1]
    if sides != [4 << k for k in range(depth)] or side > MOST_SIDE:
        raise WeightsError(f"{what}: its blocks are of {', '.join(map(str, sides))} pixels a side: {READ}")
    public = {f"G.{key}": value for key, value in own.items()}
    judge = _under(re.sub(r"(^|\.)G(_ema)?\.$", r"\1", place.removesuffix(PARALLEL)) + JUDGE.upper(), tensors)
    residual = f"b{side}.skip.weight" in judge
    public |= {f"D.{key}": value for key, value in judge.items()} if residual else {}
    first, table = own["mapping.fc0.weight"], own.get("mapping.embed.weight")
    width, channels = len(first) if first.ndim == 2 else 0, own["synthesis.b4.torgb.bias"].numel()
    classes = 0 if table is None or table.ndim != 2 else table.shape[1]
    latent = first.shape[-1] - (width if classes else 0) if width else 0
    _must_be_there(what, latent, width, channels)
    must_know(public, width, classes)
    arguments: dict[str, Any] = {
        "condition": "label" if classes else "none",
        "nz": latent,
        "width": width,
        "mapping": layers_of_mapping(public, "G."),
        **({"judge_mapping": layers_of_mapping(public, "D.")} if classes and residual else {}),
        **_widths(public, depth, what),
    }
    shape = Shape(channels, side, side)
    return StyleFile("stylegan2", shape, classes, arguments, public, absent=() if residual else ("discriminator.",))


def _under(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(place): value for key, value in tensors.items() if key.startswith(place)}


def _must_be_there(what: str, latent: int, width: int, channels: int) -> None:
    """Raise :class:`WeightsError` where a size that is read off shapes is none."""
    if min(latent, width, channels) < 1:
        raise WeightsError(f"{what}: latents of {latent} numbers, codes of {width}, {channels} channels: it is damaged")


def _generator(depth: int, layers: int) -> dict[str, str]:
    """The names of a generator of so many resolutions, each with that of the PyTorch program's network files."""
    found = {f"style.{k + 1}.{leaf}": f"mapping.fc{k}.{leaf}" for k in range(layers) for leaf in ("weight", "bias")}
    found["input.input"] = "synthesis.b4.const"
    for k in range(depth):
        block = f"synthesis.b{4 << k}"
        pixels = f"to_rgbs.{k - 1}" if k else "to_rgb1"
        found |= {f"{pixels}.{theirs}": f"{block}.torgb.{leaf}" for theirs, leaf in _PIXELS}
        for layer in (0, 1) if k else (1,):
            conv = f"convs.{2 * (k - 1) + layer}" if k else "conv1"
            found |= {f"{conv}.{theirs}": f"{block}.conv{layer}.{leaf}" for theirs, leaf in _STYLED}
            found[f"noises.noise_{2 * k - 1 + layer}"] = f"{block}.conv{layer}.noise_const"
    return found


def _discriminator(depth: int) -> dict[str, str]:
    """The names of a discriminator of so many resolutions, each with that of the PyTorch program's network files."""
    top = 4 << (depth - 1)
    found = {"convs.0.0.weight": f"b{top}.fromrgb.weight", "convs.0.1.bias": f"b{top}.fromrgb.bias"}
    for k in range(1, depth):
        theirs, block = f"convs.{k}", f"b{8 << (depth - 1 - k)}"
        found |= {f"{theirs}.conv1.0.weight": f"{block}.conv0.weight", f"{theirs}.conv1.1.bias": f"{block}.conv0.bias"}
        found |= {f"{theirs}.conv2.1.weight": f"{block}.conv1.weight", f"{theirs}.conv2.2.bias": f"{block}.conv1.bias"}
        found[f"{theirs}.skip.1.weight"] = f"{block}.skip.weight"
    found |= {"final_conv.0.weight": "b4.conv.weight", "final_conv.1.bias": "b4.conv.bias"}
    for k, part in enumerate(("fc", "out")):
        found |= {f"final_linear.{k}.{leaf}": f"b4.{part}.{leaf}" for leaf in ("weight", "bias")}
    return found


def _placed(
    own: Mapping[str, Tensor], names: Mapping[str, str], wanted: set[str], what: str, prefix: str
) -> dict[str, Tensor]:
    """The tensors of a network under the names and in the layout of the network files; its filters must be ours."""
    line = torch.tensor(BLUR)
    filters = {key for key in own if key.endswith(".kernel")}
    for key in sorted(filters):
        taps = own[key].float()
        if taps.shape != (4, 4) or not torch.outer(line, line).allclose(taps / taps.sum(), atol=1e-6):
            raise WeightsError(f"{what}: {key} is another filter than [1, 3, 3, 1], which alone is read")
    check_keys(what, wanted, set(own) - filters, READ)
    return {f"{prefix}{names.get(key, f'{key}.resample_filter')}": _laid_out(key, own[key]) for key in sorted(own)}


def _laid_out(key: str, value: Tensor) -> Tensor:
    """Without the axes of one that theirs have and the network files have not."""
    if key.startswith("noises."):
        return without(value, 2, key)
    if key == "input.input" or (key.endswith("conv.weight") and value.ndim == 5):
        return without(value, 1, key)
    if key.endswith("noise.weight") or re.fullmatch(r"to_rgb(1|s\.\d+)\.bias", key):
        return value.flatten() if value.numel() > 1 or key.endswith("bias") else value.reshape(())
    return value


def _told_mean(tensors: Mapping[str, Tensor], beside: str, width: int, what: str) -> Tensor | None:
    """The mean code in the file, where it has one; some write it once for each layer."""
    told = next((tensors[key] for key in (beside + MEAN, MEAN) if key in tensors), None)
    if told is None:
        return None
    if told.ndim == 0 or told.shape[-1] != width or told.numel() == 0:
        raise WeightsError(f"{what}: {MEAN} is of shape {tuple(told.shape)}, and codes have {width} numbers")
    rows = told.float().reshape(-1, width)
    if not rows.allclose(rows[:1].expand_as(rows)):
        raise WeightsError(f"{what}: {MEAN} is another code for each layer, and one for all is read")
    return rows[0]


def _drawn_mean(public: Mapping[str, Tensor], width: int, layers: int, what: str) -> Tensor:
    """The mean code of many latents."""
    leaves = ("weight", "bias")
    state = {f"layers.{k}.{leaf}": public[f"G.mapping.fc{k}.{leaf}"].float() for k in range(layers) for leaf in leaves}
    if any(value.shape != (width, width)[: 1 + name.endswith("weight")] for name, value in state.items()):
        raise WeightsError(f"{what}: its style layers do not lead from {width} numbers to {width}: {READ}")
    with torch.device("meta"):  # nothing is drawn for what is given at once
        mapping = StyleMapping(width, width, layers=layers)
    mapping.load_state_dict(state, assign=True)
    with torch.no_grad():
        mean: Tensor = mapping(Stream(0).normal(DRAWN, width)).mean(0)
    return mean


def _widths(public: Mapping[str, Tensor], depth: int, what: str) -> dict[str, int]:
    """Base and limit of the channels at each side, which shapes tell."""
    widths = [public[f"G.synthesis.b{4 << k}.conv1.bias"].numel() for k in range(depth)]
    most = widths[0]
    limited = [4 << k for k, width in enumerate(widths) if width < most]
    base = limited[0] * widths[limited[0].bit_length() - 3] if limited else most * (4 << (depth - 1))
    if most < 1 or widths != [min(base // (4 << k), most) for k in range(depth)]:
        raise WeightsError(f"{what}: its layers have {', '.join(map(str, widths))} channels from 4 pixels up: {READ}")
    return {"channel_base": base, "channel_max": most}
