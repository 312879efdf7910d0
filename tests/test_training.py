"""The trainer: resume, kills, signals, non-finite numbers, damage."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from conftest import toy_source
from torch import Tensor, nn

from zeuxis.api.page import loss_curves
from zeuxis.batch import Batch, Shape
from zeuxis.card import Card
from zeuxis.data.batches import Batches
from zeuxis.errors import TrainingStopped, UnknownName, UsageError, WeightsError
from zeuxis.game import Group, Move, Player, System, Turn, only_moves, play_round
from zeuxis.losses.adversarial import pull_away
from zeuxis.recipe import Train
from zeuxis.rng import Rng
from zeuxis.rng import Stream as Draws
from zeuxis.systems.autoencoder.vq_vae import VQVAE
from zeuxis.systems.energy.rbm import RBM
from zeuxis.training.checkpoint import Checkpoints, read_folder, write_folder, write_model
from zeuxis.training.compiling import of_compiler
from zeuxis.training.distributed import ALONE, Ranks, join
from zeuxis.training.ema import ema_copy, own_state, update_ema
from zeuxis.training.log import Log, read_log
from zeuxis.training.norms import of_pictures
from zeuxis.training.optimiser import OPTIMISERS, flat_state, learning_rate, overridden, restore_flat, set_rate
from zeuxis.training.precision import Scaler, autocast, cache_is_sound
from zeuxis.training.signals import Signals
from zeuxis.training.state import Part, restore, tensors_of
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


def trainer(
    folder: Path, rounds: int = 6, system: System | None = None, ranks: Ranks = ALONE, **config: object
) -> Trainer:
    if system is None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            system = Duel()
    table = {"iterations": rounds, "batch": 4, "ema": 0.9, "save_minutes": 60, "preview_minutes": 60, **config}
    batches = Batches(toy_source(), 4, 0, share=(ranks.rank, ranks.size))
    return Trainer(system, batches, Train(**table), folder, ranks=ranks)


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


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank correction (LoRA)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(4, 1, bias=False), nn.Linear(1, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


class Tuned(System):
    """Adapters inside what it was given."""

    card = Card("tuned", title="Tuned", family="test", year=2026, paper="none")

    def __init__(self, shape: tuple[int, int, int] = (3, 32, 32), *, base: nn.Module) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.base = self.freeze(base)
        self.base[0] = Adapted(self.base[0])

    def players(self) -> tuple[Player, ...]:
        return (Player("adapters", (self.base[0].down, self.base[0].up), lr=1e-2),)


def test_adapters_inside_a_frozen_network_are_averaged() -> None:
    tuned = Tuned(base=nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    assert len(tuned.players()[0].parameters()) == 2
    average = ema_copy(tuned)
    assert average.base[0].base.weight is tuned.base[0].base.weight
    before = average.base[0].up.weight.clone()
    with torch.no_grad():
        tuned.base[0].up.weight.add_(1)
    update_ema(average, tuned, 0.75)
    assert torch.allclose(average.base[0].up.weight, before + 0.25)
    assert set(own_state(average, tuned)) == {"base.0.down.weight", "base.0.up.weight"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_average_moves_whatever_the_weights_are_kept_in(dtype: torch.dtype) -> None:
    duel = Duel().to(dtype)
    with torch.no_grad():
        duel.left.weight.fill_(1)
    average = ema_copy(duel)
    assert average.left.weight.dtype == torch.float32 and average.fixed[0].weight is duel.fixed[0].weight
    with torch.no_grad():
        duel.left.weight.fill_(2)
    for _ in range(100):
        update_ema(average, duel, 0.9999)
    assert torch.allclose(average.left.weight, torch.tensor(2 - 0.9999**100), atol=1e-4)


def test_groups_have_rates_of_their_own() -> None:
    duel = Duel()
    group = Group((duel.shared,), rate=0.1, weight_decay=0.5)
    player = Player("left", (duel.left, duel.shared), lr=1.0, decay=lambda progress: 1 - progress**2, groups=(group,))
    optimiser = OPTIMISERS["sgd"](player)
    set_rate(optimiser, player, 0, 0.5)
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.75, 0.075])
    assert [g["weight_decay"] for g in optimiser.param_groups] == [0.0, 0.5]
    assert [len(g["params"]) for g in optimiser.param_groups] == [2, 2] and len(player.parameters()) == 4
    assert len(OPTIMISERS["adam"](Player("left", (duel.left,))).param_groups) == 1


def test_a_rate_that_changes_is_logged(tmp_path: Path) -> None:
    config = Train.model_validate({"iterations": 6, "batch": 4, "save_minutes": 60, "preview_minutes": 60})
    players = {"left": {"lr": 0.02, "warmup": 4}}
    Trainer(Duel(), Batches(toy_source(), 4, 0), config, tmp_path, players=players).run()
    entries = read_log(tmp_path / "log.jsonl")
    rates = {e["round"]: e["rate/left"] for e in entries if "rate/left" in e}
    assert rates[1] == pytest.approx(0.005) and rates[6] == pytest.approx(0.02)
    assert not any("rate/right" in e for e in entries)


def test_a_rate_may_fall_in_the_second_half() -> None:
    player = Player("left", (Duel().left,), lr=2.0, decay="linear-after-half")
    assert [learning_rate(player, 0, at) for at in (0.0, 0.5, 0.75, 1.0)] == [2.0, 2.0, 1.0, 0.0]


class Exploding(Duel):
    """One gradient that overflows at the first scale only, and a player of its own for it."""

    card = Card("exploding", title="Exploding", family="test", year=2026, paper="none")

    def players(self) -> tuple[Player, ...]:
        return (Player("left", (self.left,), lr=1e-2), Player("right", (self.right,), lr=1e-2))

    def moves(self) -> tuple[Move, ...]:
        return (Move("left", self.steep), Move("right", self.rest))

    def steep(self, turn: Turn) -> Tensor:
        return (self.left.weight * 1e34).sum() * 1e-1 if turn.round < 2 else (self.left.weight**2).sum()


def test_an_overflow_halves_one_players_scale_and_is_no_bad_step(tmp_path: Path) -> None:
    made = trainer(tmp_path, system=Exploding(), precision="float16", max_bad_iterations=0)
    left, right = made.system.left.weight.clone(), made.system.right.weight.clone()
    made.play()
    assert torch.equal(made.system.left.weight, left) and not torch.equal(made.system.right.weight, right)
    scales = {name: scaler.scale for name, scaler in made.steps.scalers.items()}
    assert scales == {"left": 2.0**15, "right": 2.0**16} and made.steps.bad_total == 0
    made.save()
    again = trainer(tmp_path, system=Exploding(), precision="float16")
    again.resume()
    assert {name: scaler.scale for name, scaler in again.steps.scalers.items()} == scales
    assert again.steps.scalers["right"].state()["growth"] == 1


def test_float16_that_is_not_finite_by_itself_is_a_bad_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match=r"not finite.*: set train.precision=float32, .* or players.left.clip or"):
        trainer(tmp_path, system=Duel(poison=-2), rounds=50, precision="float16").run()


def test_pixels_become_floats_on_the_device_without_a_difference(tmp_path: Path) -> None:
    source = toy_source()
    floats, pixels = Batches(source, 4, 0), Batches(source, 4, 0, pixels=True)
    assert source.spec.provides >= {"source"}
    for _ in range(20):
        one, other = floats.next(), pixels.next()
        assert other.image.dtype == other.condition.source.dtype == torch.uint8
        assert torch.equal(one.image, other.floats().image)
        assert torch.equal(one.condition.source, other.floats().condition.source)
        assert torch.equal(one.condition.layout, other.floats().condition.layout)
    made = trainer(tmp_path / "a"), trainer(tmp_path / "b")
    made[1].batches = Batches(source, 4, 0, pixels=True)
    for one_trainer in made:
        one_trainer.play()
    assert torch.equal(made[0].system.left.weight, made[1].system.left.weight)


class Wire:
    """What threads need to act as processes: each leaves its tensor, and takes what all have left."""

    def __init__(self, size: int) -> None:
        self.barrier, self.left = threading.Barrier(size, timeout=60), dict[int, Tensor]()


@dataclass
class ThreadExchange:
    wire: Wire
    rank: int

    def gather(self, tensor: Tensor) -> list[Tensor]:
        self.wire.left[self.rank] = tensor.clone()
        self.wire.barrier.wait()
        found = [self.wire.left[k] for k in sorted(self.wire.left)]
        self.wire.barrier.wait()
        return found

    def broadcast_(self, tensor: Tensor) -> None:
        tensor.copy_(self.gather(tensor)[0])

    def sum_(self, tensor: Tensor) -> None:
        tensor.copy_(torch.stack(self.gather(tensor)).sum(0))


def shared_trainers(
    folder: Path,
    size: int,
    rounds: int,
    begin: Callable[[Wire], None] = lambda wire: None,
    *,
    build: Callable[[], System] = Duel,
    apart: bool = False,
    **config: object,
) -> list[Trainer]:
    """The trainers of ``size`` processes, each a thread, after they ran; ``apart``: not on one disk."""
    wire, made, errors = Wire(size), dict[int, Trainer](), list[Exception]()
    systems = []
    for rank in range(size):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(rank)  # the first process's weights must win
            systems.append(build())

    def work(rank: int) -> None:
        try:
            ranks = Ranks(rank, size, ThreadExchange(wire, rank))
            own = folder.with_name(f"{folder.name}-{rank}") if apart and rank else folder
            made[rank] = trainer(own, rounds, systems[rank], ranks, **config)
            made[rank].run(partial(begin, wire))
        except Exception as error:  # noqa: BLE001  (whatever it is: the others wait)
            errors.append(error)
            wire.barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return [made[rank] for rank in range(size)]


def test_one_process_of_one_is_the_plain_run(tmp_path: Path) -> None:
    plain = trainer(tmp_path / "plain")
    plain.run()
    (shared,) = shared_trainers(tmp_path / "shared", 1, 6)
    for kind in ("system", "average"):
        one, other = getattr(plain, kind).state_dict(), getattr(shared, kind).state_dict()
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    plain = trainer(tmp_path / "plain")
    plain.run()
    first, second = shared_trainers(tmp_path / "shared", 2, 6)
    assert first.images == second.images == plain.images
    for name, value in plain.system.state_dict().items():
        assert torch.equal(first.system.state_dict()[name], second.system.state_dict()[name]), name
        assert torch.allclose(first.system.state_dict()[name], value, atol=1e-5), name
    assert not torch.equal(first.rng.state(), second.rng.state()), "each draws its own noise"
    tensors, facts, _ = first.checkpoints.newest()
    assert facts["round"] == 6 and {"rng", "rng/1"} <= tensors.keys()
    with pytest.raises(WeightsError, match="of 2 processes"):
        trainer(tmp_path / "shared").resume()
    shared_trainers(tmp_path / "shared", 2, 8)
    assert first.checkpoints.newest()[1]["round"] == 8


def test_no_process_looks_into_a_folder_before_the_first_has_made_room(tmp_path: Path) -> None:
    shared_trainers(tmp_path / "shared", 2, 4)

    def anew(wire: Wire) -> None:
        """What ``--fresh`` does, once the other process is there and waits: for this one, or with what it has read."""
        while not wire.barrier.n_waiting:
            time.sleep(0.001)
        (tmp_path / "shared/checkpoints").rename(tmp_path / "before")
        (tmp_path / "shared/model").rename(tmp_path / "model-before")

    first, second = shared_trainers(tmp_path / "shared", 2, 2, anew)
    assert (first.began, first.round, second.began, second.round) == (0, 2, 0, 2)
    for name, value in first.system.state_dict().items():
        assert torch.equal(second.system.state_dict()[name], value), name


def tokeniser(**model: object) -> VQVAE:
    torch.default_generator.manual_seed(0)
    return VQVAE((3, 32, 32), codes=16, code_width=4, width=8, hidden=8, blocks=1, kmeans=True, **model)


@pytest.mark.parametrize(("ema", "accumulate"), [(False, 1), (True, 2)])
def test_a_codebook_learns_from_the_shares_of_all_processes(tmp_path: Path, ema: bool, accumulate: int) -> None:
    """It begins at all their vectors, counts all of them, and restarts alike, where it is a parameter too."""
    build = partial(tokeniser, ema=ema, restart_dead=0.9)
    shares = shared_trainers(tmp_path / "shares", 2, 3, build=build, accumulate=accumulate)
    for one, other in pairwise(t.system.state_dict() for t in shares):
        assert all(torch.equal(one[name], value) for name, value in other.items())

    def begun(folder: str, size: int) -> dict[str, Tensor]:
        first, *_ = shared_trainers(
            tmp_path / folder, size, 2, build=partial(tokeniser, ema=ema), accumulate=accumulate
        )
        return first.system.state_dict()

    whole, shared = begun("whole", 1), begun("shared", 2)
    assert whole["quantiser.uses"].sum() == pytest.approx(16 * 0.99 + 0.01 * 4 * 64)  # every vector of every picture
    assert shared["quantiser.uses"].sum() == pytest.approx(float(whole["quantiser.uses"].sum()))


class Halting(Duel):
    """In which the right player passes in some process alone."""

    def parry(self, turn: Turn) -> Tensor | None:
        loss = super().parry(turn)
        return loss if turn.batch.index is not None and int(turn.batch.index[0]) % 2 else None


def test_a_player_that_passes_in_one_process_keeps_no_other_waiting(tmp_path: Path) -> None:
    first, second = shared_trainers(tmp_path, 2, 6, build=Halting)
    played = [[k for kind, _, k in t.system.seen if kind == "parry" and k % 2] for t in (first, second)]
    assert len(played[0]) != len(played[1]), "they passed apart"
    for name, value in first.system.state_dict().items():
        assert torch.equal(second.system.state_dict()[name], value), name


def test_processes_that_find_other_checkpoints_are_refused(tmp_path: Path) -> None:
    shared_trainers(tmp_path / "shared", 2, 2)
    with pytest.raises(AssertionError, match=r"WeightsError.*after the iterations 2, 0.*all machines share"):
        shared_trainers(tmp_path / "shared", 2, 4, apart=True)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"WORLD_SIZE": "2"}, "RANK and MASTER_ADDR and MASTER_PORT not set: start the processes with torchrun"),
        ({"WORLD_SIZE": "two", "RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "no number of processes"),
        ({"WORLD_SIZE": ""}, None),
    ],
)
def test_what_a_cluster_says_of_processes_is_looked_at(
    told: dict[str, str], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    if says is None:
        assert join("cpu") == (ALONE, "cpu")
    else:
        with pytest.raises(UsageError, match=says):
            join("cpu")


def test_a_network_that_is_its_own_target_keeps_its_gradient_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)
    before = torch.default_generator.get_state()
    cache_is_sound.cache_clear()
    with autocast("cpu", "bfloat16"):
        with torch.no_grad():
            target = layer(x)
        loss = (layer(2 * x) - target).float().square().mean()
    loss.backward()
    assert layer.weight.grad is not None and layer.weight.grad.count_nonzero()
    assert torch.equal(before, torch.default_generator.get_state())
    for sound in (True, False):
        monkeypatch.setattr("zeuxis.training.precision.cache_is_sound", lambda sound=sound: sound)
        with autocast("cpu", "bfloat16"):
            assert torch.is_autocast_cache_enabled() is sound
        with torch.no_grad(), autocast("cpu", "bfloat16"):  # drawing has no gradients to lose
            assert torch.is_autocast_cache_enabled()


def test_a_compiler_that_is_not_there_is_told_of_with_the_mend() -> None:
    class NoCompiler(RuntimeError):
        __module__ = "torch._inductor.exc"

    with pytest.raises(UsageError, match=r"no C.. compiler.*train.compile=false"), of_compiler():
        raise NoCompiler("no C++ compiler\nmore")
    with pytest.raises(RuntimeError, match="of another kind"), of_compiler():
        raise RuntimeError("of another kind")


def test_a_log_is_json_whatever_a_figure_is(tmp_path: Path) -> None:
    def strictly(path: Path) -> list[dict[str, Any]]:
        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]

    told: list[Mapping[str, float]] = []
    follower = SimpleNamespace(scalars=lambda round, values: told.append(values), picture=None, close=None)
    log = Log(tmp_path, trackers=[follower])
    for round, value in enumerate((0.5, math.nan, math.inf, torch.tensor(-math.inf), 0.25), 1):
        log.write(round, {"images": 4 * round, "loss/critic": value})
    path = tmp_path / "log.jsonl"
    assert [entry["loss/critic"] for entry in strictly(path)] == [0.5, None, None, None, 0.25]
    assert math.isnan(told[1]["loss/critic"]) and told[3]["loss/critic"] == -math.inf
    assert loss_curves(path) == {"critic": [(4, 0.5), (20, 0.25)]}
    path.write_text('{"round": 1, "loss/critic": NaN}\n{"round": 7}\n')  # as older versions wrote it
    log.rewind(3)
    assert strictly(path) == [{"round": 1, "loss/critic": None}]


def test_a_machine_begins_from_the_shares_of_all_processes(tmp_path: Path) -> None:
    first, second = shared_trainers(tmp_path / "a", 2, 1, build=lambda: RBM((3, 32, 32), hidden=4, lr=1e-9))
    (whole,) = shared_trainers(tmp_path / "b", 1, 1, build=lambda: RBM((3, 32, 32), hidden=4, lr=1e-9))
    bias = [t.system.state_dict()["machine.bias"] for t in (first, second, whole)]
    assert torch.equal(bias[0], bias[1])
    torch.testing.assert_close(bias[0], bias[2])


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(UsageError, match="by 3 processes"):
        Batches(toy_source(), 4, 0, share=(0, 3))
    whole = Batches(toy_source(n=5), 4, 0)
    halves = [Batches(toy_source(n=5), 4, 0, share=(k, 2)) for k in range(2)]
    for _ in range(4):
        assert whole.next().index.tolist() == [k for half in halves for k in half.next().index.tolist()]


def test_a_part_is_named_once() -> None:
    kept = {"a": {"x": torch.ones(1)}, "a/b": {"": torch.zeros(2)}}
    back: dict[str, dict[str, Tensor]] = {}
    parts = [Part(name, lambda name=name: kept[name], lambda t, name=name: back.update({name: t})) for name in kept]
    tensors = tensors_of(parts[::-1])
    assert set(tensors) == {"a/x", "a/b"}
    restore(parts[::-1], tensors)
    assert back == kept
    with pytest.raises(WeightsError, match="'c/x', which this training has not"):
        restore(parts, {"c/x": torch.ones(1)})


def test_a_checkpoint_of_format_1_goes_on(tmp_path: Path) -> None:
    """Its place in the data was called ``stream``."""
    made = trainer(tmp_path, rounds=6)
    while made.round < 3:
        made.play()
    made.save()
    tensors, facts = read_folder(made.checkpoints.paths()[-1], "state")
    old = {("stream" if k == "batches" else k): v for k, v in facts.items() if k not in ("given", "sha256")}
    write_folder(made.checkpoints.paths()[-1], tensors, {**old, "format": 1}, "state")
    again = trainer(tmp_path, rounds=6)
    assert again.resume() == ["resumed after iteration 3"] and again.batches.state() == made.batches.state()


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


def test_folders_of_one_s_own_among_checkpoints_are_left_alone(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=1)
    state = {"system/w": torch.zeros(2)}
    store.save(9, state, {"round": 9})
    for own in ("00000009 (copy)", "00000009-best", "9backup"):
        shutil.copytree(tmp_path / "00000009", tmp_path / own)
    for round in (99_999_999, 100_000_000):  # more digits than the names are filled to
        store.save(round, state, {"round": round})
    found = store.newest()
    assert found is not None and found[1]["round"] == 100_000_000
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "00000009 (copy)", "00000009-best", "100000000", "9backup"
    ]  # fmt: skip


def test_a_scale_that_was_halved_counts_its_good_steps_anew() -> None:
    scaler, weight = Scaler("cpu"), nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([weight], 0.0)
    for size in (1.0, 1.0, 1.0, math.inf, 1.0):
        weight.grad = None
        scaler(weight.sum() * size).backward()
        scaler.unscale(optimiser)
        scaler.update() if math.isfinite(size) else scaler.halve()
        if size > 1:
            assert (scaler.scale, int(scaler.state()["growth"])) == (2.0**15, 0)
    assert (scaler.scale, int(scaler.state()["growth"])) == (2.0**15, 1)


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
    with pytest.raises(TrainingStopped, match="No space left on device; free some space"):
        write_model(tmp_path / "model", Duel(), {})
    assert list(tmp_path.iterdir()) == []


def test_players_are_overridden_by_name(tmp_path: Path) -> None:
    plan = Train(iterations=1, batch=4)
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


class Measured(Duel):
    """Sends itself a signal while it is measured on held-out pictures for the second time, and would go on for long."""

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[str] = []

    def held_out(self, batch: Batch, rng: Rng) -> dict[str, Tensor]:
        self.measured.append("begun")
        if self.measured.count("begun") == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        self.measured.append("done")
        return {"error": torch.zeros(())}


def test_a_signal_ends_what_is_measured_of_held_out_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeuxis.training.trainer.PATIENCE", 0)
    system, batches = Measured(), Batches(toy_source(), 4, 0)
    table = Train(iterations=1000, batch=4, ema=0, preview_minutes=60)
    made = Trainer(system, batches, table, tmp_path, held_out=toy_source().batch(torch.arange(4)))
    clock = made.run()
    assert made.stop_asked == "SIGTERM" and clock.round == 1
    assert system.measured == ["begun", "done", "begun"]
    assert made.checkpoints.newest() is not None


CHILDREN = """
import os
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from test_training import trainer
trainer(Path(sys.argv[1], "never"))  # its optimiser imports the compiler of torch
for _ in sys.stdin:  # a process for each line: importing takes longer than all else
    child = os.fork()
    if not child:
        made = trainer(Path(sys.argv[1]), rounds=100000, save_minutes=1e-9)
        print(os.getpid(), flush=True)
        made.run()
        os._exit(1)
    os.waitpid(child, 0)
