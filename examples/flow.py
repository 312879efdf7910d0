"""A normalising flow from parts: two masked networks, a change of variables each, fitted to a ring of points."""

import math

import torch
from torch import Tensor, nn

from zeuxis.nn.made import MADE
from zeuxis.rng import Stream


def ring(n: int, rng: Stream) -> Tensor:
    """``(n, 2)`` points near a circle of radius 1."""
    angle, radius = 2 * math.pi * rng.uniform(n), 1 + 0.1 * rng.normal(n)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


def log_prob(flow: nn.ModuleList, x: Tensor) -> Tensor:
    """log p(x) in nats ``(n,)``: each layer makes a number standard normal given those before it."""
    log_det = torch.zeros(len(x))
    for made in flow:
        shift, log_scale = made(x).unbind(1)
        log_scale = 2 * torch.tanh(log_scale / 2)  # bounded, so that no rare point stretches another without end
        x = ((x - shift) * (-log_scale).exp()).flip(1)  # the other number comes first in the next layer
        log_det = log_det - log_scale.sum(1)
    return -0.5 * (x.square() + math.log(2 * math.pi)).sum(1) + log_det


def main(rounds: int = 100) -> tuple[float, float]:
    """The mean log-likelihood of new points before and after the fit, in nats."""
    rng = Stream(0)
    flow = nn.ModuleList(MADE(2, 2, widths=(32, 32)) for _ in range(4))
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    held_out = ring(1000, Stream(1))
    before = float(log_prob(flow, held_out).mean().detach())
    for _ in range(rounds):
        optimiser.zero_grad()
        (-log_prob(flow, ring(128, rng)).mean()).backward()
        optimiser.step()
    return before, float(log_prob(flow, held_out).mean().detach())


if __name__ == "__main__":
    print("log-likelihood of new points: {:.3f} nats before, {:.3f} after".format(*main()))
