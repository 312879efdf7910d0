"""Our distances beside torch-fidelity's, on the same features: python benchmarks/metrics_rate.py [--dims 2048].

    pip install --no-deps torch-fidelity

The reference's statistics are known to both: its root is kept with ours, as ``zeuxis evaluate`` keeps it. The kernel
distance is of 100 subsets of the same size. Ours of precision and recall computes density and coverage as well. Before
the race all three must agree: the first and the last are the same numbers, the kernel's subsets are drawn otherwise.
torch-fidelity imports torchvision for its networks, which are not used here; where there is none, an empty one stands
in for it.
"""

from __future__ import annotations

import importlib.util
import sys
from unittest.mock import MagicMock

import torch
from _race import OURS, arguments, compared, race, told
from torch import Tensor

from zeuxis.metrics.frechet import Moments, frechet
from zeuxis.metrics.kernel import kernel
from zeuxis.metrics.precision import precision_recall
from zeuxis.rng import Stream

if importlib.util.find_spec("torchvision") is None:
    for name in ("", ".transforms", ".transforms.functional", ".datasets", ".models", ".io"):
        sys.modules[f"torchvision{name}"] = MagicMock()

from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

PEER = "torch-fidelity"
AGREE = {"frechet": 1e-6, "kernel": 0.05, "precision, recall": 1e-6}  # how far they may be apart, relative


def clouds(n: int, dims: int) -> tuple[Tensor, Tensor]:
    """Two sets of correlated features, none below 0, as after a rectifier."""
    rng = Stream(0, "clouds")
    mix = rng.normal(dims, dims) / dims**0.5
    return (rng.normal(n, dims) @ mix).relu(), (1.1 * rng.normal(n, dims) @ mix + 0.1).relu()


if __name__ == "__main__":
    given = arguments(__doc__, pictures=5000, dims=256).parse_args()
    torch.set_num_threads(given.threads)
    real, fake = clouds(given.pictures, given.dims)
    known, theirs = Moments.of(real), fid_features_to_statistics(real)
    subset = min(1000, given.pictures // 2)
    keywords = {"verbose": False, "rng_seed": 0, "kid_subsets": 100, "kid_subset_size": subset,
                "save_cpu_ram": True, "prc_neighborhood": 3, "prc_batch_size": 10_000}  # fmt: skip

    def support() -> tuple[float, float]:
        found = precision_recall(real, fake)
        return found.precision, found.recall

    def their_support() -> tuple[float, float]:
        found = prc_features_to_metric(fake, real, **keywords)
        return found["precision"], found["recall"]

    races = {
        "frechet": {
            OURS: lambda: (frechet(fake, known),),
            PEER: lambda: tuple(
                fid_statistics_to_metric(fid_features_to_statistics(fake), theirs, False).values(),
            ),
        },
        "kernel": {
            OURS: lambda: (kernel(real, fake, Stream(1)).value,),
            PEER: lambda: (kid_features_to_metric(real, fake, **keywords)["kernel_inception_distance_mean"],),
        },
        "precision, recall": {OURS: support, PEER: their_support},
    }
    rows = []
    for what, contestants in races.items():
        ours, others = contestants[OURS](), contestants[PEER]()
        for x, y in zip(ours, others, strict=True):
            if abs(x - y) > AGREE[what] * max(abs(x), abs(y)):
                sys.exit(f"{what}: {ours} here, {others} there")
        seconds = race(contestants, given.turns, warm=1)
        rows += compared(f"{what}, {given.pictures} by {given.dims}", seconds, given.pictures, "features")
    told(rows, given)