"""


def running(process: int) -> bool:
    """Whether there is that process still."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def newest_round(folder: Path) -> int:
    """The round of the newest checkpoint that appeared in ``folder``; 0 where there is none."""
    return max((int(path.name) for path in Checkpoints(folder / "checkpoints").paths()), default=0)


def test_signals_that_are_ignored_stay_so_and_strange_handlers_are_no_error() -> None:
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what is in the background of a script
        signals = Signals()
        with signals.heeded():
            signal.raise_signal(signal.SIGINT)
            assert signals.asked is None
            signal.raise_signal(signal.SIGTERM)
        assert signals.asked == "SIGTERM" and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda s, handler: None if callable(handler) else signal.Signals(None))
        with Signals().heeded():  # both were of a program in C that Python is a part of
            pass


def test_killed_at_random_moments_it_always_resumes(tmp_path: Path) -> None:
    """The short form of ``benchmarks/kills.py``, which does it a hundred times."""
    command = [sys.executable, "-c", CHILDREN, str(tmp_path), str(Path(__file__).parent)]
    last = child = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        try:
            for delay in Draws(0).uniform(3).tolist():
                print("another", file=parent.stdin, flush=True)
                child = int(parent.stdout.readline())
                while newest_round(tmp_path) <= last:  # however slow the machine: it must get further
                    assert running(child)
                    time.sleep(0.01)
                time.sleep(delay / 4)
                os.kill(child, signal.SIGKILL)
                while running(child):
                    time.sleep(0.01)
                again = trainer(tmp_path)
                assert not any("damaged" in line for line in again.resume())
                assert again.round >= last
                last = again.round
        finally:
            parent.stdin.close()
            if child and running(child):
                os.kill(child, signal.SIGKILL)
    assert last > 0 and parent.returncode == 0


