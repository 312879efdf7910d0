"""The energy-based model: a network of an unnormalised log-density, sampled by Langevin dynamics.

Du & Mordatch 2019, "Implicit generation and modeling with energy-based models" (1903.08689); learning from chains
that start at noise and are cut short: Nijkamp, Hill, Zhu & Wu 2019, "Learning non-convergent non-persistent
short-run MCMC toward energy-based model" (1904.09770). Symbols -> code:
    E_theta -> energy    x+ -> data    x~^0 -> starts    x~^K -> chain    K -> steps    lambda / 2 -> rate
    omega's standard deviation -> noise    B -> chains    alpha -> energy_l2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.langevin import langevin, slope_of
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.energy import EnergyNet
from zeuxis.rng import ImageRng, Rng


class EBM(System):
    """p(x) proportional to exp(-E(x)), learnt by lowering the energy of data and raising that of the chains' ends.

    Chains walk by Langevin dynamics (:mod:`zeuxis.diffusion.langevin`).

    Args:
        width: channels of the network's first layer.
        steps: of a chain in a round.
        rate: of the walk downhill: what the energy's slope is multiplied by in a step; above 0.
        noise: standard deviation of the noise of a step, of pictures in [-1, 1].
        chains: kept from round to round; with 0 every chain starts at uniform noise.
        restart: share of the kept chains a round takes up that begin at noise again, in (0, 1].
        data_noise: standard deviation of noise added to the data, so that their density is smooth.
        energy_l2: weight of the squared energies, which keeps them from drifting; 0 is without.
    """

    card = Card(
        "ebm",
        title="Energy-based model",
        family="energy",
        year=2019,
        paper="1903.08689",
        verbs={"sample"},
        knobs=("steps",),
        departures=(
            "No chain is kept unless asked for: training and sampling run the same few steps from noise, which is "
            "Nijkamp's short run; the paper's pictures come from its buffer, after thousands.",
            "Plain convolutions with SiLU, without residuals and without spectral norm.",
            "40 steps of rate 1 in place of 60 of rate 10, of pictures in [0, 1]; Adam with momentum, theirs without.",
            "The gradient is not clipped; pixels are clamped to [-1, 1] after every step, as the paper's code does.",
            "Noise of deviation 0.03 is added to the data, after Nijkamp; squared energies weigh 0, not 1.",
        ),
    )
    chains: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        width: int = 32,
        steps: int = 40,
        rate: float = 1.0,
        noise: float = 0.01,
        chains: int = 0,
        restart: float = 0.05,
        data_noise: float = 0.03,
        energy_l2: float = 0.0,
        lr: float = 3e-4,
    ) -> None:
        super().__init__()
        if steps < 1 or rate <= 0 or not 0 < restart <= 1:
            raise UsageError(f"ebm: steps {steps}, rate {rate}, restart {restart}: at least 1, above 0, in (0, 1]")
        if min(noise, chains, data_noise, energy_l2) < 0:
            raise UsageError(
                f"ebm: noise {noise}, chains {chains}, data_noise {data_noise}, energy_l2 {energy_l2}: none below 0"
            )
        self.shape = Shape(*shape)
        self.steps, self.rate, self.noise, self.restart = steps, rate, noise, restart
        self.data_noise, self.energy_l2, self.lr = data_noise, energy_l2, lr
        self.energy = EnergyNet(self.shape, width)
        if energy_l2 == 0:
            self.energy.offset.requires_grad_(False)  # of a difference of energies it cancels
        self.register_buffer("chains", 2 * torch.rand(chains, *self.shape) - 1)

    def players(self) -> tuple[Player, ...]:
        return (Player("energy", (self.energy,), lr=self.lr),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("energy", self.contrastive_loss),)

    def contrastive_loss(self, turn: Turn) -> Tensor:
        """E(x+) - E(x~^K) and alpha times their squares, the means over the batch (Du & Mordatch, Alg. 1)."""
        image = turn.batch.image
        data = (image + self.data_noise * turn.rng.normal(*image.shape, device=image.device)).clamp(-1, 1)
        which, starts = self._starts(turn)
        chain = self._langevin(starts, turn.rng, self.steps)
        if len(self.chains):
            self.chains[which] = chain
        low, high = self.energy(data).float(), self.energy(chain).float()
        gap = low.mean() - high.mean()
        turn.note(gap=gap, distance=(chain - starts).square().mean().sqrt(), level=low.mean())
        return gap + self.energy_l2 * (low.square().mean() + high.square().mean())

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """Chains are by default as long as those of training are on average."""
        return {name: replace(knob, default=self.length) for name, knob in super().knobs.items()}

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The ends of chains of ``steps`` steps (default :attr:`length`) from uniform noise."""
        starts = _noise(len(rng), self.shape, rng, self.device)
        return self._langevin(starts, rng, self.settings(how).steps)

    @property
    def length(self) -> int:
        """The mean number of steps from noise of a chain in training."""
        return round(self.steps / self.restart) if len(self.chains) else self.steps

    def _starts(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """Where a chain for each of the B pictures begins ``(B, C, H, W)``, and which of those kept ``(B,)`` it is."""
        n, rng = len(turn.batch), turn.rng
        fresh = _noise(n, self.shape, rng, self.device)
        if not len(self.chains):
            return torch.empty(0, dtype=torch.int64), fresh
        shared = turn.parts[0].memo  # the parts of a batch take up different chains, as long as there are any
        if "order" not in shared:
            shared["order"] = rng.uniform(len(self.chains), device=self.device).argsort()
        which = shared["order"].roll(-turn.offset)[:n]  # each at most once
        restarted = rng.uniform(len(which), 1, 1, 1, device=self.device) < self.restart
        return which, torch.where(restarted, fresh[: len(which)], self.chains[which])

    def _langevin(self, x: Tensor, rng: Rng, steps: int) -> Tensor:
        return langevin(slope_of(self.energy), x, rng, steps=steps, rate=self.rate, noise=self.noise, within=1.0)


def _noise(n: int, shape: Shape, rng: Rng, device: torch.device) -> Tensor:
    """Uniform in [-1, 1]."""
    return 2 * rng.uniform(n, *shape, device=device) - 1
