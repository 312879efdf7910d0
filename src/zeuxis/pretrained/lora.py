"""LoRA files (Hu et al. 2021, arXiv:2106.09685) for Stable Diffusion: read in the usual styles, merged into weights.

    W' = W + scale alpha / r  B A          A: ``down`` (r, in), B: ``up`` (out, r)

Styles, told by their keys; a layer bears its public name, in each of them spelled otherwise:

    kohya        lora_unet_down_blocks_0_..._attn1_to_q.lora_down.weight, lora_te_text_model_..., with .alpha
    diffusers    unet.down_blocks.0...attn1.to_q.lora_A.weight (also lora.down, processor.to_q_lora.down; PEFT's own,
                 with an adapter's name: lora_A.default.weight; ComfyUI's, which begin with diffusion_model.)
    cloneofsimo  unet:N:down, text_encoder:N:up: N counts the linear layers of the classes that its metadata name, in
                 the order in which the model lists them: the way down, the way up, the middle; in a transformer block
                 self-attention, gated MLP, cross-attention; in a text layer keys, values, queries, output

Beside them LyCORIS's kinds are read, LoCon, LoHa and LoKr (:mod:`zeuxis.pretrained.lora_factors`).

alpha is the layer's own where the file has one (``.alpha``), otherwise what is said of it beside the tensors
(:mod:`zeuxis.pretrained.lora_table`), otherwise r.

Every tensor finds its layer and fits it, or the file is refused and those that do not are named: it was made for
another base, or is of a kind that is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zeuxis.errors import NoSuchPath, WeightsError
from zeuxis.escaping import word
from zeuxis.files import require_regular, why_no_tensors
from zeuxis.pretrained import clip_keys, lora_factors
from zeuxis.pretrained.lora_table import AdapterTable, adapter_table, parsed
from zeuxis.pretrained.parts import INVERSION
from zeuxis.pretrained.unet_keys import COMPVIS, DIFFUSERS, UNetSizes, unet_sources

ROLES = {
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "alpha": "alpha",
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora.down.weight": "down",
    "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down",
    "lora_linear_layer.up.weight": "up",
    **lora_factors.ROLES,
}
PEFT = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])\.[\w-]+\.weight")
PREFIXES = re.compile(r"^(?:base_model\.model\.)?(?:(?:model\.)?diffusion_model\.)?")  # of PEFT, and of ComfyUI
PROCESSOR = re.compile(r"(?P<layer>.+)\.processor\.to_(?P<which>q|k|v|out)_lora\.(?P<role>down|up)\.weight")
NUMBERED = re.compile(r"(?P<part>unet|text_encoder):(?P<n>\d+):(?P<role>up|down)")
KOHYA = {"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"}
PARTS = ("unet", "text_encoder", "text_encoder_2")
OTHER_KINDS = {  # of what is added to weights or tokens, with what is in the names of their tensors
    "an OFT": ".oft_",
    "an (IA)3": ".on_input",
    "differences of biases": ".diff_b",
    "tokens of textual inversion beside it": "bundle_emb.",
    "tokens of textual inversion": INVERSION,
}
ATTENTIONS, GATED, TEXT = frozenset({"CrossAttention", "Attention"}), "GEGLU", "CLIPAttention"


@dataclass(frozen=True)
class LayerPlace:
    """Where a public layer's weight lies: the ``index``-th of ``count`` equal parts of the rows of a tensor of ours."""

    name: str
    index: int
    count: int


@dataclass(frozen=True)
class Pair:
    """What a file holds for one layer, by role ("down", "up", "alpha", ...), and under which keys."""

    layer: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def delta(self, table: AdapterTable) -> Tensor:
        """What is added, alpha / r B A, as a matrix (out, in) or a kernel (out, in, k, k), float32; of the other kinds
        of :mod:`zeuxis.pretrained.lora_factors` likewise.

        Raises :class:`WeightsError` naming keys whose ranks are not one, or are not that of the ``table``.
        """
        if self.tensors.keys() - {"down", "up", "alpha"} - lora_factors.MAGNITUDES:
            product, rank = lora_factors.product(self.layer, self.tensors)
            return product if rank is None else self._alpha(table, rank) / rank * product
        down, up = self.tensors["down"], self.tensors["up"]
        a, b = (f"{self.keys[role]} {tuple(self.tensors[role].shape)}" for role in ("down", "up"))
        rank = down.shape[0] if down.ndim > 1 else 0
        if not rank or up.ndim < 2 or up[0].numel() != rank:
            raise WeightsError(f"{a} and {b} are not of one rank")
        if (told := table.rank(self.layer)) not in (None, rank):
            raise WeightsError(f"{a} and {b} are of rank {rank}, and {table.where} says {told}")
        product = up.float().flatten(1) @ down.float().flatten(1)
        return self._alpha(table, rank) / rank * product.view(up.shape[0], *down.shape[1:])

    def _alpha(self, table: AdapterTable, rank: int) -> float:
        if "alpha" not in self.tensors:
            return table.alpha(self.layer, rank)
        if self.tensors["alpha"].numel() != 1:
            raise WeightsError(f"{self.keys['alpha']} {tuple(self.tensors['alpha'].shape)} is not one number")
        return float(self.tensors["alpha"])


