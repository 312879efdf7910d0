"""MeanFlow (Geng, Deng, Bai, Kolter & He 2025, arXiv:2505.13447): the mean velocity over any stretch of the path.

Flow matching learns the velocity at a moment. Here the network learns the mean of it from t down to r, by an identity
that ties the mean to the velocity and to its own derivative in time; a step over the whole path then draws a picture.

Paper -> code: x -> image, epsilon -> noise, t -> t, r -> r, t - r -> span, z_t -> noisy, v_t -> straight,
u_theta(z, r, t) -> velocity, d/dt u -> change, u_tgt -> target, w -> weight, p -> power, c -> NORM.

Parts: diffusion/path.py (``Straight``), diffusion/mean_velocity.py (``walk``), nn/two_times.py, nn/networks.py (and the
one network that is chosen), nn/conditioner.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning
from zeuxis.diffusion.mean_velocity import instant_denoiser, walk
from zeuxis.diffusion.path import Level, Straight, add_noise, append_dims, for_each
from zeuxis.diffusion.sampler import Denoise
from zeuxis.diffusion.schedule import flow_levels, flow_times
from zeuxis.diffusion.weighting import logit_normal
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.conditioner import ConditionKind, label_conditioner
from zeuxis.nn.embed import SLOW_TIME_SCALE
from zeuxis.nn.networks import Ends, build_network
from zeuxis.nn.two_times import TwoTimes
from zeuxis.rng import ImageRng, normal_like

NORM = 1e-3  # c of the adaptive weight (Eq. 22)


class MeanFlow(System):
    """Pictures in one step or a few.

    Args:
        condition: what it obeys: "none" or "label" (of data with classes).
        network: a table of :data:`zeuxis.nn.networks.NETWORKS`: the network, a transformer on patches, a U-Net, or
            convolutions with a transformer in the middle.
        share: of the batch whose stretch has a length; the rest learns the velocity at a moment.
        mean: of the logit of the two ends of a stretch, which are drawn alike.
        std: standard deviation of that logit.
        power: p of the adaptive weight 1 / (error + c)^p; 0 is the plain squared error.
    """

    card = Card(
        "meanflow",
        title="MeanFlow",
        family="diffusion",
        year=2025,
        paper="2505.13447",
        verbs={"sample", "denoiser"},
        accepts={"label"},
        knobs=("steps",),
        departures=("Without classifier-free guidance.", "Attention is computed without the fused kernel in training."),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: ConditionKind = "none",
        network: Mapping[str, Any] | None = None,
        share: float = 0.25,
        mean: float = -0.4,
        std: float = 1.0,
        power: float = 1.0,
        steps: int = 1,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if not 0 < share <= 1:
            raise UsageError(f"share {share} of the batch: it is more than 0 and at most 1")
        self.share, self.mean, self.std, self.power = share, mean, std, power
        self.path = Straight()
        self.network = TwoTimes(build_network(network, Ends(self.shape)))
        self.conditioner = label_conditioner(condition, classes, self.network.network.vector_width)
        self.player = Player("network", (self.network, self.conditioner), lr=1e-4, betas=(0.9, 0.95))

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.match),)

    def match(self, turn: Turn) -> Tensor:
        """Algorithm 1: the MeanFlow identity (Eq. 6) as a regression on a target that is held fixed (Eq. 9)."""
        image, condition = turn.batch.image, turn.batch.condition  # (B, C, H, W)
        n, device = len(image), image.device
        long = turn.among_first(math.ceil(self.share * turn.images))  # these have a stretch of some length
        noise = normal_like(image, turn.rng)
        ends = [logit_normal(turn.rng, n, device, self.mean, self.std) for _ in range(2)]
        t, r = torch.maximum(*ends), torch.minimum(*ends)  # each (B,)
        t = torch.cat([t[:long], ends[0][long:]])
        span = torch.cat([(t - r)[:long], 0 * t[long:]])
        noisy = add_noise(self.path, image, noise, t)
        straight = noise - image
        wrong = []
        if long:
            u, change = self.velocity_and_change(
                noisy[:long], t[:long], span[:long], straight[:long], self.conditioner(condition[:long], long)
            )
            target = straight[:long] - append_dims(span[:long], image) * change  # Eq. 10
            wrong.append(u - target.detach())
        if long < n:  # where r = t the derivative is multiplied by 0
            v = self.velocity(noisy[long:], t[long:], span[long:], self.conditioner(condition[long:], n - long))
            wrong.append(v - straight[long:])
        error = torch.cat(wrong).square().flatten(1).sum(1)  # (B,)
        weight = (error.detach() + NORM) ** -self.power  # Eq. 22
        turn.note(error=error.mean() / image[0].numel())
        return (weight * error).mean()

    def velocity_and_change(
        self, z: Tensor, t: Tensor, span: Tensor, v: Tensor, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """u(z, r, t) and its total derivative d/dt u = v du/dz + du/dt (Eq. 8), in one pass; r stays where it is."""

        def u(z: Tensor, t: Tensor, span: Tensor) -> Tensor:
            return self.velocity(z, t, span, conditioning)

        along = v, torch.ones_like(t), torch.ones_like(span)  # as t grows, so does t - r
        # In float32, because a derivative loses in half precision; the fused kernels have no forward derivative.
        with torch.autocast(t.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
            value, change = torch.func.jvp(u, (z, t, span), along)[:2]
        return value, change.detach()

    def velocity(self, x: Tensor, t: Level, span: Level, conditioning: Conditioning) -> Tensor:
        """The mean velocity (B, C, H, W) from t down to r = t - ``span``, at ``x`` there."""
        times = for_each(t * SLOW_TIME_SCALE, x), for_each(span * SLOW_TIME_SCALE, x)
        out: Tensor = self.network(x, *times, **conditioning)
        return out.float()

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """The expected picture, of the velocity at a moment, where r = t."""
        self.settings(how)  # refuses knobs that there are not
        given = self.conditioner(condition, n)
        return instant_denoiser(lambda x, t, span: self.velocity(x, t, span, given))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """t / (1 - t) of the times of :meth:`sample`, then 0; the first is large in place of infinite."""
        return flow_levels(self.settings(how).steps)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Algorithm 2, or Eq. 12 over each of ``steps`` stretches of equal length."""
        noise = rng.normal(len(rng), *self.shape, device=self.device)
        given = self.conditioner(condition, len(rng))
        times = flow_times(self.settings(how).steps)
        return walk(lambda x, t, span: self.velocity(x, t, span, given), noise, times).clamp(-1, 1)
