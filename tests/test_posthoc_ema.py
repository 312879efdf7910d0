"""Averages whose length is chosen after training (Karras et al. 2024), against averages that were tracked."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zeuxis.api.average import average
from zeuxis.batch import Shape
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.data.batches import Batches
from zeuxis.errors import Unsupported, UsageError
from zeuxis.recipe import Train
from zeuxis.systems.diffusion.flow_matching import FlowMatching
from zeuxis.testing.toy import toy_source
from zeuxis.training.posthoc import STORED, PowerAverages, combined, decay, exponent, product, weights_of
from zeuxis.training.trainer import Trainer

SHAPE = Shape(1, 8, 8)
DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}


def in_time(gamma: float, round: int) -> np.ndarray:
    """How much each of ``round`` iterations counts in an average that is updated by :func:`decay`."""
    counts = np.zeros(round)
    for k in range(1, round + 1):
        beta = decay(gamma, k)
        counts *= beta
        counts[k - 1] = 1 - beta
    return counts


@pytest.mark.parametrize("length", [0.02, 0.05, 0.1, 0.25])
def test_a_length_is_the_deviation_of_the_weights_in_time(length: float) -> None:
    gamma = exponent(length)
    assert (gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5) == pytest.approx(length)  # Eq. 126
    counts, t = in_time(gamma, 4000), np.arange(4000) / 4000
    mean = (counts * t).sum()
    assert counts.sum() == pytest.approx(1)
    assert math.sqrt((counts * (t - mean) ** 2).sum()) == pytest.approx(length, rel=0.01)


def test_the_published_exponents() -> None:
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01) and exponent(0.10) == pytest.approx(6.94, abs=0.01)


def test_products_are_those_of_the_weights_in_time() -> None:
    a, b = (2000, exponent(0.05)), (3000, exponent(0.1))
    early, late = np.pad(in_time(a[1], a[0]), (0, 1000)), in_time(b[1], b[0])
    assert product(a, b) == product(b, a) == pytest.approx(float(early @ late), rel=0.01)
    assert product(b, b) == pytest.approx(float(late @ late), rel=0.01)


@pytest.mark.parametrize(("length", "most"), [(0.03, 0.05), (0.07, 0.02), (0.15, 0.02), (0.2, 0.05)])
def test_snapshots_give_the_weights_in_time_of_another_length(length: float, most: float) -> None:
    """With 20 snapshots the error is a few per cent of the average's own weights (the paper's Figure 5)."""
    rounds, kept = 2000, 20
    stored = [(rounds * k // kept, own) for k in range(1, kept + 1) for own in STORED]
    counts = weights_of(stored, rounds, length)
    assert sum(counts) == pytest.approx(1)
    made = sum(
        count * np.pad(in_time(exponent(own), r), (0, rounds - r))
        for count, (r, own) in zip(counts, stored, strict=True)
    )
    wanted = in_time(exponent(length), rounds)
    assert np.abs(made - wanted).sum() < most * 2  # of a total weight of 1
    assert np.square(made - wanted).sum() < most * np.square(wanted).sum()


def test_an_average_that_was_stored_is_found_again() -> None:
    counts = weights_of([(50, 0.05), (50, 0.1), (100, 0.05), (100, 0.1)], 100, 0.1)
    assert counts == pytest.approx([0, 0, 0, 1], abs=1e-9)


def trained(folder: Path, rounds: int, *, stop: int | None = None, posthoc: int = 10) -> Trainer:
    torch.manual_seed(0)
    system = FlowMatching(SHAPE, network=DIT)
    config = Train.model_validate({"iterations": rounds, "batch": 4, "posthoc": posthoc, "ema": 0.9})
    trainer = Trainer(system, Batches(toy_source(1, 8, 16), 4, 0), config, folder, players={"network": {"lr": 3e-3}})
    trainer.resume()
    while trainer.round < (stop or rounds):
        trainer.play()
    trainer.save()
    return trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, torch.Tensor]]]:
    """A run with snapshots, and its parameters after every round."""
    folder = tmp_path_factory.mktemp("posthoc") / "run"
    seen: list[dict[str, torch.Tensor]] = []
    take = PowerAverages.update

    def watched(self: PowerAverages, round: int) -> None:
        seen.append({name: p.detach().clone() for name, p in self.now.items()})
        take(self, round)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PowerAverages, "update", watched)
        trained(folder, 60)
    return folder, seen


@pytest.mark.parametrize("length", [0.05, 0.07, 0.1, 0.15])
def test_a_model_of_any_length_is_the_average_of_the_parameters(
    run: tuple[Path, list[dict[str, torch.Tensor]]], tmp_path: Path, length: float
) -> None:
    folder, seen = run
    (made,) = average(folder, [length], out=tmp_path)
    system, card = load_system(made.folder)
    assert made.round == card["round"] == 60 and card["average"] == {"length": length, "round": 60}
    counts = in_time(exponent(length), 60)
    for name, p in system.named_parameters():
        wanted = sum(c * one[name].double() for c, one in zip(counts, seen, strict=True)).float()
        moved = (seen[-1][name] - seen[0][name]).abs().max()  # by how much training moved it
        torch.testing.assert_close(p, wanted, rtol=0, atol=float(0.05 * moved) + 1e-6)


def test_an_average_may_end_earlier(run: tuple[Path, list[dict[str, torch.Tensor]]]) -> None:
    folder, seen = run
    tensors, end = combined(folder, 0.1, 30)
    assert end == 30
    counts = in_time(exponent(0.1), 30)
    name = max(tensors, key=lambda name: tensors[name].numel())
    wanted = sum(c * one[name].double() for c, one in zip(counts, seen[:30], strict=True)).float()
    torch.testing.assert_close(tensors[name], wanted, rtol=0, atol=1e-5)  # it was put aside then


def test_going_on_leaves_the_same_snapshots(run: tuple[Path, list[dict[str, torch.Tensor]]], tmp_path: Path) -> None:
    folder, _ = run
    trained(tmp_path, 60, stop=33)
    ahead = tmp_path / "averages" / "00000099"  # of a session whose checkpoint was lost
    ahead.mkdir()
    trained(tmp_path, 60)
    names = [path.name for path in sorted((folder / "averages").iterdir())]
    assert names == [f"{6 * k:08d}" for k in range(1, 11)]
    assert [path.name for path in sorted((tmp_path / "averages").iterdir())] == names
    for one, other in pairwise([combined(folder, 0.12)[0], combined(tmp_path, 0.12)[0]]):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_command_makes_models_and_what_a_user_may_get_wrong(
    run: tuple[Path, list[dict[str, torch.Tensor]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = run
    assert main(["average", str(folder), "--length", "0.05", "--length", "0.1", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("of 60 iterations ->") == 2
    assert (tmp_path / "average-0.05" / "model" / "model.safetensors").is_file()
    with pytest.raises(UsageError, match=r"0\.01 to 0\.25"):
        average(folder, [0.5])
    with pytest.raises(UsageError, match=r"up to iteration 3.*train\.posthoc"):
        average(folder, [0.1], round=3)
    for never in (45, 10_000):  # between two snapshots, and after the last
        with pytest.raises(UsageError, match=rf"iteration {never}: take one of \[6, 12, .*60\]"):
            average(folder, [0.1], round=never)


def test_snapshots_fall_due_by_time_too(tmp_path: Path) -> None:
    train = Train.model_validate({"minutes": 0.02, "batch": 8, "posthoc": 4, "save_minutes": 60, "preview_minutes": 60})
    system = FlowMatching(SHAPE, network=DIT)
    Trainer(system, Batches(toy_source(1, 8, 16), 8, 0), train, tmp_path).run()
    assert len(list((tmp_path / "averages").iterdir())) == 4


class Normed(FlowMatching):
    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, network=DIT)
        self.extra = nn.BatchNorm2d(1)


def test_batch_norms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"batch norms.*train\.posthoc = 0"):
        PowerAverages(Normed(SHAPE), tmp_path)
