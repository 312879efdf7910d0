"""Drifting models (Deng, Li, Li, Du & He 2026, "Generative modeling via drifting", arXiv:2602.04770).

One network maps noise to pictures at once. In training each drawn picture is moved along a field that points to
pictures of the data and away from other drawn ones, and is 0 where both are distributed alike; the network follows.

Paper -> code: f -> network, epsilon -> noise, x -> made, y^+ -> real, y^- -> made, phi_j -> features_of, S_j -> scale,
V -> drift, lambda_j -> size, tau -> temperatures, k -> the exponential of ``logit``.

Parts: nn/networks.py (and the one network that is chosen).

Axes: L places of a map, N drawn pictures, M real ones, D numbers of a feature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import unfold

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.networks import Ends, build_network
from zeuxis.rng import ImageRng, normal_like

LEAST = 1e-8  # of what is divided by: distances of pictures that are all the same, drifts that have ended


class Drifting(System):
    """One player: a network from noise to pictures, in one step.

    Args:
        network: a table of :data:`zeuxis.nn.networks.NETWORKS`: the network, a transformer on patches, a U-Net, or
            convolutions with a transformer in the middle; its time is always 0.
        features: a trained system whose ``encode`` is a space in which pictures drift besides that of their pixels;
            none leaves it at those. The paper needs one for photographs, and takes one that has learnt without labels.
        temperatures: of the kernel, tau, as shares of the mean distance of two pictures; their fields are added.
    """

    card = Card(
        "drifting",
        title="Drifting model",
        family="diffusion",
        year=2026,
        paper="2602.04770",
        departures=(
            "Unconditional: neither classes nor classifier-free guidance.",
            "No random style embeddings.",
            "Positives are the batch of data itself, as many as are drawn, without a queue.",
            "Features are those of one given system, at its one scale.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        network: Mapping[str, Any] | None = None,
        features: System | None = None,
        temperatures: tuple[float, ...] = (0.02, 0.05, 0.2),
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if not temperatures or min(temperatures) <= 0:
            raise UsageError(f"temperatures {list(temperatures)}: one or more numbers above 0 are wanted")
        self.temperatures = tuple(temperatures)
        self.network = build_network(network, Ends(self.shape))
        self.features = features
        if features is not None:
            if "encode" not in features.can or tuple(features.shape) != tuple(self.shape):
                raise Unsupported(
                    f"'{features.card.id}' does not encode pictures of {tuple(self.shape)}: give one that does"
                )
            self.freeze(features)
        self.player = Player(
            "network", (self.network,), lr=2e-4, betas=(0.9, 0.95), optimiser="adamw", weight_decay=0.01, clip=2.0
        )

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.drift),)

    def drift(self, turn: Turn) -> Tensor:
        """Algorithm 1 in every space of features (Eq. 14), each normalised by itself (Appendix A.6)."""
        real = turn.batch.image  # (B, C, H, W)
        if len(real) < 2:
            raise UsageError("drifting compares the pictures of a batch: set train.batch to 2 or more for each part")
        made = self.generate(normal_like(real, turn.rng))
        with torch.no_grad():
            wanted = self.features_of(real)
        losses = []
        for x, y in zip(self.features_of(made), wanted, strict=True):  # (L, N, D) and (L, M, D)
            with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                scale = mean_distance(x, y) / math.sqrt(x.shape[-1])  # Eq. 21
                moved = x / scale + sum(self.field(x / scale, y / scale, tau) for tau in self.temperatures)
            losses.append((x / scale - moved).square().mean())  # Eq. 26
        return torch.stack(losses).sum()

    def field(self, x: Tensor, y: Tensor, temperature: float) -> Tensor:
        """V (L, N, D) at the features ``x`` (L, N, D), real ones being ``y`` (L, M, D), of unit size (Eq. 23 to 25)."""
        v = drifting_field(x, y, x, temperature * math.sqrt(x.shape[-1]), alone=True)  # Eq. 22
        size = v.square().mean().sqrt()
        return v / size.clamp(min=LEAST)

    def features_of(self, image: Tensor) -> list[Tensor]:
        """phi_j, each (L, B, D): the picture itself, and what the given system makes of it (Appendix A.5).

        Of a vector that is all; of a map each place, its means and its deviations, of all of it and of patches.
        """
        found = [image.float().flatten(1)[None]]
        if self.features is not None:
            code = self.features.encode(image).float()
            found += [code[None]] if code.ndim == 2 else map_features(code)
        return found

    def generate(self, noise: Tensor) -> Tensor:
        """Pictures (B, C, H, W) of noise of that shape."""
        made: Tensor = self.network(noise, noise.new_zeros(len(noise)))
        return made.float()

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Pictures of fresh noise, in one pass."""
        self.settings(how)  # refuses knobs that there are not
        return self.generate(rng.normal(len(rng), *self.shape, device=self.device)).clamp(-1, 1)


def drifting_field(x: Tensor, positive: Tensor, negative: Tensor, temperature: float, *, alone: bool = False) -> Tensor:
    """V (..., N, D) of Eq. 11 at ``x`` (..., N, D): towards ``positive``, away from ``negative`` (Algorithm 2).

    ``alone``: the negatives are ``x`` itself, of which none repels itself.
    """
    logit_pos, logit_neg = (-_distances(x, y) / temperature for y in (positive, negative))  # Eq. 12
    if alone:
        own = torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
        logit_neg = logit_neg.masked_fill(own, -torch.inf)
    logit = torch.cat([logit_pos, logit_neg], -1)
    kernel = (logit.softmax(-1) * logit.softmax(-2)).sqrt()  # normalised over y, and over x
    k_pos, k_neg = kernel.split([positive.shape[-2], negative.shape[-2]], -1)
    toward = (k_pos * k_neg.sum(-1, keepdim=True)) @ positive
    away = (k_neg * k_pos.sum(-1, keepdim=True)) @ negative
    return toward - away


def mean_distance(x: Tensor, y: Tensor) -> Tensor:
    """The mean distance of the rows of ``x`` (L, N, D) from those of ``y`` and from one another (Eq. 20)."""
    n, m = x.shape[-2], y.shape[-2]
    total = _distances(x, y).sum() + _distances(x, x).sum()  # from itself it is 0
    return (total / (len(x) * n * (m + n - 1))).clamp(min=LEAST)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def map_features(maps: Tensor) -> list[Tensor]:
    """Of maps (B, C, H, W) the vectors of Appendix A.5, each (L, B, C): (a) places, (b) all, (c, d) patches of 2, 4."""
    sides = maps.shape[2:]
    found = [maps.flatten(2).permute(2, 0, 1)]
    for patch in (sides, (2, 2), (4, 4)):
        if all(side % p == 0 for side, p in zip(sides, patch, strict=True)):
            cut = unfold(maps, patch, stride=patch).unflatten(1, (maps.shape[1], -1))  # (B, C, pixels of one, L)
            mean, deviation = cut.mean(2), (cut.var(2, correction=0) + LEAST).sqrt()
            found += [mean.permute(2, 0, 1), deviation.permute(2, 0, 1)]
    return found
