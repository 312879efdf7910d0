"""How much memory measuring takes: python benchmarks/evaluate_memory.py 2000 128. Prints one JSON object, in MiB.

The model draws noise and codes by averaging, so that what is counted is the measuring; pictures are those of the world
`scenes`, three channels, at the given side. Seven metrics, one process; Linux only (peak resident memory).
"""

from __future__ import annotations

import json
import resource
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import Model
from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Rng

METRICS = ("frechet", "kernel", "precision", "rebuilt-frechet", "psnr", "ssim", "bits-per-dim")


class Noise(System):
    """Draws noise; a code is the average of 8x8 pixels."""

    card = Card(
        "noise", title="Noise", family="test", year=2000, paper="", verbs={"sample", "encode", "decode", "log_prob"}
    )

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = Shape(*shape)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return rng.normal(len(rng), *self.shape).clamp(-1, 1)

    def encode(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, 8)

    def decode(self, latent: Tensor) -> Tensor:
        return F.interpolate(latent, scale_factor=8)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        return -image.square().flatten(1).sum(1)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    samples, side = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    model = Model("noise", Noise(Shape(3, side, side)), {"data": "scenes", "sha256": ""})
    start = peak()
    figures = evaluate(model, samples=samples, metrics=METRICS, features="pixels-8")
    found = {"start": start, "peak": peak(), "figures": {f.name: f.value for f in figures}}
    json.dump({"samples": samples, "side": side, **found}, sys.stdout, indent=1)
