"""The latents of a trained first stage, as a diffusion model of them sees them.

Rombach et al. 2022 (arXiv:2112.10752), section 3.1: a KL autoencoder's latent is a map of real numbers; a VQ
autoencoder's is the map of its codes' vectors, and the nearest code stands for whatever is decoded.

Axes: Z channels of a latent, h and w rows and columns of its map.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.game import System, Turn
from zeuxis.nn.code_cache import CodeCache
from zeuxis.nn.quantiser import Quantiser
from zeuxis.nn.vector_quantiser import VectorQuantiser


class LatentSpace:
    """Pictures of ``picture`` to maps ``(B, Z, h, w)`` and back, by a ``first_stage`` that never changes.

    Raises :class:`Unsupported` for a system that codes no pictures, or not as a map; :class:`UsageError` for one that
    was trained on pictures of another shape.
    """

    def __init__(self, first_stage: System, picture: Shape) -> None:
        name = first_stage.card.id
        mend = "give a first stage that does, such as kl-autoencoder, vqgan or vq-vae"
        if not {"encode", "decode"} <= first_stage.can or first_stage.conditions:
            raise Unsupported(f"'{name}' does not code pictures as they are and decode them: {mend}")
        if tuple(first_stage.shape) != tuple(picture):
            raise UsageError(
                f"the first stage '{name}' was trained on pictures of {tuple(first_stage.shape)}, not {tuple(picture)} "
                "(channels, rows, columns): set size to its own, or train one on this data"
            )
        self.first_stage = first_stage
        self.quantiser = _quantiser(first_stage)
        with torch.no_grad():
            latent = self._coded(torch.zeros(1, *picture, device=first_stage.device))
        if latent.ndim != 4:
            raise Unsupported(f"'{name}' codes a picture as a vector, not as a map: {mend} (or use latent-prior)")
        self.shape = Shape(*latent.shape[1:])
        self.factor = picture.height // self.shape.height  # f
        self.cache = CodeCache(picture, prod(self.shape))

    def encode(self, image: Tensor) -> Tensor:
        """The latents ``(B, Z, h, w)`` float32 of pictures ``(B, C, H, W)``, the same under autocast."""
        with torch.autocast(image.device.type, enabled=False):
            return self._coded(image).float()

    def _coded(self, image: Tensor) -> Tensor:
        latent = self.first_stage.encode(image)
        return latent if self.quantiser is None else self.quantiser.lookup(latent)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of latents ``(B, Z, h, w)``."""
        code = latent if self.quantiser is None else self.quantiser(latent).indices
        return self.first_stage.decode(code).float().clamp(-1, 1)

    def of_batch(self, batch: Batch) -> Tensor:
        """:meth:`encode` of a batch's pictures, each of which is coded once as long as it stays the same picture."""
        bits = self.cache.tokenise(_Bits(self), batch)  # (B, Z h w), whole numbers
        return bits.to(torch.int32).view(torch.float32).unflatten(1, tuple(self.shape))

    def diffused(self, turn: Turn, batch: Batch, scale: Tensor) -> Tensor:
        """What is diffused of a turn's ``batch``: its latents times ``scale``.

        That is a number of the model's, which the first turn sets, where it is 0: to :func:`measured_scale` of the
        pictures of all its parts.
        """
        if turn.first and not scale:
            every = turn.joined([self.of_batch(part.batch) for part in turn.parts])
            scale.copy_(measured_scale(every, self.first_stage))
        return scale * self.of_batch(batch)


def scale_at_first(given: float) -> Tensor:
    """The scale that a model begins with: a positive number, or 0 until it is measured; else :class:`UsageError`."""
    if given < 0:
        raise UsageError(f"scale {given}: latents are multiplied by a positive number, or by a measured one (0)")
    return torch.tensor(float(given))


def scale_in_use(scale: Tensor) -> Tensor:
    """The scale, or 1 of a model that has seen no batch: it leaves latents as they are."""
    return scale.where(scale > 0, 1.0)


def measured_scale(latent: Tensor, first_stage: System) -> Tensor:
    """What latents ``(B, Z, h, w)`` are multiplied by to have the deviation 1 (appendix G), over all their numbers.

    Raises :class:`WeightsError` where they are all the same, or not finite.
    """
    scale = 1 / latent.std(correction=0)
    if not torch.isfinite(scale):
        raise WeightsError(f"latents of '{first_stage.card.id}' are all the same, or not finite: train it again")
    return scale


class _Bits:
    """Latents as the bits of their numbers, int32, so that a cache of codes keeps them exactly."""

    def __init__(self, space: LatentSpace) -> None:
        self.space = space

    def encode(self, image: Tensor) -> Tensor:
        return self.space.encode(image).contiguous().view(torch.int32)

    def decode(self, latent: Tensor) -> Tensor:
        return self.space.decode(latent.view(torch.float32))


def _quantiser(first_stage: System) -> VectorQuantiser | None:
    """The codebook of a first stage with codes; None where its latents are real numbers."""
    if first_stage.codes is None:
        return None
    found = [module for module in first_stage.modules() if isinstance(module, Quantiser)]
    match found:
        case [VectorQuantiser() as one]:
            return one
        case _:
            raise Unsupported(
                f"'{first_stage.card.id}' has codes and not one codebook of vectors, which is what is diffused: give "
                "a vqgan or vq-vae with quantiser 'codebook', or a kl-autoencoder"
            )
