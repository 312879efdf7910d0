"""One picture restored: read, given to the network in tiles, checked, and written with its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from zeuxis.api.marks import other_marks
from zeuxis.api.restore_faces import FaceMoved, restore_faces
from zeuxis.api.restore_masks import doubts_about, hidden_by, mask_for
from zeuxis.api.restore_page import busiest, shown_of
from zeuxis.api.restore_panorama import Widening, alpha_beside, beside_nothing, widened, widening_of
from zeuxis.api.restore_paths import Errand
from zeuxis.api.restore_picture import (
    SOURCE_TYPE,
    Box,
    OpenedPicture,
    Pixels,
    alpha_rows,
    behind_filled,
    chunks_beside,
    for_network,
    from_network,
    in_colour,
    in_kind_of,
    open_for_restoring,
    part_of,
    with_channels,
)
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.files import file_hash
from zeuxis.nn.footprint import GIB
from zeuxis.nn.streamed_tiles import Place, Tiling, in_rows, tile_places
from zeuxis.nn.whole_colours import BAND, coloured_rows
from zeuxis.pretrained.face_finder import FacePlace, find_faces
from zeuxis.pretrained.restorer import Restorer
from zeuxis.provenance.asked import asked
from zeuxis.provenance.png_rows import PngRows
from zeuxis.provenance.record import RESTORER, as_asked, read_record, record, text_of, write_whole
from zeuxis.provenance.watermark import SCHEME, SMALLEST, WATERMARK, fits, marked_rows
from zeuxis.training.room import free_memory

DISCLOSURE = "This picture was made by Zeuxis from another one: fine detail in it is synthesised, not photographed."
RANGE, FLAT = 8 / 255, 0.5 / 255  # a tile of more than the one may not become a tile of less than the other
COARSE = 8  # pixels a side of the squares whose means count: grain, dust and a hot pixel may well be taken away
BANDS = 40  # bytes that are held for each number of the rows that are made at a time: three times float32, and copies


@dataclass(frozen=True)
class RestoringJob:
    """How each picture is restored."""

    restorer: Restorer
    tiling: Tiling
    device: str
    faces: tuple[FacePlace, ...] = ()  # where they are, of a network of faces; found where none is given

    def record_of(self, errand: Errand) -> dict[str, Any]:
        """How the result is made; the same picture and model give the same.

        Raises :class:`UsageError` where there is no mask for it, and OSError where its file cannot be read.
        """
        made = record(
            model=self.restorer.name,
            system=RESTORER,
            weights_sha256=self.restorer.sha256,
            recipe=None,
            data=None,
            seed=self.restorer.seed,
            sampling=self._sampling(errand),
            condition={"source": {"file": errand.source.name, "sha256": file_hash(errand.source)}},
            device=self.device,
        )
        tiles = {"tile": self.tiling.tile, "margin": self.tiling.margin, "feather": self.tiling.feather}
        mark = {WATERMARK: SCHEME} if asked().watermark else {}
        return {**made, "disclosure": DISCLOSURE, "tiles": tiles, "licence": self.restorer.licence, **mark}

    def _sampling(self, errand: Errand) -> dict[str, Any]:
        mask = mask_for(self.restorer.mask, errand)
        hidden = {} if mask is None else {"mask": file_hash(mask)}
        held = {} if self.restorer.fidelity is None else {"fidelity": self.restorer.fidelity.share}
        eight = {"self_ensemble": True} if self.restorer.ensemble else {}
        faces = {"faces": [_plain(place) for place in self.faces]} if self.faces else {}
        return {"task": self.restorer.task, **hidden, **held, **eight, **faces, **dict(self.restorer.knobs)}

    def is_done(self, errand: Errand, record: dict[str, Any], overwrite: bool) -> bool:
        """Whether the result is there already.

        Raises :class:`UsageError` where another file is and may not be replaced, or none can be.
        """
        if not errand.is_there():
            return False
        what: str | None = "not this picture restored by this model"
        if _same(errand.target, errand.source):
            what = "the original"
        elif is_result(errand.target, record):
            what = other_marks(errand.target, read_record(errand.target), WATERMARK in record)
        if what is None:
            return True
        if overwrite and errand.target.is_file():
            return False
        raise UsageError(f"{errand.target} is there, and is {what}: give another --out, or --overwrite")

    def opened(self, errand: Errand) -> OpenedPicture:
        """The picture, with the channels that its result has, and with what is doubtful about its mask among its notes.

        Raises as :func:`open_for_restoring`, and as :func:`hidden_by` where there is a mask.
        """
        given = open_for_restoring(errand.source)
        if (mask := mask_for(self.restorer.mask, errand)) is not None:
            height, width = given.colours.shape[:2]
            doubts = doubts_about(mask, hidden_by(mask, errand.source, width, height))
            given = replace(given, notes=(*given.notes, *doubts))
        return in_colour(given) if self.restorer.task == "colorize" and given.colours.shape[2] == 1 else given

    def places(self, errand: Errand, given: OpenedPicture) -> tuple[FacePlace, ...]:
        """Where the faces are that are restored; none where the whole picture is.

        Raises :class:`DataError` where none is found, and :class:`Unsupported` where nothing looks for them.
        """
        if self.restorer.network.side is None or self.faces:
            return self.faces
        found = find_faces(given.colours)
        if not found:
            raise DataError(f"{errand.source}: no face was found: say where one is, --face X,Y,W,H")
        return tuple(found)

    def widening(self, errand: Errand, given: OpenedPicture) -> Widening | None:
        """How the picture is made wider, of a panorama; raises as :func:`widening_of`, and names the file."""
        if self.restorer.factor is None:
            return None
        try:
            return widening_of(given, self.restorer)
        except (DataError, UsageError) as error:
            raise type(error)(f"{errand.source}: {error}") from None

    def shown(
        self, given: OpenedPicture, places: tuple[FacePlace, ...], wider: Widening | None
    ) -> tuple[OpenedPicture, Box]:
        """What a page shows of a picture before, and the box of that in the given one's pixels."""
        if wider is not None:
            return beside_nothing(given, wider), (0, 0, wider.whole, wider.height)
        box = shown_of(places[0], given) if places else busiest(given)
        return part_of(given, box), box

    def run(
        self,
        errand: Errand,
        given: OpenedPicture,
        record: dict[str, Any],
        box: Box | None,
        told: Callable[[float], None],
        places: tuple[FacePlace, ...] = (),
        wider: Widening | None = None,
    ) -> tuple[OpenedPicture | None, list[FaceMoved]]:
        """Write what the network makes of a picture, of the faces at ``places``, or beside it where it becomes wider.

        Gives the part of it that comes from inside ``box``, if any, and what came of each face. ``told`` is told the
        share that is done. The result is written as its rows are made, and never held at once but of faces and
        panoramas.

        Raises :class:`DataError` where there is no room, or a tile is made black, of one colour or not finite; nothing
        is written then.
        """
        network = self.restorer.network
        if network.channels not in (1, 3):
            raise Unsupported(
                f"'{self.restorer.name}' is for pictures of {network.channels} channels: no photograph is"
            )
        scale = network.scale
        height, width, channels = given.colours.shape
        size = (width * scale, height * scale)
        if wider is None:
            self._check_room(errand, given)
            alpha = alpha_rows(given, *size)
        else:
            size = (wider.whole, height)
            alpha = alpha_rows(replace(given, alpha=alpha_beside(given, wider)), *size)
            record = record | {"panorama": wider.record(), "disclosure": wider.disclosure()}
        whole, moved = self._with_faces(errand, given, places) if places else (None, [])
        if wider is not None:
            name = str(record["condition"]["source"]["sha256"])
            whole = widened(given, wider, self.restorer, name, self.device, self._check_of(errand), told)
        if places:
            record = record | {"faces": [_plain(place) for place in places]}
        if WATERMARK in record and not fits(*size):
            raise UsageError(
                f"{errand.source}: {size[0]}x{size[1]} pixels of its result are too few for the watermark, which needs "
                f"{SMALLEST} a side: leave --watermark out"
            )
        beside = chunks_beside(given, text_of(record, errand.target, size, SOURCE_TYPE, given.xmp), *size)
        bits, every = 8 if given.most == 255 else 16, channels + (alpha is not None)
        left, top, right, bottom = (scale * side for side in box or (0, 0, 0, 0))
        kept: list[Pixels] = []
        with PngRows(errand.target, size, every, bits, beside) as out:
            made = self._rows(errand, given, told) if whole is None else iter([whole])
            for rows in marked_rows(made) if WATERMARK in record else made:
                at = out.rows
                shown = rows if alpha is None else _beside(rows, alpha(at, at + len(rows)))
                out.write(shown)
                kept.append(shown[max(0, top - at) : max(0, bottom - at), left:right].copy())
        if asked().credentials:
            write_whole(errand.target, as_asked(errand.target.read_bytes(), ".png", SOURCE_TYPE))
        return None if box is None else with_channels(given, cast(Pixels, np.concatenate(kept))), moved

    def _with_faces(
        self, errand: Errand, given: OpenedPicture, places: tuple[FacePlace, ...]
    ) -> tuple[Pixels, list[FaceMoved]]:
        """The colours with their faces restored."""

        def check(box: Box, before: Tensor, after: Tensor) -> None:
            left, top, right, bottom = box
            _check_tile(errand.source, (top, bottom, left, right), before, after)

        with torch.inference_mode():
            return restore_faces(behind_filled(given), places, self.restorer, self.device, check)

    def _check_of(self, errand: Errand) -> Callable[[Place, Tensor, Tensor], None]:
        return lambda place, before, after: _check_tile(errand.source, place, before, after)

    def _rows(self, errand: Errand, given: OpenedPicture, told: Callable[[float], None]) -> Iterator[Pixels]:
        """The colours of the result, some rows ``(n, W, C)`` at a time."""
        network = self.restorer.network
        colours = behind_filled(given)
        height, width, channels = colours.shape
        mask = mask_for(self.restorer.mask, errand)
        hidden = None if mask is None else hidden_by(mask, errand.source, width, height)
        past = 0

        def read(place: Place) -> Tensor:
            top, bottom, left, right = place
            part = torch.from_numpy(colours[top:bottom, left:right].astype(np.float32) / given.most)
            tile = for_network(part.permute(2, 0, 1).to(self.device), network.channels)
            if hidden is None:
                return tile
            marked = hidden[:, top:bottom, left:right].to(tile).expand(len(tile), -1, -1, -1)
            return torch.cat([tile, marked], 1)

        def seen(place: Place, before: Tensor, after: Tensor) -> None:
            nonlocal past
            _check_tile(errand.source, place, before[:, : network.channels], after)
            past += 1
            told(past / many)

        if self.restorer.colours_at is None:
            many = sum(map(len, tile_places(height, width, self.tiling)))
            made = in_rows(network, read, height, width, self.tiling, seen)
        else:
            many = -(-height // BAND)
            made = coloured_rows(network, self.restorer.colours_at, read, height, width, self.tiling, seen)
        with torch.inference_mode():
            for rows in made:
                yield in_kind_of(colours, from_network(rows, channels).clamp(0, 1) * given.most)

    def _check_room(self, errand: Errand, given: OpenedPicture) -> None:
        free, scale = free_memory("cpu"), self.restorer.network.scale
        height, width = (scale * side for side in given.colours.shape[:2])
        rows = min(height, scale * self.tiling.tile)
        needs = BANDS * rows * width * given.colours.shape[2]
        if free is not None and needs > free:
            raise DataError(
                f"{errand.source}: a result of {width}x{height} pixels needs {needs / GIB:.2g} GiB, of which "
                f"{free / GIB:.2g} are free: ask for a smaller scale"
            )


def _plain(place: FacePlace) -> list[float]:
    """Middle, side and angle, for a record."""
    return [round(value, 3) for value in (place.x, place.y, place.side, place.angle)]


def is_result(file: Path, record: dict[str, Any]) -> bool:
    """Whether a file was made from the same picture by the same model for the same task."""
    try:
        found = read_record(file)
    except (UsageError, DataError):
        return False
    same = ("system", "weights_sha256", "seed", "sampling")
    return all(found.get(key) == record.get(key) for key in same) and _hash_in(found) == _hash_in(record)


def _hash_in(record: dict[str, Any]) -> object:
    source = record["condition"].get("source")
    return source.get("sha256") if isinstance(source, dict) else None


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _beside(colours: Pixels, alpha: Pixels) -> Pixels:
    """Colours ``(n, W, C)`` and transparency ``(n, W)`` as one."""
    found: Pixels = np.concatenate([colours, alpha[..., None]], 2)
    return found


def _check_tile(file: Path, place: Place, before: Tensor, after: Tensor) -> None:
    """Refuse what no network should make: it would else be found in the picture, if at all."""
    top, bottom, left, right = place
    tones = avg_pool2d(before.float(), [min(COARSE, side) for side in before.shape[2:]], ceil_mode=True)
    made, what = after.clamp(0, 1), None
    if not after.isfinite().all():
        what = "not finite"
    elif made.max() < FLAT and tones.max() > RANGE:
        what = "black"
    elif made.max() - made.min() < FLAT and tones.max() - tones.min() > RANGE:
        what = "of one colour"
    if what is not None:
        tile = f"the tile of {right - left}x{bottom - top} pixels at column {left}, row {top}"
        raise DataError(
            f"{file}: {tile} came out {what}: the model is damaged or not for such pictures; nothing is written"
        )
