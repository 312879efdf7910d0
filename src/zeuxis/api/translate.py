"""Pictures translated by a model of sources: one, or a whole folder, which goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from zeuxis.api.given import parts_in
from zeuxis.api.marks import other_marks
from zeuxis.api.model import Model
from zeuxis.api.not_seen import not_seen
from zeuxis.api.pictures import sheet, to_pil
from zeuxis.api.restore_paths import TRANSLATED, Errand, errands_of, paths_of
from zeuxis.api.still import picture_of, size_of
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.files import file_hash
from zeuxis.knobs import Sampling, Value
from zeuxis.provenance.asked import asked
from zeuxis.provenance.record import read_record, save_png
from zeuxis.provenance.watermark import fits
from zeuxis.spec import MOST_SIDE, Size
from zeuxis.systems.restoration._family import AnySizeRestorer

OPAQUE = "the result has no transparency"
OWN = "own"  # in a size's place: the picture's own
SHOWN = 24  # pairs on a sheet
TILE = 128  # pixels a side that small pictures of a sheet are enlarged to
Report = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Translation:
    """What came of the pictures that were given."""

    done: tuple[Path, ...]  # written now
    before: tuple[Path, ...]  # written earlier, of the same picture by the same model
    problems: tuple[str, ...]  # one line for each file that could not be used
    notes: tuple[str, ...]  # what of a picture is not translated, one line each
    sheet: Path | None  # sources beside what they became
    failed: int  # pictures of which nothing was made; what is no picture in a folder does not count


def translate(
    model: Model,
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    seed: int = 0,
    size: Size | str | None = None,
    knobs: Mapping[str, Value] | None = None,
    invert: bool = False,
    overwrite: bool = False,
    page: bool = True,
    report: Report = lambda message, fraction: None,
) -> Translation:
    """Translate pictures and folders of pictures; results are PNGs that carry the record of how they were made.

    Args:
        paths: pictures, or folders, which are walked. Of a model whose source has channels of several pictures each is
            one source: a folder of its parts, or their names with commas between.
        out: the file (of one picture) or the folder of the results; by default ``NAME-translated`` beside each.
        size: pixels of the shorter side, or height and width, or "own" for the picture's; by default the model's side.
            The whole of a picture is translated where the model's networks are convolutions all through, up to the
            pixels by which the sides must be divisible; otherwise the middle of it, which a note says.
        invert: whether light and dark change places first: a model of edges learnt of white lines on black.
        page: whether a sheet shows the pictures beside what they became.

    A picture among several that cannot be used costs one line in ``problems``. What is done already is passed over.

    Raises:
        UsageError: what is asked for cannot be done; Unsupported: the model translates no pictures.
        DataError: none of all the pictures could be translated.
    """
    _check(model)
    target = None if out is None else Path(out)
    given = _errands(model, [str(path) for path in paths], target)
    how = Sampling(**(knobs or {}))
    model.check(how)
    problems, notes, light = list(given.problems), list[str](), list[Path]()
    done, before, shown = list[Errand](), list[Errand](), list[Image.Image]()
    sheet_at = _sheet_at(given) if page else None
    first: dict[str, Any] = {}
    for k, one in enumerate(given.each):
        report(one.name, k / len(given.each))
        try:
            drawn = model if given.several else _sized(model, one.source, size)
            source = _source(drawn, one, given.several, invert)
            record = _planned(drawn, one, source, given.several, seed, how)
            first = first or record
            there = _there(one, record, drawn, overwrite)
            if not there:
                made = drawn.sample(1, seed, knobs=how, source=source)
                replace(made, records=(record,)).save(one.target)
                if not given.several:
                    notes += [*_left_out(drawn, one.source), *not_seen(one.source, "translated", OPAQUE)]
                    light += [one.source] if _on_paper(drawn, one.source, invert) else []
            (before if there else done).append(one)
            if page and len(shown) < 2 * SHOWN:
                seen = _seen(drawn, one, given.several)
                shown += [ImageOps.invert(seen) if invert else seen, _shown(drawn, one.target)]
        except (DataError, UsageError) as error:
            problems.append(str(error))
    if isinstance(model.system, AnySizeRestorer) and done:
        notes.append(
            f"'{model.name}' restores pictures of any size, and was shown them at that of its training: zeuxis restore "
            f"PICTURE --model {word(model.name)} makes the whole of one"
        )
    if light:
        which = f"{light[0]} is" if len(light) == 1 else f"{light[0]} and {len(light) - 1} more are"
        notes.append(
            f"{which} light for the most part, and '{model.name}' learnt of white lines on black: try --invert"
        )
    if not done and not before:
        raise DataError(problems[0] if len(problems) == 1 else f"nothing was translated: {problems[-1]} (and "
                        f"{len(problems) - 1} more)")  # fmt: skip
    written = sheet_at if shown and done else None
    if written is not None:
        scale = max(1, TILE // max(image.width for image in shown))
        whole = sheet(shown, 2 if len(shown) < 12 else 6, scale)
        save_png(whole, written, {**first, "sheet_of": len(shown) // 2})
    return Translation(
        done=tuple(one.target for one in done),
        before=tuple(one.target for one in before),
        problems=tuple(problems),
        notes=tuple(dict.fromkeys(notes)),
        sheet=written,
        failed=len(given.each) - len(done) - len(before),
    )


@dataclass(frozen=True)
class _Given:
    each: tuple[Errand, ...]
    problems: tuple[str, ...]
    page: Path
    several: bool  # whether each source is several pictures


def _check(model: Model) -> None:
    required = model.system.conditions - model.system.optional
    if "sample" not in model.verbs or "source" not in model.system.conditions:
        wants = ", ".join(sorted(required)) or "nothing"
        mend = " (zeuxis paint is for layouts)" if "layout" in required else ""
        raise Unsupported(f"'{model.name}' translates no pictures: it is conditioned on {wants}{mend}")
    if others := sorted(required - {"source"}):
        verb = "paint" if "layout" in others else "sample"
        raise Unsupported(f"'{model.name}' needs {' and '.join(others)} beside a picture: use zeuxis {verb}")


def _errands(model: Model, paths: Sequence[str], out: Path | None) -> _Given:
    channels = (model.spec.source_shape or model.spec.shape).channels
    if channels in (1, 3):
        found = errands_of(paths_of(paths), out, "translated")
        found.sweep()
        return _Given(found.each, found.passed_over, _page(found.each, found.page), several=False)
    each = []
    for path in paths:
        first = Path(path.partition(",")[0])
        name = first.name or first.parent.name
        target = first.with_name(f"{first.stem}-translated.png")
        if out is not None:
            target = out if out.suffix == ".png" and len(paths) == 1 else out / f"{first.stem}.png"
        each.append(Errand(Path(path), target, name))
    return _Given(tuple(each), (), _page(each, each[0].target), several=True)


def _page(each: Sequence[Errand], beside: Path) -> Path:
    """Where the sheet goes: that of one result has its name, or the next one's would replace it."""
    if len(each) == 1:
        return each[0].target.with_name(f"{each[0].target.stem}-before-after.png")
    return beside.with_name("before-after.png")


