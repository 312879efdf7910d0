"""Flow matching (Lipman et al. 2022, arXiv:2210.02747) on straight lines: rectified flow (Liu et al. 2022, 2209.03003).

A network learns the velocity that carries noise to data along straight lines; an ordinary differential
equation is then solved from noise to image.

Paper -> code: x_1 (data) -> image, x_0 (noise) -> noise, t -> 1 - t (here time grows with noise, as in every
other diffusion model), u_t -> velocity, v_t(x; theta) -> network, psi_t(x_0) -> noisy.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Signal, classifier_free
from zeuxis.diffusion.path import Straight, mix, target, to_x0
from zeuxis.diffusion.sampler import sampler
from zeuxis.diffusion.schedule import flow_times
from zeuxis.diffusion.weighting import DENSITIES, TimeDensity
from zeuxis.game import Move, Player, Sampling, Turn
from zeuxis.nn.dit import DiT
from zeuxis.rng import ImageRng, normal_like
from zeuxis.systems.diffusion._family import ConditionalDiffusion, ConditionKind, reader, squared_error

TIME_SCALE = 1000  # the time embedding's frequencies were made for steps out of 1000


class FlowMatching(ConditionalDiffusion):
    """Unconditional, or obeying labels or captions with classifier-free guidance.

    Args:
        condition: what it obeys; "label" needs data with classes and "caption" data with captions.
        network: a transformer on patches, or a U-Net. ``width``, ``depth`` (blocks; of a U-Net, blocks a level)
            and ``heads`` size both; ``patch`` the transformer; ``multipliers`` and ``attention`` (the levels,
            counted from 0, that attend) the U-Net.
        text_width, text_depth, text_heads, text_length: the caption reader, and the longest caption in words.
        density: which times training visits; "logit-normal" favours the middle (Esser et al. 2024, 2403.03206).
        drop: how often training hides the condition.
        steps, guidance, solver: the defaults of sampling; ``shift`` above 1 spends more of the steps near noise.
    """

    card = Card(
        "flow-matching",
        title="Flow matching",
        family="diffusion",
        year=2022,
        paper="2210.02747",
        accepts=frozenset({"label", "caption"}),
        knobs=frozenset({"steps", "guidance", "sampler"}),
        departures=(
            "sigma_min is 0: the path ends in the image itself, as in rectified flow.",
            "The network is a diffusion transformer unless a U-Net is asked for.",
            "Euler's or Heun's method with fixed steps, not an adaptive solver.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        words: tuple[str, ...] = (),
        condition: ConditionKind = "none",
        network: Literal["dit"] = "dit",
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        patch: int = 2,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        attention: tuple[int, ...] = (1,),
        text_width: int = 128,
        text_depth: int = 2,
        text_heads: int = 4,
        text_length: int = 32,
        density: TimeDensity = "uniform",
        drop: float = 0.1,
        steps: int = 50,
        guidance: float = 1.0,
        solver: Literal["euler", "heun"] = "euler",
        shift: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.density, self.drop = DENSITIES[density], drop
        self.steps, self.guidance, self.solver, self.shift = steps, guidance, solver, shift
        self.path = Straight()
        channels, *size = self.shape
        text = text_width if condition == "caption" else 0
        self.network = DiT(
            channels, (size[0], size[1]), patch=patch, width=width, depth=depth, heads=heads, text_width=text
        )
        self.reader = reader(condition, classes, words, width, text_length, text_width, text_depth, text_heads)
        self.player = Player("network", (self.network, self.reader), lr=1e-4)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.match),)

    def match(self, turn: Turn) -> Tensor:
        """Conditional flow matching (Eq. 23): the velocity at a random time on a random line."""
        image = turn.batch.image  # (B, C, H, W)
        noise = normal_like(image, turn.rng)
        t = self.density(turn.rng, len(image), image.device)  # (B,)
        noisy = mix(self.path, image, noise, t)  # Eq. 22 with sigma_min = 0
        velocity = self.network(noisy, t * TIME_SCALE, **self.hear(turn.batch.condition, len(image), turn.rng))
        return squared_error(velocity, target("velocity", self.path, image, noise, t)).mean()

    def denoise(self, x: Tensor, t: Tensor, signal: Signal) -> Tensor:
        """The expected image (B, C, H, W) given ``x`` on the straight path at times ``t`` (B,)."""
        velocity = self.network(x, t * TIME_SCALE, **signal).float()
        return to_x0("velocity", self.path, velocity, x, t)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Solve the flow from noise to image in ``how.steps`` steps (Heun calls the network twice a step)."""
        n = len(rng)
        scale = self.guidance if how.guidance is None else how.guidance
        guided = classifier_free(self.denoise, self.reader(condition, n), self.reader.null(n), scale)
        solve = sampler(how.sampler or self.solver, among=("euler", "heun"))
        noise = rng.normal(n, *self.shape, device=self.device)
        return solve(guided, noise, flow_times(how.steps or self.steps, self.shift), rng).clamp(-1, 1)
