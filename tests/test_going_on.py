"""A run goes on, also further than it was to; what changed since is named, or refused for its reason."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from zeuxis.api import runs
from zeuxis.api.going_on import differences as changed
from zeuxis.api.going_on import place, recorded, run_of
from zeuxis.api.suited import long_warmup, too_short
from zeuxis.errors import RunInUse, UsageError
from zeuxis.game import Player
from zeuxis.recipe import load_recipe, with_overrides
from zeuxis.training.checkpoint import checked_facts
from zeuxis.training.resuming import code_of, differences
from zeuxis.training.run_lock import NAME, run_lock
from zeuxis.training.saving import FIRST, SHARE, Saves
from zeuxis.training.trainer import Trainer

TINY = """
system = "dcgan"
about = "a game small enough for a test"
data = "digits"
size = 8
[model]
ngf = 4
ndf = 4
[train]
iterations = 3
batch = 4
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test works in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    Path("tiny.toml").write_text(TINY)


def train(command, *args):
    code, out, err = command("train", *args, "--json")
    assert code == 0, err
    return json.loads(out), err


def test_a_run_named_by_its_folder_is_trained_further(command):
    train(command, "tiny.toml", "--out", "r")
    found, err = train(command, "r", "--iterations", 6)
    assert (found["round"], found["began"], found["run"]) == (6, 3, "r")
    assert "goes on with r after iteration 3" in err and "was 3 iterations and is 6 iterations" in err
    kept = recorded(Path("r"))
    assert kept is not None and kept.finished and kept.recipe.train.iterations == 6
    assert checked_facts(Path("r/model"), "model")["round"] == 6


def test_resume_goes_on_and_further_by_the_folder_alone(command, monkeypatch):
    play = Trainer.play

    def interrupted(self):
        play(self)
        if self.round == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "play", interrupted)
        code, out, _ = command("train", "tiny.toml", "--out", "stopped")
    assert code == 130 and "the same command goes on, and zeuxis resume stopped" in out
    Path("tiny.toml").unlink()  # the run holds its recipe
    code, _, err = command("resume", "stopped", "--iterations", 1)
    assert code == 2 and "counts from the beginning: give more than 1, or none to go on to its end at 3" in err
    assert run_of(Path("stopped")).recipe.train.iterations == 3
    code, out, err = command("resume", "stopped", "--json")
    assert code == 0 and json.loads(out)["round"] == 3 and "goes on with stopped after iteration" in err
    code, out, _ = command("resume", "stopped")
    assert code == 0 and "zeuxis resume stopped --iterations 6" in out and "zeuxis train stopped --fresh" in out
    code, out, err = command("resume", "stopped", "--budget", "5i", "--json")
    assert (json.loads(out)["began"], json.loads(out)["round"]) == (3, 5) and "was 3 iterations and is 5" in err
    assert run_of(Path("stopped")).recipe.train.iterations == 5


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiny", "there is no run folder of that name: did you mean runs/00000-tiny-digits?"),
        ("00000-tiny-digits", "did you mean runs/00000-tiny-digits?"),
        ("runs/0000-tiny-digits", "there is no run folder runs/0000-tiny-digits: did you mean runs/00000-tiny-digits"),
        ("runs/00000-tiny-digits/model", "is a part of a run: give the run, runs/00000-tiny-digits"),
        ("runs", "runs holds no run"),
        ("gaussian", "is a recipe, and what goes on is a run: did you mean runs/00001-gaussian-digits?"),
        ("pca", "is a recipe, and what goes on is a run: train it first (zeuxis train pca)"),
        ("nowhere/at/all", "there is no run folder nowhere/at/all: check the path"),
    ],
)
def test_what_cannot_be_resumed_says_what_can(command, name, says):
    train(command, "tiny.toml")
    train(command, "gaussian", "--data", "digits", "--size", 8)
    code, _, err = command("resume", name)
    assert code == 2 and says in err and err.count("\n") == 1


