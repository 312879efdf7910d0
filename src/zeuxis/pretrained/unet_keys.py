"""The U-Nets of Stable Diffusion under public names: those of CompVis (one file) and of diffusers (a folder).

Each tensor of ours is one of theirs, but for the projections of attention, which are one here: queries, keys and values
of self-attention, keys and values of cross-attention. In 1.x a transformer's maps in and out are 1x1 convolutions.

The architecture is read off names and shapes. They do not tell how many heads attention has: diffusers' ``config.json``
does (as ``attention_head_dim``, which counts heads); without it there are 8 where those maps are convolutions (1.x),
and heads of 64 channels where they are matrices (2.x, XL), as in everything that was published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.pretrained.kind import TensorSource

HEADS, HEAD_WIDTH = 8, 64
SMALLEST = 128  # channels: below, our norms have fewer than the 32 groups that theirs always have
# Settings of config.json that names and shapes do not show, and the one value of each that is known here.
UNET_FIXED: Mapping[str, Any] = {
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "center_input_sample": False,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
    "mid_block_scale_factor": 1,
    "dual_cross_attention": False,
    "only_cross_attention": False,
    "attention_type": "default",
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "cross_attention_norm": None,
    "encoder_hid_dim_type": None,
    "class_embed_type": None,
    "class_embeddings_concat": False,
}


@dataclass(frozen=True)
class UNetSizes:
    """The sizes of a U-Net, level by level from fine to coarse."""

    channels: int
    latent: int
    width: int
    multiples: tuple[int, ...]
    blocks: int
    depths: tuple[int, ...]  # transformer blocks of each level
    context_width: int
    added_width: int
    pointwise: bool  # whether transformers' maps in and out are 1x1 convolutions

    def table(self, heads: int | Sequence[int] | None = None) -> dict[str, Any]:
        """The keys of :func:`zeuxis.nn.latent_unet.latent_unet`; ``heads`` as a file tells them."""
        widths = [self.width * multiple for multiple in self.multiples]
        found: dict[str, Any] = {
            "extra": self.channels - self.latent,
            "width": self.width,
            "multiples": self.multiples,
            "blocks": self.blocks,
            "attention": tuple(2**level for level, depth in enumerate(self.depths) if depth),
            "transformer_depth": self.depths,
            "added_width": self.added_width,
        }
        match heads:
            case None:
                return found | ({"heads": HEADS} if self.pointwise else {"head_width": HEAD_WIDTH})
            case int() if _divide(widths, [heads] * len(widths)):
                return found | {"heads": heads}
            case [*each] if _divide(widths, each) and len({w // n for w, n in zip(widths, each, strict=True)}) == 1:
                return found | {"head_width": widths[0] // each[0]}
            case _:
                raise WeightsError(
                    f"heads {str(heads)[:80]} of levels of {widths} channels: one whole number is known here, or one "
                    "for each level with heads of one width; each divides its level's channels"
                )


def _divide(widths: Sequence[int], heads: Sequence[Any]) -> bool:
    """Whether these are the heads of levels of those widths."""
    if len(heads) != len(widths) or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in heads):
        return False
    return all(width % n == 0 for width, n in zip(widths, heads, strict=True))


Layer = tuple[str, tuple[str, ...], tuple[str, ...], bool]  # ours, theirs, leaves, whether theirs is a 1x1 convolution
BOTH, WEIGHT = ("weight", "bias"), ("weight",)


@dataclass(frozen=True)
class UNetNames:
    """What one program calls the layers."""

    program: str
    resblock: Mapping[str, str]  # ours to theirs, within a block
    time: tuple[str, str]
    added: tuple[str, str]
    stem: str
    norm: str
    out: str
    middle: tuple[str, str, str]  # block, transformer, block

    def down(self, sizes: UNetSizes, level: int, block: int) -> tuple[str, str]:
        """A block of the way down and its transformer."""
        if self.program == "diffusers":
            return f"down_blocks.{level}.resnets.{block}", f"down_blocks.{level}.attentions.{block}"
        place = 1 + level * (sizes.blocks + 1) + block
        return f"input_blocks.{place}.0", f"input_blocks.{place}.1"

    def halving(self, sizes: UNetSizes, level: int) -> str:
        """The convolution that halves a level."""
        if self.program == "diffusers":
            return f"down_blocks.{level}.downsamplers.0.conv"
        return f"input_blocks.{(level + 1) * (sizes.blocks + 1)}.0.op"

    def up(self, sizes: UNetSizes, step: int, block: int) -> tuple[str, str]:
        """A block of the way up and its transformer; ``step`` counts levels from the coarsest."""
        if self.program == "diffusers":
            return f"up_blocks.{step}.resnets.{block}", f"up_blocks.{step}.attentions.{block}"
        place = step * (sizes.blocks + 1) + block
        return f"output_blocks.{place}.0", f"output_blocks.{place}.1"

    def doubling(self, sizes: UNetSizes, step: int) -> str:
        """The convolution that doubles a level."""
        if self.program == "diffusers":
            return f"up_blocks.{step}.upsamplers.0.conv"
        attends = bool(sizes.depths[len(sizes.multiples) - 1 - step])
        return f"output_blocks.{(step + 1) * (sizes.blocks + 1) - 1}.{2 if attends else 1}.conv"


DIFFUSERS = UNetNames(
    program="diffusers",
    resblock={
        "norm1": "norm1",
        "conv1": "conv1",
        "vector": "time_emb_proj",
        "norm2": "norm2",
        "conv2": "conv2",
        "skip": "conv_shortcut",
    },
    time=("time_embedding.linear_1", "time_embedding.linear_2"),
    added=("add_embedding.linear_1", "add_embedding.linear_2"),
    stem="conv_in",
    norm="conv_norm_out",
    out="conv_out",
    middle=("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"),
)
COMPVIS = UNetNames(
    program="compvis",
    resblock={
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "vector": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "skip": "skip_connection",
    },
    time=("time_embed.0", "time_embed.2"),
    added=("label_emb.0.0", "label_emb.0.2"),
    stem="input_blocks.0.0",
    norm="out.0",
    out="out.2",
    middle=("middle_block.0", "middle_block.1", "middle_block.2"),
)
PROGRAMS = (DIFFUSERS, COMPVIS)

# -- the key map --------------------------------------------------------------------------------------


def unet_sources(names: UNetNames, sizes: UNetSizes) -> dict[str, TensorSource]:
    """Each tensor of ours, and the public ones that it is made of."""
    found = {}
    for ours, theirs, leaves, pointwise in _layers(names, sizes):
        for leaf in leaves:
            keys = tuple(f"{key}.{leaf}" for key in theirs)
            found[f"{ours}.{leaf}"] = TensorSource(keys, pointwise and leaf == "weight")
    return found


def _layers(names: UNetNames, sizes: UNetSizes) -> Iterator[Layer]:
    def plain(ours: str, theirs: str) -> Layer:
        return ours, (theirs,), BOTH, False

    def block(ours: str, theirs: tuple[str, str], inputs: int, outputs: int, depth: int) -> Iterator[Layer]:
        for part, key in names.resblock.items():
            if part != "skip" or inputs != outputs:
                yield plain(f"{ours}.resblock.{part}", f"{theirs[0]}.{key}")
        if depth:
            yield from _transformer(f"{ours}.transformer", theirs[1], depth, sizes.pointwise)

    levels = len(sizes.multiples)
    yield from (plain(f"time.mlp.{k}", key) for k, key in zip((0, 2), names.time, strict=True))
    if sizes.added_width:
        yield from (plain(f"added.{k}", key) for k, key in zip((0, 2), names.added, strict=True))
    yield plain("stem", names.stem)
    now, skips = 1, [1]
    for level, multiple in enumerate(sizes.multiples):
        for k in range(sizes.blocks):
            ours = f"down_levels.{level}.blocks.{k}"
            yield from block(ours, names.down(sizes, level, k), now, multiple, sizes.depths[level])
            now = multiple
        skips += [now] * (sizes.blocks + (level + 1 < levels))
        if level + 1 < levels:
            yield plain(f"down_levels.{level}.resample.conv", names.halving(sizes, level))
    centre = max(1, sizes.depths[-1])
    yield from block("middle_blocks.0", (names.middle[0], names.middle[1]), now, now, centre)
    yield from block("middle_blocks.1", (names.middle[2], ""), now, now, 0)
    for step in range(levels):
        level = levels - 1 - step
        for k in range(sizes.blocks + 1):
            ours, inputs = f"up_levels.{step}.blocks.{k}", now + skips.pop()
            yield from block(ours, names.up(sizes, step, k), inputs, sizes.multiples[level], sizes.depths[level])
            now = sizes.multiples[level]
        if level:
            yield plain(f"up_levels.{step}.resample.conv", names.doubling(sizes, step))
    yield plain("norm", names.norm)
    yield plain("out", names.out)


def _transformer(ours: str, theirs: str, depth: int, pointwise: bool) -> Iterator[Layer]:
    yield f"{ours}.norm", (f"{theirs}.norm",), BOTH, False
    yield f"{ours}.proj_in", (f"{theirs}.proj_in",), BOTH, pointwise
    for k in range(depth):
        mine, key = f"{ours}.blocks.{k}", f"{theirs}.transformer_blocks.{k}"
        yield from ((f"{mine}.{norm}", (f"{key}.{norm}",), BOTH, False) for norm in ("norm1", "norm2", "norm3"))
        yield f"{mine}.attention.qkv", tuple(f"{key}.attn1.to_{part}" for part in "qkv"), WEIGHT, False
        yield f"{mine}.attention.out", (f"{key}.attn1.to_out.0",), BOTH, False
        yield f"{mine}.cross_attention.q", (f"{key}.attn2.to_q",), WEIGHT, False
        yield f"{mine}.cross_attention.kv", tuple(f"{key}.attn2.to_{part}" for part in "kv"), WEIGHT, False
        yield f"{mine}.cross_attention.out", (f"{key}.attn2.to_out.0",), BOTH, False
        yield f"{mine}.mlp.inner", (f"{key}.ff.net.0.proj",), BOTH, False
        yield f"{mine}.mlp.outer", (f"{key}.ff.net.2",), BOTH, False
    yield f"{ours}.proj_out", (f"{theirs}.proj_out",), BOTH, pointwise


# -- the architecture, from names and shapes ----------------------------------------------------------


def names_of(public: Mapping[str, Tensor]) -> UNetNames:
    """The program whose names these are; raises :class:`WeightsError` where it is none that is known."""
    for names in PROGRAMS:
        if f"{names.stem}.weight" in public and f"{names.middle[1]}.proj_in.weight" in public:
            return names
    marks = " or ".join(f"{names.stem}.weight with {names.middle[1]}.proj_in.weight" for names in PROGRAMS)
    raise WeightsError(f"this is no U-Net of Stable Diffusion: it lacks {marks}")


def unet_sizes(names: UNetNames, public: Mapping[str, Tensor]) -> UNetSizes:
    """The architecture that the tensors' names and shapes tell; :class:`WeightsError` where they do not."""

    def shape(key: str) -> tuple[int, ...]:
        if key not in public:
            raise WeightsError(f"this U-Net lacks {key}: its architecture cannot be read off")
        return tuple(public[key].shape)

    width, channels, *_ = shape(f"{names.stem}.weight")
    if width < SMALLEST or width % 32:
        raise WeightsError(f"a U-Net of {width} channels: those known here begin with at least {SMALLEST}, in 32s")
    blocks = _blocks(names, public)
    guess = UNetSizes(channels, 0, width, (), blocks, (), 0, 0, False)
    conv, multiples, depths = names.resblock["conv1"], list[int](), list[int]()
    while f"{(place := names.down(guess, len(multiples), 0))[0]}.{conv}.weight" in public:
        outputs = shape(f"{place[0]}.{conv}.weight")[0]
        if outputs % width:
            raise WeightsError(f"a level of {outputs} channels after {width}: multiples of the first are known here")
        multiples.append(outputs // width)
        depths.append(_depth(public, place[1]))
    entry = f"{names.middle[1]}.proj_in.weight"
    added = f"{names.added[0]}.weight"
    return UNetSizes(
        channels=channels,
        latent=shape(f"{names.out}.weight")[0],
        width=width,
        multiples=tuple(multiples),
        blocks=blocks,
        depths=tuple(depths),
        context_width=shape(f"{names.middle[1]}.transformer_blocks.0.attn2.to_k.weight")[1],
        added_width=shape(added)[1] if added in public else 0,
        pointwise=len(shape(entry)) == 4,
    )


def _blocks(names: UNetNames, public: Mapping[str, Tensor]) -> int:
    """Residual blocks of a level on the way down."""
    count, conv = 0, names.resblock["conv1"]
    if names.program == "diffusers":
        while f"down_blocks.0.resnets.{count}.{conv}.weight" in public:
            count += 1
    else:
        while f"input_blocks.{count + 1}.0.{conv}.weight" in public:
            count += 1
    return count


def _depth(public: Mapping[str, Tensor], transformer: str) -> int:
    count = 0
    while f"{transformer}.transformer_blocks.{count}.norm1.weight" in public:
        count += 1
    return count
