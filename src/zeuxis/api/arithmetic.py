"""Arithmetic of mean latents: "smile=smiling,beard=no - beard=no + beard=yes".

Radford, Metz & Chintala 2015 (arXiv:1511.06434), section 6.3.2: the mean latent of some pictures that show a thing,
minus that of some that do not, is what makes the thing; there three or so for each were enough, here it is hundreds.
What a latent shows is known of the pictures that it was encoded from, is what it was drawn under, or is read off its
picture by the shipped judge of the data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zeuxis.api.directions import Directions, Kind, found_on, spread
from zeuxis.api.features import judge_of
from zeuxis.api.latents import Latents
from zeuxis.api.model import Model
from zeuxis.api.reporting import Report
from zeuxis.data.library import data_of
from zeuxis.data.worlds.value_names import values_of
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.fetching import named_by
from zeuxis.rng import Stream

LEAST = 5  # pictures that a mean is of
CHUNK = 64
LABEL = "label"


@dataclass(frozen=True)
class Term:
    """Plus or minus the mean latent of the pictures in which factors have these values (numbers, by name)."""

    sign: int
    text: str
    wanted: Mapping[str, int]


@dataclass(frozen=True)
class Sum:
    """What came of it: a mean for each term, from so many pictures, and their sum."""

    terms: tuple[Term, ...]
    means: Tensor  # (T, ...)
    counts: tuple[int, ...]
    total: Directions  # a direction where the signs cancel, a latent where one is left


def parse(text: str) -> list[tuple[int, str]]:
    """Signs and terms of ``a=1,b=2 - b=2 + b=3``; UsageError where their signs leave neither 0 nor 1."""
    parts = re.split(r"(?:^|\s+)([+-])\s+", text.strip())
    terms = [(1, parts[0].strip())] if parts[0].strip() else []
    terms += [(1 if sign == "+" else -1, term.strip()) for sign, term in zip(parts[1::2], parts[2::2], strict=True)]
    if not terms or not all(term for _, term in terms):
        raise UsageError(f"'{text}': write terms with signs between spaces, as smile=smiling,beard=no - beard=no")
    if sum(sign for sign, _ in terms) not in (0, 1):
        raise UsageError(f"'{text}': as many terms with plus as with minus make a direction, one plus more a picture")
    return terms


def arithmetic(
    model: Model,
    text: str,
    *,
    samples: int = 2000,
    seed: int = 0,
    report: Report = lambda message, fraction: None,
) -> Sum:
    """The sum of mean latents that ``text`` writes: terms of ``factor=value`` (by number or name) with commas, or
    ``label=class``.

    Of a model that encodes, the means are of ``samples`` training pictures with known factors; of one that is
    conditioned on labels, of latents drawn under them; of others, of latents whose pictures the judge reads.
    """
    known = Latents(model)
    data = str(model.card.get("data") or "").partition("|")[0].strip()
    terms = tuple(_term(model, data, sign, term) for sign, term in parse(text))
    latents, shown = _shown(known, data, samples, seed, report)
    for name in dict.fromkeys(name for term in terms for name in term.wanted):
        if name not in shown:
            raise Unsupported(f"of the pictures of '{model.name}' the {name} is not known, only: {', '.join(shown)}")
    means, counts = [], []
    for term in terms:
        hits = torch.ones(len(latents), dtype=torch.bool)
        for name, value in term.wanted.items():
            hits &= shown[name] == value
        if int(hits.sum()) < LEAST:
            raise UsageError(
                f"{int(hits.sum())} of {len(latents)} pictures show '{term.text}', and a mean needs {LEAST}: give more "
                "--samples, or a term that is less rare"
            )
        means.append(latents[hits].mean(0))
        counts.append(int(hits.sum()))
    stack = torch.stack(means)
    total = sum(term.sign * mean for term, mean in zip(terms, means, strict=True))
    assert isinstance(total, Tensor)
    kind: Kind = "latents" if sum(term.sign for term in terms) == 1 else "directions"
    found = {"by": "arithmetic", "sum": text, "pictures": counts, "samples": samples, "seed": seed}
    return Sum(terms, stack, tuple(counts), found_on(model, total[None], ("sum",), found, None, kind))


def show(model: Model, found: Sum, path: Path) -> Path:
    """Write a sheet of the terms' mean pictures, and of their sum where that is one."""
    known = Latents(model)
    origin = [{"mean of": count, "term": term.text} for term, count in zip(found.terms, found.counts, strict=True)]
    places: list[int | None] = [known.hold(m, o) for m, o in zip(found.means, origin, strict=True)]
    if found.total.kind == "latents":
        places.append(known.hold(found.total.vectors[0], dict(found.total.found)))
    return known.save_sheet(path, places, len(places))


