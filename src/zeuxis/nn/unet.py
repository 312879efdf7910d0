"""One U-Net, from DDPM (Ho et al. 2020, 2006.11239) over ADM (2105.05233) to Stable Diffusion (2112.10752)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.nn.backbone import Backbone
from zeuxis.nn.embed import LabelEmbedding, TimeEmbedding
from zeuxis.nn.resblock import AttentionBlock, Downsample, ResBlock, Upsample, group_norm, zero_init
from zeuxis.nn.transformer import SpatialTransformer


class Stage(nn.Module):
    """A residual block, then attention to itself or to a text as well, if any."""

    def __init__(self, block: ResBlock, attention: AttentionBlock | None, reader: SpatialTransformer | None) -> None:
        super().__init__()
        self.block, self.attention, self.reader = block, attention, reader

    def forward(self, x: Tensor, c: Tensor, text: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.block(x, c)
        if self.attention is not None:
            x = self.attention(x)
        if self.reader is not None:
            x = self.reader(x, text, mask)
        return x


class Descent(nn.Module):
    """The stages of one resolution on the way down, then the halving, if any."""

    def __init__(self, stages: list[Stage], resample: Downsample | None) -> None:
        super().__init__()
        self.stages, self.resample = nn.ModuleList(stages), resample

    def forward(self, x: Tensor, c: Tensor, text: Tensor | None, mask: Tensor | None) -> list[Tensor]:
        """What every part made, in order: the skips of the way up, of which the last goes on down."""
        made = []
        for stage in self.stages:
            x = stage(x, c, text, mask)
            made.append(x)
        return made if self.resample is None else [*made, self.resample(x)]


class Ascent(nn.Module):
    """The stages of one resolution on the way up, each of which takes a skip, then the doubling, if any."""

    def __init__(self, stages: list[Stage], resample: Upsample | None) -> None:
        super().__init__()
        self.stages, self.resample = nn.ModuleList(stages), resample

    def forward(self, x: Tensor, skips: list[Tensor], c: Tensor, text: Tensor | None, mask: Tensor | None) -> Tensor:
        """Takes its skips from the end of ``skips``."""
        for stage in self.stages:
            x = stage(torch.cat([x, skips.pop()], 1), c, text, mask)
        return x if self.resample is None else self.resample(x)


class UNet(Backbone):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``; H and W are multiples of 2^(levels - 1).

    Args:
        channels: C, with those of anything concatenated. ``out_channels`` is C_out, by default C.
        width: channels at the finest level; ``multiples`` of it at each level, fine to coarse.
        blocks: residual blocks at each level on the way down (one more on the way up).
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which
            always has it: (2,) is 16 x 16 for images of 32 x 32.
        heads: of attention; or ``head_width`` channels to a head.
        text_width: E, the width of the text's vectors; more than 0 turns every attention into a
            transformer of ``reader_depth`` blocks that also attends to the text.
        classes: K; more than 0 adds ``labels``, the embedding of K classes and a null class.
        modulate: the vector scales and shifts (ADM) rather than being added (DDPM, SD).
        ddpm: Ho et al.'s order of the time embedding and asymmetric downsampling.
        eps: of the group norms (1e-6 in DDPM, 1e-5 in ADM and SD).
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (2,),
        heads: int = 1,
        head_width: int | None = None,
        text_width: int = 0,
        reader_depth: int = 1,
        classes: int = 0,
        modulate: bool = False,
        ddpm: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if unknown := set(attention) - {2**i for i in range(len(multiples))}:
            raise ValueError(f"no level is downsampled by {sorted(unknown)}: there are {len(multiples)} levels")
        vector = 4 * width
        widths = [width * m for m in multiples]
        self.reads = text_width > 0

        def stage(inputs: int, outputs: int, attend: bool) -> Stage:
            block = ResBlock(inputs, outputs, vector, modulate=modulate, zero=True, eps=eps)
            n = outputs // head_width if head_width else heads
            plain = AttentionBlock(outputs, n, zero=True, eps=eps) if attend and not text_width else None
            reader = SpatialTransformer(outputs, text_width, n, reader_depth) if attend and text_width else None
            return Stage(block, plain, reader)

        self.time = TimeEmbedding(vector, width, ddpm=ddpm)
        self.labels = LabelEmbedding(classes, vector) if classes else None
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        now, skips = width, [width]
        for i, w in enumerate(widths):
            last = i + 1 == len(widths)
            stages = [stage(now if j == 0 else w, w, 2**i in attention) for j in range(blocks)]
            self.down.append(Descent(stages, None if last else Downsample(w, asymmetric=ddpm)))
            skips += [w] * (blocks if last else blocks + 1)
            now = w
        self.middle = nn.ModuleList([stage(now, now, True), stage(now, now, False)])
        for i, w in reversed(list(enumerate(widths))):
            stages = []
            for _ in range(blocks + 1):
                stages.append(stage(now + skips.pop(), w, 2**i in attention))
                now = w
            self.up.append(Ascent(stages, Upsample(w) if i else None))
        self.norm = group_norm(now, eps)
        self.out = nn.Conv2d(now, out_channels or channels, 3, padding=1)
        zero_init(self.out)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Tensor:
        c = self.vector(time, label, text)  # (B, 4 width)
        skips = [self.stem(x)]
        for level in self.down:
            skips += level(skips[-1], c, text, text_mask)
        h = skips[-1]
        for stage in self.middle:
            h = stage(h, c, text, text_mask)
        for level in self.up:
            h = level(h, skips, c, text, text_mask)
        out: Tensor = self.out(F.silu(self.norm(h)))
        return out.to(x.dtype)
