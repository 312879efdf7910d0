"""Pictures to be restored and what they truly are, in two folders: which belong together, and whether they can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zeuxis.api.restore_paths import Errand, errands_of
from zeuxis.api.restore_picture import header_of
from zeuxis.data.aligned import factor_between
from zeuxis.data.layouts import of_scale
from zeuxis.data.pairs import partners
from zeuxis.data.picture import PictureRefused
from zeuxis.errors import DataError, NoSuchPath, UsageError


@dataclass(frozen=True)
class Truths:
    """Pictures with the file of what each truly is, and what to say of those that are left out."""

    each: tuple[tuple[Errand, Path], ...]
    notes: tuple[str, ...]


def truths_of(errands: Sequence[Errand], against: Path, scale: int, given: Sequence[Path]) -> Truths:
    """The pictures in ``against``, a folder or a file, that belong to those of ``errands``: of the same name, whatever
    its suffix, and what tells which half it is (``0001x4.png`` is of ``0001.png``).

    Of pictures in folders that say by how much they are smaller (``X2/``, ``X4/``), those of ``scale`` are taken.

    Raises :class:`UsageError` where there is no such file or folder, or a picture has no partner or two;
    :class:`DataError` where a picture is not ``scale`` times smaller than it truly is, or cannot be read.
    """
    if not against.exists():
        raise NoSuchPath("picture or folder", against, "--against: ")
    if against.is_file():
        if len(errands) != 1 or given[0].is_dir():
            raise UsageError(f"--against {against} is one picture: give the folder of those that yours truly are")
        truths = Truths(((errands[0], against),), ())
    else:
        truths = _by_name(errands, against, scale)
    for errand, truth in truths.each:  # before the first is restored: the last would lose all figures
        _require_sizes(errand.source, truth, scale)
    return truths


def _by_name(errands: Sequence[Errand], against: Path, scale: int) -> Truths:
    large = {one.name: str(one.source) for one in errands_of([against], None, "restored").each}
    small, others = of_scale(large, {one.name: str(one.source) for one in errands}, scale)
    notes = [] if not others else [f"{len(others)} pictures are of another scale than {scale}, and are left out"]
    if not small:
        raise UsageError(f"{others[0].path} and all others are of another scale than the model's, {scale}")
    matched, twice, alone = partners(large, small)
    if twice:
        raise UsageError(f"{twice[0][0]}: there are two files of that name, {twice[0][1]}: leave one out")
    by_source = {str(one.source): one for one in errands}
    if without := [name for name in alone if name in by_source]:
        rest = f", nor of {len(without) - 1} more" if len(without) > 1 else ""
        raise UsageError(f"{without[0]}: --against {against} holds no picture of its name{rest}: leave it out, of all "
                         "others a mean is wanted")  # fmt: skip
    if alone:
        notes.append(f"of {len(alone)} pictures in {against} no other is given: they do not count")
    return Truths(tuple((by_source[low], Path(high)) for high, low in matched), tuple(notes))


def _require_sizes(low: Path, high: Path, scale: int) -> None:
    """Raise :class:`DataError` unless the one is as much smaller than the other as the model enlarges."""
    sizes = []
    for file in (high, low):
        try:
            header = header_of(file)
        except PictureRefused as reason:
            raise DataError(f"{file}: {reason}: leave it out, of all others a mean is wanted") from None
        sizes.append((header.width, header.height))
    found = factor_between(*sizes)
    if found == scale:
        return
    told = "{} has {}x{} pixels".format(low, *sizes[1]) + " and {} {}x{}".format(high, *sizes[0])
    if found is None:
        raise DataError(
            f"{told}, which is not {scale} times as many a side: they are not of one picture, or one was cut"
        )
    if found == 1:
        raise DataError(f"{told}, and the model enlarges by {scale}: give the small pictures, or another --model")
    wants = f"enlarges by {scale}" if scale > 1 else "keeps a picture's size"
    raise DataError(f"{told}, {found} times as many a side, and the model {wants}: give another --model, or --task "
                    f"enlarge:{found}")  # fmt: skip
