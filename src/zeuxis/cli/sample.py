"""``zeuxis sample``: make pictures, or make one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import (
    CONDITION_OPTIONS,
    KNOBS,
    DeviceName,
    Json,
    Knobs,
    Out,
    PictureSize,
    PrecisionName,
    PriorData,
    PriorName,
    Seed,
    loaded,
    only,
    sampling,
    steering,
)
from zeuxis.cli.output import emit, note, say, say_lines
from zeuxis.errors import UsageError
from zeuxis.signature import taking
from zeuxis.spec import parse_size

if TYPE_CHECKING:
    from zeuxis.api.model import Model
    from zeuxis.knobs import Sampling

SHOWN = 5  # names of tensors
OF_PICTURES = (  # parameters that mean something to pictures that are moved
    "model", "direction", "picture", "device", "precision", "prior", "prior_data", "out", "sheet", "as_json",
)  # fmt: skip
SHEET_TILE = 96  # pixels a side that a small picture is enlarged to on a sheet


@taking(CONDITION_OPTIONS | KNOBS)
def sample(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            help="A shipped or pulled model, a generator, a run folder, a published folder or file.",
            autocompletion=completing.models,
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 16,
    seed: Seed = 0,
    knob: Knobs = None,
    prior: PriorName = None,
    prior_data: PriorData = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            help="Pictures at a time; changes them within rounding alone.",
            show_default="what is fast",
        ),
    ] = None,
    device: DeviceName = "cpu",
    precision: PrecisionName = "float32",
    size: PictureSize = None,
    vae: Annotated[
        str | None,
        typer.Option("--vae", metavar="FILE", help="The autoencoder of a published model, a file or a folder."),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="FILE[*SCALE]", help="Merged into a published model; repeat for several."),
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            "--embedding",
            metavar="FILE[=TOKEN]",
            help="Of textual inversion: a token that --caption or --negative may say; repeat for several.",
        ),
    ] = None,
    control_net: Annotated[
        str | None,
        typer.Option("--with", metavar="CONTROLNET", help="A file or a folder of one, which follows --control."),
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option(
            "--direction",
            metavar="FILE[:NAME][*STRENGTH]",
            help="Move the latents along one of zeuxis directions, by so many deviations; repeat for several.",
        ),
    ] = None,
    picture: Annotated[
        list[str] | None,
        typer.Option("--picture", metavar="FILE", help="Your own, which --direction moves, not those drawn; repeat."),
    ] = None,
    latents: Annotated[
        list[Path] | None,
        typer.Option(
            "--latents",
            metavar="FILE",
            help="Those of zeuxis project, or .npy, .npz, .pt: shown in place of drawn ones, or moved; repeat.",
        ),
    ] = None,
    out: Out = None,
    sheet: Annotated[bool, typer.Option("--sheet/--no-sheet", help="Also all of them on one page.")] = True,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="PICTURE.png", help="Draw this picture again."),
    ] = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Make pictures, or captions where a model writes. The same seed gives the same in any number, within rounding."""
    if replay is not None:
        kept = ("replay", "model", "device", "out", "as_json", *CONDITION_OPTIONS)
        only(context, kept, "--replay draws the one picture as its record says")
        draw_again(replay, device, out, as_json, steering(asked), model)
        return
    if picture or latents:
        if picture and not direction:
            raise UsageError("--picture is moved along a --direction: give one, as zeuxis directions writes them")
        kept = (
            "model",
            "direction",
            "picture",
            "latents",
            "device",
            "precision",
            "prior",
            "prior_data",
            "out",
            "sheet",
            "as_json",
        )
        only(context, kept, "pictures of your own are moved, and none is drawn")
    if model is None:
        raise UsageError("say which model: zeuxis sample scenes, or a run folder (or --replay PICTURE.png)")
    from zeuxis.api.pictures import sheet_beside, targets
    from zeuxis.provenance.record import read_record, require_replaceable

    target = out or own_folder(model, seed)
    for place in targets(
        target, min(n, 2), add=True
    ):  # refuses what no picture can be written to, before a model is read
        require_replaceable(place)
    found = loaded(_spelt(model, vae, lora, embedding, control_net), device, prior, prior_data, precision)
    conditions = steering(asked)
    how = sampling(found, {name: asked[name] for name in KNOBS}, knob)
    if "write" in found.verbs:
        for option, value in {**{f"--{name}": value for name, value in conditions.items()}, "--out": out}.items():
            if value is not None:
                raise UsageError(f"{option}: '{model}' writes captions, which are printed; leave {option} out")
        captions = found.write(n, seed, knobs=how)
        if as_json:
            emit({"captions": captions})
        else:
            say_lines(*captions)
        return
    drawn = found.at(parse_size(size))
    for line in said_before(drawn, n, how, batch, conditions):
        note(line)
    if direction or latents:
        from zeuxis.api.directions import moved

        if batch is not None:
            raise UsageError(
                f"--batch {batch}: pictures of --latents or along a --direction are decoded one by one; leave it out"
            )
        made = moved(
            drawn, n, seed, direction or (), how, pictures=picture or (), latents=latents or (), **conditions
        )  # fmt: skip
    else:
        made = drawn.sample(n, seed, knobs=how, batch=batch, **conditions)
    files = made.save(target, add=True)
    page = None
    if sheet and len(made) > 1:
        page = made.save_sheet(sheet_beside(files, target), scale=max(1, SHEET_TILE // made.tensor.shape[-1]))
    if as_json:
        emit({"files": files, "sheet": page, "records": [read_record(file) for file in files]})
    else:
        say(f"{files[0]}" if len(files) == 1 else f"{len(files)} pictures -> {files[0]} to {files[-1].name}")
        if page:
            say(f"all on one page -> {page}")


def own_folder(model: str, seed: int) -> Path:
    """A folder of its own for the pictures of one command, ``samples/NAME-SEED`` or the next that is free."""
    place = Path("samples") / f"{Path(model).resolve().name if Path(model).exists() else model}-{seed}"
    others = (place.with_name(f"{place.name}-{k}") for k in count(2))
    return next(path for path in chain([place], others) if not path.exists() or not any(path.iterdir()))


def _spelt(
    model: str, vae: str | None, loras: list[str] | None, embeddings: list[str] | None, control: str | None
) -> str:
    """The name of a published model with what is merged into it, what it is taught and what steers it."""
    if not loras and not embeddings and control is None and vae is None:
        return model
    from zeuxis.catalog.published import published_path, spelt

    if published_path(model) is None:
        raise UsageError(
            f"--vae, --lora, --embedding and --with are for a published Stable Diffusion, and '{model}' is none: omit "
            "them"
        )
    return spelt(model, loras or (), control, embeddings or (), vae)


def said_before(model: Model, n: int, how: Sampling, batch: int | None, asked: Mapping[str, Any]) -> list[str]:
    """What a user should know before a model draws: how a large one was read and the memory it will take; and what of
    the texts ``asked`` it passes over."""
    lines = [f"note: {line}" for line in (*model.card.get("notes", ()), *model.unread(how, **asked))]
    if "guidance" in model.knobs and not model.system.conditions and how.get("guidance", 1) != 1:
        lines.append(f"note: guidance {how['guidance']} changes nothing: '{model.name}' obeys no condition")
    added = [one.get("unused", ()) for one in model.card.get("added", ())]
    for unused in (model.card.get("unused", ()), *added):
        if unused:
            more = f" and {len(unused) - SHOWN} more" if len(unused) > SHOWN else ""
            lines.append(f"note: tensors of the file that have no place here: {', '.join(unused[:SHOWN])}{more}")
    held = model.memory(n, how, batch)
    if held is None:
        return lines
    tiled = model.fitted(how, n, batch)
    if "tile" in tiled and "tile" not in how:
        held = model.memory(n, tiled, batch)
        lines.append(f"note: the picture is decoded in tiles of {tiled['tile']} latents a side: whole it would not fit")
    return [*lines, f"memory: {held}"]


def draw_again(
    picture: Path, device: str, out: Path | None, as_json: bool, given: Mapping[str, Any], model: str | None
) -> None:
    """Draw ``picture`` again from its record and the pictures ``given`` that it was made from; say whether it is the
    same. ``model`` is where its model lies by now, where that is not where the record has it."""
    from PIL import Image

    from zeuxis.api.replay import likeness, replay
    from zeuxis.provenance.record import read_record, require_replaceable

    target = out or picture.with_name(f"{picture.stem}-replayed.png")
    recorded = read_record(picture)
    recorded = recorded if model is None else {**recorded, "model": model}
    require_replaceable(target)
    made, differs = replay(recorded, device, **given)
    files = made.save(target, watermark=False)  # it has its mark, if it had one
    if "sheet_of" in recorded:
        _of_a_page(picture, files, differs, as_json)
        return
    with Image.open(picture) as before:
        found = likeness(made[0], before)
    if as_json:
        apart = {"levels": found.levels, "differing": found.differing, "values": found.values}
        emit({"files": files, "identical": found.identical, "same": found.same, **apart, "differs": differs})
        return
    for difference in differs:
        note(f"note: {difference}")
    say(f"{files[0]}: {found}")


def _of_a_page(picture: Path, files: Sequence[Path], differs: Sequence[str], as_json: bool) -> None:
    """Say what was drawn again of a page of several pictures, whose record is that of the first: it equals no page."""
    if as_json:
        emit({"files": files, "identical": None, "same": None, "differs": differs})
        return
    for difference in differs:
        note(f"note: {difference}")
    say(f"{files[0]}: the first that {picture} shows, which is a page: give a picture by itself to have it compared")