def _sized(model: Model, source: Path, size: Size | str | None) -> Model:
    """The model at the size at which a picture is translated."""
    stride, own = model.system.stride, model.system.shape
    if stride is None:
        return model if size is None else model.at(None if size == OWN else _whole(size))  # says that it has one size
    if isinstance(size, tuple):
        return model.at(size)
    width, height = size_of(source, str(source))
    side = min(own.height, own.width) if size is None else _whole(size) if size != OWN else min(width, height)
    assert isinstance(side, int)
    scale = side / min(width, height)
    found = tuple(max(1, round(scale * length / stride)) * stride for length in (height, width))
    if max(found) > MOST_SIDE:
        raise UsageError(
            f"{source}, {width}x{height}, would become {found[1]}x{found[0]}, and pictures have at most {MOST_SIDE} "
            "pixels a side: give a smaller --size, or crop it"
        )
    return model if found == tuple(own[1:]) else model.at((found[0], found[1]))


def _whole(size: Size | str | None) -> Size:
    if isinstance(size, str) or size is None or (isinstance(size, int) and size < 1):
        raise UsageError(f"size {size}: give pixels of the shorter side, a height and a width, or '{OWN}'")
    return size


def _source(model: Model, one: Errand, several: bool, invert: bool) -> Any:
    """What the model is given: the file, or its picture with light and dark changed."""
    source: Any = str(one.source) if several else one.source
    return -model.condition(1, source=source).required("source") if invert else source


