"""CLIP's tensors under public names, in and out: those of `transformers`, and OpenAI's, which OpenCLIP shares.

::

    sizes, tensors = read_text_tower(public)             # public names, whatever precedes the tower's stripped
    with torch.device("meta"):
        tower = ClipTextTower(**sizes)
    tower.load_state_dict(tensors, assign=True)

Heads, activation and the id that ends a text are not told by shapes: `transformers` has them in ``config.json``
(``config``). Without it a head is 64 wide, as in every published CLIP; the activation is OpenAI's in the names of
`transformers`, and exact GELU in OpenCLIP's, where OpenAI's own files are told apart by the constants that they hold.

Axes: D width, P width of the projection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor

from zeuxis.errors import WeightsError, lookup
from zeuxis.pretrained.kind import TensorSource, gather

HEAD = 64  # width of an attention head
ACTIVATIONS = MappingProxyType({"quick_gelu": "quick-gelu", "gelu": "gelu"})  # in config.json -> ours
SMALLEST_END = 2  # eos_token_id of configurations written before it was used: the largest id ends a text


@dataclass(frozen=True)
class ClipNames:
    """The names of one program; ``{}`` stands for a number."""

    program: str
    text: str  # what precedes the text tower's names
    vision: str
    block: str
    qkv: tuple[str, ...]  # without the leaf
    leaf: str  # between their name and "weight" or "bias"
    out: str
    norms: tuple[str, str]
    mlp: tuple[str, str]
    token: str
    text_position: str
    text_norm: str
    text_projection: str  # from here on in full
    vision_projection: str
    patch: str
    class_token: str
    vision_position: str
    vision_norms: tuple[str, str]  # before the blocks and after them
    transposed: bool  # whether a projection is kept (D, P)


TRANSFORMERS = ClipNames(
    program="transformers",
    text="text_model.",
    vision="vision_model.",
    block="encoder.layers.{}.",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    leaf=".",
    out="self_attn.out_proj",
    norms=("layer_norm1", "layer_norm2"),
    mlp=("mlp.fc1", "mlp.fc2"),
    token="embeddings.token_embedding.weight",
    text_position="embeddings.position_embedding.weight",
    text_norm="final_layer_norm",
    text_projection="text_projection.weight",
    vision_projection="visual_projection.weight",
    patch="embeddings.patch_embedding.weight",
    class_token="embeddings.class_embedding",
    vision_position="embeddings.position_embedding.weight",
    vision_norms=("pre_layrnorm", "post_layernorm"),  # their spelling
    transposed=False,
)
OPENCLIP = ClipNames(
    program="openclip",
    text="",
    vision="visual.",
    block="transformer.resblocks.{}.",
    qkv=("attn.in_proj",),
    leaf="_",
    out="attn.out_proj",
    norms=("ln_1", "ln_2"),
    mlp=("mlp.c_fc", "mlp.c_proj"),
    token="token_embedding.weight",
    text_position="positional_embedding",
    text_norm="ln_final",
    text_projection="text_projection",
    vision_projection="visual.proj",
    patch="conv1.weight",
    class_token="class_embedding",
    vision_position="positional_embedding",
    vision_norms=("ln_pre", "ln_post"),
    transposed=True,
)
LAYOUTS = (TRANSFORMERS, OPENCLIP)
BARE, LINEAR = "text_projection", "text_projection.weight"  # by which a matrix (D, P) and one (P, D) are known
OPENAI = ("input_resolution", "context_length", "vocab_size")  # constants of OpenAI's own files
NO_WEIGHTS = (*OPENAI, "text_model.embeddings.position_ids", "vision_model.embeddings.position_ids", "attn_mask")
TEMPERATURE = "logit_scale"

# -- the key maps -------------------------------------------------------------------------------------


def text_sources(layout: ClipNames, depth: int, projection: bool) -> dict[str, TensorSource]:
    """Each tensor of a :class:`zeuxis.nn.clip_text.ClipTextTower`, and the public ones that it is made of."""
    found = {
        "token.weight": TensorSource((layout.text + layout.token,)),
        "position": TensorSource((layout.text + layout.text_position,)),
        **dict(_blocks(layout, layout.text, depth)),
        **_affine("norm", layout.text + layout.text_norm),
    }
    if projection:
        found["projection.weight"] = TensorSource((layout.text_projection,), transposed=layout.transposed)
    return found


def vision_sources(layout: ClipNames, depth: int, projection: bool) -> dict[str, TensorSource]:
    """Each tensor of a :class:`zeuxis.nn.clip_vision.ClipVisionTower`, likewise."""
    found = {
        "patchify.weight": TensorSource((layout.vision + layout.patch,)),
        "class_token": TensorSource((layout.vision + layout.class_token,)),
        "position": TensorSource((layout.vision + layout.vision_position,)),
        **_affine("norm_in", layout.vision + layout.vision_norms[0]),
        **dict(_blocks(layout, layout.vision, depth)),
        **_affine("norm", layout.vision + layout.vision_norms[1]),
    }
    if projection:
        found["projection.weight"] = TensorSource((layout.vision_projection,), transposed=layout.transposed)
    return found


def clip_sources(layout: ClipNames, text_depth: int, vision_depth: int) -> dict[str, TensorSource]:
    """Each tensor of a system ``clip`` with two published towers, likewise."""
    return {
        **{f"text.{name}": source for name, source in text_sources(layout, text_depth, True).items()},
        **{f"image.{name}": source for name, source in vision_sources(layout, vision_depth, True).items()},
        "log_scale": TensorSource((TEMPERATURE,)),
    }


def _blocks(layout: ClipNames, prefix: str, depth: int) -> Iterator[tuple[str, TensorSource]]:
    for k in range(depth):
        ours, theirs = f"blocks.{k}", prefix + layout.block.format(k)
        for leaf in ("weight", "bias"):
            qkv = tuple(theirs + q + layout.leaf + leaf for q in layout.qkv)
            yield f"{ours}.attention.qkv.{leaf}", TensorSource(qkv)
        for name, key in (
            ("attention.out", layout.out),
            ("norm1", layout.norms[0]),
            ("norm2", layout.norms[1]),
            ("mlp.proj_in", layout.mlp[0]),
            ("mlp.proj_out", layout.mlp[1]),
        ):
            yield from _affine(f"{ours}.{name}", theirs + key).items()


def _affine(ours: str, theirs: str) -> dict[str, TensorSource]:
    return {f"{ours}.{leaf}": TensorSource((f"{theirs}.{leaf}",)) for leaf in ("weight", "bias")}


# -- the architecture, from names and shapes ----------------------------------------------------------


def layout_of(public: Mapping[str, Tensor]) -> ClipNames:
    """The program whose names these are; raises :class:`WeightsError` where no tower of CLIP is among them."""
    for layout in LAYOUTS:
        for prefix, mark in ((layout.text, layout.token), (layout.vision, layout.patch)):
            if prefix + mark in public:
                return layout
    marks = " or ".join(layout.text + layout.token for layout in LAYOUTS)
    raise WeightsError(f"this is no CLIP: it lacks {marks}")


def read_text_tower(
    public: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The keywords of a :class:`zeuxis.nn.clip_text.ClipTextTower`, and its tensors under our names.

    ``public`` holds a text tower in either layout and nothing else, under the names that it has in a CLIP (also those
    that `transformers` 5 writes without ``text_model.``); a temperature beside it is put aside. Its projection may have
    either program's name. ``config`` is the tower's table of ``config.json``.

    Raises :class:`WeightsError` naming keys that are missing or left over.
    """
    public = {key: value for key, value in public.items() if key != TEMPERATURE}
    public = _with_prefix(public, TRANSFORMERS.text, TRANSFORMERS.token, BARE, LINEAR)
    layout = layout_of(public)
    public = _with_projection(layout, public)
    sizes = text_sizes(layout, public, config)
    return sizes, _gathered(text_sources(layout, sizes["depth"], sizes["projection"] is not None), public)


