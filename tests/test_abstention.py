"""Shipped recognisers abstain from what is no picture of their world. The whole table: benchmarks/abstention.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from zeuxis.api.model import load
from zeuxis.batch import Batch
from zeuxis.data.library import open_source
from zeuxis.game import System
from zeuxis.rng import Stream

FILE = Path(__file__).parent.parent / "benchmarks" / "abstention.py"
spec = importlib.util.spec_from_file_location("abstention", FILE)
assert spec is not None and spec.loader is not None
abstention = importlib.util.module_from_spec(spec)
spec.loader.exec_module(abstention)

N = 32
HALVES, QUARTERS = "left and right halves of two", "quarters swapped"
CASES = {  # by recogniser: its world, other worlds, and what is made of its own pictures
    "judge-scenes": ("scenes", ("plants", "scenes-rich-all", "terrain"), (QUARTERS, "white", "checkerboard *")),
    "judge-scenes-rich": ("scenes-rich-all", ("scenes", "faces"), ("black", QUARTERS, "one colour")),
    "judge-faces": ("faces", ("plants", "scenes"), (HALVES, QUARTERS, "negative")),
    "judge-plants": ("plants", ("scenes", "terrain"), (QUARTERS, "black", "upside down")),
    "judge-phantoms": ("phantoms", ("faces", "terrain"), (QUARTERS, "black", "uniform noise")),
    "judge-motion": ("motion-clips", ("scenes", "faces"), (QUARTERS, "black", "uniform noise")),
    "identity-faces": ("faces", ("plants", "terrain"), (HALVES, QUARTERS, "black")),
    "segmenter-scenes": ("scenes", ("plants",), (QUARTERS, "black")),
    "segmenter-faces": ("faces", ("plants",), (HALVES, QUARTERS)),
    "segmenter-phantoms": ("phantoms", ("faces",), (QUARTERS, "black")),
    "segmenter-terrain": ("terrain", ("plants",), ("black", "uniform noise")),
}


def pictures(world: str, shape: torch.Size | tuple[int, int, int], n: int) -> Batch:
    return open_source(world, shape[1], "test").batch(torch.arange(5000, 5000 + n))


def accepted(system: System, image: torch.Tensor) -> float:
    """The share of pictures that it takes for those of its world."""
    with torch.inference_mode():
        return float(torch.cat([system.in_distribution(part) for part in image.split(N)]).float().mean())


@pytest.mark.parametrize("name", CASES)
def test_a_recogniser_knows_its_world_and_abstains_from_others(name: str) -> None:
    world, others, kinds = CASES[name]
    system = load(name).system
    own = pictures(world, system.shape, (2 if "segmenter" in name else 6) * N).image  # segmenters take their time
    foreign = {other: abstention.to_shape(pictures(other, system.shape, N).image, system.shape) for other in others}
    foreign |= {kind: abstention.KINDS[kind](own[:N], Stream(0)) for kind in kinds}
    assert accepted(system, own) > 0.98
    found = {kind: accepted(system, image) for kind, image in foreign.items()}
    assert max(found.values()) <= 0.1, found


def test_a_third_object_is_noticed() -> None:
    """The judge reads two of the three; that does not make the picture right."""
    system = load("judge-scenes").system
    image = abstention.third_object(torch.zeros(2 * N, *system.shape), Stream(0))
    assert len(image) == 2 * N and accepted(system, image) <= 0.1