def _planned(model: Model, one: Errand, source: Any, several: bool, seed: int, how: Sampling) -> dict[str, Any]:
    """The record of the result, before it is drawn."""
    condition, fitted = model.condition(1, source=source), model.fitted(how, 1, None)
    named = {TRANSLATED: one.name} if several else {TRANSLATED: one.name, "source_sha256": file_hash(one.source)}
    return {**model.records((seed,), condition, fitted)[0], **named}


def _sheet_at(given: _Given) -> Path:
    """Where the sheet goes: no result's place, nor that of a file which is no such sheet.

    Raises :class:`UsageError` where one is there.
    """
    place, taken = given.page, {one.target for one in given.each}
    while place in taken:  # a picture may be called as the sheet would be
        place = place.with_name(f"{place.stem}-sheet.png")
    if place.exists():
        try:
            ours = {TRANSLATED, "sheet_of"} <= read_record(place).keys()
        except (UsageError, DataError):
            ours = False
        if not ours:
            raise UsageError(
                f"{place} is there, and is not the sheet of an earlier call: give another --out, or --no-sheet"
            )
    return place


def _there(one: Errand, record: Mapping[str, Any], model: Model, overwrite: bool) -> bool:
    """Whether the result is there already, with the marks that are asked for.

    Raises :class:`UsageError` where another file is and may not be replaced, or none can be.
    """
    if not one.is_there():
        return False
    try:
        found = read_record(one.target)
    except (UsageError, DataError):
        found = {}
    same = ("system", "weights_sha256", "sampling", "seed", "condition", "size")
    what: str | None = "not this picture translated so"
    if found and all(found.get(key) == record.get(key) for key in same):
        wanted = asked().watermark  # None: where it fits
        what = other_marks(one.target, found, fits(*model.system.shape[1:]) if wanted is None else wanted)
    if what is None:
        return True
    if overwrite and one.target.is_file():
        return False
    raise UsageError(f"{one.target} is there, and is {what}: give another --out, or --overwrite")


def _left_out(model: Model, source: Path) -> list[str]:
    """A note, where more than a tenth of a picture was cut off to have the model's proportions."""
    width, height = size_of(source, str(source))
    _, high, wide = model.system.shape
    kept = min(width / height, wide / high) / max(width / height, wide / high)
    if kept > 0.9:
        return []
    return [f"{source}: its middle was translated, {kept:.0%} of it: '{model.name}' makes pictures of {wide}x{high}"]


def _on_paper(model: Model, source: Path, invert: bool) -> bool:
    """Whether a drawing is dark on light and the model learnt of the other."""
    learnt = str(model.card.get("data") or "").rpartition("|")[2].strip()
    if invert or (learnt.partition(":")[0] != "edges" and learnt not in ("outlines", "masks")):  # masks:image->mask
        return False
    return float((picture_of(source, 1, (64, 64), str(source)) > 0).float().mean()) >= 0.5


def _seen(model: Model, one: Errand, several: bool) -> Image.Image:
    """The source as the model saw it, at the size of what is made."""
    channels = (model.spec.source_shape or model.spec.shape).channels
    first = Path(str(one.source).partition(",")[0]) if several else one.source
    if several and first.is_dir():
        first = parts_in(first)[0]
    return _shown(model, first, channels if channels in (1, 3) else 3)


def _shown(model: Model, file: Path, channels: int = 3) -> Image.Image:
    """A picture at the size of what the model makes."""
    _, height, width = model.system.shape
    return to_pil(picture_of(file, channels, (width, height), str(file)))
