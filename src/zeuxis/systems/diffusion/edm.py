"""The diffusion model of Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based
generative models" (EDM, arXiv:2206.00364).

Noise is added, and nothing else; the network sees and predicts images of unit variance at every level of noise;
training visits the levels where something is to be learnt; an equation is solved by Heun's method, on levels close
together near the picture, and noise may be added on the way.

Paper -> code: y -> image, n -> noisy - image, D_theta -> denoise, F_theta -> network, c_skip, c_out, c_in and c_noise
-> the fields of ``Coefficients``, lambda(sigma) -> ``weighting.edm``, P_mean and P_std -> mean and std, sigma_min and
sigma_max -> low and high, S_churn -> the knob churn, of Heun's method.

Options give the magnitude-preserving network and the weighting of Karras et al. 2024 ("EDM2", arXiv:2312.02696).

Parts: diffusion/precondition.py, diffusion/weighting.py, diffusion/schedule.py (``karras``), diffusion/sampler.py,
diffusion/guidance.py, nn/networks.py, nn/magnitude.py, nn/conditioner.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion import weighting
from zeuxis.diffusion.guidance import Conditioning, bind_condition, classifier_free
from zeuxis.diffusion.likelihood import differentiable, draw_probe, ve_log_prob
from zeuxis.diffusion.path import Level, append_dims, for_each
from zeuxis.diffusion.precondition import edm, to_x0
from zeuxis.diffusion.sampler import ByLevel, Denoise, with_knobs
from zeuxis.diffusion.schedule import check_levels, check_positive, karras
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.augment import random_flip
from zeuxis.nn.conditioner import ConditionKind, check_guidance, check_null, drop_mask, label_conditioner
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.magnitude import Uncertainty, force_unit_weights
from zeuxis.nn.networks import UNETS_AND_MP, Ends, build_network
from zeuxis.rng import ImageRng, Rng, normal_like


class EDM(System):
    """Preconditioning, levels and sampler of the paper around any network; with ``condition`` "label",
    class-conditional.

    Args:
        network: a table of :data:`zeuxis.nn.networks.UNETS_AND_MP`: the network; DDPM's U-Net where none is named.
        sigma_data: standard deviation of the images.
        mean: of the logarithm of the levels that training visits.
        std: standard deviation of that logarithm.
        low: least level of noise at which sampling calls the network.
        high: greatest level, at which sampling starts.
        rho: spacing of the levels; larger has more of them near the least.
        drop: how often training hides the condition, for classifier-free guidance; idle without one.
        flips: whether training flips every second picture from left to right.
        uncertainty: whether each level's loss is divided by what it is expected to be, which is learnt beside it (EDM2,
            Eq. 21): none then counts for more than another.
        steps: levels that sampling calls the network at, Heun's method twice but for the last: default of the knob.
        tolerance: of the solver of the likelihood's equation, a step and a dimension; larger is quicker.
    """

    card = Card(
        "edm",
        title="Elucidated diffusion model",
        family="diffusion",
        year=2022,
        paper="2206.00364",
        verbs={"sample", "log_prob", "denoiser"},
        accepts={"label"},
        knobs=(
            "steps",
            "guidance",
            "sampler",
            "eta",
            "churn",
        ),
        departures=(
            "A U-Net of DDPM unless another network is named, and no dropout.",
            "No augmentation but flips, which the network is not told of.",
            "A class is embedded by a table that has one more row for none, so that it can be hidden.",
            "Heun's correction is held to the change between two answers, which cuts the last five of 18 steps' own.",
            "c_noise is multiplied by 1000, which is what the time embedding's frequencies were made for.",
            "EDM2's network brings a class's vector to magnitude 1, not its table's rows; no dropout, no clipping.",
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
        mean: float = -1.2,
        std: float = 1.2,
        low: float = 0.002,
        high: float = 80.0,
        rho: float = 7.0,
        drop: float = 0.1,
        flips: bool = False,
        uncertainty: bool = False,
        steps: int = 18,
        guidance: float = 1.0,
        sampler: str = "heun",
        tolerance: float = 1e-5,
    ) -> None:
        super().__init__()
        check_levels(low, high)
        check_positive(rho=rho, sigma_data=sigma_data, std=std)
        self.shape = Shape(*shape)
        self.tolerance = tolerance
        self.sigma_data, self.mean, self.std = sigma_data, mean, std
        self.low, self.high, self.rho, self.drop, self.flips = low, high, rho, drop, flips
        self.network = build_network(network, Ends(self.shape), UNETS_AND_MP)
        self.stride = self.network.stride
        self.conditioner = label_conditioner(condition, classes, self.network.vector_width)
        self.uncertainty = Uncertainty() if uncertainty else None
        nets = (self.network, self.conditioner, *((self.uncertainty,) if self.uncertainty is not None else ()))
        self.player = Player("network", nets, lr=1e-3)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.restore),)

    def restore(self, turn: Turn) -> Tensor:
        """Eq. 2 and 8: lambda(sigma) |D(y + n; sigma) - y|^2 at a level whose logarithm is normal."""
        image = turn.batch.image  # (B, C, H, W)
        if self.flips:
            image = random_flip(image, turn.rng)
        n = len(image)
        sigma = weighting.log_normal(turn.rng, n, image.device, self.mean, self.std)  # (B,)
        noisy = image + append_dims(sigma, image) * normal_like(image, turn.rng)
        dropped = drop_mask(n, self.drop, turn.rng, image.device)
        x0 = self.denoise(noisy, sigma, self.conditioner(turn.batch.condition, n, dropped))
        error = weighting.edm(sigma, self.sigma_data) * weighting.squared_error(x0, image)  # (B,)
        if self.uncertainty is None:
            return error.mean()
        turn.note(error=error.mean())
        u = self.uncertainty(edm(sigma, self.sigma_data).noise)  # (B,)
        return (error / u.exp() + u).mean()

    def after_round(self, turn: Turn) -> None:
        """EDM2, Algorithm 1: of a network that preserves magnitudes, the weights' own."""
        force_unit_weights(self)

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """D (Eq. 7): the expected image (B, C, H, W) given ``x = image + sigma noise``; ``sigma`` (B,), or one."""
        c = edm(sigma, self.sigma_data)
        prediction = self.network(append_dims(c.input, x) * x, for_each(c.noise * TIME_SCALE, x), **conditioning)
        return to_x0(c, prediction.float(), x)

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        scale = self.settings(how).guidance
        check_guidance(scale, self.drop, self.conditioner)
        return ByLevel(classifier_free(self.denoise, self.conditioner(condition, n), self.conditioner.null(n), scale))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """``steps`` levels from ``high`` to ``low`` (Eq. 5), then 0."""
        return karras(self.settings(how).steps, self.low, self.high, self.rho)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Alg. 1, or another solver on the same levels."""
        levels = self.levels(how)
        x = levels[0] * rng.normal(len(rng), *self.shape, device=self.device)
        solve = with_knobs(self.settings(how).sampler, how)
        return solve(self.denoiser(condition, len(rng), how), x, levels, rng).clamp(-1, 1)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """The log-likelihood in nats (B,) of the equation that sampling solves, its divergence estimated by one probe.

        Of images (B, C, H, W), under no condition; what of them is left at ``high`` is neglected.
        """
        check_null(self.drop, self.conditioner, "a likelihood")
        with differentiable():
            null = bind_condition(self.denoise, self.conditioner.null(len(image)), conditional=False)
            probes = [draw_probe(image, rng)]
            return ve_log_prob(null, image, high=self.high, probes=probes, tolerance=self.tolerance).log_prob
