"""A published Stable Diffusion as the arguments of our system and its tensors; and which of 1.x, 2.x and XL it is.

The architecture is read off the tensors' names and shapes. What they do not tell stands in the files beside them
(heads, activations, the latents' scale, the side of pictures, the scheduler); of a single file, which has none, it is
the rule of the published models:

    heads             8 in 1.x, of 64 channels in 2.x and XL; of 64 channels in the text towers
    scale             0.18215, in XL 0.13025
    side              512; 768 in 2.x that predicts v; 1024 in XL
    scheduler         betas of the square root, steps at 1, 1 + T/N, ...; DDIM, in XL Euler
    padding           of texts: the end token for towers of 1.x and XL's first, "!" for OpenCLIP's (2.x, XL's second)
    prediction        the noise; v where the file says so (a tensor ``v_pred``), and in 2.x where the last
                      self-attention's norm has biases that spread more than 0.09, as those of the published 768 models
                      do. The knob ``predicts`` overrules it.
    zero SNR          where the file says so (a tensor ``ztsnr``), or predicts v and has ``alphas_cumprod`` that end
                      in 0; where those are of another chain altogether, that is said
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.diffusion.timesteps import chain_betas
from zeuxis.errors import WeightsError
from zeuxis.nn.clip_tokeniser import END, ClipTokeniser
from zeuxis.pretrained import first_stage
from zeuxis.pretrained.clip_files import read_tokeniser
from zeuxis.pretrained.clip_keys import BARE, LINEAR, TEMPERATURE, read_text_tower
from zeuxis.pretrained.key_names import PROGRAMS
from zeuxis.pretrained.kind import gather
from zeuxis.pretrained.parts import PublishedPart, PublishedParts, read_parts, read_stage, require_settings
from zeuxis.pretrained.scheduler_file import read_scheduler
from zeuxis.pretrained.tokeniser_files import find_tokeniser
from zeuxis.pretrained.unet_keys import UNET_FIXED, UNetSizes, names_of, unet_sizes, unet_sources

SCALE, SCALE_XL = 0.18215, 0.13025
SIDE, SIDE_V, SIDE_XL = 512, 768, 1024
PAD_OPENCLIP = "!"  # whose id is 0; other towers are padded with the end
WIDTH_2 = 1024  # of the tower of 2.x, OpenCLIP's
SPREAD_V = 0.09
CHAIN, SCHEDULE, BETAS = 1000, "scaled-linear", (0.00085, 0.012)  # of all that was published
LAST_ZERO, OFF = 0.01, 0.02  # sqrt(alpha-bar): below the first a last step is of zero SNR (theirs is 0.068); how far
# from theirs a step may be, which halves round
LAST_NORM = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
CRITIC = "loss."
# Settings of config.json that names and shapes do not show, and the one value of each that is known here.
STAGE_FIXED: Mapping[str, Any] = {"act_fn": "silu", "norm_num_groups": 32, "shift_factor": None, "latents_mean": None}
TEXT_FIXED: Mapping[str, Any] = {"layer_norm_eps": 1e-5}
EDM_MARKS = ("edm_mean", "edm_std", "edm_vpred.sigma_min", "edm_vpred.sigma_max")  # tensors of files that EDM made


@dataclass(frozen=True)
class PublishedModel:
    """What a published model comes to."""

    version: str  # "1.x", "2.x", "XL"
    arguments: dict[str, Any]  # of the system's constructor, besides the data's facts
    side: int  # of its pictures, in pixels
    tensors: dict[str, Tensor]  # under our names
    unused: tuple[str, ...]  # tensors of the files that it has no place for
    notes: tuple[str, ...]  # what a user should know of how it was read
    files: tuple[Path, ...]


def read_published(path: Path) -> PublishedModel:
    """The model in a folder in the hub's layout, or in one file of safetensors.

    Raises :class:`WeightsError` where keys are missing or left over (naming them), where a setting is not known here
    (of the scheduler :class:`Unsupported`), or where weights are pickles (with the command that converts them).
    """
    parts = read_parts(path)
    with _told_of(path):
        return _published(path, parts)


def with_stage(model: PublishedModel, path: Path) -> tuple[PublishedModel, tuple[Path, ...]]:
    """``model`` with the first stage at ``path`` in place of its own, and the files of that.

    Raises :class:`WeightsError` where there is none, or it is of a model of other latents.
    """
    part, files = read_stage(path)
    own = model.arguments["first_stage"]
    with _told_of(path):
        stage, tensors = _first_stage(part, own["scale"])
        for key, what in (("latent", "channels"), ("scale", "the scale")):
            if stage[key] != own[key]:
                raise WeightsError(
                    f"its latents have {what} {stage[key]:g}, and those of the model {own[key]:g}: it is of another one"
                )
        if len(stage["multiples"]) != len(own["multiples"]):
            sides = " and ".join(str(2 ** (len(table["multiples"]) - 1)) for table in (stage, own))
            raise WeightsError(
                f"a latent of it and one of the model stand for {sides} pixels a side: it is of another one"
            )
    kept = {name: tensor for name, tensor in model.tensors.items() if not name.startswith("first_stage.")}
    kept |= {f"first_stage.{name}": tensor for name, tensor in tensors.items()}
    return replace(model, arguments={**model.arguments, "first_stage": stage}, tensors=kept), files


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """What is wrong with a part, said of the folder or file that it is in."""
    try:
        yield
    except WeightsError as error:
        raise (error if str(path) in str(error) else WeightsError(f"{path}: {error}")) from None


def _published(path: Path, parts: PublishedParts) -> PublishedModel:
    xl = len(parts.towers) > 1
    sizes, network, unet = _unet(parts.unet)
    stage, stage_tensors = _first_stage(parts.stage, SCALE_XL if xl else SCALE)
    words, where = _tokenisers(parts)
    text, towers, left = _text(parts, words, xl)
    context = sum(int(table["width"]) for table in text)
    if context != sizes.context_width:
        raise WeightsError(
            f"{path}: its U-Net reads contexts of {sizes.context_width} numbers and its text towers make {context}: "
            "they are not of one model"
        )
    version = "XL" if xl else "2.x" if sizes.context_width == WIDTH_2 else "1.x"
    if parts.scheduler is not None:
        chain, notes = read_scheduler(parts.scheduler)
    else:
        chain, notes = _rule(version, sizes, parts)
    factor = 2 ** (len(stage["multiples"]) - 1)
    side = parts.unet.config.get("sample_size")
    usual = SIDE_XL if xl else SIDE_V if version == "2.x" and chain["predicts"] == "v" else SIDE
    arguments = {
        "network": network,
        "text": text,
        "first_stage": stage,
        **chain,
        "zero_null": xl and bool(parts.index.get("force_zeros_for_empty_prompt", True)),
        "guidance": 5.0 if xl else 7.5,
        "strength": 1.0 if sizes.channels > sizes.latent else 0.75,
    }
    tensors = {f"network.{name}": tensor for name, tensor in unet.items()}
    tensors |= {f"first_stage.{name}": tensor for name, tensor in stage_tensors.items()}
    tensors |= towers
    return PublishedModel(
        version=version,
        arguments=arguments,
        side=side * factor if isinstance(side, int) else usual,
        tensors=tensors,
        unused=(*parts.unused, *left),
        notes=(*notes, *where, *_programs(parts)),
        files=parts.files,
    )


# -- its parts ----------------------------------------------------------------------------------------


def _programs(parts: PublishedParts) -> tuple[str, ...]:
    if not parts.programs:
        return ()
    return (f"it has programs of its own, which are never run: {', '.join(parts.programs)}",)


def _unet(part: PublishedPart) -> tuple[UNetSizes, dict[str, Any], dict[str, Tensor]]:
    require_settings(part.config, UNET_FIXED, "U-Net")
    names = names_of(part.tensors)
    sizes = unet_sizes(names, part.tensors)
    tensors = gather(unet_sources(names, sizes), part.tensors, "this U-Net")
    if sizes.channels not in (sizes.latent, 2 * sizes.latent + 1):
        raise WeightsError(
            f"a U-Net that takes {sizes.channels} channels for latents of {sizes.latent}: known are {sizes.latent} "
            f"and {2 * sizes.latent + 1} to inpaint"
        )
    heads = part.config.get("num_attention_heads") or part.config.get("attention_head_dim")
    return sizes, sizes.table(heads), tensors


def _first_stage(part: PublishedPart, scale: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
    require_settings(part.config, STAGE_FIXED, "first stage")
    names = next((names for names in PROGRAMS if names.mark in part.tensors), None)
    if names is None:
        raise WeightsError(
            f"its first stage lacks {' or '.join(names.mark for names in PROGRAMS)}: it is not known here"
        )
    sizes = first_stage.config(names, part.tensors)
    if sizes.codes is not None or sizes.channels != 3:
        raise WeightsError("its first stage is not a KL autoencoder of colour pictures, which alone is known here")
    sources = first_stage.rename(names, sizes)
    sources = {name: source for name, source in sources.items() if not name.startswith("critic.")}
    table = {
        "latent": sizes.latent,
        "width": sizes.width,
        "multiples": sizes.multiples,
        "blocks": sizes.blocks,
        "attention": sizes.attention,
        "scale": _scale(part.config.get("scaling_factor", scale)),
    }
    return table, gather(sources, part.tensors, "this first stage")


def _scale(told: Any) -> float:
    """What latents are multiplied by, as a file tells it."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < math.inf:
        raise WeightsError(f"its first stage has scaling_factor = {str(told)[:80]!r}: a number above 0 is wanted")
    return float(told)


