"""Denoising diffusion probabilistic models (Ho, Jain & Abbeel 2020, arXiv:2006.11239).

A chain of T small steps turns an image into noise; a U-Net learns the noise in what lies between, and so
every step backwards.

Paper -> code: x_0 -> image, x_t -> noisy, epsilon -> noise, epsilon_theta -> network, T -> chain,
alpha-bar_t -> alpha(t)^2 of ``path``, t (1 to T) -> t + 1 (0 to T - 1). Samplers work on x_t / sqrt(alpha-bar_t),
whose noise has deviation sigma_t = sqrt((1 - alpha-bar_t) / alpha-bar_t): see :mod:`zeuxis.diffusion.sampler`.

Parts: diffusion/path.py (the chain), diffusion/precondition.py (what the network predicts), diffusion/sampler.py,
diffusion/likelihood.py, diffusion/guidance.py, nn/unet.py, nn/conditioner.py.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.special import log_ndtr

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning, bind_condition, clamped, classifier_free
from zeuxis.diffusion.likelihood import differentiable, draw_probe, ve_log_prob
from zeuxis.diffusion.path import BetaSchedule, Level, VariancePreserving, add_noise, append_dims, betas, for_each
from zeuxis.diffusion.precondition import Prediction, in_ve, on_path, target, to_x0
from zeuxis.diffusion.sampler import ByLevel, Denoise, with_knobs
from zeuxis.diffusion.schedule import Spacing, respaced
from zeuxis.diffusion.weighting import min_snr, squared_error
from zeuxis.distributions.normal import Normal
from zeuxis.distributions.reduce import per_image
from zeuxis.errors import UnknownName
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.augment import random_flip
from zeuxis.nn.centre import centre_features
from zeuxis.nn.conditioner import ConditionKind, check_guidance, check_null, drop_mask, label_conditioner
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.unet import UNet, check_sides, start_as_ddpm
from zeuxis.rng import ImageRng, Rng, normal_like
from zeuxis.verbs import Likelihood

_PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "x0", "v")
BIN = 2 / 255  # between neighbouring grey levels in [-1, 1]


class DDPM(System):
    """The U-Net and the chain of the paper; with ``condition`` "label", class-conditional.

    Args:
        width: channels of the U-Net at its finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        heads: of each attention.
        chain: steps of the chain, T.
        schedule: of the chain's variances: "linear" (the paper's), "cosine" or "scaled-linear".
        predicts: what the network predicts: the noise, "epsilon" (the paper's), the image, "x0", or the velocity, "v".
        gamma: the loss is weighed by min(SNR, gamma); 0 is the paper's L_simple.
        drop: how often training hides the condition, for classifier-free guidance; idle without one.
        flips: whether training flips every second picture from left to right, as the paper does on CIFAR-10.
        steps: of the chain that sampling takes: default of the knob; 0 is all T.
    """

    likelihood_of = Likelihood.DENSITY_OF_LEVELS
    card = Card(
        "ddpm",
        title="Denoising diffusion probabilistic model",
        family="diffusion",
        year=2020,
        paper="2006.11239",
        verbs={"sample", "log_prob", "denoiser", "inner_features"},
        accepts={"label"},
        knobs=(
            "steps",
            "guidance",
            "sampler",
            "eta",
            "churn",
            "spacing",
            Knob(
                "noise",
                "float",
                "deviation of the noise on pictures whose inner features are read",
                0.2,
                least=0.01,
                most=100,
            ),
        ),
        departures=(
            "No dropout.",
            "The corrections of Heun's method, DPM-Solver and UniPC are held to the change between two answers; "
            "their papers carry it further where a step is long.",
            "Ancestral sampling uses the posterior's variance, the smaller of the paper's two.",
            "The last term of the bound has the deviation sigma_1 and the same clamped mean as the others.",
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
        blocks: int = 2,
        attention: tuple[int, ...] = (2,),
        heads: int = 1,
        chain: int = 1000,
        schedule: BetaSchedule = "linear",
        predicts: Prediction = "epsilon",
        gamma: float = 0.0,
        drop: float = 0.1,
        flips: bool = False,
        steps: int = 0,
        guidance: float = 1.0,
        sampler: str = "ancestral",
        spacing: Spacing = "karras",
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if predicts not in _PREDICTIONS:
            raise UnknownName("prediction", predicts, _PREDICTIONS)
        self.predicts, self.gamma, self.drop, self.flips = predicts, gamma, drop, flips
        self.predicts_noise = predicts == "epsilon"
        self.path = VariancePreserving(betas(schedule, chain))
        channels, height, cols = self.shape
        check_sides(height, cols, len(multiples))
        self.network = UNet(
            channels, width=width, multiples=multiples, blocks=blocks, attention=attention, heads=heads, ddpm=True
        )
        start_as_ddpm(self.network)
        self.stride = self.network.stride  # the U-Net is convolutions all through
        self.conditioner = label_conditioner(condition, classes, self.network.vector_width)
        self.player = Player("network", (self.network, self.conditioner), lr=2e-4, clip=1.0, warmup=5000)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.predict),)

    def predict(self, turn: Turn) -> Tensor:
        """L_simple (Eq. 14): the noise at a random step of the chain."""
        image = turn.batch.image  # (B, C, H, W)
        if self.flips:
            image = random_flip(image, turn.rng)
        noise = normal_like(image, turn.rng)
        t = turn.rng.integers(len(self.path), len(image), device=image.device)  # (B,)
        noisy = add_noise(self.path, image, noise, t)  # Eq. 4
        dropped = drop_mask(len(image), self.drop, turn.rng, image.device)
        c = on_path(self.predicts, self.path, t)
        prediction = self._network(noisy, t, self.conditioner(turn.batch.condition, len(image), dropped))
        error = squared_error(prediction, target(c, image, noisy))  # (B,); the target is the noise, if "epsilon"
        return (error if not self.gamma else min_snr(self.path.sigma(t), self.gamma) * c.out**2 * error).mean()

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """The expected image (B, C, H, W) given ``x = image + sigma noise``; ``sigma`` (B,), or one for all."""
        c = in_ve(self.predicts, self.path, sigma)
        return to_x0(c, self._network(append_dims(c.input, x) * x, c.noise, conditioning).float(), x)

    def _network(self, noisy: Tensor, t: Level, conditioning: Conditioning) -> Tensor:
        # The time embedding's frequencies were made for 1000 steps.
        time = for_each(t * (TIME_SCALE / len(self.path)), noisy)  # (B,)
        prediction: Tensor = self.network(noisy, time, **conditioning)
        return prediction

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """:meth:`denoise` under ``condition`` with guidance, x0 clamped as in every step of the paper's sampler."""
        scale = self.settings(how).guidance
        check_guidance(scale, self.drop, self.conditioner)
        null = self.conditioner.null(n)
        return ByLevel(clamped(classifier_free(self.denoise, self.conditioner(condition, n), null, scale)))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """sigma_t of the chain, descending, then 0; or ``steps`` levels between them, by the knob ``spacing``."""
        knobs = self.settings(how)
        return respaced(self.path.sigmas, knobs.steps or len(self.path), knobs.spacing)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Alg. 2, or any sampler of :mod:`zeuxis.diffusion.sampler` in ``steps`` steps; x0 is clamped at every one."""
        levels = self.levels(how)
        x = rng.normal(len(rng), *self.shape, device=self.device)  # x_T ~ N(0, I), ...
        x = x * math.sqrt(1 + float(levels[0]) ** 2)  # ... over sqrt(alpha-bar_T)
        solve = with_knobs(self.settings(how).sampler, how)
        return solve(self.denoiser(condition, len(rng), how), x, levels, rng).clamp(-1, 1)

    def inner_features(self, image: Tensor, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The U-Net's middle, the mean over its pixels ``(B, D)``: of noisy pictures, without a condition."""
        sigma, null = self.settings(how).noise, self.conditioner.null(len(image))
        x = image + sigma * rng.normal(*image.shape, device=image.device)
        return centre_features(self.network, lambda: self.denoise(x, sigma, null))

    @torch.no_grad()
    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """A lower bound in nats (B,): minus the whole of Eq. 5, one draw of noise for each of its T terms.

        Of the density on [-1, 1]^d that is constant within a grey level: the paper's discrete likelihood is
        ``d log(127.5)`` lower. For images of 256 grey levels, as they are, without a condition.
        """
        check_null(self.drop, self.conditioner, "a likelihood")
        null = self.conditioner.null(len(image))
        denoise = ByLevel(clamped(bind_condition(self.denoise, null, conditional=False))).of

        def denoised(sigma: float) -> Tensor:
            """The model's x0 (B, C, H, W) where ``image`` lies under fresh noise of deviation ``sigma``."""
            return denoise(image + sigma * normal_like(image, rng), sigma)

        sigmas: list[float] = self.path.sigmas.tolist()
        t = self.path.time(sigmas[-1])
        log_variance = torch.full_like(image, 2 * math.log(self.path.std(t)))
        bound = -Normal(self.path.alpha(t) * image, log_variance).kl_standard()  # L_T
        for before, sigma in reversed(list(pairwise(sigmas))):  # L_{t-1}
            error = per_image((image - denoised(sigma)).square())
            bound -= 0.5 * (before**-2 - sigma**-2) * error  # Eq. 8 in terms of x0
        grey = discretised_normal_log_prob(denoised(sigmas[0]), sigmas[0], image)  # L_0, Eq. 13
        return bound + grey + math.prod(self.shape) * math.log(1 / BIN)

    def flow_log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """The log-likelihood in nats (B,) by the probability flow, beside the bound of :meth:`log_prob`.

        Of a density at the chain's least noise, so of dequantised images; its divergence is estimated by one probe.
        """
        check_null(self.drop, self.conditioner, "a likelihood")
        sigmas = self.path.sigmas
        low, high = float(sigmas[0]), float(sigmas[-1])
        with differentiable():
            denoise = bind_condition(self.denoise, self.conditioner.null(len(image)), conditional=False)
            probes = [draw_probe(image, rng)]
            prior = math.sqrt(1 + high**2)
            return ve_log_prob(denoise, image, low=low, high=high, prior=prior, probes=probes).log_prob


def discretised_normal_log_prob(mean: Tensor, std: float, image: Tensor) -> Tensor:
    """log P (B,) of each grey level's bin under N(mean, std^2); the end bins reach to infinity (Eq. 13)."""
    upper = ((image + BIN / 2 - mean) / std).where(image < 1 - BIN / 2, math.inf)
    lower = ((image - BIN / 2 - mean) / std).where(image > -1 + BIN / 2, -math.inf)
    # On the side of the tail where neither is near 1, so that their difference keeps its digits.
    flip = lower > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    high, low = log_ndtr(upper), log_ndtr(lower)
    return per_image(high + torch.log1p(-(low - high).exp()))
