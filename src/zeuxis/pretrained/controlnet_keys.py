"""Published ControlNets, in the names of diffusers and of the authors' own program, and our branch.

Zhang, Rao & Agrawala 2023 (arXiv:2302.05543). Either file is one for one our
:class:`zeuxis.nn.controlnet.ControlBranch`, but for attention's projections, which are fused here, and for the 1x1
convolutions around the transformers of Stable Diffusion 1.x, which are matrices here.

The file does not tell how many heads its attention has: a branch is made for a U-Net that is there, whose layers it
copies, and so for no other.

Axes: C channels of the control picture, E numbers of a vector of the context.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zeuxis.errors import WeightsError
from zeuxis.nn.controlnet import ControlBranch
from zeuxis.nn.unet import UNet
from zeuxis.pretrained.kind import TensorSource

PREFIXES = ("control_model.", "state_dict.control_model.", "")  # of the authors' files; of diffusers'
FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}  # by E

Rules = tuple[tuple[str, str], ...]

_INSIDE: Rules = (  # of a transformer's blocks, which both programs call alike
    (r"\.mlp\.inner", ".ff.net.0.proj"),
    (r"\.mlp\.outer", ".ff.net.2"),
    (r"\.cross_attention\.", ".attn2."),
    (r"(blocks\.\d+)\.attention\.", r"\1.attn1."),
    (r"(attn[12])\.out", r"\1.to_out.0"),
    (r"(attn[12])\.q\b", r"\1.to_q"),
)
DIFFUSERS: Rules = (
    (r"^trunk\.time\.mlp\.0", "time_embedding.linear_1"),
    (r"^trunk\.time\.mlp\.2", "time_embedding.linear_2"),
    (r"^trunk\.added\.0", "add_embedding.linear_1"),
    (r"^trunk\.added\.2", "add_embedding.linear_2"),
    (r"^trunk\.stem", "conv_in"),
    (r"^trunk\.down_levels\.(\d+)\.resample\.conv", r"down_blocks.\1.downsamplers.0.conv"),
    (r"^trunk\.down_levels\.(\d+)\.blocks\.(\d+)\.resblock", r"down_blocks.\1.resnets.\2"),
    (r"^trunk\.down_levels\.(\d+)\.blocks\.(\d+)\.transformer", r"down_blocks.\1.attentions.\2"),
    (r"^trunk\.middle_blocks\.(\d)\.resblock", r"mid_block.resnets.\1"),
    (r"^trunk\.middle_blocks\.0\.transformer", "mid_block.attentions.0"),
    (r"(attentions\.\d+)\.blocks", r"\1.transformer_blocks"),
    (r"(resnets\.\d+)\.vector", r"\1.time_emb_proj"),
    (r"(resnets\.\d+)\.skip", r"\1.conv_shortcut"),
    (r"^zeros\.(\d+)", r"controlnet_down_blocks.\1"),
    (r"^middle_zero", "controlnet_mid_block"),
    (r"^hint\.stem", "controlnet_cond_embedding.conv_in"),
    (r"^hint\.layers\.(\d+)", r"controlnet_cond_embedding.blocks.\1"),
    (r"^hint\.out", "controlnet_cond_embedding.conv_out"),
    *_INSIDE,
)
AUTHORS: Rules = (  # after the numbers of blocks have been replaced by :func:`_counted`
    (r"^trunk\.time\.mlp", "time_embed"),
    (r"^trunk\.added", "label_emb.0"),
    (r"^trunk\.stem", "input_blocks.0.0"),
    (r"^(input_blocks\.\d+)\.resample\.conv", r"\1.0.op"),
    (r"^(input_blocks\.\d+)\.resblock", r"\1.0"),
    (r"^(input_blocks\.\d+)\.transformer", r"\1.1"),
    (r"^trunk\.middle_blocks\.0\.resblock", "middle_block.0"),
    (r"^trunk\.middle_blocks\.0\.transformer", "middle_block.1"),
    (r"^trunk\.middle_blocks\.1\.resblock", "middle_block.2"),
    (r"^((?:input_blocks\.\d+|middle_block)\.1)\.blocks", r"\1.transformer_blocks"),
    (r"^zeros\.(\d+)", r"zero_convs.\1.0"),
    (r"^middle_zero", "middle_block_out.0"),
    (r"^hint\.stem", "input_hint_block.0"),
    *_INSIDE,
)
_RESBLOCK = {  # of the authors' residual blocks
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "vector": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "skip": "skip_connection",
}


@dataclass(frozen=True)
class LoadedControlNet:
    """A branch with a file's weights; ``unused`` are the file's keys that have no place in one, all of them."""

    branch: ControlBranch
    unused: tuple[str, ...]


def load_controlnet(public: Mapping[str, Tensor], unet: UNet, dtype: torch.dtype | None = None) -> LoadedControlNet:
    """The branch of a published file's tensors, for ``unet``, whose weights it does not share.

    ``public`` has either program's names, or is the authors' whole file, of which the branch is one part. Nothing is
    initialised and, where ``dtype`` is None or the file's own, no tensor is copied that is not fused.

    Raises:
        WeightsError: this is no ControlNet, one of an architecture that is not known here, or one for another base
            than ``unet``: which one is said.
    """
    prefix = next((p for p in PREFIXES if any(f"{p}{mark}" in public for mark in _MARKS)), None)
    if prefix is None:
        raise WeightsError(
            f"this is no ControlNet: it has none of {', '.join(_MARKS)}, by which those of diffusers and of the "
            "authors' program are known"
        )
    mine = {key.removeprefix(prefix): tensor for key, tensor in public.items() if key.startswith(prefix)}
    channels = _shape(mine, ("controlnet_cond_embedding.conv_in.weight", "input_hint_block.0.weight"))[1]
    _check_base(mine, unet)
    branch = ControlBranch(unet, channels, factor=_factor(mine), weights=False)
    sources = key_map(branch, authors="input_hint_block.0.weight" in mine)
    wanted = {key for source in sources.values() for key in source.keys}
    for what, keys in (("lacks", wanted - mine.keys()), ("also holds", mine.keys() - wanted)):
        if keys:
            some = ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            raise WeightsError(f"this ControlNet {what} {some}: it is for a base of another architecture than this")
    for name, parameter in list(branch.named_parameters()):
        parts = [mine[key] for key in sources[name].keys]
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        if tensor.ndim == 4 and parameter.ndim == 2 and tensor.shape[2:] == (1, 1):
            tensor = tensor.flatten(1)
        if tensor.shape != parameter.shape:
            raise WeightsError(
                f"this ControlNet's {sources[name].keys[0]} is {tuple(tensor.shape)}, and the base wants "
                f"{tuple(parameter.shape)}: it is for another base"
            )
        owner, _, leaf = name.rpartition(".")
        setattr(branch.get_submodule(owner), leaf, nn.Parameter(tensor.to(dtype or tensor.dtype)))
    return LoadedControlNet(branch.eval(), tuple(sorted(key for key in public if not key.startswith(prefix))))


def save_controlnet(branch: ControlBranch) -> dict[str, Tensor]:
    """The branch's tensors under the names of diffusers, fused ones parted: what :func:`load_controlnet` reads."""
    public: dict[str, Tensor] = {}
    for name, source in key_map(branch, authors=False).items():
        for key, part in zip(source.keys, branch.get_parameter(name).chunk(len(source.keys)), strict=True):
            public[key] = part.detach()
    return public


