"""Batch norm in the average of weights: its statistics are measured when it is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import toy_source
from test_training import shared_trainers
from torch import Tensor, nn

from zeuxis.batch import Batch, Shape
from zeuxis.card import Card
from zeuxis.data.batches import Batches
from zeuxis.game import Move, Player, System, Turn
from zeuxis.recipe import Train
from zeuxis.training.checkpoint import read_folder
from zeuxis.training.norms import BATCHES, batch_norms
from zeuxis.training.trainer import Trainer


class Normed(System):
    """A batch norm between two layers, one that is frozen, a counter, and a loss that asks for a gradient."""

    card = Card("normed", title="Normed", family="test", year=2026, paper="none")

    def __init__(self, shape: tuple[int, int, int] = (3, 8, 8)) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.into, self.norm, self.out = nn.Linear(192, 4), nn.BatchNorm1d(4, momentum=0.3), nn.Linear(4, 1)
        self.fixed = self.freeze(nn.BatchNorm1d(192))
        self.register_buffer("calls", torch.zeros(()))

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.into, self.norm, self.out), lr=0.1),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.learn),)

    def learn(self, turn: Turn) -> Tensor:
        self.calls += 1
        turn.rng.normal(2)
        y = self.out(self.norm(self.into(self.fixed(turn.batch.image.flatten(1)))))
        (slope,) = torch.autograd.grad(y.sum(), self.out.weight, retain_graph=True)
        return y.square().mean() + 1e-3 * slope.square().sum()


def trained(folder: Path, rounds: int = 5) -> Trainer:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        system = Normed()
    made = Trainer(system, Batches(toy_source(3, 8, 48), 16, 0), Train(iterations=9, batch=16, ema=0.5), folder)
    made.resume()
    while made.round < rounds:
        made.play()
    return made


def test_an_average_has_statistics_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain mean over the batches that come next, of what the averaged weights make of them."""
    monkeypatch.setattr("zeuxis.training.training_state.BATCHES", BATCHES)  # all of them, as in a training
    made = trained(tmp_path)
    place, drawn = made.batches.state(), made.rng.state()
    calls = made.average.calls.clone()
    made.save()
    assert made.batches.state() == place and torch.equal(made.rng.state(), drawn)
    saved, _ = read_folder(tmp_path / "model", "model")
    inputs = [made.average.into(made.batches.next().image.flatten(1) / (1 + 1e-5) ** 0.5) for _ in range(BATCHES)]
    torch.testing.assert_close(saved["norm.running_mean"], torch.stack([x.mean(0) for x in inputs]).mean(0))
    torch.testing.assert_close(saved["norm.running_var"], torch.stack([x.var(0) for x in inputs]).mean(0))
    assert not torch.allclose(saved["norm.running_mean"], made.system.norm.running_mean, atol=1e-3)
    assert torch.equal(saved["calls"], calls), "what else a loss changes is put back"
    average = made.average
    assert average.norm.momentum == 0.3 and not average.norm.training
    assert not any(p.requires_grad for p in average.parameters()) and made.system.norm.training


def test_training_does_not_feel_it_and_resumes_bit_equal(tmp_path: Path) -> None:
    for rounds in (3, 5):
        trained(tmp_path / "parts", rounds).save()
    parts, whole = trained(tmp_path / "parts"), trained(tmp_path / "whole")
    whole.save()
    for kind in ("system", "average"):
        one, other = getattr(parts, kind).state_dict(), getattr(whole, kind).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one), kind


def test_a_norm_that_no_move_reaches_keeps_what_it_had(tmp_path: Path) -> None:
    made = trained(tmp_path)
    made.average.learn = lambda turn: None
    before = [b.clone() for b in made.average.norm.buffers()]
    made.save()
    assert made.average.norm.running_mean.any()
    assert all(torch.equal(b, old) for b, old in zip(made.average.norm.buffers(), before, strict=True))


def test_only_norms_that_are_trained_are_measured() -> None:
    made = Normed()
    assert batch_norms(made) == [made.norm]


def test_every_process_has_the_same(tmp_path: Path) -> None:
    first, second = shared_trainers(tmp_path, 2, 3, build=NormedDuel)
    for name, b in first.average.named_buffers():
        assert torch.equal(b, dict(second.average.named_buffers())[name]), name
    assert first.average.norm.running_mean.any()


class NormedDuel(Normed):
    """The same, for pictures of the size that ``test_training`` has."""

    card = Card("normed-duel", title="Normed duel", family="test", year=2026, paper="none")

    def learn(self, turn: Turn) -> Tensor:
        return super().learn(replace(turn, batch=Batch(turn.batch.image[:, :, :8, :8])))
