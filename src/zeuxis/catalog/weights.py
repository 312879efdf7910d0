"""Trained systems by name: where their folders lie, and how they are loaded. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeuxis.catalog.build import build
from zeuxis.catalog.listing import WEIGHTS, entries
from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor

    from zeuxis.game import System


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
    return build(card["system"], DataSpec.from_dict(card["spec"]), held)


def _untrained(name: str) -> tuple[System, dict[str, Any]]:
    """A generator that follows rules alone, as its recipe describes it, and a card as a trained one has."""
    from zeuxis.data.library import open_source  # noqa: PLC0415  (the catalogue lists without torch)

    recipe = load_recipe(name)
    source = open_source(recipe.data, recipe.size, fit=recipe.fit)
    system = build(recipe.system, source.spec, recipe.model, recipe.train.seed).eval()
    rules = json.dumps({"system": name, **system.config}, sort_keys=True, default=list)
    card = {"system": name, "config": system.config, "recipe": recipe.name, "data": recipe.data, "images": 0}
    return system, {**card, "spec": system.spec.as_dict(), "sha256": hashlib.sha256(rules.encode()).hexdigest()}


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