def key_map(branch: ControlBranch, *, authors: bool) -> dict[str, TensorSource]:
    """Each parameter of ``branch``, and the public ones that it is made of, in the authors' names or in diffusers'."""
    counted = _counted(branch) if authors else {}
    found = {}
    for name, _ in branch.named_parameters():
        key = next((name.replace(ours, theirs, 1) for ours, theirs in counted.items() if name.startswith(ours)), name)
        for pattern, by in AUTHORS if authors else DIFFUSERS:
            key = re.sub(pattern, by, key)
        if authors and (block := re.match(r"(input_blocks\.\d+\.0|middle_block\.[02])\.(\w+)(\.\w+)$", key)):
            key = f"{block[1]}.{_RESBLOCK.get(block[2], block[2])}{block[3]}"
        found[name] = TensorSource(_parted(key))
    return found


def _counted(branch: ControlBranch) -> dict[str, str]:
    """The prefixes of our blocks and halvings, and the authors', who count all of them in one row, as the hint's."""
    found, at = {}, 1
    for i, level in enumerate(branch.trunk.down_levels):
        for j in range(len(list(level.get_submodule("blocks").children()))):
            found[f"trunk.down_levels.{i}.blocks.{j}."] = f"input_blocks.{at}."
            at += 1
        if level.resample is not None:
            found[f"trunk.down_levels.{i}."] = f"input_blocks.{at}."
            at += 1
    layers = len(branch.hint.layers)
    found |= {f"hint.layers.{k}.": f"input_hint_block.{2 * k + 2}." for k in range(layers)}
    return found | {"hint.out.": f"input_hint_block.{2 * layers + 2}."}


def _parted(key: str) -> tuple[str, ...]:
    """The keys of the projections that are one of ours under ``key``."""
    for fused, parts in ((".qkv.", ("q", "k", "v")), (".kv.", ("k", "v"))):
        if fused in key:
            return tuple(key.replace(fused, f".to_{part}.") for part in parts)
    return (key,)


_MARKS = ("controlnet_cond_embedding.conv_in.weight", "input_hint_block.0.weight")


def _shape(public: Mapping[str, Tensor], keys: tuple[str, ...]) -> tuple[int, ...]:
    return next(tuple(public[key].shape) for key in keys if key in public)


def _factor(public: Mapping[str, Tensor]) -> int:
    """f: two layers of the hint's network for each halving."""
    blocks = {m[1] for key in public if (m := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.", key))}
    layers = {m[1] for key in public if (m := re.match(r"input_hint_block\.(\d+)\.weight$", key))}
    count = len(blocks) or len(layers) - 2
    return 1 if count == 1 else 2 ** (count // 2)


def _check_base(public: Mapping[str, Tensor], unet: UNet) -> None:
    """Refuse a branch whose context is not as wide as that of ``unet``, by which the families are known."""
    widths = {t.shape[1] for key, t in public.items() if key.endswith("attn2.to_k.weight") and t.ndim == 2}
    found = next(iter(widths), 0)
    if found != unet.context_width:
        raise WeightsError(
            f"this ControlNet is for {_family(found)}, and the base is {_family(unet.context_width)}: take a "
            "ControlNet for that, or the base that this one is for"
        )


def _family(context_width: int) -> str:
    if context_width in FAMILIES:
        return f"{FAMILIES[context_width]} (a context of {context_width} numbers)"
    return f"a U-Net with a context of {context_width} numbers" if context_width else "a U-Net without a context"
