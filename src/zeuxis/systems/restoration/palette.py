"""Palette: colour, fill, extend and clean pictures by drawing them, from noise, beside the one that is given.

Saharia et al. 2021, "Palette: image-to-image diffusion models" (arXiv:2111.05826). Symbols -> code:
    x -> source    y_0 -> image    gamma -> gamma    f_theta -> network    T -> chain
What it does is what its data are: pairs by ``grey`` (colour), ``jpeg:10``, or, with condition "mask", ``strokes``,
``hole`` (fill) and ``uncrop`` (extend). What it shares with SR3 is in ``_diffusion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.path import Level
from zeuxis.diffusion.schedule import Spacing
from zeuxis.errors import UsageError, lookup
from zeuxis.systems.restoration._diffusion import DrawingRestorer
from zeuxis.systems.restoration._family import CONDITIONS, scale_between


class PaletteDiffusion(DrawingRestorer):
    """A diffusion model of the picture that sees the damaged one; with ``condition`` "mask" it makes what is hidden.

    Args:
        condition: "none", and it makes the whole picture anew; "mask", and what the mask leaves is kept as it is, in
            training as in drawing, and the loss is of what is hidden.
        network: a table of :data:`zeuxis.nn.networks.UNETS`: the network; DDPM's U-Net where none is named.
        chain: steps of the chain that training draws gamma from, T.
        first: variance that the chain's first step adds.
        last: that of its last.
        lr: learning rate.
        warmup: rounds in which the learning rate rises linearly to ``lr``.
        steps: levels that sampling calls the network at: default of the knob.
    """

    card = Card(
        "palette",
        title="Palette",
        family="restoration",
        year=2021,
        paper="2111.05826",
        verbs={"sample", "denoiser"},
        needs={"source"},
        accepts={"mask"},
        knobs=("steps", "sampler", "eta", "churn", "spacing"),
        departures=(
            "DDPM's U-Net unless another is named. No dropout.",
            "What is hidden is middle grey in the given picture, not noise: the noisy picture beside it says where.",
            "Sampling lays its levels over the training's own chain; the paper has another chain for it.",
        ),
    )
    scale = 1

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        condition: Literal["none", "mask"] = "none",
        network: Mapping[str, Any] | None = None,
        chain: int = 2000,
        first: float = 1e-6,
        last: float = 1e-2,
        lr: float = 1e-4,
        warmup: int = 10_000,
        steps: int = 100,
        sampler: str = "ancestral",
        spacing: Spacing = "karras",
    ) -> None:
        super().__init__(shape, network=network, chain=chain, first=first, last=last, lr=lr, warmup=warmup)
        self.masked = condition == "mask"
        self.obeyed = lookup("condition", condition, CONDITIONS)
        if scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "palette") != 1:
            raise UsageError("'palette' keeps a picture's size: use --pair grey, or sr3 to enlarge")

    @property
    def conditions(self) -> frozenset[str]:
        return self.obeyed

    def given(self, condition: Condition) -> Tensor:
        source: Tensor = condition.required("source")
        return source * (1 - condition.required("mask")) if self.masked else source

    def told(self, gamma: Level) -> Level:
        return gamma

    def error(self, prediction: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Eq. 2, where the picture is hidden alone."""
        square = (prediction - noise).square()  # (B, C, H, W)
        if not self.masked:
            return square.flatten(1).mean(1)
        mask = condition.required("mask").expand_as(square)
        return (square * mask).flatten(1).sum(1) / mask.flatten(1).sum(1).clamp_min(1)

    def known(self, noisy: Tensor, picture: Tensor, condition: Condition) -> Tensor:
        """What the mask leaves of ``picture``, and the rest of ``noisy``."""
        return noisy.where(condition.required("mask") > 0, picture) if self.masked else noisy
