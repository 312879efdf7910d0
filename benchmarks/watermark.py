"""What the watermark survives, and how often it is seen where it is not: python benchmarks/watermark.py

Photographs are read from $ZEUXIS_DATA: the middle 256x256 of photos-bsds200, the least that is marked, and the middle
of photos_free, brought to 512x512. Each is marked, edited, and looked at. A table in Markdown: an edit a row, how many
of the pictures are still called marked (chance below one in a million), and the median of their scores.

False alarms: all 200 of photos-bsds200, unmarked, with the real key and with others that nobody marked with; without a
mark each key is as good as another. If the bound on the chance is one, at most a share q of them has a bound below q.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from zeuxis.data.cache import data_dir
from zeuxis.data.library import open_source
from zeuxis.data.source import Source
from zeuxis.provenance.detection import FALSE_ALARM, detect
from zeuxis.provenance.watermark import marked

Picture = NDArray[np.uint8]
LARGE = 512
SPLITS = ("train", "val", "test")


def coded(picture: Picture, kind: str, quality: int) -> Picture:
    file = BytesIO()
    Image.fromarray(picture).save(file, kind, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def resized(picture: Picture, share: float) -> Picture:
    size = (round(share * picture.shape[1]), round(share * picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def cut(picture: Picture, share: float) -> Picture:
    """So much of each side, from a place that is no multiple of anything."""
    height, width = (round(share * side) for side in picture.shape[:2])
    top, left = (round(0.37 * (side - kept)) for side, kept in zip(picture.shape[:2], (height, width), strict=True))
    return picture[top : top + height, left : left + width]


def filtered(picture: Picture, by: ImageFilter.Filter | type[ImageFilter.Filter]) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(by))


def noisy(picture: Picture, levels: float) -> Picture:
    noise = np.random.default_rng(0).normal(0, levels, picture.shape)
    return np.rint(picture + noise).clip(0, 255).astype(np.uint8)


def turned(picture: Picture, degrees: float) -> Picture:
    return np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC))


EDITS: dict[str, Callable[[Picture], Picture]] = {
    "none": lambda x: x,
    "JPEG, quality 90": lambda x: coded(x, "JPEG", 90),
    "JPEG, quality 75": lambda x: coded(x, "JPEG", 75),
    "JPEG, quality 50": lambda x: coded(x, "JPEG", 50),
    "JPEG, quality 30": lambda x: coded(x, "JPEG", 30),
    "WebP, quality 80": lambda x: coded(x, "WEBP", 80),
    "WebP, quality 50": lambda x: coded(x, "WEBP", 50),
    "resized to 75 %": lambda x: resized(x, 0.75),
    "resized to 50 %": lambda x: resized(x, 0.5),
    "enlarged to 150 %": lambda x: resized(x, 1.5),
    "cut to 90 % of each side": lambda x: cut(x, 0.9),
    "cut to 75 % of each side": lambda x: cut(x, 0.75),
    "cut to 50 % of each side": lambda x: cut(x, 0.5),
    "cut to 75 %, resized to 75 %, JPEG 75": lambda x: coded(resized(cut(x, 0.75), 0.75), "JPEG", 75),
    "denoised: median of 3x3": lambda x: filtered(x, ImageFilter.MedianFilter(3)),
    "denoised: median of 5x5": lambda x: filtered(x, ImageFilter.MedianFilter(5)),
    "blurred, Gaussian of 1 pixel": lambda x: filtered(x, ImageFilter.GaussianBlur(1)),
    "noise of 10 levels": lambda x: noisy(x, 10),
    "made grey": lambda x: np.asarray(Image.fromarray(x).convert("L")),
    "a tenth brighter": lambda x: np.rint(1.1 * x).clip(0, 255).astype(np.uint8),
    "turned by 1 degree": lambda x: turned(x, 1),
    "mirrored": lambda x: x[:, ::-1],
}


def middle(picture: Picture, side: int) -> Picture:
    top, left = ((have - side) // 2 for have in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def photographs(side: int) -> list[Picture]:
    """The 200 of photos-bsds200, their middle."""
    found: list[Picture] = []
    for split in SPLITS:
        source: Source = open_source("photos-bsds200", split=split)
        for k in range(len(source)):
            image = source.batch(torch.tensor([k])).image[0]  # (3, H, W)
            pixels = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
            found.append(middle(pixels, side))
    return found


def large(folder: Path, most: int) -> list[Picture]:
    """The first photographs in a folder, brought to the size of pictures as models draw them, their middle."""
    found = []
    for file in sorted(folder.glob("*.jpg"))[:most]:
        with Image.open(file) as image:
            share = LARGE / min(image.size)
            size = [max(LARGE, round(share * side)) for side in image.size]
            found.append(middle(np.asarray(image.convert("RGB").resize((size[0], size[1]))), LARGE))
    return found


def decibels(one: Picture, other: Picture) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def survival(sets: dict[str, list[Picture]]) -> None:
    columns = [f"{name} ({len(pictures)} photographs)" for name, pictures in sets.items()]
    made = {name: [marked(picture) for picture in pictures] for name, pictures in sets.items()}
    for name, pictures in sets.items():
        loss = [decibels(*pair) for pair in zip(pictures, made[name], strict=True)]
        print(f"{name}: PSNR against the unmarked {np.mean(loss):.1f} dB, least {min(loss):.1f}")
    print("\n| edit | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for edit, apply in EDITS.items():
        cells = []
        for pictures in made.values():
            found = [detect(apply(picture)) for picture in pictures]
            share = sum(one.marked for one in found)
            cells.append(f"{share} of {len(found)}, score {median(one.score for one in found):.0f}")
        print(f"| {edit} | " + " | ".join(cells) + " |", flush=True)


def false_alarms(pictures: list[Picture], keys: int) -> None:
    own = [detect(picture) for picture in pictures]
    other = [detect(picture, b"key %d" % k).p_value for picture in pictures for k in range(keys)]
    print(f"\nFalse alarms, {len(pictures)} photographs of 256x256 without a mark:")
    print(
        f"- the real key: {sum(one.marked for one in own)} called marked; highest score {max(o.score for o in own):.2f}"
    )
    print(f"- {keys} other keys: {sum(p < FALSE_ALARM for p in other)} of {len(other)} called marked")
    both = np.array([*other, *(one.p_value for one in own)])
    for q in (0.1, 0.01, 0.001):
        print(f"- bound on the chance below {q}: {np.mean(both < q):.5f} of all {len(both)}; least {both.min():.2g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photographs", type=int, default=40, help="of photos-bsds200, evenly from the 200")
    parser.add_argument("--large", type=int, default=16, help="of photos_free, the first")
    parser.add_argument("--keys", type=int, default=5)
    given = parser.parse_args()
    folder = data_dir()
    if folder is None:
        raise SystemExit("set ZEUXIS_DATA to the folder that holds photos_bsds200 and photos_free")
    pictures = photographs(256)
    some = [pictures[k] for k in np.linspace(0, len(pictures) - 1, given.photographs).astype(int)]
    survival({"256x256": some, "512x512": large(folder / "photos_free", given.large)})
    false_alarms(pictures, given.keys)


if __name__ == "__main__":
    main()
