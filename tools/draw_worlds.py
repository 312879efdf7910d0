"""Draw ``docs/images/world-NAME.webp``: examples of each world's validation split, with what they are made from."""

from __future__ import annotations

from pathlib import Path

import torch

from zeuxis.api.pictures import panes, sheet, to_pil
from zeuxis.data.library import WORLDS, open_source

SIDE, COLUMNS, ROWS = 96, 10, 2


def main() -> None:
    for name in WORLDS:
        batch = open_source(name, SIDE, "val").batch(torch.arange(COLUMNS * ROWS))
        rows = list(panes(batch.image))
        rows = rows if len(rows) == 1 else [pane[:COLUMNS] for pane in rows]
        if batch.condition.source is not None:  # what is given above what is wanted
            given = (batch.condition.source, batch.condition.style)
            rows = [pane[:COLUMNS] for images in (*given, batch.image) if images is not None for pane in panes(images)]
        page = sheet([to_pil(image) for row in rows for image in row], COLUMNS)
        page.save(Path(__file__).parent.parent / "docs" / "images" / f"world-{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
