"""Measure a trained model on held-out data with any metric, a chunk of pictures at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.api.adaptation import Adaptation
from zeuxis.api.collectors import (
    Captions,
    Chunk,
    Collector,
    Copies,
    FeatureSets,
    FixedSpace,
    Likelihoods,
    Reconstructions,
    Restorations,
    SourceConsistency,
    Views,
    judging,
)
from zeuxis.api.features import GRAIN, IMAGENET, UNTRAINED, Features, Judges, features_of, judge_named, times_larger
from zeuxis.api.measurable import check, check_space, enough, restores, too_few
from zeuxis.api.model import Model
from zeuxis.api.path_lengths import PathLengths
from zeuxis.api.photograph_features import MAPS, perceptual
from zeuxis.api.prior import is_folder
from zeuxis.api.probes import Probes
from zeuxis.api.reference import Reference, fingerprint_of
from zeuxis.api.reporting import Report
from zeuxis.api.synthetic import Classifiers
from zeuxis.api.zero_shot import ZeroShots
from zeuxis.batch import Batch, Shape
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.entries import ENTRIES
from zeuxis.data.library import Data, data_of, fit_for, trained_part
from zeuxis.data.source import Source
from zeuxis.errors import UsageError
from zeuxis.fetching import named_by
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.metrics.similarity import WINDOW
from zeuxis.metrics.table import METRICS, Evidence, measure, unknown_metric
from zeuxis.rng import Stream, derive_seed
from zeuxis.verbs import Likelihood, Proof

CHUNK, CHUNK_VALUES = 256, 2**22  # pictures that are held at a time, at most, and numbers in them (16 MiB)
OF_JUDGES = frozenset(
    {"prediction", "target", "logits", "confusion", "boundaries", "genuine", "impostor", "in_distribution"}
)
OF_LATENTS = frozenset({"path-length"})  # figures of what a model draws, held against nothing
OF_GENERATED = OF_JUDGES | {
    "fake",
    "grain",
    "untrained",
    "imagenet",
    "fake_views",
    "fake_to_training",
}  # the evidence that generated pictures give
FIXED_SPACES = {
    "grain": GRAIN,
    "untrained": UNTRAINED,
    "imagenet": IMAGENET,
}  # field of the evidence: the space that it is in
DISTANCES = ("frechet", "frechet-grain", "frechet-untrained", "kernel", "precision", "recall", "two-sample")
JUDGED_BY = {  # verb of a judge: the metrics of it
    "classify": ("accuracy",),
    "segment": ("miou", "pixel-accuracy"),
    "detect_edges": ("edge-f",),
    "verify": ("verification",),
    "log_prob_caption": ("perplexity",),
    "encode_text": ("zero-shot",),
}


def evaluate(
    model: Model,
    *,
    data: str | Data | None = None,
    metrics: Sequence[str] = (),
    samples: int = 5000,
    seed: int = 0,
    how: Sampling = Sampling(),
    features: str | None = None,
    split: str = "test",
    report: Report = lambda message, fraction: None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Figure]:
    """The figures called ``metrics`` (by default those that suit the model's verbs) over ``samples`` pictures.

    Pictures are made under the conditions of the held-out examples, from seeds that share none with those of another
    ``seed``: so the spread over several evaluations is that of measuring. ``tell`` is told, before any is made, what
    figures of so few pictures must be read with.
    """
    model.check(how)
    if samples < 2:
        raise UsageError(f"{samples} pictures have no spread and no distance: measure 2 or more")
    own = model.system.proofs()
    wanted = tuple(metrics) or default_metrics(model)
    for metric in wanted:
        if metric not in own and metric not in METRICS:
            raise unknown_metric(metric, own)
    proved = [_proved(name, own[name], samples, seed, report) for name in wanted if name in own]
    compared = tuple(name for name in wanted if name not in own)
    if not compared:
        return proved
    named = data or model.card.get("data")
    if not named:
        raise UsageError(f"'{model.name}' does not say what data it was trained on: give --data")
    card = f"the card of '{model.name}'"
    with named_by(card, f"--data {named} does") if data is None else nullcontext():
        opened = data_of(named)
        size, fit = model.system.spec.size, fit_for(model.card, opened.name)
        name, source = opened.name, opened.open(size, split, fit)
        other = opened.open(size, "test" if split == "train" else "train", fit)
        changed = others_by_now(model, opened) if data is None else None
    makes, holds = tuple(model.system.shape), tuple(source.spec.shape)
    if holds != makes:
        raise UsageError(f"'{model.name}' makes {makes}, '{name}' holds {holds}: give other --data")
    learnt = other if split == "train" else trained_part(model.card, name, other)
    if split == "train" and not isinstance(source, DegradedSource):  # of which restorers are asked what it is made of
        source = trained_part(model.card, name, source)
    order, of_model = held_out_order(source, samples), OF_LATENTS.issuperset(compared)
    if of_model and len(order):  # no picture of the data is compared: their conditions may come again
        order = order.repeat(-(-samples // len(order)))[:samples]
    left = None
    if not metrics:
        compared, left = enough(compared, len(order))
    check(model, compared, source, len(order))
    if len(order) < samples:
        tell(f"'{name}' holds {len(order):,} pictures to measure on, not {samples:,}: all of them are taken")
    if left is not None:
        tell(left)
    if changed is not None:
        tell(f"{changed}: some of those measured on may have been trained on; --data names others")
    reference = Reference(source, order, other, learnt)
    evidence, space = collect(model, reference, compared, name, seed, how, features, report, tell)
    found = measure(
        compared,
        evidence,
        features=space.hash if space else None,
        reference=f"{fingerprint_of(source)}/{split}/{len(order)}",
        resize=space.resize if space else None,
    )
    # In the order asked for; what is to be read beside them stays where ``measure`` put it, at the end.
    places = {metric: k for k, metric in enumerate(wanted)}
    return sorted([*proved, *found], key=lambda figure: places.get(figure.name.split("/")[0], len(places)))


def others_by_now(model: Model, data: Data) -> str | None:
    """A line where the folder that a card names no longer holds the pictures that the model was trained on."""
    card = model.card
    if card.get("reference") is None or not is_folder(data.name):
        return None
    size = card.get("size")
    trained_on = data.open(tuple(size) if isinstance(size, list) else size, "train", card.get("fit") or "square")
    now = trained_on.fingerprint()
    if now == card["reference"]:
        return None
    return (
        f"the pictures of '{data.name}' are not those that '{model.name}' was trained on (they were changed, or it is "
        "another folder of that name)"
    )


def _proved(name: str, proof: Proof, samples: int, seed: int, report: Report) -> Figure:
    """A figure that the method has of itself."""
    report(name, None)
    with torch.inference_mode():
        return Figure(name, proof.measure(samples, Stream(seed, "proof", name)), samples, proof.better)


def default_metrics(model: Model) -> tuple[str, ...]:
    """What is worth knowing of a model with these verbs, and does not take hours."""
    verbs = model.verbs
    if not model.system.card.learns:
        return tuple(model.system.proofs())  # it follows no data, so no data is its measure
    judged = [metrics for verb, metrics in JUDGED_BY.items() if verb in verbs]
    if judged:
        return tuple(metric for metrics in judged for metric in metrics)
    asked = {"caption", "source"} & model.system.conditions
    conditioned = ("agreement",) if asked and _is_judged(model) else ()
    made = (*DISTANCES, *(() if _draws_anew(model) else ("copied",))) if "sample" in verbs else ()
    large = min(model.system.shape.height, model.system.shape.width) >= WINDOW
    near = ("psnr", *(("ssim",) if large else ()))
    rebuilt = ("rebuilt-frechet", *near) if {"encode", "decode"} <= verbs else ()
    rebuilt = near if model.system.card.family == "restoration" else rebuilt
    coded = () if model.system.codes is None else ("codes-used",)
    # A model that draws in steps runs its whole chain, a thousand of them, for the likelihood of one picture.
    quick = "log_prob" in verbs and "steps" not in model.knobs
    binary = model.system.likelihood_of is Likelihood.BLACK_AND_WHITE
    likely = ("nll" if binary else "bits-per-dim",) if quick else ()
    return (*conditioned, *made, *rebuilt, *coded, *likely)


def _is_judged(model: Model) -> bool:
    """Whether a shipped model reads pictures of its data, at its size or a fraction of it."""
    shape = tuple(model.system.shape)
    judge = judge_named(str(model.card.get("data") or ""), "classify", shape)
    return judge is not None and times_larger(shape, judge[1], "classify") is not None


def _draws_anew(model: Model) -> bool:
    """Whether training never sees a picture again, as a world draws a million of them: there is nothing to copy."""
    entry = ENTRIES.get(str(model.card.get("data") or "").partition("|")[0].strip())
    return entry is not None and entry.format == "world"


def held_out(source: Source, samples: int) -> Batch:
    """The first ``samples`` of a fixed random order of the source (fewer, where it holds fewer), all at once."""
    return source.batch(held_out_order(source, samples))


def drawn_under(model: Model, examples: Batch, n: int) -> int:
    """How many of ``n`` pictures can be drawn under the conditions of ``examples``: no more than there are of these,
    where the model obeys some."""
    return min(n, len(examples)) if model.system.conditions else n


def held_out_order(source: Source, samples: int) -> Tensor:
    """Which examples :func:`held_out` takes, int64 ``(N,)``."""
    return Stream(0, "held-out").permutation(len(source))[: min(samples, len(source))]


def chunk_size(shape: Shape) -> int:
    """How many pictures of ``shape`` are held at a time."""
    return max(1, min(CHUNK, CHUNK_VALUES // math.prod(shape)))


def seed_of(seed: int, k: int) -> int:
    """The seed of picture ``k`` of the evaluation ``seed``: no two evaluations share a picture."""
    return derive_seed(seed, "evaluate", k)


def collect(
    model: Model,
    reference: Reference,
    metrics: Sequence[str],
    data: str,
    seed: int,
    how: Sampling,
    features: str | None,
    report: Report,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Evidence, Features | None]:
    """Generate, reconstruct and judge what ``metrics`` need, a chunk at a time, against the held-out examples."""
    source, order = reference.held_out, reference.order
    needs = frozenset(need for metric in metrics for need in METRICS[metric].needs)
    scores = {name: METRICS[name].score for name in metrics}
    to_score = {name: score for name, score in scores.items() if score is not None}
    by_maps = [name for name in metrics if METRICS[name].by_maps]
    to_score |= dict.fromkeys(by_maps, perceptual()) if by_maps else {}
    of_sources = bool(to_score) or "consistency" in needs
    of_drawn = bool(needs & OF_GENERATED) or (of_sources and restores(model))
    draws = of_drawn and "sample" in model.verbs
    space: Features | None = None
    found: list[Collector] = []
    judges = Judges(model.device)
    if needs & {"fake", "reconstructed", "path_lengths"}:
        space = features_of(data, features, tuple(model.system.shape), model.device, judges)
        check_space(space, model)
        if (line := too_few(space, metrics, model, len(order))) is not None:
            tell(line)
        report(f"features: {space.name}", None)
        if needs & {"fake", "reconstructed"}:
            found.append(FeatureSets(space, reference if "moments" in needs else None))
        if "path_lengths" in needs:
            found.append(PathLengths(model, space, seed, how))
    fixed = {name: features_of(data, FIXED_SPACES[name], device=model.device) for name in FIXED_SPACES if name in needs}
    found += [FixedSpace(name, fixed_space, reference) for name, fixed_space in fixed.items()]
    if "fake_views" in needs:
        found.append(Views(seed))
    if "fake_to_training" in needs:
        found.append(Copies(reference))
    if to_score and restores(model):
        found.append(Restorations(model, to_score))
    elif to_score or needs & {"reconstructed", "code_usage"}:
        found.append(Reconstructions(model, to_score, space if "reconstructed" in needs else None))
    if "consistency" in needs:
        assert isinstance(source, DegradedSource)  # which was checked
        found.append(SourceConsistency(source))
    if "log_prob" in needs:
        found.append(Likelihoods(model, seed, _values_of_data(data, model.system.shape)))
    if needs & OF_JUDGES:
        found += judging(needs, model, draws, source.batch(order[-1:]), data, judges)
    if "caption_log_prob" in needs:
        found.append(Captions(model, data, source))
    if needs & {"linear_probe", "linear_probe_pixels", "linear_probe_untrained"}:
        found.append(Probes(model, reference, seed, how))
    if "synthetic" in needs:
        found.append(Classifiers(model, reference, seed, how, report))
    if "adaptation" in needs:
        found.append(Adaptation(model, reference, seed, how, report))
    if "zero_shot" in needs:
        found.append(ZeroShots(model, data, source))
    done = 0
    for rows in order.split(chunk_size(model.system.shape)):
        seeds = [seed_of(seed, k) for k in range(done, done + len(rows))]
        report(f"{'sampling' if draws else 'measuring'} {done + len(rows)} of {len(order)}", done / len(order))
        chunk = _chunk(model, source, rows, seeds if draws else None, how)
        with torch.inference_mode():
            for collector in found:
                collector.add(chunk)
        del chunk  # before the next one is made
        done += len(rows)
    report("comparing", None)
    gathered = [c.evidence() for c in found]
    scored = {name: values for each in gathered for name, values in each.pop("scores", {}).items()}
    maps = MAPS if by_maps else None
    evidence = Evidence(
        seed=seed, scores=scored, maps=maps, **{name: x for each in gathered for name, x in each.items()}
    )
    return replace(evidence, floors=_floors(reference, evidence, space, fixed)), space


def _floors(
    reference: Reference, evidence: Evidence, space: Features | None, fixed: Mapping[str, Features]
) -> dict[str, float]:
    """What training pictures reach in place of generated ones, by metric."""
    floors: dict[str, float | None] = {
        f"frechet-{name}": reference.frechet_floor(fixed_space) for name, fixed_space in fixed.items()
    }
    if space is not None and evidence.real is not None:
        floors |= reference.floors(space, evidence.real)
        floors["rebuilt-frechet"] = floors.get("frechet")
    return {name: value for name, value in floors.items() if value is not None}


def _values_of_data(data: str, shape: Shape) -> int | None:
    """How many values of pictures of ``shape`` are those of ``data``, where it is a set that is padded to it."""
    entry = ENTRIES.get(data)
    if entry is None or entry.background is None:
        return None
    own = entry.spec.shape
    return math.prod(own) if own.channels == shape.channels and math.prod(own) < math.prod(shape) else None


def _chunk(model: Model, source: Source, rows: Tensor, seeds: Sequence[int] | None, how: Sampling) -> Chunk:
    """The examples ``rows`` on the model's device and, with ``seeds``, a picture generated under each condition."""
    real = source.batch(rows)
    if "caption" in model.system.conditions and real.condition.factors is not None:
        # A picture is compared with what its caption states, and with no more.
        real = replace(real, condition=replace(real.condition, factors=source.stated_factors(real.condition.factors)))
    fake = None if seeds is None else model.draw(real.condition, seeds, how).to(model.device)
    return Chunk(real.to(model.device), fake)
