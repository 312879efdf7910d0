"""What is wrong with the pictures that a model makes, or that it learns from: each failure one function."""

from __future__ import annotations

from dataclasses import replace

import torch

from zeuxis.api.features import judge_of
from zeuxis.api.model import Model
from zeuxis.api.suited import too_short
from zeuxis.api.symptoms import FEW, Finding, Symptoms, spread_of
from zeuxis.metrics.distance import nearest
from zeuxis.metrics.neighbours import memorised, thumbnails

MODES_FOUND = 0.9  # of those that there are
CLASSES_MISSED = 0.3  # a share of the classes
SPREAD, REPEATS = 0.4, 0.15  # of the data's deviation, and of its distance from picture to picture
COPIES = 0.2  # a share of the pictures drawn, beyond that of held-out ones
NARROW = 0.1  # of [-1, 1] that pictures fill
SATURATED = 0.5  # of the values, beyond the data's, that lie at an end of the range


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
    """Some of the data only: modes or classes are missing, or pictures repeat themselves.

    A generator that has hardly begun looks the same, so nothing is claimed of a training that is plainly too short.
    """
    found, early = _collapsed(s), hardly_begun(s)
    if found is None or early is None:
        return found
    shown = f"{found.evidence}: mode collapse, or only that it has hardly begun; {early.evidence}"
    return replace(early, evidence=shown)


def hardly_begun(s: Symptoms) -> Finding | None:
    """A training that is plainly too short: that no failure is seen in it says nothing."""
    line = None if s.recipe is None else too_short(s.recipe, s.rounds)
    return None if line is None else Finding("too short to tell", line, "train on, with zeuxis resume, and look again")


def _collapsed(s: Symptoms) -> Finding | None:
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
    spread = spread_of(made) / max(spread_of(real), 1e-12)
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
