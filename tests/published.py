"""Tiny published models: our own random weights, in the layouts in which others publish theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zeuxis.catalog.build import build
from zeuxis.game import System
from zeuxis.nn.clip_reader import clip_reader
from zeuxis.nn.clip_tokeniser import BEGIN, END, byte_vocabulary
from zeuxis.nn.kl_stage import first_stage
from zeuxis.nn.latent_unet import latent_unet
from zeuxis.pretrained import clip_keys
from zeuxis.pretrained import first_stage as stage_keys
from zeuxis.pretrained.hub_export import unet_of, with_defaults, within, write_hub_layout
from zeuxis.pretrained.key_names import COMPVIS as STAGE_COMPVIS
from zeuxis.pretrained.kind import scatter
from zeuxis.pretrained.unet_keys import COMPVIS, unet_sources
from zeuxis.spec import DataSpec, Shape

SIDE = 16  # pixels of a picture, whose latents have 8
MERGES = ("c a", "ca t</w>", "r e", "re d</w>")
TOWER = {"width": 64, "heads": 1, "depth": 2}
SECOND = {"width": 64, "heads": 1, "depth": 2, "projection": 48, "activation": "gelu", "pad": "!"}
UNET = {"width": 128, "multiples": (1, 1), "blocks": 1}  # with levels of one width, but for those of 2.x
SMALL: dict[str, dict[str, Any]] = {  # of each version, and its network that inpaints
    "1.x": {"network": {**UNET, "attention": (1,), "heads": 8}, "text": ({**TOWER},), "offset": 1, "to_zero": False},
    "2.x": {
        "network": {**UNET, "multiples": (1, 2), "attention": (1,), "head_width": 64},
        "text": ({**TOWER, "activation": "gelu", "pad": "!"},),
        "predicts": "v",
    },
    "XL": {
        "network": {**UNET, "attention": (2,), "transformer_depth": (0, 2), "head_width": 64, "added_width": 144},
        "text": ({**TOWER, "skip": 1, "norm": False}, {**SECOND, "skip": 1, "norm": False}),
        "zero_null": True,
        "guidance": 5.0,
        "sampler": "euler",
    },
}
SMALL["inpainting"] = {**SMALL["1.x"], "network": {**SMALL["1.x"]["network"], "extra": 5}, "strength": 1.0}


def tokens() -> dict[str, int]:
    """A vocabulary with four merges."""
    plain = [token for token in byte_vocabulary() if token not in (BEGIN, END)]
    return {t: i for i, t in enumerate([*plain, *(merge.replace(" ", "") for merge in MERGES), BEGIN, END])}


def stirred(net: Any, seed: int = 1) -> Any:
    """Gains that are not 1 and biases that are not 0, or two that changed places would not show."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            noise = torch.randn(p.shape, generator=draws)
            p.copy_(p.round() + 0.1 * noise if p.ndim == 1 else noise * p[0].numel() ** -0.5)
    return net.eval()


def made(version: str, **changed: Any) -> System:
    """A tiny model of a version."""
    words = {"tokens": tokens(), "merges": MERGES}
    text = tuple({**words, **table} for table in SMALL[version]["text"])
    stage = {"multiples": (1, 1), "blocks": 1, "scale": 0.13025 if version == "XL" else 0.18215}
    model = {**SMALL[version], "text": text, "first_stage": stage, **changed}
    return stirred(build("stable-diffusion", DataSpec(Shape(3, SIDE, SIDE)), model))


def repository(system: System, folder: Path, dtype: torch.dtype | None = None) -> Path:
    """The model as a folder in the hub's layout."""
    write_hub_layout(system.config, system.state_dict(), SIDE, folder, dtype)
    return folder


def single_file(system: System, file: Path, version: str, more: dict[str, Tensor] | None = None) -> Path:
    """The model as one file under CompVis' names, with the constants that such files also hold."""
    config, state = system.config, system.state_dict()
    network, stage = with_defaults(latent_unet, config["network"]), with_defaults(first_stage, config["first_stage"])
    towers = [with_defaults(clip_reader, table) for table in config["text"]]
    sizes = unet_of(network, 4, sum(table["width"] for table in towers))
    parts = {"model.diffusion_model.": scatter(unet_sources(COMPVIS, sizes), within(state, "network."), "")}
    stages = stage_keys.FirstStageSizes(4, stage["multiples"], (), width=stage["width"], blocks=stage["blocks"])
    sources = stage_keys.rename(STAGE_COMPVIS, stages)
    kept = {name: source for name, source in sources.items() if not name.startswith("critic.")}
    parts["first_stage_model."] = scatter(kept, within(state, "first_stage."), "")
    places = {
        "1.x": [("cond_stage_model.transformer.", clip_keys.TRANSFORMERS)],
        "2.x": [("cond_stage_model.model.", clip_keys.OPENCLIP)],
        "XL": [
            ("conditioner.embedders.0.transformer.", clip_keys.TRANSFORMERS),
            ("conditioner.embedders.1.model.", clip_keys.OPENCLIP),
        ],
    }
    for k, (prefix, layout) in enumerate(places[version]):
        table = towers[k]
        sources_k = clip_keys.text_sources(layout, table["depth"], table["projection"] is not None)
        parts[prefix] = scatter(sources_k, within(state, f"prompt.readers.{k}.tower."), "")
    found = {prefix + key: tensor for prefix, public in parts.items() for key, tensor in public.items()}
    if version == "2.x":  # a last block that is not read, and a projection
        last = {k: t for k, t in found.items() if ".resblocks.1." in k}
        found |= {k.replace(".resblocks.1.", ".resblocks.2."): torch.ones_like(t) for k, t in last.items()}
        found["cond_stage_model.model.text_projection"] = torch.ones(64, 64)
    found |= {"betas": torch.zeros(3), "model_ema.decay": torch.zeros(1), **(more or {})}
    save_file({key: tensor.clone().contiguous() for key, tensor in found.items()}, file)
    return file


def rewrite(path: Path, **changed: Any) -> None:
    """Change entries of a file of JSON; None removes one."""
    table = json.loads(path.read_text(encoding="utf-8")) | changed
    path.write_text(json.dumps({k: v for k, v in table.items() if v is not None}), encoding="utf-8")
