"""Score-based models through stochastic differential equations (Song et al. 2021, arXiv:2011.13456).

Noise grows by an SDE, variance-preserving, sub-VP or variance-exploding; a network learns the score at every time, and
the SDE, or an ordinary equation with the same marginals, is solved backwards.

Paper -> code: x(0) -> image, x(t) -> noisy, z -> noise, mean and deviation of p_0t -> ``path.alpha`` and ``path.std``,
s_theta = -F / std -> network, lambda(t) = std^2, epsilon (the least time) -> least, beta_min and beta_max, or sigma_min
and sigma_max -> low and high, r -> snr, M -> corrections. Samplers work on x / alpha: see diffusion/sampler.py.

Parts: diffusion/path.py (the SDEs), diffusion/precondition.py, diffusion/predictor_corrector.py,
diffusion/likelihood.py, diffusion/guidance.py, nn/networks.py, nn/conditioner.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning, bind_condition, clamped, classifier_free
from zeuxis.diffusion.likelihood import LOW, differentiable, draw_probe, ve_log_prob
from zeuxis.diffusion.path import SDES, Level, SdeKind, add_noise, append_dims, for_each
from zeuxis.diffusion.precondition import in_ve, to_x0
from zeuxis.diffusion.predictor_corrector import Predictor, own_or_solver, predictor_corrector
from zeuxis.diffusion.sampler import ByLevel, Denoise, Sampler
from zeuxis.diffusion.schedule import check_levels
from zeuxis.diffusion.weighting import squared_error
from zeuxis.errors import UsageError, lookup
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.augment import random_flip
from zeuxis.nn.conditioner import ConditionKind, check_guidance, check_null, drop_mask, label_conditioner
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.networks import UNETS, Ends, build_network
from zeuxis.rng import ImageRng, Rng, normal_like

RANGES: Mapping[str, tuple[float, float]] = {"vp": (0.1, 20.0), "sub-vp": (0.1, 20.0), "ve": (0.02, 100.0)}


class ScoreSDE(System):
    """A score network in continuous time; with ``condition`` "label", class-conditional.

    Args:
        network: a table of :data:`zeuxis.nn.networks.UNETS`: the network; DDPM's U-Net where none is named.
        sde: "vp", "sub-vp" or "ve".
        low: beta_min of "vp" and "sub-vp", sigma_min of "ve" (a standard deviation beside images in [-1, 1]); 0 takes
            the paper's: 0.1, and 0.02.
        high: beta_max, or sigma_max; 0 takes the paper's: 20, and 100.
        least: the least time that training, sampling and likelihood go to, of 1; 0 takes the paper's of sampling: 1e-5,
            and 1e-3 of "vp" and "sub-vp".
        flips: whether training flips every second picture from left to right, as the paper does on CIFAR-10.
        drop: how often training hides the condition, for classifier-free guidance; idle without one.
        clamp: whether sampling keeps the expected image within [-1, 1] at every call.
        predictor: "reverse-diffusion", the paper's, which wants many steps, or "ancestral": default of the knob.
        corrections: steps of Langevin dynamics after each step of the predictor: default of the knob.
        snr: signal-to-noise ratio of those steps: default of the knob. 0.16 in the paper, 0.075 at 256 pixels.
        tolerance: of the solver of the likelihood's equation, a step and a dimension; larger is quicker.
    """

    card = Card(
        "score-sde",
        title="Score-based model through an SDE",
        family="diffusion",
        year=2021,
        paper="2011.13456",
        verbs={"sample", "log_prob", "denoiser"},
        accepts={"label"},
        knobs=(
            "steps",
            "guidance",
            Knob(
                "sampler",
                "choice",
                "predictor-corrector, or a solver of the flow's equation",
                choices=("predictor-corrector",),
                beside=True,
            ),
            "eta",
            "churn",
            Knob(
                "predictor",
                "choice",
                "how each step to the next level is drawn; ancestral suits few steps",
                choices=("reverse-diffusion", "ancestral"),
            ),
            Knob("corrections", "int", "steps of Langevin dynamics after each of the predictor", least=0, most=1000),
            Knob("snr", "float", "signal-to-noise ratio of those steps", least=0, most=10),
        ),
        departures=(
            "The expected image is clamped to [-1, 1] in sampling, as DDPM's is (`clamp`); the papers' is not.",
            "A U-Net of DDPM unless another network is named.",
            "A step's size is chosen for each picture by its own norms, not by means over the batch.",
            "Reverse diffusion is solved on x / alpha, where the drift of VP and sub-VP is none.",
            "Training goes no nearer to the picture than sampling does; the paper's goes to a time of 1e-5.",
            "The corrector's step lacks the factor alpha of the paper's for VP, near 1 where steps are many.",
            "The network is told the time, of VE too, where the paper's is told log sigma: the two are linear in one "
            "another.",
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
        sde: SdeKind = "vp",
        low: float = 0.0,
        high: float = 0.0,
        least: float = 0.0,
        flips: bool = False,
        drop: float = 0.1,
        clamp: bool = True,
        steps: int = 1000,
        guidance: float = 1.0,
        sampler: str = "predictor-corrector",
        predictor: Predictor = "reverse-diffusion",
        corrections: int = 1,
        snr: float = 0.16,
        tolerance: float = 1e-5,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.tolerance = tolerance
        usual = lookup("SDE", sde, RANGES)
        ends = low or usual[0], high or usual[1]
        check_levels(*ends)
        if not 0 <= least < 1:
            raise UsageError(
                f"least {least:g}: times go from there to 1; give one above 0 and below 1, or 0 for the paper's"
            )
        self.path = SDES[sde](*ends)
        self.least = least or (1e-5 if sde == "ve" else 1e-3)
        self.flips, self.drop, self.clamp = flips, drop, clamp
        self.network = build_network(network, Ends(self.shape), UNETS)
        self.stride = self.network.stride
        self.conditioner = label_conditioner(condition, classes, self.network.vector_width)
        self.player = Player("network", (self.network, self.conditioner), lr=2e-4, clip=1.0, warmup=5000)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.match),)

    def match(self, turn: Turn) -> Tensor:
        """Eq. 7: std^2 |s - grad log p_0t|^2, which is |F - z|^2, at a time uniform in [least, 1]."""
        image = random_flip(turn.batch.image, turn.rng) if self.flips else turn.batch.image  # (B, C, H, W)
        n = len(image)
        noise = normal_like(image, turn.rng)
        t = self.least + (1 - self.least) * turn.rng.uniform(n, device=image.device)  # (B,)
        dropped = drop_mask(n, self.drop, turn.rng, image.device)
        conditioning = self.conditioner(turn.batch.condition, n, dropped)
        return squared_error(self._network(add_noise(self.path, image, noise, t), t, conditioning), noise).mean()

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """The expected image (B, C, H, W) given ``x = image + sigma noise``; ``sigma`` (B,), or one for all."""
        c = in_ve("epsilon", self.path, sigma)
        return to_x0(c, self._network(append_dims(c.input, x) * x, c.noise, conditioning), x)

    def _network(self, noisy: Tensor, t: Level, conditioning: Conditioning) -> Tensor:
        """F = -std s (B, C, H, W), the noise."""
        prediction: Tensor = self.network(noisy, for_each(t * TIME_SCALE, noisy), **conditioning).float()
        return prediction

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """:meth:`denoise` under ``condition`` with guidance, x0 kept within [-1, 1] where ``clamp`` says so."""
        scale, null = self.settings(how).guidance, self.conditioner.null(n)
        check_guidance(scale, self.drop, self.conditioner)
        guided = classifier_free(self.denoise, self.conditioner(condition, n), null, scale)
        return ByLevel(clamped(guided) if self.clamp else guided)

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """std / alpha at ``steps`` times, evenly from 1 to the least (Appendix G), then 0."""
        t = torch.linspace(1, self.least, self.settings(how).steps, dtype=torch.float64)
        sigma = self.path.std(t) / self.path.alpha(t)
        return torch.cat([sigma, sigma.new_zeros(1)]).float()

    def solver(self, how: Sampling = Sampling()) -> Sampler:
        """Alg. 1, or a solver of the flow's equation (Eq. 13)."""
        knobs = self.settings(how)
        both = partial(predictor_corrector, predictor=knobs.predictor, corrections=knobs.corrections, snr=knobs.snr)
        return own_or_solver("predictor-corrector", both, ("predictor", "corrections", "snr"), knobs.sampler, how)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """By :meth:`solver` down :meth:`levels`."""
        solve, levels = self.solver(how), self.levels(how)
        x = levels[0] * rng.normal(len(rng), *self.shape, device=self.device)
        return solve(self.denoiser(condition, len(rng), how), x, levels, rng).clamp(-1, 1)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """The log-likelihood in nats (B,) by the flow's equation (Eq. 39), its divergence estimated by one probe.

        Of images (B, C, H, W), under no condition, under the noise of the least time that the network was trained at,
        where that is more than dequantising adds. Of "ve" the pictures count for something beside the noise of the
        greatest level, which is neglected.
        """
        check_null(self.drop, self.conditioner, "a likelihood")
        high = self.path.std(1.0) / self.path.alpha(1.0)
        low = max(LOW, self.path.std(self.least) / self.path.alpha(self.least))
        with differentiable():
            null = bind_condition(self.denoise, self.conditioner.null(len(image)), conditional=False)
            prior = 1 / self.path.alpha(1.0) if self.path.alpha(1.0) < 1 else high
            probes = [draw_probe(image, rng)]
            return ve_log_prob(
                null, image, high=high, low=low, prior=prior, probes=probes, tolerance=self.tolerance
            ).log_prob
