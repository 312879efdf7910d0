"""Classifier guidance (Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis", arXiv:2105.05233).

A classifier learns to tell classes apart under any noise; its gradient steers a diffusion model that was trained
without it, and perhaps without classes.

Paper -> code: p_theta, or epsilon_theta -> ``base.denoiser``, p_phi(y | x_t) -> network, s -> scale, t -> sigma, the
level of noise in VE space, which all diffusion models share.

Parts: nn/resampling_unet.py (``NoisyClassifier``), diffusion/guidance.py (``classifier_guided``), diffusion/sampler.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import classifier_guided
from zeuxis.diffusion.held_out import LEVELS
from zeuxis.diffusion.path import append_dims
from zeuxis.diffusion.precondition import edm
from zeuxis.diffusion.sampler import Denoise, Sampler, with_knobs
from zeuxis.diffusion.schedule import check_levels
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.embed import TIME_SCALE, check_labels
from zeuxis.nn.resampling_unet import NoisyClassifier
from zeuxis.rng import ImageRng, Rng, normal_like


class ClassifierGuidance(System):
    """A classifier of noisy pictures, trained here, that steers the trained diffusion model ``base``, which is not.

    Args:
        base: any system with a denoiser of pictures, such as ddpm, edm or flow-matching; never trained.
        width: channels of the classifier at its finest level.
        multiples: of the width at each level, from fine to coarse; each level halves the sides of the one before.
        blocks: residual blocks at each level.
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which always has it.
        head_width: channels of each head of an attention; it divides the level's.
        low: least level of noise that the classifier learns at, a standard deviation beside images in [-1, 1].
        high: greatest level, between which and the least the logarithm is drawn evenly.
        scale: of the classifier's gradient: default of the knob. 1 is Bayes' rule, more goes beyond.
        sampler: over the steered denoiser, one of the base's or any common one: default of the knob.
    """

    card = Card(
        "classifier-guidance",
        title="Classifier guidance",
        family="diffusion",
        year=2021,
        paper="2105.05233",
        verbs={"sample", "denoiser", "classify"},
        needs={"label"},
        knobs=(
            "steps",
            Knob("scale", "float", "of the classifier's gradient; 0 is none, 1 is Bayes' rule", least=-1000, most=1000),
            "sampler",
        ),
        departures=(
            "The classifier learns at levels of noise that are even in their logarithm, not at the steps of one chain.",
            "It sees the noisy picture scaled to unit variance.",
            "The gradient is added to the expected image, the same for every sampler.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        base: System,
        classes: int = 0,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 2, 3, 4),
        blocks: int = 4,
        attention: tuple[int, ...] = (2, 4, 8),
        head_width: int = 64,
        low: float = 0.01,
        high: float = 80.0,
        scale: float = 1.0,
        sampler: str = "ddim",
    ) -> None:
        super().__init__()
        self.shape, self.low, self.high = Shape(*shape), low, high
        if "denoiser" not in base.can:
            raise Unsupported(f"'{base.card.id}' has no denoiser to steer: base is a diffusion model, such as ddpm")
        if "encode" in base.can:
            raise Unsupported(f"'{base.card.id}' denoises codes of pictures: give a diffusion model of pictures")
        if tuple(base.shape) != tuple(self.shape):
            raise UsageError(
                f"the base '{base.card.id}' was trained on pictures of {tuple(base.shape)}, not {tuple(self.shape)} "
                "(channels, rows, columns): set size to its own, or train one on this data"
            )
        if classes < 2:
            raise UsageError(f"a classifier needs data with 2 classes or more, not {classes}: choose labelled data")
        check_levels(low, high)
        self.base, self.classes, self.predicts_noise = base, classes, base.predicts_noise
        self.freeze(base)
        self.network = NoisyClassifier(
            self.shape.channels, self.shape[1:], classes, width=width, multiples=tuple(multiples), blocks=blocks,
            attention=tuple(attention), head_width=head_width,
        )  # fmt: skip

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=3e-4, optimiser="adamw", weight_decay=0.05),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.learn),)

    @property
    def conditions(self) -> frozenset[str]:
        return super().conditions | self.base.conditions

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """Those of the base, and its own; it is drawn by any sampler that the base is."""
        own, base = super().knobs, self.base.knobs
        sampler = replace(own["sampler"], choices=base["sampler"].choices) if "sampler" in base else own["sampler"]
        return {**base, "scale": own["scale"], "sampler": sampler}

    def learn(self, turn: Turn) -> Tensor:
        """-log p(y | x + sigma e) (Section 4)."""
        image, label = turn.batch.image, turn.batch.condition.label  # (B, C, H, W), (B,)
        assert label is not None  # the card needs it
        check_labels(label, self.classes)
        share = turn.rng.uniform(len(image), device=image.device)
        sigma = (math.log(self.low) + share * math.log(self.high / self.low)).exp()  # (B,)
        logits = self.logits(image + append_dims(sigma, image) * normal_like(image, turn.rng), sigma)  # (B, K)
        turn.note(accuracy=(logits.argmax(1) == label).float().mean())
        return F.cross_entropy(logits, label)

    def held_out(self, batch: Batch, rng: Rng) -> Mapping[str, Tensor]:
        """The cross-entropy at eight fixed levels of noise."""
        image, label, noise = batch.image, batch.condition.label, normal_like(batch.image, rng)
        assert label is not None
        levels = {f"sigma {sigma:g}": image.new_full((len(image),), sigma) for sigma in LEVELS}
        return {
            name: F.cross_entropy(self.logits(image + append_dims(level, image) * noise, level), label)
            for name, level in levels.items()
        }

    def logits(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Of the classes (B, K), of images ``x`` (B, C, H, W) under noise of the levels ``sigma`` (B,)."""
        c = edm(sigma)
        found: Tensor = self.network(append_dims(c.input, x) * x, c.noise * TIME_SCALE)
        return found.float()

    def classify(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits (B, K) of clean pictures, as under the least noise."""
        return (self.logits(image, image.new_full((len(image),), self.low)),)

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """The base's denoiser, steered to ``condition.label`` (Alg. 1 and 2)."""
        label, scale = condition.label, self.settings(how).scale
        if label is None:
            raise Unsupported("classifier guidance steers to a class and was given none: give a label")
        check_labels(label, self.classes)
        plain = self.base.denoiser(condition.only(self.base.conditions), n, self._of_base(how))

        def log_prob(x: Tensor, sigma: Tensor) -> Tensor:
            return -F.cross_entropy(self.logits(x, sigma), label.clone().to(x.device).expand(n), reduction="none")

        return classifier_guided(plain, log_prob, scale) if scale else plain

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        return self.base.levels(self._of_base(how))

    def solver(self, how: Sampling = Sampling()) -> Sampler:
        """The base's of that name, which refuses knobs that it has no use for."""
        name = self.settings(how).sampler
        if "sampler" not in self.base.knobs:
            return with_knobs(name, how)
        return self.base.solver(Sampling(**self._of_base(how), sampler=name))

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """From noise of the base's greatest level through its levels, by the steered denoiser."""
        levels = self.levels(how)
        x = levels[0] * rng.normal(len(rng), *self.shape, device=self.device)
        return self.solver(how)(self.denoiser(condition, len(rng), how), x, levels, rng).clamp(-1, 1)

    def _of_base(self, how: Sampling) -> Sampling:
        """What of ``how`` is asked of the base."""
        return Sampling(**{name: value for name, value in how.items() if name not in ("scale", "sampler")})
