"""Published ControlNets, in the names of diffusers and of the authors' own program, and our branch.

Zhang, Rao & Agrawala 2023 (arXiv:2302.05543). Either file is one for one our
:class:`zeuxis.nn.controlnet.ControlBranch`, but for attention's projections, which are fused here, and for the 1x1
convolutions around the transformers of Stable Diffusion 1.x, which are matrices here.

The file does not tell how many heads its attention has: a branch is made for a U-Net that is there, whose layers it
copies, and so for no other. What else names and shapes do not show, diffusers' ``config.json`` beside it tells:

    controlnet_conditioning_channel_order   "bgr": blue comes first, and the layer that reads it is turned round
    global_pool_conditions                  residuals are averages, under the condition alone (Shuffle): not known here

Axes: C channels of the control picture, E numbers of a vector of the context.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from zeuxis.errors import WeightsError, lookup
from zeuxis.nn.controlnet import ControlBranch
from zeuxis.nn.unet import UNet
from zeuxis.pretrained.kind import TensorSource, gather, scatter
from zeuxis.pretrained.parts import require_settings
from zeuxis.pretrained.unet_keys import COMPVIS, DIFFUSERS, UNET_FIXED, UNetSizes, unet_sources

PREFIXES = ("control_model.", "state_dict.control_model.", "")  # of the authors' files; of diffusers'
CLASS = "ControlNetModel"  # by which diffusers' config.json is known
FIXED: Mapping[str, Any] = {**UNET_FIXED, "global_pool_conditions": False}
ORDER = "controlnet_conditioning_channel_order"
ORDERS: Mapping[str, bool] = {"rgb": False, "bgr": True}  # whether the picture's channels are the other way round
FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}  # by E


@dataclass(frozen=True)
class LoadedControlNet:
    """A branch with a file's weights; ``unused`` are the file's keys that have no place in one, all of them."""

    branch: ControlBranch
    unused: tuple[str, ...]


def load_controlnet(
    public: Mapping[str, Tensor],
    unet: UNet,
    dtype: torch.dtype | None = None,
    config: Mapping[str, Any] = MappingProxyType({}),
) -> LoadedControlNet:
    """The branch of a published file's tensors, for ``unet``, whose weights it does not share.

    ``public`` has either program's names, or is the authors' whole file, of which the branch is one part; ``config`` is
    the table beside a file of diffusers. Nothing is initialised and, where ``dtype`` is None or the file's own, no
    tensor is copied that is not fused.

    Raises:
        WeightsError: this is no ControlNet, one of an architecture or with a setting that is not known here, or one for
            another base than ``unet``: which one is said.
    """
    require_settings(config, FIXED, "ControlNet")
    turned = lookup(ORDER, str(config.get(ORDER, "rgb")), ORDERS)
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
    pointwise = any(key.endswith(".proj_in.weight") and tensor.ndim == 4 for key, tensor in mine.items())
    sources = key_map(branch, authors="input_hint_block.0.weight" in mine, pointwise=pointwise)
    found = gather(sources, mine, "this ControlNet", "it is for a base of another architecture than this")
    for name, parameter in list(branch.named_parameters()):
        tensor = found[name]
        if tensor.shape != parameter.shape:
            raise WeightsError(
                f"this ControlNet's {sources[name].keys[0]} is {tuple(tensor.shape)}, and the base wants "
                f"{tuple(parameter.shape)}: it is for another base"
            )
        if turned and name == "hint.stem.weight":
            tensor = tensor.flip(1)
        owner, _, leaf = name.rpartition(".")
        setattr(branch.get_submodule(owner), leaf, nn.Parameter(tensor.to(dtype or tensor.dtype)))
    return LoadedControlNet(branch.eval(), tuple(sorted(key for key in public if not key.startswith(prefix))))


def save_controlnet(branch: ControlBranch) -> dict[str, Tensor]:
    """The branch's tensors under the names of diffusers, fused ones parted: what :func:`load_controlnet` reads."""
    tensors = {name: parameter.detach() for name, parameter in branch.named_parameters()}
    return scatter(key_map(branch, authors=False), tensors, "this branch")


def key_map(branch: ControlBranch, *, authors: bool, pointwise: bool = False) -> dict[str, TensorSource]:
    """Each parameter of ``branch``, and the public ones that it is made of, in the authors' names or in diffusers'.

    The copy of the U-Net's half bears the U-Net's names (:mod:`zeuxis.pretrained.unet_keys`); ``pointwise`` is of
    transformers' maps in and out that are 1x1 convolutions.

    Raises :class:`WeightsError` for a branch of a U-Net that no public one is like.
    """
    names, own = (COMPVIS, _authors(branch)) if authors else (DIFFUSERS, _diffusers(branch))
    known = {f"trunk.{name}": source for name, source in unet_sources(names, _sizes(branch, pointwise)).items()}
    for ours, theirs in own.items():
        known |= {f"{ours}.{leaf}": TensorSource((f"{theirs}.{leaf}",)) for leaf in ("weight", "bias")}
    wanted = [name for name, _ in branch.named_parameters()]
    if strange := [name for name in wanted if name not in known]:
        raise WeightsError(f"{strange[0]} of this branch has no public name: public ControlNets are of U-Nets that "
                           "attend to a text, as those of Stable Diffusion do")  # fmt: skip
    return {name: known[name] for name in wanted}


def _diffusers(branch: ControlBranch) -> dict[str, str]:
    """The layers beside the U-Net's half."""
    hint = "controlnet_cond_embedding"
    return {
        "hint.stem": f"{hint}.conv_in",
        **{f"hint.layers.{k}": f"{hint}.blocks.{k}" for k in range(len(branch.hint.layers))},
        "hint.out": f"{hint}.conv_out",
        **{f"zeros.{k}": f"controlnet_down_blocks.{k}" for k in range(len(branch.zeros))},
        "middle_zero": "controlnet_mid_block",
    }


def _authors(branch: ControlBranch) -> dict[str, str]:
    """The same; of the hint's layers they count the activations between them too."""
    layers = ["hint.stem", *(f"hint.layers.{k}" for k in range(len(branch.hint.layers))), "hint.out"]
    return {
        **{layer: f"input_hint_block.{2 * k}" for k, layer in enumerate(layers)},
        **{f"zeros.{k}": f"zero_convs.{k}.0" for k in range(len(branch.zeros))},
        "middle_zero": "middle_block_out.0",
    }


def _sizes(branch: ControlBranch, pointwise: bool) -> UNetSizes:
    """The sizes of the U-Net of which the branch copies half, as far as names go."""
    trunk = branch.trunk
    shapes = {name: tuple(p.shape) for name, p in trunk.named_parameters()}

    def count(pattern: str) -> int:
        return len({m[1] for name in shapes if (m := re.match(pattern, name))})

    width, channels = shapes["stem.weight"][:2]
    levels = range(len(trunk.down_levels))
    return UNetSizes(
        channels=channels,
        latent=channels,
        width=width,
        multiples=tuple(shapes[f"down_levels.{k}.blocks.0.resblock.conv2.weight"][0] // width for k in levels),
        blocks=count(r"down_levels\.0\.blocks\.(\d+)"),
        depths=tuple(count(rf"down_levels\.{k}\.blocks\.0\.transformer\.blocks\.(\d+)") for k in levels),
        context_width=trunk.context_width,
        added_width=0 if trunk.added is None else trunk.vector_width,
        pointwise=pointwise,
    )


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