def test_play_round_needs_no_trainer() -> None:
    duel, draws, stream = Duel(), Draws(0), Batches(toy_source(), 4, 0)
    moved: list[str] = []

    def step(player: Player, loss: object, turns: list[Turn]) -> None:
        moved.append(player.name)
        loss(turns[0])

    play_round(duel, duel.players(), lambda: [Turn(stream.next(), draws, 0, 0.0)], step)
    assert moved == ["left"] * 3 + ["right"] * 2


class Wide(Duel):
    """With a large buffer, which is constant but for one round, and a small one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("large", torch.zeros(2**17))
        self.register_buffer("small", torch.zeros(2))

    def after_round(self, turn: Turn) -> None:
        self.small += 1
        if turn.round == 2:
            self.large += 1


def test_the_average_has_the_buffers_of_the_last_round(tmp_path: Path) -> None:
    made = trainer(tmp_path, system=Wide())
    for round in range(1, 5):
        made.play()
        assert made.average.small.tolist() == [round, round]
        assert made.average.large.unique().tolist() == [float(round > 2)]


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_one_kernel_steps_as_torch_s_plain_optimiser_does(kind: str) -> None:
    """And takes up, and leaves, the same state."""
    plain, fused = (nn.Linear(5, 3) for _ in range(2))
    fused.load_state_dict(plain.state_dict())
    player = Player("left", (fused,), lr=0.1, weight_decay=0.3, optimiser=kind)
    new = OPTIMISERS[kind](player)
    assert new.defaults["fused"]
    torch_s = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    old = torch_s(plain.parameters(), 0.1, (0.9, 0.999), weight_decay=0.3, foreach=False)
    for step in range(4):
        if step == 2:  # a training of before goes on
            restore_flat(new, {name: t.clone() for name, t in flat_state(old).items()})
        for net, optimiser in ((plain, old), (fused, new)):
            for p in net.parameters():
                p.grad = Draws(step).normal(*p.shape)
            optimiser.step()
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert flat_state(old).keys() == flat_state(new).keys()


class Convolving(Duel):
    """Two convolutions, whose weights have a layout in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def players(self) -> tuple[Player, ...]:
        return (Player("left", (self.left,), lr=1e-2), Player("right", (self.right,), lr=1e-2, optimiser="adamw"))

    def moves(self) -> tuple[Move, ...]:
        return (Move("left", self.strike), Move("right", self.parry))

    def strike(self, turn: Turn) -> Tensor:
        return (self.left(turn.batch.image) ** 2).mean()

    def parry(self, turn: Turn) -> Tensor:
        return (self.right(turn.batch.image) ** 3).mean()


