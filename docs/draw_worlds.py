"""Draw ``docs/images/world-NAME.webp``: examples of each world's validation split, with what they are made from."""

from __future__ import annotations

from pathlib import Path

import torch

from zeuxis.data.library import WORLDS, open_source
from zeuxis.workshop.pictures import sheet, to_pil

SIDE, COLUMNS, ROWS = 96, 10, 2


def main() -> None:
    for name in WORLDS:
        batch = open_source(name, SIDE, "val").batch(torch.arange(COLUMNS * ROWS))
        rows = [batch.image]
        if batch.condition.source is not None:  # what is given above what is wanted
            given = list(batch.condition.source.split(batch.image.shape[1], 1))
            given += [] if batch.condition.style is None else [batch.condition.style]
            rows = [pictures[:COLUMNS] for pictures in (*given, batch.image)]
        page = sheet([to_pil(image) for image in torch.cat(rows)], COLUMNS)
        page.save(Path(__file__).parent / "images" / f"world-{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
