"""Collectors: what is kept of every chunk of pictures that are measured, which is all that metrics are computed from.

A collector is shown one chunk after another, held-out examples and what was generated under their conditions, on
the model's device, and at the end fills in some fields of :class:`zeuxis.metrics.table.Evidence`. It keeps features,
scores, predictions or counts, and no pictures. What a picture holds is predicted by a judge: the measured model
itself where it is one, else the shipped model that was trained on the same data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from zeuxis.api.features import Features, Judges, times_larger
from zeuxis.api.measurable import border_of
from zeuxis.api.model import Model
from zeuxis.api.reference import Reference
from zeuxis.batch import Batch
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.pairing import outlines
from zeuxis.data.source import Source
from zeuxis.data.worlds import caption_likelihood
from zeuxis.distributions.dequantise import LEVEL, dequantise
from zeuxis.errors import Unsupported
from zeuxis.metrics.boundaries import Boundaries
from zeuxis.metrics.codes import CodeUsage
from zeuxis.metrics.evidence import Compared
from zeuxis.metrics.neighbours import thumbnails
from zeuxis.metrics.segmentation import Confusion
from zeuxis.metrics.similarity import cropped, psnr
from zeuxis.metrics.table import METRICS
from zeuxis.metrics.two_sample import MOST, views
from zeuxis.nn.words import words_of
from zeuxis.rng import Stream
from zeuxis.verbs import Likelihood

SCORED = 16  # pictures scored at a time: SSIM holds a dozen float64 copies of them
DENSITIES = frozenset({Likelihood.DENSITY, Likelihood.DENSITY_OF_LEVELS})
Score = Callable[[Tensor, Tensor], Tensor]  # pictures and targets (B, C, H, W) -> (B,)


@dataclass(frozen=True)
class Chunk:
    """Some held-out examples, and the pictures generated under their conditions (None where the model makes none)."""

    real: Batch
    fake: Tensor | None

    @property
    def pictures(self) -> Tensor:
        """Those to be judged."""
        return self.real.image if self.fake is None else self.fake


class Collector(Protocol):
    """Sees every chunk once, in order."""

    def add(self, chunk: Chunk) -> None: ...

    def evidence(self) -> dict[str, Any]:
        """Fields of ``Evidence``, once every chunk was seen."""
        ...


class FeatureSets:
    """Features of held-out and of generated pictures; with ``reference`` the moments of the former too."""

    def __init__(self, space: Features, reference: Reference | None) -> None:
        self.space, self.reference = space, reference
        self.real: list[Tensor] = []
        self.fake: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        self.real.append(self.space.of(chunk.real.image).cpu())
        if chunk.fake is not None:
            self.fake.append(self.space.of(chunk.fake).cpu())

    def evidence(self) -> dict[str, Any]:
        real = torch.cat(self.real)
        moments = None if self.reference is None else self.reference.moments(self.space, lambda: real)
        return {"real": real, "moments": moments, "fake": torch.cat(self.fake) if self.fake else None}


class FixedSpace:
    """Generated pictures in a space that nobody trained, for the field ``name`` of the evidence."""

    def __init__(self, name: str, space: Features, reference: Reference) -> None:
        self.name, self.space, self.reference = name, space, reference
        self.fake: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        if chunk.fake is not None:
            self.fake.append(self.space.of(chunk.fake).cpu())

    def evidence(self) -> dict[str, Any]:
        if not self.fake:
            return {}
        moments = self.reference.moments(self.space)
        return {self.name: Compared(torch.cat(self.fake), moments, self.space.hash, self.space.resize)}


class Views:
    """What the two-sample test's network sees of the first pictures, real and generated."""

    def __init__(self, seed: int) -> None:
        self.rng = Stream(seed, "views")
        self.real: list[Tensor] = []
        self.fake: list[Tensor] = []
        self.held = 0

    def add(self, chunk: Chunk) -> None:
        if chunk.fake is None or self.held >= MOST:
            return
        some = slice(MOST - self.held)
        for image, kept in ((chunk.real.image[some], self.real), (chunk.fake[some], self.fake)):
            kept.append(views(image.cpu(), self.rng))
        self.held += len(self.real[-1])

    def evidence(self) -> dict[str, Any]:
        return {"real_views": torch.cat(self.real), "fake_views": torch.cat(self.fake)} if self.real else {}


