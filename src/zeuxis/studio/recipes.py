"""The keys of a recipe over HTTP: what a training may change of it, and what each means. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi.params import Path as InPath
from pydantic import BaseModel

from zeuxis.catalog.schema import sections
from zeuxis.errors import lookup
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.studio.training_requests import is_changeable

routes = APIRouter(prefix="/api/recipes", tags=["catalogue"])
AnyName = Annotated[str, InPath(max_length=200)]


class RecipeKeyResponse(BaseModel):
    """A value that a training may replace, by the dotted name that ``set`` takes; None: the method's own."""

    name: str
    value: bool | int | float | str | None
    meaning: str


@routes.get("/{recipe}/keys")
def keys(recipe: AnyName) -> list[RecipeKeyResponse]:
    """Every plain value of a recipe that a training may replace; of its players, see the recipe's method."""
    lookup("recipe", recipe, recipe_paths())
    found = [key for section in sections(load_recipe(recipe)) for key in section.keys if is_changeable(key.name)]
    shown = ((key, key.as_dict()["value"]) for key in found)
    return [
        RecipeKeyResponse(name=key.name, value=value, meaning=key.meaning)
        for key, value in shown
        if value is None or isinstance(value, (bool, int, float, str))
    ]
