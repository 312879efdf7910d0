"""Trained systems by name: where their folders lie, and how they are loaded. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeuxis.catalog.build import build
from zeuxis.catalog.listing import WEIGHTS, entries, entry, system_class
from zeuxis.data.suffixes import PICTURES
from zeuxis.errors import NoSuchPath, UnknownName, UsageError, WeightsError, is_out_of_memory
from zeuxis.escaping import word
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.spec import DataSpec, Shape
from zeuxis.training.exchange import holds, read_card

_PICTURE = "a picture, not a model: give a model's name or a run folder"
NO_MODELS = {  # what a file plainly is that was given for a model, by its suffix
    **dict.fromkeys(PICTURES, _PICTURE),
    ".toml": "a recipe, not a model: train it (zeuxis train FILE.toml), and give the run folder that this names",
}

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zeuxis.game import System
    from zeuxis.pretrained.restorer import Restorer


RUNS = Path("runs")  # where a training lies of which nobody said where
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[^\s@]+)?")  # OWNER/NAME, as zeuxis pull takes it
RECORDS = ("run.json", "log.jsonl")  # of a run


@cache
def shipped() -> dict[str, Path]:
    """The folders of the weights that come with the package, by name."""
    return {p.parent.name: p.parent for p in sorted(WEIGHTS.glob("*/model.json"))}


def trained_here() -> list[str]:
    """The run folders in :data:`RUNS` that hold a model, as they are given to a command."""
    cards = [*RUNS.glob("*/model/model.json"), *RUNS.glob("*/*/model/model.json")]
    return sorted(card.parent.parent.as_posix() for card in cards)


def _recipe_of(run: str) -> object:
    """The recipe that a run was trained by; None of one whose card cannot be read: nobody asked for that one."""
    try:
        return read_card(Path(run) / "model").get("recipe")
    except WeightsError:
        return None


def locate(name: str | Path) -> Path:
    """The model folder of a shipped name, a run folder or a model folder."""
    if str(name) in shipped():
        return shipped()[str(name)]
    path = Path(name)
    for folder in (path / "model", path):
        if holds(folder, "model.json"):
            return folder
    if path.suffix.lower() in NO_MODELS and path.is_file():
        raise UsageError(f"{path} is {NO_MODELS[path.suffix.lower()]}")
    if path.is_file():
        _refuse_part(path)
        raise WeightsError(
            f"{path} is a file, not a model folder: weights are read as safetensors with a card; "
            f"for a public checkpoint in another form use: zeuxis convert {word(path)}"
        )
    if path.is_dir():
        if holds(path.parent, "model_index.json"):
            raise UsageError(f"{path} is a part of the model in {path.parent}: give that folder")
        if holds(path, "model_index.json"):
            raise UsageError(
                f"{path} is a published model, which is drawn with (zeuxis sample) and not trained further or built "
                "upon here: give a run folder"
            )
        _refuse_part(path)
        raise WeightsError(f"{path} holds no model yet: train it first, or give a run folder that has model/model.json")
    if str(name) in recipe_paths():
        mine = [run for run in trained_here() if _recipe_of(run) == str(name)]
        mend = f"train it (zeuxis train {name}), and give the run folder that this names"
        raise UsageError(f"no weights of '{name}' ship: {f'did you mean {mine[-1]}?' if mine else mend}")
    if HUB_NAME.fullmatch(str(name)) and not path.parent.is_dir() and path.parent != RUNS:
        pull = f", or fetch what is a Stable Diffusion of the hub first: zeuxis pull {word(name)}"
        raise NoSuchPath("run folder", name, otherwise=pull)
    generators = [system for system, known in entries().items() if not known.card.learns]
    known = [*shipped(), *generators, *trained_here()]
    raise UnknownName("model", str(name), known, "(or give a run folder)", elsewhere="run folder")


def _refuse_part(path: Path) -> None:
    """Name the run or the model that ``path`` is only a part of: its weights, a checkpoint, a record; UsageError."""
    if path.is_file() and path.name not in RECORDS and not path.with_suffix(".json").is_file():
        return  # a file that happens to lie there
    whole = (f for f in list(path.parents)[:3] if holds(f, "model.json") or holds(f / "model", "model.json"))
    if (folder := next(whole, None)) is not None:
        raise UsageError(f"{path} is a part of {folder}, and no model by itself: give {folder}")


@dataclass(frozen=True)
class Start:
    """The weights that a training started from: their SHA-256, and what is to be said of them."""

    sha256: str
    line: str | None = None


def start_from(system: System, name: str | Path) -> Start:
    """Give ``system`` the weights of a trained model of the same shape. What it was given stays as it was given.

    A system with ``started_parts`` may also take these alone, from a model of another kind that has the like, or, of
    restorers, from a published network by its name or file; the rest of it is then fresh.
    """
    from zeuxis.training.checkpoint import read_model  # noqa: PLC0415  (torch)
    from zeuxis.training.fit import misfit, put_back, without_given  # noqa: PLC0415  (torch)
    from zeuxis.training.given import stored  # noqa: PLC0415  (torch)

    what = f"'{name}' cannot be started from: its weights do not fit '{system.card.id}' as it was built"
    own, alone = stored(system), system.started_parts
    part = {key: tensor for key, tensor in own.items() if key.partition(".")[0] in alone}
    starts = "start" if len(alone) > 1 else "starts"
    line = f"{' and '.join(sorted(alone))} of {system.card.id} {starts} from {name}, and all else is fresh"
    if "network" in alone and (public := public_restorer(name)) is not None:
        there = {f"network.{key}": tensor for key, tensor in public.network.state_dict().items()}
        put_back(part, there, what, "set the keys of [model] to those of that network")
        return Start(public.sha256, line)
    tensors, card = read_model(locate(name))
    tensors = without_given(system, tensors)
    other = _otherwise(system, card)
    if alone and misfit(own, tensors) is not None:
        there = {key: tensor for key, tensor in tensors.items() if key.partition(".")[0] in alone}
        put_back(part, there, what, other or "start from a model whose network has the same sizes")
        return Start(str(card["sha256"]), line)
    put_back(own, tensors, what, other or "start from a model of the same recipe")
    return Start(str(card["sha256"]))


def sized_alike(system: type[System], card: Mapping[str, Any]) -> bool:
    """Whether the model of that card has networks that the same keywords size as ``system``'s."""
    kin = entries().get(str(card.get("system")))
    return (
        bool(system.started_keys) and kin is not None and system_class(kin.card.id).started_keys == system.started_keys
    )


