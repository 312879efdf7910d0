"""SR3: enlarge pictures by drawing them, from noise, beside the small one.

Saharia et al. 2021, "Image super-resolution via iterative refinement" (arXiv:2104.07636). Symbols -> code:
    x -> source, enlarged    y_0 -> image    gamma -> gamma    f_theta -> network    T -> chain
What it shares with Palette is in ``_diffusion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.path import Level
from zeuxis.diffusion.schedule import Spacing
from zeuxis.systems.restoration._diffusion import DrawingRestorer
from zeuxis.systems.restoration._family import scale_between


class SR3(DrawingRestorer):
    """A diffusion model of the large picture that sees the small one, enlarged by cubic interpolation.

    The scale is that of the data: pictures made smaller by ``bicubic:4`` are enlarged by 4.

    Args:
        network: a table of :data:`zeuxis.nn.networks.UNETS`: the network; DDPM's U-Net where none is named.
        chain: steps of the chain that training draws gamma from, T.
        first: variance that the chain's first step adds.
        last: that of its last.
        lr: learning rate.
        warmup: rounds in which the learning rate rises linearly to ``lr``.
        steps: levels that sampling calls the network at: default of the knob.
    """

    card = Card(
        "sr3",
        title="SR3",
        family="restoration",
        year=2021,
        paper="2104.07636",
        verbs={"sample", "denoiser"},
        needs={"source"},
        knobs=("steps", "sampler", "eta", "churn", "spacing"),
        departures=(
            "DDPM's U-Net unless another is named; the paper's has BigGAN's blocks. No dropout.",
            "The network is told of sqrt(gamma) by the embedding that others are told the time by.",
            "Sampling lays its levels over the training's own chain; the paper searches a schedule for them.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
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
        self.scale = scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "sr3")

    def given(self, condition: Condition) -> Tensor:
        source: Tensor = condition.required("source")
        if self.scale == 1:
            return source
        return interpolate(source, scale_factor=self.scale, mode="bicubic", align_corners=False).clamp(-1, 1)

    def told(self, gamma: Level) -> Level:
        found: Level = gamma**0.5
        return found

    def error(self, prediction: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """Eq. 6 with p = 1."""
        return (prediction - noise).abs().flatten(1).mean(1)
