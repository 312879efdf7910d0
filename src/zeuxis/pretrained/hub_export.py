"""A Stable Diffusion of ours as a folder in the hub's layout: what others load, and so do we.

The inverse of :mod:`zeuxis.pretrained.stable_diffusion` for folders: tensors under diffusers' and transformers' names,
a ``config.json`` for each part, the tokenisers' files, the scheduler's, and ``model_index.json``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zeuxis.errors import Unsupported
from zeuxis.nn.clip_reader import clip_reader
from zeuxis.nn.clip_tokeniser import BEGIN, END, byte_vocabulary
from zeuxis.nn.kl_stage import first_stage
from zeuxis.nn.latent_unet import latent_unet
from zeuxis.pretrained import clip_keys
from zeuxis.pretrained import first_stage as stage_keys
from zeuxis.pretrained.key_names import DIFFUSERS as STAGE_NAMES
from zeuxis.pretrained.kind import scatter
from zeuxis.pretrained.parts import INDEX, STEMS
from zeuxis.pretrained.scheduler_file import write_scheduler
from zeuxis.pretrained.unet_keys import DIFFUSERS, SMALLEST, UNetSizes, unet_sources

VERSION = "0.27.0"  # of diffusers, whose words these are
PIPELINES = {  # whether it is XL, and whether it inpaints
    (False, False): "StableDiffusionPipeline",
    (False, True): "StableDiffusionInpaintPipeline",
    (True, False): "StableDiffusionXLPipeline",
    (True, True): "StableDiffusionXLInpaintPipeline",
}
ACTIVATIONS = {ours: theirs for theirs, ours in clip_keys.ACTIVATIONS.items()}


def write_hub_layout(
    config: Mapping[str, Any], state: Mapping[str, Tensor], side: int, folder: Path, dtype: torch.dtype | None = None
) -> None:
    """Write the system that was built with ``config``, whose tensors are ``state``, into ``folder``, which is empty.

    ``side`` is that of its pictures in pixels; ``dtype`` that in which tensors are written, by default their own.

    Raises :class:`Unsupported` for what has no place in that layout: a text or steps that no public pipeline reads or
    takes in the same way, or tensors of no part of one.
    """
    network, stage = with_defaults(latent_unet, config["network"]), with_defaults(first_stage, config["first_stage"])
    towers = [with_defaults(clip_reader, table) for table in config["text"]]
    xl = bool(network["added_width"])
    _check_text(towers, xl)
    if config["zero_null"] and not xl:
        raise Unsupported("zero_null: public pipelines take zeros for no caption in XL alone, here the empty caption")
    _check_parts(state, len(towers))
    scheduler = write_scheduler(config)
    for what, table in (("U-Net", network), ("first stage", stage)):
        if table["width"] < SMALLEST or table["width"] % 32:
            raise Unsupported(
                f"a {what} of {table['width']} channels: public ones have norms of 32 groups, as ours have from "
                f"{SMALLEST} channels on, in 32s"
            )
    context = sum(table["width"] for table in towers)
    factor = 2 ** (len(stage["multiples"]) - 1)
    sizes = unet_of(network, stage["latent"], context)
    pooled = sum(table["projection"] or 0 for table in towers)
    parts: dict[str, tuple[dict[str, Any], dict[str, Tensor], str]] = {
        "unet": (
            unet_config(network, sizes, side // factor, pooled),
            scatter(unet_sources(DIFFUSERS, sizes), within(state, "network."), "this U-Net"),
            STEMS[0],
        ),
        "vae": (
            stage_config(stage, side),
            scatter(_stage_sources(stage), within(state, "first_stage."), "this first stage"),
            STEMS[0],
        ),
    }
    for k, table in enumerate(towers):
        tensors = within(state, f"prompt.readers.{k}.tower.")
        sources = clip_keys.text_sources(clip_keys.TRANSFORMERS, table["depth"], table["projection"] is not None)
        name = "text_encoder" if k == 0 else f"text_encoder_{k + 1}"
        parts[name] = tower_config(table), scatter(sources, tensors, "this text tower"), STEMS[1]
        _write_tokeniser(table, folder / name.replace("text_encoder", "tokenizer"))
    for name, (facts, public, stem) in parts.items():
        _write_json(folder / name / "config.json", facts)
        kept = {key: tensor.detach().to("cpu", dtype).clone().contiguous() for key, tensor in public.items()}
        save_file(kept, folder / name / f"{stem}.safetensors", metadata={"format": "pt"})
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(
        folder / INDEX, _index(config, PIPELINES[xl, bool(network["extra"])], str(scheduler["_class_name"]), xl)
    )


def with_defaults(function: Callable[..., Any], table: Mapping[str, Any] | None) -> dict[str, Any]:
    """A table of ``[model]`` with what ``function``, which has its keys, takes where it is silent."""
    known = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in known if p.default is not p.empty} | dict(table or {})


def within(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of a part, by their names in it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def unet_of(network: Mapping[str, Any], latent: int, context: int) -> UNetSizes:
    """The sizes of the U-Net of a full table of ``[model.network]``."""
    depth, levels = network["transformer_depth"], range(len(network["multiples"]))
    depths = [depth if 2**i in network["attention"] else 0 for i in levels] if isinstance(depth, int) else depth
    return UNetSizes(
        channels=latent + network["extra"],
        latent=latent,
        width=network["width"],
        multiples=tuple(network["multiples"]),
        blocks=network["blocks"],
        depths=tuple(depths),
        context_width=context,
        added_width=network["added_width"],
        pointwise=network["head_width"] is None,  # as in 1.x; the maps are the same either way
    )


def layers_of(config: Mapping[str, Any]) -> tuple[UNetSizes, list[tuple[int, bool]]]:
    """The sizes of the U-Net of a system that was built with ``config``; of each of its text towers the depth, and
    whether it has a projection."""
    network, stage = with_defaults(latent_unet, config["network"]), with_defaults(first_stage, config["first_stage"])
    towers = [with_defaults(clip_reader, table) for table in config["text"]]
    sizes = unet_of(network, stage["latent"], sum(table["width"] for table in towers))
    return sizes, [(table["depth"], table["projection"] is not None) for table in towers]


# -- the tables of parts --------------------------------------------------------------------------------


def unet_config(network: Mapping[str, Any], sizes: UNetSizes, side: int, pooled: int) -> dict[str, Any]:
    """``config.json`` of a U-Net for latents of that side."""
    widths = [sizes.width * multiple for multiple in sizes.multiples]
    head = network["head_width"]
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in sizes.depths]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(sizes.depths)]
    found: dict[str, Any] = {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": VERSION,
        "sample_size": side,
        "in_channels": sizes.channels,
        "out_channels": sizes.latent,
        "block_out_channels": widths,
        "layers_per_block": sizes.blocks,
        "down_block_types": down,
        "up_block_types": up,
        "cross_attention_dim": sizes.context_width,
        "attention_head_dim": network["heads"] if head is None else [width // head for width in widths],
        "transformer_layers_per_block": [max(1, depth) for depth in sizes.depths],
        "use_linear_projection": not sizes.pointwise,
        "act_fn": "silu",
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }
    if sizes.added_width:
        found |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (sizes.added_width - pooled) // 6,
            "projection_class_embeddings_input_dim": sizes.added_width,
        }
    return found


def stage_config(stage: Mapping[str, Any], side: int) -> dict[str, Any]:
    """``config.json`` of a first stage."""
    attends = [2**level in stage["attention"] for level in range(len(stage["multiples"]))]
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": VERSION,
        "in_channels": 3,
        "out_channels": 3,
        "sample_size": side,
        "latent_channels": stage["latent"],
        "block_out_channels": [stage["width"] * multiple for multiple in stage["multiples"]],
        "layers_per_block": stage["blocks"],
        "down_block_types": ["AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attends],
        "up_block_types": ["AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(attends)],
        "act_fn": "silu",
        "norm_num_groups": 32,
        "scaling_factor": stage["scale"],
    }


def tower_config(table: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` of a text tower."""
    projected = table["projection"] is not None
    tokens = table["tokens"] or byte_vocabulary()
    return {
        "architectures": ["CLIPTextModelWithProjection" if projected else "CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": table["vocabulary"] or max(tokens.values()) + 1,
        "max_position_embeddings": table["length"],
        "hidden_size": table["width"],
        "intermediate_size": table["hidden"] or 4 * table["width"],
        "num_hidden_layers": table["depth"],
        "num_attention_heads": table["heads"],
        "hidden_act": ACTIVATIONS[table["activation"]],
        "projection_dim": table["projection"] or table["width"],
        "bos_token_id": tokens[BEGIN],
        "eos_token_id": clip_keys.SMALLEST_END if table["end"] is None else table["end"],
        "pad_token_id": tokens[table["pad"]],
    }


def _index(config: Mapping[str, Any], pipeline: str, scheduler: str, xl: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "_class_name": pipeline,
        "_diffusers_version": VERSION,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    if xl:
        return {
            **found,
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
            "force_zeros_for_empty_prompt": config["zero_null"],
        }
    return {**found, "safety_checker": [None, None], "feature_extractor": [None, None],
            "requires_safety_checker": False}  # fmt: skip


def _stage_sources(stage: Mapping[str, Any]) -> dict[str, Any]:
    sizes = stage_keys.FirstStageSizes(
        latent=stage["latent"],
        multiples=tuple(stage["multiples"]),
        attention=tuple(stage["attention"]),
        width=stage["width"],
        blocks=stage["blocks"],
    )
    sources = stage_keys.rename(STAGE_NAMES, sizes)
    return {name: source for name, source in sources.items() if not name.startswith("critic.")}


def _check_text(towers: list[dict[str, Any]], xl: bool) -> None:
    """Refuse a text that public pipelines read otherwise."""
    wanted = (1, False) if xl else (0, True)
    count = 2 if xl else 1
    if len(towers) != count or any((table["skip"], table["norm"]) != wanted for table in towers):
        read = "the last layer but one of two towers" if xl else "the last layer of one tower, normalised"
        raise Unsupported(f"public pipelines of this kind read {read}; this model reads its text otherwise")


def _check_parts(state: Mapping[str, Tensor], towers: int) -> None:
    """Refuse tensors that would not be written."""
    parts = ("network.", "first_stage.", *(f"prompt.readers.{k}.tower." for k in range(towers)))
    if left := sorted(name for name in state if not name.startswith(parts)):
        raise Unsupported(
            f"{len(left)} tensors, {left[0]} first, are of no part of the hub's layout: U-Net, first stage and text "
            "towers are what is written"
        )


def _write_tokeniser(table: Mapping[str, Any], folder: Path) -> None:
    tokens = table["tokens"] or byte_vocabulary()
    added = {token: tokens[token] for token in table["added"]}
    _write_json(folder / "vocab.json", {token: i for token, i in tokens.items() if token not in added})
    if added:
        _write_json(folder / "added_tokens.json", added)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *table["merges"], ""]), encoding="utf-8")
    special = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": table["pad"]}
    _write_json(folder / "special_tokens_map.json", special)
    facts = {"tokenizer_class": "CLIPTokenizer", "model_max_length": table["length"], "do_lower_case": True}
    _write_json(folder / "tokenizer_config.json", {**facts, **special})


def _write_json(path: Path, table: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
