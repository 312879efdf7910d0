"""Binary units in two layers that depend on each other and not among themselves: what Boltzmann machines are made of.

Smolensky 1986. The partition function by annealed importance sampling: Salakhutdinov & Murray 2008, "On the
quantitative analysis of deep belief networks", ICML (doi:10.1145/1390156.1390266). Symbols -> code:
    v in {0, 1}^D, h in {0, 1}^F    W -> weight (D, F)    b -> bias (D,)    a -> hidden_bias (F,)
    p*(v) -> exp(-free_energy)      Z -> exp(log_z)       beta_k -> beta    b_A -> base (D,)
    w_AIS -> weights, in logs

Axes: D visible units, F hidden units.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.rng import Rng, Stream

MOST_ENUMERATED = 16  # hidden units up to which Z is summed exactly: 65,536 states
CLAMP = 0.02  # base rates stay this far from 0 and 1, so that every state can be reached
BURN_IN = 100  # sweeps from which the base rates are taken


class LogZ(NamedTuple):
    """A log partition function."""

    value: float
    spread: float | None  # its standard deviation from annealing to annealing; None where it is exact, or there is one


class Boltzmann(nn.Module):
    """D visible and F hidden units; without hidden units (F = 0) the visible ones are independent.

    ``particles`` are chains that it keeps, to learn from (persistent contrastive divergence, Tieleman 2008,
    doi:10.1145/1390156.1390290).
    """

    chains: Tensor  # (particles, D)
    begun: Tensor  # (), whether the bias has been set from data

    def __init__(self, visible: int, hidden: int, particles: int = 0) -> None:
        super().__init__()
        self.register_buffer("chains", torch.zeros(particles, visible))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self.weight = nn.Parameter(0.01 * torch.randn(visible, hidden))  # W
        self.bias = nn.Parameter(torch.zeros(visible))  # b
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))  # a

    @property
    def visible(self) -> int:
        return self.weight.shape[0]

    @property
    def hidden(self) -> int:
        return self.weight.shape[1]

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log p*(v) ``(B,)``: the hidden units summed out."""
        return -(v @ self.bias) - F.softplus(v @ self.weight + self.hidden_bias).sum(1)

    def upward(self, v: Tensor) -> Tensor:
        """Log-odds of the hidden units given the visible ones, ``(B, F)``."""
        return v @ self.weight + self.hidden_bias

    def downward(self, h: Tensor) -> Tensor:
        """Log-odds of the visible units given the hidden ones, ``(B, D)``."""
        return h @ self.weight.T + self.bias

    def step(self, v: Tensor, rng: Rng) -> Tensor:
        """One sweep of Gibbs: h given v, then v given h."""
        return bernoulli(self.downward(bernoulli(self.upward(v), rng)), rng)

    @torch.no_grad()
    def begin(self, data: Tensor) -> None:
        """Set b to the log-odds of the data's units (Hinton 2010, "A practical guide to training restricted Boltzmann
        machines", UTML TR 2010-003, section 8.1): once, before all else.

        From b = 0 the machine first gives its mass to uniform bits, which chains never quite leave later.
        """
        self.bias.copy_(data.mean(0).clamp(CLAMP, 1 - CLAMP).logit())
        self.begun.fill_(True)

    @torch.no_grad()
    def gibbs_chain(self, data: Tensor, gibbs: int, rng: Rng) -> Tensor:
        """The ends ``(B, D)`` of ``gibbs`` sweeps from where the chains were left; without any, from the data (CD-k).

        Kept chains begin black, which one sweep turns into draws near ``b``: those that begin at data do not reach the
        states far from it to which the machine comes to give mass.
        """
        chain = self.chains if len(self.chains) else data
        for _ in range(gibbs):
            chain = self.step(chain, rng)
        return chain

    @torch.no_grad()
    def keep(self, chain: Tensor) -> None:
        """Leave the chains here, if any are kept."""
        if len(self.chains):
            self.chains.copy_(chain)

    def contrastive_divergence(self, data: Tensor, chain: Tensor) -> Tensor:
        """E_data [F(v)] - E_chain [F(v)], whose gradient is that of contrastive divergence (Hinton 2002, Eq. 5)."""
        return self.free_energy(data).mean() - self.free_energy(chain).mean()

    @torch.no_grad()
    def log_z(self, temperatures: int, runs: int, repeats: int) -> LogZ:
        """log Z: exact up to 16 hidden units, above by ``repeats`` annealings of ``runs`` chains each."""
        if self.hidden <= MOST_ENUMERATED:
            return LogZ(self.enumerated(), None)
        return self.annealed(temperatures, runs, repeats, Stream(0, "log_z"))

    @torch.no_grad()
    def enumerated(self) -> float:
        """log sum_h exp(a'h + sum_i softplus(b_i + W_i h)): exact."""
        device = self.weight.device
        states = torch.arange(2**self.hidden, device=device)
        h = ((states[:, None] >> torch.arange(self.hidden, device=device)) & 1).double()  # (2^F, F)
        weight, bias, hidden_bias = self.weight.double(), self.bias.double(), self.hidden_bias.double()
        total = [part @ hidden_bias + F.softplus(part @ weight.T + bias).sum(1) for part in h.split(4096)]
        return float(torch.cat(total).logsumexp(0))

    @torch.no_grad()
    def annealed(self, temperatures: int, runs: int, repeats: int, rng: Rng) -> LogZ:
        """log of the mean of w_AIS, from independent units b_A to this machine (Salakhutdinov & Murray, Eq. 12).

        b_A are the log-odds of the units' means under short chains of the machine itself; from there evenly spaced
        temperatures vary less than the paper's, which are dense near 1. The mean is over the chains
        of all annealings, which begin at one b_A; the spread is the standard deviation of what each says. The
        estimate of Z is unbiased: that of log Z is on average too low, the more so, the larger the spread.
        """
        v = bernoulli(self.bias.new_zeros(repeats * runs, self.visible), rng)
        for _ in range(BURN_IN):
            v = self.step(v, rng)
        base = v.mean(0).clamp(CLAMP, 1 - CLAMP).logit()  # b_A
        v = bernoulli(base.expand(len(v), -1), rng)
        weights = torch.zeros(len(v), dtype=torch.float64, device=self.weight.device)
        for before, beta in pairwise(k / temperatures for k in range(temperatures + 1)):
            up, tilt = self.upward(v), v @ (self.bias - base)
            # log p*_beta(v) at the two temperatures (Eq. 14); what does not depend on beta cancels
            gain = (beta - before) * tilt + (F.softplus(beta * up) - F.softplus(before * up)).sum(1)
            weights += gain.double()
            h = bernoulli(beta * up, rng)  # Eq. 16
            v = bernoulli((1 - beta) * base + beta * self.downward(h), rng)  # Eq. 17
        weights += F.softplus(base).double().sum() + self.hidden * math.log(2)  # log Z_A
        each = weights.view(repeats, runs).logsumexp(1) - math.log(runs)  # log Z by each annealing
        value = float(each.logsumexp(0) - math.log(repeats))
        return LogZ(value, float(each.std()) if repeats > 1 else None)


def bernoulli(log_odds: Tensor, rng: Rng) -> Tensor:
    """0 or 1, with probability sigmoid(``log_odds``) (B, ...) of 1."""
    return (rng.uniform(*log_odds.shape, device=log_odds.device) < log_odds.sigmoid()).float()


def binarise(image: Tensor) -> Tensor:
    """Pixels above mid-grey as 1, the others as 0: ``(B, C, H, W)`` to ``(B, D)``."""
    return (image.flatten(1) > 0).float()
