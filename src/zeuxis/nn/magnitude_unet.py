"""The U-Net of magnitude-preserving layers: ADM's, relieved of all that could grow in it.

Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models" (EDM2, arXiv:2312.02696),
configuration G: Figure 21 and Table 6.

    block      of the way down: (resampled, mapped) and pixel-normalised, then the residual branch
               of the way up: (resampled), the residual branch from it, and beside it the map
    branch     SiLU, convolution, times 1 + what the vector says, SiLU, convolution; 0.3 of the sum
    attention  by cosines, 0.3 of the sum

Legend: B images, C channels, H rows, W columns (of the level at hand), V width of the vector, F features of the time.

Axes: C_i channels at level i, V width of the vector, F features of the time, C_in and C_out channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.errors import UsageError
from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.magnitude import CosineAttention, MPConv2d, MPFourier, MPLinear, mp_cat, mp_silu, mp_sum, unit
from zeuxis.nn.resampling_unet import Double, Halve

SHARE = 0.3  # of a residual, and of an attention, in the sum with what it is of (Table 6)


class MagnitudeBlock(nn.Module):
    """``(B, C_in, H, W)`` and ``(B, V)`` to ``(B, C_out, H, W)``, perhaps halved or doubled first.

    ``down`` is that of the way down, which maps and normalises before it branches; ``heads`` of attention, if any.
    """

    def __init__(
        self, inputs: int, outputs: int, vector: int, *, down: bool, resample: Halve | None = None, heads: int = 0
    ) -> None:
        super().__init__()
        self.down = down
        self.resample = resample or nn.Identity()
        self.skip = MPConv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.conv1, self.conv2 = MPConv2d(outputs if down else inputs, outputs, 3), MPConv2d(outputs, outputs, 3)
        self.vector, self.vector_gain = MPLinear(vector, outputs), nn.Parameter(torch.zeros(()))
        self.attention = CosineAttention(outputs, heads) if heads else None

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = self.resample(x)
        if self.down:
            x = unit(self.skip(x), (1,))
        h = self.conv1(mp_silu(x))
        told = 1 + self.vector(c, self.vector_gain)[:, :, None, None]
        h = self.conv2(mp_silu(h * told.to(h.dtype)))
        x = mp_sum(x if self.down else self.skip(x), h, SHARE)
        if self.attention is None:
            return x
        seen = self.attention(x.flatten(2).transpose(1, 2))  # (B, H W, C_out)
        return mp_sum(x, seen.transpose(1, 2).unflatten(2, x.shape[2:]), SHARE)


class MagnitudeUNet(Backbone):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``; H and W are multiples of 2^(levels - 1).

    It says 0 before it has learnt anything, by a gain that starts there. The classes are a :class:`LabelConditioner`'s,
    so the published counts are ours plus V times the classes, and the 128 of u(sigma). After every step of training
    the weights are to be brought back, by :func:`zeuxis.nn.magnitude.force_unit_weights`.

    Args:
        channels: C; ``out_channels`` is C_out, by default C.
        width: channels at the finest level; ``multiples`` of it at each level, fine to coarse.
        blocks: residual blocks at each level on the way down (one more on the way up).
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        head_width: channels of each head of an attention.
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        width: int = 192,
        multiples: tuple[int, ...] = (1, 2, 3, 4),
        blocks: int = 3,
        attention: tuple[int, ...] = (4, 8),
        head_width: int = 64,
    ) -> None:
        super().__init__()
        if unknown := set(attention) - {2**i for i in range(len(multiples))}:
            raise UsageError(f"no level is downsampled by {sorted(unknown)}: there are {len(multiples)} levels")
        widths = [width * m for m in multiples]
        v = max(widths)
        self.vector_width, self.context_width, self.stride = v, 0, 2 ** (len(multiples) - 1)

        def block(
            inputs: int, outputs: int, down: bool, attend: bool = False, resample: Halve | None = None
        ) -> MagnitudeBlock:
            heads = max(1, outputs // head_width) if attend else 0
            return MagnitudeBlock(inputs, outputs, v, down=down, resample=resample, heads=heads)

        self.time = nn.Sequential(MPFourier(width), MPLinear(width, v))
        self.stem = MPConv2d(channels + 1, width, 3)
        self.encoder, skips, now = nn.ModuleList(), [width], width
        for i, w in enumerate(widths):
            if i:
                self.encoder.append(block(now, now, True, resample=Halve((1, 1))))
                skips.append(now)
            for _ in range(blocks):
                self.encoder.append(block(now, w, True, 2**i in attention))
                skips.append(w)
                now = w
        self.middle = nn.ModuleList([block(now, now, False, True), block(now, now, False)])
        self.levels, self.doublings = nn.ModuleList(), nn.ModuleList()
        for i, w in reversed(list(enumerate(widths))):
            level = nn.ModuleList()
            for _ in range(blocks + 1):
                level.append(block(now + skips.pop(), w, False, 2**i in attention))
                now = w
            self.levels.append(level)
            if i:
                self.doublings.append(block(now, now, False, resample=Double((1, 1))))
        self.out, self.gain = MPConv2d(now, out_channels or channels, 3), nn.Parameter(torch.zeros(()))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        conditional: Tensor | None = None,
    ) -> Tensor:
        c = self.embed(time, vector, context)  # (B, V)
        h = self.stem(torch.cat([x, torch.ones_like(x[:, :1])], 1))  # (B, width, H, W)
        skips = [h]
        for block in self.encoder:
            h = block(h, c)  # (B, C_i, H / 2^i, W / 2^i)
            skips.append(h)
        for block in self.middle:
            h = block(h, c)
        for i, level in enumerate(self.levels):
            if i:
                h = self.doublings[i - 1](h, c)
            for block in level.children():
                h = block(mp_cat(h, skips.pop()), c)
        out: Tensor = self.out(h, self.gain)
        return out.to(x.dtype)

    def embed(self, time: Tensor, vector: Tensor | None, context: Tensor | None) -> Tensor:
        """As :class:`Backbone`'s, of magnitude 1; the vector, which is brought to it, has half of the sum."""
        c = super().embed(time / TIME_SCALE, None, context)  # random frequencies were made for numbers about 1
        return mp_silu(c if vector is None else mp_sum(c, unit(vector, (1,)).to(c.dtype)))

    @property
    def centre(self) -> nn.Module:
        return self.middle[-1]