def _otherwise(system: System, card: Mapping[str, Any]) -> str | None:
    """What a model with networks like ``system``'s was built for otherwise, with the mend; None where it has others, or
    neither the pictures nor what it is told say so."""
    if not sized_alike(type(system), card):
        return None
    theirs, mine = Shape(*card["spec"]["shape"]), Shape(*system.shape)
    if theirs[1:] != mine[1:]:
        was, now = (f"{shape.width}x{shape.height}" for shape in (theirs, mine))
        return f"it draws {was} pixels and this is to draw {now}: give --size {was}, or start from one of that size"
    if theirs.channels != mine.channels:
        return f"its pictures have {theirs.channels} channels and these {mine.channels}: start from one of as many"
    was, now = (known.get("condition", "none") for known in (card["config"], system.config))
    if was == now == "label" and (classes := len(card["spec"]["class_names"])) != system.spec.classes:
        return f"it knows {classes} classes and these are {system.spec.classes}: start from one of as many"
    if was != now:
        return f"it is built with condition {was} and this with {now}: give --condition {was}, or start from another"
    return None


def public_restorer(name: str | Path) -> Restorer | None:
    """The published restorer of that name, or in that file; None where it is neither."""
    from zeuxis.pretrained.restorer_files import load_restorer_file  # noqa: PLC0415  (torch)
    from zeuxis.pretrained.upscalers import UPSCALERS, load_upscaler  # noqa: PLC0415  (torch)

    if str(name) in UPSCALERS:
        return load_upscaler(str(name))
    path = Path(name)
    if path.is_file():
        _refuse_part(path)
    return load_restorer_file(path) if path.is_file() and path.suffix in (".safetensors", ".param") else None


def weights_of(name: str | Path) -> str:
    """The SHA-256 of a trained model's weights, as its card has it."""
    return _hash(locate(name))


def _hash(folder: Path) -> str:
    card = read_card(folder)
    if not isinstance(card.get("sha256"), str):
        raise WeightsError(f"{folder / 'model.json'} is damaged: it has no 'sha256'")
    return str(card["sha256"])


