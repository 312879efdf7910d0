"""The encoder and decoder of VQGAN (Esser et al. 2021, 2012.09841) and of latent diffusion's first stages (2112.10752).

Group norms of 32 and eps 1e-6, SiLU, attention of one head, no time. VQGAN f16 is ``multiples``
(1, 1, 2, 2, 4) with ``attention`` (16,) and 256 latent channels; the KL autoencoder of Stable Diffusion
(1, 2, 4, 4) without attention but in the middle, and 2 x 4 latent channels.

Axes: f the factor, h and w rows and columns of latents.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.nn.resblock import AttentionBlock, Downsample, ResBlock, Upsample, group_norm


def _level(inputs: int, outputs: int, blocks: int, attend: bool, resample: nn.Module | None) -> nn.Sequential:
    """``blocks`` residual blocks, each followed by attention if there is any, then the way to the next level."""
    layers: list[nn.Module] = []
    for i in range(blocks):
        layers += [ResBlock(outputs if i else inputs, outputs)] + ([AttentionBlock(outputs)] if attend else [])
    return nn.Sequential(*layers, *([resample] if resample is not None else []))


def _middle(width: int) -> nn.Sequential:
    return nn.Sequential(ResBlock(width, width), AttentionBlock(width), ResBlock(width, width))


class Encoder(nn.Module):
    """Images ``(B, C, H, W)`` to ``(B, outputs, H / f, W / f)`` with f = 2^(levels - 1).

    Args:
        channels, outputs: C, and the latent's channels (twice as many for a mean and a log-variance).
        width, multiples: channels of the levels, fine to coarse, are ``width`` times ``multiples``.
        blocks: residual blocks of a level.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 1, 2, 2, 4),
        blocks: int = 2,
        attention: tuple[int, ...] = (16,),
    ) -> None:
        super().__init__()
        widths = [width * m for m in multiples]
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.levels = nn.Sequential()
        now = width
        for i, w in enumerate(widths):
            down = Downsample(w, asymmetric=True) if i + 1 < len(widths) else None
            self.levels.append(_level(now, w, blocks, 2**i in attention, down))
            now = w
        self.middle = _middle(now)
        self.norm = group_norm(now)
        self.out = nn.Conv2d(now, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.middle(self.levels(self.stem(x)))
        z: Tensor = self.out(F.silu(self.norm(h)))
        return z


class Decoder(nn.Module):
    """Latents ``(B, inputs, h, w)`` to ``(B, C, f h, f w)``, unbounded; each level has a block more than the encoder's.

    ``out.weight`` is the last layer, which the adaptive weight of VQGAN's critic is measured at.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        *,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 1, 2, 2, 4),
        blocks: int = 2,
        attention: tuple[int, ...] = (16,),
    ) -> None:
        super().__init__()
        now = width * multiples[-1]
        self.stem = nn.Conv2d(inputs, now, 3, padding=1)
        self.middle = _middle(now)
        self.levels = nn.Sequential()
        for i, w in reversed([(i, width * m) for i, m in enumerate(multiples)]):
            self.levels.append(_level(now, w, blocks + 1, 2**i in attention, Upsample(w) if i else None))
            now = w
        self.norm = group_norm(now)
        self.out = nn.Conv2d(now, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.levels(self.middle(self.stem(z)))
        x: Tensor = self.out(F.silu(self.norm(h)))
        return x