def read_clip(
    public: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The keywords of a system ``clip`` but for its tokeniser (and its ``shape``), and its tensors under our names.

    ``public`` are the tensors of a whole CLIP in either layout; ``config`` its ``config.json``.

    Raises :class:`WeightsError` naming keys that are missing or left over.
    """
    layout = layout_of(public)
    public = _with_projection(layout, public)
    known = config or {}
    text = text_sizes(layout, public, known.get("text_config"))
    image = vision_sizes(layout, public, known.get("vision_config"))
    if text["projection"] is None or text["projection"] != image["projection"]:
        raise WeightsError(
            f"text is projected to {text['projection']} numbers and pictures to {image['projection']}: this is no CLIP"
        )
    tensors = _gathered(clip_sources(layout, text["depth"], image["depth"]), public)
    made = {
        "shape": (image["channels"], image["size"], image["size"]),
        "embedding": text["projection"],
        "vocabulary": text["vocabulary"],
        "text": {key: text[key] for key in ("width", "depth", "heads", "length", "hidden", "activation")},
        "image": {
            "kind": "vit",
            **{key: image[key] for key in ("patch", "width", "depth", "heads", "hidden", "activation")},
        },
    }
    return made, tensors


def _gathered(sources: Mapping[str, TensorSource], public: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Public tensors under our names, constants put aside."""
    return gather(sources, {key: tensor for key, tensor in public.items() if key not in NO_WEIGHTS}, "this CLIP")


def text_sizes(layout: ClipNames, public: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keywords alone, also of a text tower in a whole CLIP."""
    vocabulary, width = _shape(public, layout.text + layout.token)
    depth = _depth(layout, layout.text, public)
    end = (config or {}).get("eos_token_id", SMALLEST_END)
    return {
        "vocabulary": vocabulary,
        "length": _shape(public, layout.text + layout.text_position)[0],
        "width": width,
        "depth": depth,
        "projection": _projection(layout.text_projection, layout, public),
        "end": None if end == SMALLEST_END else end,
        **_common(layout, layout.text, public, width, config),
    }


def vision_sizes(layout: ClipNames, public: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keywords of a :class:`zeuxis.nn.clip_vision.ClipVisionTower`, also of one in a whole CLIP."""
    width, channels, patch, _ = _shape(public, layout.vision + layout.patch)
    cells = _shape(public, layout.vision + layout.vision_position)[0] - 1
    side = round(cells**0.5)
    if side * side != cells:
        raise WeightsError(f"a vision tower of {cells} places, which are no square: its size cannot be told")
    return {
        "channels": channels,
        "size": side * patch,
        "patch": patch,
        "width": width,
        "depth": _depth(layout, layout.vision, public),
        "projection": _projection(layout.vision_projection, layout, public),
        **_common(layout, layout.vision, public, width, config),
    }


def _common(
    layout: ClipNames, prefix: str, public: Mapping[str, Tensor], width: int, config: Mapping[str, Any] | None
) -> dict[str, Any]:
    known = config or {}
    openai = layout is TRANSFORMERS or all(key in public for key in OPENAI)
    given = known.get("hidden_act", "quick_gelu" if openai else "gelu")
    return {
        "heads": int(known.get("num_attention_heads", max(1, width // HEAD))),
        "hidden": _shape(public, f"{prefix}{layout.block.format(0)}{layout.mlp[0]}.weight")[0],
        "activation": lookup("activation of a CLIP", str(given), ACTIVATIONS),
    }


def _projection(key: str, layout: ClipNames, public: Mapping[str, Tensor]) -> int | None:
    return _shape(public, key)[1 if layout.transposed else 0] if key in public else None


def _depth(layout: ClipNames, prefix: str, public: Mapping[str, Tensor]) -> int:
    pattern = re.compile(re.escape(prefix + layout.block).replace(r"\{\}", r"(\d+)"))
    return len({found[1] for key in public if (found := pattern.match(key))})


def _shape(public: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    if key not in public:
        raise WeightsError(f"this CLIP lacks {key}: its architecture cannot be read off")
    return tuple(public[key].shape)


def _with_projection(layout: ClipNames, public: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same tensors, a text's projection under the name that ``layout`` has for it and laid as it lays it.

    Programs that write one file out of several models mix the two. The shape says which way a matrix lies, and where it
    is a square one, as XL's is, its name.
    """
    found = [key for key in (BARE, LINEAR) if key in public]
    if len(found) != 1:
        return public
    (key,) = found
    matrix, width = public[key], _shape(public, layout.text + layout.token)[1]
    if matrix.ndim != 2 or width not in matrix.shape:
        raise WeightsError(
            f"this CLIP has {key} of shape {tuple(matrix.shape)}, which projects no vectors of {width} numbers"
        )
    from_width = key == BARE if matrix.shape[0] == matrix.shape[1] else matrix.shape[0] == width  # (D, P)
    laid = matrix if from_width == layout.transposed else matrix.T.contiguous()
    return {name: tensor for name, tensor in public.items() if name != key} | {layout.text_projection: laid}


def _with_prefix(public: Mapping[str, Tensor], prefix: str, mark: str, *own: str) -> Mapping[str, Tensor]:
    """The same tensors under ``prefix``, where they are a tower's without it."""
    if mark not in public or mark == prefix + mark:
        return public
    return {key if key in own else prefix + key: tensor for key, tensor in public.items()}
