"""Consistency training (Song et al. 2023, arXiv:2303.01469, Section 5): images in one step, without a teacher.

A network maps every point of a noising trajectory to its start. It is trained to say the same at two
neighbouring noise levels of one image under one noise; at the less noisy of them a slowly moving target
network speaks. Options give the improved training of Song & Dhariwal 2023 (arXiv:2310.14189, "iCT").

Paper -> code: f_theta -> consistent, theta^- -> target, F_theta -> network, epsilon -> low,
T -> high, rho -> rho, N(k) -> levels_at, mu(k) -> decay_at, s_0 and s_1 -> first and last, mu_0 -> mu,
d -> distance, c_skip, c_out -> skip, out.

Parts: diffusion/precondition.py (c_skip, c_out), diffusion/sampler.py (``multistep``), diffusion/schedule.py
(``karras``), nn/unet.py, nn/conditioner.py.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning, bind_condition
from zeuxis.diffusion.path import Level, append_dims, for_each
from zeuxis.diffusion.precondition import consistency, to_x0
from zeuxis.diffusion.sampler import ByLevel, Denoise, multistep
from zeuxis.diffusion.schedule import check_levels, check_positive, karras, skip_lowest
from zeuxis.errors import UsageError, lookup
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.conditioner import ConditionKind, label_conditioner
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.unet import UNet, check_sides
from zeuxis.rng import ImageRng, Rng, normal_like


class Consistency(System):
    """Consistency training (CT), one step or a few.

    Args:
        width: channels of the U-Net at its finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        heads: of each attention.
        low: least noise level: standard deviation of the noise beside images in [-1, 1].
        high: greatest noise level, at which sampling starts.
        rho: spacing of the levels; larger has more of them near the least.
        sigma_data: standard deviation of the images.
        first: noise levels at the start of training.
        last: noise levels at the end of training.
        curriculum: how their number grows: "square-root" (CT) or "doubling" (iCT).
        mu: of the target network's decay exp(first log(mu) / N); 0 makes the target the network itself (iCT).
        distance: of two pictures: "squared", or "huber" (iCT's, with c = 0.00054 sqrt(d)).
        visits: which pairs of levels training draws: "uniform" (CT) or "log-normal" (iCT).
        inverse_gap: whether each pair is weighed by one over the distance of its levels (iCT).
    """

    card = Card(
        "consistency",
        title="Consistency training",
        family="diffusion",
        year=2023,
        paper="2303.01469",
        verbs={"sample", "denoiser"},
        accepts={"label"},
        knobs=("steps",),
        departures=(
            "A squared or pseudo-Huber distance, no LPIPS.",
            "DDPM's U-Net, without dropout, from torch's initial weights: from DDPM's, of three times the variance, a "
            "short training comes less far.",
            "Between the calls of multistep sampling lies an even share of the schedule, not a searched level.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: ConditionKind = "none",
        width: int = 128,
        multiples: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 4,
        attention: tuple[int, ...] = (2,),
        heads: int = 1,
        low: float = 0.002,
        high: float = 80.0,
        rho: float = 7.0,
        sigma_data: float = 0.5,
        first: int = 2,
        last: int = 150,
        curriculum: Literal["square-root", "doubling"] = "square-root",
        mu: float = 0.9,
        distance: Literal["squared", "huber"] = "squared",
        visits: Literal["uniform", "log-normal"] = "uniform",
        inverse_gap: bool = False,
        steps: int = 1,
    ) -> None:
        super().__init__()
        check_levels(low, high)
        check_positive(rho=rho, sigma_data=sigma_data)
        if not 2 <= first <= last:
            raise UsageError(f"from {first} levels at first to {last} at last: 2 <= first <= last is wanted")
        if not 0 <= mu < 1:
            raise UsageError(f"mu {mu:g}: the target's decay is from 0 to below 1, where it would never move")
        self.shape = Shape(*shape)
        self.low, self.high, self.rho, self.sigma_data = low, high, rho, sigma_data
        self.first, self.last, self.mu, self.inverse_gap = first, last, mu, inverse_gap
        self.curriculum = lookup("curriculum", curriculum, _CURRICULA)
        self.distance = lookup("distance", distance, _DISTANCES)
        self.visits = lookup("visits", visits, _VISITS)
        channels, height, cols = self.shape
        check_sides(height, cols, len(multiples))
        self.network = UNet(
            channels, width=width, multiples=multiples, blocks=blocks, attention=attention, heads=heads, ddpm=True
        )
        self.conditioner = label_conditioner(condition, classes, self.network.vector_width)
        self.target, self.target_conditioner = copy.deepcopy(self.network), copy.deepcopy(self.conditioner)
        self.freeze(self.target)
        self.freeze(self.target_conditioner)
        self.player = Player("network", (self.network, self.conditioner), lr=4e-4, optimiser="radam")

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.agree),)

    def agree(self, turn: Turn) -> Tensor:
        """The consistency training loss (Eq. 10): the same answer at two neighbouring levels of one noise."""
        image, condition = turn.batch.image, turn.batch.condition  # (B, C, H, W)
        n = len(image)
        levels = self.training_levels(self.levels_at(turn.progress)).to(image.device)  # (N,), ascending
        at = self.visits(levels, n, turn.rng)  # (B,) in [0, N - 2]
        below, above = levels[at], levels[at + 1]
        noise = normal_like(image, turn.rng)
        prediction = self.consistent(
            self.network, image + append_dims(above, image) * noise, above, self.conditioner(condition, n)
        )
        with torch.no_grad():
            net, conditioner = (self.target, self.target_conditioner) if self.mu else (self.network, self.conditioner)
            wanted = self.consistent(net, image + append_dims(below, image) * noise, below, conditioner(condition, n))
        error = self.distance(prediction, wanted)  # (B,)
        turn.note(levels=float(len(levels)))
        return (error / (above - below) if self.inverse_gap else error).mean()

    def after_round(self, turn: Turn) -> None:
        """The target moves towards the network (Eq. 8)."""
        if self.mu:
            online: list[Tensor] = [*self.network.parameters(), *self.conditioner.parameters()]
            slow: list[Tensor] = [*self.target.parameters(), *self.target_conditioner.parameters()]
            torch._foreach_lerp_(slow, online, 1 - self.decay_at(turn.progress))

    def levels_at(self, progress: float) -> int:
        """N(k) (Appendix C): how many noise levels there are at this point of training."""
        return self.curriculum(progress, self.first, self.last)

    def decay_at(self, progress: float) -> float:
        """mu(k) (Appendix C): the decay of the target network."""
        return math.exp(self.first * math.log(self.mu) / self.levels_at(progress))

    def training_levels(self, n: int) -> Tensor:
        """The ``n`` noise levels (N,), ascending from ``low`` to ``high``."""
        return karras(n, self.low, self.high, self.rho)[:-1].flip(0)

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """The start of the trajectory (B, C, H, W) that passes through ``x`` at ``sigma`` (B,), or one for all."""
        return self.consistent(self.network, x, sigma, conditioning)

    def consistent(self, network: nn.Module, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """f(x, sigma) (Eq. 5): exactly ``x`` where ``sigma`` is ``low``."""
        c = consistency(sigma, self.sigma_data, self.low)
        time = for_each(c.noise * TIME_SCALE, x)  # (B,)
        prediction = network(append_dims(c.input, x) * x, time, **conditioning).float()
        return to_x0(c, prediction, x)

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """:meth:`denoise` under ``condition``: an image, not the mean of many, whatever the level."""
        self.settings(how)  # refuses knobs that there are not
        return ByLevel(bind_condition(self.denoise, self.conditioner(condition, n)))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """The levels of the ``steps`` calls of :meth:`sample`, descending from ``high``, then 0."""
        return skip_lowest(karras(self.settings(how).steps + 1, self.low, self.high, self.rho))

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Alg. 1 in ``steps`` calls of the network."""
        x = self.high * rng.normal(len(rng), *self.shape, device=self.device)
        denoise = self.denoiser(condition, len(rng), how)
        return multistep(denoise, x, self.levels(how), rng, self.low).clamp(-1, 1)


def _square_root(progress: float, first: int, last: int) -> int:
    return math.ceil(math.sqrt(progress * ((last + 1) ** 2 - first**2) + first**2) - 1) + 1


def _doubling(progress: float, first: int, last: int) -> int:
    """iCT, Section 3.4: the number of levels doubles at even intervals."""
    return min(first * 2 ** int(progress * (math.log2(last // first) + 1)), last) + 1


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().flatten(1).mean(1)


def _huber(a: Tensor, b: Tensor) -> Tensor:
    """iCT, Section 3.3."""
    c = 0.00054 * math.sqrt(a[0].numel())
    return ((a - b).square().flatten(1).sum(1) + c**2).sqrt() - c


def _uniformly(levels: Tensor, n: int, rng: Rng) -> Tensor:
    return rng.integers(len(levels) - 1, n, device=levels.device)


def _log_normally(levels: Tensor, n: int, rng: Rng) -> Tensor:
    """iCT, Section 3.5: a log-normal density (mean -1.1, deviation 2), discretised."""
    share = ((levels.log() + 1.1) / (math.sqrt(2) * 2.0)).erf()
    reached = (share[1:] - share[0]) / (share[-1] - share[0])  # (N - 1,): cumulative, up to 1
    return torch.searchsorted(reached, rng.uniform(n, device=levels.device), right=True).clamp(max=len(levels) - 2)


_CURRICULA: dict[str, Callable[[float, int, int], int]] = {"square-root": _square_root, "doubling": _doubling}
_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"squared": _squared, "huber": _huber}
_VISITS: dict[str, Callable[[Tensor, int, Rng], Tensor]] = {"uniform": _uniformly, "log-normal": _log_normally}
