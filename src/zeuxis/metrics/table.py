"""The metrics by name: what each needs, which way is better, and how to compute it.

Adding a metric is one entry of :data:`METRICS`. Every entry reads :class:`Evidence`, so that
whoever measures fills in what it has and asks for figures by name. A metric that compares pictures with their
targets gives the function that scores them, ``score``: whoever measures calls it on every chunk of pictures and
keeps the scores as ``evidence.scores[name]``. One that compares them by the maps of a network has no such function:
whoever measures brings the network, and says by ``evidence.maps`` which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from zeuxis.errors import UnknownName, UsageError
from zeuxis.metrics.colourfulness import colour_gap
from zeuxis.metrics.evidence import Compared, present
from zeuxis.metrics.evidence import Evidence as Evidence
from zeuxis.metrics.frechet import frechet
from zeuxis.metrics.likelihood import bits_per_dim, bits_without_padding
from zeuxis.metrics.oracle import accuracy, caution, recognised
from zeuxis.metrics.path_length import path_length
from zeuxis.metrics.perplexity import perplexity
from zeuxis.metrics.precision import NEIGHBOURS
from zeuxis.metrics.record import Better, Figure
from zeuxis.metrics.score import SPLITS, classifier_score
from zeuxis.metrics.similarity import WINDOW, psnr, psnr_y, sharpness, ssim, ssim_y
from zeuxis.metrics.two_sample import LEAST as LEAST_HALVED
from zeuxis.metrics.verification import same_person


@dataclass(frozen=True)
class Metric:
    """One metric. ``of_distribution`` marks those that depend on how many samples were taken.

    ``parts`` are shares that explain the value: each becomes a figure of its own, named ``metric/part``.
    ``biased`` says that a small sample moves its expectation and not its spread alone. ``space`` is the field of the
    evidence that it is of, where that is not the features of the call; ``floor`` what it is for pictures of the data
    themselves, where no measurement is needed to know (elsewhere ``Evidence.floors`` has it).
    ``beside`` are metrics without which the value misleads: they are measured with it, where the evidence
    allows. ``caution`` gives the figure's own warning, in one line, or None.
    """

    about: str
    better: Better
    needs: tuple[str, ...]  # fields of Evidence, or the metric's own name for its scores; the first counts the samples
    value: Callable[[Evidence], float]
    of_distribution: bool = False
    spread: Callable[[Evidence], float | None] | None = None
    parts: Callable[[Evidence], Mapping[str, float]] | None = None
    beside: tuple[str, ...] = ()
    caution: Callable[[Evidence], str | None] | None = None
    biased: bool = True
    space: Literal["grain", "untrained", "imagenet"] | None = None
    floor: Callable[[Evidence], float] | None = None
    bordered: bool = False  # of what is enlarged by n, the score leaves out the outermost n pixels
    score: Callable[[Tensor, Tensor], Tensor] | None = None  # pictures and targets (B, C, H, W) in [-1, 1] -> (B,)
    by_maps: bool = False  # the score compares maps of a network, which whoever measures brings
    side: int = 1  # pixels a side without which there is no score
    least: int = 1  # pictures that it cannot do without: of a set, and of what the set is compared with

    @property
    def scored(self) -> bool:
        """Whether it compares pictures with their targets."""
        return self.score is not None or self.by_maps


PAIR = 2  # pictures without which there is no spread, and no distance within a set

LISTS = "zeuxis evaluate --metrics lists them"
CALLED = MappingProxyType(  # what others call a metric, and what it is called here
    {
        **dict.fromkeys(("fd", "fid", "frechet-distance"), "frechet"),
        **dict.fromkeys(("kid", "mmd"), "kernel"),
        **dict.fromkeys(("is", "inception-score"), "classifier-score"),
        **dict.fromkeys(("bits", "bpd", "bits/dim"), "bits-per-dim"),
        **dict.fromkeys(("likelihood", "log-likelihood"), "nll"),
        **dict.fromkeys(("c2st", "auc"), "two-sample"),
        "lpips": "perceptual",
        **dict.fromkeys(("clip-score", "clipscore"), "agreement"),
        "ppl": "path-length",
    }
)


def unknown_metric(name: str, own: Iterable[str] = ()) -> UsageError:
    """That there is no metric ``name``, neither here nor among a method's ``own``, and which was meant."""
    if (here := CALLED.get(name.casefold())) is not None:
        return UsageError(f"unknown metric '{name}': it is {here} here ({METRICS[here].about}; {LISTS})")
    if "," in name and (parts := name.replace(",", " ").split()):
        each = " ".join(f"--metric {part}" for part in parts)
        return UsageError(f"unknown metric '{name}': give each by an option of its own: {each}")
    return UnknownName("metric", name, {*METRICS, *own}, f"({LISTS})")


