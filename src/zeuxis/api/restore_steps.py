"""A photograph made better step by step: all that a look at it proposes and models at hand can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from zeuxis.api.restore import Restoration
from zeuxis.api.restore_look import Looked
from zeuxis.api.restore_paths import errands_of

Work = Callable[[Path, str, Path], Restoration]  # a picture, the task, and the file of its result


def restore_in_steps(found: Looked, out: Path | None, work: Work) -> list[Restoration]:
    """What came of each step at hand, in order: each is made of the result of the one before.

    They are written where the steps' own commands write them, and the last to ``out``, where it is given. A step for
    which there is no model is passed over.
    """
    made: list[Restoration] = []
    picture = found.picture
    for k, step in enumerate(found.at_hand, 1):
        target = step.target
        if out is not None and k == len(found.at_hand):
            (errand,) = errands_of([found.picture], out, "restored").each
            target = errand.target
        made.append(work(picture, step.task, target))
        picture = target
    return made
