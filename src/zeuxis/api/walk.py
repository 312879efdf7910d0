"""A walk through latent space: pictures on the way from one to the next, as a sheet or moving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from zeuxis.api.directions import Directions
from zeuxis.api.latent_steps import Between
from zeuxis.api.latents import Latents, Way, must_take_sheet
from zeuxis.api.model import Model
from zeuxis.api.moving import write_moving, writer_of
from zeuxis.api.pictures import Pictures, to_pil
from zeuxis.api.reporting import Report
from zeuxis.editing.paths import stops
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling

FRAME = 80  # milliseconds that a frame of a moving walk stays


@dataclass(frozen=True)
class Walk:
    """The pictures of a walk, in order: the places ``shown`` of ``known``, ``columns`` of them from end to end."""

    known: Latents
    shown: tuple[int, ...]
    columns: int
    path: str

    @property
    def pictures(self) -> Pictures:
        """All of them, each with its record."""
        return self.known.pictures(self.shown)

    def save(self, path: Path, milliseconds: int = FRAME) -> list[Path]:
        """Write a sheet (.png), or a moving picture (.webp, .gif, .mp4) and beside it the sheet, which can be replayed.

        Returns what was written.
        """
        sheet = _sheet_of(path)
        self.known.save_sheet(sheet, self.shown, self.columns)
        if sheet == path:
            return [sheet]
        frames = [self._frame(k) for k in self.shown]
        record = self.known.record(self.shown, columns=self.columns, scale=self.known.scale)
        write_moving(frames, [milliseconds] * len(frames), path, record)
        return [path, sheet]

    def _frame(self, place: int) -> Image.Image:
        image, scale = to_pil(self.known.image(place)), self.known.scale
        return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).convert("RGB")


def walk(
    model: Model,
    *,
    seeds: Sequence[int] = (),
    pictures: Sequence[str | Path] = (),
    latents: Path | Sequence[Path] = (),
    path: Way = "auto",
    steps: int = 8,
    loop: bool = False,
    how: Sampling = Sampling(),
    out: Path | None = None,
    report: Report = lambda message, fraction: None,
    **asked: Any,
) -> Walk:
    """Walk over the latents of ``seeds``, of one's own ``pictures`` and of the files ``latents``, in this order.

    Args:
        path: "linear", "spherical", or "auto": spherical between normal latents, straight between style codes.
        steps: pictures from each end to before the next.
        loop: go on from the last to the first; the walk then has no end, and no picture twice.
        out: where it will be written, so that what cannot be is refused before the first picture.
        asked: what steers the pictures of the seeds, as in ``Model.sample``.

    Raises UsageError for fewer than two ends, or a latent of another width; Unsupported for a model that decodes none.
    """
    if out is not None:
        _must_be_writable(out, pictures)
    if not seeds and (how or any(value is not None for value in asked.values())):
        raise UsageError("knobs and conditions are for pictures that are drawn, and there are no seeds: give --seeds")
    known = Latents(model)
    if (least := len(seeds) + len(pictures)) > 1:  # those in files come on top
        known.must_fit(len(stops(least, steps, loop)))
    ends = known.draw(seeds, how, **asked) if seeds else []
    ends += known.encode(pictures) if pictures else []
    for file in [latents] if isinstance(latents, Path) else latents:
        ends += Directions.latents_of(file, known)
    places = stops(len(ends), steps, loop)
    known.must_fit(len(places))
    way = known.path if path == "auto" else path
    found = []
    for k, stop in enumerate(places):
        report(f"picture {k + 1} of {len(places)}", k / len(places))
        a, b = ends[stop.first], ends[stop.second]
        place = a if stop.t == 0 else b if stop.t == 1 else known.add(Between(a, b, way, stop.t))
        known.image(place)
        found.append(place)
    return Walk(known, tuple(found), steps if loop else min(len(found), steps + 1 if len(ends) == 2 else steps), way)


def _sheet_of(out: Path) -> Path:
    """Where the sheet of a walk goes that is written to ``out``."""
    return out if out.suffix.lower() == ".png" else out.with_suffix(".png")


def _must_be_writable(out: Path, pictures: Sequence[str | Path]) -> None:
    """Refuse, before a picture is made, a kind that cannot be written, or to write over what the walk leads over."""
    sheet = _sheet_of(out)
    must_take_sheet(sheet)
    if sheet != out:
        writer_of(out)
    for picture in pictures:
        if sheet.resolve() == Path(picture).resolve() or out.resolve() == Path(picture).resolve():
            raise UsageError(f"--out {out}: it would be written over your picture {picture}: give another name")


def numbers(text: str, what: str) -> list[int]:
    """``1,4,9`` or ``3-6`` as numbers; UsageError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) - int(first) > 10_000):
            raise UsageError(f"{what} {text}: write numbers with commas between them, as 1,4,9, or from 3-6")
        found += range(int(first), int(last or first) + 1)
    return found
