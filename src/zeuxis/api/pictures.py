"""Pictures that were made, together with how."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zeuxis.api.naming import counted
from zeuxis.batch import to_float, to_uint8
from zeuxis.errors import UsageError
from zeuxis.files import at_home
from zeuxis.provenance.asked import asked
from zeuxis.provenance.record import save_png
from zeuxis.provenance.watermark import SCHEME, SMALLEST, WATERMARK, fits, marked

MOST_STEPS = 8  # of those in which a picture is drawn that a sheet shows


def to_pil(image: Tensor) -> Image.Image:
    """One image ``(C, H, W)`` in [-1, 1], C 1 to 4, as a Pillow image; two channels are red and green."""
    if len(image) == 2:
        image = torch.cat([image, torch.zeros_like(image[:1])])
    pixels = to_uint8(image).cpu().permute(1, 2, 0).numpy()  # (H, W, C)
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def with_mark(image: Tensor) -> Tensor:
    """One image ``(C, H, W)`` in [-1, 1], rounded to 8 bits, with the watermark in its colours."""
    pixels = to_uint8(image).cpu().movedim(0, -1).numpy()  # (H, W, C)
    return to_float(torch.from_numpy(marked(pixels)).movedim(-1, 0)).to(image.device)


def panes(images: Tensor) -> tuple[Tensor, ...]:
    """Images ``(B, C, H, W)`` as batches that can be looked at.

    Where no picture has C channels they are several: in colour if C is a multiple of 3, otherwise grey ones.
    """
    channels = images.shape[1]
    return (images,) if channels in (1, 3, 4) else images.split(1 if channels % 3 else 3, dim=1)


def spread(steps: Tensor, n: int) -> Tensor:
    """``n`` of the steps ``(B, T, C, H, W)``, evenly from the first to the last; where T is less, some twice."""
    return steps[:, torch.linspace(0, steps.shape[1] - 1, n).round().long()]


def sheet(images: Sequence[Image.Image], columns: int | None = None, scale: int = 1, gap: int = 2) -> Image.Image:
    """The images side by side on white, row by row, each enlarged ``scale`` times without smoothing.

    Where they differ in size, every one is enlarged as far as the widest and the tallest leave room, and none is
    stretched.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    w, h = max(image.width for image in images) * scale, max(image.height for image in images) * scale
    page = Image.new("RGB", (columns * (w + gap) + gap, rows * (h + gap) + gap), "white")
    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        by = min(w / image.width, h / image.height)
        across, down = max(1, round(by * image.width)), max(1, round(by * image.height))
        tile = image.resize((across, down), Image.Resampling.NEAREST)
        page.paste(tile, (gap + column * (w + gap) + (w - across) // 2, gap + row * (h + gap) + (h - down) // 2))
    return page


def targets(path: Path, n: int, add: bool = False) -> list[Path]:
    """Where ``n`` pictures are written that are to go to ``path``: see :meth:`Pictures.save`."""
    if path.is_dir() or path.suffix.lower() not in Image.registered_extensions():
        if path.is_file():
            raise UsageError(f"{path} is a file, and a folder of pictures is wanted: give another name, or NAME.png")
        first = _first_free(path, "", ".png") if add else 0
        return [path / f"{k:04d}.png" for k in range(first, first + n)]
    if path.suffix.lower() != ".png":
        raise UsageError(
            f"{path}: pictures are written as PNG, which carries the record of how each was made: give "
            f"{path.with_suffix('.png')}, or a folder"
        )
    if n == 1:
        return [path]
    first = _first_free(path.parent, f"{path.stem}-", path.suffix) if add else 0
    return [path.with_name(f"{path.stem}-{k}{path.suffix}") for k in range(first, first + n)]


def _first_free(folder: Path, before: str, after: str) -> int:
    """The number after the highest in the names of ``folder`` that begin and end so."""
    found = (
        p.name.removeprefix(before).removesuffix(after) for p in folder.glob(f"*{after}") if p.name.startswith(before)
    )
    return max((int(name) + 1 for name in found if name.isdecimal()), default=0)


def sheet_beside(paths: Sequence[Path], path: Path) -> Path:
    """Where the sheet of the pictures at ``paths`` belongs that went to ``path``: it is of these alone."""
    folder = paths[0].parent == path
    name, number = ("sheet" if folder else f"{path.stem}-sheet"), paths[0].stem.removeprefix(f"{path.stem}-")
    return paths[0].with_name(f"{name}.png" if int(number) == 0 else f"{name}-{number}.png")


@dataclass(frozen=True)
class Pictures:
    """Images ``(N, C, H, W)`` in [-1, 1], each with the record of how it was made.

    ``steps`` ``(N, T, C, H, W)`` is how they came to be, of models that draw in steps: the last is the image.
    """

    tensor: Tensor
    records: tuple[dict[str, Any], ...]
    steps: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tensor)

    @overload
    def __getitem__(self, k: int) -> Image.Image: ...

    @overload
    def __getitem__(self, k: slice) -> Pictures: ...

    def __getitem__(self, k: int | slice) -> Image.Image | Pictures:
        """One as a Pillow image, or some of them with their records."""
        if isinstance(k, slice):
            return Pictures(self.tensor[k], self.records[k], None if self.steps is None else self.steps[k])
        return to_pil(self.tensor[k])

    def pil(self) -> list[Image.Image]:
        """All of them as Pillow images."""
        return list(self)

    def numpy(self) -> NDArray[np.uint8]:
        """uint8 ``(N, H, W, C)`` in [0, 255]."""
        pixels: NDArray[np.uint8] = to_uint8(self.tensor).cpu().movedim(1, -1).numpy()
        return pixels

    def __repr__(self) -> str:
        shape, made = "x".join(map(str, self.tensor.shape[1:])), sorted({str(r["model"]) for r in self.records})
        return f"<{counted(len(self), 'picture')} of {shape} by {', '.join(made)}>"

    def __iter__(self) -> Iterator[Image.Image]:
        return map(to_pil, self.tensor)

    def sheet(self, columns: int | None = None, scale: int = 1) -> Image.Image:
        """All of them on one page; what was drawn in steps in a row of its own each, unless ``columns`` are given."""
        if self.steps is not None and columns is None:
            shown = spread(self.steps, min(MOST_STEPS, self.steps.shape[1]))
            return sheet([to_pil(step) for step in shown.flatten(0, 1)], shown.shape[1], scale)
        return sheet(list(self), columns, scale)

    @property
    def fit_to_mark(self) -> bool:
        """Whether they are large enough for the watermark."""
        return fits(*self.tensor.shape[-2:])

    def marked(self) -> Pictures:
        """The same with the watermark in their pixels, of which their records then tell; those that have it stay.

        Raises :class:`UsageError` for pictures that are too small.
        """
        if not self.fit_to_mark:
            height, width = self.tensor.shape[-2:]
            raise UsageError(
                f"{width}x{height} pixels are too few for the watermark, which needs {SMALLEST} a side: leave it out"
            )
        both = zip(self.tensor, self.records, strict=True)
        images = [x if WATERMARK in record else with_mark(x) for x, record in both]
        records = tuple({**record, WATERMARK: SCHEME} for record in self.records)
        return replace(self, tensor=torch.stack(images), records=records)

    def save(self, path: str | Path, *, add: bool = False, watermark: bool | None = None) -> list[Path]:
        """Write PNGs that carry their records: to ``path`` itself for one picture and a name ending in .png, to
        ``x-0.png``, ``x-1.png``, ... for several and the name ``x.png``, otherwise to ``path/0000.png``, ...

        Those of the same names are replaced, unless they are to ``add``: then numbers go on after theirs.

        What is written has the watermark in its pixels (:meth:`marked`) where it is large enough, unless ``watermark``
        is False; None is what the command line asked for, where it asked. Raises :class:`UsageError` for a name of
        another kind of picture, which would carry no record, and where ``watermark`` is True of too small pictures.
        """
        paths = targets(at_home(path), len(self), add)
        wanted = asked().watermark if watermark is None else watermark
        written = self.marked() if wanted or (wanted is None and self.fit_to_mark) else self
        for image, target, record in zip(written, paths, written.records, strict=True):
            save_png(image, target, record)
        return paths

    def save_sheet(self, path: str | Path, columns: int | None = None, scale: int = 1) -> Path:
        """Write the page of all of them, with the first picture's record and the count."""
        place = at_home(path)
        save_png(self.sheet(columns, scale), place, {**self.records[0], "sheet_of": len(self)})
        return place

    def _repr_png_(self) -> bytes:
        """How a notebook shows them."""
        out = io.BytesIO()
        self.sheet(scale=max(1, 96 // self.tensor.shape[-1])).save(out, "PNG")
        return out.getvalue()