def test_a_layout_in_memory_does_not_matter(tmp_path: Path) -> None:
    """Not to one kernel's step, not after a checkpoint, which has none, and not in two processes."""

    def trained(name: str, *rounds: int, **config: object) -> dict[str, Tensor]:
        for n in rounds:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                made = trainer(tmp_path / name, 8, Convolving(), **config)
            made.resume()
            while made.round < n:
                made.play()
            made.save()
        return {k: v.clone() for k, v in made.system.state_dict().items()}

    plain, last = trained("plain", 6), trained("last", 6, channels_last=True)
    assert all(torch.equal(last[k], v) for k, v in trained("parts", 3, 6, channels_last=True).items())
    assert last["left.weight"].is_contiguous(memory_format=torch.channels_last)
    for name, value in plain.items():
        torch.testing.assert_close(last[name], value, rtol=1e-4, atol=1e-5)


def test_averaged_gradients_have_the_layout_of_their_parameter() -> None:
    p = nn.Parameter(torch.zeros(4, 3, 3, 3).to(memory_format=torch.channels_last))
    p.grad = Draws(0).normal(4, 3, 3, 3)
    wanted = p.grad.clone()
    Ranks(0, 1, ThreadExchange(Wire(1), 0)).average_gradients([p])
    assert p.grad.stride() == p.stride() and torch.equal(p.grad, wanted)


