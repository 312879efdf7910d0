"""What is wrong with how a model learnt: each failure one function, which reads the log and the settings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from zeuxis.api.symptoms import Finding, Symptoms, spread_of
from zeuxis.training.ema import warmed_decay
from zeuxis.training.log import FAILED, GRADIENT, MADE

WON = 0.9  # of the critic's verdicts, real less fake, where it tells all
WEAK = 0.02  # of the largest gradient that the generator had
GROWN, LARGE = 20.0, 20.0  # times that a loss grew, and to at least what
STILL_MOVING = 0.45  # of the data's deviation, that pictures of the same latents change in a 32nd of the training
INITIAL = 0.05  # of the average, that is still the initial weights
LOST = 0.5  # of what was learnt
GENERATORS = frozenset({"generator", "decoder"})  # what players are called that make pictures
RATES = {"sgd": 1.0}  # learning rates that are unusual from here on, by optimiser
RATE = 1e-2  # of the others


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
    unit = spread_of(s.training.flatten(1))
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
    rounds = s.rounds
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
    """Whether some player's rate does not fall to nothing, so that what still moves would move for ever."""
    own = {p.name: p.decay for p in s.model.system.players()} if s.model is not None else {}
    set_in = {} if s.recipe is None else {k: t["decay"] for k, t in s.recipe.players.items() if "decay" in t}
    return "constant" in {**own, **set_in}.values()
