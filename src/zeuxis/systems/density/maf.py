"""The masked autoregressive flow (Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057).

A chain of changes of variables, each of which makes every number standard normal given those before it.
Symbols -> code:
    x -> image, flattened    u -> latent    MADE -> layers    mu_i, alpha_i -> what a layer gives to MaskedAffine
Parts: ``distributions/`` autoregressive, affine and flow; ``nn/made``.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.affine import Divide, Flatten, Reverse
from zeuxis.distributions.autoregressive import MaskedAffine
from zeuxis.distributions.bijection import Bijection
from zeuxis.distributions.dequantise import LEVEL, dequantise
from zeuxis.distributions.flow import Flow
from zeuxis.distributions.normal import StandardNormal
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.made import MADE
from zeuxis.rng import ImageRng, Rng


class MAF(System):
    """Masked affine maps of all numbers of a picture, their order reversed after each.

    One pass gives a likelihood; a sample takes as many as there are numbers, for each of the maps.

    Args:
        flows: maps, one upon the other.
        widths: units of the hidden layers of each map's network, at least one fewer than the numbers of a picture.
        degrees: of the hidden units: "complete" refuses narrower layers; "even" admits them, and loses the dependencies
            between some near numbers (the refusal says how many); "cyclic" loses those on all numbers past the width.
        data_std: standard deviation of the data, by which they are divided first; above 0.
        level: width over which values of the data are dequantised in training: one grey level of pictures; 0 for real
            numbers.
    """

    card = Card(
        "maf",
        title="Masked autoregressive flow",
        family="density",
        year=2017,
        paper="1705.07057",
        verbs={"sample", "encode", "decode", "draw_latents", "log_prob"},
        knobs=("temperature",),
        departures=(
            "Pixels are divided by one number in place of a logit transformation.",
            "No batch normalisation between the flows: each begins as the identity, its log-scales bounded smoothly.",
            "SiLU in place of ReLU; Adam at 1e-3, falling along a cosine, in place of 1e-4 until validation stops it.",
            "Hidden layers narrower than the data, which lose dependencies, are refused unless asked for.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        flows: int = 5,
        widths: tuple[int, ...] = (512, 512),
        data_std: float = 0.5,
        level: float = LEVEL,
        degrees: str = "complete",
    ) -> None:
        super().__init__()
        if flows < 1 or data_std <= 0 or level < 0:
            raise UsageError(f"flows={flows}, data_std={data_std}, level={level}: at least 1, above 0 and not below 0")
        self.shape = Shape(*shape)
        self.d = math.prod(self.shape)
        self.data_std, self.level = data_std, level
        self.layers = nn.ModuleList(MADE(self.d, 2, widths=tuple(widths), degrees=degrees) for _ in range(flows))

    @property
    def flow(self) -> Flow:
        """u, standard normal (Eq. 3 to 5)."""
        maps: list[Bijection] = [Flatten(self.shape), Divide(self.data_std)]
        for layer in self.layers:
            maps += [MaskedAffine(layer), Reverse()]
        return Flow(tuple(maps), StandardNormal(self.d))

    def players(self) -> tuple[Player, ...]:
        return (Player("flow", (self.layers,), lr=1e-3, clip=10.0, decay="cosine"),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("flow", self.nll),)

    def nll(self, turn: Turn) -> Tensor:
        """-log p(x) in nats for each number, the mean over the batch (Eq. 1)."""
        image = turn.batch.image
        if self.level:
            image = dequantise(image, turn.rng, self.level)
        return -self.flow.log_prob(image.float()).mean() / self.d

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """``(B, C, H, W)``, clamped to [-1, 1]; ``temperature`` scales u."""
        return self.decode(self.draw_latents(condition, rng, how)).clamp(-1, 1)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """u ``(B, d)``."""
        return StandardNormal(self.d).sample(len(rng), rng, self.settings(how).temperature, self.device)

    def encode(self, image: Tensor) -> Tensor:
        """u ``(B, d)``, standard normal if the model is right."""
        return self.flow.forward_and_log_det(image.float())[0]

    def decode(self, latent: Tensor) -> Tensor:
        """x ``(B, C, H, W)``: the inverse of :meth:`encode`, hence not clamped."""
        return self.flow.inverse(latent.float())

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log p(x) in nats ``(B,)``: exact, of the continuous density on [-1, 1]^d."""
        return self.flow.log_prob(image.float())
