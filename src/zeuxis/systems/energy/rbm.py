"""The restricted Boltzmann machine, learnt by contrastive divergence.

Smolensky 1986; Hinton 2002, "Training products of experts by minimizing contrastive divergence", Neural Computation
14 (doi:10.1162/089976602760128018). Its partition function by annealed importance sampling: Salakhutdinov & Murray
2008, "On the quantitative analysis of deep belief networks", ICML (doi:10.1145/1390156.1390266). Symbols -> code:
    v in {0, 1}^D -> visible, an image's pixels above mid-grey    h in {0, 1}^F -> hidden
    W -> weight (D, F)    b -> bias (D,)    a -> hidden_bias (F,)    p*(v) -> exp(-free_energy)
    Z -> exp(log_z)       beta_k -> beta    b_A -> base (D,)         w_AIS -> weights, in logs
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, Sampling, System, Turn
from zeuxis.rng import ImageRng, Rng, Stream

MOST_ENUMERATED = 16  # hidden units up to which Z is summed exactly: 65,536 states
CLAMP = 0.02  # base rates stay this far from 0 and 1, so that every state can be reached


class RBM(System):
    """Visible and hidden units that depend on each other, and not among themselves.

    ``gibbs`` is the number of steps of each negative chain (the k of CD-k). With ``particles`` > 0 the chains
    are kept from round to round (persistent contrastive divergence, Tieleman 2008,
    doi:10.1145/1390156.1390290) and that many in number; with 0 they start at the data. With ``hidden`` 0 it is
    the factorised model: independent pixels. ``temperatures`` and ``runs`` are those of the annealing.
    """

    discrete = True
    card = Card(
        "rbm",
        title="Restricted Boltzmann machine",
        family="energy",
        year=2002,
        paper="Hinton 2002, Neural Computation 14, 1771-1800",
        verbs={"sample", "encode", "decode", "log_prob"},
        knobs={"steps"},
        departures=(
            "The update is the gradient of two free energies' difference: hidden units are summed out, not sampled.",
            "Adam in place of stochastic gradient ascent with momentum.",
            "Pixels are set to black or white at mid-grey, not at random.",
        ),
    )
    chains: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: int = 256,
        gibbs: int = 1,
        particles: int = 0,
        temperatures: int = 2000,
        runs: int = 100,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        if hidden < 0 or gibbs < 1 or particles < 0 or temperatures < 1 or runs < 1:
            raise UsageError(f"hidden={hidden}, gibbs={gibbs}, particles={particles}: none below 0, gibbs at least 1")
        self.shape = Shape(*shape)
        self.gibbs, self.particles, self.temperatures, self.runs, self.lr = gibbs, particles, temperatures, runs, lr
        d = self.shape.channels * self.shape.height * self.shape.width
        self.weight = nn.Parameter(0.01 * torch.randn(d, hidden))  # W
        self.bias = nn.Parameter(torch.zeros(d))  # b
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))  # a
        self.register_buffer("chains", torch.zeros(particles, d))
        self.known: tuple[tuple[int, ...], float] | None = None  # log Z, and of which version of the parameters

    # -- the game ---------------------------------------------------------------------------------

    def players(self) -> tuple[Player, ...]:
        return (Player("machine", (self,), lr=self.lr),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("machine", self.contrast),)

    def contrast(self, turn: Turn) -> Tensor:
        """E_data [F(v)] - E_chain [F(v)], whose gradient is that of CD-k (Hinton 2002, Eq. 5)."""
        data = self.visible(turn.batch.image)
        with torch.no_grad():
            fresh = not self.particles or turn.round == 0
            chain = data if fresh else self.chains
            if self.particles and fresh:
                chain = data[torch.arange(self.particles, device=data.device) % len(data)]
            for _ in range(self.gibbs):
                chain = self.step(chain, turn.rng)
        turn.memo["chains"] = chain
        low, high = self.free_energy(data).mean(), self.free_energy(chain).mean()
        with torch.no_grad():
            turn.note(gap=low - high, rebuilt=(self.mean_visible(self.mean_hidden(data)) - data).square().mean())
        return low - high

    def after_round(self, turn: Turn) -> None:
        """Keep the chains."""
        if self.particles:
            self.chains.copy_(turn.memo["chains"])

    # -- the machine ------------------------------------------------------------------------------

    def visible(self, image: Tensor) -> Tensor:
        """v ``(B, D)`` of 0 and 1."""
        return (image.flatten(1) > 0).float()

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log p*(v) ``(B,)``: the hidden units summed out."""
        return -(v @ self.bias) - F.softplus(v @ self.weight + self.hidden_bias).sum(1)

    def mean_hidden(self, v: Tensor) -> Tensor:
        """p(h = 1 | v) ``(B, F)``."""
        return (v @ self.weight + self.hidden_bias).sigmoid()

    def mean_visible(self, h: Tensor) -> Tensor:
        """p(v = 1 | h) ``(B, D)``."""
        return (h @ self.weight.T + self.bias).sigmoid()

    def step(self, v: Tensor, rng: Rng) -> Tensor:
        """One sweep of Gibbs: h given v, then v given h."""
        h = _coins(self.mean_hidden(v), rng)
        return _coins(self.mean_visible(h), rng)

    # -- the verbs --------------------------------------------------------------------------------

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Black and white pictures ``(B, C, H, W)``: ``how.steps`` (default 1000) sweeps from coin tosses."""
        v = _coins(torch.full((len(rng), len(self.bias)), 0.5, device=self.device), rng)
        steps = 1000 if how.steps is None else how.steps
        for _ in range(steps):
            v = self.step(v, rng)
        return (2 * v - 1).unflatten(1, self.shape)

    def encode(self, image: Tensor) -> Tensor:
        """p(h = 1 | v) ``(B, F)``."""
        return self.mean_hidden(self.visible(image))

    def decode(self, latent: Tensor) -> Tensor:
        """p(v = 1 | h) as images ``(B, C, H, W)`` in [-1, 1]."""
        return (2 * self.mean_visible(latent) - 1).unflatten(1, self.shape)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log p(v) = -F(v) - log Z in nats ``(B,)``, of the black and white image.

        Z is exact up to 16 hidden units. Above it is annealed: its estimate is unbiased, so that of log Z is on
        average too low, and the likelihood too high, by an amount that vanishes with ``runs`` and ``temperatures``.
        """
        return -self.free_energy(self.visible(image)) - self.log_z()

    # -- the partition function -------------------------------------------------------------------

    def log_z(self) -> float:
        """log Z, computed once for the present parameters."""
        versions = tuple(p._version for p in (self.weight, self.bias, self.hidden_bias))
        if self.known is None or self.known[0] != versions:
            few = self.weight.shape[1] <= MOST_ENUMERATED
            value = self.enumerated() if few else self.annealed(Stream(0, "log_z"))
            self.known = (versions, value)
        return self.known[1]

    @torch.no_grad()
    def enumerated(self) -> float:
        """log sum_h exp(a'h + sum_i softplus(b_i + W_i h)): exact."""
        n = self.weight.shape[1]
        states = torch.arange(2**n, device=self.device)
        h = ((states[:, None] >> torch.arange(n, device=self.device)) & 1).double()  # (2^F, F)
        weight, bias = self.weight.double(), self.bias.double()
        total = [part @ self.hidden_bias.double() + F.softplus(part @ weight.T + bias).sum(1) for part in h.split(4096)]
        return float(torch.cat(total).logsumexp(0))

    @torch.no_grad()
    def annealed(self, rng: Rng) -> float:
        """log of the mean of w_AIS, from independent pixels b_A to this machine (Salakhutdinov & Murray, Eq. 12).

        b_A are the log-odds of the pixels' means under short chains of the machine itself.
        """
        v = _coins(torch.full((self.runs, len(self.bias)), 0.5, device=self.device), rng)
        for _ in range(100):
            v = self.step(v, rng)
        base = v.mean(0).clamp(CLAMP, 1 - CLAMP).logit()  # b_A
        v = _coins(base.sigmoid().expand(self.runs, -1), rng)
        weights = torch.zeros(self.runs, dtype=torch.float64, device=self.device)
        for k in range(1, self.temperatures + 1):
            before, beta = (k - 1) / self.temperatures, k / self.temperatures
            weights += (self._annealed_log(v, base, beta) - self._annealed_log(v, base, before)).double()
            h = _coins((beta * (v @ self.weight + self.hidden_bias)).sigmoid(), rng)  # Eq. 16
            v = _coins(((1 - beta) * base + beta * (h @ self.weight.T + self.bias)).sigmoid(), rng)  # Eq. 17
        log_z_base = F.softplus(base).double().sum() + self.weight.shape[1] * math.log(2)  # Z_A, Eq. 13's first factor
        return float(weights.logsumexp(0) - math.log(self.runs) + log_z_base)

    def _annealed_log(self, v: Tensor, base: Tensor, beta: float) -> Tensor:
        """log p*_beta(v) ``(B,)`` (Eq. 14)."""
        own = F.softplus(beta * (v @ self.weight + self.hidden_bias)).sum(1)
        return (1 - beta) * (v @ base) + beta * (v @ self.bias) + own


def _coins(p: Tensor, rng: Rng) -> Tensor:
    """0 or 1 with probability ``p`` (B, ...) of 1."""
    return (rng.uniform(*p.shape, device=p.device) < p).float()
