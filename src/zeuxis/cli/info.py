"""``zeuxis info``: what is known of a method, a trained model or a picture."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import zeuxis
from zeuxis.cli.listing import met, systems
from zeuxis.cli.options import Json
from zeuxis.cli.output import emit, plain, say
from zeuxis.knobs import Knob

if TYPE_CHECKING:
    from zeuxis.catalog.listing import Entry

ROOT = Path(zeuxis.__file__).parent


def info(
    name: Annotated[str, typer.Argument(help="A system, a shipped model, a run folder, a picture.png or its codes.")],
    as_json: Json = False,
) -> None:
    """Tell of a method (paper, departures, recipes, results), a trained model, or how a picture was made or coded."""
    if Path(name).suffix.lower() == ".png":
        from zeuxis.provenance.record import read_record

        found = read_record(Path(name))
        show(found, as_json)
        return
    if Path(name).suffix == ".safetensors":
        from zeuxis.api.code_file import described, read_codes

        show(plain(described(read_codes(Path(name)))), as_json)
        return
    from zeuxis.catalog.listing import entries
    from zeuxis.catalog.weights import shipped
    from zeuxis.errors import UnknownName

    if name in entries():
        system(name, as_json)
    elif name in shipped() or Path(name).exists():
        model(name, as_json)
    else:
        raise UnknownName("name", name, {*entries(), *shipped()}, "(or give a run folder or a picture.png)")


def show(found: dict[str, Any], as_json: bool) -> None:
    """A flat table of facts."""
    if as_json:
        emit(found)
        return
    for key, value in found.items():
        say(f"{key:>16}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def model(name: str, as_json: bool) -> None:
    """A trained model's card."""
    from zeuxis.catalog.weights import locate
    from zeuxis.errors import WeightsError

    card = locate(name) / "model.json"
    try:
        found = json.loads(card.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{card} is not JSON: {error}; train the model again") from None
    knobs = built(found.get("system", ""), found.get("config", {}))
    if as_json:
        emit({**found, "knobs": {knob: each.as_dict() for knob, each in knobs.items()}})
        return
    show(found, as_json)
    for line in knob_lines(knobs):
        say(f"{'knobs':>16}  {line}")


def built(system: str, config: Mapping[str, Any]) -> dict[str, Knob]:
    """The knobs of a model of ``system`` that was built with ``config``."""
    from zeuxis.catalog.listing import entries

    known = entries().get(system)
    return {} if known is None else known.card.knobs_as_built({**defaults(known), **config})


def defaults(known: Entry) -> dict[str, Any]:
    """The constructor's keywords of a system with the defaults that are literals; read as text, so without torch."""
    inside = ROOT.joinpath(*known.module.split(".")[1:]).with_suffix(".py")
    path = Path(known.module) if known.module.endswith(".py") else inside
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == known.class_name)
    built = (item for node in classes for item in node.body if isinstance(item, ast.FunctionDef))
    found: dict[str, Any] = {}
    for args in (function.args for function in built if function.name == "__init__"):
        for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            if isinstance(value, ast.Constant):
                found[arg.arg] = value.value
    return found


def knob_lines(knobs: Mapping[str, Knob]) -> list[str]:
    """One line for every knob: name, range, default and meaning."""
    return [f"{name}: {knob.description}" for name, knob in knobs.items()]


def system(name: str, as_json: bool) -> None:
    """A method's card, recipes and results; with ``--json`` also how large it is."""
    from zeuxis.catalog.listing import entry

    row = next(r for r in systems() if r["id"] == name)
    card, doc = entry(name).card, entry(name).doc
    knobs = built(name, {})
    more = {
        "accepts": sorted(card.accepts),
        "knobs": {knob: each.as_dict() for knob, each in knobs.items()},
        "departures": list(card.departures),
        "link": link(card.paper),
        "module": entry(name).module,
        "doc": doc,
    }
    if as_json:
        emit({**row, **more, "parameters": parameters(name)})
        return
    say(f"{card.title} ({card.year}), {card.family}: {link(card.paper)}\n\n{doc}\n")
    say(f"     can  {', '.join(row['verbs'])}")
    if row["needs"]:
        say(f"   needs  {', '.join(row['needs'])}")
    if more["accepts"]:
        say(f" accepts  {', '.join(more['accepts'])}")
    for line in knob_lines(knobs):
        say(f"   knobs  {line}")
    say(f" recipes  {', '.join(row['recipes']) or 'none'}")
    say(f"  claims  {met(row['results'])} met")
    for result in row["results"]:
        verdict = "holds" if result["holds"] else "does not hold"
        say(f"          {result['recipe']}: {result['metric']} {result['value']:.4g}, the claim {verdict}")
    for departure in card.departures:
        say(f" differs  {departure}")


def link(paper: str) -> str:
    """The address of an arXiv number; a citation stays as it is."""
    number = paper.replace(".", "", 1).replace("/", "", 1)
    return f"https://arxiv.org/abs/{paper}" if number.isdigit() else paper


def parameters(name: str) -> dict[str, dict[str, int] | None]:
    """Parameters of each network at the desk's size and at the published one; null where there is no such recipe."""
    from zeuxis.api.parameters import recipe_counts
    from zeuxis.recipe import load_recipe, recipe_paths

    sizes = {"desk": name, "published": f"{name}-paper"}
    return {
        size: recipe_counts(load_recipe(recipe)) if recipe in recipe_paths() else None for size, recipe in sizes.items()
    }
