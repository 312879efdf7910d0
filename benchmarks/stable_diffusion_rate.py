"""A whole `sample` of Stable Diffusion beside diffusers' pipeline: time, peak memory, and the share of the loop.

    python benchmarks/stable_diffusion_rate.py [--size 256] [--steps 4] [--turns 3] [--threads 2] [--small]

The shape is 1.5's (859,520,964 parameters in the U-Net) with random weights, in one folder of the hub's layout that
both open; DDIM, guidance 7.5, float32. Each run is a process of its own, in turns whose order is rotated: it opens the
folder, then draws a picture of ``--steps`` steps, text and decoder included, in CPU seconds; its peak memory is the
system's VmHWM, which counts the pages of the mapped file. What is neither text, U-Net nor decoder is the loop.
diffusers and transformers must be installed. ``--small`` is for a trial of this file: a tiny network.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _race
import torch

from zeuxis.api.model import load
from zeuxis.batch import Condition
from zeuxis.catalog.build import build
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.nn.clip_tokeniser import BEGIN, END, byte_vocabulary
from zeuxis.pretrained.hub_export import write_hub_layout
from zeuxis.rng import ImageRng
from zeuxis.spec import DataSpec, Shape

CAPTION = "a corgi wearing a bow tie"
PEER = "diffusers"
SMALL: dict[str, Any] = {
    "network": {"width": 128, "multiples": (1, 2), "blocks": 1, "attention": (1,), "heads": 8},
    "first_stage": {"width": 128, "multiples": (1, 1, 1, 1), "blocks": 1},
}


def tokens() -> dict[str, int]:
    """A vocabulary of bytes, with the beginning and the end where 1.x has them."""
    plain = [token for token in byte_vocabulary() if token not in (BEGIN, END)]
    return {**{token: i for i, token in enumerate(plain)}, BEGIN: 49406, END: 49407}


def write_random(folder: Path, size: int, small: bool) -> int:
    """A pipeline of random weights in ``folder``; how many parameters its U-Net has."""
    text = {"tokens": tokens(), "merges": (), "vocabulary": 49408}
    model = {**(SMALL if small else {}), "text": (text,), "to_zero": False}
    with torch.device("meta"):
        system = build("stable-diffusion", DataSpec(Shape(3, size, size)), model)
    system.to_empty(device="cpu")
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in system.parameters():
            if p.ndim == 1:
                p.fill_(0.5)
            else:
                p.normal_(0, p[0].numel() ** -0.5, generator=draws)
    write_hub_layout(system.config, system.state_dict(), size, folder)
    return sum(p.numel() for p in system.get_submodule("network").parameters())


def peak() -> float:
    """The largest resident memory of this process so far in GiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**20


class Counted:
    """CPU seconds spent within some functions."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            self.depth += 1
            start = time.process_time()
            try:
                return function(*args, **named)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds += time.process_time() - start

        return counted


def ours(folder: Path, size: int, steps: int) -> Callable[[], dict[str, float]]:
    system: System = load(str(folder)).system
    system.shape = Shape(3, size, size)
    condition = Condition(caption=(CAPTION,))

    def draw() -> dict[str, float]:
        within = Counted()
        for part in ("network", "first_stage", "prompt"):
            module = system.get_submodule(part)
            module.forward = within.wrap(module.forward)  # type: ignore[method-assign]
        start = time.process_time()
        stage: Any = system.get_submodule("first_stage")
        stage.decode = within.wrap(stage.decode)
        system.sample(condition, ImageRng([1]), Sampling(steps=steps, sampler="ddim", guidance=7.5))
        spent = time.process_time() - start
        return {"seconds": spent, "overhead": (spent - within.seconds) / spent}

    return draw


def theirs(folder: Path, size: int, steps: int) -> Callable[[], dict[str, float]]:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(str(folder), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)

    def draw() -> dict[str, float]:
        start = time.process_time()
        with torch.no_grad():
            pipe(CAPTION, num_inference_steps=steps, guidance_scale=7.5, height=size, width=size, output_type="pt")
        return {"seconds": time.process_time() - start}

    return draw


def main() -> None:
    parser = _race.arguments(__doc__, size=256, steps=4)
    parser.set_defaults(turns=3, threads=2)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--way", choices=(_race.OURS, PEER))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.way:
        torch.set_num_threads(given.threads)
        draw = (ours if given.way == _race.OURS else theirs)(given.folder, given.size, given.steps)
        sys.stdout.write(json.dumps({**draw(), "peak": peak()}))
        return
    found: dict[str, list[dict[str, float]]] = {_race.OURS: [], PEER: []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        count = write_random(folder, given.size, given.small)
        command = [sys.executable, __file__, "--folder", str(folder), *(sys.argv[1:])]
        for turn in range(given.turns):
            names = list(found)
            for name in names[turn % 2 :] + names[: turn % 2]:
                done = subprocess.run([*command, "--way", name], check=True, capture_output=True, text=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    seconds = {name: [run["seconds"] for run in runs] for name, runs in found.items()}
    what = f"Stable Diffusion, {count:,} parameters, {given.size}x{given.size}, {given.steps} steps, a whole picture"
    rows = _race.compared(what, seconds, 1)
    most = {name: statistics.median(run["peak"] for run in runs) for name, runs in found.items()}
    share = round(most[_race.OURS] / most[PEER], 3)
    rows.append(_race.Row(f"{what}: peak memory, ours over theirs", f"{most[_race.OURS]:.2f} GiB", PEER, share))
    overhead = statistics.median(run["overhead"] for run in found[_race.OURS])
    rows.append(_race.Row(f"{what}: what is neither text, U-Net nor decoder", f"{100 * overhead:.2f} % of its time"))
    _race.told(rows, given)


if __name__ == "__main__":
    main()
