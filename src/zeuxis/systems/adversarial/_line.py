"""The game in one dimension, where the best discriminator is known: p / (p + q)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zeuxis.losses.adversarial import NonSaturating
from zeuxis.nn.maxout import MaxoutDiscriminator
from zeuxis.rng import Rng

STEPS = 400  # of the discriminator
SEEN = 0.05  # of either density's peak: where it is lower, there are hardly any points to learn from


@dataclass(frozen=True)
class ScalarNormal:
    """A normal distribution on the line."""

    mean: float
    std: float

    def density(self, x: Tensor) -> Tensor:
        """At points of any shape."""
        return torch.exp(-0.5 * ((x - self.mean) / self.std).square()) / (self.std * math.sqrt(2 * math.pi))

    def draw(self, n: int, rng: Rng) -> Tensor:
        """Points ``(n, 1)``."""
        return self.mean + self.std * rng.normal(n, 1)


def optimal_discriminator(samples: int, rng: Rng, steps: int = STEPS) -> float:
    """max |D(x) - p(x) / (p(x) + q(x))| over x, of a discriminator trained while the generator stands still.

    Goodfellow et al. 2014, Proposition 1: p the data's density, q the generator's. Each step sees ``samples``
    points of either, and x runs over where there are any to speak of.
    """
    data, model = ScalarNormal(-0.3, 0.2), ScalarNormal(0.3, 0.3)
    with torch.inference_mode(False), torch.enable_grad():
        net = small_discriminator(rng)
        optimiser = torch.optim.Adam(net.parameters(), 1e-2)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            loss = NonSaturating().critic(net(data.draw(samples, rng)), net(model.draw(samples, rng)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
        x = torch.linspace(-1.5, 1.5, 601)
        found = net(x[:, None]).detach().sigmoid()
    p, q = data.density(x), model.density(x)
    there = (p > SEEN * data.density(torch.tensor(data.mean))) | (q > SEEN * model.density(torch.tensor(model.mean)))
    return float((found - p / (p + q)).abs()[there].max())


def small_discriminator(rng: Rng) -> MaxoutDiscriminator:
    """One of points on the line, without dropout, its weights drawn from ``rng``."""
    net = MaxoutDiscriminator(1, units=12, pieces=4, keep_input=1.0, keep_hidden=1.0)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(rng.normal(*layer.weight.shape) / math.sqrt(layer.in_features))
                layer.bias.copy_(0.3 * rng.normal(*layer.bias.shape))  # pieces meet at different points
    return net
