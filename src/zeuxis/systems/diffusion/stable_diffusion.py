"""Stable Diffusion 1.x, 2.x and XL: latent diffusion of captioned pictures, at their published shapes or smaller ones.

Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models" (arXiv:2112.10752); Podell et al.
2023, "SDXL" (arXiv:2307.01952), for two towers and the sizes. Symbols -> code:
    E, D -> first_stage    z_0 -> latent    z_t -> noisy    tau_theta -> prompt    epsilon_theta -> network
    c_size, c_crop -> the knobs ``original_*`` and ``crop_*``
The denoiser works on latents, in VE space; text, U-Net and decoder are needed one after another (``residence``).

Parts: nn/prompt.py (the text), nn/latent_unet.py, nn/kl_stage.py, diffusion/timesteps.py (chains and grids of published
schedulers), diffusion/editing.py. Published weights come in by :mod:`zeuxis.pretrained.stable_diffusion`.

Axes: Z channels of a latent, f pixels a side of one of its cells, h and w their rows and columns, T steps of the chain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.editing import keeping
from zeuxis.diffusion.guidance import Conditioning, classifier_free, rescaled
from zeuxis.diffusion.path import Level, VariancePreserving, add_noise, append_dims, for_each
from zeuxis.diffusion.precondition import Prediction, in_ve, on_path, target, to_x0
from zeuxis.diffusion.predictor_corrector import own_or_solver
from zeuxis.diffusion.sampler import ByLevel, Denoise, Sampler, multistep
from zeuxis.diffusion.timesteps import chain_betas, published_levels
from zeuxis.diffusion.weighting import squared_error
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.conditioner import drop_mask
from zeuxis.nn.controlnet import ControlBranch
from zeuxis.nn.footprint import Footprint
from zeuxis.nn.kl_stage import first_stage as build_first_stage
from zeuxis.nn.latent_unet import latent_unet
from zeuxis.nn.prompt import Prompt
from zeuxis.nn.residence import Residence, at_work
from zeuxis.nn.reuse import context_read_once
from zeuxis.rng import ImageRng, normal_like
from zeuxis.systems.diffusion._drawn import captions_of, check_divides, decoded, edited, footprint_of, steered, walked

SIZES = ("original_height", "original_width", "crop_top", "crop_left")  # SDXL's micro-conditioning, before the target
ONE_MORE = frozenset({"dpmpp-2m", "dpmpp-2m-sde", "unipc", "unipc-3"})  # published to leave out the lowest of N + 1
LCM: Sampler = partial(multistep, floor=0.0)  # of weights or a LoRA that answer with a picture at every level


class StableDiffusion(System):
    """Captions to pictures; a source under noise is the start of an edit, and a mask says what of it is made anew.

    Args:
        network: a table of :data:`latent_unet`: the U-Net.
        text: one table for each text tower, with the keys of ``zeuxis.nn.clip_reader.clip_reader``.
        first_stage: a table of :data:`build_first_stage`: the autoencoder, which is never trained here.
        chain: steps of the chain, T.
        schedule: of its variances: "scaled-linear" (linear in the square root) or "linear".
        beta_first, beta_last: the first and the last of them.
        zero_snr: whether they are rescaled so that the last step holds nothing of the picture; with "v" alone.
        predicts: what the network predicts: "epsilon" (1.x, XL) or "v" (2.x at 768 pixels).
        offset: added to the steps of the spacing "leading".
        to_zero: whether DDIM ends at the picture itself, or at the chain's first step, as it does in 1.x and 2.x.
        zero_null: whether no negative caption is zeros (XL), rather than the empty caption.
        drop: how often training hides the caption, for classifier-free guidance.
    """

    card = Card(
        "stable-diffusion",
        title="Stable Diffusion",
        family="diffusion",
        year=2022,
        paper="2112.10752",
        verbs={"sample", "denoiser", "encode", "decode"},
        needs={"caption"},
        accepts={"negative", "source", "mask", "control"},
        knobs=(
            "steps", "guidance", "strength", "eta", "churn", "spacing",
            Knob("sampler", "choice", "how it steps; lcm of latent consistency alone", choices=("lcm",), beside=True),
            Knob("predicts", "choice", "what the network predicts: as its makers trained it", choices=("epsilon", "v")),
            Knob("control_strength", "float", "how much a ControlNet counts; 0 is none", 1.0, least=0, most=2),
            Knob("prompt_weights", "choice", "whose (word:1.3), (word), [word] weigh: captions' that have a number in "
                 "one, all captions', or none's", "numbered", choices=("numbered", "all", "none"), before="none"),
            Knob("long_captions", "choice", "what exceeds a tower's window: left out, or read in further ones", "cut",
                 choices=("cut", "windows")),
            Knob("clip_skip", "int", "last blocks of the text tower that are left out besides", 0, least=0, most=100),
            Knob("guidance_rescale", "float", "share of guidance's contrast that is taken back", 0.0, least=0, most=1),
            Knob("tile", "int", "latents a side that are decoded at a time; 0 is all at once", 0, least=0),
            Knob("original_height", "int", "rows the picture claims to have had (XL); 0 is its own", 0, least=0),
            Knob("original_width", "int", "columns the picture claims to have had (XL); 0 is its own", 0, least=0),
            Knob("crop_top", "int", "rows that it claims were cut off above (XL)", 0, least=0),
            Knob("crop_left", "int", "columns that it claims were cut off on the left (XL)", 0, least=0),
        ),
        departures=(
            "Corrections of solvers are held to the change between two answers.",
            "At zero terminal SNR the first level is 4096, not infinite.",
            "Words are weighed by AUTOMATIC1111's rule, but by size where a text's mean, which it restores, is near 0.",
            "A source is encoded as its posterior's mean, not as a draw.",
            "What a mask keeps is the source's own pixels, not what the autoencoder makes of them.",
            "A network that inpaints is told of every cell that a mask touches, not of those whose first pixel it has.",
        ),
    )  # fmt: skip
    draw_batch = 1  # a picture fills a processor, and several its memory
    residence: Residence | None = None  # where parts compute that do not live there; None: all stay where they are

    def __init__(
        self,
        shape: Shape,
        *,
        network: Mapping[str, Any] | None = None,
        text: Sequence[Mapping[str, Any]] = ({},),
        first_stage: Mapping[str, Any] | None = None,
        chain: int = 1000,
        schedule: str = "scaled-linear",
        beta_first: float = 0.00085,
        beta_last: float = 0.012,
        zero_snr: bool = False,
        predicts: Prediction = "epsilon",
        offset: int = 1,
        to_zero: bool = True,
        zero_null: bool = False,
        drop: float = 0.1,
        steps: int = 50,
        guidance: float = 7.5,
        strength: float = 0.75,
        sampler: str = "ddim",
        spacing: str = "leading",
    ) -> None:
        super().__init__()
        if zero_snr and predicts != "v":
            raise UsageError(f"zero_snr where {predicts} is predicted: pure noise tells nothing; it must be v")
        self.shape, self.predicts, self.drop = Shape(*shape), predicts, drop
        self.offset, self.to_zero, self.zero_null = offset, to_zero, zero_null
        sizes = network or {}
        self.prompt = Prompt(text, int(sizes.get("added_width", 0)))
        self.first_stage = build_first_stage(**(first_stage or {}))
        latent, extra = self.first_stage.latent, int(sizes.get("extra", 0))
        if extra not in (0, latent + 1):
            raise Unsupported(f"a network with {extra} channels beside its latent: only those that inpaint are known")
        self.network = latent_unet(latent, self.prompt.width, **sizes)
        self.inpaints = extra > 0
        self.branch: ControlBranch | None = None  # of a ControlNet, where one was loaded
        self.path = VariancePreserving(chain_betas(schedule, chain, beta_first, beta_last, zero_snr=zero_snr))
        self.stride = self.first_stage.factor  # the U-Net halves odd sides too
        check_divides(self.shape, self.first_stage.factor)
        self.freeze(self.prompt)
        self.freeze(self.first_stage)

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=1e-4, optimiser="adamw", weight_decay=0.01, warmup=1000),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.predict),)

    def predict(self, turn: Turn) -> Tensor:
        """Eq. 3: the noise (or v) at a random step of the chain, in the latent of a picture."""
        if self.inpaints:
            raise Unsupported("a network that inpaints is only sampled here: train one without extra channels")
        image, captions = turn.batch.image, captions_of(turn.batch.condition)
        turn.note(cut=sum(self.prompt.too_long(captions)) / len(captions))  # longer than the window
        with torch.no_grad():
            mean, std = self.first_stage.moments(image)
            latent = mean + std * normal_like(mean, turn.rng)  # (B, Z, h, w)
            hidden = drop_mask(len(image), self.drop, turn.rng, "cpu")  # (B,)
            shown = ["" if hide else caption for hide, caption in zip(hidden.tolist(), captions, strict=True)]
            conditioning = self.prompt(shown, (*image.shape[2:], 0, 0, *image.shape[2:]), zeros=hidden & self.zero_null)
        noise = normal_like(latent, turn.rng)
        t = turn.rng.integers(len(self.path), len(image), device=image.device)  # (B,)
        noisy = add_noise(self.path, latent, noise, t)
        c = on_path(self.predicts, self.path, t)
        return squared_error(self._network(noisy, t, conditioning), target(c, latent, noisy)).mean()

    # -- verbs --------------------------------------------------------------------------------------

    @property
    def optional(self) -> frozenset[str]:
        return frozenset({"negative"} if self.inpaints else {"negative", "source", "mask"})

    @property
    def conditions(self) -> frozenset[str]:
        names = {"caption", "negative", "source", "mask"}
        return frozenset(names if self.branch is None else names | {"control"})

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """Without those that mean nothing to this network."""
        idle = {*(() if self.prompt.added else SIZES), *(() if self.branch is not None else ("control_strength",))}
        return {name: knob for name, knob in super().knobs.items() if name not in idle}

    @property
    def device(self) -> torch.device:
        return super().device if self.residence is None else self.residence.device

    def encode(self, image: Tensor) -> Tensor:
        """The latent that is diffused, ``(B, Z, H / f, W / f)``: the posterior's mean, scaled."""
        with at_work(self.residence, self.first_stage, whole=True):
            return self.first_stage.encode(image.to(self.device))

    def decode(self, latent: Tensor, tile: int = 0) -> Tensor:
        """Pictures ``(B, C, f h, f w)`` in [-1, 1] of latents ``(B, Z, h, w)``; ``tile`` as the knob."""
        with at_work(self.residence, self.first_stage, whole=True):
            return decoded(self.first_stage, latent.to(self.device), tile)

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """:meth:`denoise` under ``condition`` with guidance and control: latents ``(B, Z, h, w)`` in VE space."""
        guided, knobs = self._guided(condition, n, how), self.settings(how)

        def denoise(x: Tensor, sigma: Any) -> Tensor:
            with steered(self, condition, knobs):
                return guided.of(x, sigma)

        return ByLevel(denoise)

    def _guided(self, condition: Condition, n: int, how: Sampling) -> ByLevel:
        """The denoiser without control, which :meth:`sample` adds once."""
        knobs = self.settings(how)
        with torch.no_grad():
            given, null = self._conditionings(condition, knobs)
        denoise = partial(self.denoise, predicts=knobs.predicts)
        rescale = rescaled(self.path, knobs.predicts, knobs.guidance_rescale)
        guided = ByLevel(classifier_free(denoise, given, null, knobs.guidance, rescale))
        if self.inpaints or condition.mask is None or condition.source is None:
            return guided
        make = max_pool2d(condition.mask.to(self.device), self.first_stage.factor)  # (B, 1, h, w)
        return keeping(guided, self.encode(condition.source), make)

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """As the scheduler of the published model lays them: descending, to 0 or to the chain's first level."""
        knobs = self.settings(how)
        own = knobs.sampler == "lcm" and "spacing" not in how
        return published_levels(
            self.path.sigmas,
            knobs.steps,
            "consistency" if own else knobs.spacing,
            offset=self.offset,
            one_more=knobs.sampler in ONE_MORE,
            whole=knobs.sampler in {"ddim", "lcm", *ONE_MORE},
            to_zero=self.to_zero or knobs.sampler != "ddim",
        )

    def solver(self, how: Sampling = Sampling()) -> Sampler:
        """What walks down :meth:`levels`; that of latent consistency models is theirs alone."""
        return own_or_solver("lcm", LCM, (), self.settings(how).sampler, how)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Text, then U-Net, then decoder; with a source from the last ``strength`` of the steps (SDEdit)."""
        knobs, n = self.settings(how), len(rng)
        check_divides(self.shape, self.first_stage.factor)
        source, mask = edited(condition, self.shape, self.inpaints)
        levels = walked(self.levels(how), source, how, knobs.strength)
        f, channels = self.first_stage.factor, self.first_stage.latent
        noise = rng.normal(n, channels, self.shape.height // f, self.shape.width // f, device=self.device)
        if source is None or knobs.strength == 1:
            x = noise * math.sqrt(1 + float(levels[0]) ** 2)  # pure noise over sqrt(alpha-bar_T)
        else:
            x = self.encode(source) + float(levels[0]) * noise
        denoise = self._guided(condition, n, how)
        with at_work(self.residence, self.network), context_read_once(self.network), steered(self, condition, knobs):
            x = self.solver(how)(denoise, x, levels, rng)
        picture = self.decode(x / math.sqrt(1 + float(levels[-1]) ** 2), knobs.tile)
        if source is None or mask is None:
            return picture
        return torch.where(mask.to(picture) > 0.5, picture, source.to(picture))

    def denoise(self, x: Tensor, sigma: Level, conditioning: Conditioning, predicts: Prediction) -> Tensor:
        """The expected latent ``(B, Z, h, w)`` given ``x = latent + sigma noise``; ``sigma`` (B,), or one for all."""
        c = in_ve(predicts, self.path, sigma)
        return to_x0(c, self._network(append_dims(c.input, x) * x, c.noise, conditioning), x)

    def _network(self, noisy: Tensor, t: Level, conditioning: Conditioning) -> Tensor:
        """What the network predicts, ``(B, Z, h, w)``; ``shown`` of the conditioning are channels beside ``noisy``."""
        given = dict(conditioning)
        noisy = torch.cat([noisy, given.pop("shown").to(noisy)], 1) if "shown" in given else noisy
        time = for_each(t * (1000 / len(self.path)), noisy)  # (B,)
        return self.network(noisy, time, **given).float()

    def _conditionings(self, condition: Condition, knobs: SimpleNamespace) -> tuple[dict[str, Tensor], ...]:
        """What the network is given under ``condition``, and under none or the negative caption."""
        with at_work(self.residence, self.prompt):
            texts = captions_of(condition), condition.negative
            given, null = self.prompt.both(*texts, self.shape, knobs, self.zero_null)
        source, mask = edited(condition, self.shape, self.inpaints)
        if self.inpaints and source is not None and mask is not None:
            make, seen = mask.to(self.device), source.to(self.device)
            hole = max_pool2d(make, self.first_stage.factor)  # (B, 1, h, w): a cell that the mask touches is made
            given["shown"] = null["shown"] = torch.cat([hole, self.encode(seen * (1 - make))], 1)  # (B, Z + 1, h, w)
        return given, null

    def unread(self, condition: Condition, how: Sampling = Sampling()) -> tuple[str, ...]:
        return self.prompt.unread(condition, self.settings(how), marks_asked="prompt_weights" in how)

    def footprint(self, n: int, how: Sampling = Sampling()) -> Footprint | None:
        return footprint_of(self, n, self.settings(how))