@dataclass(frozen=True)
class MergedLora:
    """What was merged: the files that it was read from, and how many layers were changed."""

    files: tuple[Path, ...]
    layers: int


@dataclass(frozen=True)
class LoraFile:
    """A file as it was read: its pairs by public layer, what is said beside them, and keys that name no known layer."""

    pairs: dict[str, Pair]
    table: AdapterTable
    lost: tuple[str, ...]


def places(sizes: UNetSizes, towers: Iterable[tuple[int, bool]]) -> dict[str, LayerPlace]:
    """Every public layer with a weight, such as ``unet.mid_block...to_q``, of a U-Net and of text ``towers``: of each
    its depth, and whether it has a projection.

    A U-Net's layers are there under diffusers' and under CompVis' names.
    """
    found: dict[str, LayerPlace] = {}
    for names in (COMPVIS, DIFFUSERS):
        for name, source in unet_sources(names, sizes).items():
            found |= dict(_of(f"network.{name}", source.keys, "unet."))
    for k, (depth, projects) in enumerate(towers):
        for name, source in clip_keys.text_sources(clip_keys.TRANSFORMERS, depth, projects).items():
            found |= dict(_of(f"prompt.readers.{k}.tower.{name}", source.keys, f"{PARTS[k + 1]}."))
    return found


def _of(name: str, keys: tuple[str, ...], prefix: str) -> Iterator[tuple[str, LayerPlace]]:
    for index, key in enumerate(keys):
        if key.endswith(".weight"):
            yield prefix + key.removesuffix(".weight"), LayerPlace(name, index, len(keys))


def merge(file: Path, tensors: dict[str, Tensor], known: Mapping[str, LayerPlace], scale: float = 1.0) -> MergedLora:
    """Add the LoRA in ``file`` to ``tensors`` (our names), of which those concerned are replaced.

    Raises :class:`WeightsError` for a file in which anything finds no layer or does not fit it, naming that.
    """
    found = read(file, known)
    lost = list(found.lost)
    deltas: dict[str, list[tuple[LayerPlace, Tensor]]] = {}
    for layer, pair in found.pairs.items():
        try:
            if (missing := lora_factors.missing(layer, pair.tensors)) is not None:
                lost.append(f"{layer} without {missing}")
                continue
            place, delta = known[layer], pair.delta(found.table)
        except WeightsError as error:
            raise WeightsError(f"{file} cannot be merged: {error}") from None
        rows = tensors[place.name].chunk(place.count)[place.index]
        if delta.numel() != rows.numel() or delta.shape[0] != rows.shape[0]:
            lost.append(f"{layer} of {tuple(delta.shape)} for {tuple(rows.shape)}")
            continue
        delta = delta.view(rows.shape)
        for role in pair.tensors.keys() & lora_factors.MAGNITUDES:
            try:
                delta = lora_factors.decomposed(rows, delta, pair.tensors[role], role)
            except WeightsError as error:
                raise WeightsError(f"{file} cannot be merged: {pair.keys[role]}: {error}") from None
        if not torch.isfinite(delta).all():
            raise WeightsError(
                f"{file} cannot be merged: what it adds to {layer} is not finite; fetch or train it again"
            )
        deltas.setdefault(place.name, []).append((place, delta))
    for kind, mark in OTHER_KINDS.items():
        if strange := next((key for key in lost if mark in key), None):
            mend = f"give it as --embedding {word(file)}" if mark == INVERSION else "give a plain LoRA"
            raise WeightsError(f"{file} cannot be merged: it holds {kind} ('{strange}'), which is no LoRA: {mend}")
    if lost or not deltas:
        some = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        raise WeightsError(
            f"{file} is no LoRA for this model: {some or 'nothing in it'} finds no layer that it fits; give one "
            "that was made for this base, in the style of kohya, diffusers or cloneofsimo"
        )
    for name, each in deltas.items():
        changed = tensors[name].float().clone()
        for place, delta in each:
            changed.chunk(place.count)[place.index].add_(delta, alpha=scale)
        tensors[name] = changed.to(tensors[name].dtype)
        if not torch.isfinite(tensors[name]).all():
            raise WeightsError(
                f"{file} times {scale:g} is more than {tensors[name].dtype} holds in {name}: give it a smaller scale"
            )
    return MergedLora((file, *found.table.files), len(found.pairs))


def read(file: Path, known: Mapping[str, LayerPlace]) -> LoraFile:
    """What is in a file for the layers that are ``known``; raises :class:`WeightsError` where it cannot be read."""
    tensors, facts = _open(file)
    lists = _listed(facts, known, str(file)) if any(NUMBERED.fullmatch(key) for key in tensors) else {}
    flat = {prefix + layer.removeprefix(f"{part}.").replace(".", "_"): layer
            for prefix, part in KOHYA.items() for layer in known if layer.startswith(f"{part}.")}  # fmt: skip
    pairs: dict[str, Pair] = {}
    lost: list[str] = []
    for key, tensor in tensors.items():
        layer, role = _layer(key, flat, lists)
        if layer not in known:
            lost.append(key)
            continue
        pair = pairs.setdefault(layer, Pair(layer))
        if role in pair.keys:
            raise WeightsError(f"{file}: {pair.keys[role]} and {key} are both the {role} of {layer}")
        pair.tensors[role], pair.keys[role] = tensor, key
    return LoraFile(pairs, adapter_table(file, tensors, facts), tuple(lost))


