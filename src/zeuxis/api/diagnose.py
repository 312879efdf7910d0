"""What is wrong with a training: the usual failures by name, what shows each, and what mends it.

What is looked at: the run's log (losses, the norms of gradients, what was made of the same latents over time), its
settings, and pictures that the model draws beside those of its data. Each check is one function of :class:`Symptoms`;
a new one is a function and its place in :data:`CHECKS`. Bounds are set so that a healthy run shows none:
``benchmarks/planted_faults.py`` plants the faults and counts.

Axes: M pictures made, N of the data.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.evaluate import held_out
from zeuxis.api.features import features_of, judge_of
from zeuxis.api.going_on import recorded
from zeuxis.api.model import Model, load
from zeuxis.api.reporting import Report
from zeuxis.data.library import Data, data_of
from zeuxis.data.source import Source
from zeuxis.data.worlds.points import CENTRES, STD
from zeuxis.errors import UsageError
from zeuxis.fetching import named_by
from zeuxis.knobs import Sampling
from zeuxis.metrics.distance import nearest
from zeuxis.metrics.modes import Modes, modes
from zeuxis.metrics.neighbours import memorised, thumbnails
from zeuxis.metrics.precision import Support, precision_recall
from zeuxis.recipe import Recipe
from zeuxis.rng import Stream
from zeuxis.training.ema import warmed_decay
from zeuxis.training.log import FAILED, GRADIENT, MADE, read_log

SAMPLES = 500  # pictures that are drawn
BANK = 5000  # training pictures that copies are looked for in
MODES_FOUND = 0.9  # of those that there are
CLASSES_MISSED = 0.3  # a share of the classes
SPREAD, REPEATS = 0.4, 0.15  # of the data's deviation, and of its distance from picture to picture
FEW = 30  # held-out pictures below which nothing is said of how pictures spread
COPIES = 0.2  # a share of the pictures drawn, beyond that of held-out ones
NARROW = 0.1  # of [-1, 1] that pictures fill
SATURATED = 0.5  # of the values, beyond the data's, that lie at an end of the range
WON = 0.9  # of the critic's verdicts, real less fake, where it tells all
WEAK = 0.02  # of the largest gradient that the generator had
GROWN, LARGE = 20.0, 20.0  # times that a loss grew, and to at least what
STILL_MOVING = 0.45  # of the data's deviation, that pictures of the same latents change in a 32nd of the training
INITIAL = 0.05  # of the average, that is still the initial weights
LOST = 0.5  # of what was learnt
GENERATORS = frozenset({"generator", "decoder"})  # what players are called that make pictures
RATES = {"sgd": 1.0}  # learning rates that are unusual from here on, by optimiser
RATE = 1e-2  # of the others


@dataclass(frozen=True)
class Finding:
    """One failure: its name, the figures that show it, and what mends it."""

    name: str
    evidence: str
    mend: str


@dataclass(frozen=True)
class RunDiagnosis:
    """What was found, what was looked at, and the figures, found or not."""

    run: str
    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...]
    figures: dict[str, float]


class Symptoms:
    """What a run shows. ``model`` and ``source`` are None where there is no model, or no data."""

    def __init__(
        self,
        recipe: Recipe | None,
        log: Sequence[dict[str, Any]],
        model: Model | None,
        source: Source | None,
        unseen: Source | None,
        samples: int,
        how: Sampling,
        card: dict[str, Any],
    ) -> None:
        self.recipe, self.log, self.model, self.source, self.unseen = recipe, log, model, source, unseen
        self.samples, self.how, self.card = samples, how, card
        self.figures: dict[str, float] = {}

    def note(self, **figures: float) -> None:
        """Keep figures for the report."""
        self.figures |= figures

    def series(self, name: str) -> list[float]:
        """The finite values of a figure of the log, in order."""
        values = (entry.get(name) for entry in self.log)
        return [v for v in values if isinstance(v, (int, float)) and math.isfinite(v)]

    def players(self) -> list[str]:
        """Those whose losses the log has."""
        names = dict.fromkeys(key for entry in self.log for key in entry if key.startswith("loss/"))
        return [name.removeprefix("loss/") for name in names]

    @cached_property
    def drawn(self) -> tuple[Tensor, Tensor] | None:
        """Pictures made ``(M, C, H, W)`` and held-out ones ``(N, C, H, W)``, under their conditions where it obeys
        some; None where none are made."""
        if self.model is None or self.unseen is None or "sample" not in self.model.verbs:
            return None
        examples = held_out(self.unseen, self.samples)
        n = len(examples) if self.model.system.conditions else self.samples  # as many as there are conditions
        return self.model.draw(examples.condition, range(n), self.how), examples.image

    @cached_property
    def training(self) -> Tensor | None:
        """Some training pictures ``(N, C, H, W)``."""
        if self.source is None:
            return None
        return self.source.batch(Stream(0, "diagnose").permutation(len(self.source))[:BANK]).image

    @cached_property
    def modes(self) -> Modes | None:
        """Modes found, where the data have known ones."""
        if self.drawn is None or self.source is None or self.source.name not in CENTRES:
            return None
        return modes(self.drawn[0].flatten(1), CENTRES[self.source.name](), STD)

    @cached_property
    def support(self) -> Support | None:
        """Precision and recall in the features of the data."""
        if self.drawn is None or self.model is None or self.source is None or self.modes is not None:
            return None
        if min(map(len, self.drawn)) < FEW:
            return None
        space = features_of(self.source.name, shape=tuple(self.model.system.shape), device=self.model.device)
        made, real = (space.of(image).cpu() for image in self.drawn)
        return precision_recall(real, made)


def diagnose(
    name: str | Path,
    *,
    data: str | Data | None = None,
    samples: int = SAMPLES,
    how: Sampling = Sampling(),
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> RunDiagnosis:
    """Look for the usual failures in the run (or the model) called ``name``.

    Raises UsageError where there is neither a log nor a model.
    """
    folder = Path(name)
    run = recorded(folder) if folder.is_dir() else None
    recipe = None if run is None else run.recipe
    path = folder / "log.jsonl"
    log = read_log(path) if path.is_file() else []
    model, card, looked = None, {}, [f"{len(log)} lines of the log"] if log else []
    if run is None or (folder / "model").exists():
        model = load(name, device)
        card = model.card
        looked.append("the model")
    if model is None and not log:
        raise UsageError(f"{folder} holds neither a log nor a model: give the folder of a training")
    source, unseen = _opened(model, recipe, data)
    wanted = Sampling(**{**(recipe.sample if recipe is not None else {}), **how})
    known = Symptoms(recipe, log, model, source, unseen, samples, wanted, dict(card))
    if known.model is not None and "sample" in known.model.verbs and unseen is not None:
        report(f"drawing {samples} pictures", None)
        assert known.drawn is not None
        looked.append(f"{len(known.drawn[0])} pictures beside held-out ones of {unseen.name}")
    findings = []
    for k, check in enumerate(CHECKS):
        report(check.__name__.replace("_", " "), k / len(CHECKS))
        found = check(known)
        if found is not None:
            findings.append(found)
    return RunDiagnosis(str(name), tuple(findings), tuple(looked), known.figures)


def _opened(model: Model | None, recipe: Recipe | None, data: str | Data | None) -> tuple[Source | None, Source | None]:
    """The training and the held-out pictures."""
    named = data or (model.card.get("data") if model is not None else recipe.data if recipe is not None else None)
    if not named:
        return None, None
    opened = data_of(named)
    size = model.system.spec.size if model is not None else recipe.size if recipe is not None else None
    if data is not None:
        return opened.open(size, "train"), opened.open(size, "test")
    with named_by("the run", f"--data {named} does"):
        return opened.open(size, "train"), opened.open(size, "test")


# -- the checks: what is made -------------------------------------------------------------------------


def wrong_value_range(s: Symptoms) -> Finding | None:
    """Pictures that fill little of [-1, 1], or made ones that lie at its ends where the data's do not."""
    if s.training is None:
        return None
    low, high = (float(x) for x in s.training.flatten()[:: max(1, s.training.numel() // 10**6)].quantile(
        torch.tensor([0.01, 0.99])
    ))  # fmt: skip
    s.note(data_low=low, data_high=high)
    if high - low < 2 * NARROW:
        return Finding(
            "wrong value range",
            f"98 of 100 values of the training pictures lie between {low:.3f} and {high:.3f}, of a range from -1 to 1",
            "the pictures were probably divided by 255 before they were saved or given: give uint8 from 0 to 255, or "
            "real numbers from 0 to 1, and look at a first batch with zeuxis train --dry-run",
        )
    if s.drawn is None or s.modes is not None:
        return None
    ends = [float((image.abs() > 0.999).float().mean()) for image in s.drawn]
    s.note(made_at_the_ends=ends[0], data_at_the_ends=ends[1])
    if ends[0] - ends[1] > SATURATED:
        return Finding(
            "wrong value range",
            f"{ends[0]:.0%} of the values made lie at -1 or 1, and {ends[1]:.0%} of the data's",
            "the last layer saturates: lower the learning rate, or train on the pictures that it was built for",
        )
    return None


def mode_collapse(s: Symptoms) -> Finding | None:
    """Some of the data only: modes or classes are missing, or pictures repeat themselves."""
    if s.drawn is None or s.model is None:
        return None
    mend = (
        "give the discriminator more to say: more critic steps, a gradient penalty (wgan-gp, r3gan) or a lower rate of "
        "the generator (players.generator.lr); less momentum (betas = [0.0, 0.9]) helps too"
    )
    if s.modes is not None:
        s.note(modes_found=s.modes.found, modes_known=s.modes.known, near_a_mode=s.modes.near)
        if s.modes.found < MODES_FOUND * s.modes.known:
            shown = f"{s.modes.found} of {s.modes.known} modes are found ({s.modes.near:.0%} of the points near one)"
            return Finding("mode collapse", shown, mend)
        return None
    made, real = (thumbnails(image) for image in s.drawn)
    if len(real) < FEW:
        return None
    spread = _spread(made) / max(_spread(real), 1e-12)
    apart = [float(nearest(x, x, 1, skip_self=True)[0].median()) for x in (made, real)]
    repeats = apart[0] / max(apart[1], 1e-12)
    s.note(spread_of_data=spread, distance_of_data=repeats)
    if s.support is not None:
        s.note(precision=s.support.precision, recall=s.support.recall)
    known = "" if s.support is None else f"; precision {s.support.precision:.2f}, recall {s.support.recall:.2f}"
    if spread < SPREAD or repeats < REPEATS:
        return Finding(
            "mode collapse",
            f"pictures spread {spread:.2f} times as far as the data's, and the nearest two lie {repeats:.2f} times as "
            f"far apart{known}",
            mend,
        )
    missing = _classes_missed(s, s.model)
    if missing is not None and len(missing) > 0 and s.source is not None:
        named = ", ".join(s.source.spec.class_names[k] for k in missing)
        if len(missing) >= CLASSES_MISSED * s.source.spec.classes:
            return Finding("mode collapse", f"hardly a picture shows any of the classes {named}{known}", mend)
    return None


def _classes_missed(s: Symptoms, model: Model) -> list[int] | None:
    """The classes that hardly a picture is of, by the shipped judge; None where none can say or they are asked for."""
    if s.drawn is None or s.source is None or "label" in model.system.conditions or s.source.spec.classes < 2:
        return None
    judge = judge_of(s.source.name, "classify", tuple(model.system.shape), model.device)
    if judge is None or tuple(judge.system.shape) != tuple(model.system.shape):
        return None
    shares = []
    for image in s.drawn:
        said = judge.classify(image)
        if len(said) > 1:  # factors, not classes
            return None
        shares.append(torch.bincount(said[0].argmax(1), minlength=s.source.spec.classes) / len(image))
    made, real = shares
    missed = [k for k in range(len(made)) if float(made[k]) < 0.1 * float(real[k])]
    s.note(classes_found=len(made) - len(missed), classes_known=len(made))
    return missed


def _spread(rows: Tensor) -> float:
    return float((rows - rows.mean(0)).square().mean().sqrt())


def memorising(s: Symptoms) -> Finding | None:
    """Pictures that repeat one of the training pictures, far more often than held-out ones seem to."""
    if s.drawn is None or s.training is None or s.modes is not None or len(s.training) < 3:
        return None
    bank = thumbnails(s.training)
    made, unseen = memorised(thumbnails(s.drawn[0]), bank), thumbnails(s.drawn[1])
    unseen = unseen[nearest(unseen, bank, 1)[0][:, 0] > 0]  # of data too few to set any apart they are the same
    real = memorised(unseen, bank) if len(unseen) else 0.0
    s.note(copies=made, copies_in_held_out=real)
    if made - real <= COPIES:
        return None
    return Finding(
        "memorising",
        f"{made:.0%} of the pictures drawn are copies of one training picture (a third as far as from any other); so "
        f"are {real:.0%} of the held-out ones",
        "give it more pictures or have them changed (stylegan2-ada), train for fewer iterations, or take a smaller "
        "model; zeuxis neighbours shows the pairs",
    )


# -- the checks: how it learnt ------------------------------------------------------------------------


def vanishing_gradients(s: Symptoms) -> Finding | None:
    """A critic that tells all and a generator whose gradient is next to nothing."""
    makers = [p for p in s.players() if p in GENERATORS]
    if len(s.players()) < 2 or not makers:
        return None
    norms = s.series(f"{GRADIENT}{makers[0]}")
    real, fake = s.series("real"), s.series("fake")
    if len(norms) < 4 or not real or len(real) != len(fake):
        return None
    last, gap = _late(norms), _late([a - b for a, b in zip(real, fake, strict=True)])
    share = last / max(max(norms), 1e-30)
    s.note(generator_gradient=last, generator_gradient_of_largest=share, verdict=gap)
    if gap < WON or not all(0 <= x <= 1 for x in (*real, *fake)):  # or they are no probabilities
        return None
    if share > WEAK and last > 1e-3:
        return None
    return Finding(
        "vanishing gradients",
        f"the critic tells real from made by {gap:.2f} of 1, and the generator's gradient is {last:.2g}, {share:.1%} "
        "of the largest that it was",
        "take a loss that is not flat where the generator loses (loss = 'non-saturating', wgan-gp), fewer critic "
        "steps, or a lower rate of the critic",
    )


def too_high_a_rate(s: Symptoms) -> Finding | None:
    """Steps that were not finite, a loss that lost what it had won, or a game whose losses ran away at a high rate."""
    bad = s.series("bad_steps")
    failed = [e["event"] for e in s.log if str(e.get("event", "")).startswith(FAILED)]
    rates = _rates(s)
    high = [f"{player} {rate:g}" for player, (rate, limit) in rates.items() if rate >= limit]
    spelt = f" at a rate of {', '.join(high)}" if high else ""
    mend = "lower it ten times (players.NAME.lr, which zeuxis train --dry-run lists), or warm it up and clip gradients"
    if failed or (bad and bad[-1] > 0):
        count = int(bad[-1]) if bad else 0
        shown = f"{count} steps were not finite{spelt}" + (f"; training ended: {failed[0][8:120]}" if failed else "")
        return Finding("too high a rate", shown, mend)
    for player in s.players() if len(s.players()) == 1 else ():
        losses = s.series(f"loss/{player}")
        if len(losses) < 8:
            continue
        smooth = [statistics.median(losses[max(0, k - 2) : k + 3]) for k in range(len(losses))]
        start, best, end = losses[0], min(smooth), _late(losses)
        won = start - best
        s.note(**{f"loss_{player}_start": start, f"loss_{player}_best": best, f"loss_{player}_end": end})
        if won <= 0 or (end - best) > LOST * won:
            what = "nothing was learnt" if won <= 0 else f"{(end - best) / won:.0%} of what was learnt was lost"
            return Finding(
                "too high a rate", f"the loss of {player} began at {start:.3g}, was {best:.3g} at best and is "
                f"{end:.3g}: {what}{spelt}", mend,
            )  # fmt: skip
    if high and not_converging(s) is not None:
        return Finding("too high a rate", f"it does not converge{spelt}, which is far above what is usual", mend)
    return None


def not_converging(s: Symptoms) -> Finding | None:
    """Losses that run away, or pictures of the same latents that still go from place to place in the end."""
    for player in s.players() if len(s.players()) > 1 else ():
        losses = [abs(x) for x in s.series(f"loss/{player}")]
        if len(losses) < 8:
            continue
        early, late = statistics.median(losses[: len(losses) // 4]), _late(losses)
        s.note(**{f"loss_{player}_early": early, f"loss_{player}_late": late})
        if late > max(LARGE, GROWN * early):
            return Finding(
                "non-convergence",
                f"diverging: the loss of {player} went from {early:.3g} to {late:.3g} in size",
                "bound the critic (a gradient penalty: wgan-gp, r3gan; R1 in stylegan2; players.critic.bound in wgan), "
                "and lower the rates",
            )
    seen = [entry for entry in s.log if f"{MADE}change" in entry]
    if len(seen) < 12 or s.training is None:
        return None
    unit = _spread(s.training.flatten(1))
    change = [entry[f"{MADE}change"] * entry[f"{MADE}spread"] / max(unit, 1e-12) for entry in seen]
    moving = statistics.median(change[-len(change) // 3 :])
    s.note(still_moving=moving)
    if moving < STILL_MOVING or not _constant_rate(s):
        return None
    return Finding(
        "non-convergence",
        f"orbiting: in each 32nd of the training, to the end, pictures of the same latents changed by {moving:.2f} of "
        "the deviation of the data's",
        "take momentum away (betas = [0.0, 0.9]), lower the rates or let them fall (decay = 'linear'), add a penalty "
        "(r3gan, wgan-gp), and draw from an average (train.ema = 0.999)",
    )


def average_never_used(s: Symptoms) -> Finding | None:
    """An average of so many rounds that it is still the initial weights."""
    rounds = int(s.card.get("round") or max((e.get("round", 0) for e in s.log), default=0))
    if s.recipe is None or not s.recipe.train.ema or not rounds or (s.recipe.train.iterations is None and not s.log):
        return None
    ema, warm = s.recipe.train.ema, s.recipe.train.ema_warmup
    left = math.prod(warmed_decay(ema, k + 1) if warm else ema for k in range(min(rounds, 10**6)))
    s.note(initial_weights_in_the_average=left)
    if left <= INITIAL:
        return None
    return Finding(
        "an average that was never used",
        f"after {rounds:,} iterations {left:.0%} of the average (train.ema = {ema}) is still the initial weights",
        f"set train.ema to {_fitting(rounds)}, or train.ema_warmup to true, or train longer",
    )


def _fitting(rounds: int) -> float:
    """A decay whose average is over a twentieth of the rounds."""
    return float(f"{1 - 1 / max(10, rounds / 20):.3g}")


def _late(values: Sequence[float]) -> float:
    """The median of the last quarter."""
    return statistics.median(values[-max(1, len(values) // 4) :])


def _rates(s: Symptoms) -> dict[str, tuple[float, float]]:
    """Each player's learning rate, and from which on it is unusual."""
    if s.recipe is None:
        return {}
    found = {}
    own = {p.name: p for p in s.model.system.players()} if s.model is not None else {}
    for name in {*own, *s.recipe.players}:
        table = s.recipe.players.get(name, {})
        rate = table.get("lr", own[name].lr if name in own else 0.0)
        optimiser = table.get("optimiser", own[name].optimiser if name in own else "adam")
        found[name] = (float(rate), RATES.get(optimiser, RATE))
    return found


def _constant_rate(s: Symptoms) -> bool:
    """Whether no player's rate falls to nothing, so that what still moves would move for ever."""
    own = {p.name: p.decay for p in s.model.system.players()} if s.model is not None else {}
    set_in = {} if s.recipe is None else {k: t["decay"] for k, t in s.recipe.players.items() if "decay" in t}
    return "constant" in {**own, **set_in}.values()


CHECKS: tuple[Callable[[Symptoms], Finding | None], ...] = (
    wrong_value_range,
    mode_collapse,
    memorising,
    vanishing_gradients,
    too_high_a_rate,
    not_converging,
    average_never_used,
)