def _text(
    parts: PublishedParts, tokenisers: Sequence[ClipTokeniser], xl: bool
) -> tuple[tuple[dict[str, Any], ...], dict[str, Tensor], list[str]]:
    """A table for each tower with its tokeniser, their tensors, and the keys that no part of them needs."""
    tables: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    left: list[str] = []
    for k, (part, words) in enumerate(zip(parts.towers, tokenisers, strict=True)):
        public, dropped = _needed(part.tensors, pooled=xl and k == 1, last=not xl)
        left += dropped
        require_settings(part.config, TEXT_FIXED, "text tower")
        sizes, found = read_text_tower(public, part.config or None)
        tensors |= {f"prompt.readers.{k}.tower.{name}": tensor for name, tensor in found.items()}
        if len(words) > sizes["vocabulary"]:
            raise WeightsError(
                f"{parts.where}: a tokeniser of {len(words)} tokens for a text tower of {sizes['vocabulary']}: they "
                "are not of one model"
            )
        tables.append(
            {
                "tokens": words.vocabulary,
                "merges": tuple(f"{first} {second}" for first, second in words.merges),
                "pad": words.pad_token if parts.tokenisers else _pad(part, sizes["width"]),
                "added": words.added,
                **sizes,
                "skip": 1 if xl else 0,
                "norm": not xl,
            }
        )
    return tuple(tables), tensors, left


