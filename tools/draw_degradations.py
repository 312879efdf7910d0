"""Draw ``docs/images/degradations.webp``: two scenes and two photographs (CC0) under every degradation.

The photographs are `clothing96`: see `zeuxis data clothing96` for where to get them.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from zeuxis.api.pictures import to_pil
from zeuxis.data.library import open_source
from zeuxis.degrade.language import DEGRADATIONS, parse_chain
from zeuxis.rng import ImageRng

SIDE, CAPTION, COLUMNS = 96, 12, 9


def main() -> None:
    scenes = open_source("scenes", SIDE).batch(torch.tensor([40, 41])).image
    photographs = open_source("clothing96").batch(torch.tensor([3, 10])).image
    clean = torch.cat([scenes, photographs])
    columns = [column("clean", clean)]
    columns += [column(name, parse_chain(name)(clean, ImageRng.counting(0, len(clean)))) for name in DEGRADATIONS]
    height = columns[0].height
    page = Image.new("RGB", (COLUMNS * SIDE, -(-len(columns) // COLUMNS) * height), "white")
    for k, one in enumerate(columns):
        page.paste(one, (k % COLUMNS * SIDE, k // COLUMNS * height))
    page.save(Path(__file__).parent.parent / "docs" / "images" / "degradations.webp", quality=85, method=6)


def column(name: str, images: torch.Tensor) -> Image.Image:
    """The pictures below one another, all at one size, under their name."""
    made = Image.new("RGB", (SIDE, CAPTION + SIDE * len(images)), "white")
    ImageDraw.Draw(made).text((2, 0), name, fill="black")
    for k, image in enumerate(F.interpolate(images.float(), (SIDE, SIDE), mode="nearest")):
        made.paste(to_pil(image), (0, CAPTION + k * SIDE))
    return made


if __name__ == "__main__":
    main()