def test_a_run_is_found_by_whoever_leaves_out_its_folder(command):
    run = train(command, "gaussian", "--data", "digits", "--size", 8)[0]["run"]
    Path("runs/00009-torn/model").mkdir(parents=True)
    Path("runs/00009-torn/model/model.json").write_text("{")  # which nobody asked for
    for line in (
        ("sample", Path(run).name),
        ("sample", "gaussian"),
        ("info", Path(run).name),
        ("train", Path(run).name),
    ):
        code, _, err = command(*line)
        assert code == 2 and f"did you mean {run}" in err, line
    code, _, err = command("evaluate", run[:-1])
    assert code == 2 and err == f"zeuxis: there is no run folder {run[:-1]}: did you mean {run}?\n"


def test_the_same_recipe_with_a_larger_budget_is_the_same_run(command):
    first, _ = train(command, "tiny.toml")
    second, err = train(command, "tiny.toml", "--iterations", 5)
    assert (second["run"], second["began"], second["round"]) == (first["run"], 3, 5)
    assert "goes on with" in err
    shorter, _ = train(command, "tiny.toml", "--iterations", 2)
    assert shorter["run"] != first["run"], "a shorter training is one of its own: the longer would be lost"


def test_what_is_finished_says_so_and_trains_nothing(command):
    first, _ = train(command, "tiny.toml")
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    code, out, _ = command("train", "tiny.toml")
    assert code == 0 and "is finished: 3 iterations, nothing was trained" in out
    assert f"zeuxis resume {first['run']} --iterations 6" in out and "--fresh" in out
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")} == before
    assert "is finished" in command("train", first["run"])[1]
    train(command, "gaussian", "--data", "digits", "--size", 8, "--out", "g")
    code, out, _ = command("train", "gaussian", "--data", "digits", "--size", 8, "--out", "g")
    assert code == 0 and "is finished" in out and "--iterations" not in out, "a closed form has no longer training"


def test_fresh_begins_anew_and_what_was_there_is_kept(command):
    first, _ = train(command, "tiny.toml")
    second, _ = train(command, "tiny.toml", "--fresh")
    assert second["run"] != first["run"] and second["began"] == 0
    train(command, "tiny.toml", "--out", "r")
    found, err = train(command, "tiny.toml", "--out", "r", "--fresh", "--seed", 3)
    assert (found["run"], found["began"], found["round"]) == ("r", 0, 3) and "is now in before-r" in err
    assert run_of(Path("before-r")).recipe.train.seed == 0 and run_of(Path("r")).recipe.train.seed == 3


def test_a_fresh_training_that_cannot_begin_leaves_the_run_where_it_was(command, monkeypatch):
    train(command, "tiny.toml", "--out", "r")

    def broken(self, begin):
        raise UsageError("it cannot begin")

    monkeypatch.setattr("zeuxis.training.trainer.Trainer.run", broken)
    assert command("train", "tiny.toml", "--out", "r", "--fresh")[0] == 2
    assert recorded(Path("r")).finished and not Path("before-r").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("--batch", 8), "train.batch was 4 and is 8"),
        (("--set", "players.generator.lr=1e-4"), "players.generator.lr was its default and is 0.0001"),
        (("--set", "players.critic.lr=1e-4"), "unknown player 'critic'"),
        (("--size", 16), "its networks were built for pictures of that size"),
        (("--set", "model.ngf=8"), "model.ngf was 4 and is 8"),
        (("--seed", 3), "follow from the seed"),
        (("--set", "train.ema=0.9"), "its average was begun with its first weights"),
        (("--set", "players.generator.optimiser=sgd"), "the state of the other optimiser"),
        (("--data", "scenes"), "are not those that the run in r was begun on"),
    ],
)
def test_what_changed_is_named_and_works_or_is_refused(command, change, says):
    train(command, "tiny.toml", "--out", "r")
    before = Path("r/run.json").read_text()
    code, _, err = command("train", "r", "--iterations", 6, *change)
    assert says in err and ("Traceback" not in err)
    works = "from here on" in err
    assert (code == 0) == works
    if not works:
        assert err.strip().splitlines()[-1].startswith("zeuxis: ") and Path("r/run.json").read_text() == before