OF_FEATURES = frozenset(
    {"fake", "real", "reconstructed", "path_lengths"}
)  # the evidence that is in the feature space of the call

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "frechet": Metric(
            "Fréchet distance of features",
            "lower",
            ("fake", "moments"),
            lambda e: frechet(present(e.fake), e.moments_of_reference()),
            of_distribution=True,
            least=PAIR,
        ),
        "kernel": Metric(
            "kernel distance (squared MMD) of features",
            "lower",
            ("fake", "real"),
            lambda e: e.kernel.value,
            of_distribution=True,
            spread=lambda e: e.kernel.spread,
            biased=False,
            least=PAIR,
        ),
        "frechet-grain": Metric(
            "Fréchet distance of fine detail: energies of random filters, which see noise, blur and compression",
            "lower",
            ("grain",),
            lambda e: _frechet_in(e.grain),
            of_distribution=True,
            space="grain",
            least=PAIR,
        ),
        "frechet-untrained": Metric(
            "Fréchet distance of the features of an untrained network, the control of the learnt ones",
            "lower",
            ("untrained",),
            lambda e: _frechet_in(e.untrained),
            of_distribution=True,
            space="untrained",
            least=PAIR,
        ),
        "frechet-imagenet": Metric(
            "Fréchet distance of photographs: features of EfficientNet-Lite0, which knows ImageNet's classes; not FID",
            "lower",
            ("imagenet",),
            lambda e: _frechet_in(e.imagenet),
            of_distribution=True,
            space="imagenet",
            least=PAIR,
        ),
        "two-sample": Metric(
            "how well a small network tells generated pictures from real ones, area under its ROC curve, 0.5 at best",
            "lower",
            ("fake_views", "real_views"),
            lambda e: e.two_sample.auroc,
            of_distribution=True,
            spread=lambda e: e.two_sample.error,
            floor=lambda e: 0.5,
            least=LEAST_HALVED,
        ),
        "copied": Metric(
            "share of fakes as near to a training picture as the nearest hundredth of held-out pictures is",
            "lower",
            ("fake_to_training", "real_to_training"),
            lambda e: e.copying.share,
            floor=lambda e: e.copying.expected,
            beside=("nearer-to-training",),
        ),
        "nearer-to-training": Metric(
            "chance that a fake is nearer to its nearest training picture than a held-out picture is, 0.5 at best",
            "lower",
            ("fake_to_training", "real_to_training"),
            lambda e: e.copying.nearer,
            spread=lambda e: e.copying.error,
            floor=lambda e: 0.5,
        ),
        "precision": Metric(
            "share of fakes that look real",
            "higher",
            ("fake", "real"),
            lambda e: e.support.precision,
            True,
            least=NEIGHBOURS + 1,
        ),
        "recall": Metric(
            "share of reals that are covered",
            "higher",
            ("fake", "real"),
            lambda e: e.support.recall,
            True,
            least=NEIGHBOURS + 1,
        ),
        "density": Metric(
            "real balls around a fake, over k",
            "higher",
            ("fake", "real"),
            lambda e: e.support.density,
            True,
            least=NEIGHBOURS + 1,
        ),
        "coverage": Metric(
            "share of real balls that hold a fake",
            "higher",
            ("fake", "real"),
            lambda e: e.support.coverage,
            True,
            least=NEIGHBOURS + 1,
        ),
        "classifier-score": Metric(
            "exp of the mutual information of picture and class",
            "higher",
            ("logits",),
            lambda e: classifier_score(present(e.logits))[0],
            of_distribution=True,
            spread=lambda e: classifier_score(present(e.logits))[1],
            least=SPLITS,
        ),
        "psnr": Metric(
            "peak signal-to-noise ratio, dB, mean over images",
            "higher",
            ("psnr",),
            lambda e: e.mean("psnr"),
            score=psnr,
        ),
        "ssim": Metric(
            "structural similarity, mean over images",
            "higher",
            ("ssim",),
            lambda e: e.mean("ssim"),
            score=ssim,
            side=WINDOW,
        ),
        "sharpness": Metric(
            "sharpness difference, dB: how near the slopes of pictures are in size, mean over images",
            "higher",
            ("sharpness",),
            lambda e: e.mean("sharpness"),
            score=sharpness,
            side=2,
        ),
        "colour-gap": Metric(
            "difference of colourfulness (Hasler and Süsstrunk's M, of 0 to 255) from the target's, mean over images",
            "lower",
            ("colour-gap",),
            lambda e: e.mean("colour-gap"),
            score=colour_gap,
        ),
        "psnr-y": Metric(
            "peak signal-to-noise ratio of luminance (BT.601), dB, mean over images; what is enlarged loses a border",
            "higher",
            ("psnr-y",),
            lambda e: e.mean("psnr-y"),
            score=psnr_y,
            bordered=True,
        ),
        "ssim-y": Metric(
            "structural similarity of luminance (BT.601), mean over images; what is enlarged loses a border",
            "higher",
            ("ssim-y",),
            lambda e: e.mean("ssim-y"),
            score=ssim_y,
            side=WINDOW,
            bordered=True,
        ),
        "perceptual": Metric(
            "perceptual distance: LPIPS's form, unweighted, on maps of EfficientNet-Lite0, mean over images; not LPIPS",
            "lower",
            ("perceptual",),
            lambda e: e.mean("perceptual"),
            by_maps=True,
            side=16,  # of which the coarsest map has one place
        ),
        "consistency": Metric(
            "PSNR, dB, of what is restored, degraded again, against what was given, mean over images",
            "higher",
            ("consistency",),
            lambda e: e.mean("consistency"),
        ),
        "rebuilt-frechet": Metric(
            "Fréchet distance of features, of pictures encoded and decoded",
            "lower",
            ("reconstructed", "moments"),
            lambda e: frechet(present(e.reconstructed), e.moments_of_reference()),
            of_distribution=True,
            least=PAIR,
        ),
        "codes-used": Metric(
            "share of the codebook that held-out pictures use",
            "higher",
            ("code_usage",),
            lambda e: present(e.code_usage).used,
        ),
        "nll": Metric(
            "negative log-likelihood (or its bound), nats an image",
            "lower",
            ("log_prob",),
            lambda e: -float(present(e.log_prob).double().mean()),
            spread=lambda e: e.log_prob_spread,
        ),
        "bits-per-dim": Metric(
            "negative log-likelihood (or its bound) of 8-bit pixels, bits a value",
            "lower",
            ("log_prob", "dims"),
            lambda e: _bits(e),
            caution=lambda e: _bits_caution(e),
        ),
        "accuracy": Metric(
            "share of labels (or factors) predicted right",
            "higher",
            ("prediction", "target"),
            lambda e: accuracy(present(e.prediction), present(e.target)),
            beside=("recognised",),
        ),
        "agreement": Metric(
            "share of pictures that hold all their caption says",
            "higher",
            ("prediction", "target", "factor_names"),
            lambda e: e.agreement.whole,
            parts=lambda e: e.agreement.parts,
            beside=("recognised",),
        ),
        "recognised": Metric(
            "share of pictures that the judge takes for those of its data",
            "higher",
            ("in_distribution",),
            lambda e: recognised(present(e.in_distribution)),
            caution=lambda e: caution(present(e.in_distribution)),
        ),
        "miou": Metric(
            "intersection over union of the layout's classes, mean over those that occur",
            "higher",
            ("confusion",),
            lambda e: e.overlap.mean,
            parts=lambda e: e.overlap.union,
            beside=("recognised",),
        ),
        "pixel-accuracy": Metric(
            "share of pixels whose class is predicted right",
            "higher",
            ("confusion",),
            lambda e: e.overlap.pixels,
            beside=("recognised",),
        ),
        "edge-f": Metric(
            "F-measure of edges at the threshold that is best over the data set (ODS), matched one to one",
            "higher",
            ("boundaries",),
            lambda e: present(e.boundaries).best().value,
            parts=lambda e: {k: v for k, v in asdict(present(e.boundaries).best()).items() if k != "value"},
            beside=("recognised",),
        ),
        "verification": Metric(
            "share of pairs verified right, half of which show one subject",
            "higher",
            ("genuine", "impostor"),
            lambda e: e.verification.accuracy,
            parts=lambda e: {"accepted": e.verification.accepted, "refused": e.verification.refused},
            beside=("equal-error", "recognised"),
            least=PAIR,
        ),
        "equal-error": Metric(
            "error on pairs at the threshold where both kinds of error are equal",
            "lower",
            ("genuine", "impostor"),
            lambda e: e.verification.equal_error,
            least=PAIR,
        ),
        "same-person": Metric(
            "share of pictures that are taken to show the subject of their source",
            "higher",
            ("genuine",),
            lambda e: same_person(present(e.genuine)),
            beside=("recognised",),
        ),
        "path-length": Metric(
            "perceptual path length: how unevenly pictures change between two latents, in the features of the data",
            "lower",
            ("path_lengths",),
            lambda e: path_length(present(e.path_lengths))[0],
            spread=lambda e: path_length(present(e.path_lengths))[1],
            least=PAIR,
        ),
        "linear-probe": Metric(
            "share of labels (or factors) that a linear classifier over the model's codes predicts right",
            "higher",
            ("linear_probe",),
            lambda e: present(e.linear_probe).accuracy,
            parts=lambda e: present(e.linear_probe).parts,
            beside=("linear-probe-pixels", "linear-probe-untrained"),
        ),
        "linear-probe-pixels": Metric(
            "the same over the pixels themselves",
            "higher",
            ("linear_probe_pixels",),
            lambda e: present(e.linear_probe_pixels).accuracy,
        ),
        "linear-probe-untrained": Metric(
            "the same over the codes of an untrained model of the same shape",
            "higher",
            ("linear_probe_untrained",),
            lambda e: present(e.linear_probe_untrained).accuracy,
        ),
        "train-on-synthetic": Metric(
            "share of real pictures that a classifier predicts right which was trained on made ones alone",
            "higher",
            ("synthetic",),
            lambda e: present(e.synthetic).alone,
            parts=lambda e: present(e.synthetic).parts,
        ),
        "domain-adaptation": Metric(
            "share of the target's pictures predicted right by a classifier that learnt from translated ones alone",
            "higher",
            ("adaptation",),
            lambda e: present(e.adaptation).translated,
            parts=lambda e: present(e.adaptation).parts,
        ),
        "zero-shot": Metric(
            "share of pictures to which the right one of several texts is nearest",
            "higher",
            ("zero_shot",),
            lambda e: present(e.zero_shot).accuracy,
            parts=lambda e: present(e.zero_shot).parts,
            beside=("zero-shot-chance",),
        ),
        "zero-shot-chance": Metric(
            "what guessing among the same texts reaches",
            "higher",
            ("zero_shot",),
            lambda e: present(e.zero_shot).chance,
        ),
        "perplexity": Metric(
            "exp of the mean negative log-likelihood a word of captions",
            "lower",
            ("caption_log_prob", "caption_words"),
            lambda e: perplexity(present(e.caption_log_prob), present(e.caption_words)),
            beside=("perplexity-over-grammar",),
        ),
        "perplexity-over-grammar": Metric(
            "perplexity over that of what the captions were drawn from: in expectation none is below 1",
            "lower",
            ("caption_log_prob", "caption_best", "caption_words"),
            lambda e: e.over_grammar[0],
            spread=lambda e: e.over_grammar[1],
        ),
    }
)


