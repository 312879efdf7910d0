"""What the style-based generators share: codes for every layer, mixed in training, truncated when they draw.

Karras et al. 2018 (1812.04948), sections 2 and 3.1 and appendix B. Symbols -> code:
    z -> z, (B, nz)    w -> code, (B, W)    f -> generator.mapping    g -> generator.synthesis    psi -> truncation

Axes: L layers of the generator, W numbers of a style code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition
from zeuxis.errors import Unsupported
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.stylegan2 import Noise, StyleGenerator
from zeuxis.rng import ImageRng


class StyleSpace(System):
    """The verbs of a system that has a ``generator`` of styles. A subclass builds it and brings the game."""

    generator: StyleGenerator[Any]
    labelled: bool
    nz: int
    mixing: float  # how often a picture's later layers are given the code of another latent

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.labelled else ())

    def _codes(self, turn: Turn, batch: Batch, layers: int | None = None) -> Tensor:
        """A code for each layer ``(B, L, W)``: from some layer on, mostly, those of a second latent (style mixing).

        Only the first ``layers`` are used, if not all.
        """
        label, used = self._label(batch.condition), layers or self.generator.synthesis.layers
        codes = self._drawn(turn, len(batch), label)
        if not self.mixing or float(turn.rng.uniform(1)) >= self.mixing:
            return codes
        cut = 1 + int(turn.rng.integers(used - 1, 1))
        return torch.cat([codes[:, :cut], self._drawn(turn, len(batch), label)[:, cut:]], 1)

    def _drawn(self, turn: Turn, n: int, label: Tensor | None) -> Tensor:
        z = turn.rng.normal(n, self.nz, device=self.device)
        return self.generator.spread(self.generator.mapping(z, label))

    def _label(self, condition: Condition) -> Tensor | None:
        """The classes ``(B,)`` where the model was built for some."""
        if not self.labelled:
            return None
        label: Tensor = condition.required("label")
        return label.to(self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        settings = self.settings(how)
        z = rng.normal(len(rng), self.nz, device=self.device)
        codes = self.styles(z, self._label(condition), settings.truncation)
        return self.pictures(codes, rng if settings.noise == "random" else settings.noise)

    def styles(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """The codes ``(B, L, W)`` of latents ``(B, nz)``, one a layer, all alike, drawn towards their mean."""
        return self.generator.truncated(self.generator.spread(self.generator.mapping(z, label)), truncation)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] under the same noise each.

        A latent is z ``(B, nz)``, or a code for each layer ``(B, L, W)`` as :meth:`styles` makes them.
        """
        if latent.ndim == 2 and self.labelled:
            raise Unsupported("a latent alone has no picture in a model of classes: decode what styles() makes of both")
        return self.pictures(self.styles(latent) if latent.ndim == 2 else latent, "constant")

    def pictures(self, codes: Tensor, noise: Noise) -> Tensor:
        """Of codes for each layer ``(B, L, W)``."""
        image: Tensor = self.generator.synthesis(codes, noise)
        return image.clamp(-1, 1)


class ToldDiscriminator(nn.Module):
    """A discriminator that is given beforehand what it takes beside a picture."""

    def __init__(self, net: nn.Module, *given: Any) -> None:
        super().__init__()
        self.net, self.given = net, given

    def forward(self, image: Tensor) -> Tensor:
        logit: Tensor = self.net(image, *self.given)
        return logit
