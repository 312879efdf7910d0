"""Pictures a second from a folder of JPEGs: decoded once into a mapped array, beside decoded at every step.

python benchmarks/loader_rate.py [--sizes 64 256] [--pictures 512] [--batch 64] [--rounds 7] [--workers 0]

The pictures are photographs' stand-ins made here: fields of smooth noise with edges, of mixed shapes, saved as JPEGs
of quality 90 with a shorter side of 480 pixels. "at every step" is what training scripts usually have: a Dataset that
opens, cuts, resizes and scales a file at each index, behind torch's DataLoader, which shuffles and stacks. Both hand
out float tensors in [-1, 1] of the same centred squares, which is checked. They take turns, batch by batch, so that
other work on the machine meets both; medians are compared, of the time that passed and of the processor's, which other
work disturbs least. A pass over the files before the clock starts puts them
into the system's cache, which favours the plain loader. With --workers the plain one decodes in processes ahead of
the step, as it would beside a training; then whole passes are timed, not single batches, and the time that passed
alone, since the processor's is spent in the other processes.

First the one decoding into the array is timed, with one thread and with as many as are used: what it costs to begin,
and whether the threads pay. "worth it after" is how many epochs of the plain loader take as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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


Turn = tuple[float, float]  # seconds that passed, and of this process's processor time, a batch


def timed(work: Callable[[], object], times: int) -> Turn:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    return (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times


def rates(folder: Path, size: int, batch: int, rounds: int, workers: int, fit: str) -> list[tuple[Turn, Turn]]:
    """Each round's turn of the mapped array and of the plain loader."""
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
    stream.next(), next(batches)
    return [(timed(stream.next, together), timed(lambda: next(batches), together)) for _ in range(rounds)]


def verdict(turns: list[tuple[Turn, Turn]], batch: int, clock: int) -> str:
    """Rates of both and their ratio, by the clock (0) or the processor (1)."""
    pairs = [(mapped[clock], plain[clock]) for mapped, plain in turns]
    ours, theirs = (batch / statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    ratios = [plain / mapped for mapped, plain in pairs]
    return (f"{ours:>8,.0f} images/s mapped, {theirs:>6,.0f} at every step: "
            f"{statistics.median(ratios):,.0f} times as many (least {min(ratios):,.0f})")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="processes of the plain loader")
    parser.add_argument("--fits", nargs="+", default=["square", "crop"], help="of the mapped loader")
    args = parser.parse_args()
    threads = decode.WORKERS
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "pictures"
        folder.mkdir()
        write_pictures(folder, args.pictures)
        for file in folder.iterdir():
            file.read_bytes()
        print(f"{args.pictures} JPEGs, batches of {args.batch}, {torch.get_num_threads()} threads of torch")
        for size in args.sizes:
            firsts = {1: [], threads: []}
            for _ in range(3):
                for workers, seconds in firsts.items():
                    seconds.append(decoding(folder, size, workers))
            one, several = (args.pictures / statistics.median(seconds) for seconds in firsts.values())
            print(f"{size:>4} px, decoded once: {one:,.0f} images/s in 1 thread, {several:,.0f} in {threads}, "
                  f"{several / one:.2f} times as fast")  # fmt: skip
            decode.WORKERS = threads
            os.environ["ZEUXIS_CACHE"] = str(Path(made) / "cache")
            assert cache_dir() == Path(made) / "cache"
            for fit in args.fits:
                turns = rates(folder, size, args.batch, args.rounds, args.workers, fit)
                print(f"{size:>4} px, {fit:>6}, by the clock:     {verdict(turns, args.batch, 0)}")
                if not args.workers:
                    print(f"{size:>4} px, {fit:>6}, by the processor: {verdict(turns, args.batch, 1)}")
                theirs = args.batch / statistics.median(plain[0] for _, plain in turns)
                print(f"{size:>4} px, {fit:>6}: worth it after {theirs / several:.2f} epochs of the plain loader")


if __name__ == "__main__":
    main()