def test_a_gradient_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    weights = {}
    for clip in (None, 1e9, 1e-3):
        made = trainer(tmp_path / str(clip))
        made.players = tuple(replace(p, clip=clip) for p in made.players)
        made.play()
        weights[clip] = made.system.left.weight
    assert torch.equal(weights[None], weights[1e9]) and not torch.equal(weights[None], weights[1e-3])


@pytest.mark.parametrize("key", ["lr", "weight_decay", "clip", "bound"])
def test_whole_numbers_larger_than_a_tensor_takes_are_numbers_all_the_same(key: str) -> None:
    player = Player("one", (nn.Linear(2, 2),))
    (made,) = overridden([player], {"one": {key: 10**30}})
    assert type(getattr(made, key)) is float and torch.ones(()) + 1 < getattr(made, key)
    with pytest.raises(UsageError, match=rf"players\.one\.{key} is 1000.*: give "):
        overridden([player], {"one": {key: 10**400}})


class Fooled(Duel):
    """The left player moves first, and meets in its loss what the right player's weights have become."""

    card = Card("fooled", title="Fooled", family="test", year=2026, paper="none")

    def players(self) -> tuple[Player, ...]:
        return (Player("left", (self.left,), lr=1e-2), Player("right", (self.right,), lr=1e30))

    def moves(self) -> tuple[Move, ...]:
        return (Move("left", self.meet), Move("right", self.rest))

    def meet(self, turn: Turn) -> Tensor:
        return (self.left.weight * self.right.weight**2).sum()


