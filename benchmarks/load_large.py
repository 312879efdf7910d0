"""How long a large network takes to load, and in how much memory: python benchmarks/load_large.py [--device cuda].

The network is the U-Net of Stable Diffusion 1.x (860 M parameters), as a system of its own whose weights lie in a
folder of 3.4 GB. Three ways, each in a fresh process: built at random, then overwritten (as loading was done
before); built without memory and given the file's tensors; and the same in bfloat16. Prints one JSON. ``touched``
is the time and memory after every weight was read once: until then a mapped file costs nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.catalog import build, weights
from zeuxis.game import System
from zeuxis.nn.unet import UNet
from zeuxis.training.checkpoint import read_model, write_model

WAYS = ("random then copied", "mapped", "mapped bfloat16")


class Large(System):
    """A U-Net alone."""

    card = Card("large-unet", title="U-Net", family="test", year=2022, paper="2112.10752")

    def __init__(self) -> None:
        super().__init__()
        self.shape = Shape(4, 64, 64)
        self.network = UNet(
            4,
            width=320,
            multiples=(1, 2, 4, 4),
            blocks=2,
            attention=(1, 2, 4),
            heads=8,
            context_width=768,
        )


build.system_class = lambda name: Large  # not in the catalogue: it is no method


def memory(key: str) -> float:
    """A line of /proc/self/status in GiB; Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 2**20


def load(way: str, folder: Path, device: str) -> dict[str, float]:
    begun = memory("RssAnon")
    start = time.monotonic()
    if way == WAYS[0]:
        system: System = Large()
        tensors, _ = read_model(folder)
        system.load_state_dict(tensors)
        system.to(device)
    else:
        dtype = torch.bfloat16 if way == WAYS[2] else None
        system, _ = weights.load_system(folder, dtype=dtype, device=device)
    loaded = time.monotonic() - start
    own = memory("RssAnon") - begun
    total = sum(float(p.detach().sum()) for p in system.parameters())
    touched = time.monotonic() - start
    assert total == total
    on_device = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    figures = {
        "load_s": loaded,
        "touched_s": touched,
        "own_memory_GiB": own,  # beside the file's pages, which the system may drop
        "peak_GiB": memory("VmHWM"),
        "device_peak_GiB": on_device,
    }
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.way:
        sys.stdout.write(json.dumps(load(given.way, given.folder, given.device)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        with torch.device("meta"):
            system = Large()
        count = sum(p.numel() for p in system.parameters())
        system.to_empty(device="cpu")
        for p in system.parameters():
            p.data.fill_(0.01)
        write_model(folder, system, {})
        del system
        out: dict[str, object] = {"parameters": count, "file_GB": (folder / "model.safetensors").stat().st_size / 1e9}
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--folder", str(folder), "--device", given.device]
            out[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    sys.stdout.write(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