def _bits(e: Evidence) -> float:
    return float(bits_per_dim(present(e.log_prob).double(), present(e.dims), e.level).mean())


def _bits_caution(e: Evidence) -> str | None:
    """What these bits must not be compared with, where there is such a thing."""
    dims = present(e.dims)
    if e.data_dims is None or e.data_dims == dims:
        return None
    return (
        f"over {dims} values, of which {e.data_dims} are data and the others padding, nearly free: not comparable with "
        f"bits of unpadded pictures, which are at most {bits_without_padding(_bits(e), dims, e.data_dims):.3f} here"
    )


def _frechet_in(space: Compared | None) -> float:
    return frechet(present(space).fake, present(space).moments)


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
            raise unknown_metric(name)
        metric = METRICS[name]
        missing = [
            f"scores['{need}'] of pictures and targets" if need in METRICS else need
            for need in metric.needs
            if need not in evidence.given
        ]
        if missing:
            have = [n for n, m in METRICS.items() if evidence.given.issuperset(m.needs)]
            raise UsageError(f"'{name}' needs {', '.join(missing)}; what is here can give: {', '.join(have) or 'none'}")
        in_features = not OF_FEATURES.isdisjoint(metric.needs)
        spaces = {"grain": evidence.grain, "untrained": evidence.untrained, "imagenet": evidence.imagenet, None: None}
        space = spaces[metric.space]
        of_call = evidence.maps if metric.by_maps else features if in_features else None
        whole = Figure(
            name=name,
            value=metric.value(evidence),
            samples=evidence.count(metric.needs[0]),
            better=metric.better,
            spread=metric.spread(evidence) if metric.spread else None,
            features=space.features if space else of_call,
            reference=reference,
            resize=space.resize if space else resize if in_features else None,
            of_distribution=metric.of_distribution,
            biased=metric.biased,
            floor=metric.floor(evidence) if metric.floor else evidence.floors.get(name),
            caution=metric.caution(evidence) if metric.caution else None,
        )
        parts = metric.parts(evidence) if metric.parts else {}
        figures += [whole, *(replace(whole, name=f"{name}/{part}", value=share) for part, share in parts.items())]
        beside = [other for other in metric.beside if evidence.given.issuperset(METRICS[other].needs)]
        figures += measure(beside, evidence, features=features, reference=reference, resize=resize)
    return list({figure.name: figure for figure in figures}.values())  # each once