class Copies:
    """How near generated and held-out pictures lie to training pictures, all of which are gone through at the end."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.fake: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        if chunk.fake is not None:
            self.fake.append(thumbnails(chunk.fake).cpu())

    def evidence(self) -> dict[str, Any]:
        if not self.fake:
            return {}
        fake, real = self.reference.to_training(torch.cat(self.fake))
        return {"fake_to_training": fake, "real_to_training": real}


class Reconstructions:
    """Held-out pictures, encoded and decoded: scores against the originals, features (with ``space``), codes used."""

    def __init__(self, model: Model, scores: Mapping[str, Score], space: Features | None) -> None:
        self.model, self.score_of, self.space = model, scores, space
        self.scores: dict[str, list[Tensor]] = {name: [] for name in scores}
        self.features: list[Tensor] = []
        codes = model.system.codes
        self.usage = None if codes is None else CodeUsage(codes)
        # Scores are computed in float64, which Apple's processors lack.
        self.place = "cpu" if model.device.startswith("mps") else model.device

    def add(self, chunk: Chunk) -> None:
        latent, image = reconstruct(self.model, chunk.real.image)
        for some, target in zip(image.split(SCORED), chunk.real.image.split(SCORED), strict=True):
            for name, score in self.score_of.items():
                self.scores[name].append(score(some.to(self.place), target.to(self.place)).cpu())
        if self.space is not None:
            self.features.append(self.space.of(image).cpu())
        if self.usage is not None:
            self.usage.add(latent)

    def evidence(self) -> dict[str, Any]:
        return {
            "scores": {name: torch.cat(parts) for name, parts in self.scores.items()},
            "reconstructed": torch.cat(self.features) if self.features else None,
            "code_usage": self.usage,
        }


class Restorations:
    """Scores of what was made of the sources of held-out pictures, against the pictures."""

    def __init__(self, model: Model, scores: Mapping[str, Score]) -> None:
        self.score_of = scores
        self.scores: dict[str, list[Tensor]] = {name: [] for name in scores}
        self.border = border_of(model)
        self.place = "cpu" if model.device.startswith("mps") else model.device

    def add(self, chunk: Chunk) -> None:
        for some, target in zip(chunk.pictures.split(SCORED), chunk.real.image.split(SCORED), strict=True):
            pair = some.to(self.place), target.to(self.place)
            inner = tuple(cropped(image, self.border) for image in pair)
            for name, score in self.score_of.items():
                made, wanted = inner if METRICS[name].bordered else pair
                self.scores[name].append(score(made, wanted).cpu())

    def evidence(self) -> dict[str, Any]:
        return {"scores": {name: torch.cat(parts) for name, parts in self.scores.items()}}


class SourceConsistency:
    """Whether what was made of sources is, degraded again as they were, the sources."""

    def __init__(self, source: DegradedSource) -> None:
        self.source = source
        self.scores: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        index, given = chunk.real.index, chunk.real.condition.required("source").cpu()
        assert index is not None  # sources of a dataset say which examples they give
        again, _ = self.source.degraded(chunk.pictures.cpu(), index.cpu())
        self.scores.append(psnr(again, given))

    def evidence(self) -> dict[str, Any]:
        return {"scores": {"consistency": torch.cat(self.scores)}}


class Likelihoods:
    """The log-likelihood of held-out pictures, in the form that the model declares: see :class:`Likelihood`.

    ``data_dims`` is how many of a picture's values are no padding, where that is known.
    """

    def __init__(self, model: Model, seed: int, data_dims: int | None = None) -> None:
        self.model, self.rng, self.data_dims = model, Stream(seed, "log_prob"), data_dims
        self.log_prob: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        system, image = self.model.system, chunk.real.image
        image = dequantise(image, self.rng) if system.likelihood_of is Likelihood.DENSITY else image
        with self.model.computing():
            self.log_prob.append(system.log_prob(image, self.rng).float().cpu())

    def evidence(self) -> dict[str, Any]:
        system = self.model.system
        return {
            "log_prob": torch.cat(self.log_prob),
            "log_prob_spread": system.log_prob_spread,
            "dims": None if system.likelihood_of is Likelihood.BLACK_AND_WHITE else math.prod(system.shape),
            "data_dims": self.data_dims,
            "level": LEVEL if system.likelihood_of in DENSITIES else 1.0,
        }


class Predictions:
    """Labels or factors that the judge predicts, and those of the condition."""

    def __init__(self, judge: Model) -> None:
        self.judge = judge
        self.logits: list[Tensor] = []
        self.prediction: list[Tensor] = []
        self.target: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        logits = self.judge.system.classify(_seen(self.judge, chunk.pictures))  # per factor (B, K_f)
        self.logits.append(logits[0].cpu())
        self.prediction.append(torch.stack([head.argmax(1) for head in logits], 1).cpu())  # (B, F)
        factors, label = chunk.real.condition.factors, chunk.real.condition.label
        target = factors if len(logits) > 1 else None if label is None else label[:, None]
        if target is not None:
            self.target.append(target.cpu())

    def evidence(self) -> dict[str, Any]:
        names = tuple(str(name) for name, _ in self.judge.spec.factors) or ("label",)
        return {
            "logits": torch.cat(self.logits),
            "prediction": torch.cat(self.prediction),
            "target": torch.cat(self.target) if self.target else None,
            "factor_names": names,
            "leave_out": tuple(n for n in names if n.startswith("size")),  # see zeuxis.metrics.oracle.agreement
        }


class Layouts:
    """Layouts that the judge predicts against those of the condition, counted."""

    def __init__(self, judge: Model) -> None:
        self.judge = judge
        self.confusion = Confusion(judge.spec.layout_names)

    def add(self, chunk: Chunk) -> None:
        layout = chunk.real.condition.layout
        if layout is not None:
            self.confusion.add(self.judge.system.segment(chunk.pictures).argmax(1), layout)

    def evidence(self) -> dict[str, Any]:
        return {"confusion": self.confusion if len(self.confusion) else None}


class Outlines:
    """Edges that the judge finds in pictures, against the outlines of the condition's layout."""

    def __init__(self, judge: Model) -> None:
        self.judge = judge
        self.boundaries = Boundaries()

    def add(self, chunk: Chunk) -> None:
        layout = chunk.real.condition.layout
        if layout is not None:
            self.boundaries.add(self.judge.system.detect_edges(chunk.pictures), outlines(layout))

    def evidence(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries if len(self.boundaries) else None}


