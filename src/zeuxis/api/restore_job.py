"""One picture restored: read, given to the network in tiles, checked, and written with its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zeuxis.api.restore_paths import Errand
from zeuxis.api.restore_picture import OpenedPicture, Pixels, behind_filled, in_kind_of, with_result
from zeuxis.data.cache import file_hash
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.nn.footprint import GIB
from zeuxis.nn.streamed_tiles import Place, Tiling, in_rows, tile_places
from zeuxis.pretrained.restorer import Restorer
from zeuxis.provenance.record import RESTORER, read_record, record
from zeuxis.training.room import free_memory

DISCLOSURE = "This picture was made by Zeuxis from another one: fine detail in it is synthesised, not photographed."
RANGE, FLAT = 8 / 255, 0.5 / 255  # a tile of more than the one may not become a tile of less than the other
LUMA = (0.299, 0.587, 0.114)  # of grey in colours
COPIES = 3  # of a result that are held while it is written


@dataclass(frozen=True)
class RestoringJob:
    """How each picture is restored."""

    restorer: Restorer
    tiling: Tiling
    device: str

    def record_of(self, errand: Errand) -> dict[str, Any]:
        """How the result is made; the same picture and model give the same."""
        made = record(
            model=self.restorer.name,
            system=RESTORER,
            weights_sha256=self.restorer.sha256,
            recipe=None,
            data=None,
            seed=0,
            sampling={"task": self.restorer.task},
            condition={"source": {"file": errand.source.name, "sha256": file_hash(errand.source)}},
            device=self.device,
        )
        tiles = {"tile": self.tiling.tile, "margin": self.tiling.margin, "feather": self.tiling.feather}
        return {**made, "disclosure": DISCLOSURE, "tiles": tiles, "licence": self.restorer.licence}

    def is_done(self, errand: Errand, record: dict[str, Any], overwrite: bool) -> bool:
        """Whether the result is there already.

        Raises :class:`UsageError` where another file is and may not be replaced.
        """
        if not errand.target.exists():
            return False
        if is_result(errand.target, record):
            return True
        if overwrite and errand.target.is_file():
            return False
        what = "the original" if _same(errand.target, errand.source) else "not this picture restored by this model"
        raise UsageError(f"{errand.target} is there, and is {what}: give another --out, or --overwrite")

    def run(self, errand: Errand, given: OpenedPicture, told: Callable[[float], None]) -> OpenedPicture:
        """What the network makes of a picture. ``told`` is told the share of it that is done.

        Raises :class:`DataError` where there is no room for it, or a tile is made black, of one colour or not finite.
        """
        network, scale = self.restorer.network, self.restorer.network.scale
        colours = behind_filled(given)
        height, width, channels = colours.shape
        if network.channels not in (1, 3):
            raise Unsupported(
                f"'{self.restorer.name}' is for pictures of {network.channels} channels: no photograph is"
            )
        self._check_room(errand, colours)
        made = np.empty((height * scale, width * scale, channels), colours.dtype)
        many = sum(map(len, tile_places(height, width, self.tiling)))
        past = 0

        def read(place: Place) -> Tensor:
            top, bottom, left, right = place
            part = torch.from_numpy(colours[top:bottom, left:right].astype(np.float32) / given.most)
            return _for_network(part.permute(2, 0, 1).to(self.device), network.channels)

        def seen(place: Place, before: Tensor, after: Tensor) -> None:
            nonlocal past
            _check_tile(errand.source, place, before, after)
            past += 1
            told(past / many)

        with torch.inference_mode():
            at = 0
            for rows in in_rows(network, read, height, width, self.tiling, seen):
                part = _from_network(rows, channels).clamp(0, 1) * given.most
                made[at : at + rows.shape[2]] = in_kind_of(colours, part)
                at += rows.shape[2]
        return with_result(given, made)

    def _check_room(self, errand: Errand, colours: Pixels) -> None:
        free, scale = free_memory("cpu"), self.restorer.network.scale
        needs = COPIES * colours.nbytes * scale**2
        if free is not None and needs > free:
            height, width = (scale * side for side in colours.shape[:2])
            raise DataError(
                f"{errand.source}: the result of {width}x{height} pixels would need {needs / GIB:.1f} GiB, of which "
                f"{free / GIB:.1f} are free: ask for a smaller scale"
            )


def is_result(file: Path, record: dict[str, Any]) -> bool:
    """Whether a file was made from the same picture by the same model for the same task."""
    try:
        found = read_record(file)
    except (UsageError, DataError):
        return False
    same = ("system", "weights_sha256", "sampling")
    return all(found.get(key) == record[key] for key in same) and _hash_in(found) == _hash_in(record)


def _hash_in(record: dict[str, Any]) -> object:
    source = record["condition"].get("source")
    return source.get("sha256") if isinstance(source, dict) else None


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _for_network(picture: Tensor, channels: int) -> Tensor:
    """A picture ``(C, h, w)`` as a batch: grey three times over in one, or each colour by itself."""
    if len(picture) == channels:
        return picture[None]
    return picture.expand(1, 3, -1, -1) if channels == 3 else picture[:, None]


def _from_network(made: Tensor, channels: int) -> Tensor:
    """The inverse of :func:`_for_network`: ``(h, w, C)``."""
    if made.shape[:2] == (3, 1):
        made = made.transpose(0, 1)
    rows = made[0]
    if len(rows) != channels:
        rows = (rows * rows.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    return rows.permute(1, 2, 0)


def _check_tile(file: Path, place: Place, before: Tensor, after: Tensor) -> None:
    """Refuse what no network should make: it would else be found in the picture, if at all."""
    top, bottom, left, right = place
    what = None
    if not after.isfinite().all():
        what = "not finite"
    elif before.max() - before.min() > RANGE and after.clamp(0, 1).max() - after.clamp(0, 1).min() < FLAT:
        what = "black" if after.max() < FLAT else "of one colour"
    if what is not None:
        tile = f"the tile of {right - left}x{bottom - top} pixels at column {left}, row {top}"
        raise DataError(
            f"{file}: {tile} came out {what}: the model is damaged or not for such pictures; nothing is written"
        )
