"""Better pictures of pictures: one, or a whole folder, which goes on where it stopped."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zeuxis.api.restore_faces import FaceMoved
from zeuxis.api.restore_job import RestoringJob
from zeuxis.api.restore_models import restorer_for
from zeuxis.api.restore_page import MOST_PAIRS, write_page, write_preview
from zeuxis.api.restore_paths import Errand, Errands, errands_of, paths_of
from zeuxis.api.restore_picture import header_of
from zeuxis.data.picture import PictureRefused
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.nn.footprint import GIB
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.streamed_tiles import Tiling, tiling_for
from zeuxis.pretrained.face_finder import FacePlace, finder_lacks, parse_place
from zeuxis.pretrained.restorer import Restorer
from zeuxis.training.room import free_memory

BUDGET = GIB  # bytes that what is made of one tile may take; less where less is free
Report = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Restoration:
    """What came of the pictures that were given."""

    done: tuple[Path, ...]  # written now
    before: tuple[Path, ...]  # written earlier, from the same pictures by the same model
    problems: tuple[str, ...]  # one line for each file that could not be used
    notes: tuple[str, ...]  # what of a picture is not kept, one line each
    page: Path | None
    model: str
    task: str
    licence: str  # of the model's weights
    faces: tuple[tuple[Path, FaceMoved], ...]  # that were restored now, with the picture that each is in
    failed: int  # pictures of which nothing was made; what is no picture in a folder does not count


def restore(
    paths: Sequence[str | Path],
    model: str | Path | None = None,
    task: str | None = None,
    out: str | Path | None = None,
    *,
    knobs: Sequence[str] = (),
    fidelity: float | None = None,
    seed: int | None = None,
    ensemble: bool = False,
    overwrite: bool = False,
    tile: int | None = None,
    page: bool | None = None,
    faces: Sequence[str] = (),
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> Restoration:
    """Restore pictures and folders of pictures; results are PNGs that carry the record of how they were made.

    Args:
        paths: pictures, or folders, which are walked.
        model: a published model by name, the file of a checkpoint, or the folder of a run; by default one that does
            ``task``.
        task: ``enlarge:2`` to ``enlarge:8``, ``denoise``, ``deblur``, ``jpeg``, ``colorize``, ``face``,
            ``inpaint:MASK`` (a file, or a folder with a mask for each picture, of its name) or ``panorama:FACTOR``,
            which makes it that much wider; by default what the model was trained for.
        knobs: what is turned of a run's model, as ``name=value``.
        fidelity: from 0, as the model makes it, to 1, where what the damage left (the small picture, the luminance,
            what is coarse) is that of the given picture; None is 0.
        seed: where the draws begin of a model that draws (``palette``, ``sr3``); None is 0.
        ensemble: whether the model is asked of each picture in its eight orientations and the mean is taken: nearer to
            the truth, and eight times as slow.
        out: the file (of one picture) or the folder of the results; by default ``NAME-restored`` beside each.
        overwrite: whether a file that is there and is not the result may be replaced, be it the original.
        tile: pixels a side that are given to the network at a time; by default what memory allows.
        page: whether a page shows each picture before and after; by default of folders.
        faces: where the faces are, for task ``face``, each as ``X,Y,W,H``: left, top, width and height in pixels of the
            whole head; by default they are looked for, which takes the extra ``faces``.

    A picture among several that cannot be used costs one line in ``problems``; so does one of which a part would come
    out black, of one colour, or not finite. What is done already is passed over. Where the disk is full it stops, and
    what was written stays.

    Raises:
        UsageError: what is asked for cannot be done, and :class:`Unsupported` where no model at hand does it.
        DataError: none of all the pictures could be restored.
    """
    errands = errands_of(paths_of(paths), None if out is None else Path(out), "restored")
    restorer = restorer_for(model, task, knobs, fidelity, seed, ensemble)
    if restorer.mask is not None and restorer.mask.is_dir():
        errands = errands.outside(restorer.mask)
    if restorer.factor is not None and tile is not None:
        raise UsageError(f"--tile {tile}: a panorama is drawn in windows as the model learnt them: leave it out")
    restorer.network.placed_on(device)
    places = _places(restorer, faces, errands, tile)
    job = RestoringJob(restorer, _tiling(restorer.network, tile, device), device, places)
    wanted = errands.folders if page is None else page
    problems = list(errands.passed_over)
    notes = list(restorer.notes)
    moved: list[tuple[Path, FaceMoved]] = []
    errands.sweep()
    before, todo = _sorted_out(errands, job, overwrite, problems, report)
    done: list[Errand] = []
    paged = set(errands.each[:MOST_PAIRS]) if wanted else set()
    whole, past = sum(pixels for *_, pixels in todo) or 1, 0
    for k, (errand, record, pixels) in enumerate(todo, 1):
        label = errand.name if len(todo) == 1 else f"{k} of {len(todo)}: {errand.name}"
        so_far = past

        def told(share: float, label: str = label, so_far: int = so_far, pixels: int = pixels) -> None:
            report(label, (so_far + share * pixels) / whole)

        try:
            given = job.opened(errand)
            where, wider = job.places(errand, given), job.widening(errand, given)
            shown, box = job.shown(given, where, wider) if errand in paged else (None, None)
            made, people = job.run(errand, given, record, box, told, where, wider)
        except (DataError, UsageError) as error:
            problems.append(str(error))
        else:
            done.append(errand)
            notes += [f"{errand.source}: {note}" for note in given.notes]
            notes += [] if wider is None else [f"{errand.source}: {note}" for note in wider.notes()]
            moved += [(errand.source, face) for face in people]
            if shown is not None and made is not None:
                write_preview(errands.page, errand.name, shown, made, record)
        past += pixels
    if not done and not before:
        raise DataError(problems[0] if len(problems) == 1 else f"nothing was restored: {problems[-1]} (and "
                        f"{len(problems) - 1} more)")  # fmt: skip
    if wanted:
        present = {*done, *before}
        names = [errand.name for errand in errands.each if errand in present]
        chosen = {"--model": restorer.name, "--task": task, "--seed": seed, "--out": out, "--tile": tile}
        chosen["--device"] = device
        command = ["zeuxis", "restore", *map(str, paths), *([] if page is None else ["--page"])]
        command += [word for knob in knobs for word in ("--knob", knob)]
        command += [] if fidelity is None else ["--fidelity", f"{fidelity:g}"]
        command += ["--self-ensemble"] if ensemble else []
        command += [word for face in faces for word in ("--face", face)]
        command += [str(word) for option, value in chosen.items() if value is not None for word in (option, value)]
        write_page(errands.page, names, restorer.name, restorer.task, problems, shlex.join(command))
    return Restoration(
        done=tuple(errand.target for errand in done),
        before=tuple(errand.target for errand in before),
        problems=tuple(problems),
        notes=tuple(notes),
        page=errands.page if wanted else None,
        model=restorer.name,
        task=restorer.task,
        licence=restorer.licence,
        faces=tuple(moved),
        failed=len(errands.each) - len(done) - len(before),
    )


def _sorted_out(
    errands: Errands, job: RestoringJob, overwrite: bool, problems: list[str], report: Report
) -> tuple[list[Errand], list[tuple[Errand, dict[str, Any], int]]]:
    """What is done already, and what is not, with the record of each and its pixels; ``problems`` get the rest."""
    before, todo = [], []
    if len(errands.each) > 1:
        report(f"looking at {len(errands.each)} pictures", None)
    for errand in errands.each:
        try:
            record = job.record_of(errand)
            if job.is_done(errand, record, overwrite):
                before.append(errand)
                continue
            header = header_of(errand.source)
        except PictureRefused as reason:
            problems.append(f"{errand.source}: {reason}")
        except OSError as error:
            problems.append(f"{errand.source}: cannot be read: {error.strerror}")
        except UsageError as error:
            problems.append(str(error))
        else:
            todo.append((errand, record, header.width * header.height))
    return before, todo


def _places(restorer: Restorer, faces: Sequence[str], errands: Errands, tile: int | None) -> tuple[FacePlace, ...]:
    """Where the faces are, as they were given; :class:`UsageError` where that says nothing."""
    if restorer.network.side is None:
        if faces:
            raise UsageError(f"--face {faces[0]}: '{restorer.name}' restores whole pictures ({restorer.task})")
        return ()
    if tile is not None:
        raise UsageError(f"--tile {tile}: '{restorer.name}' is given faces, which are not cut: leave it out")
    if faces and len(errands.each) > 1:
        raise UsageError(
            f"--face {faces[0]} is of one picture, and {len(errands.each)} are given: give them one by one"
        )
    if not faces and (lacks := finder_lacks()) is not None:
        raise Unsupported(lacks)
    return tuple(map(parse_place, faces))


def _tiling(network: PictureNetwork, tile: int | None, device: str) -> Tiling:
    batch = 3 if network.channels == 1 else 1
    free = free_memory(device)
    found = tiling_for(network, BUDGET if free is None else min(BUDGET, free // 4), batch)
    if tile is None:
        return found
    try:
        return replace(found, tile=tile)
    except ValueError:
        raise UsageError(f"--tile {tile} is too small: give at least {found.least}") from None
