"""Models whose matrices are kept in half precision, as ``--precision float16`` keeps them, on a processor."""

from __future__ import annotations

import copy

import pytest
import torch

from zeuxis.data.batches import Batches
from zeuxis.recipe import load_recipe
from zeuxis.rng import ImageRng
from zeuxis.testing.case import BATCH, Case, Harness

# one for each layer that computes apart from torch's own precision: LSTMs, spectral norms, styles, modulated maps
NAMES = ("align-draw", "biggan", "stylegan", "stylegan3-t")


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_draws_nearly_the_same_and_trains(name: str) -> None:
    case = Case(load_recipe(name))
    whole, given = case.built().eval(), case.batch(2).condition
    half = copy.deepcopy(whole)
    for p in half.parameters():
        p.data = p.data.half() if p.ndim > 1 else p.data
    with torch.inference_mode():
        wanted = whole.sample(given, ImageRng.counting(0, 2), case.short)
        with torch.autocast("cpu", torch.float16):
            found = half.sample(given, ImageRng.counting(0, 2), case.short).float()
    assert (found - wanted).abs().max() < 0.02 * (wanted.max() - wanted.min()) + 0.01
    with torch.autocast("cpu", torch.float16):
        Harness(whole, Batches(case.source, BATCH, 0)).rounds(1)  # which refuses what is not finite
