"""Noise-conditional score networks (Song & Ermon 2019, arXiv:1907.05600; 2020, arXiv:2006.09011).

A network learns the score of the pictures under noise of every level of a ladder, and Langevin dynamics walks down it.

Paper -> code: x -> image, z -> noise, x~ = x + sigma z -> noisy, s_theta = F / sigma -> network, sigma_1 (the greatest)
and sigma_L -> high and low, L -> scales, T -> each, epsilon / sigma_L^2 -> rate. Their pictures lie in [0, 1] and ours
in [-1, 1]: levels are twice theirs, and a rate, which is relative to its level, is the same.

Parts: diffusion/predictor_corrector.py (annealed Langevin dynamics, and how ladder and rate are chosen),
diffusion/path.py (``VeSde``), diffusion/guidance.py, nn/networks.py, nn/conditioner.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning, clamped, classifier_free
from zeuxis.diffusion.path import Level, VeSde, append_dims, for_each
from zeuxis.diffusion.predictor_corrector import annealed_langevin, ladder, langevin_rate, own_or_solver
from zeuxis.diffusion.sampler import ByLevel, Denoise, Sampler
from zeuxis.diffusion.schedule import check_levels, geometric
from zeuxis.diffusion.weighting import squared_error
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.conditioner import ConditionKind, check_guidance, drop_mask, label_conditioner
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.networks import UNETS, Ends, build_network
from zeuxis.rng import ImageRng, normal_like


class NCSN(System):
    """Score matching on a ladder of noise levels; with ``condition`` "label", class-conditional.

    Args:
        network: a table of :data:`zeuxis.nn.networks.UNETS`: the network; DDPM's U-Net where none is named.
        low: least level of noise, a standard deviation beside images in [-1, 1].
        high: greatest level; of the order of the largest distance between two pictures (2020, Technique 1).
        scales: how many levels training visits, in constant ratio; 0 has as many as 2020's Technique 2 asks for.
        blind: whether the network is not told the level, and only its output is divided by it (2020, Technique 3).
        drop: how often training hides the condition, for classifier-free guidance; idle without one.
        clamp: whether sampling keeps the expected image within [-1, 1] at every call.
        steps: levels that sampling goes through: default of the knob; 0 is all of training's.
        each: steps of Langevin dynamics at every level: default of the knob. 100 in 2019, 5 in 2020.
        rate: of a step, over the level's square: default of the knob; 0 is what 2020's Technique 4 chooses.
        clean: whether a last call takes off the noise of the least level, as in 2020: default of the knob.
    """

    card = Card(
        "ncsn",
        title="Noise-conditional score network",
        family="diffusion",
        year=2019,
        paper="1907.05600",
        verbs={"sample", "denoiser"},
        accepts={"label"},
        knobs=(
            "steps",
            "guidance",
            Knob(
                "sampler",
                "choice",
                "Langevin dynamics, or a solver of the flow's equation",
                choices=("annealed-langevin",),
                beside=True,
            ),
            "eta",
            "churn",
            Knob("each", "int", "steps of Langevin dynamics at every level", least=1, most=10_000),
            Knob("rate", "float", "of a step, over the level's square; 0: Technique 4's", least=0, most=1),
            Knob("clean", "switch", "whether a last call takes off the least level's noise"),
        ),
        departures=(
            "The expected image is clamped to [-1, 1] in sampling, as DDPM's is (`clamp`); the papers' is not.",
            "A U-Net with group normalisation and a time embedding in place of RefineNet.",
            "Sampling starts from normal noise of the greatest level, not from uniform noise.",
            "The loss is a mean over pixels, not half their sum.",
        ),
    )

    predicts_noise = True

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: ConditionKind = "none",
        network: Mapping[str, Any] | None = None,
        low: float = 0.02,
        high: float = 100.0,
        scales: int = 0,
        blind: bool = False,
        drop: float = 0.1,
        clamp: bool = True,
        steps: int = 0,
        guidance: float = 1.0,
        sampler: str = "annealed-langevin",
        each: int = 5,
        rate: float = 0.0,
        clean: bool = True,
    ) -> None:
        super().__init__()
        check_levels(low, high)
        if scales == 1 or scales < 0:
            raise UsageError(f"a ladder of {scales} scales: give 2 or more, or 0 for as many as the pictures want")
        self.shape = Shape(*shape)
        self.low, self.high, self.blind, self.drop, self.clamp = low, high, blind, drop, clamp
        self.scales = scales or ladder(low, high, math.prod(self.shape))
        self.path = VeSde(low, high)
        self.network = build_network(network, Ends(self.shape), UNETS)
        self.stride = self.network.stride
        self.conditioner = label_conditioner(condition, classes, self.network.vector_width)
        self.player = Player("network", (self.network, self.conditioner), lr=1e-4)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.match),)

    def match(self, turn: Turn) -> Tensor:
        """Denoising score matching (2019, Eq. 5 and 6): sigma^2 |s + z / sigma|^2, which is |F + z|^2."""
        image = turn.batch.image  # (B, C, H, W)
        n = len(image)
        place = turn.rng.integers(self.scales, n, device=image.device)  # (B,) on the ladder
        sigma = self.path.std(place / (self.scales - 1))
        noise = normal_like(image, turn.rng)
        dropped = drop_mask(n, self.drop, turn.rng, image.device)
        conditioning = self.conditioner(turn.batch.condition, n, dropped)
        prediction = self._network(image + append_dims(sigma, image) * noise, sigma, conditioning)
        return squared_error(prediction, -noise).mean()

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """The expected image (B, C, H, W), x + sigma^2 s, given ``x = image + sigma noise``; ``sigma`` (B,) or one."""
        return x + append_dims(sigma, x) * self._network(x, sigma, conditioning)

    def _network(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """F = sigma s (B, C, H, W)."""
        time = for_each(self.path.time(sigma) * (0 if self.blind else TIME_SCALE), x)  # (B,)
        prediction: Tensor = self.network(x, time, **conditioning).float()
        return prediction

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """:meth:`denoise` under ``condition`` with guidance, x0 kept within [-1, 1] where ``clamp`` says so."""
        scale, null = self.settings(how).guidance, self.conditioner.null(n)
        check_guidance(scale, self.drop, self.conditioner)
        guided = classifier_free(self.denoise, self.conditioner(condition, n), null, scale)
        return ByLevel(clamped(guided) if self.clamp else guided)

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """``steps`` levels in constant ratio from ``high`` to ``low``, then 0."""
        return geometric(self.settings(how).steps or self.scales, self.low, self.high)

    def solver(self, how: Sampling = Sampling()) -> Sampler:
        """Annealed Langevin dynamics (2020, Alg. 1), or a solver of the flow's equation."""
        knobs, levels = self.settings(how), self.levels(how)
        ratio = float(levels[0] / levels[1]) if levels[1] > 0 else 1.0
        langevin = partial(
            annealed_langevin, each=knobs.each, rate=knobs.rate or langevin_rate(ratio, knobs.each), clean=knobs.clean
        )
        return own_or_solver("annealed-langevin", langevin, ("each", "rate", "clean"), knobs.sampler, how)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """By :meth:`solver` down :meth:`levels`."""
        solve, levels = self.solver(how), self.levels(how)
        x = levels[0] * rng.normal(len(rng), *self.shape, device=self.device)
        return solve(self.denoiser(condition, len(rng), how), x, levels, rng).clamp(-1, 1)
