"""The first stage of Stable Diffusion as a network alone: a KL autoencoder's two halves, without critic or losses.

Rombach et al. 2022 (arXiv:2112.10752), section 3.1 and appendix G. Its layers bear the names of
:class:`zeuxis.systems.autoencoder.kl_autoencoder.KLAutoencoder`, which trains one: one key map is of both.

Axes: f the factor between the sides of pictures and latents, Z channels of a latent, h and w its rows and columns.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from zeuxis.nn.autoencoder import Decoder, Encoder
from zeuxis.nn.tiles import decode_in_tiles


class KLStage(nn.Module):
    """Colour pictures ``(B, 3, H, W)`` in [-1, 1] to scaled latents ``(B, Z, H / f, W / f)`` and back.

    The keywords are those of :func:`first_stage`. Under autocast to float16, in which published first stages overflow,
    it computes in the precision of its weights.
    """

    def __init__(
        self,
        *,
        latent: int,
        width: int,
        multiples: tuple[int, ...],
        blocks: int,
        attention: tuple[int, ...],
        scale: float,
    ) -> None:
        super().__init__()
        self.latent, self.width, self.factor, self.scale = latent, width, 2 ** (len(multiples) - 1), scale
        both = 2 * latent  # a mean and a log-variance
        self.encoder = Encoder(3, both, width=width, multiples=multiples, blocks=blocks, attention=attention)
        self.into_moments = nn.Conv2d(both, both, 1)
        self.from_latent = nn.Conv2d(latent, latent, 1)
        self.decoder = Decoder(latent, 3, width=width, multiples=multiples, blocks=blocks, attention=attention)

    def moments(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of q(z|x), scaled, each ``(B, Z, H / f, W / f)``, float32."""
        with _without_float16(image):
            mean, logvar = self.into_moments(self.encoder(image)).float().chunk(2, dim=1)
        return self.scale * mean, self.scale * (logvar.clamp(-30, 20) / 2).exp()

    def encode(self, image: Tensor) -> Tensor:
        """The posterior's mean, scaled."""
        return self.moments(image)[0]

    def decode(self, latent: Tensor, tile: int = 0) -> Tensor:
        """Pictures ``(B, 3, f h, f w)`` of scaled latents, unbounded, float32.

        With ``tile`` that many rows and columns of latents are decoded at a time (:mod:`zeuxis.nn.tiles`).
        """
        unscaled = latent.float() / self.scale
        if tile and tile < max(latent.shape[2:]):
            return decode_in_tiles(self._decode, unscaled, tile, tile // 4)
        return self._decode(unscaled)

    def _decode(self, z: Tensor) -> Tensor:
        with _without_float16(z):
            y: Tensor = self.decoder(self.from_latent(z)).float()
        return y


def first_stage(
    *,
    latent: int = 4,
    width: int = 128,
    multiples: tuple[int, ...] = (1, 2, 4, 4),
    blocks: int = 2,
    attention: tuple[int, ...] = (),
    scale: float = 0.18215,
) -> KLStage:
    """The keys of ``[model.first_stage]``; the defaults are those of 1.x and 2.x, and XL's but for its scale, 0.13025.

    Args:
        latent: channels of a latent.
        width: channels at the finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level of the encoder; the decoder has one more.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the coarsest level.
        scale: what a latent is multiplied by before it is diffused: one over its standard deviation over much data.
    """
    return KLStage(
        latent=latent,
        width=width,
        multiples=tuple(multiples),
        blocks=blocks,
        attention=tuple(attention),
        scale=scale,
    )


def _without_float16(x: Tensor) -> AbstractContextManager[object]:
    kind = x.device.type
    half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    return torch.autocast(kind, enabled=False) if half else nullcontext()