def _term(model: Model, data: str, sign: int, text: str) -> Term:
    factors = dict(model.spec.factors)
    wanted = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise UsageError(f"'{part.strip()}' is no factor=value: write smile=smiling, or label=3")
        if name != LABEL and name not in factors:
            raise UnknownName("factor", name, [*factors, *([LABEL] if model.classes else [])])
        if name in wanted:
            raise UsageError(f"'{text}' names {name} twice: a picture shows one value of it")
        names = model.classes if name == LABEL else values_of(data, name)
        count = len(model.classes) if name == LABEL else factors[name]
        if value in names:
            wanted[name] = names.index(value)
        elif value.isdecimal() and int(value) < count:
            wanted[name] = int(value)
        else:
            raise UnknownName(f"value of {name}", value, names or [str(k) for k in range(count)])
    return Term(sign, text, wanted)


def _shown(known: Latents, data: str, samples: int, seed: int, report: Report) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Latents ``(N, ...)`` and what each shows: the value ``(N,)`` of every factor, or of the label."""
    model = known.model
    if LABEL in model.system.conditions:
        report(f"{samples} latents", None)
        return spread(known, samples, seed, report), {LABEL: torch.cat(_labels(model, samples))}
    if "encode" in model.verbs:
        return _encoded(model, samples, seed, report)
    judge = judge_of(data, "classify", tuple(model.system.shape), model.device)
    if judge is None or tuple(judge.system.shape) != tuple(model.system.shape):
        raise Unsupported(
            f"nobody can say what the pictures of '{model.name}' show: it neither encodes pictures nor obeys labels, "
            f"and no shipped model judges '{data}' at its size"
        )
    latents, values, inside = spread(known, samples, seed, report), [], []
    for k, part in enumerate(latents.split(CHUNK)):
        report(f"{judge.name} reads {k * CHUNK} of {samples}", k * CHUNK / samples)
        image = model.decode_images(part).clamp(-1, 1)
        with torch.inference_mode():
            values.append(torch.stack([head.argmax(1) for head in judge.system.classify(image)], 1).cpu())
            knows = "in_distribution" in judge.verbs
            inside.append(judge.system.in_distribution(image).cpu() if knows else torch.ones(len(image)).bool())
    kept = torch.cat(inside)
    if not kept.any():
        raise UsageError(
            f"'{judge.name}' recognises none of {samples} pictures that '{model.name}' draws: train it longer"
        )
    return latents[kept], _columns(torch.cat(values)[kept], [name for name, _ in judge.spec.factors] or [LABEL])


def _labels(model: Model, samples: int) -> list[Tensor]:
    """The classes that :func:`spread` draws under."""
    found = [model.condition(min(CHUNK, samples - k)).label for k in range(0, samples, CHUNK)]
    return [label for label in found if label is not None]


def _encoded(model: Model, samples: int, seed: int, report: Report) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Codes of training pictures, and the factors or labels that the data know of them."""
    named = model.card.get("data")
    if not named:
        raise UsageError(f"'{model.name}' does not say what data it was trained on, of which the factors are known")
    with named_by(f"the card of '{model.name}'", "train it on data that is here"):
        source = data_of(named).open(model.system.spec.size, "train")
    codes, values = [], []
    names = [name for name, _ in source.spec.factors] or [LABEL]
    for k, rows in enumerate(Stream(seed, "arithmetic").permutation(len(source))[:samples].split(CHUNK)):
        report(f"encoding {k * CHUNK} of {samples}", k * CHUNK / samples)
        batch = source.batch(rows)
        given = batch.condition.factors if source.spec.factors else batch.condition.label
        if given is None:
            raise Unsupported(f"'{source.name}' has neither factors nor labels: choose a model of data that has")
        codes.append(model.encode(batch.image))
        values.append(given if given.ndim == 2 else given[:, None])
    return torch.cat(codes), _columns(torch.cat(values), names)


def _columns(values: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: values[:, k] for k, name in enumerate(names)}
