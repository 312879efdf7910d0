"""Held-out losses: what of pictures that training never sees is logged and plotted, and that nothing of it moves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zeuxis.api import runs
from zeuxis.api.page import held_out_curves, shown_html
from zeuxis.api.runs import train as run_training
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.data.batches import Batches
from zeuxis.data.source import ArraySource
from zeuxis.diffusion.held_out import LEVELS, errors_at_levels
from zeuxis.diffusion.path import append_dims
from zeuxis.distributions.dequantise import dequantise
from zeuxis.recipe import Train, load_recipe
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.density.gaussian import Gaussian
from zeuxis.systems.diffusion.consistency import Consistency
from zeuxis.systems.diffusion.ddpm import DDPM
from zeuxis.systems.diffusion.edm import EDM
from zeuxis.systems.diffusion.flow_matching import FlowMatching
from zeuxis.systems.diffusion.ncsn import NCSN
from zeuxis.systems.diffusion.score_sde import ScoreSDE
from zeuxis.testing.toy import toy_source
from zeuxis.training.log import read_log
from zeuxis.training.trainer import Trainer

SHAPE = Shape(1, 8, 8)
SMALL = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}
SYSTEMS = {
    "ddpm": lambda: DDPM(SHAPE, classes=3, condition="label", **SMALL),  # type: ignore[arg-type]
    "flow-matching": lambda: FlowMatching(SHAPE, network={"kind": "unet", **SMALL}, classes=3, condition="label"),
    "consistency": lambda: Consistency(SHAPE, **SMALL),  # type: ignore[arg-type]
    "ncsn": lambda: NCSN(SHAPE, network=SMALL),
    "score-sde": lambda: ScoreSDE(SHAPE, network=SMALL, sde="ve"),
    "edm": lambda: EDM(SHAPE, network=SMALL, guidance=3.0),
}


def pictures(n: int, deviation: float = 0.5) -> Tensor:
    return deviation * Stream(0).normal(n, *SHAPE)


def test_who_knows_the_deviation_alone_errs_by_one_at_every_level() -> None:
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x * append_dims(0.25 / (0.25 + sigma**2), x)

    found = errors_at_levels(denoise, pictures(400), Stream(1))
    assert len(found) == len(LEVELS) == 8
    for value in found.values():
        assert float(value) == pytest.approx(1, abs=0.03)
    better = errors_at_levels(denoise, pictures(400, 0.25), Stream(1))
    assert all(float(better[name]) < 1 for name in found)


@pytest.mark.parametrize("name", SYSTEMS)
def test_diffusion_systems_measure_their_denoiser_without_guidance(name: str) -> None:
    system = SYSTEMS[name]().eval()
    batch = Batch(pictures(4), Condition(label=torch.tensor([0, 1, 2, 0])))
    with torch.no_grad():
        one, other = (system.held_out(batch, Stream(3)) for _ in range(2))
    assert list(one) == [f"sigma {level:g}" for level in LEVELS]
    assert all(torch.equal(one[key], other[key]) and math.isfinite(float(one[key])) for key in one)


def test_others_measure_what_they_can() -> None:
    batch = Batch(pictures(11))  # more than are measured at a time
    gaussian = Gaussian(SHAPE)
    (nats,) = gaussian.held_out(batch, Stream(4)).values()
    spread = dequantise(batch.image, Stream(4))
    torch.testing.assert_close(nats, -gaussian.log_prob(spread, Stream(0)).mean() / spread[0].numel())
    coder = build("vq-vae", DataSpec(SHAPE), {"width": 8, "hidden": 8, "blocks": 1, "codes": 4}).eval()
    found = coder.held_out(batch, Stream(4))
    torch.testing.assert_close(
        found["rebuilt"], (coder.decode(coder.encode(batch.image)) - batch.image).square().mean()
    )
    gan = build("dcgan", DataSpec(Shape(1, 8, 8)), {"nz": 4, "ngf": 4, "ndf": 4})
    assert gan.held_out(Batch(pictures(2)), Stream(0)) == {}


def train(folder: Path, held_out: Batch | None, iterations: int = 5) -> Trainer:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        system = EDM(Shape(1, 8, 8), network=SMALL)
    config = Train.model_validate({"iterations": iterations, "batch": 4, "ema": 0.9, "preview_minutes": 60})
    trainer = Trainer(system, Batches(toy_source(1, 8, 16), 4, 0), config, folder, held_out=held_out)
    trainer.run()
    return trainer


def test_weights_are_the_same_bits_whether_it_is_measured_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeuxis.training.trainer.PATIENCE", 0)  # measured after every round
    batch = toy_source(1, 8, 16).batch(torch.arange(8))
    with_it, without = train(tmp_path / "with", batch), train(tmp_path / "without", None)
    for kind in ("system", "average"):
        one, other = getattr(with_it, kind).state_dict(), getattr(without, kind).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(with_it.rng.state(), without.rng.state())
    assert with_it.system.training
    entries = [e for e in read_log(tmp_path / "with" / "log.jsonl") if "held-out/mean" in e]
    assert [e["round"] for e in entries] == [0, 1, 2, 3, 4, 5]
    for entry in entries:
        values = [entry[f"held-out/sigma {level:g}"] for level in LEVELS]
        assert entry["held-out/mean"] == pytest.approx(sum(values) / 8)
    assert not any("held-out/mean" in entry for entry in read_log(tmp_path / "without" / "log.jsonl"))
    further = train(tmp_path / "with", batch, iterations=6)
    again = [e for e in read_log(tmp_path / "with" / "log.jsonl") if "held-out/mean" in e]
    assert again[:6] == entries and [e["round"] for e in again[6:]] == [6]  # once for an iteration, resumed or not
    assert further.clock().notes["held-out/mean"] == again[-1]["held-out/mean"]
    assert with_it.clock().notes["held-out/mean"] == entries[-1]["held-out/mean"]


def test_it_is_measured_at_both_ends_however_short_the_training(tmp_path: Path) -> None:
    trainer = train(tmp_path, toy_source(1, 8, 16).batch(torch.arange(8)))
    curves = held_out_curves(tmp_path / "log.jsonl")
    assert next(iter(curves)) == "mean" and len(curves) == 9
    images = [x for x, _ in curves["mean"]]
    assert images[0] == 0 and images[-1] == 20
    html = shown_html("a run", {}, None, curves)
    assert "held-out loss" in html and "sigma 0.05" in html
    assert trainer.images == 20


def test_a_run_has_its_curves(tmp_path: Path) -> None:
    small = ("network.width=16", "network.depth=1", "network.heads=2", "steps=1")
    recipe = load_recipe("digits", (*(f"model.{each}" for each in small), "train.iterations=2", "train.batch=8"))
    run = run_training(recipe, out=tmp_path / "run")
    (begun, _), *_, (ended, _) = run.held_out["mean"]
    assert (begun, ended) == (0, 16)
    assert "held-out loss" in run._repr_html_()
    assert "held-out/mean" in run.clock.notes


def test_what_is_looked_at_is_of_all_classes_of_a_folder_that_gives_them_one_after_another() -> None:
    labels = np.repeat(np.arange(4), 25)
    source = ArraySource("classes", np.zeros((100, 1, 8, 8), np.uint8), fields={"label": labels}, class_names=["a"] * 4)
    assert runs._spread(source, 16).condition.label.tolist() == np.repeat(np.arange(4), 4).tolist()
    assert runs._spread(source, 500).index.tolist() == list(range(100))
