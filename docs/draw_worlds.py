"""Draw ``docs/images/world-NAME.webp``: two rows of each world, from its validation split."""

from __future__ import annotations

from pathlib import Path

import torch

from zeuxis.data.library import WORLDS, open_source
from zeuxis.workshop.pictures import sheet, to_pil

SIDE, COLUMNS, ROWS = 96, 10, 2


def main() -> None:
    for name in WORLDS:
        source = open_source(name, SIDE, "val")
        batch = source.batch(torch.arange(COLUMNS * ROWS))
        rows = [batch.image]
        if batch.condition.source is not None:  # unrelated pictures of the two sides, one above the other
            rows = [batch.condition.source[:COLUMNS], batch.image[:COLUMNS]]
        page = sheet([to_pil(image) for image in torch.cat(rows)], COLUMNS)
        page.save(Path(__file__).parent / "images" / f"world-{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
