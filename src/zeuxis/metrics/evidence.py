"""What the metrics are computed from: small results, one number or a few for each picture, and never the pictures.

Whoever measures goes through the pictures a chunk at a time and keeps of each chunk what stands here: features,
scores, predictions, counts. So the memory that a measurement takes is that of one chunk, at any picture size.
Axes: N pictures (or texts, or pairs), D features, F factors, K classes, M generated pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TypeVar

from torch import Tensor

from zeuxis.distributions.dequantise import LEVEL
from zeuxis.errors import UsageError
from zeuxis.metrics.adaptation import DomainAdaptation
from zeuxis.metrics.boundaries import Boundaries
from zeuxis.metrics.codes import CodeUsage
from zeuxis.metrics.frechet import Moments
from zeuxis.metrics.kernel import KernelDistance, kernel
from zeuxis.metrics.neighbours import Copying, copying
from zeuxis.metrics.oracle import Agreement, agreement
from zeuxis.metrics.perplexity import over
from zeuxis.metrics.precision import Support, precision_recall
from zeuxis.metrics.probe import Probe
from zeuxis.metrics.segmentation import Confusion, Overlap
from zeuxis.metrics.synthetic import TrainedOnSynthetic
from zeuxis.metrics.two_sample import TwoSample, two_sample
from zeuxis.metrics.verification import Verification, verification
from zeuxis.metrics.zero_shot import ZeroShot
from zeuxis.rng import Stream

_T = TypeVar("_T")


@dataclass(frozen=True)
class Compared:
    """Generated and held-out pictures in one more feature space, with what a figure says of that space."""

    fake: Tensor  # (M, D) features of generated pictures
    moments: Moments  # of the reference set
    features: str  # fingerprint of the space
    resize: str

    def __len__(self) -> int:
        return len(self.fake)


@dataclass(frozen=True)
class Evidence:
    """Results over a set of pictures. Every field is optional; a metric says which it needs."""

    fake: Tensor | None = None  # (M, D) features of generated pictures
    real: Tensor | None = None  # (N, D) features of the reference set
    moments: Moments | None = None  # of the reference set, when already known; else computed from ``real``
    grain: Compared | None = None  # in the space that sees grain
    untrained: Compared | None = None  # in the space of a network that learnt nothing
    imagenet: Compared | None = None  # in the space of a network that knows photographs
    maps: str | None = None  # fingerprint of the network whose maps ``scores["perceptual"]`` compares
    fake_views: Tensor | None = None  # (M, C, h, w) uint8, see ``two_sample.views``
    real_views: Tensor | None = None  # (N, C, h, w) uint8
    fake_to_training: Tensor | None = None  # (M,) distances of generated pictures to the nearest training picture
    real_to_training: Tensor | None = None  # (N,) those of held-out ones
    floors: Mapping[str, float] = field(default_factory=dict)  # metric -> what training pictures reach at equal count
    reconstructed: Tensor | None = None  # (N, D) features of pictures encoded and decoded
    scores: Mapping[str, Tensor] = field(default_factory=dict)  # metric -> (N,): pictures against their targets
    code_usage: CodeUsage | None = None  # of the codes that pictures were encoded in
    log_prob: Tensor | None = None  # (N,) nats of whole images, a density on [-1, 1]
    log_prob_spread: float | None = None  # nats: the standard error that all of ``log_prob`` share
    dims: int | None = None  # C x H x W; None where ``log_prob`` is not of 8-bit pixels
    data_dims: int | None = None  # of these, those that are data and no padding
    level: float = LEVEL  # see ``bits_per_dim``; 1 where ``log_prob`` is a probability
    logits: Tensor | None = None  # (N, K) of pictures, in random order
    prediction: Tensor | None = None  # (N, F) int64: the labels or factors that a judge predicts
    target: Tensor | None = None  # (N, F) int64: those of the condition
    factor_names: tuple[str, ...] | None = None  # F names
    leave_out: tuple[str, ...] = ()  # factors that the whole-scene agreement does not count
    in_distribution: Tensor | None = None  # (N,) bool: which pictures the judge takes for those of its data
    path_lengths: Tensor | None = None  # (N,) of steps between two latents, by their length squared
    confusion: Confusion | None = None  # of predicted and target layouts
    boundaries: Boundaries | None = None  # of edges found and those that are there
    genuine: Tensor | None = None  # (N,) scores of pairs that show one subject; from 0 on they are accepted
    impostor: Tensor | None = None  # (N,) scores of pairs that show two
    caption_log_prob: Tensor | None = None  # (N,) nats of captions, by the model
    caption_words: Tensor | None = None  # (N,) how many words each has, its end counted as one
    caption_best: Tensor | None = None  # (N,) nats of the same captions by what wrote them
    zero_shot: ZeroShot | None = None  # answers to questions about pictures, by texts alone
    synthetic: TrainedOnSynthetic | None = None
    adaptation: DomainAdaptation | None = None
    linear_probe: Probe | None = None  # of the model's codes
    linear_probe_pixels: Probe | None = None
    linear_probe_untrained: Probe | None = None  # of an untrained model of the same shape
    seed: int = 0  # of the kernel distance's subsets and of the two-sample test's classifier

    @cached_property
    def support(self) -> Support:
        return precision_recall(present(self.real), present(self.fake))

    @cached_property
    def kernel(self) -> KernelDistance:
        return kernel(present(self.real), present(self.fake), Stream(self.seed, "kernel"))

    @cached_property
    def two_sample(self) -> TwoSample:
        return two_sample(present(self.real_views), present(self.fake_views), Stream(self.seed, "two-sample"))

    @cached_property
    def copying(self) -> Copying:
        return copying(present(self.fake_to_training), present(self.real_to_training))

    @cached_property
    def agreement(self) -> Agreement:
        found, wanted = present(self.prediction), present(self.target)
        return agreement(found, wanted, self.factor_names or (), self.leave_out, self.in_distribution)

    @cached_property
    def overlap(self) -> Overlap:
        return present(self.confusion).overlap()

    @cached_property
    def verification(self) -> Verification:
        return verification(present(self.genuine), present(self.impostor))

    @cached_property
    def over_grammar(self) -> tuple[float, float]:
        return over(present(self.caption_log_prob), present(self.caption_best), present(self.caption_words))

    @property
    def given(self) -> frozenset[str]:
        """The names of the fields and of the scores that are set; ``real`` answers for ``moments`` too."""
        names = {f.name for f in fields(self) if getattr(self, f.name) is not None} | set(self.scores)
        return frozenset(names | {"moments"} if "real" in names else names)

    def count(self, name: str) -> int:
        """How many pictures (or texts, or pairs) the field or score ``name`` is of."""
        counted: Sized = self.scores[name] if name in self.scores else getattr(self, name)
        return len(counted)

    def mean(self, score: str) -> float:
        """The mean of a score over the pictures."""
        return float(self.scores[score].mean())

    def moments_of_reference(self) -> Moments:
        return self.moments if self.moments is not None else Moments.of(present(self.real))


def present(value: _T | None) -> _T:
    """Narrow the type of what :func:`zeuxis.metrics.table.measure` has already found to be there."""
    if value is None:
        raise UsageError("a metric reads evidence that its `needs` do not name: add the field to its entry")
    return value
