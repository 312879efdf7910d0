"""The U-Nets whose residual blocks halve and double: DDPM++ and NCSN++, ADM, and the half of one that classifies.

Song et al. 2021 (arXiv:2011.13456, Appendix H); Dhariwal & Nichol 2021 (arXiv:2105.05233); side by side, as here, in
Karras et al. 2022 (arXiv:2206.00364, Table 7):

                                 DDPM++        NCSN++          ADM
    filter of halving            (1, 1)        (1, 3, 3, 1)    (1, 1)        taps
    embedding of the level       positional    random Fourier  positional    fourier
    picture beside the encoder   -             added           -             residual
    the vector                   is added      is added        modulates     modulate
    every residual is times      sqrt(1/2)     sqrt(1/2)       1             scale
    attention on the way up      once a level  once a level    every block   modulate

Legend: B images, C channels, H rows, W columns (of the level at hand), h and w those of the last level, V width of the
vector, F features of the time, N places, K classes.

Axes: C_i channels at level i, V width of the vector of time and label, F features of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError
from zeuxis.nn.attention import attend, heads_of
from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.embed import TIME_SCALE, TimeEmbedding, sinusoid
from zeuxis.nn.initialise import variance_scaling
from zeuxis.nn.resblock import AttentionBlock, group_norm, zero_init

Taps = tuple[int, ...]  # of a filter along one axis, of even length
FOURIER_STD = 16.0  # of the frequencies: Song et al. 2021, Appendix C


class Halve(nn.Module):
    """``(B, C, H, W)`` to ``(B, C, H / 2, W / 2)``: filtered by ``taps`` along both axes, then every second pixel."""

    kernel: Tensor

    def __init__(self, taps: Taps) -> None:
        super().__init__()
        row = torch.tensor(taps, dtype=torch.float32)
        self.pad = (len(taps) - 1) // 2
        self.register_buffer("kernel", (row[:, None] * row / row.sum() ** 2)[None, None], persistent=False)

    def forward(self, x: Tensor, pad: int | None = None) -> Tensor:
        c = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(c, -1, -1, -1)
        return F.conv2d(x, kernel, stride=2, padding=self.pad if pad is None else pad, groups=c)


class Double(Halve):
    """``(B, C, H, W)`` to ``(B, C, 2 H, 2 W)``, by the same filter."""

    def forward(self, x: Tensor, pad: int | None = None) -> Tensor:
        c = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(c, -1, -1, -1) * 4
        return F.conv_transpose2d(x, kernel, stride=2, padding=self.pad, groups=c)


class ResamplingBlock(nn.Module):
    """A residual block that may halve or double within, then attention, if any: ``(B, C_in, H, W)`` and ``(B, V)``."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        vector: int,
        *,
        resample: Halve | None = None,
        heads: int = 0,
        modulate: bool = False,
        scale: float = 1.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.modulate, self.scale = modulate, scale
        self.resample = resample or nn.Identity()
        self.norm1, self.norm2 = group_norm(inputs, eps), group_norm(outputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.vector = nn.Linear(vector, (2 if modulate else 1) * outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        mapped = inputs != outputs or (resample is not None and not modulate)
        self.skip = nn.Conv2d(inputs, outputs, 1) if mapped else nn.Identity()
        self.attention = AttentionBlock(outputs, heads, eps=eps) if heads else None

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.conv1(self.resample(F.silu(self.norm1(x))))
        told = self.vector(F.silu(c))[:, :, None, None]
        if self.modulate:
            gain, shift = told.chunk(2, 1)
            h = self.norm2(h) * (1 + gain) + shift
        else:
            h = self.norm2(h + told)
        x = self.scale * (self.skip(self.resample(x)) + self.conv2(F.silu(h)))
        return x if self.attention is None else self.scale * self.attention(x)


class Picture(nn.Module):
    """What is added to NCSN++'s encoder: the picture, or what was made of it at the level before, convolved and
    halved."""

    def __init__(self, inputs: int, outputs: int, taps: Taps) -> None:
        super().__init__()
        self.conv, self.halve = nn.Conv2d(inputs, outputs, 3, padding=1 + (len(taps) - 1) // 2), Halve(taps)

    def forward(self, x: Tensor) -> Tensor:
        return self.halve(self.conv(x), pad=0)


class UNetEncoder(nn.Module):
    """The way down, and the middle of what it ends in; both networks below have one."""

    def __init__(
        self,
        channels: int,
        vector: int,
        *,
        width: int,
        multiples: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        heads: int,
        head_width: int | None,
        modulate: bool,
        scale: float,
        taps: Taps,
        residual: bool,
        eps: float,
    ) -> None:
        super().__init__()
        if unknown := set(attention) - {2**i for i in range(len(multiples))}:
            raise UsageError(f"no level is downsampled by {sorted(unknown)}: there are {len(multiples)} levels")
        self.taps, self.residual, self.attention = taps, residual, tuple(attention)

        def block(inputs: int, outputs: int, resample: Halve | None = None, attend: bool = False) -> ResamplingBlock:
            n = (heads_of(outputs, head_width) if head_width else heads) if attend else 0
            return ResamplingBlock(
                inputs, outputs, vector, resample=resample, heads=n, modulate=modulate, scale=scale, eps=eps
            )

        self.block = block  # a function: the way up is made of the same blocks
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.widths = [width * m for m in multiples]
        self.halvings, self.pictures, self.levels = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        now, before = width, channels
        self.skips = [width]  # channels of every skip
        for i, w in enumerate(self.widths):
            if i:
                self.halvings.append(block(now, now, Halve(taps)))
                if residual:
                    self.pictures.append(Picture(before, now, taps))
                self.skips.append(now)
                before = now
            inner = [block(now if j == 0 else w, w, attend=2**i in attention) for j in range(blocks)]
            self.levels.append(nn.ModuleList(inner))
            self.skips += [w] * blocks
            now = w
        self.middle = nn.ModuleList([block(now, now, attend=True), block(now, now)])

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The middle's features (B, C_i, h, w), i being the last level, and the skips from the finest on."""
        beside, x = x, self.stem(x)
        skips = [x]
        for i, level in enumerate(self.levels):
            if i:
                x = self.halvings[i - 1](x, c)
                if self.residual:
                    x = beside = (x + self.pictures[i - 1](beside)) * math.sqrt(0.5)
                skips.append(x)
            for block in level.children():
                x = block(x, c)
                skips.append(x)
        for block in self.middle:
            x = block(x, c)
        return x, skips


class ResamplingUNet(Backbone):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``; H and W are multiples of 2^(levels - 1).

    Args:
        channels: C; ``out_channels`` is C_out, by default C.
        width: channels at the finest level; ``multiples`` of it at each level, fine to coarse.
        blocks: residual blocks at each level on the way down (one more on the way up).
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        heads: of attention; or ``head_width`` channels to a head.
        modulate: ADM: the vector scales and shifts, is added to the time's after its layers, not before, and every
            block on the way up attends at those levels, not the last of each alone.
        fourier: NCSN++'s embedding of the time: 2 ``width`` random frequencies.
        residual: NCSN++'s encoder, to which the picture itself is added at every level.
        taps: of the filter that halves and doubles.
        scale: of every sum of a residual.
    """

    time: TimeEmbedding
    frequencies: Tensor

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        width: int = 128,
        multiples: tuple[int, ...] = (2, 2, 2),
        blocks: int = 4,
        attention: tuple[int, ...] = (2,),
        heads: int = 1,
        head_width: int | None = None,
        modulate: bool = False,
        fourier: bool = False,
        residual: bool = False,
        taps: Taps = (1, 1),
        scale: float = math.sqrt(0.5),
    ) -> None:
        super().__init__()
        v, features, eps = 4 * width, 2 * width if fourier else width, 1e-5 if modulate else 1e-6
        self.modulate, self.fourier = modulate, fourier
        self.vector_width, self.context_width = v if modulate else features, 0
        self.stride = 2 ** (len(multiples) - 1)
        self.time = TimeEmbedding(v, features, ddpm=not modulate)
        self.register_buffer("frequencies", FOURIER_STD * torch.randn(features // 2) if fourier else torch.zeros(0))
        self.down = UNetEncoder(
            channels, v, width=width, multiples=multiples, blocks=blocks, attention=attention, heads=heads,
            head_width=head_width, modulate=modulate, scale=scale, taps=taps, residual=residual, eps=eps,
        )  # fmt: skip
        block, skips, now = self.down.block, list(self.down.skips), self.down.widths[-1]
        self.levels, self.doublings = nn.ModuleList(), nn.ModuleList()
        for i, w in reversed(list(enumerate(self.down.widths))):
            level = nn.ModuleList()
            for j in range(blocks + 1):
                level.append(block(now + skips.pop(), w, attend=2**i in attention and (modulate or j == blocks)))
                now = w
            self.levels.append(level)
            if i:
                self.doublings.append(block(now, now, Double(taps)))
        self.norm = group_norm(now, eps)
        self.out = nn.Conv2d(now, out_channels or channels, 3, padding=1)
        variance_scaling(self)
        for module in self.modules():  # the maps that end a residual
            if isinstance(module, ResamplingBlock):
                zero_init(module.conv2)
            elif isinstance(module, AttentionBlock):
                zero_init(module.attention.out)
        zero_init(self.out)

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
        h, skips = self.down(x, c)
        for i, level in enumerate(self.levels):
            if i:
                h = self.doublings[i - 1](h, c)
            for block in level.children():
                h = block(torch.cat([h, skips.pop()], 1), c)  # (B, C_i, 2 H, 2 W)
        return self.out(F.silu(self.norm(h))).to(x.dtype)

    def embed(self, time: Tensor, vector: Tensor | None, context: Tensor | None) -> Tensor:
        """As :class:`Backbone`'s, whose vector is F wide, and added before the layers, unless it is ADM's."""
        if self.modulate:
            return super().embed(time, vector, context)
        if self.fourier:
            # Random frequencies were made for numbers about 1.
            angle = 2 * math.pi / TIME_SCALE * time.float()[:, None] * self.frequencies  # (B, F / 2)
            known = torch.cat([angle.sin(), angle.cos()], 1)
        else:
            known = sinusoid(time, self.time.frequencies, ddpm=True)
        out: Tensor = self.time.mlp(known if vector is None else known + vector)
        return out


class NoisyClassifier(nn.Module):
    """ADM's classifier of noisy images: the way down and the middle, pooled by attention (Section 4).

    Images ``(B, C, H, W)`` of ``size`` at times ``(B,)`` to logits ``(B, K)``, K being ``classes``.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        classes: int,
        *,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 2, 3, 4),
        blocks: int = 2,
        attention: tuple[int, ...] = (2, 4, 8),
        head_width: int = 64,
    ) -> None:
        super().__init__()
        shrunk = 2 ** (len(multiples) - 1)
        if size[0] % shrunk or size[1] % shrunk:
            raise UsageError(f"{size[0]}x{size[1]} images cannot be halved {len(multiples) - 1} times: cut multiples")
        self.time = TimeEmbedding(4 * width, width)
        self.down = UNetEncoder(
            channels, 4 * width, width=width, multiples=multiples, blocks=blocks, attention=attention, heads=1,
            head_width=head_width, modulate=True, scale=1.0, taps=(1, 1), residual=False, eps=1e-5,
        )  # fmt: skip
        self.norm = group_norm(self.down.widths[-1], 1e-5)
        self.pool = AttentionPool(self.down.widths[-1], size[0] * size[1] // shrunk**2, head_width, classes)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h, _ = self.down(x, self.time(time))
        logits: Tensor = self.pool(F.silu(self.norm(h)))
        return logits


class AttentionPool(nn.Module):
    """The mean of all ``places`` looks once at each of them (Radford et al. 2021): ``(B, C, H, W)`` to ``(B, K)``."""

    def __init__(self, channels: int, places: int, head_width: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads_of(channels, head_width)
        self.position = nn.Parameter(torch.randn(1 + places, channels) * channels**-0.5)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, C)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + self.position
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(tokens).chunk(3, -1))
        out: Tensor = self.out(attend(q[:, :, :1], k, v).flatten(1))
        return out
