"""``zeuxis info``: what is known of a method, a recipe, a trained model or a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zeuxis.cli import completing
from zeuxis.cli.keys import as_data, show_recipe, show_sections
from zeuxis.cli.listing import met, systems
from zeuxis.cli.options import Json, Set, only, writable
from zeuxis.cli.output import emit, plain, say, say_lines
from zeuxis.cli.reproduce import VERDICTS
from zeuxis.data.suffixes import PICTURES
from zeuxis.knobs import Knob

if TYPE_CHECKING:
    from zeuxis.recipe import Recipe

LONGEST = 2000  # characters of a value that are printed


def info(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="A system, recipe or its .toml, shipped model, run folder, picture.png or its codes, or directions.",
            autocompletion=completing.anything,
        ),
    ],
    changes: Set = None,
    moving: Annotated[
        Path | None,
        typer.Option(
            "--animation",
            metavar="FILE.webp",
            callback=writable,
            help="Write the previews of a run folder, one after another, as a moving picture.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell of a method (paper, departures, results), every key of a recipe, a model, or how a picture was made."""
    from zeuxis.catalog.listing import entries, problems
    from zeuxis.catalog.weights import shipped, trained_here
    from zeuxis.errors import UnknownName, UsageError
    from zeuxis.recipe import load_recipe, recipe_paths

    path = Path(name)
    if moving is not None:
        from zeuxis.api.animation import animation

        only(context, ("name", "moving", "as_json"), "--animation shows the previews of a run as they are")
        frames = animation(path, moving)
        show({"run": name, "previews": frames, "animation": str(moving)}, as_json)
        return
    is_recipe = name in recipe_paths() or (path.suffix == ".toml" and path.is_file())
    if changes and not is_recipe:
        raise UsageError(f"--set replaces a value of a recipe, and '{name}' is none: leave it out")
    recipe = load_recipe(name, tuple(changes or ())) if is_recipe else None
    if path.suffix.lower() == ".png" or (path.suffix.lower() in PICTURES and path.is_file()):
        show_picture(path, as_json)
    elif published(name):
        show_published(name, as_json)
    elif path.suffix == ".safetensors":
        from zeuxis.api.card_file import read_card_file
        from zeuxis.api.code_file import described, read_codes
        from zeuxis.api.directions import KINDS, Directions

        tensors, _ = read_card_file(path, "make it anew")
        facts = Directions.open(path).facts() if set(tensors) & set(KINDS) else described(read_codes(path))
        show(plain(facts), as_json)
    elif name in entries():
        system(name, recipe, as_json)
    elif name in shipped() or (recipe is None and path.exists()):
        model(name, recipe, as_json)
    elif recipe is not None:
        keys_of(recipe, as_json)
    else:
        for problem in problems():
            if name in problem.names:
                raise UsageError(problem.message)
        known = {*entries(), *shipped(), *recipe_paths(), *trained_here()}
        raise UnknownName("name", name, known, "(or give a run folder or a picture.png)", elsewhere="file or folder")


def show_picture(path: Path, as_json: bool) -> None:
    """How a picture was made, as far as its marks tell: record, line for other programs, credentials, watermark."""
    from zeuxis.api.marks import marks_of

    found = marks_of(path)
    if as_json:
        emit(found.as_dict())
        return
    show(plain({**found.record, **found.lines()}), as_json)


def published(name: str) -> bool:
    """Whether ``name`` is a published model: a folder in the hub's layout, one that was pulled, or a file of one."""
    from zeuxis.training.exchange import holds

    path = Path(name)
    if holds(path, "model.json") or (path.is_file() and path.suffix != ".safetensors"):
        return False
    if not path.exists() and len(path.parts) != 2:
        return False
    from zeuxis.catalog.published import published_path
    from zeuxis.pretrained.parts import holds_unet

    found = published_path(name)
    return found is not None and (found.is_dir() or holds_unet(found))


def show_published(name: str, as_json: bool) -> None:
    """How a published model was read: its version, its parts, what has no place, and its knobs."""
    from zeuxis.api.model import load

    model = load(name, staged=True)
    parts = {part: sum(p.numel() for p in net.parameters()) for part, net in model.system.named_children()}
    shape, config = model.system.shape, model.system.config
    found: dict[str, Any] = {
        "model": f"{model.system.card.title} {model.card['version']}",
        "pictures": f"{shape.width}x{shape.height}",
        "parameters": {part: count for part, count in parts.items() if count},
        "predicts": config["predicts"],
        "network": config["network"],
        "memory": str(model.memory()),
        "files": model.card["files"],
        "notes": model.card["notes"],
        "unused": model.card["unused"],
    }
    if as_json:
        emit({**plain(found), "knobs": {knob: each.as_dict() for knob, each in model.knobs.items()}})
        return
    show(plain(found), as_json)
    for line in knob_lines(model.knobs):
        say(f"{'knobs':>16}  {line}")


def keys_of(recipe: Recipe, as_json: bool) -> None:
    """Every key of a recipe."""
    from zeuxis.catalog.schema import sections

    if as_json:
        emit({"recipe": recipe.name, "system": recipe.system, "keys": as_data(sections(recipe))})
    else:
        show_recipe(recipe)


