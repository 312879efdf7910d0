"""Latent diffusion (Rombach, Blattmann, Lorenz, Esser & Ommer 2022, arXiv:2112.10752).

A first stage that never changes turns pictures into small maps; a diffusion model learns those, under a condition, and
the first stage makes pictures of what it draws.

Paper -> code: E, D -> latents.encode, latents.decode; z_0 -> latent, z_t -> noisy, epsilon -> noise,
epsilon_theta -> network, tau_theta -> conditioner, y -> condition, T -> chain, 1 / sigma-hat (appendix G) -> scale.
The denoiser works on latents in VE space: z_t / sqrt(alpha-bar_t), see :mod:`zeuxis.diffusion.sampler`.

Parts: _latents.py (the first stage), diffusion/path.py (the chain), diffusion/precondition.py, diffusion/sampler.py,
diffusion/guidance.py, nn/networks.py, nn/conditioner.py, nn/caption_conditioner.py, nn/spatial.py.

Axes: Z channels of a latent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Conditioning, classifier_free
from zeuxis.diffusion.path import BetaSchedule, Level, VariancePreserving, add_noise, append_dims, betas, for_each
from zeuxis.diffusion.precondition import Prediction, in_ve, on_path, target, to_x0
from zeuxis.diffusion.sampler import ByLevel, Denoise, with_knobs
from zeuxis.diffusion.schedule import Spacing, respaced
from zeuxis.diffusion.weighting import min_snr, squared_error
from zeuxis.errors import UnknownName, Unsupported, lookup
from zeuxis.game import CaptionLimit, Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.caption_conditioner import caption_conditioner, text_options
from zeuxis.nn.conditioner import Conditioner, LabelConditioner, NoCondition, check_guidance, drop_mask
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.networks import Ends, build_network
from zeuxis.nn.spatial import InpaintingConditioner, LayoutConditioner
from zeuxis.rng import ImageRng, normal_like
from zeuxis.systems.diffusion._latents import LatentSpace, scale_at_first, scale_in_use
from zeuxis.systems.diffusion._sketch import shown_with_sketch, sketch_error

_PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "x0", "v")


class LatentDiffusion(System):
    """A diffusion model of the latents of a trained first stage.

    Args:
        first_stage: a trained system that codes pictures as maps and decodes those (kl-autoencoder, vqgan, vq-vae), by
            name or run folder; never trained here.
        condition: what it obeys: "none", "label", "caption", "layout" (a class for every pixel), or "mask": a masked
            picture, of which it makes what is missing.
        network: a table of :data:`zeuxis.nn.networks.NETWORKS`: the network, a transformer on patches, a U-Net, or
            convolutions with a transformer in the middle.
        text: a table of :data:`zeuxis.nn.caption_conditioner.TEXT`: the text encoder, of condition "caption" alone;
            its sketch is one of latents.
        chain: steps of the chain, T.
        schedule: of the chain's variances: "scaled-linear" (Stable Diffusion's), "linear" or "cosine".
        predicts: what the network predicts: the noise, "epsilon" (the paper's), the latent, "x0", or "v".
        gamma: the loss is weighed by min(SNR, gamma); 0 is the paper's (Eq. 2).
        scale: what latents are multiplied by; 0: one over the deviation of the first batch's (appendix G).
        drop: how often training hides the condition, for classifier-free guidance; idle without one.
        steps: of the chain that sampling takes: default of the knob; 0 is all T.
    """

    card = Card(
        "latent-diffusion",
        title="Latent diffusion",
        family="diffusion",
        year=2022,
        paper="2112.10752",
        verbs={"sample", "encode", "decode", "denoiser"},
        accepts={"label", "caption", "layout", "mask", "source"},
        knobs=(
            "steps",
            "guidance",
            "sampler",
            "eta",
            "churn",
            "spacing",
        ),
        departures=(
            "The mean of a KL autoencoder's q(z|x) is diffused, not a draw from it.",
            "Of a VQ autoencoder the vectors of its codes are diffused, and scaled too, not those before quantisation.",
            "The chain's variances are Stable Diffusion's, and fewer of its steps are spaced as Karras et al. have it.",
            "Layouts are shown as they are, averaged over the places of the latent, without an encoder of their own.",
            "A caption's words are encoded by a small transformer over the data's vocabulary, trained with the rest.",
            "The sketch (of the recipe `scenes-64`) is in no paper: a coarse latent regressed from the words alone.",
            "What a mask keeps is the given picture itself, not what the first stage makes of it.",
            "Heun's and DPM-Solver's corrections are held to the change between two answers.",
        ),
    )
    scale: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        first_stage: System,
        classes: int = 0,
        words: tuple[str, ...] = (),
        layout_names: tuple[str, ...] = (),
        source_shape: Shape | None = None,
        condition: Literal["none", "label", "caption", "layout", "mask"] = "none",
        network: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
        chain: int = 1000,
        schedule: BetaSchedule = "scaled-linear",
        predicts: Prediction = "epsilon",
        gamma: float = 0.0,
        scale: float = 0.0,
        drop: float = 0.1,
        steps: int = 50,
        guidance: float = 1.0,
        sampler: str = "ddim",
        spacing: Spacing = "karras",
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if predicts not in _PREDICTIONS:
            raise UnknownName("prediction", predicts, _PREDICTIONS)
        self.predicts, self.gamma, self.drop = predicts, gamma, drop
        self.predicts_noise, self.first_stage = predicts == "epsilon", first_stage
        self.freeze(first_stage)
        self.latents = LatentSpace(first_stage, self.shape)
        self.register_buffer("scale", scale_at_first(scale))
        self.path = VariancePreserving(betas(schedule, chain))
        options, captions = text_options(text), condition == "caption"
        if text and not captions:
            raise Unsupported(
                f"condition '{condition}' has no text to encode: set condition 'caption' or no model.text"
            )
        self.caption_limit = CaptionLimit(options["length"], "text.length") if captions else None
        z, vector = self.latents.shape, {"width": 0}
        conditioners: dict[str, Callable[[], Conditioner]] = {
            "none": NoCondition,
            "label": lambda: LabelConditioner(classes, vector["width"]),
            "caption": lambda: caption_conditioner(words, options, vector["width"], z.channels),
            "layout": lambda: LayoutConditioner(len(layout_names), (z.height, z.width)),
            "mask": lambda: InpaintingConditioner(self.encode, z, self.shape, source_shape),
        }
        make = lookup("condition", condition, conditioners)
        sketch = z.channels if options["sketch"] else 0
        extra = {"layout": len(layout_names), "mask": 1 + z.channels, "caption": sketch}.get(condition, 0)
        self.network = build_network(network, Ends(z, extra, options["width"] if captions else 0))
        vector["width"] = self.network.vector_width
        self.conditioner = make()
        self.player = Player("network", (self.network, self.conditioner), lr=1e-4)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.predict),)

    def predict(self, turn: Turn) -> Tensor:
        """L_LDM (Eq. 3): the noise at a random step of the chain, in the latent of a picture."""
        latent = self.latents.diffused(turn, turn.batch, self.scale)  # (B, Z, h, w)
        noise = normal_like(latent, turn.rng)
        t = turn.rng.integers(len(self.path), len(latent), device=latent.device)  # (B,)
        noisy = add_noise(self.path, latent, noise, t)
        dropped = drop_mask(len(latent), self.drop, turn.rng, latent.device)
        c = on_path(self.predicts, self.path, t)
        conditioning = self.conditioner(turn.batch.condition, len(latent), dropped)
        prediction = self._network(noisy, t, conditioning)
        error = squared_error(prediction, target(c, latent, noisy))  # (B,)
        loss = (error if not self.gamma else min_snr(self.path.sigma(t), self.gamma) * c.out**2 * error).mean()
        if "sketch" in conditioning:
            drawn = sketch_error(conditioning["sketch"], latent, dropped)
            turn.note(sketch=drawn)
            loss = loss + drawn
        return loss

    # -- verbs ------------------------------------------------------------------------------------

    def encode(self, image: Tensor) -> Tensor:
        """The latents ``(B, Z, h, w)`` that are diffused, of pictures ``(B, C, H, W)``."""
        return scale_in_use(self.scale) * self.latents.encode(image)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of such latents."""
        return self.latents.decode(latent / scale_in_use(self.scale))

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning) -> Tensor:
        """The expected latent ``(B, Z, h, w)`` given ``x = latent + sigma noise``; ``sigma`` (B,), or one for all."""
        c = in_ve(self.predicts, self.path, sigma)
        return to_x0(c, self._network(append_dims(c.input, x) * x, c.noise, conditioning).float(), x)

    def _network(self, noisy: Tensor, t: Level, conditioning: Conditioning) -> Tensor:
        seen, rest = shown_with_sketch(noisy, conditioning)
        given = dict(rest)
        if "shown" in given:
            seen = torch.cat([noisy, given.pop("shown").to(noisy.dtype)], 1)
        time = for_each(t * (TIME_SCALE / len(self.path)), noisy)  # (B,)
        return self.network(seen, time, **given)

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """:meth:`denoise` of ``n`` latents under ``condition`` with guidance."""
        scale = self.settings(how).guidance
        check_guidance(scale, self.drop, self.conditioner)
        null = self.conditioner.null(n)
        return ByLevel(classifier_free(self.denoise, self.conditioner(condition, n), null, scale))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """sigma_t of the chain, descending, then 0; or ``steps`` levels between them, by the knob ``spacing``."""
        knobs = self.settings(how)
        return respaced(self.path.sigmas, knobs.steps or len(self.path), knobs.spacing)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Latents by any sampler in ``steps`` steps, then their pictures; a mask keeps what it hides not."""
        levels = self.levels(how)
        x = rng.normal(len(rng), *self.latents.shape, device=self.device) * math.sqrt(1 + float(levels[0]) ** 2)
        solve = with_knobs(self.settings(how).sampler, how)
        picture = self.decode(solve(self.denoiser(condition, len(rng), how), x, levels, rng))
        if "mask" not in self.conditions or condition.mask is None or condition.source is None:
            return picture
        return torch.where(condition.mask.to(picture) > 0, picture, condition.source.to(picture))