def test_a_finished_run_says_that_what_changed_counts_for_nothing(command):
    train(command, "tiny.toml", "--out", "r")
    before = Path("r/run.json").read_text()
    code, _, err = command("train", "r", "--batch", 8)
    assert code == 0 and "train.batch was 4 and is 8, which counts for nothing: r is finished" in err
    assert Path("r/run.json").read_text() == before
    train(command, "gaussian", "--data", "digits", "--size", "8", "--out", "g")
    for change in (("--subset", 50), ("--augment", "flips")):
        code, _, err = command("train", "g", *change)
        assert (
            code == 2 and "learnt in closed form, in one pass, and cannot be gone on with" in err and "--fresh" in err
        )


def test_other_pictures_are_refused_with_the_mend(command, tmp_path):
    from PIL import Image

    Path("birds").mkdir()
    for k in range(12):
        Image.new("L", (8, 8), 20 * k).save(f"birds/{k}.png")
    train(command, "tiny.toml", "--data", "birds", "--out", "r")
    Image.new("L", (8, 8), 255).save("birds/12.png")
    for line in (("--iterations", 6), ()):
        code, _, err = command("train", "r", *line)
        assert code == 1 and "are not those that the run in r was begun on" in err and "--fresh" in err
    code, _, err = command("train", "birds")
    assert code == 2 and "holds no run" in err and "--data birds" in err


def test_a_measurement_tells_of_other_pictures_than_a_model_s_own(command, monkeypatch):
    for folder, grey in (("birds", 10), ("there/birds", 15)):
        Path(folder).mkdir(parents=True)
        for k in range(24):
            Image.new("L", (8, 8), grey * k % 256).save(f"{folder}/{k}.png")
    found, err = train(command, "gaussian", "--data", "birds", "--size", "8", "--iterations", "5", "--out", "r")
    assert found["round"] == 1 and "train.iterations counts for nothing" in err
    run, said = str(Path("r").resolve()), "are not those that"
    for change, told in ((None, False), ("there", True)):
        if change is not None:
            monkeypatch.chdir(change)  # where a folder of that name holds others
        code, _, err = command("evaluate", run, "--metric", "bits-per-dim", "--samples", "2")
        assert (said in err) is told, err
    monkeypatch.chdir("birds")
    code, _, err = command("evaluate", run, "--metric", "bits-per-dim", "--samples", "2")
    assert code == 2 and "the card of" in err and "names the data 'birds'" in err and "--data" in err


def test_a_recipe_is_read_as_editors_and_systems_leave_it():
    for name, data in (
        ("marked.toml", b"\xef\xbb\xbf" + TINY.encode()),
        ("ended.toml", TINY.replace("\n", "\r\n").encode()),
        ("LOUD.TOML", TINY.encode()),
    ):
        Path(name).write_bytes(data)
        assert load_recipe(name).train.iterations == 3, name


def test_other_code_is_named():
    facts = {"reference": "x", "commit": "b" * 40}
    (line,) = differences(Path("r"), {"reference": "x", "code": {"version": "0.0.9", "commit": "a" * 40}}, {}, facts)
    assert "zeuxis 0.0.9 at commit aaaaaaaaaaaa" in line and "at commit bbbbbbbbbbbb" in line
    (line,) = differences(Path("r"), {"reference": "x", "code": code_of({"commit": f"{'b' * 40}-dirty"})}, {}, facts)
    assert "at commit bbbbbbbbbbbb with changes of its own and" in line and "at commit bbbbbbbbbbbb: where" in line
    assert differences(Path("r"), {"reference": "x"}, {}, facts) == [], "older checkpoints do not say"


def test_another_system_is_another_run():
    recipe = load_recipe("tiny.toml")
    with pytest.raises(UsageError, match="it trains another system"):
        changed(Path("r"), recipe, recipe.model_copy(update={"system": "wgan-gp"}))
    assert changed(Path("r"), recipe, recipe.model_copy(update={"about": "other words", "sample": {"a": 1}})) == []


