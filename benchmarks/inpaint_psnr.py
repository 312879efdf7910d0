"""The model `inpaint` beside OpenCV's two fillers: PSNR of middles of photographs of which strokes hide a part.

    pip install opencv-python-headless
    python benchmarks/inpaint_psnr.py BSD68 [--size 192] [--strokes 3] [--pictures 40]

Each picture has strokes of its own, the same for all. OpenCV's (Telea 2004; Bertalmio et al. 2001, "navier-stokes")
look 3 pixels around what is hidden; what is not hidden is left as it is by all.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zeuxis.api.restore_models import restorer_for
from zeuxis.degrade.mask import Strokes
from zeuxis.rng import Stream

RADIUS = 3
Pixels = NDArray[Any]


def middle(path: Path, size: int) -> Pixels:
    """``(size, size, 3)`` of 8 bits."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return np.array(picture.crop((left, top, left + size, top + size)))


def ours() -> Callable[[Pixels, Pixels], Pixels]:
    with tempfile.TemporaryDirectory() as folder:
        Image.new("L", (8, 8), 255).save(mask := Path(folder) / "mask.png")
        network = restorer_for("inpaint", f"inpaint:{mask}").network

    def fill(picture: Pixels, hidden: Pixels) -> Pixels:
        x = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
        lost = torch.from_numpy(hidden)[None, None] / 255
        with torch.inference_mode():
            made = network(torch.cat([x * (1 - lost) + 0.5 * lost, lost], 1)).clamp(0, 1)
        found: Pixels = (torch.where(lost > 0, made, x)[0].permute(1, 2, 0) * 255).round().byte().numpy()
        return found

    return fill


def of_opencv(method: int) -> Callable[[Pixels, Pixels], Pixels]:
    return lambda picture, hidden: cv2.inpaint(picture, hidden, RADIUS, method)


def psnr(made: Pixels, true: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.square(made.astype(float) - true).mean()))


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("folder", type=Path)
    given.add_argument("--size", type=int, default=192)
    given.add_argument("--strokes", type=int, default=3)
    given.add_argument("--pictures", type=int, default=40)
    arguments = given.parse_args()
    fillers = {
        "zeuxis": ours(),
        "opencv, telea": of_opencv(cv2.INPAINT_TELEA),
        "opencv, navier-stokes": of_opencv(cv2.INPAINT_NS),
    }
    found: dict[str, list[float]] = {name: [] for name in fillers}
    for k, path in enumerate(sorted(arguments.folder.iterdir())[: arguments.pictures]):
        picture = middle(path, arguments.size)
        hidden = Strokes(arguments.strokes).mask(torch.zeros(1, 3, arguments.size, arguments.size), Stream(k))
        for name, fill in fillers.items():
            found[name].append(psnr(fill(picture, (255 * hidden[0, 0]).byte().numpy()), picture))
    print(json.dumps({name: round(float(np.mean(values)), 2) for name, values in found.items()}))


if __name__ == "__main__":
    main()
