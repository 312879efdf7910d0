"""What public programs call the layers of a first stage: CompVis' names, and those of diffusers."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class KeyNames:
    """The names of one program; ``{}`` stands for a number."""

    program: str
    down: str  # a level of the encoder
    up: str  # a level of the decoder
    coarse_first: bool  # whether the decoder's levels are counted from the coarsest
    block: str  # a residual block of a level
    attention: str  # an attention layer of a level
    downsample: str  # of a level of the encoder
    upsample: str  # of a level of the decoder
    middle: tuple[str, str, str]  # block, attention, block
    norm: str  # before the last convolution
    skip: str  # of a block
    attention_norm: str
    qkv: tuple[str, str, str]
    proj_out: str  # of an attention layer
    pointwise: bool  # whether attention's projections are 1x1 convolutions, not matrices

    @property
    def mark(self) -> str:
        """A key that is in every first stage under these names and in none under others."""
        return f"encoder.{self.middle[1]}.{self.qkv[0]}.weight"


COMPVIS = KeyNames(
    program="compvis",
    down="down.{}",
    up="up.{}",
    coarse_first=False,
    block="block.{}",
    attention="attn.{}",
    downsample="downsample.conv",
    upsample="upsample.conv",
    middle=("mid.block_1", "mid.attn_1", "mid.block_2"),
    norm="norm_out",
    skip="nin_shortcut",
    attention_norm="norm",
    qkv=("q", "k", "v"),
    proj_out="proj_out",
    pointwise=True,
)
DIFFUSERS = KeyNames(
    program="diffusers",
    down="down_blocks.{}",
    up="up_blocks.{}",
    coarse_first=True,
    block="resnets.{}",
    attention="attentions.{}",
    downsample="downsamplers.0.conv",
    upsample="upsamplers.0.conv",
    middle=("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"),
    norm="conv_norm_out",
    skip="conv_shortcut",
    attention_norm="group_norm",
    qkv=("to_q", "to_k", "to_v"),
    proj_out="to_out.0",
    pointwise=False,
)
# As many published autoencoders still have them: the names of its attention before they were unified.
DIFFUSERS_OLD = replace(DIFFUSERS, program="diffusers-old", qkv=("query", "key", "value"), proj_out="proj_attn")
PROGRAMS = (COMPVIS, DIFFUSERS, DIFFUSERS_OLD)
