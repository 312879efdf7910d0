"""The diffusion transformer (Peebles & Xie 2022, "Scalable diffusion models with transformers", arXiv:2212.09748).

The chain of DDPM with a transformer on patches in place of the U-Net, of pictures or of a first stage's latents, and
with the learnt variances of Nichol & Dhariwal 2021 (arXiv:2102.09672, called IDDPM below).

Paper -> code: x_0 or z -> x0, x_t -> noisy, epsilon_theta and Sigma_theta -> the halves of ``network``'s output,
c -> condition, N, d, heads, p -> depth, width, heads, patch; s of its guidance -> guidance.

Parts: nn/dit.py, diffusion/path.py (the chain), diffusion/learned_variance.py, diffusion/precondition.py,
diffusion/sampler.py, diffusion/guidance.py, _latents.py (the first stage).

Axes: Z channels of what is diffused, V channels that the network gives for it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning, classifier_free
from zeuxis.diffusion.learned_variance import ancestral_learned, bound_term, first_variance, fraction
from zeuxis.diffusion.path import BetaSchedule, Level, VariancePreserving, add_noise, append_dims, betas, for_each
from zeuxis.diffusion.precondition import Prediction, in_ve, on_path, target, to_x0
from zeuxis.diffusion.sampler import ByLevel, Denoise, with_knobs
from zeuxis.diffusion.schedule import Spacing, respaced
from zeuxis.diffusion.weighting import squared_error
from zeuxis.errors import UnknownName
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.augment import random_flip
from zeuxis.nn.conditioner import ConditionKind, check_guidance, drop_mask, label_conditioner
from zeuxis.nn.dit import DiT as Transformer
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.rng import ImageRng, normal_like
from zeuxis.systems.diffusion._latents import LatentSpace, scale_at_first, scale_in_use

_PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "x0", "v")


class DiffusionTransformer(System):
    """A transformer on patches that learns the noise of every step, and how uncertain the step is.

    Args:
        first_stage: a trained system that codes pictures as maps, whose latents are diffused (the paper's models are of
            Stable Diffusion's); none: pictures are.
        patch: side of a patch, in pixels or in places of a latent; the paper's XL/2 has 2.
        width: channels of a token, a multiple of ``heads``: 384, 768, 1024, 1152 in the paper's S, B, L and XL.
        depth: transformer blocks: 12, 12, 24, 28.
        heads: of each attention: 6, 12, 16, 16.
        chain: steps of the chain, T.
        schedule: of its variances: "linear" (the paper's), "cosine" or "scaled-linear".
        variance: of the reverse steps: "learned", or "fixed" at the posterior's.
        predicts: what the network predicts: the noise, "epsilon" (the paper's), the image, "x0", or "v".
        drop: how often training hides the label, for classifier-free guidance; idle without one.
        flips: whether training flips every second picture from left to right, as the paper does.
        scale: what latents are multiplied by; 0: one over the deviation of the first batch's. Idle for pictures.
        steps: of the chain that sampling takes: default of the knob; 0 is all T.
    """

    card = Card(
        "dit",
        title="Diffusion transformer",
        family="diffusion",
        year=2022,
        paper="2212.09748",
        verbs={"sample", "encode", "decode", "denoiser"},
        accepts={"label"},
        knobs=(
            "steps",
            "guidance",
            "sampler",
            "eta",
            "churn",
            "spacing",
        ),
        departures=(
            "Guidance is of all channels; the authors' program guides three of a latent's four.",
            "The last term of the variational bound is that of a density, not of grey levels.",
            "Fewer steps than the chain's are spaced as Karras et al. have it, unless another spacing is asked for.",
        ),
    )
    scale: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: ConditionKind = "none",
        first_stage: System | None = None,
        patch: int = 2,
        width: int = 1152,
        depth: int = 28,
        heads: int = 16,
        chain: int = 1000,
        schedule: BetaSchedule = "linear",
        variance: Literal["learned", "fixed"] = "learned",
        predicts: Prediction = "epsilon",
        drop: float = 0.1,
        flips: bool = False,
        scale: float = 0.0,
        steps: int = 250,
        guidance: float = 1.0,
        sampler: str = "ancestral",
        spacing: Spacing = "karras",
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        for what, name, known in (
            ("prediction", predicts, _PREDICTIONS),
            ("variance", variance, ("learned", "fixed")),
        ):
            if name not in known:
                raise UnknownName(what, name, known)
        self.predicts, self.drop, self.flips, self.learned = predicts, drop, flips, variance == "learned"
        self.predicts_noise, self.first_stage = predicts == "epsilon", first_stage
        self.latents = None
        if first_stage is not None:
            self.freeze(first_stage)
            self.latents = LatentSpace(first_stage, self.shape)
        self.diffused = self.shape if self.latents is None else self.latents.shape
        self.register_buffer("scale", scale_at_first(1.0 if first_stage is None else scale))
        self.path = VariancePreserving(betas(schedule, chain))
        z, rows, columns = self.diffused
        self.network = Transformer(
            z,
            (rows, columns),
            patch=patch,
            width=width,
            depth=depth,
            heads=heads,
            out_channels=2 * z if self.learned else z,
        )
        self.conditioner = label_conditioner(condition, classes, self.network.vector_width)
        self.player = Player("network", (self.network, self.conditioner), lr=1e-4, optimiser="adamw")

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def can(self) -> frozenset[str]:
        return super().can if self.latents is not None else super().can - {"encode", "decode"}

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.predict),)

    def predict(self, turn: Turn) -> Tensor:
        """L_hybrid (IDDPM, Eq. 16): L_simple, and the bound's term of the same step, which teaches the variance alone.

        The paper's program weighs that by 1, which is IDDPM's lambda = 0.001 times its 1000 steps.
        """
        x0 = self._clean(turn)  # (B, Z, h, w)
        noise = normal_like(x0, turn.rng)
        t = turn.rng.integers(len(self.path), len(x0), device=x0.device)  # (B,)
        noisy = add_noise(self.path, x0, noise, t)
        dropped = drop_mask(len(x0), self.drop, turn.rng, x0.device)
        c = on_path(self.predicts, self.path, t)
        mean, raw = self._network(noisy, t, self.conditioner(turn.batch.condition, len(x0), dropped))
        loss = squared_error(mean, target(c, x0, noisy)).mean()
        if raw is None:
            return loss
        now = self.path.sigma(t.double())
        after = self.path.sigma(t.double() - 1).where(t > 0, 0.0)
        guess = to_x0(c, mean.detach(), noisy)
        bound = bound_term(x0, guess, fraction(raw), now, after, first_variance(self.path.sigmas)).mean()
        turn.note(simple=loss, bound=bound)
        return loss + bound

    def _clean(self, turn: Turn) -> Tensor:
        """What is diffused of the turn's batch, ``(B, Z, h, w)``."""
        batch = turn.batch
        if self.flips:
            batch = replace(batch, image=random_flip(batch.image, turn.rng))
        return batch.image if self.latents is None else self.latents.diffused(turn, batch, self.scale)

    # -- verbs ------------------------------------------------------------------------------------

    def encode(self, image: Tensor) -> Tensor:
        """The latents ``(B, Z, h, w)`` that are diffused, of pictures ``(B, C, H, W)``."""
        if self.latents is None:
            return super().encode(image)
        return scale_in_use(self.scale) * self.latents.encode(image)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of such latents."""
        if self.latents is None:
            return super().decode(latent)
        return self.latents.decode(latent / scale_in_use(self.scale))

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """What is expected given ``x = x0 + sigma noise``, and beside it v where that is learnt: ``(B, V, h, w)``.

        Under guidance v is that of the rows under the condition, in both halves of the batch.
        """
        c = in_ve(self.predicts, self.path, sigma)
        mean, raw = self._network(append_dims(c.input, x) * x, c.noise, conditioning)
        x0 = to_x0(c, mean, x)
        if raw is None:
            return x0
        rows = conditioning.get("conditional")
        if rows is not None and rows.any() and not rows.all():
            raw = raw[rows].repeat(2, 1, 1, 1)
        return torch.cat([x0, fraction(raw)], 1)

    def _network(self, noisy: Tensor, t: Level, conditioning: Conditioning) -> tuple[Tensor, Tensor | None]:
        """What the network predicts ``(B, Z, h, w)``, and of the variance, where it learns that, as much."""
        time = for_each(t * (TIME_SCALE / len(self.path)), noisy)  # (B,)
        out = self.network(noisy, time, **conditioning).float()
        if not self.learned:
            return out, None
        mean, raw = out.chunk(2, 1)
        return mean, raw

    def _guided(self, condition: Condition, n: int, how: Sampling) -> Denoise:
        """:meth:`denoise` under ``condition`` with guidance, v included; of pictures x0 is clamped, as in DDPM."""
        null, z, scale = self.conditioner.null(n), self.diffused.channels, self.settings(how).guidance
        check_guidance(scale, self.drop, self.conditioner)
        guided = classifier_free(self.denoise, self.conditioner(condition, n), null, scale)
        if self.latents is not None:
            return guided

        def clamped(x: Tensor, sigma: Tensor) -> Tensor:
            found = guided(x, sigma)
            return torch.cat([found[:, :z].clamp(-1, 1), found[:, z:]], 1)

        return clamped

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """x0 alone, guided."""
        guided, z = self._guided(condition, n, how), self.diffused.channels
        return ByLevel(lambda x, sigma: guided(x, sigma)[:, :z])

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """sigma_t of the chain, descending, then 0; or ``steps`` levels between them, by the knob ``spacing``."""
        knobs = self.settings(how)
        return respaced(self.path.sigmas, knobs.steps or len(self.path), knobs.spacing)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """By any sampler in ``steps`` steps; "ancestral" draws with the learnt variances, where there are."""
        knobs, levels, n = self.settings(how), self.levels(how), len(rng)
        x = rng.normal(n, *self.diffused, device=self.device) * math.sqrt(1 + float(levels[0]) ** 2)
        if self.learned and knobs.sampler == "ancestral":
            guided: Any = self._guided(condition, n, how)
            x = ancestral_learned(guided, x, levels, rng)
        else:
            x = with_knobs(knobs.sampler, how)(self.denoiser(condition, n, how), x, levels, rng)
        return x.clamp(-1, 1) if self.latents is None else self.decode(x)
