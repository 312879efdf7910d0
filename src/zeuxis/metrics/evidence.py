"""What is known of the pictures or texts that are measured, and what more than one metric reads off it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TypeVar

from torch import Tensor

from zeuxis.distributions.dequantise import LEVEL
from zeuxis.metrics.frechet import Moments
from zeuxis.metrics.kernel import KernelDistance, kernel
from zeuxis.metrics.oracle import Agreement, agreement
from zeuxis.metrics.perplexity import over
from zeuxis.metrics.precision import Support, precision_recall
from zeuxis.metrics.segmentation import Overlap, overlap
from zeuxis.metrics.verification import Verification, verification
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
        return precision_recall(present(self.real), present(self.fake))

    @cached_property
    def kernel(self) -> KernelDistance:
        return kernel(present(self.real), present(self.fake), Stream(self.seed, "kernel"))

    @cached_property
    def agreement(self) -> Agreement:
        return agreement(present(self.found), present(self.asked), self.names or (), self.leave_out)

    @cached_property
    def overlap(self) -> Overlap:
        return overlap(present(self.mapped), present(self.layout), present(self.layout_names))

    @cached_property
    def verification(self) -> Verification:
        return verification(present(self.alike), present(self.unlike))

    @cached_property
    def over_grammar(self) -> tuple[float, float]:
        return over(present(self.caption_log_prob), present(self.caption_best), present(self.caption_words))

    @property
    def given(self) -> frozenset[str]:
        """The names of the fields that are set; ``real`` answers for ``moments`` too."""
        names = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        return frozenset(names | {"moments"} if "real" in names else names)

    def moments_of_reference(self) -> Moments:
        return self.moments if self.moments is not None else Moments.of(present(self.real))


def present(value: _T | None) -> _T:
    """Narrow the type of what :func:`zeuxis.metrics.table.measure` has already found to be there."""
    if value is None:
        raise ValueError("evidence read without asking `measure` whether it is there")
    return value