class Verifications:
    """How alike the judge finds each picture and its source, and each picture and the source of the one before.

    ``last`` is the source of the last example, which stands before the first one's.
    """

    def __init__(self, judge: Model, last: Tensor | None, data: str) -> None:
        if last is None:
            raise Unsupported(f"'{data}' has no second picture of each subject: choose data that gives source")
        self.judge, self.before = judge, last.to(judge.device)
        self.genuine: list[Tensor] = []
        self.impostor: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        source = chunk.real.condition.source
        assert source is not None  # the last example has one
        shifted = torch.cat([self.before, source[:-1]])
        self.genuine.append(self.judge.system.verify(chunk.pictures, source).cpu())
        self.impostor.append(self.judge.system.verify(chunk.pictures, shifted).cpu())
        self.before = source[-1:]

    def evidence(self) -> dict[str, Any]:
        return {"genuine": torch.cat(self.genuine), "impostor": torch.cat(self.impostor)}


class Recognitions:
    """Which pictures are in distribution, by all of the judges that can tell."""

    def __init__(self, judges: Sequence[Model]) -> None:
        self.judges = judges
        self.inside: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        found = torch.stack([judge.system.in_distribution(_seen(judge, chunk.pictures)) for judge in self.judges])
        self.inside.append(found.all(0).cpu())

    def evidence(self) -> dict[str, Any]:
        return {"in_distribution": torch.cat(self.inside)}