def test_only_who_asks_for_it_goes_further():
    recipe = load_recipe("tiny.toml")
    Path("r").mkdir()
    Path("r/run.json").write_text(
        json.dumps({"format": 2, "recipe": recipe.model_dump(mode="json"), "finished": False})
    )
    with pytest.raises(UsageError, match="this recipe with another budget"):
        place(with_overrides(recipe, ["train.iterations=9"]), Path("r"), fresh=False)
    assert place(with_overrides(recipe, ["train.iterations=9"]), Path("r"), fresh=False, longer=True).before is not None


def test_a_recipe_s_name_leads_nowhere_else(command):
    code, _, err = command("train", "tiny.toml", "--set", "name=../../victim")
    assert code == 2 and "name is '../../victim': a name holds none of" in err and not Path("runs").exists()


def test_a_record_that_cannot_be_read_stops_no_other_training(command):
    first, _ = train(command, "tiny.toml")
    Path(first["run"], "run.json").write_text("{")
    second, _ = train(command, "tiny.toml")
    assert second["run"] != first["run"]


def test_a_record_that_lacks_its_recipe_is_answered_with_what_helps(command):
    Path("r").mkdir()
    Path("r/run.json").write_text('{"format": 2}')
    code, _, err = command("resume", "r")
    assert code == 2 and "it lacks 'recipe'): put a sound copy in its place" in err and "--out" not in err


@pytest.mark.parametrize("change", ["players.generator.lr=banana", "players.critic.lr=1", "model.ngf=abc", "size=9"])
def test_a_failed_start_leaves_no_folder(command, change):
    assert command("train", "tiny.toml", "--set", change)[0] == 2
    assert not Path("runs").exists() or not any(Path("runs").iterdir())


def test_a_failure_before_the_first_iteration_leaves_no_folder(command, monkeypatch):
    def broken(self, begin):
        raise MemoryError

    monkeypatch.setattr("zeuxis.training.trainer.Trainer.play", broken)
    assert command("train", "tiny.toml")[0] == 1
    assert not any(Path("runs").iterdir())


def test_checkpoints_come_within_seconds_and_then_seldom():
    saves, now, due = Saves(longest=120.0, now=0.0), 0.0, []
    while now < 600:
        now += 1.0
        if saves.due(now):
            due.append(now)
            saves.saved(now, now + 0.1)
    assert due[0] <= FIRST + 1 and sum(t <= 18 for t in due) >= 2, "a kill after 18 seconds loses little"
    gaps = [b - a for a, b in pairwise(due)]
    assert gaps == sorted(gaps) and max(gaps) <= 122, "twice as long each time, up to the longest"
    slow = Saves(longest=1000.0, now=0.0)
    slow.saved(6.0, 16.0)  # it took ten seconds
    assert not slow.due(16 + SHARE * 10 - 1) and slow.due(16 + SHARE * 10 + 1), "five per cent of the time at most"


def test_steps_that_were_left_out_are_told(command):
    settings = ("--set", "players.discriminator.lr=1e30")
    _, err = train(command, "tiny.toml", *settings, "--out", "r")
    assert "note: the last step was not finite: what was saved is what the finite steps before it left" in err
    assert "note: 2 of 3 iterations left nothing, for a step was not finite: zeuxis diagnose r says why" in err


