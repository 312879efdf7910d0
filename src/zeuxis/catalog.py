"""The catalogue: it walks ``systems/`` and reads the cards; nothing else lists names.

Cards and recipes are read as text, so listing imports no torch. Classes are imported only from
modules found by that walk: a name in a file never becomes an import.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from zeuxis.card import Card
from zeuxis.errors import UnknownName, Unsupported, UsageError, WeightsError
from zeuxis.recipe import Recipe, load_recipe, recipe_paths

if TYPE_CHECKING:
    from torch import Tensor

    from zeuxis.data.source import Source
    from zeuxis.game import System

HERE = Path(__file__).parent
SYSTEMS = HERE / "systems"
WEIGHTS = HERE / "weights"
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Entry:
    """Where a system is defined, and what it says of itself."""

    card: Card
    module: str
    class_name: str
    doc: str


@cache
def entries() -> dict[str, Entry]:
    """Every system, by id, in order of family and year."""
    found = [e for path in sorted(SYSTEMS.glob("*/[!_]*.py")) for e in _read(path)]
    found.sort(key=lambda e: (e.card.family, e.card.year, e.card.id))
    by_id = {e.card.id: e for e in found}
    if len(by_id) != len(found):
        raise RuntimeError("two systems share an id: " + ", ".join(e.card.id for e in found))
    return by_id


def _read(path: Path) -> list[Entry]:
    module = f"zeuxis.systems.{path.parent.name}.{path.stem}"
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            match item:
                case ast.Assign(targets=[ast.Name(id="card")], value=ast.Call(func=ast.Name(id="Card")) as call):
                    args = [ast.literal_eval(a) for a in call.args]
                    words = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
                    assert isinstance(node, ast.ClassDef)
                    found.append(Entry(Card(*args, **words), module, node.name, ast.get_docstring(node) or ""))
    return found


def entry(system: str) -> Entry:
    """The entry of a system by id."""
    if system not in entries():
        raise UnknownName("system", system, entries())
    return entries()[system]


def system_class(system: str) -> type[System]:
    """The class of a system by id (imports its module)."""
    found = entry(system)
    cls: type[System] = getattr(import_module(found.module), found.class_name)
    return cls


@cache
def results() -> dict[str, dict[str, Any]]:
    """What ``zeuxis reproduce`` measured, by recipe."""
    return {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob("*.json"))}


# -- building a system --------------------------------------------------------------------------------


def build(system: str, facts: dict[str, Any], model: dict[str, Any], seed: int = 0) -> System:
    """A freshly initialised system.

    ``facts`` are what the data says of itself (``shape``, ``classes``, ``layout_names``, ``words``,
    ``factors``): the constructor gets those that it names. ``model`` are its other keywords, from the recipe.
    """
    cls = system_class(system)
    parameters = [p for p in inspect.signature(cls.__init__).parameters if p != "self"]
    for key in model:
        if key not in parameters:
            raise UnknownName(f"key of [model] for '{system}':", key, set(parameters) - set(facts))
    import torch  # noqa: PLC0415  (the catalogue lists without it)

    keywords = {k: v for k, v in facts.items() if k in parameters} | model
    with torch.random.fork_rng(devices=[]):
        # Parameter initialisation is the one place where torch's global generator is drawn from.
        torch.default_generator.manual_seed(seed)
        try:
            return cls(**keywords)
        except TypeError as error:
            raise UsageError(f"'{system}' cannot be built from {sorted(keywords)}: {error}") from None


def build_for(recipe: Recipe, source: Source, seed: int | None = None) -> System:
    """The system of a recipe for that data, checked to find there what it is conditioned on."""
    needs = set(entry(recipe.system).card.needs)
    chosen = recipe.model.get("condition", "none")  # by convention the keyword of systems that leave it open
    needs |= {chosen} - {"none"}
    for need in sorted(needs - source.provides):
        raise Unsupported(
            f"recipe '{recipe.name}' needs {need}, which '{source.name}' does not give: use {_givers(need)}"
        )
    given = {key: load_system(name)[0] for key, name in given_models(recipe).items()}
    model = recipe.model | given
    system = build(recipe.system, facts_of(source), model, recipe.train.seed if seed is None else seed)
    _take_buckets(system, source)
    return system


def given_models(recipe: Recipe) -> dict[str, str]:
    """The models that a recipe names for its system to build upon (a tokeniser, a feature network), by keyword.

    Such a keyword is one whose type is ``System``; a recipe gives it a shipped name, a run folder or a model folder.
    """
    hints = get_type_hints(system_class(recipe.system).__init__)
    wanted = [key for key, hint in hints.items() if _is_system(hint)]
    for key in wanted:
        if not isinstance(recipe.model.get(key, ""), str):
            raise UsageError(f"recipe '{recipe.name}': model.{key} is a trained model: give its name or its run folder")
    return {key: recipe.model[key] for key in wanted if key in recipe.model}


def _is_system(hint: Any) -> bool:
    """Whether a type hint is ``System``, or that or None."""
    from zeuxis.game import System  # noqa: PLC0415  (the catalogue lists without torch)

    return System in (hint, *get_args(hint))


def _take_buckets(system: System, source: Source) -> None:
    """Refuse pictures of several shapes that ``system`` could not be trained on."""
    if not source.buckets:
        return
    stride = system.stride
    if stride is None:
        raise Unsupported(
            f"'{system.card.id}' as it is built here takes pictures of one shape, not buckets of several: use --fit "
            "crop or --fit square, or a system whose networks are convolutions all through, such as ddpm"
        )
    for shape in (bucket.shape for bucket in source.buckets):
        if shape.height % stride or shape.width % stride:
            raise UsageError(
                f"'{system.card.id}' as it is built here takes sides that are multiples of {stride}, and a "
                f"bucket is {shape.width}x{shape.height}: use --fit bucket:{stride}"
            )


def _givers(need: str) -> str:
    from zeuxis.data.library import giving  # noqa: PLC0415  (only to word an error)

    return "one of " + ", ".join(giving(need)) if giving(need) else "a dataset that gives it"


def facts_of(source: Source) -> dict[str, Any]:
    """What a dataset says of itself to constructors."""
    return {
        "shape": tuple(source.shape),
        "classes": source.classes,
        "layout_names": tuple(source.layout_names),
        "words": tuple(source.words),
        "factors": tuple(source.factors),
    }


# -- trained models -----------------------------------------------------------------------------------


@cache
def shipped() -> dict[str, Path]:
    """The folders of the weights that come with the package, by name."""
    return {p.parent.name: p.parent for p in sorted(WEIGHTS.glob("*/model.json"))}


def locate(name: str | Path) -> Path:
    """The model folder of a shipped name, a run folder or a model folder."""
    if str(name) in shipped():
        return shipped()[str(name)]
    path = Path(name)
    for folder in (path / "model", path):
        if (folder / "model.json").is_file():
            return folder
    if path.is_file():
        raise WeightsError(
            f"{path} is a file, not a model folder: weights are read as safetensors with a card; "
            f"for a public checkpoint in another form use: zeuxis convert {path}"
        )
    if path.is_dir():
        raise WeightsError(f"{path} holds no model yet: train it first, or give a run folder that has model/model.json")
    if str(name) in recipe_paths():
        raise UsageError(
            f"no weights of '{name}' ship: train it (zeuxis train {name}), and give the run folder that this names"
        )
    generators = [system for system, known in entries().items() if not known.card.learns]
    raise UnknownName("model", str(name), [*shipped(), *generators], hint="(or give a run folder)")


def start_from(system: System, name: str | Path) -> str:
    """Give ``system`` the weights of a trained model of the same shape; returns their SHA-256."""
    from zeuxis.training.checkpoint import read_model  # noqa: PLC0415  (the catalogue lists without torch)

    tensors, card = read_model(locate(name))
    _load(system, tensors, f"'{name}' cannot be started from: its weights")
    return str(card["sha256"])


def weights_of(name: str | Path) -> str:
    """The SHA-256 of a trained model's weights, as its card has it."""
    from zeuxis.training.checkpoint import read_model  # noqa: PLC0415  (the catalogue lists without torch)

    return str(read_model(locate(name))[1]["sha256"])