def _needed(public: Mapping[str, Tensor], *, pooled: bool, last: bool) -> tuple[dict[str, Tensor], list[str]]:
    """A tower's tensors without those that its model does not read, and the names of these.

    OpenCLIP's names are those of a whole tower: 2.x reads its last layer but one (``last`` of what is kept here).
    """
    dropped = [key for key in public if key == TEMPERATURE or (key in (BARE, LINEAR) and not pooled)]
    blocks = {int(key.split(".")[2]) for key in public if key.startswith("transformer.resblocks.")}
    if blocks and last:
        dropped += [key for key in public if key.startswith(f"transformer.resblocks.{max(blocks)}.")]
    return {key: tensor for key, tensor in public.items() if key not in dropped}, dropped


def _pad(part: PublishedPart, width: int) -> str:
    """What pads the texts of a tower of a single file."""
    openclip = any(key.startswith("transformer.resblocks.") for key in part.tensors)
    return PAD_OPENCLIP if openclip or width == WIDTH_2 else END


def _tokenisers(parts: PublishedParts) -> tuple[list[ClipTokeniser], tuple[str, ...]]:
    """The tokeniser of each tower, and what is to be said of them: of a single file it is another model's."""
    if parts.tokenisers:
        return [read_tokeniser(folder) for folder in parts.tokenisers], ()
    found, place = find_tokeniser(parts.where)
    return [found] * len(parts.towers), (f"one file holds no tokeniser: taken is that of {place}",)


def _rule(version: str, sizes: UNetSizes, parts: PublishedParts) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The scheduler of a single file, and what is to be said of it.

    Raises :class:`WeightsError` for one that was trained by EDM's rule, whose network predicts something else.
    """
    if edm := [key for key in parts.unused if key in EDM_MARKS]:
        raise WeightsError(
            f"{parts.where} holds {', '.join(edm)}: it was trained with EDM's preconditioning, which is not known here "
            "of a published model; as one that predicts the noise it would draw nothing but noise"
        )
    marks = [key for key in parts.unused if key in ("v_pred", "ztsnr")]
    norm = parts.unet.tensors.get(LAST_NORM)
    spread = 0.0 if norm is None or version != "2.x" else float(torch.std(norm.float(), unbiased=False))
    predicts = "v" if marks or spread > SPREAD_V else "epsilon"
    notes = [f"one file tells no scheduler: taken is that of the published {version}, predicting {predicts}"]
    own = None if parts.chain is None or parts.chain.ndim != 1 else parts.chain.double().clamp(0, 1).sqrt()
    ends = own is not None and len(own) == CHAIN and float(own[-1]) < LAST_ZERO
    zero_snr = predicts == "v" and ("ztsnr" in marks or ends)
    taken = (1 - chain_betas(SCHEDULE, CHAIN, *BETAS, zero_snr=zero_snr)).cumprod(0).sqrt()
    if own is not None and len(own) > 1 and not (len(own) == CHAIN and bool(((own - taken).abs() < OFF).all())):
        notes.append("the file's own alphas_cumprod are of another chain than that: what it draws may look wrong")
    return {
        "schedule": SCHEDULE,
        "beta_first": BETAS[0],
        "beta_last": BETAS[1],
        "zero_snr": zero_snr,
        "predicts": predicts,
        "spacing": "leading",
        "offset": 1,
        "to_zero": False,
        "sampler": "euler" if version == "XL" else "ddim",
    }, tuple(notes)
