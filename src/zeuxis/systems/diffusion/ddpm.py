"""Denoising diffusion probabilistic models (Ho, Jain & Abbeel 2020, arXiv:2006.11239).

A chain of T small steps turns an image into noise; a U-Net learns the noise in what lies between, and so
every step backwards.

Paper -> code: x_0 -> image, x_t -> noisy, epsilon -> noise, epsilon_theta -> network, T -> chain,
alpha-bar_t -> alpha(t)^2 of ``path``, t (1 to T) -> t + 1 (0 to T - 1). Samplers work on x_t / sqrt(alpha-bar_t),
whose noise has deviation sigma_t = sqrt((1 - alpha-bar_t) / alpha-bar_t): see :mod:`zeuxis.diffusion.sampler`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.special import log_ndtr

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Signal, bind_condition, clamped
from zeuxis.diffusion.path import (
    BetaSchedule,
    Prediction,
    VariancePreserving,
    add_noise,
    append_dims,
    betas,
    target,
    to_x0,
)
from zeuxis.diffusion.sampler import SAMPLERS, Denoise
from zeuxis.diffusion.schedule import respaced
from zeuxis.diffusion.weighting import min_snr
from zeuxis.distributions.normal import Normal
from zeuxis.distributions.reduce import per_image
from zeuxis.errors import UnknownName
from zeuxis.game import Move, Player, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.rng import ImageRng, Rng, normal_like
from zeuxis.systems.diffusion._family import (
    ConditionalDiffusion,
    ConditionKind,
    Plan,
    build_network,
    build_reader,
    squared_error,
)

_PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "x0", "v")
BIN = 2 / 255  # between neighbouring grey levels in [-1, 1]


class DDPM(ConditionalDiffusion):
    """The U-Net and the chain of the paper; with ``condition`` "label", class-conditional.

    Args:
        width, multiples, depth (residual blocks a level), attention (downsampling factors), heads: the U-Net.
        chain: T. ``schedule`` of its variances: "linear" (the paper's), "cosine" or "scaled-linear".
        predicts: "epsilon" (the paper's), "x0" or "v".
        gamma: weigh the loss by min(SNR, gamma); 0 is the paper's L_simple.
        drop: how often training hides the condition, for classifier-free guidance.
        steps, guidance, sampler: the defaults of sampling; 0 steps are all T.
    """

    card = Card(
        "ddpm",
        title="Denoising diffusion probabilistic model",
        family="diffusion",
        year=2020,
        paper="2006.11239",
        verbs={"sample", "log_prob"},
        accepts={"label"},
        knobs=(
            "steps",
            "guidance",
            Knob(
                "sampler",
                "choice",
                "how the reverse process is solved",
                choices=("euler", "heun", "ddim", "ancestral", "dpmpp-2m"),
            ),
        ),
        departures=(
            "No dropout.",
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
        depth: int = 2,
        attention: tuple[int, ...] = (2,),
        heads: int = 1,
        chain: int = 1000,
        schedule: BetaSchedule = "linear",
        predicts: Prediction = "epsilon",
        gamma: float = 0.0,
        drop: float = 0.1,
        steps: int = 0,
        guidance: float = 1.0,
        sampler: str = "ancestral",
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.stride = 2 ** (len(multiples) - 1)  # the U-Net halves that often
        if predicts not in _PREDICTIONS:
            raise UnknownName("prediction", predicts, _PREDICTIONS)
        self.predicts, self.gamma, self.drop = predicts, gamma, drop
        self.path = VariancePreserving(betas(schedule, chain))
        plan = Plan(self.shape, width, depth, heads, multiples=tuple(multiples), attention=tuple(attention))
        self.network, vector = build_network("unet", plan)
        self.reader = build_reader(condition, vector, classes)
        self.player = Player("network", (self.network, self.reader), lr=2e-4, clip=1.0, warmup=5000)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.predict),)

    def predict(self, turn: Turn) -> Tensor:
        """L_simple (Eq. 14): the noise at a random step of the chain."""
        image = turn.batch.image  # (B, C, H, W)
        noise = normal_like(image, turn.rng)
        t = turn.rng.integers(len(self.path), len(image), device=image.device)  # (B,)
        noisy = add_noise(self.path, image, noise, t)  # Eq. 4
        dropped = self.drop_mask(len(image), turn.rng)
        prediction = self._network(noisy, t, self.reader(turn.batch.condition, len(image), dropped))
        error = squared_error(prediction, target(self.predicts, self.path, image, noise, t))  # (B,)
        return (error if not self.gamma else min_snr(self.predicts, self.path.sigma(t), self.gamma) * error).mean()

    def denoise(self, x: Tensor, sigma: Tensor, signal: Signal) -> Tensor:
        """The expected image (B, C, H, W) given ``x = image + sigma noise``; ``sigma`` (B,)."""
        t = self.path.time(sigma)
        noisy = append_dims(self.path.alpha(t), x) * x
        return to_x0(self.predicts, self.path, self._network(noisy, t, signal).float(), noisy, t)

    def _network(self, noisy: Tensor, t: Tensor, signal: Signal) -> Tensor:
        # The time embedding's frequencies were made for 1000 steps.
        prediction: Tensor = self.network(noisy, t * (1000 / len(self.path)), **signal)
        return prediction

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Alg. 2, or any of ``SAMPLERS`` on ``steps`` of the chain's steps; x0 is clamped at every one."""
        n = len(rng)
        knobs = self.settings(how)
        levels = respaced(self.path.sigmas, knobs.steps or len(self.path))
        x = rng.normal(n, *self.shape, device=self.device)  # x_T ~ N(0, I), ...
        x = x * math.sqrt(1 + float(levels[0]) ** 2)  # ... over sqrt(alpha-bar_T)
        return SAMPLERS[knobs.sampler](
            clamped(self.guide(self.denoise, condition, n, knobs.guidance)), x, levels, rng
        ).clamp(-1, 1)

    @torch.no_grad()
    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """A lower bound in nats (B,): minus the whole of Eq. 5, one draw of noise for each of its T terms.

        Of the density on [-1, 1]^d that is constant within a grey level: the paper's discrete likelihood is
        ``d log(127.5)`` lower. For images of 256 grey levels, without a condition.
        """
        denoise = clamped(bind_condition(self.denoise, self.reader.null(len(image))))
        sigmas = self.path.sigmas.to(image.device)
        last = sigmas[-1].expand(len(image))
        t = self.path.time(last)
        std = append_dims(self.path.std(t), image)
        bound = -Normal(
            append_dims(self.path.alpha(t), image) * image, 2 * std.log().expand_as(image)
        ).kl_standard()  # L_T
        for step in range(len(sigmas) - 1, 0, -1):  # L_{t-1}
            error = per_image((image - self._seen(denoise, image, sigmas[step], rng)).square())
            bound -= 0.5 * (sigmas[step - 1] ** -2 - sigmas[step] ** -2) * error  # Eq. 8 in terms of x0
        mean = self._seen(denoise, image, sigmas[0], rng)
        grey = discretised_normal_log_prob(mean, sigmas[0], image)  # L_0, Eq. 13
        return bound + grey + math.prod(self.shape) * math.log(1 / BIN)

    def _seen(self, denoise: Denoise, image: Tensor, sigma: Tensor, rng: Rng) -> Tensor:
        """The image as the model makes it out under fresh noise of deviation ``sigma``."""
        return denoise(image + sigma * normal_like(image, rng), sigma.expand(len(image)))


def discretised_normal_log_prob(mean: Tensor, std: Tensor, image: Tensor) -> Tensor:
    """log P (B,) of each grey level's bin under N(mean, std^2); the end bins reach to infinity (Eq. 13)."""
    upper = ((image + BIN / 2 - mean) / std).where(image < 1 - BIN / 2, math.inf)
    lower = ((image - BIN / 2 - mean) / std).where(image > -1 + BIN / 2, -math.inf)
    # On the side of the tail where neither is near 1, so that their difference keeps its digits.
    flip = lower > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    high, low = log_ndtr(upper), log_ndtr(lower)
    return per_image(high + torch.log1p(-(low - high).exp()))
