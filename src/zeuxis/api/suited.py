"""What a recipe leaves to the data: whether it learns a condition; and whether its budget can come to a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zeuxis.api.naming import counted
from zeuxis.catalog.build import takes
from zeuxis.catalog.listing import entry, system_class
from zeuxis.catalog.schema import knobs_of, model_arguments
from zeuxis.catalog.weights import locate, public_restorer, sized_alike
from zeuxis.data.aligned import enlarges_by
from zeuxis.data.bit_depth import bits_and_folder
from zeuxis.data.entries import ENTRIES
from zeuxis.data.library import open_source
from zeuxis.data.pairing import Enlarged, LayoutDrawn, parse_pairing
from zeuxis.data.published import PUBLISHED
from zeuxis.data.source import Source
from zeuxis.data.tables_name import tables_named
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import UsageError
from zeuxis.game import Player, System
from zeuxis.recipe import Recipe, load_recipe, recipe_paths
from zeuxis.training.exchange import read_card

OF_A_CONDITION = ("condition", "text", "guidance")  # keys of [model] that say how it is obeyed
OPTIONAL = ("label", "caption")  # what a recipe may have and its method can do without
LOOKED_AT = 32  # pixels a side, where only what a folder holds is asked for
RESIZING = ("bicubic", "blind", "shrink", "subsample")  # degradations whose first number is the scale
WARMUP = 10  # a part of a training in so many is a usual warm-up
PLAINLY = 0.05  # the share of a recipe's budget below which a training is plainly too short


def suited(recipe: Recipe, source: Source) -> tuple[Recipe, str | None]:
    """``recipe`` without a condition that the pictures do not come with, and a line that says so.

    A condition that the method cannot do without stays, and is refused where the system is built.
    """
    known = entry(recipe.system)
    argument = model_arguments(known).get("condition")
    chosen = recipe.model.get("condition", "none" if argument is None else argument.default)
    if chosen not in OPTIONAL or chosen in source.spec.provides or chosen in known.card.needs:
        return recipe, None
    if not takes(system_class(recipe.system), "condition", "none"):
        return recipe, None
    model = {key: value for key, value in recipe.model.items() if key not in OF_A_CONDITION} | {"condition": "none"}
    knobs = knobs_of(known, model)
    sample = {name: value for name, value in recipe.sample.items() if name in knobs and name != "guidance"}
    line = (
        f"the pictures of '{source.name}' have no {chosen}s, so the model learns none and draws without "
        f"(--condition {chosen} insists; folders of classes give labels, a metadata.jsonl captions)"
    )
    return recipe.model_copy(update={"model": model, "sample": sample}), line


def of_others(recipe: Recipe) -> bool:
    """Whether a recipe of the catalogue was given other pictures than its own."""
    return recipe.name in recipe_paths() and _pictures_of(load_recipe(recipe.name)) != _pictures_of(recipe)


def _pictures_of(recipe: Recipe) -> str:
    return recipe.data.partition("|")[0].strip()


def not_learnt(recipe: Recipe, source: Source) -> str | None:
    """A line where the classes of a user's own pictures are left unlearnt by a method that could be told of them."""
    argument = model_arguments(entry(recipe.system)).get("condition")
    chosen = recipe.model.get("condition", None if argument is None else argument.default)
    if chosen != "none" or "label" not in source.spec.provides or source.spec.classes < 2 or not of_others(recipe):
        return None
    if not takes(system_class(recipe.system), "condition", "label"):
        return None
    return f"the {source.spec.classes} classes of the pictures are not learnt (--condition label learns them)"


