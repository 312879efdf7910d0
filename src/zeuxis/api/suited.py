"""What a recipe leaves to the data: whether it learns a condition; and whether its budget can come to a picture."""

from __future__ import annotations

from zeuxis.api.naming import counted
from zeuxis.catalog.listing import entry
from zeuxis.catalog.schema import knobs_of
from zeuxis.data.source import Source
from zeuxis.recipe import Recipe, load_recipe, recipe_paths

OF_A_CONDITION = ("condition", "text", "guidance")  # keys of [model] that say how it is obeyed
OPTIONAL = ("label", "caption")  # what a recipe may have and its method can do without
PLAINLY = 0.05  # the share of a recipe's budget below which a training is plainly too short


def suited(recipe: Recipe, source: Source) -> tuple[Recipe, str | None]:
    """``recipe`` without a condition that the pictures do not come with, and a line that says so.

    A condition that the method cannot do without stays, and is refused where the system is built.
    """
    chosen = recipe.model.get("condition", "none")
    if chosen not in OPTIONAL or chosen in source.spec.provides or chosen in entry(recipe.system).card.needs:
        return recipe, None
    model = {key: value for key, value in recipe.model.items() if key not in OF_A_CONDITION} | {"condition": "none"}
    knobs = knobs_of(entry(recipe.system), model)
    sample = {name: value for name, value in recipe.sample.items() if name in knobs and name != "guidance"}
    line = (
        f"the pictures of '{source.name}' have no {chosen}s, so the model learns none and draws without "
        f"(--condition {chosen} insists; folders of classes give labels, a metadata.jsonl captions)"
    )
    return recipe.model_copy(update={"model": model, "sample": sample}), line


def too_short(recipe: Recipe, iterations: int) -> str | None:
    """A line where ``iterations`` of ``recipe`` are plainly too few; None where they may do.

    The measure is the budget of a recipe of the same method that was made for the desk: that of the same name, or that
    called as the system; none is known of others.
    """
    known = recipe_paths()
    model = next((load_recipe(name) for name in (recipe.name, recipe.system) if name in known), None)
    if model is None or model.system != recipe.system or model.train.iterations is None:
        return None
    enough, pictures = model.train.iterations, model.train.iterations * model.train.batch
    if iterations >= PLAINLY * enough or iterations * recipe.train.batch >= PLAINLY * pictures:
        return None
    return (
        f"a training of {counted(iterations, 'iteration')} is plainly too short for a result worth "
        f"looking at: recipe '{model.name}' asks for {enough:,} (--iterations {enough})"
    )