class Captions:
    """How likely the model finds the captions, and how likely the grammar is that wrote them, where it is known."""

    def __init__(self, model: Model, data: str, source: Source) -> None:
        self.model, self.data, self.source = model, data, source
        self.log_prob: list[Tensor] = []
        self.words: list[Tensor] = []
        self.best: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        captions = self.source.told(chunk.real)
        if captions is None:
            raise Unsupported(f"'{self.data}' has no captions: choose data that gives caption")
        with self.model.computing():
            self.log_prob.append(self.model.system.log_prob_caption(captions).float().cpu())
        self.words.append(torch.tensor([len(words_of(caption)) + 1 for caption in captions]))
        best = caption_likelihood.log_prob(self.data, captions)
        if best is not None:
            self.best.append(best)

    def evidence(self) -> dict[str, Any]:
        return {
            "caption_log_prob": torch.cat(self.log_prob),
            "caption_words": torch.cat(self.words),
            "caption_best": torch.cat(self.best) if self.best else None,
        }


def judging(
    needs: frozenset[str], model: Model, draws: bool, last: Batch, data: str, shipped: Judges
) -> list[Collector]:
    """The collectors of what judges predict, as far as ``needs`` (fields of ``Evidence``) ask for it.

    ``draws`` says whether pictures are generated; where none are, ``model`` itself is the judge. ``last`` is the
    last of the held-out examples, ``shipped`` the judges of generated pictures.
    """
    judges: list[Model] = []

    def judge(verb: str) -> Model:
        judges.append(_judge(model, draws, data, verb, shipped))
        return judges[-1]

    found: list[Collector] = []
    if needs & {"prediction", "target", "logits"}:
        found.append(Predictions(judge("classify")))
    if "confusion" in needs:
        found.append(Layouts(judge("segment")))
    if "boundaries" in needs:
        found.append(Outlines(judge("detect_edges")))
    if needs & {"genuine", "impostor"}:
        found.append(Verifications(judge("verify"), last.condition.source, data))
    if "in_distribution" in needs:
        judge("in_distribution")
    able = {j.name: j for j in judges if "in_distribution" in j.system.card.verbs}
    return [*found, Recognitions(list(able.values()))] if able else found


def _judge(model: Model, draws: bool, data: str, verb: str, shipped: Judges) -> Model:
    if not draws:
        if verb not in model.system.card.verbs:
            able = ", ".join(sorted(model.system.card.verbs))
            raise Unsupported(f"'{model.name}' cannot judge the pictures of its data ({verb}); it can: {able}")
        return model
    judge = shipped.of(data, verb, tuple(model.system.shape))
    if judge is None:
        raise Unsupported(f"no shipped model judges '{data}' ({verb}), and this figure needs one: measure another")
    if times_larger(model.system.shape, judge.system.shape, verb) is None:
        also = " or a whole multiple as large" if verb == "classify" else ""
        raise Unsupported(
            f"'{judge.name}' judges pictures of {tuple(judge.system.shape)}, '{model.name}' makes "
            f"{tuple(model.system.shape)}: this figure needs both to be equal{also}"
        )
    return judge


def _seen(judge: Model, image: Tensor) -> Tensor:
    """``image`` (B, C, H, W) at the size that the judge knows: larger ones averaged over boxes of pixels."""
    times = image.shape[2] // judge.system.shape.height
    return avg_pool2d(image, times) if times > 1 else image


def reconstruct(model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
    """The latents of ``images (B, C, H, W)`` and the pictures they are decoded to, on the model's device.

    Raises ``Unsupported`` for models that do not both encode and decode.
    """
    verbs = model.system.card.verbs
    if not {"encode", "decode"} <= verbs:
        raise Unsupported(f"'{model.system.card.id}' rebuilds no pictures; it can: {', '.join(sorted(verbs))}")
    with model.computing():
        latent = model.system.encode(images.to(model.device))
        return latent, model.system.decode(latent).float()