def sized_by_start(recipe: Recipe) -> tuple[Recipe, str | None]:
    """``recipe`` with the sizes of the networks that it starts from, where these say so, and a line on them."""
    start = recipe.train.start
    if start is None:
        return recipe, None
    system, public = system_class(recipe.system), public_restorer(start)
    sizes = _sizes_of_start(system, start) if public is None else dict(system.sizes_of(public.network))
    usual = {name: argument.default for name, argument in model_arguments(entry(recipe.system)).items()}
    changed = {key: value for key, value in sizes.items() if recipe.model.get(key, usual.get(key)) != value}
    if not changed:
        return recipe, None
    told = ", ".join(f"model.{key} = {value}" for key, value in changed.items())
    return recipe.model_copy(update={"model": recipe.model | changed}), f"{told}, as suits a start from {start}"


def suited_to_start(recipe: Recipe) -> tuple[Recipe, str | None]:
    """``recipe`` with what its method does otherwise where it starts from a model, and a line on that.

    What a user chose stays: a value other than that of the recipe of the catalogue.
    """
    wanted = system_class(recipe.system).started_with
    if recipe.train.start is None or not wanted:
        return recipe, None
    usual = {name: argument.default for name, argument in model_arguments(entry(recipe.system)).items()}
    own = usual | (load_recipe(recipe.name).model if recipe.name in recipe_paths() else {})
    now = usual | recipe.model
    changed = {key: value for key, value in wanted.items() if now[key] == own[key] != value}
    if not changed:
        return recipe, None
    told = ", ".join(f"model.{key} = {value}" for key, value in changed.items())
    line = f"{told}, as suits a start from {recipe.train.start} (another value by --set insists)"
    return recipe.model_copy(update={"model": recipe.model | changed}), line


def _sizes_of_start(system: type[System], start: str | Path) -> dict[str, Any]:
    """The keywords that size the networks of the model ``start``, if they are those of ``system``."""
    if not system.started_keys:
        return {}
    card = read_card(locate(start))
    if not sized_alike(system, card):
        return {}
    config = card.get("config", {})
    return {key: config[key] for key in system.started_keys if key in config}  # older cards have fewer


def chain_of(data: str) -> str:
    """The degradations that the name of data ends in, if any."""
    return data.partition("|")[2].strip()


def pairs_of(data: str | None) -> Enlarged | None:
    """How the pairs are enlarged whose sources lie smaller beside their pictures, of data that name them so."""
    pairing = None if data is None else parse_pairing(chain_of(data))
    return pairing if isinstance(pairing, Enlarged) else None


def damaged_as(recipe: Recipe, data: str | None, scale: int | None = None) -> str | None:
    """``data``, by default the recipe's, damaged as the recipe's own are, where they come with no damage themselves.

    With ``scale`` what makes them smaller makes them as much smaller. Raises :class:`UsageError` where nothing does.
    Where a recipe enlarges and a folder has small pictures beside the large ones, those are its pairs; where it paints
    layouts, the masks of a folder are these.
    """
    chain = chain_of(recipe.data)
    if data is not None and "|" in data:
        if scale is not None:
            raise UsageError(f"--scale {scale}: --data {data} says how it is damaged; write the scale there")
        return data
    if data is not None and _makes_smaller(chain) and (factor := _larger_by(data, scale)) is not None:
        return f"{data} | {Enlarged(factor)}"
    if data is not None and not chain and "layout" in entry(recipe.system).card.needs and _is_folder(data):
        return f"{data} | {LayoutDrawn()}"
    if scale is not None:
        chain = _at_scale(recipe, chain, scale)
    elif data is None or not chain or _comes_in_pairs(data):
        return data
    return f"{recipe.data.partition('|')[0].strip() if data is None else data} | {chain}"


