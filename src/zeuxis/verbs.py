"""What a method can do once it has learnt: the verbs, the same for every one of them.

A system's card says which it has. Asking for another is an error that names those; nothing probes.

Axes: L layers with a style code each, W numbers of a latent or of a style code, M rows of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.sampler import Denoise, Sampler, with_knobs
from zeuxis.distributions.flow import Flow
from zeuxis.errors import Unsupported
from zeuxis.knobs import Knob, Sampling, checked
from zeuxis.nn.footprint import Footprint
from zeuxis.rng import ImageRng, Rng


@dataclass(frozen=True)
class Proof:
    """A figure that a method can have of itself, without data: ``measure(samples, rng)``."""

    better: Literal["lower", "higher"]
    measure: Callable[[int, Rng], float]


class Likelihood(Enum):
    """Of what ``log_prob`` is the likelihood, and so which pictures it is given and what unit it is read in."""

    DENSITY = "a density on [-1, 1]; pictures are spread over their grey levels before it is asked"
    DENSITY_OF_LEVELS = "a density on [-1, 1] that is constant within a grey level; pictures are left as they are"
    GREY_LEVELS = "the probability of pictures of 256 grey levels; they are left as they are"
    BLACK_AND_WHITE = "the probability of pictures of two values: nats, which are no bits of 8-bit pixels"


class Verbs(nn.Module):
    """The verbs of a system, each refused until a subclass implements it; and what is asked of any of them."""

    card: ClassVar[Card]
    config: dict[str, Any]  # the constructor's arguments
    shape: Shape
    likelihood_of: Likelihood = Likelihood.DENSITY  # what log_prob is of; an instance may set its own
    codes: int | None = None  # how many values each entry of an encoded picture takes; None where they are real numbers
    style_layers: int = 0  # L where a latent holds a style code for each layer, (B, L, W); 0 where it holds none
    told_in_latent: int = 0  # how many of a latent's last numbers are what it is told, such as a class as a one-hot row

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Draw ``len(rng)`` images ``(B, C, H, W)`` in [-1, 1], obeying ``condition``."""
        raise self._lacks("sample")

    def draw_steps(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """How :meth:`sample` comes to its images, ``(B, T, C, H, W)`` in [-1, 1]: the last of T steps is the image."""
        raise self._lacks("draw in steps")

    def encode(self, image: Tensor) -> Tensor:
        """The latent ``(B, ...)`` of images ``(B, C, H, W)``."""
        raise self._lacks("encode")

    def inner_features(self, image: Tensor, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Numbers ``(B, D)`` that a network inside makes of images ``(B, C, H, W)``: a discriminator, or a denoiser.

        They are for reading off what a picture shows, and do not lead back to it. Noise comes from ``rng``.
        """
        raise self._lacks("inner_features")

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Vectors ``(B, D)`` of texts, of length 1, in the space of :meth:`encode`'s of pictures."""
        raise self._lacks("encode_text")

    @property
    def logit_scale(self) -> float:
        """By what a cosine of :meth:`encode` and :meth:`encode_text` is multiplied to be a logit over texts."""
        raise self._lacks("encode_text")

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` from latents ``(B, ...)``."""
        raise self._lacks("decode")

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The latents ``(B, ...)`` that :meth:`sample` draws: :meth:`decode` of them shows its pictures, without what
        noise it may add to each."""
        raise self._lacks("draw latents")

    def latent_weights(self) -> Tensor:
        """The weights ``(M, W)`` of the first linear maps that a latent of W numbers meets, one below another; of style
        codes ``(L, M, W)``, by layer."""
        raise self._lacks("latent_weights")

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """Log-likelihood in nats ``(B,)``, or the bound on it that the class states."""
        raise self._lacks("log_prob")

    @property
    def log_prob_spread(self) -> float | None:
        """The standard error in nats that :meth:`log_prob` has for all pictures alike, as by an estimated partition
        function; None where it has none."""
        return None

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """The model's denoiser: ``denoise(x, sigma) -> x0`` for ``n`` images under ``condition``.

        Always in VE space, ``x = x0 + sigma e`` with ``sigma`` (B,); guidance is inside, and gradients flow to x.
        Where a system encodes as well, x0 is what :meth:`encode` makes of a picture, and :meth:`decode` undoes it.
        """
        raise self._lacks("denoise")

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """The noise levels (N + 1,) that :meth:`sample` goes through, as :meth:`denoiser` counts them: descending to 0.

        A sampler starts from noise of the first one's deviation.
        """
        raise self._lacks("denoise")

    def solver(self, how: Sampling = Sampling()) -> Sampler:
        """What walks down :meth:`levels` with the denoiser: by default what the knob ``sampler`` says."""
        return with_knobs(self.settings(how).sampler, how)

    def footprint(self, n: int, how: Sampling = Sampling()) -> Footprint | None:
        """The memory that :meth:`sample` takes for ``n`` images at a time; None where it is not known, and small."""
        return None

    def unread(self, condition: Condition, how: Sampling = Sampling()) -> tuple[str, ...]:
        """What of ``condition`` it passes over, a sentence each, for the user to know: a caption beyond its window, or
        what counts for nothing where it is turned as ``how`` says.

        By default what the systems pass over that it was given.
        """
        found: dict[str, None] = {}
        for part in self.children():
            if isinstance(part, Verbs):
                turned = Sampling(**{name: value for name, value in how.items() if name in part.knobs})
                found |= dict.fromkeys(part.unread(condition.only(part.conditions), turned))
        return tuple(found)

    def classify(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits ``(B, K_f)``, one tensor per factor that the system reads off a picture."""
        raise self._lacks("classify")

    def segment(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, H, W)`` of each pixel's class in a layout."""
        raise self._lacks("segment")

    def detect_edges(self, image: Tensor) -> Tensor:
        """How likely each pixel lies on an outline, ``(B, 1, H, W)`` in [0, 1], of pictures of any size."""
        raise self._lacks("detect_edges")

    def verify(self, image: Tensor, other: Tensor) -> Tensor:
        """How alike the subjects of two sets of pictures are, pair by pair ``(B,)``: from 0 on they are the same."""
        raise self._lacks("verify")

    def in_distribution(self, image: Tensor) -> Tensor:
        """Which pictures are like those that it learnt from, bool ``(B,)``; what it finds in others means nothing."""
        raise self._lacks("in_distribution")

    def write(self, rng: ImageRng, how: Sampling = Sampling()) -> tuple[str, ...]:
        """Draw ``len(rng)`` captions."""
        raise self._lacks("write")

    def log_prob_caption(self, captions: Sequence[str]) -> Tensor:
        """Log-likelihood in nats ``(B,)`` of captions."""
        raise self._lacks("log_prob_caption")

    def proofs(self) -> Mapping[str, Proof]:
        """What is measured of this method alone, by name; a claim may be about any of them."""
        return {}

    def _lacks(self, verb: str) -> Unsupported:
        return Unsupported(f"'{self.card.id}' cannot {verb}; it can: {', '.join(sorted(self.can))}")

    @property
    def can(self) -> frozenset[str]:
        """The verbs that this instance has: its card's, or fewer where it was built so that one means nothing."""
        return frozenset(self.card.verbs)

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """The knobs of this instance by name, each with its default: the card's, or what it was built with."""
        return self.card.knobs_as_built(self.config)

    def settings(self, how: Sampling) -> SimpleNamespace:
        """A value for every knob, by name: what ``how`` asks, the default elsewhere.

        Raises :class:`Unsupported` for a knob that there is not, :class:`zeuxis.errors.UsageError` for a value that
        the knob does not take.
        """
        knobs = self.knobs
        asked = checked(f"'{self.card.id}'", knobs, how)
        return SimpleNamespace(**{name: knob.default for name, knob in knobs.items()} | asked)

    @property
    def conditions(self) -> frozenset[str]:
        """The fields of ``Condition`` that this instance obeys; what its card needs, and what it was built to take."""
        return frozenset(self.card.needs)

    @property
    def optional(self) -> frozenset[str]:
        """Those of :attr:`conditions` without which it can sample."""
        return frozenset()

    @property
    def flow(self) -> Flow | None:
        """The exact invertible map of images to latents and its base, where ``encode``, ``decode`` and ``log_prob`` are
        those of one; None for other systems."""
        return None

    @property
    def device(self) -> torch.device:
        """Where its parameters (or buffers) live."""
        return next((t.device for t in chain(self.parameters(), self.buffers())), torch.device("cpu"))