def _load(system: System, tensors: dict[str, Tensor], what: str) -> None:
    try:
        system.load_state_dict(tensors)  # half-precision weights become the parameters' own type
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{what} do not fit '{system.card.id}' as it was built: {why}") from None


def _rebuilt(card: dict[str, Any]) -> System:
    """The system that a card describes, with the systems that it was given (a first stage, a feature network)."""
    held = {k: _rebuilt(v) if isinstance(v, dict) and "system" in v else v for k, v in card["config"].items()}
    return build(card["system"], {}, held)


def _untrained(name: str) -> tuple[System, dict[str, Any]]:
    """A generator that follows rules alone, as its recipe describes it, and a card as a trained one has."""
    from zeuxis.data.library import open_source  # noqa: PLC0415  (the catalogue lists without torch)

    recipe = load_recipe(name)
    system = build_for(recipe, open_source(recipe.data, recipe.size, fit=recipe.fit)).eval()
    rules = json.dumps({"system": name, **system.config}, sort_keys=True, default=list)
    card = {"system": name, "config": system.config, "recipe": recipe.name, "data": recipe.data, "images": 0}
    return system, {**card, "sha256": hashlib.sha256(rules.encode()).hexdigest()}


def load_system(name: str | Path) -> tuple[System, dict[str, Any]]:
    """A system in evaluation mode, and its card: trained, or one of those that need no training.

    Nothing is unpickled.
    """
    known = entries().get(str(name))
    if known is not None and not known.card.learns:
        return _untrained(known.card.id)
    from zeuxis.training.checkpoint import read_model  # noqa: PLC0415  (the catalogue lists without torch)

    folder = locate(name)
    tensors, card = read_model(folder)
    system = _rebuilt(card)
    _load(system, tensors, f"the weights in {folder}")
    return system.requires_grad_(False).eval(), card