def size_at(recipe: Recipe, scale: int | None) -> int | None:
    """The size of the pictures of a training whose scale was asked for and whose size was not: the recipe's, or the
    next that can be divided by the scale; None where the recipe's own is right."""
    if scale is None or not isinstance(recipe.size, int) or recipe.size % scale == 0:
        return None
    return -(-recipe.size // scale) * scale


def shown_for(recipe: Recipe, data: str, *, own_damage: bool) -> str | None:
    """How a folder's photographs are best shown to a training against the damage in the name of its ``data``; None
    where nothing says so, or the recipe says it itself.

    Against noise, blur, compression and smallness by patches at their own resolution: shrunk to a training's size they
    have lost what is to be learnt. Where the whole picture tells what is missing (a hole, colours, a face) by large
    windows of the shrunk picture; ``own_damage`` that a user chose leaves that to the recipe.
    """
    line = chain_of(data)
    if (
        "fit" in recipe.model_fields_set
        or not line
        or parse_pairing(line) is not None
        or not _of_any_size(data.partition("|")[0].strip())
    ):
        return None
    if all(part.local for part in parse_chain(line).parts):
        return "patch"
    return None if own_damage else "crop"


def _of_any_size(data: str) -> bool:
    """Whether that is the name of a user's own pictures, which may be of any sizes."""
    return bits_and_folder(data)[1] is not None or tables_named(data) is not None


def _at_scale(recipe: Recipe, chain: str, scale: int) -> str:
    if not _makes_smaller(chain):
        raise UsageError(f"--scale {scale}: nothing in recipe '{recipe.name}' makes pictures smaller: use --pair")
    parts = [part.strip() for part in chain.split("|")]
    return " | ".join(f"{name}:{scale}" if (name := p.partition(":")[0]) in RESIZING else p for p in parts)


def _makes_smaller(chain: str) -> bool:
    return any(part.strip().partition(":")[0] in RESIZING for part in chain.split("|"))


def _is_folder(data: str) -> bool:
    """Whether that is the name of a folder, of which nobody knows yet what it holds."""
    return data not in ENTRIES and data not in PUBLISHED and bits_and_folder(data)[1] is not None


def _larger_by(data: str, scale: int | None) -> int | None:
    """The factor of the pairs of a folder, ``scale`` where one is asked for; None of other data."""
    _, folder = bits_and_folder(data)
    if folder is None or not _is_folder(data):
        return None
    factor = enlarges_by(folder, scale)
    return factor if factor is None or scale is None else scale


def _comes_in_pairs(data: str) -> bool:
    """Whether data of that name has a source for each picture; what the network holds is not asked."""
    if data in ENTRIES:
        return "source" in ENTRIES[data].spec.provides
    if data in PUBLISHED:
        return PUBLISHED[data].reads != "pictures"
    return bits_and_folder(data)[1] is not None and "source" in open_source(data, LOOKED_AT).spec.provides


def too_short(recipe: Recipe, iterations: int) -> str | None:
    """A line where ``iterations`` of ``recipe`` are plainly too few; None where they may do.

    The measure is the budget of a recipe of the same method that was made for the desk: that of the same name, or that
    called as the system; none is known of others.
    """
    known = recipe_paths()
    models = (load_recipe(name) for name in (recipe.name, recipe.system) if name in known)
    model = next((model for model in models if model.system == recipe.system), None)
    if model is None or model.train.iterations is None:
        return None
    enough, pictures = model.train.iterations, model.train.iterations * model.train.batch
    if iterations >= PLAINLY * enough or iterations * recipe.train.batch >= PLAINLY * pictures:
        return None
    return (
        f"a training of {counted(iterations, 'iteration')} is plainly too short for a result worth "
        f"looking at: recipe '{model.name}' asks for {enough:,} (--iterations {enough})"
    )


def long_warmup(players: Iterable[Player], iterations: int) -> str | None:
    """A line where a rate still rises when a training of so many ``iterations`` ends; None where none does."""
    slow = [player for player in players if player.warmup > iterations]
    if not slow:
        return None
    first = slow[0]
    return (
        f"the rate of {' and '.join(player.name for player in slow)} rises over {first.warmup:,} iterations and gets "
        f"no further than {iterations / first.warmup:.0%} of {first.lr:g} in {iterations:,}: --set "
        f"players.{first.name}.warmup={max(1, iterations // WARMUP)}"
    )
