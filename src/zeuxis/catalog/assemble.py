"""The system of a recipe for its data: checked to find there what it is conditioned on, upon the models it names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from zeuxis.catalog.build import build, given_models, takes
from zeuxis.catalog.listing import entry, system_class
from zeuxis.catalog.weights import load_system, shipped
from zeuxis.errors import Unsupported, UsageError
from zeuxis.knobs import checked
from zeuxis.recipe import Recipe, load_recipe, recipe_paths

SHOWN = 60  # letters of a caption that a message has room for

if TYPE_CHECKING:
    from zeuxis.data.source import Source
    from zeuxis.game import System


def load_given(name: str) -> System:
    """The trained model of that name."""
    return load_system(name)[0]


def trained_by(name: str) -> Recipe | None:
    """The recipe of that name, where a recipe names by it a model that does not ship and is to be trained first."""
    there = name in shipped() or Path(name).exists()
    return load_recipe(name) if name in recipe_paths() and not there else None


def build_for(
    recipe: Recipe,
    source: Source,
    seed: int | None = None,
    *,
    given: Callable[[str], System] = load_given,
    on_meta: bool = False,
) -> System:
    """The system of a recipe for that data, checked to find there what it is conditioned on.

    ``given`` has the models that the recipe names, by their names. With ``on_meta`` its parameters have shapes and no
    memory: to be counted, not to be used.
    """
    needs = set(entry(recipe.system).card.needs)
    chosen = recipe.model.get("condition", "none")  # by convention the keyword of systems that leave it open
    needs |= {chosen} - {"none"}
    for need in sorted(needs - source.spec.provides):
        others = _others(recipe, source) if need == chosen else ""
        mends = f"--condition {others}, which it does provide, or " if others else ""
        if need == "source" and "mask" in source.spec.provides:
            mends = "--pair masks, by which its masks become sources, or "
        elif need == "source" and system_class(recipe.system).unpaired:
            mends = "two collections (--data FIRST SECOND: the first becomes the second), or "
        raise Unsupported(
            f"recipe '{recipe.name}' needs {need}, which '{source.name}' does not provide: use "
            f"{mends}{_providers(need)}"
        )
    from zeuxis.catalog.loading import parameters_on_meta  # noqa: PLC0415  (torch)
    from zeuxis.training.optimiser import overridden  # noqa: PLC0415  (torch)

    parts = {key: given(name) for key, name in given_models(recipe).items()}
    with parameters_on_meta(parts) if on_meta else nullcontext():
        system = build(recipe.system, source.spec, recipe.model | parts, recipe.train.seed if seed is None else seed)
    _refuse_strangers(system, source)
    _refuse_long_captions(system, source)
    overridden(system.players(), recipe.players)  # what is wrong with its players is said before anything is made
    _take_buckets(system, source)
    checked(f"'{system.card.id}' ([sample] of recipe '{recipe.name}')", system.knobs, recipe.sample)
    return system


def _others(recipe: Recipe, source: Source) -> str:
    """What that data provide and the system of ``recipe`` may be conditioned on."""
    system = system_class(recipe.system)
    return " or ".join(name for name in sorted(source.spec.provides) if takes(system, "condition", name))


def _refuse_strangers(system: System, source: Source) -> None:
    """Refuse sources that do not belong to the images beside them, where a system learns of those that do."""
    if source.paired or system.unpaired or "source" not in system.conditions:
        return
    raise Unsupported(
        f"'{system.card.id}' learns of pairs, and '{source.name}' holds two collections of which no two belong "
        "together: use cyclegan, or give pairs (A/ and B/ with the same names, or --pair)"
    )


def _refuse_long_captions(system: System, source: Source) -> None:
    """Refuse captions of more words than ``system`` reads, which a training would meet sooner or later."""
    from zeuxis.nn.words import words_of  # noqa: PLC0415  (torch)

    limit = system.caption_limit
    if limit is None:
        return
    caption = source.longest_caption()
    words = len(words_of(caption))
    if words > limit.words:
        mend = f"--set model.{limit.key}={words + limit.beside}, or shorten them" if limit.key else "shorten them"
        shown = caption if len(caption) <= SHOWN else f"{caption[:SHOWN]}..."
        raise UsageError(
            f"'{source.name}' has captions of up to {words} words ('{shown}'), and '{system.card.id}' as it is built "
            f"here reads {limit.words}: {mend}"
        )


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


def _providers(need: str) -> str:
    from zeuxis.data.library import providing  # noqa: PLC0415  (only to word an error)

    of_folders = {"label": "a folder of classes", "caption": "a folder with a metadata.jsonl"}
    found = [*([of_folders[need]] if need in of_folders else []), *providing(need)]
    return "one of " + ", ".join(found) if found else "a dataset that provides it"
