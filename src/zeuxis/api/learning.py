"""Whether a training learns, in words, by its loss on pictures that it never trains on. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

STILL = 0.02  # of what was won: a change in the last quarter below which a loss stands still
LOST = 0.2  # of what was won: a rise from the best above which it is told

Answer = Literal["yes", "no", "worse again", "not known yet", "not measured"]


@dataclass(frozen=True)
class Learning:
    """An answer, and the sentence that gives its reasons."""

    answer: Answer
    reason: str


def is_learning(held_out: Sequence[tuple[float, float]], *, logged: bool, finished: bool = False) -> Learning:
    """What the held-out losses of a run say, as (iteration, loss) in order.

    ``logged`` says whether the log has any line: before that there is nothing to say. What is ``finished`` without one
    was learnt in closed form.
    """
    points = [(round_, loss) for round_, loss in held_out if math.isfinite(loss)]
    if not points and not logged and finished:
        return Learning("not measured", "it was learnt in closed form, in one pass over the data, without a loss")
    if not points and not logged:
        return Learning("not known yet", "nothing was logged yet")
    if not points:
        return Learning(
            "not measured",
            "this method measures no loss on held-out pictures: look at the previews, and at what diagnose says",
        )
    if len(points) == 1:
        return Learning("not known yet", f"the held-out loss was measured once, {points[0][1]:.3g}")
    first, last = points[0][1], points[-1][1]
    at, best = min(points, key=lambda point: point[1])
    won = first - best
    if won <= 0:
        return Learning("no", f"the held-out loss was {first:.3g} at first and is {last:.3g}: it has not fallen yet")
    fell = f"the held-out loss fell from {first:.3g} to {best:.3g}"
    if last - best > LOST * won:
        return Learning(
            "worse again",
            f"{fell} at iteration {at:,.0f}, and has risen to {last:.3g} since: it learns its pictures by heart, or "
            "its rate is too high",
        )
    begun = points[0][0] + 0.75 * (points[-1][0] - points[0][0])
    before = min(loss for round_, loss in points if round_ <= begun)
    if before - min(loss for _, loss in points) < STILL * won and len(points) > 4:
        return Learning("yes", f"{fell}, and stands still over the last quarter")
    return Learning("yes", f"{fell}, and still falls" if best == last else fell)
