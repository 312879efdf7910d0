"""Draw ``docs/images/world-NAME.webp``: each world's sources and images, or two rows of images, of validation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from zeuxis.data.library import WORLDS, open_source
from zeuxis.workshop.pictures import panes, sheet, to_pil

SIDE, COLUMNS, ROWS = 96, 10, 2


def main() -> None:
    for name in WORLDS:
        source = open_source(name, SIDE, "val")
        batch = source.batch(torch.arange(COLUMNS * ROWS))
        rows: tuple[Tensor, ...] = (batch.image,)
        if batch.condition.source is not None:  # the two sides, one above the other
            rows = (*panes(batch.condition.source[:COLUMNS]), *panes(batch.image[:COLUMNS]))
        page = sheet([to_pil(image) for row in rows for image in row], COLUMNS)
        page.save(Path(__file__).parent / "images" / f"world-{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
