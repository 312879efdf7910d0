"""What can be measured of a model on some data: found out before a picture is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zeuxis.api.features import Features
from zeuxis.api.model import Model
from zeuxis.api.naming import counted
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.source import Source
from zeuxis.errors import Unsupported, UsageError
from zeuxis.metrics.record import FEW
from zeuxis.metrics.table import METRICS, OF_FEATURES

DRAWN = frozenset(
    {"fake", "fake_views", "fake_to_training", "grain", "untrained", "imagenet"}
)  # evidence that a model draws
GAUSSIAN = ("frechet", "rebuilt-frechet")  # metrics that fit a covariance to the features of the call


def enough(metrics: Sequence[str], pictures: int) -> tuple[tuple[str, ...], str | None]:
    """Those of ``metrics`` that so many ``pictures`` are enough for, and a line on the others."""
    able = tuple(metric for metric in metrics if pictures >= METRICS[metric].least)
    left = [f"{metric} (from {METRICS[metric].least})" for metric in metrics if metric not in able]
    return able, f"left out, for {_pictures(pictures)} too few: {', '.join(left)}" if left else None


def _pictures(count: int) -> str:
    return f"{count} picture{' is' if count == 1 else 's are'}"


def check(model: Model, metrics: Sequence[str], source: Source, pictures: int) -> None:
    """Refuse a metric that the model, its data or the number of ``pictures`` cannot give.

    Raises:
        UsageError: with what it needs, and the mend.
    """
    for name in metrics:
        if pictures < (least := METRICS[name].least):
            raise UsageError(
                f"{_pictures(pictures)} too few for {name}, which needs {least}: give data with more held-out "
                "pictures, or another --metric"
            )
    _check_classes(model, source)
    without = "source" in model.system.conditions - model.system.optional and "source" not in source.spec.provides
    untold = sorted(model.system.conditions - model.system.optional - {"source"} - source.spec.provides)
    for name in metrics:
        needs = set(METRICS[name].needs)
        verbs = ", ".join(sorted(model.verbs))
        if needs & DRAWN and "sample" not in model.verbs:
            raise Unsupported(
                f"{name} is of pictures that a model draws, and '{model.name}' draws none; it can: {verbs}"
            )
        if without and (needs & DRAWN or (METRICS[name].scored and restores(model))):
            raise Unsupported(
                f"'{model.name}' makes pictures of sources, and '{source.name}' has none: give --pair, as in "
                "--pair bicubic:4, or other --data"
            )
        if untold and needs & {*DRAWN, "path_lengths"}:
            nothing = f"'{source.name}' has no {untold[0]} to tell"
            raise Unsupported(f"'{model.name}' draws what it is told, and {nothing}: give other --data")
        scores = METRICS[name].scored and not restores(model)
        if (scores or needs & {"reconstructed", "code_usage"}) and not {"encode", "decode"} <= model.verbs:
            raise Unsupported(
                f"{name} needs a model that rebuilds pictures, and '{model.name}' does not; it can: {verbs}"
            )
        if METRICS[name].scored and restores(model):
            _check_restored(model, name, source)
        if "consistency" in needs and not (restores(model) and isinstance(source, DegradedSource)):
            raise Unsupported(
                f"{name} is of pictures that are degraded and restored again: evaluate a restorer on data that --pair "
                "degrades, as bicubic:4"
            )
        if METRICS[name].by_maps or METRICS[name].space == "imagenet":
            _check_colours(model, name)
        if "code_usage" in needs and model.system.codes is None:
            raise Unsupported(f"{name} needs a model of codes from a codebook, and '{model.name}' has none")
        if "log_prob" in needs and "log_prob" not in model.verbs:
            raise Unsupported(f"{name} needs a model with a likelihood, and '{model.name}' has none; it can: {verbs}")
        if "linear_probe_untrained" in needs and not model.system.players():
            raise Unsupported(
                f"{name} is of a network before its training, and '{model.name}' is learnt in closed form: "
                "measure another"
            )
        if "path_lengths" in needs and not {"decode", "draw_latents"} <= model.verbs:
            raise Unsupported(
                f"{name} is of the ways between latents that a model draws and decodes, and '{model.name}' does not "
                f"both; it can: {verbs}"
            )
        if "caption_log_prob" in needs and "caption" not in source.spec.provides:
            raise Unsupported(f"{name} needs captions, and '{source.name}' has none: give other --data")


def _check_classes(model: Model, source: Source) -> None:
    """Refuse data whose classes have other numbers than the model's: asked for by number, they would be others."""
    if "label" not in source.spec.provides or not ("label" in model.system.conditions or "classify" in model.verbs):
        return
    known, held = model.spec.class_names, source.spec.class_names
    numbers = [[int(name) for name in names] for names in (known, held) if all(name.isdecimal() for name in names)]
    alike = held == known[: len(held)]
    if len(numbers) == 2:  # 07 is 7, but folders 1 to 10 are none of the classes 0 to 9 of a file
        alike = numbers[1] == numbers[0][: len(held)]
    elif numbers:  # those of a file that has no names
        alike = len(held) <= len(known)
    if alike or not known:
        return
    told, theirs = (", ".join(names[:8]) + (", ..." if len(names) > 8 else "") for names in (known, held))
    raise UsageError(
        f"'{model.name}' has the classes {told}, in this order, and '{source.name}' {theirs}: a class would be taken "
        "for another of the same number; give --data of the same classes (train/ and test/ in one folder share theirs)"
    )


