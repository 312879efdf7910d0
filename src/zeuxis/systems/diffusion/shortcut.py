"""Shortcut models (Frans, Hafner, Levine & Abbeel 2024, arXiv:2410.12557): one network for steps of every length.

A flow-matching network is also told how long its step will be. For steps of no length it learns the velocity from data;
for a step of length 2 d it learns from itself where two steps of length d lead.

Paper -> code: x_1 (data) -> image, x_0 (noise) -> noise, t -> 1 - t (here time grows with noise, as in every other
diffusion model), d -> span, s_theta -> velocity, s_target -> target, M -> finest, k -> share.

Parts: diffusion/path.py (``Straight``), diffusion/mean_velocity.py (``walk``), nn/two_times.py, nn/networks.py (and the
one network that is chosen), nn/conditioner.py.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning
from zeuxis.diffusion.mean_velocity import instant_denoiser, walk
from zeuxis.diffusion.path import Level, Straight, add_noise, append_dims, for_each
from zeuxis.diffusion.sampler import Denoise
from zeuxis.diffusion.schedule import flow_levels, flow_times
from zeuxis.diffusion.weighting import squared_error
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.conditioner import ConditionKind, label_conditioner
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.networks import Ends, build_network
from zeuxis.nn.two_times import TwoTimes
from zeuxis.rng import ImageRng, normal_like


class Shortcut(System):
    """Pictures in 1, 2, 4, ... steps of one network, trained in one go without a teacher.

    Args:
        condition: what it obeys: "none" or "label" (of data with classes).
        network: a table of :data:`zeuxis.nn.networks.NETWORKS`: the network, a transformer on patches, a U-Net, or
            convolutions with a transformer in the middle.
        finest: steps of the finest walk that longer steps are learnt from, M: a power of two.
        share: of the batch that learns longer steps; the rest learns the velocity.
        mu: decay an iteration of the averaged network that longer steps are learnt from; 0 makes it the network itself.
    """

    card = Card(
        "shortcut",
        title="Shortcut model",
        family="diffusion",
        year=2024,
        paper="2410.12557",
        verbs={"sample", "denoiser"},
        accepts={"label"},
        knobs=("steps",),
        departures=(
            "Without classifier-free guidance.",
            "Times of the velocity's part are uniform in [0, 1), not multiples of the finest step.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: ConditionKind = "none",
        network: Mapping[str, Any] | None = None,
        finest: int = 128,
        share: float = 0.25,
        mu: float = 0.999,
        steps: int = 1,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if finest < 2 or finest & (finest - 1):
            raise UsageError(f"a finest walk of {finest} steps is not doubled to one step: set finest to 2, 4, 8, ...")
        if not 0 < share < 1:
            raise UsageError(f"share {share} of the batch: both parts need some, so it lies between 0 and 1")
        self.doublings, self.share, self.mu = finest.bit_length() - 1, share, mu
        self.path = Straight()
        self.network = TwoTimes(build_network(network, Ends(self.shape)))
        self.conditioner = label_conditioner(condition, classes, self.network.network.vector_width)
        self.target, self.target_conditioner = copy.deepcopy(self.network), copy.deepcopy(self.conditioner)
        self.freeze(self.target)
        self.freeze(self.target_conditioner)
        self.player = Player("network", (self.network, self.conditioner), lr=1e-4, optimiser="adamw", weight_decay=0.1)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.match),)

    def match(self, turn: Turn) -> Tensor:
        """Eq. 5: the velocity for most of the batch, and for the rest where two steps of half the length lead."""
        image, condition = turn.batch.image, turn.batch.condition  # (B, C, H, W)
        n, device = len(image), image.device
        if turn.images < 2:
            raise UsageError("some of a batch learn the velocity and some longer steps: set train.batch to 2 or more")
        doubled = turn.among_first(min(math.ceil(self.share * turn.images), turn.images - 1))  # learn longer steps
        noise = normal_like(image, turn.rng)
        level = 1 + turn.rng.integers(self.doublings, doubled, device=device)
        span = 2.0 ** (level - 1 - self.doublings)  # d: (doubled,) of 1 / M, 2 / M, ..., 1 / 2
        stops = 2 ** (self.doublings - level)  # how many steps of length 2 d there are
        u = turn.rng.uniform(n, device=device)
        t = torch.cat([(1 + (u[:doubled] * stops).floor()) / stops, 1 - u[doubled:]])  # (B,) in (0, 1]
        noisy = add_noise(self.path, image, noise, t)  # Eq. 1
        target = noise - image  # the empirical velocity, with the sign of a time that grows with noise
        if doubled:
            # The finest step of all stands for a step of no length.
            asked = torch.where(level == 1, 0 * span, span)
            led = self.led(noisy[:doubled], t[:doubled], span, asked, condition[:doubled])
            target = torch.cat([led, target[doubled:]])
        spans = torch.cat([2 * span, 0 * t[doubled:]])
        error = squared_error(self.velocity(noisy, t, spans, self.conditioner(condition, n)), target)  # (B,)
        parts = {"velocity": error[doubled:], "doubled": error[:doubled]}
        turn.note(**{name: part.mean() for name, part in parts.items() if len(part)})
        return error.mean()

    @torch.no_grad()
    def led(self, x: Tensor, t: Tensor, span: Tensor, asked: Tensor, condition: Condition) -> Tensor:
        """The mean velocity (B, C, H, W) of two steps of length ``span``, of the network ``asked`` for that (Eq. 4)."""
        net, conditioner = (self.target, self.target_conditioner) if self.mu else (self.network, self.conditioner)
        given = conditioner(condition, len(x))
        first = self.velocity(x, t, asked, given, net)
        nearer = x - append_dims(span, x) * first  # x'_{t + d}
        return (first + self.velocity(nearer, t - span, asked, given, net)) / 2

    def after_round(self, turn: Turn) -> None:
        """The averaged network moves towards the network."""
        if self.mu:
            online: list[Tensor] = [*self.network.parameters(), *self.conditioner.parameters()]
            slow: list[Tensor] = [*self.target.parameters(), *self.target_conditioner.parameters()]
            torch._foreach_lerp_(slow, online, 1 - self.mu)

    def velocity(
        self, x: Tensor, t: Level, span: Level, conditioning: Conditioning, network: TwoTimes | None = None
    ) -> Tensor:
        """s(x, t, span) (B, C, H, W): a step of that length towards the picture is ``x - span s``."""
        net = self.network if network is None else network
        times = for_each(t * TIME_SCALE, x), for_each(span * TIME_SCALE, x)
        out: Tensor = net(x, *times, **conditioning)
        return out.float()

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """The expected picture, of the velocity that steps of no length take."""
        self.settings(how)  # refuses knobs that there are not
        given = self.conditioner(condition, n)
        return instant_denoiser(lambda x, t, span: self.velocity(x, t, span, given))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """t / (1 - t) of the times of :meth:`sample`, then 0; the first is large in place of infinite."""
        return flow_levels(self.settings(how).steps)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Algorithm 2, in ``steps`` steps of equal length: best 1, 2, 4, ..., which training meets."""
        noise = rng.normal(len(rng), *self.shape, device=self.device)
        given = self.conditioner(condition, len(rng))
        times = flow_times(self.settings(how).steps)
        return walk(lambda x, t, span: self.velocity(x, t, span, given), noise, times).clamp(-1, 1)
