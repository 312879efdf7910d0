"""Breeding pictures, generation by generation: a folder of numbered pictures each, whose records are their lineage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from zeuxis.api.latent_steps import Between, Crossed, Drawn, lineage
from zeuxis.api.latents import Latents, read_steps
from zeuxis.api.model import Model, load
from zeuxis.api.replay import with_recorded_prior
from zeuxis.api.reporting import Report
from zeuxis.editing.breeding import choose_parents
from zeuxis.errors import DataError, UsageError
from zeuxis.escaping import word
from zeuxis.fetching import named_by
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import read_record
from zeuxis.rng import derive_seed

FOLDER = re.compile(r"generation-(\d+)")
FIRST_SEED = 2**31  # of latents that mutations go towards: none that a user draws from


@dataclass(frozen=True)
class Generation:
    """One generation: its number, its folder, its pictures and the sheet that numbers them."""

    number: int
    folder: Path
    files: tuple[Path, ...]
    sheet: Path
    parents: tuple[tuple[int, int], ...] = ()  # of each picture, by their numbers in the generation before


def newest(garden: Path) -> int | None:
    """The number of the newest generation in a folder; None where there is none."""
    found = [int(m[1]) for path in garden.glob("generation-*") if (m := FOLDER.fullmatch(path.name))]
    return max(found, default=None)


def begin(
    model: Model,
    garden: Path,
    *,
    n: int = 16,
    seed: int = 0,
    how: Sampling = Sampling(),
    report: Report = lambda message, fraction: None,
    **asked: Any,
) -> Generation:
    """The first generation, drawn from seeds."""
    if newest(garden) is not None:
        raise UsageError(
            f"{garden} holds generations already: breed on from them (zeuxis breed {word(garden)} --pick 1,2), or give "
            "another --out"
        )
    known = Latents(model)
    known.must_fit(n)
    return _write(known, known.draw(range(seed, seed + n), how, **asked), garden, 0, (), report)


def breed(
    garden: Path,
    pick: Sequence[int],
    *,
    n: int | None = None,
    mutation: float = 0.3,
    seed: int = 0,
    model: str | Model | None = None,
    device: str = "cpu",
    out: Path | None = None,
    report: Report = lambda message, fraction: None,
) -> Generation:
    """The next generation in the folder ``garden``, or in another, ``out``: the favourites ``pick`` of the newest one
    stay, as its first, and ``n`` children in all (by default as many as before) are crossed from them and go
    ``mutation`` of the way towards a latent drawn afresh.

    ``model`` is the one that drew them, or its name, where it is not that of their records.

    Raises UsageError for a folder without generations, a number that is none of theirs, a share outside [0, 1], or an
    ``out`` that holds generations already.
    """
    number = newest(garden)
    if number is None:
        raise UsageError(f"{garden} holds no generation: begin with zeuxis breed MODEL --out {word(garden)}")
    if out is not None and newest(out) is not None:
        raise UsageError(f"--out {out} holds generations already: give another folder")
    if not 0 <= mutation <= 1:
        raise UsageError(f"--mutation {mutation}: a share from 0 (none) to 1 (a stranger)")
    folder = garden / f"generation-{number:02d}"
    files = {int(path.stem): path for path in sorted(folder.glob("*.png")) if path.stem.isdecimal()}
    if not files:
        raise UsageError(f"{folder} holds no numbered pictures: remove it, and breed on from the generation before")
    for k in pick:
        if k not in files:
            raise UsageError(f"--pick {k}: {folder} has the pictures {', '.join(map(str, sorted(files)))}")
    if len(set(pick)) < len(pick):
        raise UsageError("a picture is picked twice: pick each once")
    records = [read_record(files[k]) for k in pick]
    if not records:
        raise UsageError("nobody was picked: give the numbers of your favourites, as --pick 2,5")
    loaded = _drawer(records[0], model, device)
    for record, k in zip(records, pick, strict=True):
        if record["weights_sha256"] != loaded.weights_sha256:
            raise DataError(
                f"{files[k]} was drawn by other weights than those of '{loaded.name}': give the model that drew it "
                "with --with"
            )
    known = Latents(loaded)
    count = len(files) if n is None else n
    known.must_fit(count)
    if count <= len(pick):
        raise UsageError(
            f"{len(pick)} favourites stay, which leaves no place for a child among {count}: pick fewer, or give -n "
            f"{2 * len(pick)}"
        )
    favourites = []
    for record in records:
        other, shown = read_steps(loaded, record)
        favourites.append(_adopted(known, other, shown))
    places, parents = list(favourites), [(k, k) for k in pick]
    for k, pair in enumerate(
        choose_parents(len(pick), count - len(places), derive_seed(seed, "generation", number + 1))
    ):
        child = known.add(Crossed(favourites[pair.first], favourites[pair.second], pair.seed))
        if mutation:
            child = known.add(Between(child, _stranger(known, child, pair.seed), known.path, mutation))
        places.append(child)
        parents.append((pick[pair.first], pick[pair.second]))
        report(f"child {k + 1}", k / count)
    return _write(known, places, out or garden, number + 1, tuple(parents), report)


def _drawer(made: Mapping[str, Any], model: str | Model | None, device: str) -> Model:
    """The model that is given or named, or the one that a record names, with the record's prior over its codes."""
    asked = load(model, device) if isinstance(model, str) else model
    with named_by("the record", "name the model yourself, with --with"):  # nothing is fetched that only a file asks for
        return with_recorded_prior(asked or load(made["model"], device), made)


def _stranger(known: Latents, child: int, seed: int) -> int:
    """The place of a latent drawn afresh as an ancestor of ``child`` was, of those that were told what it is."""
    told = known.space.told
    ancestors = [k for k in lineage(known.steps, child) if isinstance(known.steps[k], Drawn)]
    if not ancestors:
        raise DataError("these pictures were not drawn by zeuxis breed: begin with zeuxis breed MODEL")

    def as_told(k: int) -> bool:
        return not told or torch.equal(known.latent(k)[-told:], known.latent(child)[-told:])

    like = known.steps[next((k for k in ancestors if as_told(k)), ancestors[0])]
    assert isinstance(like, Drawn)
    return known.add(replace(like, seed=FIRST_SEED + seed))


def _adopted(known: Latents, other: Latents, shown: Sequence[int | None]) -> int:
    """The place in ``known`` of the one latent that a record shows, whose steps are taken over."""
    if len(shown) != 1 or shown[0] is None:
        raise DataError("this is the record of a sheet: pick pictures by their numbers")
    places: list[int] = []
    for step in other.steps:
        places.append(known.add(step.at(places)))
    return places[shown[0]]


def _write(
    known: Latents,
    places: Sequence[int],
    garden: Path,
    number: int,
    parents: tuple[tuple[int, int], ...],
    report: Report,
) -> Generation:
    folder = garden / f"generation-{number:02d}"
    for k, place in enumerate(places):
        report(f"picture {k + 1} of {len(places)}", k / len(places))
        known.image(place)
    files = known.pictures(places).save(folder / "0000.png" if len(places) == 1 else folder)
    columns = max(1, round(len(places) ** 0.5))
    sheet = known.save_sheet(folder / "sheet.png", places, columns, numbered=True)
    return Generation(number, folder, tuple(files), sheet, parents)