def show(found: dict[str, Any], as_json: bool) -> None:
    """A flat table of facts."""
    if as_json:
        emit(found)
        return
    for key, value in found.items():
        say(f"{key:>16}  {_short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}")


def _short(text: str) -> str:
    """What a terminal can show of ``text``: a published tokeniser is a million characters."""
    more = len(text) - LONGEST
    return text if more <= 0 else f"{text[:LONGEST]} ... ({more:,} characters more: --json has them)"


def model(name: str, recipe: Recipe | None, as_json: bool) -> None:
    """A trained model's card, and the keys of the recipe of that name if there is one."""
    from zeuxis.catalog.schema import sections
    from zeuxis.catalog.weights import locate
    from zeuxis.training.exchange import read_card

    found = read_card(locate(name))
    knobs = built(found.get("system", ""), found.get("config", {}))
    if as_json:
        keys = {} if recipe is None else {"keys": as_data(sections(recipe))}
        emit({**found, "knobs": {knob: each.as_dict() for knob, each in knobs.items()}, **keys})
        return
    show(found, as_json)
    for line in knob_lines(knobs):
        say(f"{'knobs':>16}  {line}")
    if recipe is not None:
        say("")
        show_recipe(recipe)


def built(system: object, config: object) -> dict[str, Knob]:
    """The knobs of a model of ``system`` that was built with ``config``, whatever a card may say that they are."""
    from zeuxis.catalog.listing import entries
    from zeuxis.catalog.schema import knobs_of

    if not isinstance(system, str) or not isinstance(config, Mapping) or system not in entries():
        return {}
    return knobs_of(entries()[system], config)


def knob_lines(knobs: Mapping[str, Knob]) -> list[str]:
    """One line for every knob: name, range, default and meaning."""
    return [f"{name}: {knob.description}" for name, knob in knobs.items()]


def system(name: str, recipe: Recipe | None, as_json: bool) -> None:
    """A method's card, recipes and results, and every key of the recipe of that name, or of ``[model]`` if there is
    none; with ``--json`` also how large it is."""
    from zeuxis.api.evidence import recipe_standing
    from zeuxis.catalog.listing import entry
    from zeuxis.catalog.schema import model_sections, sections
    from zeuxis.presets import presets_of
    from zeuxis.recipe import load_recipe, recipe_paths

    row = next(r for r in systems() if r["id"] == name)
    card, doc = entry(name).card, entry(name).doc
    knobs = built(name, {})
    keys = model_sections(entry(name), {}) if recipe is None else sections(recipe)
    more = {
        "accepts": sorted(card.accepts),
        "knobs": {knob: each.as_dict() for knob, each in knobs.items()},
        "departures": list(card.departures),
        "presets": {preset.name: preset.about for preset in presets_of(name)},
        "link": link(card.paper),
        "module": entry(name).module,
        "doc": doc,
        "keys": as_data(keys),
    }
    if as_json:
        emit({**row, **more, "parameters": parameters(name)})
        return
    about = doc.partition("Args:")[0].strip().split("\n")
    say_lines(f"{card.title} ({card.year}), {card.family}: {link(card.paper)}", "", *about, "")
    say(f"     can  {', '.join(row['verbs'])}")
    if row["needs"]:
        say(f"   needs  {', '.join(row['needs'])}")
    if more["accepts"]:
        say(f" accepts  {', '.join(more['accepts'])}")
    for line in knob_lines(knobs):
        say(f"   knobs  {line}")
    say(f" recipes  {', '.join(row['recipes']) or 'none'}")
    for preset in presets_of(name):
        say(f"  preset  '{preset.name}': {preset.about}")
    say(f"  claims  {met(row['results'])} met" if row["results"] else "  claims  none measured yet")
    for result in row["results"]:
        verdict = VERDICTS[result["holds"]].lower()
        measured = load_recipe(result["recipe"]) if result["recipe"] in recipe_paths() else None
        standing = recipe_standing(result, measured)
        mark = "" if standing == "as now" else f" ({standing})"
        say(f"          {result['recipe']}: {result['metric']} {result['value']:.4g}, {verdict}{mark}")
    for departure in card.departures:
        say(f" differs  {departure}")
    say("")
    if recipe is None:
        say("the keys of [model], as a recipe has them")
        show_sections(keys)
    else:
        show_recipe(recipe)


def link(paper: str) -> str:
    """The address of an arXiv number; a citation stays as it is."""
    number = paper.replace(".", "", 1).replace("/", "", 1)
    return f"https://arxiv.org/abs/{paper}" if number.isdigit() else paper


def parameters(name: str) -> dict[str, dict[str, int] | None]:
    """Parameters of each network at the desk's size and at the published one; null where there is no such recipe, and
    where it depends on pictures that are not here."""
    sizes = {"desk": name, "published": f"{name}-paper"}
    return {size: _counted(recipe) for size, recipe in sizes.items()}


def _counted(recipe: str) -> dict[str, int] | None:
    from zeuxis.api.parameters import recipe_counts
    from zeuxis.errors import DataError
    from zeuxis.recipe import load_recipe, recipe_paths

    try:
        return recipe_counts(load_recipe(recipe)) if recipe in recipe_paths() else None
    except DataError:
        return None
