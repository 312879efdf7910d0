"""What public programs call the parts of a first stage: CompVis' names, and those of diffusers."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Dialect:
    """The names of one program; ``{}`` stands for a number."""

    down: str  # a level of the encoder
    up: str  # a level of the decoder
    coarse_first: bool  # whether the decoder's levels are counted from the coarsest
    block: str  # of a level
    attend: str  # of a level
    shrink: str  # of a level of the encoder
    grow: str  # of a level of the decoder
    middle: tuple[str, str, str]  # block, attention, block
    norm: str  # before the last convolution
    skip: str  # of a block
    attention_norm: str
    qkv: tuple[str, str, str]
    leave: str  # attention's projection out
    pointwise: bool  # whether attention's projections are 1x1 convolutions, not matrices

    @property
    def mark(self) -> str:
        """A key that is in every first stage of this dialect and in none of another's."""
        return f"encoder.{self.middle[1]}.{self.qkv[0]}.weight"


COMPVIS = Dialect(
    down="down.{}",
    up="up.{}",
    coarse_first=False,
    block="block.{}",
    attend="attn.{}",
    shrink="downsample.conv",
    grow="upsample.conv",
    middle=("mid.block_1", "mid.attn_1", "mid.block_2"),
    norm="norm_out",
    skip="nin_shortcut",
    attention_norm="norm",
    qkv=("q", "k", "v"),
    leave="proj_out",
    pointwise=True,
)
DIFFUSERS = Dialect(
    down="down_blocks.{}",
    up="up_blocks.{}",
    coarse_first=True,
    block="resnets.{}",
    attend="attentions.{}",
    shrink="downsamplers.0.conv",
    grow="upsamplers.0.conv",
    middle=("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"),
    norm="conv_norm_out",
    skip="conv_shortcut",
    attention_norm="group_norm",
    qkv=("to_q", "to_k", "to_v"),
    leave="to_out.0",
    pointwise=False,
)
DIALECTS = {
    "compvis": COMPVIS,
    "diffusers": DIFFUSERS,
    # As many published autoencoders still have them: the names of its attention before they were unified.
    "diffusers-old": replace(DIFFUSERS, qkv=("query", "key", "value"), leave="proj_attn"),
}
