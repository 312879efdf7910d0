"""Measure a trained model on held-out data with any metric, a chunk of pictures at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.api.collectors import (
    Captions,
    Chunk,
    Collector,
    FeatureSets,
    Likelihoods,
    Reconstructions,
    judging,
)
from zeuxis.api.features import Features, features_of
from zeuxis.api.model import Model
from zeuxis.api.reporting import Report
from zeuxis.batch import Batch, Shape
from zeuxis.data.library import Data, data_of
from zeuxis.data.source import Source
from zeuxis.errors import UnknownName, UsageError
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.metrics.similarity import WINDOW
from zeuxis.metrics.table import METRICS, Evidence, measure
from zeuxis.rng import Stream
from zeuxis.verbs import Proof

CHUNK, CHUNK_VALUES = 256, 2**24  # pictures that are held at a time, at most, and numbers in them (64 MiB)
OF_JUDGES = frozenset({"prediction", "target", "logits", "confusion", "genuine", "impostor", "in_distribution"})
OF_GENERATED = OF_JUDGES | {"fake"}  # the evidence that generated pictures give
JUDGED_BY = {  # verb of a judge: the metrics of it
    "classify": ("accuracy",),
    "segment": ("miou", "pixel-accuracy"),
    "verify": ("verification",),
    "log_prob_caption": ("perplexity",),
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
) -> list[Figure]:
    """The figures called ``metrics`` (by default those that suit the model's verbs) over ``samples`` pictures.

    Pictures are made under the conditions of the held-out examples, from seeds ``seed``, ``seed + 1``, ...
    """
    model.check(how)
    own = model.system.proofs()
    wanted = tuple(metrics) or default_metrics(model)
    for metric in wanted:
        if metric not in own and metric not in METRICS:
            raise UnknownName("metric", metric, {*METRICS, *own})
    proved = [_proved(name, own[name], samples, seed, report) for name in wanted if name in own]
    compared = tuple(name for name in wanted if name not in own)
    if not compared:
        return proved
    named = data or model.card.get("data")
    if not named:
        raise UsageError(f"'{model.name}' does not say what data it was trained on: give --data")
    opened = data_of(named)
    name, source = opened.name, opened.open(model.system.spec.size, split)
    makes, holds = tuple(model.system.shape), tuple(source.spec.shape)
    if holds != makes:
        raise UsageError(f"'{model.name}' makes {makes}, '{name}' holds {holds}: give other --data")
    order = held_out_order(source, samples)
    evidence, space = collect(model, source, order, compared, name, seed, how, features, report)
    found = measure(
        compared,
        evidence,
        features=space.hash if space else None,
        reference=f"{source.fingerprint()}/{split}/{len(order)}",
        resize=space.resize if space else None,
    )
    # In the order asked for; what is to be read beside them stays where ``measure`` put it, at the end.
    places = {metric: k for k, metric in enumerate(wanted)}
    return sorted([*proved, *found], key=lambda figure: places.get(figure.name.split("/")[0], len(places)))


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
    conditioned = ("agreement",) if "caption" in model.system.conditions or "source" in model.system.conditions else ()
    made = ("frechet", "kernel", "precision", "recall") if "sample" in verbs else ()
    large = min(model.system.shape.height, model.system.shape.width) >= WINDOW
    rebuilt = ("rebuilt-frechet", "psnr", *(("ssim",) if large else ())) if {"encode", "decode"} <= verbs else ()
    coded = () if model.system.codes is None else ("codes-used",)
    # A model that draws in steps runs its whole chain, a thousand of them, for the likelihood of one picture.
    quick = "log_prob" in verbs and "steps" not in model.knobs
    likely = ("nll" if model.system.black_and_white else "bits-per-dim",) if quick else ()
    return (*conditioned, *made, *rebuilt, *coded, *likely)


def held_out(source: Source, samples: int) -> Batch:
    """The first ``samples`` of a fixed random order of the source (fewer, where it holds fewer), all at once."""
    return source.batch(held_out_order(source, samples))


def held_out_order(source: Source, samples: int) -> Tensor:
    """Which examples :func:`held_out` takes, int64 ``(N,)``."""
    return Stream(0, "held-out").permutation(len(source))[: min(samples, len(source))]


def chunk_size(shape: Shape) -> int:
    """How many pictures of ``shape`` are held at a time."""
    return max(1, min(CHUNK, CHUNK_VALUES // math.prod(shape)))


def collect(
    model: Model,
    source: Source,
    order: Tensor,
    metrics: Sequence[str],
    data: str,
    seed: int,
    how: Sampling,
    features: str | None,
    report: Report,
) -> tuple[Evidence, Features | None]:
    """Generate, reconstruct and judge what ``metrics`` need, a chunk at a time, against the examples ``order``."""
    needs = frozenset(need for metric in metrics for need in METRICS[metric].needs)
    draws = bool(needs & OF_GENERATED) and "sample" in model.verbs
    space: Features | None = None
    found: list[Collector] = []
    if needs & {"fake", "reconstructed"}:
        space = features_of(data, features, tuple(model.system.shape), model.device)
        report(f"features: {space.name}", None)
        found.append(FeatureSets(space))
    scores = {name: METRICS[name].score for name in metrics}
    to_score = {name: score for name, score in scores.items() if score is not None}
    if to_score or needs & {"reconstructed", "code_usage"}:
        found.append(Reconstructions(model, to_score, space if "reconstructed" in needs else None))
    if "log_prob" in needs:
        found.append(Likelihoods(model, seed))
    if needs & OF_JUDGES:
        found += judging(needs, model, draws, source.batch(order[-1:]), data)
    if "caption_log_prob" in needs:
        found.append(Captions(model, data))
    done = 0
    for rows in order.split(chunk_size(model.system.shape)):
        seeds = range(seed + done, seed + done + len(rows))
        report(f"{'sampling' if draws else 'measuring'} {done + len(rows)} of {len(order)}", done / len(order))
        chunk = _chunk(model, source, rows, seeds if draws else None, how)
        with torch.inference_mode():
            for collector in found:
                collector.add(chunk)
        del chunk  # before the next one is made
        done += len(rows)
    return Evidence(seed=seed, **{name: x for c in found for name, x in c.evidence().items()}), space


def _chunk(model: Model, source: Source, rows: Tensor, seeds: range | None, how: Sampling) -> Chunk:
    """The examples ``rows`` on the model's device and, with ``seeds``, a picture generated under each condition."""
    real = source.batch(rows)
    if "caption" in model.system.conditions and real.condition.factors is not None:
        # A picture is compared with what its caption states, and with no more.
        real = replace(real, condition=replace(real.condition, factors=source.stated_factors(real.condition.factors)))
    fake = None if seeds is None else model.draw(real.condition, seeds, how).to(model.device)
    return Chunk(real.to(model.device), fake)
