"""A look at a picture that nothing was asked for: what seems wrong with it, by how much, and what would mend it.

What is proposed undoes damage in the opposite order of how it comes about: JPEG came last, noise before it, blur before
that. Colour, faces and size follow, for which a clean picture is wanted.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zeuxis.api.restore_models import at_hand_for, how_to_have
from zeuxis.api.restore_picture import OpenedPicture, open_for_restoring
from zeuxis.degrade import estimate
from zeuxis.errors import Unsupported
from zeuxis.pretrained.face_finder import find_faces

MOST_SEEN = 768  # pixels a side in the middle of a picture that are looked at
CONTRAST = "contrast"  # the name of an estimate
SMALL, TINY = 512, 256  # pixels of the shorter side, below which it is to be twice as large, and four times


@dataclass(frozen=True)
class Estimate:
    """One thing that may be wrong: its number, the number from which on it is, and whether it is.

    A number is None of what was not looked for; ``note`` says what it counts, or why not.
    """

    name: str
    value: float | None
    bound: float
    wrong: bool
    note: str


@dataclass(frozen=True)
class Proposal:
    """One step: a task, the command that does it, where that writes, and what it lacks, None if nothing."""

    task: str
    command: str
    target: Path
    lacks: str | None


@dataclass(frozen=True)
class Looked:
    """What a look at a picture told, and what would mend it, in order."""

    picture: Path
    width: int
    height: int
    estimates: tuple[Estimate, ...]
    steps: tuple[Proposal, ...]

    @property
    def flat(self) -> bool:
        """Whether it is of a single colour, or nearly: there is nothing in it to mend but noise."""
        return any(one.name == CONTRAST and one.value is not None and one.value < one.bound for one in self.estimates)

    @property
    def at_hand(self) -> tuple[Proposal, ...]:
        """The steps that can be done now."""
        return tuple(step for step in self.steps if step.lacks is None)


def look(path: Path) -> Looked:
    """Look at a picture; raises as :func:`zeuxis.api.restore_picture.open_for_restoring`."""
    given = open_for_restoring(path)
    height, width = given.colours.shape[:2]
    estimates = tuple(_estimates(given))
    wrong = [one.name for one in estimates if one.wrong]
    tasks = [TASK[name] for name in TASK if name in wrong]
    found = Looked(path, width, height, estimates, ())
    if min(width, height) < SMALL and not found.flat:
        tasks.append("enlarge:4" if min(width, height) < TINY else "enlarge:2")
    return replace(found, steps=tuple(_steps(path, tasks)))


# What each finding calls for, in the order in which it is done.
TASK = {"blocks": "jpeg", "noise": "denoise", "blur": "deblur", "colour": "colorize", "faces": "face"}


def _estimates(given: OpenedPicture) -> Iterator[Estimate]:
    picture = _middle(given)
    if min(picture.shape[2:]) < estimate.LEAST:
        yield Estimate("damage", None, 0.0, False, f"fewer than {estimate.LEAST} pixels a side tell nothing")
    else:
        noise, blur = float(estimate.noise_level(picture)), float(estimate.blur_level(picture))
        blocks, colour = float(estimate.block_level(picture)), float(estimate.colour_level(picture))
        contrast = float(estimate.contrast_level(picture))
        flat, noisy = contrast < estimate.FLAT, noise > estimate.NOISY
        blurred, blocky = blur > estimate.BLURRED and not flat, blocks > estimate.BLOCKY
        grey = colour < estimate.GREY and not flat
        yield Estimate("noise", 255 * noise, 255 * estimate.NOISY, noisy, "its deviation, in levels of 255")
        nothing = "; a single colour, or nearly, tells nothing of it" if flat else ""
        unsure = nothing or ("; noise hides it" if noisy else "")
        yield Estimate(
            CONTRAST, 255 * contrast, 255 * estimate.FLAT, False, "deviation of tones; below, it shows nothing"
        )
        yield Estimate("blur", blur, estimate.BLURRED, blurred, f"0 is sharp, 1 is flat{unsure}")
        yield Estimate("blocks", blocks, estimate.BLOCKY, blocky, "steps of JPEG at every eighth pixel; 1 is none")
        yield Estimate("colour", colour, estimate.GREY, grey, f"how far colours lie from one ink; 0 is grey{nothing}")
    try:
        count = len(find_faces(given.colours))
    except Unsupported as error:
        yield Estimate("faces", None, 1, False, f"not looked for: {error}")
    else:
        yield Estimate("faces", count, 1, count > 0, "found")


def _middle(given: OpenedPicture) -> Tensor:
    """The middle of a picture, ``(1, C, H, W)`` in [0, 1]; the whole of a small one."""
    height, width = given.colours.shape[:2]
    top, left = max(0, height - MOST_SEEN) // 2, max(0, width - MOST_SEEN) // 2
    part = given.colours[top : top + MOST_SEEN, left : left + MOST_SEEN]
    return torch.from_numpy(part.astype(np.float32) / given.most).permute(2, 0, 1)[None]


def target_of(path: Path, task: str) -> Path:
    """Where the command that is proposed for ``task`` writes its result, from which the next step begins."""
    return path.with_name(f"{path.stem}-{task.replace(':', '')}.png")


def _steps(path: Path, tasks: list[str]) -> Iterator[Proposal]:
    """Each from the result of the one before it; what a step lacks is said."""
    source = path
    for task in tasks:
        at_hand = at_hand_for(task)
        target = target_of(path, task)
        words = ["zeuxis", "restore", str(source), "--task", task, "--model", at_hand or "MODEL", "--out", str(target)]
        yield Proposal(task, shlex.join(words), target, how_to_have(task) if at_hand is None else None)
        source = target