@dataclass(frozen=True)
class _Loading:
    """How a model and the systems that it was given are loaded."""

    folder: Path  # of the model
    tensors: dict[str, Tensor]  # of its file
    dtype: torch.dtype | None
    device: str

    def system(self, card: dict[str, Any], at: str = "") -> System:
        """The system that a card describes, its own parameters still without memory.

        ``at`` is where in the model it lies: ``""``, or ``keyword.`` for one that was given and whose card is inside.
        """
        from zeuxis.catalog.bounds import Allowance, check_card  # noqa: PLC0415  (torch)
        from zeuxis.catalog.loading import parameters_on_meta  # noqa: PLC0415  (torch)
        from zeuxis.training.given import systems_in  # noqa: PLC0415  (torch)

        check_card(card, self.folder)
        entry(card["system"])  # an unknown one is told with its mend, not as a damaged card
        keywords = {key: self.value(f"{at}{key}", value) for key, value in card["config"].items()}
        given = {path: system for key, value in keywords.items() for path, system in systems_in(key, value)}
        try:
            with Allowance(self.tensors, f"the card in {self.folder}"), parameters_on_meta(given):
                return build(card["system"], DataSpec.from_dict(card["spec"]), keywords)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, UsageError) as error:
            if is_out_of_memory(error):
                raise
            raise WeightsError(
                f"the card in {self.folder} describes no model that can be built: {type(error).__name__}: {error}"
            ) from error

    def value(self, key: str, value: Any) -> Any:
        """A constructor's argument from what the card says of it; sequences come back as tuples."""
        match value:
            case list():
                return tuple(self.value(f"{key}.{k}", item) for k, item in enumerate(value))
            case {"given": {"model": str(model), "sha256": str(sha256), "near": str(near)}}:
                return self.given(key, model, near, sha256)
            case {"given": {"model": str(model), "sha256": str(sha256)}}:
                return self.given(key, model, None, sha256)
            case {"system": str(), "config": dict(), "spec": dict()}:
                return self.inside(key, value)
        return value

    def inside(self, key: str, card: dict[str, Any]) -> System:
        """A given system whose tensors are in this model's file, under the keyword by which it was given."""
        from zeuxis.catalog.loading import assign  # noqa: PLC0415  (torch)

        system, prefix = self.system(card, f"{key}."), f"{key}."
        mine = {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}
        if mine:  # a constructor may ask what it is given for a code; one that lies elsewhere cannot be asked
            assign(system, mine, dtype=self.dtype, device=self.device, what=f"the weights of '{key}' in {self.folder}")
        return system

    def given(self, key: str, model: str, near: str | None, sha256: str) -> System:
        """A system that is kept elsewhere: under its name, where it was, or where it was as seen from this model."""
        try:
            here = () if near is None else (str((self.folder / near).resolve()),)
        except (OSError, ValueError, RuntimeError):  # no name of a file, or links that go in circles
            here = ()
        found = None
        for place in (model, *here):
            if place in _named() or holds(Path(place), "model.json"):
                system, card = load_system(place, dtype=self.dtype, device=self.device)
                if card["sha256"] == sha256:
                    return system
                found = card["sha256"]
        wanted = f"{self.folder} was trained upon the model {model} (its '{key}', weights {sha256[:12]})"
        if found is None:
            raise WeightsError(f"{wanted}, which is not there: put it back, or train both again")
        raise WeightsError(f"{wanted}, which has other weights now ({found[:12]}): put the former back, or train again")


def _named() -> set[str]:
    """What :func:`load_system` knows by name: shipped weights, and generators that need none."""
    return set(shipped()) | {name for name, known in entries().items() if not known.card.learns}


def _untrained(name: str) -> tuple[System, dict[str, Any]]:
    """A generator that follows rules alone, as its recipe describes it, and a card as a trained one has."""
    from zeuxis.data.library import open_source  # noqa: PLC0415  (the catalogue lists without torch)

    recipe = load_recipe(name)
    source = open_source(recipe.data, recipe.size, fit=recipe.fit)
    system = build(recipe.system, source.spec, recipe.model, recipe.train.seed).eval()
    rules = json.dumps({"system": name, **system.config}, sort_keys=True, default=list)
    card = {"system": name, "config": system.config, "recipe": recipe.name, "data": recipe.data, "images": 0}
    return system, {**card, "spec": system.spec.as_dict(), "sha256": hashlib.sha256(rules.encode()).hexdigest()}


def load_system(
    name: str | Path, *, dtype: torch.dtype | None = None, device: str = "cpu", staged: bool | None = None
) -> tuple[System, dict[str, Any]]:
    """A system in evaluation mode, and its card: trained, published, or one of those that need no training.

    It is built without memory and given the file's tensors on ``device``. With ``dtype`` (``torch.bfloat16``,
    ``torch.float16``) parameters of two axes or more are kept in it, those of given systems too; sample such a
    system under ``training.precision.autocast``. Nothing is unpickled. ``staged`` is of published models
    (:func:`zeuxis.catalog.published.load_published`).

    Raises:
        WeightsError: the weights are damaged or do not fit, or a system that the model was trained upon is missing
            or has other weights.
    """
    from zeuxis.game import Origin  # noqa: PLC0415  (torch)

    known = entries().get(str(name))
    if known is not None and not known.card.learns:
        system, card = _untrained(known.card.id)
        system.origin = Origin(known.card.id, card["sha256"])
        return system.to(device), card
    from zeuxis.catalog.loading import assign  # noqa: PLC0415  (torch)
    from zeuxis.catalog.published import load_published, parsed, published_path  # noqa: PLC0415  (torch)
    from zeuxis.training.checkpoint import read_model  # noqa: PLC0415  (the catalogue lists without torch)
    from zeuxis.training.given import mark_kept  # noqa: PLC0415  (torch)

    if str(name) not in shipped() and Path(name).is_file():
        _refuse_part(Path(name))
    public = published_path(name) if str(name) not in shipped() else None
    if public is not None:
        return load_published(public, parsed(name), dtype=dtype, device=device, staged=staged)
    folder = locate(name)
    tensors, card = read_model(folder)
    system = _Loading(folder, tensors, dtype, device).system(card)
    assign(system, tensors, dtype=dtype, device=device, what=f"the weights in {folder}")
    mark_kept(system)
    system.origin = Origin(str(name) if str(name) in shipped() else str(folder.resolve()), card["sha256"])
    return system.requires_grad_(False).eval(), card
