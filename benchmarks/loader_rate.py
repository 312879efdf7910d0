"""Pictures from a folder of JPEGs: decoded once into a mapped array, beside decoded at every step.

python benchmarks/loader_rate.py [--sizes 64 256] [--pictures 512] [--batch 64] [--turns 20] [--workers 0]

The pictures are photographs' stand-ins made here: fields of smooth noise with edges, of mixed shapes, saved as JPEGs
of quality 90 with a shorter side of 480 pixels. "at every step" is what training scripts usually have: a Dataset that
opens, cuts, resizes and scales a file at each index, behind torch's DataLoader, which shuffles and stacks. Both hand
out float tensors in [-1, 1] of the same centred squares, which is checked. A pass over the files before the clock
starts puts them into the system's cache, which favours the plain loader. With --workers the plain one decodes in
processes ahead of the step, as it would beside a training; then whole passes are timed, not single batches, by the
clock, since the processor's time is spent in the other processes.

First the one decoding into the array is timed by the clock, with one thread and with as many as are used: what it
costs to begin, and whether the threads pay.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import _race
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zeuxis.data import decode
from zeuxis.data.batches import Batches
from zeuxis.data.cache import cache_dir
from zeuxis.data.fit import parse_fit
from zeuxis.data.folder import open_folder

SHAPES = ((640, 480), (480, 640), (720, 480), (480, 480))  # width, height


class Plain(Dataset[Tensor]):
    """Opens, cuts and resizes at every step."""

    def __init__(self, folder: Path, size: int) -> None:
        self.files, self.size = sorted(folder.glob("*.jpg")), size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> Tensor:
        with Image.open(self.files[k]) as picture:
            rgb = picture.convert("RGB")
        side = min(rgb.size)
        left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
        square = rgb.crop((left, top, left + side, top + side)).resize((self.size, self.size), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).float().mul_(2 / 255).sub_(1)  # (3, H, W)


def write_pictures(folder: Path, n: int) -> None:
    """``n`` JPEGs about as hard to decode as photographs."""
    draws = np.random.default_rng(0)
    for k in range(n):
        width, height = SHAPES[k % len(SHAPES)]
        coarse = draws.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = draws.normal(0, 6, (height, width, 1))
        edge = 40 * (np.sin(np.arange(width) / draws.uniform(5, 30)) > 0)[None, :, None]
        pixels = np.clip(np.asarray(smooth) * 0.7 + edge + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:05}.jpg", quality=90)


def decoding(folder: Path, size: int, workers: int) -> float:
    """Seconds to open the folder for the first time."""
    decode.WORKERS = workers
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["ZEUXIS_CACHE"] = fresh
        start = time.perf_counter()
        open_folder(folder, size)
        return time.perf_counter() - start


def endless(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    while True:
        yield from loader


def rates(folder: Path, size: int, batch: int, turns: int, workers: int, fit: str) -> _race.Seconds:
    """Seconds of each turn of the mapped array and of the plain loader."""
    source = open_folder(folder, size, "train", parse_fit(fit))
    dataset = Plain(folder, size)
    if fit == "square":
        first = source.batch(torch.arange(1)).image[0]
        nearest = min(float((dataset[k] - first).abs().max()) for k in range(8))
        assert nearest < 2 / 255, f"the two loaders hand out different pictures: {nearest}"
    stream = Batches(source, batch, seed=0)
    draws = torch.Generator().manual_seed(0)
    loader = DataLoader(dataset, batch, shuffle=True, drop_last=True, num_workers=workers, generator=draws)
    batches = endless(loader)
    together = len(loader) if workers else 1  # batches timed as one
    return _race.race(
        {
            _race.OURS: lambda: [stream.next() for _ in range(together)],
            "decoded at every step": lambda: [next(batches) for _ in range(together)],
        },
        turns,
        warm=1,
        clock=time.perf_counter if workers else time.process_time,  # other processes' time is not counted here
    )


def main() -> None:
    parser = _race.arguments(__doc__, pictures=512, batch=64, workers=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--fits", nargs="+", default=["square", "crop"], help="of the mapped loader")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows, threads = [], decode.WORKERS
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "pictures"
        folder.mkdir()
        write_pictures(folder, args.pictures)
        for file in folder.iterdir():
            file.read_bytes()
        for size in args.sizes:
            firsts: dict[int, list[float]] = {1: [], threads: []}
            for _ in range(3):
                for workers, seconds in firsts.items():
                    seconds.append(decoding(folder, size, workers))
            for workers, seconds in firsts.items():
                rows.append(_race.alone(f"JPEGs decoded once, {size} px, {workers} workers", seconds, args.pictures))
            decode.WORKERS = threads
            os.environ["ZEUXIS_CACHE"] = str(Path(made) / "cache")
            assert cache_dir() == Path(made) / "cache"
            for fit in args.fits:
                found = rates(folder, size, args.batch, args.turns, args.workers, fit)
                together = args.batch * (args.pictures // args.batch if args.workers else 1)
                rows += _race.compared(f"cached pictures, {size} px, {fit}", found, together)
    _race.told(rows, args)


if __name__ == "__main__":
    main()
