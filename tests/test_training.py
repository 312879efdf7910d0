"""The trainer: resume, kills, signals, non-finite numbers, damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import toy_source
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.data.batches import Batches
from zeuxis.errors import TrainingStopped, UnknownName, UsageError, WeightsError
from zeuxis.game import Move, Player, System, Turn, only_moves, play_round
from zeuxis.recipe import Train
from zeuxis.rng import Stream as Draws
from zeuxis.training.checkpoint import Checkpoints, read_folder, write_folder, write_model
from zeuxis.training.ema import ema_copy, update_ema
from zeuxis.training.trainer import Trainer


class Duel(System):
    """Two players, a shared part, a frozen part, a move that repeats, one that passes and one that is lazy."""

    card = Card("duel", title="Duel", family="test", year=2026, paper="none")

    def __init__(self, shape: tuple[int, int, int] = (3, 32, 32), *, poison: int = -1) -> None:
        super().__init__()
        self.shape, self.poison = Shape(*shape), poison
        self.left, self.right, self.shared = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.fixed = self.freeze(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
        self.seen: list[tuple[str, int, int]] = []

    def players(self) -> tuple[Player, ...]:
        return (Player("left", (self.left, self.shared), lr=1e-2), Player("right", (self.right, self.shared), lr=1e-2))

    def moves(self) -> tuple[Move, ...]:
        return (Move("left", self.strike, times=3), Move("right", self.parry), Move("right", self.rest, every=2))

    def features(self, turn: Turn) -> Tensor:
        return turn.batch.image.flatten(1)[:, :4]

    def strike(self, turn: Turn) -> Tensor:
        assert "left" not in turn.memo  # every repeat has its own memo
        turn.memo["left"] = True
        self.seen.append(("strike", turn.round, int(turn.batch.index[0])))
        poison = float("nan") if turn.round == self.poison or self.poison == -2 else 0.0
        drawn = 0 * turn.rng.normal(1).sum()
        return (self.shared(self.left(self.fixed(self.features(turn)))) ** 2).mean() + poison + drawn

    def parry(self, turn: Turn) -> Tensor | None:
        assert turn.memo["left"]  # the last strike's batch
        self.seen.append(("parry", turn.round, int(turn.batch.index[0])))
        return None if turn.round == 0 else (self.shared(self.right(self.features(turn))) ** 2).mean()

    def rest(self, turn: Turn) -> Tensor:
        self.seen.append(("rest", turn.round, int(turn.batch.index[0])))
        return (self.right.weight**2).sum()


def trainer(folder: Path, rounds: int = 6, system: System | None = None, **plan: object) -> Trainer:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        system = system or Duel()
    table = {"rounds": rounds, "batch": 4, "ema": 0.9, "save_minutes": 60, "preview_minutes": 60, **plan}
    return Trainer(system, Batches(toy_source(), 4, 0), Train(**table), folder)


def test_a_round_is_played_by_the_rules(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    made.play()
    duel = made.system
    assert isinstance(duel, Duel)
    assert [name for name, *_ in duel.seen] == ["strike"] * 3 + ["parry", "rest"]
    first, second, third, parry, rest = (index for *_, index in duel.seen)
    assert len({first, second, third}) == 3, "each repeat draws afresh"
    assert third == parry == rest, "the moves of a round share a batch"
    made.play()
    assert [name for name, round, _ in duel.seen if round == 1] == ["strike"] * 3 + ["parry"], "rest is lazy"


def test_only_the_mover_requires_gradients() -> None:
    duel = Duel()
    players = duel.players()
    with only_moves(players[0], players):
        assert not duel.right.weight.requires_grad and duel.left.weight.requires_grad
        assert duel.shared.weight.requires_grad, "a shared part belongs to both"
    assert duel.right.weight.requires_grad and not duel.fixed[0].weight.requires_grad


def test_frozen_parts_stay_frozen_and_are_shared_by_the_average() -> None:
    duel = Duel().train()
    assert not duel.fixed.training
    average = ema_copy(duel)
    assert average.fixed[0].weight is duel.fixed[0].weight and average.left.weight is not duel.left.weight
    assert average.fixed[1].running_var is duel.fixed[1].running_var
    before = average.left.weight.clone()
    with torch.no_grad():
        duel.left.weight.add_(1)
    update_ema(average, duel, 0.75)
    assert torch.allclose(average.left.weight, before + 0.25)


def test_accumulated_parts_give_the_gradient_of_the_whole(tmp_path: Path) -> None:
    whole, parts = trainer(tmp_path / "a"), trainer(tmp_path / "b", accumulate=2)
    for made in (whole, parts):
        made.play()
    assert torch.allclose(whole.system.left.weight, parts.system.left.weight, atol=1e-6)


def test_one_bad_step_is_skipped_and_many_stop_the_run(tmp_path: Path) -> None:
    made = trainer(tmp_path / "one", system=Duel(poison=1))
    made.run()
    assert made.steps.bad_total == 3  # the three strikes of round 1
    assert all(torch.isfinite(p).all() for p in made.system.parameters())
    with pytest.raises(TrainingStopped, match=r"not finite.*set players\.left\.clip"):
        trainer(tmp_path / "all", system=Duel(poison=-2), rounds=50).run()
    assert not (tmp_path / "all" / "model").exists()


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    made.run()
    with torch.no_grad():
        made.system.left.weight.fill_(float("nan"))
    with pytest.raises(TrainingStopped, match="not finite"):
        made.save()
    tensors, _ = read_folder(tmp_path / "model", "model")
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    made = trainer(tmp_path, rounds=4, save_minutes=1e-9)
    made.run()
    newest = made.checkpoints.paths()[-1] / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-20])
    again = trainer(tmp_path, rounds=4)
    lines = again.resume()
    assert "damaged" in lines[0] and again.round == 3


def test_a_model_folder_survives_a_kill_between_its_two_renames(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"x": torch.ones(2)}, {"n": 1}, "model")
    (tmp_path / "model").rename(tmp_path / ".old-model")
    tensors, facts = read_folder(tmp_path / "model", "model")
    assert facts["n"] == 1 and torch.equal(tensors["x"], torch.ones(2))
    write_folder(tmp_path / "model", {"x": torch.zeros(2)}, {"n": 2}, "model")
    assert read_folder(tmp_path / "model", "model")[1]["n"] == 2


def test_others_can_read_a_model_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"x": torch.ones(2)}, {}, "model")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o644}


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path, keep=2)
    for round in range(5):
        keeper.save(round, {"x": torch.full((2,), float(round))}, {})
    assert [p.name for p in keeper.paths()] == ["00000003", "00000004"]


def test_another_recipes_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    other = trainer(tmp_path)
    other.system.left = nn.Linear(4, 5)
    with pytest.raises(WeightsError, match="does not fit"):
        other.resume()


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zeuxis.training.checkpoint.save_file", full)
    with pytest.raises(TrainingStopped, match="No space left on device; free some disk space"):
        write_model(tmp_path / "model", Duel(), {})
    assert list(tmp_path.iterdir()) == []


def test_players_are_overridden_by_name(tmp_path: Path) -> None:
    plan = Train(rounds=1, batch=4)
    made = Trainer(Duel(), Batches(toy_source(), 4, 0), plan, tmp_path, players={"left": {"lr": 0.5, "clip": 1.0}})
    assert made.players[0].lr == 0.5 and made.players[1].lr == 1e-2
    with pytest.raises(UnknownName, match="did you mean left"):
        Trainer(Duel(), Batches(toy_source(), 4, 0), plan, tmp_path, players={"lefft": {}})
    with pytest.raises(UnknownName, match="did you mean lr"):
        Trainer(Duel(), Batches(toy_source(), 4, 0), plan, tmp_path, players={"left": {"lrr": 1}})
    with pytest.raises(UsageError, match="needs a bound"):
        Trainer(Duel(), Batches(toy_source(), 4, 0), Train(), tmp_path)


def test_a_signal_ends_an_evaluation_and_saves(tmp_path: Path) -> None:
    made = trainer(tmp_path, rounds=1000, preview_minutes=1e-9)
    slept: list[bool] = []

    def slow(system: System, clock: object) -> None:
        if clock.round == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
            slept.append(True)

    made.preview = slow
    clock = made.run()
    assert made.stop_asked == "SIGTERM" and clock.round == 3
    assert not slept
    assert made.checkpoints.newest() is not None


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from test_training import trainer
made = trainer(Path(sys.argv[1]), rounds=100000, save_minutes=1e-9)
print("ready", flush=True)
made.run()
"""


def newest_round(folder: Path) -> int:
    """The round of the newest checkpoint that appeared in ``folder``; 0 where there is none."""
    return max((int(path.name) for path in Checkpoints(folder / "checkpoints").paths()), default=0)


def test_killed_at_random_moments_it_always_resumes(tmp_path: Path) -> None:
    """The short form of ``benchmarks/kills.py``, which does it a hundred times."""
    last = 0
    delays = Draws(0).uniform(3).tolist()
    for delay in delays:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        while newest_round(tmp_path) <= last:  # however slow the machine: it must get further
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        child.kill()
        child.wait()
        again = trainer(tmp_path)
        assert not any("damaged" in line for line in again.resume())
        assert again.round >= last
        last = again.round
    assert last > 0


def test_play_round_needs_no_trainer() -> None:
    duel, draws, stream = Duel(), Draws(0), Batches(toy_source(), 4, 0)
    moved: list[str] = []

    def step(player: Player, loss: object, turns: list[Turn]) -> None:
        moved.append(player.name)
        loss(turns[0])

    play_round(duel, duel.players(), lambda: [Turn(stream.next(), draws, 0, 0.0)], step)
    assert moved == ["left"] * 3 + ["right"] * 2