def test_a_training_plainly_too_short_says_what_would_do(command):
    recipe = load_recipe("dcgan")
    enough = recipe.train.iterations
    assert too_short(recipe, enough) is None and too_short(recipe, enough // 5) is None
    assert f"--iterations {enough}" in (too_short(recipe, 3) or "")
    large = with_overrides(recipe, ["train.batch=4096"])
    assert too_short(large, enough // 30) is None, "fewer iterations of many more pictures may do"
    _, err = train(command, "tiny.toml")
    assert err.count("plainly too short") == 1, "measured by the recipe that is called as the system"


def test_a_warm_up_that_is_longer_than_the_training_is_told(command):
    players = [Player("quick", (), lr=1e-3), Player("slow", (), lr=2e-4, warmup=5000)]
    assert long_warmup(players, 5000) is None and long_warmup(players[:1], 1) is None
    said = long_warmup(players, 1000) or ""
    assert "the rate of slow rises over 5,000 iterations" in said and "20% of 0.0002" in said
    assert "--set players.slow.warmup=100" in said
    warm = TINY.replace("iterations = 3", "iterations = 2") + "[players.generator]\nwarmup = 4\n"
    Path("warm.toml").write_text(warm.replace('system = "dcgan"', 'system = "dcgan"\nname = "warm"'))
    _, err = train(command, "warm.toml")
    assert err.count("plainly too short") == 1 and "rises over" not in err, "the one says enough"


def test_what_the_pictures_do_not_come_with_is_not_learnt(command):
    import numpy as np
    from PIL import Image

    Path("photos").mkdir()
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(f"photos/{k}.png")
    small = ("--size", 8, "--iterations", 1, "--batch", 2, "--set", "model.network.width=8", "--set", "sample.steps=2")
    found, err = train(command, "flow-matching", "--data", "photos", *small)
    assert err.count("have no labels, so the model learns none") == 1
    assert run_of(Path(found["run"])).recipe.model["condition"] == "none"
    for asked in (("--condition", "label"), ("--set", 'model.condition="label"')):
        code, _, err = command("train", "flow-matching", "--data", "photos", *small, *asked)
        assert code == 2 and "needs label" in err, "who asks for it is not given another model"
    code, out, _ = command("train", "flow-matching", "--data", "photos", *small, "--dry-run")
    assert code == 0 and "have no labels, so the model learns none" in out


def test_a_step_that_is_taken_back_does_not_break_the_next_move(command):
    """The critic goes on with a pass that the generator made before its bad step was undone."""
    code, _, err = command("train", "tiny.toml", "--set", "players.discriminator.lr=1e30", "--iterations", 40)
    assert code == 1 and "steps in a row were not finite" in err and "lower its lr" in err


def held(folder: Path) -> bool:
    """Whether a training holds the lock of a run folder."""
    try:
        with run_lock(folder):
            return False
    except RunInUse:
        return True


@pytest.mark.parametrize("recipe", ["tiny.toml", "gaussian"])
def test_a_run_makes_room_and_is_begun_by_who_holds_its_lock(command, monkeypatch, recipe):
    given = (recipe, "--data", "pictures", "--size", 8, "--out", "r")
    Path("pictures").mkdir()
    for k in range(30):
        Image.new("RGB", (8, 8), (8 * k, 0, 0)).save(Path("pictures", f"{k}.png"))
    Path("pictures", "film.mp4").write_bytes(b"x")
    train(command, *given)
    seen: dict[str, bool] = {}
    rename, write = Path.rename, runs.write_whole

    def renamed(path: Path, to: Path) -> Path:
        if path == Path("r"):
            seen["moved"] = held(path)
        return rename(path, to)

    def written(path: Path, content: bytes) -> None:
        seen[path.name] = held(path.parent)
        write(path, content)

    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(runs, "write_whole", written)
    train(command, *given, "--fresh")
    assert seen["moved"] and seen["skipped.jsonl"]
    assert not Path("before-r", NAME).exists() and not Path("r", NAME).exists()


def test_who_is_refused_changes_nothing_of_the_run_at_work(command):
    Path("pictures").mkdir()
    for k in range(30):
        Image.new("RGB", (8, 8), (8 * k, 0, 0)).save(Path("pictures", f"{k}.png"))
    given = ("train", "gaussian", "--data", "pictures", "--size", 8, "--out", "r")
    Path("r").mkdir()
    with run_lock(Path("r")):  # before it has written anything
        Path("pictures", "film.mp4").write_bytes(b"x")
        for more in ((), ("--fresh",)):
            code, _, err = command(*given, *more)
            assert code == 1 and "is being trained by process" in err
        assert [path.name for path in Path("r").iterdir()] == [NAME]


def test_a_lock_that_is_another_training_s_by_now_is_left_there(tmp_path):
    (tmp_path / "r").mkdir()
    with run_lock(tmp_path / "r"):
        (tmp_path / "r").rename(tmp_path / "before-r")
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / NAME).write_text("another's")
    assert (tmp_path / "r" / NAME).read_text() == "another's"
