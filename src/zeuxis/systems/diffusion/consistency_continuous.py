"""Consistency training in continuous time (Lu & Song 2024, arXiv:2410.11081, "sCT"): no levels to choose.

Consistency training asks for one answer at two neighbouring levels of noise. Here the two are infinitely near: what is
asked is that the answer does not change along the path, and its derivative is computed, not estimated.

The path is TrigFlow's, x_t = cos(t) x_0 + sin(t) z with z ~ N(0, sigma_d^2 I) and t in [0, pi / 2].

Paper -> code: x_0 -> image, z -> noise, x_t -> noisy, dx_t / dt -> along, F_theta -> network, f_theta -> consistent,
g -> tangent, r -> warm, c -> TANGENT_NORM, w_phi(t) -> weigher, P_mean, P_std -> mean, std, D -> numbers of an image.

Parts: nn/networks.py (and the one network that is chosen), nn/conditioner.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning, bind_condition
from zeuxis.diffusion.path import Level, append_dims, for_each
from zeuxis.diffusion.sampler import ByLevel, Denoise
from zeuxis.diffusion.schedule import check_positive
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.conditioner import ConditionKind, label_conditioner
from zeuxis.nn.embed import SLOW_TIME_SCALE, sinusoid
from zeuxis.nn.networks import Ends, build_network
from zeuxis.rng import ImageRng, normal_like

TANGENT_NORM = 0.1
FREQUENCIES = 32  # of the time that the weight is a function of
LAST = math.pi / 2
START = 1000.0  # the level of noise that stands for the last time, where it is infinite


class ContinuousConsistency(System):
    """Pictures in one step or a few.

    Args:
        condition: what it obeys: "none" or "label" (of data with classes).
        network: a table of :data:`zeuxis.nn.networks.NETWORKS`: the network, a transformer on patches, a U-Net, or
            convolutions with a transformer in the middle.
        sigma_data: standard deviation of the images, and of the noise at the end of the path.
        mean: of log(sigma_d tan t), by which training draws its times.
        std: standard deviation of that logarithm.
        warm: share of training over which the derivative's part of the target grows from nothing.
    """

    card = Card(
        "consistency-continuous",
        title="Continuous-time consistency training",
        family="diffusion",
        year=2024,
        paper="2410.11081",
        verbs={"sample", "denoiser"},
        accepts={"label"},
        knobs=("steps",),
        departures=(
            "The networks are as elsewhere here, without the paper's double normalisation of scale and shift.",
            "The derivative's part grows over a share of the training, not over 10,000 iterations.",
            "Between the calls of sampling in steps lies an even share of the angle, not a searched time.",
            "The norm that the tangent is divided by is over the root of its numbers, so that c weighs as much at any "
            "size of picture; the paper writes the norm itself.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: ConditionKind = "none",
        network: Mapping[str, Any] | None = None,
        sigma_data: float = 0.5,
        mean: float = -1.0,
        std: float = 1.4,
        warm: float = 0.1,
        steps: int = 1,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        check_positive(sigma_data=sigma_data, std=std)
        if not 0 <= warm <= 1:
            raise UsageError(f"warm {warm:g} is a share of the training: give one from 0 to 1")
        self.sigma_data, self.mean, self.std, self.warm = sigma_data, mean, std, warm
        self.network = build_network(network, Ends(self.shape))
        self.conditioner = label_conditioner(condition, classes, self.network.vector_width)
        self.weigher = nn.Linear(FREQUENCIES, 1)
        nn.init.zeros_(self.weigher.weight)
        nn.init.zeros_(self.weigher.bias)
        nets = (self.network, self.conditioner, self.weigher)
        self.player = Player("network", nets, lr=1e-4, betas=(0.9, 0.99), optimiser="radam")

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.stay),)

    def stay(self, turn: Turn) -> Tensor:
        """Algorithm 1, of training: the answer stays the same along the path, f(x_t, t) for all t (Eq. 8)."""
        image, n = turn.batch.image, len(turn.batch.image)  # (B, C, H, W)
        noise = self.sigma_data * normal_like(image, turn.rng)
        tau = self.mean + self.std * turn.rng.normal(n, device=image.device)
        t = torch.atan(tau.exp() / self.sigma_data)  # (B,)
        cos, sin = (append_dims(v, image) for v in (t.cos(), t.sin()))
        noisy, along = cos * image + sin * noise, cos * noise - sin * image
        answer, change = self.answer_and_change(noisy, t, along, self.conditioner(turn.batch.condition, n))
        tangent = self.tangent(answer.detach(), change, noisy, t, along, min(1.0, turn.progress / max(self.warm, 1e-9)))
        tangent, size = normalised(tangent)
        error = (answer - answer.detach() - tangent).square().flatten(1).mean(1)  # (B,)
        weight = self.weigher(sinusoid(t * SLOW_TIME_SCALE, FREQUENCIES))[:, 0].float()  # w_phi(t)
        turn.note(change=size.mean())
        return (weight.exp() * error - weight).mean()

    def answer_and_change(
        self, x: Tensor, t: Tensor, along: Tensor, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """F(x / sigma_d, t), and cos(t) sin(t) sigma_d dF/dt along the path, in one pass (Section 4.1)."""

        def answer(x: Tensor, t: Tensor) -> Tensor:
            return self.answer(x, t, conditioning)

        slow = t.cos() * t.sin()  # within the derivative, which would be large without it
        # In float32, because a derivative loses in half precision; the fused kernels have no forward derivative.
        with torch.autocast(t.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
            value, change = torch.func.jvp(answer, (x, t), (append_dims(slow, x) * along, slow))[:2]
        return value, self.sigma_data * change.detach()

    def tangent(self, answer: Tensor, change: Tensor, x: Tensor, t: Tensor, along: Tensor, warm: float) -> Tensor:
        """g = cos(t) df/dt (B, C, H, W), of whose part that the network's derivative is in ``warm`` is the share."""
        cos, sin = (append_dims(v, x) for v in (t.cos(), t.sin()))
        return -(cos**2) * (self.sigma_data * answer - along) - warm * (cos * sin * x + change)

    def answer(self, x: Tensor, t: Level, conditioning: Conditioning) -> Tensor:
        """F(x / sigma_d, t)."""
        out: Tensor = self.network(x / self.sigma_data, for_each(t * SLOW_TIME_SCALE, x), **conditioning)
        return out.float()

    def consistent(self, x: Tensor, t: Level, conditioning: Conditioning) -> Tensor:
        """f(x, t) = cos(t) x - sin(t) sigma_d F(x / sigma_d, t) (Eq. 5): exactly ``x`` at t = 0."""
        cos, sin = (t.cos(), t.sin()) if isinstance(t, Tensor) else (math.cos(t), math.sin(t))
        return append_dims(cos, x) * x - append_dims(sin, x) * self.sigma_data * self.answer(x, t, conditioning)

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """:meth:`consistent` in VE space, where x is ``x_t / cos(t)`` and sigma is ``sigma_d tan(t)``: one picture."""
        self.settings(how)  # refuses knobs that there are not

        def in_ve(x: Tensor, sigma: Any, conditioning: Conditioning) -> Tensor:
            ratio = sigma / self.sigma_data
            t: Any = torch.atan(ratio) if isinstance(ratio, Tensor) else math.atan(ratio)
            return self.consistent(x / append_dims((1 + ratio**2) ** 0.5, x), t, conditioning)

        return ByLevel(bind_condition(in_ve, self.conditioner(condition, n)))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """sigma_d tan(t) of the times of :meth:`sample`, then 0; the first is a large level in place of infinity."""
        later = self.sigma_data * torch.tan(self.times(how)[1:])
        first = max([START, *(10 * later[:1]).tolist()])
        return torch.cat([later.new_tensor([first]), later, later.new_zeros(1)]).float()

    def times(self, how: Sampling) -> Tensor:
        """Those of the ``steps`` calls of the network: even shares of the angle, from pi / 2."""
        steps = self.settings(how).steps
        return torch.linspace(LAST, 0, steps + 1, dtype=torch.float64)[:-1]

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """f(z, pi / 2), and again from fresh noise at each further time (Section 2.1)."""
        n, given = len(rng), self.conditioner(condition, len(rng))
        first, *others = self.times(how).tolist()
        x = self.consistent(self.sigma_data * rng.normal(n, *self.shape, device=self.device), first, given)
        for t in others:
            noise = self.sigma_data * rng.normal(n, *self.shape, device=self.device)
            x = self.consistent(math.cos(t) * x + math.sin(t) * noise, t, given)
        return x.clamp(-1, 1)


def normalised(tangent: Tensor) -> tuple[Tensor, Tensor]:
    """g / (|g| / sqrt(D) + c) of each picture (B, C, H, W), and |g| / sqrt(D), (B,): Algorithm 1 has c = 0.1."""
    size = tangent.flatten(1).norm(dim=1) / math.sqrt(tangent[0].numel())
    return tangent / append_dims(size + TANGENT_NORM, tangent), size
