"""Draw ``docs/images/align-draw.webp``: how a trained align-draw comes to its pictures, a caption a row.

Run as ``python tools/draw_steps.py RUN [SEED]``; RUN is a run folder or a shipped model that draws in steps.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zeuxis.api.model import load
from zeuxis.api.pictures import sheet, to_pil
from zeuxis.errors import Unsupported

SCALE = 2
CAPTIONS = (
    "a large red circle above a large blue square by day",
    "a large blue square above a large red circle by day",
    "a large yellow star left of a large green ring at night",
    "a large green ring left of a large yellow star at night",
)


def main(run: str, seed: int = 0) -> None:
    model = load(run, "cpu")
    if "draw_steps" not in model.system.card.verbs:
        raise Unsupported(f"'{run}' does not draw in steps: give an align-draw")
    condition = model.condition(len(CAPTIONS), caption=CAPTIONS)
    steps = model.draw_steps(condition, [seed] * len(CAPTIONS))  # (B, T, C, H, W)
    images = [to_pil(image) for image in steps.flatten(0, 1)]
    target = Path(__file__).parent.parent / "docs" / "images" / "align-draw.webp"
    sheet(images, steps.shape[1], SCALE).save(target, quality=85, method=6)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
