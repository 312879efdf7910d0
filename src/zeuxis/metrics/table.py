"""The metrics by name: what each needs, which way is better, and how to compute it.

Adding a metric is one entry of :data:`METRICS`. Every entry reads :class:`Evidence`, so that
whoever measures fills in what it has and asks for figures by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

from torch import Tensor

from zeuxis.errors import UnknownName, UsageError
from zeuxis.metrics.frechet import Moments, frechet
from zeuxis.metrics.kernel import KernelDistance, kernel
from zeuxis.metrics.likelihood import LEVEL, bits_per_dim
from zeuxis.metrics.oracle import Agreement, accuracy, agreement, doubt, recognised
from zeuxis.metrics.perplexity import over, perplexity
from zeuxis.metrics.precision import Support, precision_recall
from zeuxis.metrics.record import Better, Figure
from zeuxis.metrics.score import classifier_score
from zeuxis.metrics.segmentation import Overlap, overlap
from zeuxis.metrics.similarity import psnr, ssim
from zeuxis.metrics.verification import Verification, same_person, verification
from zeuxis.rng import Stream

_T = TypeVar("_T")


@dataclass(frozen=True)
class Evidence:
    """What was made and what it is held against. Every field is optional; a metric says which it needs."""

    fake: Tensor | None = None  # (M, D) features of made pictures
    real: Tensor | None = None  # (N, D) features of the reference set
    moments: Moments | None = None  # of the reference set, when already known; else computed from ``real``
    made: Tensor | None = None  # (N, C, H, W) in [-1, 1]
    wanted: Tensor | None = None  # (N, C, H, W) in [-1, 1]: the picture that each should be
    rebuilt: Tensor | None = None  # (N, D) features of pictures encoded and decoded
    latent: Tensor | None = None  # int64, of any shape: the codes that pictures were encoded in
    codes: int | None = None  # how many codes there are
    log_prob: Tensor | None = None  # (N,) nats of whole images, a density on [-1, 1]
    dims: int | None = None  # C x H x W
    level: float = LEVEL  # see ``bits_per_dim``
    logits: Tensor | None = None  # (N, K) of made pictures, in random order
    found: Tensor | None = None  # (N, F) int64: the labels or factors read
    asked: Tensor | None = None  # (N, F) int64: those asked for
    names: tuple[str, ...] | None = None  # F names
    known: Tensor | None = None  # (N,) bool: which pictures the reader takes for those of its world
    mapped: Tensor | None = None  # (N, H, W) integers: the layout read
    layout: Tensor | None = None  # (N, H, W) integers: the layout asked for
    layout_names: tuple[str, ...] | None = None  # of its K classes
    alike: Tensor | None = None  # (N,) scores of pairs that show one subject; from 0 on they are taken to
    unlike: Tensor | None = None  # (N,) scores of pairs that show two
    caption_log_prob: Tensor | None = None  # (N,) nats of captions, by the model
    caption_words: Tensor | None = None  # (N,) how many words each has, its end counted as one
    caption_best: Tensor | None = None  # (N,) nats of the same captions by what wrote them
    leave_out: tuple[str, ...] = ()  # factors that the whole-scene agreement does not count
    seed: int = 0  # of the kernel distance's subsets

    @cached_property
    def support(self) -> Support:
        return precision_recall(_given(self.real), _given(self.fake))

    @cached_property
    def kernel(self) -> KernelDistance:
        return kernel(_given(self.real), _given(self.fake), Stream(self.seed, "kernel"))

    @cached_property
    def agreement(self) -> Agreement:
        return agreement(_given(self.found), _given(self.asked), self.names or (), self.leave_out)

    @cached_property
    def overlap(self) -> Overlap:
        return overlap(_given(self.mapped), _given(self.layout), _given(self.layout_names))

    @cached_property
    def verification(self) -> Verification:
        return verification(_given(self.alike), _given(self.unlike))

    @cached_property
    def over_grammar(self) -> tuple[float, float]:
        return over(_given(self.caption_log_prob), _given(self.caption_best), _given(self.caption_words))

    @property
    def given(self) -> frozenset[str]:
        """The names of the fields that are set; ``real`` answers for ``moments`` too."""
        names = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        return frozenset(names | {"moments"} if "real" in names else names)

    def moments_of_reference(self) -> Moments:
        return self.moments if self.moments is not None else Moments.of(_given(self.real))


@dataclass(frozen=True)
class Metric:
    """One metric. ``of_distribution`` marks those that depend on how many samples were taken.

    ``parts`` are shares that explain the value: each becomes a figure of its own, named ``metric/part``.
    ``beside`` are metrics without which the value misleads: they are measured with it, where the evidence
    allows. ``caution`` tells what a reader of the figures must know, in one line, or None.
    """

    about: str
    better: Better
    needs: tuple[str, ...]  # fields of Evidence; the first one counts the samples
    value: Callable[[Evidence], float]
    of_distribution: bool = False
    spread: Callable[[Evidence], float] | None = None
    parts: Callable[[Evidence], Mapping[str, float]] | None = None
    beside: tuple[str, ...] = ()
    caution: Callable[[Evidence], str | None] | None = None


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "frechet": Metric(
            "Fréchet distance of features",
            "lower",
            ("fake", "moments"),
            lambda e: frechet(_given(e.fake), e.moments_of_reference()),
            of_distribution=True,
        ),
        "kernel": Metric(
            "kernel distance (squared MMD) of features",
            "lower",
            ("fake", "real"),
            lambda e: e.kernel.value,
            of_distribution=True,
            spread=lambda e: e.kernel.spread,
        ),
        "precision": Metric(
            "share of fakes that look real", "higher", ("fake", "real"), lambda e: e.support.precision, True
        ),
        "recall": Metric(
            "share of reals that are covered", "higher", ("fake", "real"), lambda e: e.support.recall, True
        ),
        "density": Metric(
            "real balls around a fake, over k", "higher", ("fake", "real"), lambda e: e.support.density, True
        ),
        "coverage": Metric(
            "share of real balls that hold a fake", "higher", ("fake", "real"), lambda e: e.support.coverage, True
        ),
        "classifier-score": Metric(
            "exp of the mutual information of picture and class",
            "higher",
            ("logits",),
            lambda e: classifier_score(_given(e.logits))[0],
            of_distribution=True,
            spread=lambda e: classifier_score(_given(e.logits))[1],
        ),
        "psnr": Metric(
            "peak signal-to-noise ratio, dB, mean over images",
            "higher",
            ("made", "wanted"),
            lambda e: float(psnr(_given(e.made), _given(e.wanted)).mean()),
        ),
        "ssim": Metric(
            "structural similarity, mean over images",
            "higher",
            ("made", "wanted"),
            lambda e: float(ssim(_given(e.made), _given(e.wanted)).mean()),
        ),
        "rebuilt-frechet": Metric(
            "Fréchet distance of features, of pictures encoded and decoded",
            "lower",
            ("rebuilt", "moments"),
            lambda e: frechet(_given(e.rebuilt), e.moments_of_reference()),
            of_distribution=True,
        ),
        "codes-used": Metric(
            "share of the codebook that held-out pictures use",
            "higher",
            ("latent", "codes"),
            lambda e: len(_given(e.latent).unique()) / _given(e.codes),
        ),
        "nll": Metric(
            "negative log-likelihood (or its bound), nats an image",
            "lower",
            ("log_prob",),
            lambda e: -float(_given(e.log_prob).double().mean()),
        ),
        "bits-per-dim": Metric(
            "negative log-likelihood (or its bound) of 8-bit pixels, bits a value",
            "lower",
            ("log_prob", "dims"),
            lambda e: float(bits_per_dim(_given(e.log_prob).double(), _given(e.dims), e.level).mean()),
        ),
        "accuracy": Metric(
            "share of labels (or factors) read right",
            "higher",
            ("found", "asked"),
            lambda e: accuracy(_given(e.found), _given(e.asked)),
            beside=("recognised",),
        ),
        "agreement": Metric(
            "share of pictures that hold all their caption asks",
            "higher",
            ("found", "asked", "names"),
            lambda e: e.agreement.whole,
            parts=lambda e: e.agreement.factor,
            beside=("recognised",),
        ),
        "recognised": Metric(
            "share of pictures that the reader takes for those of its world",
            "higher",
            ("known",),
            lambda e: recognised(_given(e.known)),
            caution=lambda e: doubt(_given(e.known)),
        ),
        "miou": Metric(
            "intersection over union of the layout's classes, mean over those that occur",
            "higher",
            ("mapped", "layout", "layout_names"),
            lambda e: e.overlap.mean,
            parts=lambda e: e.overlap.union,
            beside=("recognised",),
        ),
        "pixel-accuracy": Metric(
            "share of pixels whose class is read right",
            "higher",
            ("mapped", "layout", "layout_names"),
            lambda e: e.overlap.pixels,
            beside=("recognised",),
        ),
        "verification": Metric(
            "share of pairs told right, half of which show one subject",
            "higher",
            ("alike", "unlike"),
            lambda e: e.verification.accuracy,
            parts=lambda e: {"accepted": e.verification.accepted, "refused": e.verification.refused},
            beside=("equal-error", "recognised"),
        ),
        "equal-error": Metric(
            "error on pairs at the threshold where both kinds of error are equal",
            "lower",
            ("alike", "unlike"),
            lambda e: e.verification.equal_error,
        ),
        "same-person": Metric(
            "share of pictures that are taken to show the subject of their source",
            "higher",
            ("alike",),
            lambda e: same_person(_given(e.alike)),
            beside=("recognised",),
        ),
        "perplexity": Metric(
            "among how many words a reader of captions would have to guess",
            "lower",
            ("caption_log_prob", "caption_words"),
            lambda e: perplexity(_given(e.caption_log_prob), _given(e.caption_words)),
            beside=("perplexity-over-grammar",),
        ),
        "perplexity-over-grammar": Metric(
            "perplexity over that of the grammar which wrote the captions, 1 at best",
            "lower",
            ("caption_log_prob", "caption_best", "caption_words"),
            lambda e: e.over_grammar[0],
            spread=lambda e: e.over_grammar[1],
        ),
    }
)


def measure(
    names: Sequence[str],
    evidence: Evidence,
    *,
    features: str | None = None,
    reference: str | None = None,
    resize: str | None = None,
) -> list[Figure]:
    """The figures called ``names``, in order, each followed by those of its parts and those to be read beside it.

    ``features`` and ``reference`` are fingerprints, see :class:`Figure`.

    Raises: UnknownName for a name outside :data:`METRICS`; UsageError when the evidence lacks what a metric needs.
    """
    figures: list[Figure] = []
    for name in names:
        if name not in METRICS:
            raise UnknownName("metric", name, METRICS)
        metric = METRICS[name]
        missing = [n for n in metric.needs if n not in evidence.given]
        if missing:
            have = [n for n, m in METRICS.items() if evidence.given.issuperset(m.needs)]
            raise UsageError(f"'{name}' needs {', '.join(missing)}; what is here can give: {', '.join(have) or 'none'}")
        whole = Figure(
            name=name,
            value=metric.value(evidence),
            samples=len(getattr(evidence, metric.needs[0])),
            better=metric.better,
            spread=metric.spread(evidence) if metric.spread else None,
            features=features,
            reference=reference,
            resize=resize,
            of_distribution=metric.of_distribution,
            caution=metric.caution(evidence) if metric.caution else None,
        )
        parts = metric.parts(evidence) if metric.parts else {}
        figures += [whole, *(replace(whole, name=f"{name}/{part}", value=share) for part, share in parts.items())]
        beside = [other for other in metric.beside if evidence.given.issuperset(METRICS[other].needs)]
        figures += measure(beside, evidence, features=features, reference=reference, resize=resize)
    return list({figure.name: figure for figure in figures}.values())  # each once


def _given(value: _T | None) -> _T:
    """Narrow the type of what :func:`measure` has already found to be there."""
    if value is None:
        raise ValueError("evidence read without asking `measure` whether it is there")
    return value
