"""The deep belief network: machines stacked, each learnt on the hidden units of the one below.

Hinton, Osindero & Teh 2006, "A fast learning algorithm for deep belief nets", Neural Computation 18
(doi:10.1162/neco.2006.18.7.1527). The bound on its likelihood: Salakhutdinov & Murray 2008
(doi:10.1145/1390156.1390266), section 4. Symbols -> code:
    v, h^1, ..., h^L -> layers, from the picture up    W^l -> machines[l].weight
    Q(h^l | h^(l-1)) -> machines[l].upward             P(h^(l-1) | h^l) -> machines[l].downward, below the top
    P(h^(L-1), h^L) -> machines[-1], undirected
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.bernoulli import Bernoulli
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.boltzmann import Boltzmann, LogZ, bernoulli, binarise
from zeuxis.rng import ImageRng, Rng
from zeuxis.steps import each_step
from zeuxis.verbs import Likelihood


class DBN(System):
    """Restricted Boltzmann machines upon one another, one player each.

    Args:
        hidden: units of the layers from the bottom up, two layers or more.
        gibbs: steps of each negative chain (the k of CD-k).
        particles: chains that every machine keeps from round to round (persistent contrastive divergence); with 0 they
            start at the data.
        greedy: whether each machine learns for its share of the budget, from the bottom up; otherwise all learn at
            once.
        draws: samples from Q with which :meth:`log_prob` estimates its bound.
        temperatures: intermediate distributions of the top machine's annealing; more are slower and closer.
        runs: chains of one annealing of the top machine.
        repeats: annealings, which share the mean and whose spread is the bound's.
    """

    likelihood_of = Likelihood.BLACK_AND_WHITE
    card = Card(
        "dbn",
        title="Deep belief network",
        family="energy",
        year=2006,
        paper="Hinton, Osindero & Teh 2006, Neural Computation 18, 1527-1554",
        verbs={"sample", "encode", "decode", "log_prob"},
        knobs=(Knob("steps", "int", "sweeps of Gibbs sampling", 1000, least=1, most=1_000_000),),
        departures=(
            "No labels at the top, and no up-down fine-tuning after the greedy stage.",
            "The update is the gradient of two free energies' difference, by Adam.",
            "Pixels are binarised at mid-grey, not at random.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        hidden: tuple[int, ...] = (256, 256),
        gibbs: int = 1,
        particles: int = 0,
        greedy: bool = True,
        draws: int = 8,
        temperatures: int = 2000,
        runs: int = 100,
        repeats: int = 5,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        if len(hidden) < 2 or min(hidden) < 1:
            raise UsageError(f"hidden={list(hidden)}: a dbn has 2 layers or more of 1 unit or more; one is an 'rbm'")
        if temperatures < 1 or runs < 1 or repeats < 1:
            raise UsageError(f"dbn: temperatures {temperatures}, runs {runs}, repeats {repeats}: at least 1 of each")
        if gibbs < 1 or particles < 0 or draws < 1:
            raise UsageError(f"dbn: gibbs {gibbs}, particles {particles}, draws {draws}: at least 1, 0 and 1")
        self.shape = Shape(*shape)
        self.gibbs, self.greedy, self.draws, self.lr = gibbs, greedy, draws, lr
        self.temperatures, self.runs, self.repeats = temperatures, runs, repeats
        d = self.shape.channels * self.shape.height * self.shape.width
        self.machines = nn.ModuleList(Boltzmann(below, above, particles) for below, above in pairwise((d, *hidden)))
        self.cached_log_z: tuple[tuple[int, ...], LogZ] | None = None  # versions of the top's parameters, its log Z

    def players(self) -> tuple[Player, ...]:
        return tuple(Player(f"layer_{k + 1}", (machine,), lr=self.lr) for k, machine in enumerate(self.machines))

    def moves(self) -> tuple[Move, ...]:
        return tuple(Move(f"layer_{k + 1}", partial(self.contrastive_divergence, k)) for k in range(len(self.machines)))

    def contrastive_divergence(self, layer: int, turn: Turn) -> Tensor | None:
        """Contrastive divergence of one machine on what those below make of the data; None out of its time."""
        if self.greedy and min(int(turn.progress * len(self.machines)), len(self.machines) - 1) != layer:
            return None
        machine = self._machine(layer)
        data = self._below(layer, turn)
        below = [self._below(layer, part) for part in turn.parts]  # always: before the chain, however the batch is cut
        if not machine.begun:
            machine.begin(turn.joined(below))
        owner = turn.parts[0] if len(machine.chains) else turn  # kept chains take one walk a round
        key = f"chain_{layer}"
        if key not in owner.memo:
            owner.memo[key] = machine.gibbs_chain(data, self.gibbs, turn.rng)
        chain = owner.memo[key]
        gap = machine.contrastive_divergence(data, chain)
        turn.note(**{f"gap_{layer + 1}": gap})
        return gap

    @torch.no_grad()
    def _below(self, layer: int, turn: Turn) -> Tensor:
        """What the layers below ``layer`` make of the turn's batch, drawn once: 0 and 1, ``(B, D)``."""
        key = f"below_{layer}"
        if key not in turn.memo:
            data = binarise(turn.batch.image)
            for below in range(layer):
                data = bernoulli(self._machine(below).upward(data), turn.rng)
            turn.memo[key] = data
        below_it: Tensor = turn.memo[key]
        return below_it

    def after_round(self, turn: Turn) -> None:
        """Keep the chains of those that learn."""
        for layer in range(len(self.machines)):
            if f"chain_{layer}" in turn.parts[0].memo:
                self._machine(layer).keep(turn.parts[0].memo[f"chain_{layer}"])

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """``steps`` (default 1000) sweeps of the top machine, then one pass down: black and white pictures."""
        top = self._machine(-1)
        state = bernoulli(torch.zeros(len(rng), top.visible, device=self.device), rng)
        for _ in each_step(range(self.settings(how).steps)):
            state = top.step(state, rng)
        for layer in reversed(range(len(self.machines) - 1)):
            state = bernoulli(self._machine(layer).downward(state), rng)
        return (2 * state - 1).unflatten(1, self.shape)

    def encode(self, image: Tensor) -> Tensor:
        """The top layer's probabilities, each layer given those of the one below: ``(B, F)``."""
        state = binarise(image)
        for layer in range(len(self.machines)):
            state = self._machine(layer).upward(state).sigmoid()
        return state

    def decode(self, latent: Tensor) -> Tensor:
        """The pixels' probabilities, layer by layer down, as images ``(B, C, H, W)`` in [-1, 1]."""
        for layer in reversed(range(len(self.machines))):
            latent = self._machine(layer).downward(latent).sigmoid()
        return (2 * latent - 1).unflatten(1, self.shape)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """An estimate of a lower bound on log P(v), in nats ``(B,)``.

        E_Q [log P(v | h^1) + ... + log P*(h^(L-1)) - log Z] + H(Q)  (Salakhutdinov & Murray, Eq. 23).

        Two errors of opposite sign lie between it and the truth. The bound is below it, by as much as Q is not the
        posterior. The top's log Z is annealed and on average too low (see ``rbm``), which raises the estimate;
        :attr:`log_prob_spread` tells how much annealings differ.
        """
        total = torch.zeros(len(image), device=image.device)
        for _ in range(self.draws):
            state = binarise(image)
            for layer in range(len(self.machines) - 1):
                machine = self._machine(layer)
                logits = machine.upward(state)
                above = bernoulli(logits, rng)
                total += Bernoulli(machine.downward(above)).log_prob(state) - Bernoulli(logits).log_prob(above)
                state = above
            total -= self._machine(-1).free_energy(state)
        return total / self.draws - self._log_z().value

    @property
    def log_prob_spread(self) -> float | None:
        return self._log_z().spread

    def _log_z(self) -> LogZ:
        """The top machine's log Z, computed once for its present parameters."""
        top = self._machine(-1)
        versions = tuple(p._version for p in top.parameters())
        if self.cached_log_z is None or self.cached_log_z[0] != versions:
            self.cached_log_z = (versions, top.log_z(self.temperatures, self.runs, self.repeats))
        return self.cached_log_z[1]

    def _machine(self, layer: int) -> Boltzmann:
        machine = self.machines[layer]
        assert isinstance(machine, Boltzmann)
        return machine