class Infected(Duel):
    """The right loss is no number from iteration 2 on; from 3 on neither is the left one, whose player is busier."""

    card = Card("infected", title="Infected", family="test", year=2026, paper="none")

    def moves(self) -> tuple[Move, ...]:
        return (Move("left", partial(self.ill, since=3), times=3), Move("right", partial(self.ill, since=2)))

    def ill(self, turn: Turn, since: int) -> Tensor:
        loss = (self.shared(self.left(self.features(turn)) + self.right(self.features(turn))) ** 2).mean()
        return loss * (float("nan") if turn.round >= since else 1.0)


def test_who_exploded_is_named_and_not_who_met_it(tmp_path: Path) -> None:
    blamed = (
        r"first of player 'left' \(iteration 1, .*the weights of 'right' have grown to 1e\+30: set players.right.clip"
    )
    with pytest.raises(TrainingStopped, match=blamed):
        trainer(tmp_path / "a", system=Fooled(), rounds=50).run()
    with pytest.raises(
        TrainingStopped, match=r"11 steps .* first of player 'right' \(iteration 2, .*set players.right."
    ):
        trainer(tmp_path / "b", system=Infected(), rounds=50).run()
    with pytest.raises(TrainingStopped, match=r"first of player 'left' \(iteration 0, loss nan, .*: set players.left."):
        trainer(tmp_path / "c", system=Duel(poison=-2), rounds=50).run()


def test_one_picture_is_too_few_for_what_compares_pictures_alone() -> None:
    one = Turn(toy_source().batch(torch.arange(1)), Draws(0), 0, 0.0)

    def of(wrong: Callable[[], object]) -> None:
        with of_pictures(one):
            wrong()

    for wrong in (lambda: nn.BatchNorm1d(4)(torch.ones(1, 4)), lambda: pull_away(torch.ones(1, 3))):
        with pytest.raises(UsageError, match=r"raise train\.batch"):
            of(wrong)
    with pytest.raises(ValueError, match="more than 1 spatial element"):  # which no larger batch has
        of(lambda: nn.InstanceNorm2d(4)(torch.ones(1, 4, 1, 1)))
    with pytest.raises(ValueError, match="invalid literal"):
        of(lambda: int("x"))


def test_an_optimiser_for_which_there_is_no_memory_is_no_damaged_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    optimiser = torch.optim.Adam([nn.Parameter(torch.ones(2))])

    for error, kind in (
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), torch.OutOfMemoryError),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (2)"), WeightsError),
    ):
        monkeypatch.setattr(optimiser, "load_state_dict", Mock(side_effect=error))
        with pytest.raises(kind):
            restore_flat(optimiser, {})
