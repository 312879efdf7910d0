"""The perceptual path length, on ways whose length is known."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from zeuxis.api.collectors import Chunk
from zeuxis.api.evaluate import evaluate
from zeuxis.api.functions import train
from zeuxis.api.model import load
from zeuxis.api.path_lengths import PathLengths
from zeuxis.batch import Batch, Condition
from zeuxis.data.library import open_source
from zeuxis.errors import Unsupported, UsageError
from zeuxis.knobs import Sampling
from zeuxis.metrics.path_length import path_length, path_lengths
from zeuxis.rng import ImageRng

N, D = 400, 64


def measured(layers: int, gain: float = 1.0) -> tuple[float, float]:
    """Of a decoder that gives ``gain`` times what it is given, in the space of its pictures."""

    def draw_latents(condition: Condition, rng: ImageRng, how: Sampling) -> Tensor:
        z = rng.normal(len(rng), D)
        return z[:, None].expand(-1, layers, -1) if layers else z

    system = SimpleNamespace(
        draw_latents=draw_latents,
        decode=lambda latent: gain * (latent[:, 0] if layers else latent),
        conditions=frozenset(),
        style_layers=layers,
        told_in_latent=0,
    )
    model = SimpleNamespace(system=system, name="stub", computing=nullcontext)
    found = PathLengths(model, SimpleNamespace(of=lambda image: image), 0, Sampling())  # type: ignore[arg-type]
    for _ in range(2):
        found.add(Chunk(Batch(torch.zeros(N // 2, 1, 1, 1), Condition(), torch.arange(N // 2)), None))
    lengths = found.evidence()["path_lengths"]
    assert lengths.shape == (N,)
    return path_length(lengths)


def test_between_style_codes_it_is_the_square_of_the_distance() -> None:
    value, spread = measured(layers=3)
    assert abs(value - 2 * D) < 4 * spread + 1  # E|b - a|^2 of normal a, b; the extremes weigh little
    assert measured(layers=3, gain=3.0)[0] == pytest.approx(9 * value, rel=0.02)


def test_between_normal_latents_it_is_that_of_the_arc() -> None:
    value, spread = measured(layers=0)
    assert abs(value - D * (math.pi / 2) ** 2) < 4 * spread + 4  # about a quarter of a circle of radius sqrt(D)


def test_the_extremes_are_left_out() -> None:
    lengths = torch.cat([torch.zeros(1), torch.ones(198), torch.full((1,), 1e9)]).double()
    assert path_length(lengths) == (1.0, 0.0)


def test_a_distance_is_that_of_features_over_the_step() -> None:
    here = torch.zeros(2, 4)
    assert path_lengths(here, here + 1e-4).tolist() == pytest.approx([4.0, 4.0], rel=1e-4)


def test_it_is_measured_by_name_of_what_draws_and_decodes(tmp_path: Path) -> None:
    settings = {"model.ngf": 4, "model.ndf": 4}
    run = train("dcgan", "digits", size=8, iterations=1, batch=8, settings=settings, out=tmp_path / "run", quiet=True)
    (figure,) = evaluate(run.model, metrics=("path-length",), samples=16)
    assert figure.value > 0 and figure.spread is not None and figure.features is not None and figure.samples == 16
    assert evaluate(run.model, metrics=("path-length",), samples=16) == [figure]
    many = len(open_source("digits", 8, "test")) + 5  # it is held against no picture of the data
    told: list[str] = []
    assert evaluate(run.model, metrics=("path-length",), samples=many, tell=told.append)[0].samples == many
    assert not told
    with pytest.raises(UsageError, match="it is path-length here"):
        evaluate(run.model, metrics=("ppl",), samples=16)
    with pytest.raises(Unsupported, match="of the ways between latents that a model draws and decodes"):
        evaluate(load("scenes"), metrics=("path-length",), samples=16)
