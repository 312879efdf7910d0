"""The masked autoregressive flow (Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057).

A chain of changes of variables, each of which makes every number standard normal given those before it.
Symbols -> code:
    x -> image, flattened    u -> latent    mu_i -> shift    alpha_i -> scale (its logarithm)    MADE -> layers
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.metrics.likelihood import LEVEL, dequantise
from zeuxis.nn.made import MADE
from zeuxis.rng import ImageRng, Rng

LIMIT = 4.0  # |alpha| stays below it, so that no rare number can stretch another without bound


class MAF(System):
    """``flows`` changes of variables over all numbers of a picture, their order turned round after each.

    ``spread`` is the standard deviation by which the data are divided first. ``level`` is the width over which
    the values of the data are spread evenly while it learns: one grey level of pictures, 0 for real numbers.
    One pass gives a likelihood; a sample takes as many as there are numbers, for each of the flows.
    """

    card = Card(
        "maf",
        title="Masked autoregressive flow",
        family="density",
        year=2017,
        paper="1705.07057",
        verbs={"sample", "encode", "decode", "log_prob"},
        knobs=("temperature",),
        departures=(
            "Pixels are divided by one number in place of a logit transformation.",
            "No batch normalisation between the flows: each begins as the identity, its log-scales bounded smoothly.",
            "SiLU in place of ReLU.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        flows: int = 5,
        widths: tuple[int, ...] = (512, 512),
        spread: float = 0.5,
        level: float = LEVEL,
    ) -> None:
        super().__init__()
        if flows < 1 or spread <= 0 or level < 0:
            raise UsageError(f"flows={flows}, spread={spread}, level={level}: at least 1, above 0 and not below 0")
        self.shape = Shape(*shape)
        self.d = math.prod(self.shape)
        self.spread, self.level = spread, level
        self.layers = nn.ModuleList(MADE(self.d, 2, widths=tuple(widths)) for _ in range(flows))

    def players(self) -> tuple[Player, ...]:
        return (Player("flow", (self.layers,), lr=1e-3, clip=10.0, decay="cosine"),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("flow", self.nll),)

    def nll(self, turn: Turn) -> Tensor:
        """-log p(x) in nats for each number, the mean over the batch (Eq. 1)."""
        image = turn.batch.image
        if self.level:
            image = dequantise(image, turn.rng, self.level)
        return -self._log_density(image).mean() / self.d

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """``(B, C, H, W)``, clamped to [-1, 1]; ``temperature`` scales u."""
        temperature = self.settings(how).temperature
        return self.decode(temperature * rng.normal(len(rng), self.d, device=self.device)).clamp(-1, 1)

    def encode(self, image: Tensor) -> Tensor:
        """u ``(B, d)``, standard normal if the model is right."""
        return self._flow(image)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """x ``(B, C, H, W)``: the inverse of :meth:`encode`, hence not clamped (Eq. 3, number by number)."""
        x, place = latent.float(), torch.arange(self.d, device=latent.device)
        for layer in reversed(self.layers):
            u, x = x.flip(1), torch.zeros_like(x)
            for i in range(self.d):
                shift, scale = _affine(layer, x)
                x = torch.where(place == i, u * scale.exp() + shift, x)
        return (x * self.spread).unflatten(1, self.shape)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log p(x) in nats ``(B,)``: exact, of the continuous density on [-1, 1]^d."""
        return self._log_density(image)

    def _log_density(self, image: Tensor) -> Tensor:
        u, log_slope = self._flow(image)
        return log_slope - 0.5 * u.square().sum(1) - 0.5 * self.d * math.log(2 * math.pi)

    def _flow(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """u ``(B, d)`` and log |det du/dx| ``(B,)`` (Eq. 4 and 5)."""
        x = image.flatten(1).float() / self.spread
        log_slope = x.new_full((len(x),), -self.d * math.log(self.spread))
        for layer in self.layers:
            shift, scale = _affine(layer, x)
            x = ((x - shift) * (-scale).exp()).flip(1)  # the next flow has the order reversed
            log_slope = log_slope - scale.sum(1)
        return x, log_slope


def _affine(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """mu and alpha ``(B, d)`` of every number given those before it, float32."""
    shift, raw = layer(x).float().unbind(1)
    return shift, LIMIT * torch.tanh(raw / LIMIT)