def _check_colours(model: Model, name: str) -> None:
    """Refuse a figure of a network of photographs for pictures that are none."""
    if model.system.shape.channels not in (1, 3):
        raise Unsupported(
            f"{name} is of pictures that are grey or in colour, and '{model.name}' makes {model.system.shape.channels} "
            "channels: measure another"
        )


def _check_restored(model: Model, name: str, source: Source) -> None:
    """Refuse a score of what is restored where no picture belongs to a source, or too few pixels are left of it."""
    if not source.paired:
        raise Unsupported(f"{name} is of pictures that belong to their sources, and those of '{source.name}' do not")
    left = min(model.system.shape[1:]) - 2 * (border_of(model) if METRICS[name].bordered else 0)
    if left < METRICS[name].side:
        raise UsageError(
            f"{name} needs {counted(METRICS[name].side, 'pixel')} a side, and of '{model.name}' {max(left, 0)} are "
            "left: measure psnr"
        )


def border_of(model: Model) -> int:
    """How many of the outermost pixels do not count where what is enlarged is compared: as many as it is enlarged by.

    The literature leaves them out; of what is not enlarged all count.
    """
    source = model.system.spec.source_shape
    scale = 1 if source is None else model.system.shape.height // source.height
    return scale if scale > 1 else 0


def restores(model: Model) -> bool:
    """Whether what it makes of a source is to be the picture that belongs to it."""
    if model.system.unpaired:
        return False  # it learnt of sources to which no picture belongs
    return "sample" in model.verbs and "source" in model.system.conditions and not {"encode", "decode"} <= model.verbs


def check_space(space: Features, model: Model) -> None:
    """Refuse a feature space of pictures of other channels than the model's."""
    if space.channels is not None and space.channels != model.system.shape.channels:
        raise UsageError(
            f"features '{space.name}' are of pictures of {space.channels} channels, and '{model.name}' makes "
            f"{model.system.shape.channels}: give --features pixels-8, which takes any"
        )


def too_few(space: Features, metrics: Sequence[str], model: Model, pictures: int) -> str | None:
    """A line where the Fréchet distance is asked for in a space of more dimensions than there are pictures."""
    asked = [metric for metric in metrics if metric in GAUSSIAN and OF_FEATURES & set(METRICS[metric].needs)]
    if not asked or pictures >= FEW:
        return None
    dimensions = space.of(torch.zeros(1, *model.system.shape)).shape[1]
    if pictures > dimensions:
        return None
    return (
        f"{pictures} pictures are too few for the {dimensions} dimensions of {space.name}: {' and '.join(asked)} of so "
        f"few say little; give {2 * dimensions} or more, or compare by --metric kernel, which is not biased"
    )
