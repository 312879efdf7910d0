"""What the network files of the TensorFlow programs hold: ProGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA.

A file is a tuple of three networks, G, D and the average Gs, each of named variables and of the keywords that it was
built with.

Axes: k side of a kernel, I and O channels in and out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import WeightsError
from zeuxis.nn.stylegan2 import MAPPING_RATE
from zeuxis.pretrained.style_names import layers_of_mapping
from zeuxis.pretrained.style_settings import READ, Piece, StyleFile, must_know, piece_of, renamed, without

FLOW_VERSIONS = (2, 3, 4, 5)  # of their class of networks
ADAPTIVE = 5  # the version that StyleGAN2-ADA's program writes, whose classes are told as in its PyTorch program
GROWING = {"G_paper": "progan", "G_style": "stylegan"}  # by what builds the generator; "G_main" is StyleGAN2's
FUSED = 128  # pixels from which StyleGAN's program doubles and convolves in one, by a kernel that is turned about


def flow_parts(facts: Any) -> tuple[Piece, ...] | None:
    parts = [piece_of(one, name) for one, name in zip(facts, ("G", "D", "Gs"), strict=False)] if _three(facts) else []
    found = tuple(part for part in parts if part is not None and "build_func_name" in part.state)
    return found if len(found) == 3 else None


def _three(facts: Any) -> bool:
    return isinstance(facts, list) and len(facts) == 3


def of_flow(networks: tuple[Piece, ...], tensors: Mapping[str, Tensor], what: str) -> StyleFile:
    """StyleGAN2 and StyleGAN2-ADA in TensorFlow; tensors under the names and in the layout of the PyTorch program."""
    _, discriminator, generator = networks
    version = generator.state.get("version")
    if version not in FLOW_VERSIONS:
        raise WeightsError(f"{what}: networks of version {str(version)[:20]}; versions 2 to 5 are read")
    built = str(generator.state["build_func_name"])
    if built in GROWING:
        return _growing(GROWING[built], generator, discriminator, tensors)
    if built != "G_main":
        raise WeightsError(f"{what} is built by {built[:60]}, and no system here takes its tensors: {READ}")
    settings, adaptive = _settings(generator), version == ADAPTIVE
    usual = "G_synthesis" if adaptive else "G_synthesis_stylegan2"
    told = str(settings.get("synthesis_func", usual))
    if told != usual:
        raise WeightsError(f"{what}: its pictures are made by {told[:60]} (configurations A to D); E and F are read")
    generator = Piece({"_init_kwargs": settings}, "Gs")
    discriminator = Piece({"_init_kwargs": _settings(discriminator)}, "D")
    same = {"resample_kernel": [1, 3, 3, 1], "nonlinearity": "lrelu", "mapping_nonlinearity": "lrelu"}
    classes = generator.number("label_size", 0, least=0) if adaptive else 0
    generator.must_be(architecture="skip", use_noise=True, mapping_lrmul=0.01, label_size=classes, **same)
    discriminator.must_be(architecture="resnet", mbstd_num_features=1, label_size=classes, **same)
    public = {f"G.{name}": value for name, value in _layout(renamed(tensors, {"2.": ""}), _GENERATOR)}
    public |= {f"D.{name}": value for name, value in _layout(renamed(tensors, {"1.": ""}), _DISCRIMINATOR)}
    side, channels = generator.side("resolution", 1024), generator.number("num_channels", 3)
    base, most = 2 * generator.number("fmap_base", 16384), generator.number("fmap_max", 512)
    discriminator.must_be(fmap_base=base // 2, fmap_max=most, resolution=side)
    clamp = generator.clamp
    discriminator.must_be(conv_clamp=clamp)
    width, judge_mapping = generator.number("dlatent_size", 512), layers_of_mapping(public, "D.")
    must_know(public, width, classes)
    if judge_mapping and discriminator.arguments.get("mapping_lrmul", 0.1) != MAPPING_RATE:  # 0.1 where none is told
        raise WeightsError(f"{what}: its discriminator maps classes at another mapping_lrmul than {MAPPING_RATE:g}")
    arguments = {
        "nz": generator.number("latent_size", 512),
        "width": width,
        "mapping": layers_of_mapping(public, "G."),
        **({"condition": "label", "judge_mapping": judge_mapping} if classes else {}),
        "channel_base": base,
        "channel_max": most,
        "group": max(discriminator.number("mbstd_group_size", 4, least=0), 1),
        "clamp": clamp,
    }
    return StyleFile("stylegan2", Shape(channels, side, side), classes, arguments, public)


def _growing(system: str, generator: Piece, discriminator: Piece, tensors: Mapping[str, Tensor]) -> StyleFile:
    """ProGAN or StyleGAN, whose tensors go to our names at once; ``lod`` says how much is yet to grow."""
    made = Piece({"_init_kwargs": _settings(generator)}, "Gs")
    judge = Piece({"_init_kwargs": _settings(discriminator)}, "D")
    same = {"label_size": 0, "use_wscale": True, "fmap_decay": 1.0}
    made.must_be(normalize_latents=True, nonlinearity="lrelu", use_leakyrelu=True, use_noise=True, **same)
    made.must_be(use_pixelnorm=True, use_pixel_norm=False, use_instance_norm=True, use_styles=True)
    made.must_be(mapping_lrmul=0.01, blur_filter=[1, 2, 1], tanh_at_output=False, const_input_layer=True)
    judge.must_be(nonlinearity="lrelu", use_leakyrelu=True, mbstd_num_features=1, blur_filter=[1, 2, 1], **same)
    if made.arguments.get("fused_scale", "auto") not in ("auto", True) and system == "stylegan":
        raise WeightsError("Gs was built with another fused_scale than 'auto', which alone is read")
    side, base, most = made.side("resolution", 1024), made.number("fmap_base", 8192), made.number("fmap_max", 512)
    judge.must_be(fmap_base=base, fmap_max=most, resolution=side)
    top = side.bit_length() - 3  # the finest level; that of 4 pixels is 0
    own: dict[str, Tensor] = {}
    for prefix, ours_of in (("2.", "generator"), ("1.", "discriminator")):
        for name, value in renamed(tensors, {prefix: ""}).items():
            found, changed = _grown(name, value, top, system, prefix == "1.")
            if found == "lod":
                if prefix == "2." and name == "lod" and value.numel() == 1 and torch.isfinite(value).all():
                    own["level"] = (top - value.flatten()[0]).clamp(0, top)
                continue
            if own.setdefault(f"{ours_of}.{found}", changed) is not changed:
                raise WeightsError(f"two variables are {ours_of}.{found}, one of them {name}: it is damaged")
    arguments = {
        "nz": made.number("latent_size", 512),
        "channel_base": 2 * base,
        "channel_max": most,
        "group": max(judge.number("mbstd_group_size", 4, least=0), 1),
    }
    if system == "stylegan":
        layers = sum(1 for key in own if re.fullmatch(r"generator\.mapping\.layers\.\d+\.weight", key))
        arguments |= {"width": made.number("dlatent_size", 512), "mapping": layers}
    return StyleFile(system, Shape(made.number("num_channels", 3), side, side), 0, arguments, own, renamed=True)


# The layers of one level in their programs -> ours, of ProGAN's generator, StyleGAN's, and their discriminators.
_LAYERS = {
    "Dense": "dense",
    "Conv": "conv",
    "Conv0_up": "conv0",
    "Conv0": "conv0",
    "Conv1": "conv1",
    "Conv1_down": "conv1",
}
_STYLED = {"Const": "layer0", "Conv": "layer1", "Conv0_up": "layer0", "Conv1": "layer1"}
_INNER = {
    "weight": "conv.weight",
    "bias": "bias",
    "Noise/weight": "strength",
    "StyleMod/weight": "style.weight",
    "StyleMod/bias": "style.bias",
}


def _grown(name: str, value: Tensor, top: int, system: str, judges: bool) -> tuple[str, Tensor]:
    """A variable of ProGAN or StyleGAN under our name (without the network's) and in our layout; "lod" for that one."""
    part, _, path = name.rpartition(".")
    if path == "lod":
        return "lod", value
    if path == "dlatent_avg":
        return "mean", value
    synthesis = "synthesis." if part == "synthesis" else ""
    if found := re.fullmatch(r"noise(\d{1,3})", path):
        return f"synthesis.blocks.{int(found[1]) // 2}.layer{int(found[1]) % 2}.noise", without(value, 2, name)
    if value.ndim == 4:
        turned = re.search(r"(\d+)x\d+/Conv0_up/weight$", path)
        fused = turned is not None and (system == "progan" or int(turned[1]) >= FUSED)
        value = (value.flip(0, 1) if fused else value).permute(3, 2, 0, 1) if not path.endswith("/const") else value
    elif value.ndim == 2:
        value = value.T
    if found := re.fullmatch(r"Dense(\d{1,4})/(weight|bias)", path):
        return f"mapping.layers.{found[1]}.{found[2]}", value
    if found := re.fullmatch(r"(?:To|From)RGB_lod(\d{1,3})/(weight|bias)", path):
        return f"{synthesis}pixels.{top - int(found[1])}.{found[2]}", value
    if found := re.fullmatch(r"4x4/Dense([01])/(weight|bias)", path):
        return f"{('hidden', 'out')[int(found[1])]}.{found[2]}", value
    if path == "4x4/Const/const":
        return "synthesis.blocks.0.const", without(value, 1, name)
    if found := re.fullmatch(r"(\d{1,9})x\1/(\w+?)/(.+)", path):
        level = int(found[1]).bit_length() - 3
        if synthesis and found[2] in _STYLED and found[3] in _INNER:
            return f"synthesis.blocks.{level}.{_STYLED[found[2]]}.{_INNER[found[3]]}", value
        if not synthesis and found[2] in _LAYERS:
            if not judges:
                return f"blocks.{level}.{_LAYERS[found[2]]}.{found[3]}", value
            # Its blocks are counted from the first above 4 pixels, whose own layer stands alone.
            return f"{f'blocks.{level - 1}.' if level else ''}{_LAYERS[found[2]]}.{found[3]}", value
    raise WeightsError(f"variable {name} has no place in {system}: {READ}")


def _settings(part: Piece) -> Mapping[str, Any]:
    found = part.state.get("static_kwargs")
    return found if isinstance(found, dict) else {}


_GENERATOR = (
    (r"dlatent_avg", r"mapping.w_avg"),
    (r"mapping\.Dense(\d+)/(weight|bias)", r"mapping.fc\1.\2"),
    (r"mapping\.LabelEmbed/(weight|bias)", r"mapping.embed.\1"),
    (r"synthesis\.4x4/Const/const", r"synthesis.b4.const"),
    (r"synthesis\.4x4/Conv/(\w+)", r"synthesis.b4.conv1.\1"),
    (r"synthesis\.(\d+)x\1/Conv0_up/(\w+)", r"synthesis.b\1.conv0.\2"),
    (r"synthesis\.(\d+)x\1/Conv1/(\w+)", r"synthesis.b\1.conv1.\2"),
    (r"synthesis\.(\d+)x\1/ToRGB/(\w+)", r"synthesis.b\1.torgb.\2"),
)
_DISCRIMINATOR = (
    (r"LabelEmbed/(weight|bias)", r"mapping.embed.\1"),
    (r"Mapping(\d+)/(weight|bias)", r"mapping.fc\1.\2"),
    (r"(\d+)x\1/FromRGB/(\w+)", r"b\1.fromrgb.\2"),
    (r"4x4/Conv/(\w+)", r"b4.conv.\1"),
    (r"4x4/Dense0/(\w+)", r"b4.fc.\1"),
    (r"Output/(\w+)", r"b4.out.\1"),
    (r"(\d+)x\1/Conv0/(\w+)", r"b\1.conv0.\2"),
    (r"(\d+)x\1/Conv1_down/(\w+)", r"b\1.conv1.\2"),
    (r"(\d+)x\1/Skip/(\w+)", r"b\1.skip.\2"),
)


def _layout(variables: Mapping[str, Tensor], table: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Tensor]]:
    """Variables of one network under the PyTorch program's names, in its layout; ``lod`` is the progress of growing."""
    for name, value in variables.items():
        if name.rpartition(".")[2] == "lod":
            continue
        noise = re.fullmatch(r"synthesis\.noise(\d+)", name)
        if noise:  # the first at 4 pixels, then two at each side
            k = int(noise[1])
            if k > 62:
                raise WeightsError(f"{name} is of no side that a picture has")
            yield f"synthesis.b{4 << (k + 1) // 2}.conv{1 - k % 2}.noise_const", without(value, 2, name)
            continue
        found = next((re.sub(f"^{was}$", now, name) for was, now in table if re.fullmatch(was, name)), None)
        if found is None:
            raise WeightsError(f"variable {name} has no place in StyleGAN2: {READ}")
        if found.endswith("mod_weight"):
            yield found.replace("mod_weight", "affine.weight"), value.T if value.ndim == 2 else value
        elif found.endswith("mod_bias"):
            yield found.replace("mod_bias", "affine.bias"), value + 1
        elif found.endswith("const"):
            yield found, without(value, 1, name)
        elif value.ndim == 4:  # (k, k, I, O); of those that enlarge, turned about, as their convolution is
            yield found, (value.flip(0, 1) if "/Conv0_up/" in name else value).permute(3, 2, 0, 1)
        else:
            yield found, value.T if value.ndim == 2 else value
