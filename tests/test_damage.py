"""What a run folder can suffer, and is not lost by: damaged files, other pictures, a later version, bad steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_training import Duel, trainer

import zeuxis as zx
from zeuxis.api.page import loss_curves
from zeuxis.api.runs import Run
from zeuxis.errors import DataError, TrainingStopped, UsageError, WeightsError
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import Checkpoints, read_folder, write_folder
from zeuxis.training.log import Log, read_log
from zeuxis.training.trainer import Trainer


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def played(folder: Path, *saved: int) -> Trainer:
    """A run with checkpoints after the rounds ``saved``, a model of the last, and a log."""
    made = trainer(folder, rounds=saved[-1], keep=9)
    while made.round < saved[-1]:
        made.play()
        if made.round in saved:
            made.save()
    log = Log(folder)
    for round in range(1, saved[-1] + 1):
        log.write(round, {"loss/left": 1.0 / round, "images": 4 * round})
    log.close()  # TensorBoard's events are written by a thread of their own until then
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# -- checkpoints and models ---------------------------------------------------------------------------


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the last byte of the tensors": lambda c: flip_last_byte(c / "state.safetensors"),
    "no tensors": lambda c: (c / "state.safetensors").unlink(),
    "empty tensors": lambda c: (c / "state.safetensors").write_bytes(b""),
    "no facts": lambda c: (c / "state.json").unlink(),
    "torn facts": lambda c: (c / "state.json").write_bytes((c / "state.json").read_bytes()[:40]),
    "facts that are no table": lambda c: (c / "state.json").write_text("[1]"),
    "another number in the facts": lambda c: (c / "state.json").write_text(
        (c / "state.json").read_text().replace('"images": ', '"images": 1')
    ),
    "an empty folder": lambda c: [p.unlink() for p in c.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_every_checkpoint_is_damaged_training_is_refused_and_nothing_touched(damage: str, tmp_path: Path) -> None:
    made = played(tmp_path, 2, 4)
    for path in made.checkpoints.paths():
        DAMAGES[damage](path)
    before = contents(tmp_path)
    with pytest.raises(WeightsError, match=rf"no checkpoint in {made.checkpoints.folder} is sound .*state.*--out"):
        trainer(tmp_path, rounds=4).run()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_kept(damage: str, tmp_path: Path) -> None:
    made = played(tmp_path, 2, 4)
    DAMAGES[damage](made.checkpoints.paths()[-1])
    kept = contents(made.checkpoints.paths()[-1])
    again = trainer(tmp_path, rounds=5)
    again.run()
    assert again.round == 5 and [p.name for p in again.checkpoints.paths()] == ["00000002", "00000005"]
    assert contents(tmp_path / "checkpoints" / "damaged-00000004") == kept
    assert any("set aside as" in line and "damaged-00000004" in line for line in again.said)
    events = [entry["event"] for entry in read_log(tmp_path / "log.jsonl") if "event" in entry]
    assert any("set aside" in event for event in events) and "resumed after iteration 2" in events
    assert [entry["round"] for entry in read_log(tmp_path / "log.jsonl") if "loss/left" in entry][:2] == [1, 2]
    copy = tmp_path / "model-00000004"  # of a later round than what was gone on from
    assert read_folder(copy, "model")[1]["round"] == 4 and read_folder(tmp_path / "model", "model")[1]["round"] == 5
    assert trainer(tmp_path, rounds=5).resume() == ["resumed after iteration 5"]


def test_a_second_damaged_one_gets_a_name_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        played(tmp_path, 2, 4)
        flip_last_byte(tmp_path / "checkpoints" / "00000004" / "state.safetensors")
        trainer(tmp_path, rounds=4).resume()
    assert {p.name for p in (tmp_path / "checkpoints").glob("damaged*")} == {"damaged-00000004", "damaged-00000004-2"}


def test_only_sound_checkpoints_are_counted_when_old_ones_are_removed(tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path, keep=2)
    for round in (1, 2, 3):
        keeper.save(round, {"x": torch.full((2,), float(round))}, {"round": round})
    flip_last_byte(tmp_path / "00000003" / "state.safetensors")
    keeper.save(4, {"x": torch.zeros(2)}, {"round": 4})
    assert [p.name for p in keeper.paths()] == ["00000002", "00000003", "00000004"]
    assert keeper.last_good().endswith("00000004")
    flip_last_byte(tmp_path / "00000004" / "state.safetensors")
    assert keeper.last_good().endswith("00000002")
    tensors, _, lines = keeper.newest()
    assert tensors["x"].tolist() == [2.0, 2.0] and len(lines) == 2
    keeper.save(3, {"x": torch.zeros(2)}, {"round": 3})
    assert [p.name for p in keeper.paths()] == ["00000002", "00000003"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_is_not_gone_on_from_is_not_counted_either(damage: str, tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path, keep=2)
    for round in (1, 2):
        keeper.save(round, {"x": torch.zeros(2)}, {"round": round, "images": 4 * round})
    DAMAGES[damage](tmp_path / "00000002")
    assert keeper.last_good().endswith("00000001")
    keeper.save(3, {"x": torch.zeros(2)}, {"round": 3, "images": 12})
    assert (tmp_path / "00000001").is_dir()


def test_a_checkpoint_survives_a_kill_between_its_two_renames(tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path)
    keeper.save(3, {"x": torch.ones(2)}, {"round": 3})
    (tmp_path / "00000003").rename(tmp_path / ".old-00000003")
    found = keeper.newest()
    assert found is not None and found[1]["round"] == 3 and (tmp_path / "00000003").is_dir()


def test_a_model_without_a_checkpoint_is_not_overwritten(tmp_path: Path) -> None:
    for path in played(tmp_path, 4).checkpoints.paths():
        path.rename(tmp_path / "elsewhere")
    before = contents(tmp_path)
    with pytest.raises(WeightsError, match=r"holds the model of iteration 4 and no checkpoint to go on from.*--out"):
        trainer(tmp_path).run()
    flip_last_byte(tmp_path / "model" / "model.safetensors")
    with pytest.raises(WeightsError, match=r"holds a model \(.* is damaged.*--out"):
        trainer(tmp_path).run()
    assert before.keys() == contents(tmp_path).keys()


def test_a_damaged_model_is_set_aside_and_made_anew(tmp_path: Path) -> None:
    played(tmp_path, 4)
    flip_last_byte(tmp_path / "model" / "model.safetensors")
    again = trainer(tmp_path, rounds=5)
    again.run()
    assert any("damaged-model" in line for line in again.said)
    assert (tmp_path / "damaged-model" / "model.json").is_file()
    assert read_folder(tmp_path / "model", "model")[1]["round"] == 5


def test_what_a_later_version_wrote_is_not_taken_for_damaged(tmp_path: Path) -> None:
    made = played(tmp_path, 2, 4)
    newest = made.checkpoints.paths()[-1]
    tensors, facts = read_folder(newest, "state")
    write_folder(newest, tensors, {**facts, "format": 99}, "state")
    before = contents(tmp_path)
    with pytest.raises(WeightsError, match=r"format 99, written by a later version .* update zeuxis"):
        trainer(tmp_path).run()
    write_folder(tmp_path / "model", tensors, {"format": 99}, "model")
    with pytest.raises(WeightsError, match="format 99"):
        read_folder(tmp_path / "model", "model")
    assert contents(tmp_path / "checkpoints").keys() == {n[12:] for n in before if n.startswith("checkpoints/")}


# -- the log ------------------------------------------------------------------------------------------


def test_a_torn_last_line_is_cut_off_before_the_next(tmp_path: Path) -> None:
    played(tmp_path, 2, 4)
    log = tmp_path / "log.jsonl"
    for torn in ('{"round": 40, "ima', '{"round": 40, "images": 3', "\0\0\0\0", '{"round": 4, "a": 1}\n{"b'):
        log.write_text(log.read_text() + torn)
        assert loss_curves(log)["left"][-1] == (16, 0.25)
        trainer(tmp_path, rounds=4).run()
        assert all(isinstance(json.loads(line), dict) for line in log.read_text().splitlines())


def test_a_whole_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"round": 1}\n{"round": 2}')
    assert read_log(log) == [{"round": 1}, {"round": 2}]
    made = Log(tmp_path)
    made.rewind(2)
    made.write(3, {"a": 1.0})
    assert read_log(log) == [{"round": 1}, {"round": 2}, {"round": 3, "a": 1.0}]


@pytest.mark.parametrize(
    "text", ['{"round": 1}\n{"ro{"round": 2}\n{"round": 3}\n', '{"a\n{"b\n', '{"a": 1}\n\n{"b": 1}\n']
)
def test_any_other_damage_of_a_log_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(UsageError, match=r"log\.jsonl: line . is not a JSON object"):
        read_log(tmp_path / "log.jsonl")


def test_no_log_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("")
    assert read_log(tmp_path / "log.jsonl") == []


def test_a_log_is_rewound_in_one_step_and_a_log_of_nothing_left_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.jsonl").write_text('{"round": 0}\n{"round": 7}\n')
    made = Log(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TrainingStopped, match="No space left"):
        patch.setattr(Path, "write_text", full)
        made.rewind(3)
    assert [entry["round"] for entry in read_log(tmp_path / "log.jsonl")] == [0, 7]
    made.rewind(0)
    assert read_log(tmp_path / "log.jsonl") == [{"round": 0}]
    assert read_log(tmp_path / "log-before.jsonl") == [{"round": 0}, {"round": 7}]


# -- pictures and threads -----------------------------------------------------------------------------


def with_facts(folder: Path, reference: str | None, rounds: int = 4) -> Trainer:
    made = trainer(folder, rounds=rounds)
    made.facts = {"data": "photographs"} | ({} if reference is None else {"reference": reference})
    return made


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    with_facts(tmp_path, "a" * 16, 2).run()
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"pictures of 'photographs' are not those .* put those back.*--out.*--from"):
        with_facts(tmp_path, "b" * 16).run()
    assert contents(tmp_path) == before
    assert with_facts(tmp_path, "a" * 16).resume() == ["resumed after iteration 2"]
    assert with_facts(tmp_path, None).resume() == ["resumed after iteration 2"]


def test_a_folder_whose_pictures_were_replaced_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    tiny = {"model.latent": 4, "model.widths": [8, 8], "model.hidden": 16}

    def drawn(seed: int) -> None:
        (tmp_path / "pictures").mkdir(exist_ok=True)
        for k in range(24):
            pixels = (Stream(seed, k).uniform(16, 16, 3) * 255).byte().numpy()
            Image.fromarray(pixels).save(tmp_path / "pictures" / f"{k:02d}.png")

    def trained() -> Run:
        folder, out = tmp_path / "pictures", tmp_path / "run"
        return zx.train("vae", data=folder, out=out, size=16, iterations=2, batch=8, settings=tiny, quiet=True)

    drawn(0)
    read, *_ = trained().notes
    assert read == "read as pictures: 24 used; not used: none" and trained().idle
    before = contents(tmp_path / "run" / "checkpoints"), contents(tmp_path / "run" / "model")
    drawn(1)
    with pytest.raises(DataError, match=r"are not those that the run in .* was begun on \(fingerprint"):
        trained()
    assert (contents(tmp_path / "run" / "checkpoints"), contents(tmp_path / "run" / "model")) == before
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"]
    drawn(0)
    assert trained().clock.round == 2


def test_a_checkpoint_that_did_not_note_its_pictures_says_so(tmp_path: Path) -> None:
    with_facts(tmp_path, None, 2).run()
    again = with_facts(tmp_path, "b" * 16)
    again.run()
    assert again.round == 4 and "did not note its pictures" in again.said[0]


def test_another_number_of_threads_is_said(tmp_path: Path) -> None:
    made = trainer(tmp_path, rounds=2)
    made.run()
    assert read_folder(tmp_path / "model", "model")[1]["threads"] == torch.get_num_threads() == 1
    tensors, facts = read_folder(made.checkpoints.paths()[-1], "state")
    made.checkpoints.save(2, tensors, {**{k: v for k, v in facts.items() if "sha256" not in k}, "threads": 2})
    again = trainer(tmp_path, rounds=4)
    again.run()
    assert "saved with 2 threads and goes on with 1" in again.said[0]


# -- steps that are not finite ------------------------------------------------------------------------


class Normed(Duel):
    """A duel whose left player has a batch norm, and a codebook that follows the round."""

    def __init__(self, *, poison: int = -1) -> None:
        super().__init__(poison=poison)
        self.left = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
        self.register_buffer("codebook", torch.zeros(4))

    def features(self, turn):
        poisoned = turn.round == self.poison or self.poison == -2
        return super().features(turn) * (float("nan") if poisoned else 1.0)

    def strike(self, turn):
        turn.memo["left"] = True
        features = self.features(turn)
        turn.memo["mean"] = features.mean(0)
        return (self.shared(self.left(features)) ** 2).mean()

    def parry(self, turn):
        return None

    def after_round(self, turn):
        self.codebook.add_(turn.memo["mean"] if not turn.first else 100.0)


def test_a_step_that_is_not_finite_leaves_nothing_behind(tmp_path: Path) -> None:
    made = trainer(tmp_path, system=Normed(poison=2))
    for _ in range(2):
        made.play()
    before = {name: b.clone() for name, b in made.system.named_buffers()}
    made.play()
    assert made.steps.bad_total == 3 and made.skipped == 1
    for name, b in made.system.named_buffers():
        assert torch.equal(b, before[name]), name
    made.play()
    assert not torch.equal(made.system.left[1].running_mean, before["left.1.running_mean"])
    assert torch.isfinite(made.system.codebook).all()
    made.save()


def test_a_first_round_that_left_nothing_is_followed_by_a_first(tmp_path: Path) -> None:
    made = trainer(tmp_path, system=Normed(poison=0))
    made.play()
    assert not made.system.codebook.any()
    made.play()
    assert (made.system.codebook == 100).all(), "what a system does first it does now"
    made.play()
    made.save()
    again = trainer(tmp_path, system=Normed(poison=0))
    again.resume()
    assert again.skipped == 1


def test_nothing_is_saved_while_steps_are_not_finite(tmp_path: Path) -> None:
    made = trainer(tmp_path, system=Normed(), rounds=50, save_minutes=1e-9, max_bad_iterations=20, keep=3)
    made.system.poison, explode = -1, 4

    def report(clock: object) -> None:
        made.system.poison = -2 if made.round >= explode else -1

    made.report = report
    with pytest.raises(TrainingStopped, match=r"the last good checkpoint is .*00000004"):
        while True:
            report(None)
            made.play()
            if not made.steps.failing:
                made.save()
    assert [p.name for p in made.checkpoints.paths()][-1] == "00000004"


def test_a_training_that_ends_in_a_bad_step_is_saved_and_says_so(tmp_path: Path) -> None:
    """It would come to the same end again: the batches and the draws follow from the seed."""
    made = trainer(tmp_path, system=Normed(poison=3), rounds=4)
    made.run()
    assert made.said == ["the last step was not finite: what was saved is what the finite steps before it left"]
    tensors, facts = read_folder(tmp_path / "model", "model")
    assert facts["round"] == 4 and all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())


def test_a_signal_in_an_explosion_saves_nothing(tmp_path: Path) -> None:
    made = trainer(tmp_path, system=Normed(), rounds=50, max_bad_iterations=1000)
    for _ in range(2):
        made.play()
    made.save()
    made.system.poison = -2
    made.steps.bad["left"] = 1
    made.report = lambda clock: setattr(made, "stop_asked", "SIGTERM")
    made.resume = lambda: []  # it goes on from where it is
    made.run()
    assert [p.name for p in made.checkpoints.paths()] == ["00000002"]
    assert made.said[-1].endswith("the last good checkpoint is " + str(made.checkpoints.paths()[-1]))
