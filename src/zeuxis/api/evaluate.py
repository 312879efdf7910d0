"""Measure a trained model on held-out data: one door to every metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.api import reading
from zeuxis.api.features import Features, features_of
from zeuxis.api.model import Model
from zeuxis.api.reading import CHUNK, chunks
from zeuxis.batch import Batch, joined
from zeuxis.data.library import open_source
from zeuxis.data.source import Source
from zeuxis.distributions.dequantise import LEVEL, dequantise
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.metrics.similarity import WINDOW
from zeuxis.metrics.table import METRICS, Evidence, measure
from zeuxis.rng import Stream
from zeuxis.verbs import Proof

Report = Callable[[str, float | None], None]
READING = {  # who fills in what of the evidence
    "found": reading.read,
    "logits": reading.read,
    "mapped": reading.segmented,
    "alike": reading.verified,
    "known": reading.recognised,
    "caption_log_prob": reading.captions,
}
READ_BY = {
    "classify": ("accuracy",),
    "segment": ("miou", "pixel-accuracy"),
    "verify": ("verification",),
    "log_prob_caption": ("perplexity",),
}


def evaluate(
    model: Model,
    *,
    data: str | None = None,
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
    name = data or model.card.get("data")
    if not name:
        raise UsageError(f"'{model.name}' does not say what data it was trained on: give --data")
    source = open_source(name, model.system.spec.size, split)
    makes, holds = tuple(model.system.shape), tuple(source.spec.shape)
    if holds != makes:
        raise UsageError(f"'{model.name}' makes {makes}, '{name}' holds {holds}: give other --data")
    real = held_out(source, samples)
    if "caption" in model.system.conditions and real.condition.factors is not None:
        # A picture must show what its caption states, and no more.
        real = replace(real, condition=replace(real.condition, factors=source.stated_factors(real.condition.factors)))
    evidence, space = gather(model, real, compared, name, seed, how, features, report)
    found = measure(
        compared,
        evidence,
        features=space.hash if space else None,
        reference=f"{source.fingerprint()}/{split}/{len(real)}",
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
    read = [metrics for verb, metrics in READ_BY.items() if verb in verbs]
    if read:
        return tuple(metric for metrics in read for metric in metrics)
    told = ("agreement",) if "caption" in model.system.conditions or "source" in model.system.conditions else ()
    made = ("frechet", "kernel", "precision", "recall") if "sample" in verbs else ()
    large = min(model.system.shape.height, model.system.shape.width) >= WINDOW
    rebuilt = ("rebuilt-frechet", "psnr", *(("ssim",) if large else ())) if {"encode", "decode"} <= verbs else ()
    coded = () if model.system.codes is None else ("codes-used",)
    # A model that draws in steps walks its whole chain, a thousand of them, for the likelihood of one picture.
    quick = "log_prob" in verbs and "steps" not in model.knobs
    likely = ("bits-per-dim",) if quick and model.prior is None else ()
    return (*told, *made, *rebuilt, *coded, *likely)


def held_out(source: Source, samples: int) -> Batch:
    """The first ``samples`` of a fixed random order of the source (fewer, where it holds fewer)."""
    n = min(samples, len(source))
    order = Stream(0, "held-out").permutation(len(source))[:n]
    return joined([source.batch(part) for part in order.split(CHUNK)])


def gather(
    model: Model,
    real: Batch,
    metrics: Sequence[str],
    data: str,
    seed: int,
    how: Sampling,
    features: str | None,
    report: Report,
) -> tuple[Evidence, Features | None]:
    """Make, rebuild or read what ``metrics`` need, and nothing else."""
    needs = {need for metric in metrics for need in METRICS[metric].needs}
    evidence = Evidence(seed=seed)
    space: Features | None = None
    made: Tensor | None = None
    if needs & {"fake", *READING} and "sample" in model.verbs:
        made = _sample(model, real, seed, how, report)
    if needs & {"fake", "rebuilt"}:
        space = features_of(data, features, tuple(model.system.shape))
        report(f"features: {space.name}", None)
        evidence = replace(evidence, real=space.of(real.image), fake=None if made is None else space.of(made))
    if needs & {"made", "wanted", "rebuilt", "latent"}:
        report("rebuilding", None)
        latent, rebuilt = rebuild(model, real.image)
        evidence = replace(evidence, made=rebuilt, wanted=real.image)
        if "rebuilt" in needs and space is not None:
            evidence = replace(evidence, rebuilt=space.of(rebuilt))
        if model.system.codes is not None:
            evidence = replace(evidence, latent=latent, codes=model.system.codes)
    if "log_prob" in needs:
        likely = _log_prob(model, real.image, seed, report)
        level = 1.0 if model.system.discrete else LEVEL
        evidence = replace(evidence, log_prob=likely, dims=real.image[0].numel(), level=level)
    for work in dict.fromkeys(READING[need] for need in READING if need in needs):
        evidence = work(evidence, model, real, made, data)
    return evidence, space


def _sample(model: Model, real: Batch, seed: int, how: Sampling, report: Report) -> Tensor:
    parts = []
    for start in range(0, len(real), CHUNK):
        rows = slice(start, min(start + CHUNK, len(real)))
        report(f"sampling {rows.stop} of {len(real)}", start / len(real))
        seeds = range(seed + rows.start, seed + rows.stop)
        parts.append(model.draw(real.condition[rows], seeds, how))
    return torch.cat(parts)


def rebuild(model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
    """The latents of ``images`` and the pictures they are decoded to; ``Unsupported`` for models that do neither."""
    verbs = model.system.card.verbs
    if not {"encode", "decode"} <= verbs:
        raise Unsupported(f"'{model.system.card.id}' rebuilds no pictures; it can: {', '.join(sorted(verbs))}")
    with torch.inference_mode():
        latents = [model.system.encode(x) for x in chunks(images, model)]
        return torch.cat(latents).cpu(), torch.cat([model.system.decode(z) for z in latents]).cpu()


def _log_prob(model: Model, images: Tensor, seed: int, report: Report) -> Tensor:
    if model.prior is not None:
        raise Unsupported(f"the likelihood of '{model.name}' is under its own prior: leave --prior out")
    report("likelihood", None)
    rng = Stream(seed, "log_prob")
    with torch.inference_mode():
        # Where the likelihood is a density, pixels are spread over their levels first.
        parts = (x if model.system.discrete else dequantise(x, rng) for x in chunks(images, model))
        return torch.cat([model.system.log_prob(x, rng) for x in parts]).cpu()
