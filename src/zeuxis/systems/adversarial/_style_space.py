"""What the style-based generators share: codes for every layer, mixed in training, truncated when they draw.

Karras et al. 2018 (1812.04948), sections 2 and 3.1 and appendix B. Symbols -> code:
    z -> z, (B, nz)    w -> code, (B, W)    f -> generator.mapping    g -> generator.synthesis    psi -> truncation

Axes: L layers of the generator, W numbers of a style code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from zeuxis.batch import Batch, Condition
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.stylegan2 import StyleGenerator
from zeuxis.nn.within import within
from zeuxis.rng import ImageRng, Rng


def classes_told(condition: str, classes: int) -> int:
    """How many classes the networks are told of. Raises :class:`Unsupported` for the condition "label" without any."""
    known = lookup("condition", condition, {"none": 0, "label": classes})
    if condition == "label" and not known:
        raise Unsupported("condition 'label' needs data with classes: use labelled data, or condition 'none'")
    return known


class StyleSpace(System, ABC):
    """The verbs of a system that has a ``generator`` of styles. A subclass builds it, says how codes become pictures,
    and brings the game."""

    generator: StyleGenerator[Any]
    classes: int  # that the networks are told of
    nz: int

    @abstractmethod
    def drawn(self, codes: Tensor, rng: Rng, settings: SimpleNamespace) -> Tensor:
        """The pictures of codes ``(B, L, W)``, not bounded, as the knobs have it."""

    @abstractmethod
    def still(self, codes: Tensor, transform: Tensor | None = None) -> Tensor:
        """The same without chance; ``transform`` is the inverse of what the picture undergoes, ``(3, 3)``.

        Raises :class:`Unsupported` where the generator has no place for one.
        """

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.classes else ())

    def _fresh(self, turn: Turn, batch: Batch) -> Tensor:
        """A code for each layer ``(B, L, W)``, all alike, of a latent drawn for each picture."""
        z = turn.rng.normal(len(batch), self.nz, device=self.device)
        return self.generator.spread(self.generator.mapping(z, self._label(batch.condition)))

    def _mixed(self, turn: Turn, batch: Batch, share: float, layers: int | None = None) -> Tensor:
        """The same, but in a ``share`` of the rounds, from some layer on, those of a second latent (style mixing).

        Only the first ``layers`` are used, if not all.
        """
        codes = self._fresh(turn, batch)
        if not share or float(turn.rng.uniform(1)) >= share:
            return codes
        cut = 1 + int(turn.rng.integers((layers or self.generator.synthesis.layers) - 1, 1))
        return torch.cat([codes[:, :cut], self._fresh(turn, batch)[:, cut:]], 1)

    def _label(self, condition: Condition) -> Tensor | None:
        """The classes ``(B,)`` where the model was built for some."""
        if not self.classes:
            return None
        label: Tensor = condition.required("label")
        return label.to(self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.drawn(self.draw_latents(condition, rng, how), rng, self.settings(how)).clamp(-1, 1)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The codes ``(B, L, W)`` that a sample's layers are given; ``truncation`` draws them to their mean."""
        z = rng.normal(len(rng), self.nz, device=self.device)
        return self.styles(z, self._label(condition), self.settings(how).truncation)

    def latent_weights(self) -> Tensor:
        """The affine maps from code to styles of each layer, ``(L, C, W)``; those of fewer channels end in zeros."""
        return pad_sequence(self.generator.synthesis.affine_weights(), batch_first=True)

    def styles(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """The codes ``(B, L, W)`` of latents ``(B, nz)``, one a layer, all alike, drawn towards their mean."""
        return self.generator.truncated(self.generator.spread(self.generator.mapping(z, label)), truncation)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] under the same noise each.

        A latent is z ``(B, nz)``, or a code for each layer ``(B, L, W)`` as :meth:`styles` makes them.
        """
        if latent.ndim == 2 and self.classes:
            raise Unsupported("a latent alone has no picture in a model of classes: decode what styles() makes of both")
        if latent.ndim == 2 and latent.shape[1] != self.nz:
            raise UsageError(
                f"a latent z has {self.nz} numbers here, and this {latent.shape[1]}: of a style code w, the same for "
                f"all layers, give w[:, None].expand(-1, {self.style_layers}, -1)"
            )
        return within(self.still(self.styles(latent) if latent.ndim == 2 else latent))


class ToldDiscriminator(nn.Module):
    """A discriminator that is given beforehand what it takes beside a picture."""

    def __init__(self, net: nn.Module, *given: Any) -> None:
        super().__init__()
        self.net, self.given = net, given

    def forward(self, image: Tensor) -> Tensor:
        logit: Tensor = self.net(image, *self.given)
        return logit
