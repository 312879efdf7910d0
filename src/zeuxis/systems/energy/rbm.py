"""The restricted Boltzmann machine, learnt by contrastive divergence.

Hinton 2002, "Training products of experts by minimizing contrastive divergence", Neural Computation 14
(doi:10.1162/089976602760128018). The machine itself, and its partition function, are in ``zeuxis.nn.boltzmann``.
Symbols -> code: k -> gibbs    Q^0 -> data    Q^k -> chain
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.boltzmann import Boltzmann, LogZ, bernoulli, binarise
from zeuxis.rng import ImageRng, Rng
from zeuxis.steps import each_step
from zeuxis.verbs import Likelihood


class RBM(System):
    """Visible and hidden units that depend on each other, and not among themselves.

    Args:
        hidden: hidden units; 0 is the factorised model: independent pixels.
        gibbs: steps of each negative chain (the k of CD-k).
        particles: chains kept from round to round (persistent contrastive divergence, Tieleman 2008,
            doi:10.1145/1390156.1390290); with 0 they start at the data.
        temperatures: intermediate distributions of the annealing that estimates the likelihood; more are slower and
            closer.
        runs: chains of one annealing.
        repeats: annealings, which share the mean and whose spread is the likelihood's.
    """

    likelihood_of = Likelihood.BLACK_AND_WHITE
    card = Card(
        "rbm",
        title="Restricted Boltzmann machine",
        family="energy",
        year=2002,
        paper="Hinton 2002, Neural Computation 14, 1771-1800",
        verbs={"sample", "encode", "decode", "log_prob"},
        knobs=(Knob("steps", "int", "sweeps of Gibbs sampling", 1000, least=1, most=1_000_000),),
        departures=(
            "The update is the gradient of two free energies' difference: hidden units are summed out, not sampled.",
            "Adam in place of stochastic gradient ascent with momentum.",
            "Pixels are binarised at mid-grey, not at random.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: int = 256,
        gibbs: int = 1,
        particles: int = 0,
        temperatures: int = 2000,
        runs: int = 100,
        repeats: int = 5,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        if hidden < 0 or gibbs < 1 or particles < 0:
            raise UsageError(f"hidden={hidden}, gibbs={gibbs}, particles={particles}: none below 0, gibbs at least 1")
        if temperatures < 1 or runs < 1 or repeats < 1:
            raise UsageError(f"temperatures={temperatures}, runs={runs}, repeats={repeats}: at least 1 of each")
        self.shape = Shape(*shape)
        self.gibbs, self.lr = gibbs, lr
        self.temperatures, self.runs, self.repeats = temperatures, runs, repeats
        d = self.shape.channels * self.shape.height * self.shape.width
        self.machine = Boltzmann(d, hidden, particles)
        self.cached_log_z: tuple[tuple[int, ...], LogZ] | None = None  # versions of the parameters, log Z

    def players(self) -> tuple[Player, ...]:
        return (Player("machine", (self.machine,), lr=self.lr),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("machine", self.contrastive_divergence),)

    def contrastive_divergence(self, turn: Turn) -> Tensor:
        """The difference of free energies between the data and the ends of the chains (Eq. 5)."""
        data = binarise(turn.batch.image)
        if not self.machine.begun:
            self.machine.begin(turn.joined([binarise(part.batch.image) for part in turn.parts]))
        owner = turn.parts[0] if len(self.machine.chains) else turn  # kept chains take one walk a round
        if "chain" not in owner.memo:
            owner.memo["chain"] = self.machine.gibbs_chain(data, self.gibbs, turn.rng)
        chain = owner.memo["chain"]
        gap = self.machine.contrastive_divergence(data, chain)
        turn.note(gap=gap)
        return gap

    def after_round(self, turn: Turn) -> None:
        """Keep the chains."""
        self.machine.keep(turn.parts[0].memo["chain"])

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Black and white pictures ``(B, C, H, W)``: ``steps`` (default 1000) sweeps from uniform bits."""
        v = bernoulli(torch.zeros(len(rng), self.machine.visible, device=self.device), rng)
        for _ in each_step(range(self.settings(how).steps)):
            v = self.machine.step(v, rng)
        return (2 * v - 1).unflatten(1, self.shape)

    def encode(self, image: Tensor) -> Tensor:
        """p(h = 1 | v) ``(B, F)``."""
        return self.machine.upward(binarise(image)).sigmoid()

    def decode(self, latent: Tensor) -> Tensor:
        """p(v = 1 | h) as images ``(B, C, H, W)`` in [-1, 1]."""
        return (2 * self.machine.downward(latent).sigmoid() - 1).unflatten(1, self.shape)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log p(v) = -F(v) - log Z in nats ``(B,)``, of the black and white image.

        Z is exact up to 16 hidden units. Above it is annealed: its estimate is unbiased, so that of log Z is on
        average too low, and the likelihood too high, by an amount that vanishes with ``runs``, ``repeats`` and
        ``temperatures``; :attr:`log_prob_spread` says how far annealings differ.
        """
        return -self.machine.free_energy(binarise(image)) - self.log_z().value

    @property
    def log_prob_spread(self) -> float | None:
        return self.log_z().spread

    def log_z(self) -> LogZ:
        """log Z, computed once for the present parameters."""
        versions = tuple(p._version for p in self.machine.parameters())
        if self.cached_log_z is None or self.cached_log_z[0] != versions:
            self.cached_log_z = (versions, self.machine.log_z(self.temperatures, self.runs, self.repeats))
        return self.cached_log_z[1]