def _layer(key: str, flat: Mapping[str, str], lists: Mapping[str, list[str]]) -> tuple[str, str]:
    """The public layer that a key is of, and its role; ("", "") for one that is of none."""
    if found := NUMBERED.fullmatch(key):
        layers, n = lists.get(found["part"], []), int(found["n"])
        return (layers[n], found["role"]) if n < len(layers) else ("", "")
    name = PREFIXES.sub("", key)
    if found := PROCESSOR.fullmatch(name):
        which = "to_out.0" if found["which"] == "out" else f"to_{found['which']}"
        return _with_part(f"{found['layer']}.{which}"), found["role"]
    if found := PEFT.fullmatch(name):
        return _with_part(found["layer"]), "down" if found["half"] == "A" else "up"
    for ending, role in ROLES.items():
        if name.endswith(f".{ending}"):
            layer = name.removesuffix(f".{ending}")
            if role in lora_factors.ROLES.values() and role != "m" and key.startswith("base_model."):
                return "", ""  # PEFT's own, whose alpha stands elsewhere
            return flat.get(layer) or _with_part(layer), role
    return "", ""


def _with_part(layer: str) -> str:
    return layer if layer.startswith(tuple(f"{part}." for part in PARTS)) else f"unet.{layer}"


def _listed(facts: Mapping[str, str], known: Mapping[str, LayerPlace], file: str) -> dict[str, list[str]]:
    """The layers that cloneofsimo's numbers count, of each part that the metadata of ``file`` speak of."""
    found = {}
    for part in ("unet", "text_encoder"):
        classes = parsed(facts[part], f"{file}: '{part}'") if part in facts else []
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise WeightsError(f"{file}: '{part}' of its metadata is no list of classes")
        if strange := set(classes) - ATTENTIONS - {GATED, TEXT}:
            raise WeightsError(f"{file} counts layers of {', '.join(sorted(strange))}, which is not known here")
        found[part] = list(_unet_layers(known, classes) if part == "unet" else _text_layers(known, classes))
    return found


def _unet_layers(known: Mapping[str, LayerPlace], classes: list[Any]) -> Iterator[str]:
    blocks = {layer.rsplit(".attn1.", 1)[0] for layer in known if layer.endswith(".attn1.to_q")}
    diffusers = [
        block for block in blocks if block.startswith(("unet.down_blocks", "unet.up_blocks", "unet.mid_block"))
    ]
    order = {"down_blocks": 0, "up_blocks": 1, "mid_block": 2}

    def place(block: str) -> tuple[int, list[int]]:
        return order[block.split(".")[1]], [int(n) for n in re.findall(r"\d+", block)]

    attends = bool(ATTENTIONS & set(classes))
    for block in sorted(diffusers, key=place):
        for attention in ("attn1", "attn2"):
            if attends:
                yield from (f"{block}.{attention}.{leaf}" for leaf in ("to_q", "to_k", "to_v", "to_out.0"))
            if attention == "attn1" and GATED in classes:
                yield f"{block}.ff.net.0.proj"


def _text_layers(known: Mapping[str, LayerPlace], classes: list[Any]) -> Iterator[str]:
    count = sum(layer.startswith("text_encoder.") and layer.endswith(".q_proj") for layer in known)
    for n in range(count if TEXT in classes else 0):
        for leaf in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield f"text_encoder.text_model.encoder.layers.{n}.self_attn.{leaf}"


def lora_file(path: Path) -> Path:
    """The file that a LoRA is in: ``path``, or the only one of safetensors in that folder (a repository of one).

    Raises :class:`WeightsError` for a folder with none or several.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:5]) or "none"
        raise WeightsError(
            f"{path} is a folder with {len(found)} files of safetensors ({names}): name the one to merge"
        )
    return found[0]


def holds_lora(file: Path) -> bool:
    """Whether every tensor of a file of safetensors has the name of one in a LoRA, of whichever base."""
    with safe_open(file, "pt") as found:
        keys = tuple(found.keys())
    return bool(keys) and all(NUMBERED.fullmatch(key) or _layer(key, {}, {})[1] for key in keys)


def _open(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not file.exists():
        raise NoSuchPath("file", file, "--lora: ")
    if file.suffix != ".safetensors":
        raise WeightsError(
            f"{file} is no safetensors: zeuxis convert {word(file)} makes a file of them, without running it"
        )
    try:
        require_regular(file)
        with safe_open(file, "pt") as found:
            return {key: found.get_tensor(key) for key in found.keys()}, found.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {why_no_tensors(file, error)}") from None
