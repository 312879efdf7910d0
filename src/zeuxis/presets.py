"""Tasks that a recipe is often trained for, by name: the data, the pairs and the size. Imports no torch.

``presets.toml`` lists them. Beside them "paper" is the method's published size: the recipe ``NAME-paper``.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from zeuxis.errors import UnknownName, UsageError
from zeuxis.escaping import word
from zeuxis.recipe import Recipe, load_recipe, recipe_paths

FILE = Path(__file__).with_name("presets.toml")
PAPER = "paper"


@dataclass(frozen=True)
class Preset:
    """One task.

    ``systems`` are those that it fits. ``data`` is a set by name, None where the pictures are a user's own. ``pair``
    says how pairs come of them, None where they are pairs already or need be none. ``condition`` is what the model is
    to obey of them, None where the recipe has it.
    """

    name: str
    systems: tuple[str, ...]
    about: str
    data: str | None = None
    pair: str | None = None
    size: int | None = None  # pixels a side
    condition: str | None = None


def _read() -> dict[str, Preset]:
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: Preset(name, tuple(row.pop("systems")), **row) for name, row in table.items()}


PRESETS: dict[str, Preset] = _read()


def presets_of(system: str) -> list[Preset]:
    """Those that fit a system, in the order of the file, after the published size where there is one."""
    published = [Preset(PAPER, (system,), "the published size")] if f"{system}-{PAPER}" in recipe_paths() else []
    return [*published, *(preset for preset in PRESETS.values() if system in preset.systems)]


def preset_of(recipe: Recipe, name: str, own_data: bool) -> tuple[Recipe, Preset]:
    """The recipe to train for the preset ``name``, and the preset. ``own_data`` says whether a user gave pictures.

    Raises:
        UnknownName: none that fits the recipe has that name.
        UsageError: it is of a user's own pictures, and none were given; or there is none at all.
    """
    known = {preset.name: preset for preset in presets_of(recipe.system)}
    if not known:
        raise UsageError(
            f"--preset {name}: '{recipe.system}' has no presets, nor its published size as one: leave it out, or set "
            f"keys of [model], which zeuxis info {word(recipe.name)} lists"
        )
    if name not in known:
        raise UnknownName(f"preset of '{recipe.system}'", name, known)
    preset = known[name]
    if name == PAPER:
        return load_recipe(f"{recipe.system}-{PAPER}"), preset
    if preset.data is None and not own_data:
        raise UsageError(f"--preset '{name}': {preset.about}: give --data as well")
    return recipe, preset
