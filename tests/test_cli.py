"""The command line: light to start, one line when something is wrong, one document under --json."""

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import zeuxis.cli
from zeuxis.catalog.listing import entries
from zeuxis.cli import main
from zeuxis.cli.options import Budget, paired, recipe_of
from zeuxis.cli.output import duration, plain
from zeuxis.cli.progress import Progress
from zeuxis.errors import Stopped, UsageError
from zeuxis.provenance.record import read_record
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.training.trainer import Trainer

FULL = (errno.ENOSPC, errno.EDQUOT)  # errors for which freeing space is the mend
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


@pytest.fixture
def trained(command):
    """The folder of a Gaussian fitted to the digits."""
    code, out, _ = command("train", "gaussian", "--data", "digits", "--size", 8, "--json")
    assert code == 0
    return json.loads(out)["run"]


def alone(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


# -- what a shell completes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("zeuxis train dcg", {"dcgan", "dcgan-paper"}),
        ("zeuxis train runs/", {"runs/00000-mine"}),
        ("zeuxis sample perl", {"perlin"}),
        ("zeuxis sample runs/", set()),  # it holds no model yet
        ("zeuxis train dcgan --data fash", {"fashion-mnist"}),
        ("zeuxis compare dcgan gaus", {"gaussian"}),
        ("zeuxis info vq-vae-2", {"vq-vae-2", "vq-vae-2-paper"}),
    ],
)
def test_a_shell_completes_names(typed, found, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/00000-mine").mkdir(parents=True)
    (tmp_path / "runs/00000-mine/run.json").touch()
    for name, value in {"": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}.items():
        monkeypatch.setenv(name or "_ZEUXIS_COMPLETE", value)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0 and set(capsys.readouterr().out.split()) == found


# -- light to start -----------------------------------------------------------------------------------


def imported_by(lines):
    """Which modules are there once each line was carried out, one after another in one new process."""
    done = alone(
        "import contextlib, io, json, sys\nfrom zeuxis.cli import main\nfound = {}\n"
        f"for line in {lines!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        code = main(line.split())\n"
        "    assert code == 0 and out.getvalue(), (line, code)\n"
        "    found[line] = sorted({name.split('.')[0] for name in sys.modules})\n"
        "print(json.dumps(found))"
    )
    assert done.returncode == 0, done.stderr
    return {line: set(names) for line, names in json.loads(done.stdout).items()}


HEAVY = {"torch", "numpy", "PIL", "sklearn", "safetensors", "scipy", "pandas", "matplotlib", "tensorboard"}
LIGHT = ("--help", "sample --help", "train --help", "encode --help", "list")
LOOKS = ("list --json", "data", "info vae", "info digits --json", "info scenes", "info tiny.toml",
         "info flow-matching --set model.network.width=8")  # fmt: skip


def test_looking_imports_no_torch_and_the_first_looks_nothing_that_draws_tables():
    found = imported_by((*LIGHT, *LOOKS))
    assert found.keys() == {*LIGHT, *LOOKS}
    for line, names in found.items():
        assert not names & HEAVY, line
        assert line not in LIGHT or not names & {"rich", "markdown_it", "pygments"}, line


def test_help_is_in_sections(command):
    _, out, _ = command("--help")
    sections = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert sections == ["Options:", "Look:", "Work:", "Prove:", "Tools:"]
    _, out, _ = command("sample", "--help")
    assert {"Arguments:", "Options:", "What steers a picture:"} <= set(out.splitlines())


# -- looking ------------------------------------------------------------------------------------------


def test_list_tells_of_every_system(command):
    code, out, err = command("list", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert {row["id"] for row in rows} == set(entries())
    assert {"id", "family", "kind", "title", "year", "paper", "verbs", "needs", "recipes", "results"} == set(rows[0])
    assert sorted(r for row in rows for r in row["recipes"]) == sorted(recipe_paths())
    assert {row["id"]: row["kind"] for row in rows} == {n: "S" if e.card.learns else "G" for n, e in entries().items()}
    code, out, _ = command("list")
    assert code == 0 and all(name in out for name in entries())


def test_info_counts_the_parameters_of_the_desk_and_of_the_paper(command):
    pinned = next((r for r in map(load_recipe, recipe_paths()) if r.counts and r.name == f"{r.system}-paper"), None)
    name = pinned.system if pinned else "pca"
    code, out, _ = command("info", name, "--json")
    found = json.loads(out)
    assert code == 0 and found["id"] == name and found["doc"] and found["parameters"]["desk"] is not None
    for net, count in (pinned.counts if pinned else {}).items():
        assert found["parameters"]["published"][net] == count


def test_info_of_a_system_names_its_paper_and_its_departures(command):
    code, out, _ = command("info", "dcgan")
    assert code == 0
    assert "https://arxiv.org/abs/1511.06434" in out
    assert all(departure in out for departure in entries()["dcgan"].card.departures)


def test_data_lists_and_shows(command):
    code, out, _ = command("data", "--json")
    assert code == 0 and "digits" in {d["name"] for d in json.loads(out)}
    code, out, _ = command("data", "digits", "-n", 4, "--out", "sheet.png", "--json")
    found = json.loads(out)
    assert (code, found["shape"], found["examples"], found["provides"]) == (0, [1, 8, 8], 1439, ["label"])
    with Image.open("sheet.png") as sheet:
        assert sheet.width == sheet.height > 2 * 90
    assert found["texts"] == []
    code, out, _ = command("data", "scenes", "-n", 1, "--size", 16, "--out", "scenes.png")
    assert code == 0 and 'texts  "a ' in out


# -- working ------------------------------------------------------------------------------------------


def test_train_sample_info_and_replay(command, trained):
    code, out, _ = command("sample", trained, "-n", 3, "--seed", 5, "--out", "made", "--json")
    found = json.loads(out)
    assert code == 0 and [r["seed"] for r in found["records"]] == [5, 6, 7]
    assert read_record(Path("made/0001.png")) == found["records"][1]
    assert Path(found["sheet"]).is_file()
    code, out, _ = command("info", "made/0001.png", "--json")
    told = json.loads(out)
    assert "Seed: 6, Size: " in told.pop("marks")["parameters"] and told == found["records"][1]
    code, out, _ = command("sample", "--replay", "made/0001.png", "--out", "again.png", "--json")
    like = {"identical": True, "same": True, "levels": 0, "differing": 0, "values": 64}
    assert code == 0 and json.loads(out) == {"files": ["again.png"], **like, "differs": []}
    code, out, _ = command("info", trained, "--json")
    assert json.loads(out)["system"] == "gaussian"


def test_convert_says_what_came_of_it(command):
    torch.save({"w": torch.ones(2, 3), "epoch": 4}, "a.pt")
    code, out, _ = command("convert", "a.pt", "--json")
    done = json.loads(out)
    assert (code, done["tensors"], done["parameters"], done["weights"]) == (0, 1, 6, "a.safetensors")
    code, _, err = command("convert", "tiny.toml")
    assert code == 1 and "zeuxis: tiny.toml cannot be converted" in err


def test_a_picture_is_the_same_in_any_company(command, trained):
    command("sample", trained, "-n", 5, "--seed", 3, "--batch", 2, "--out", "many")
    command("sample", trained, "-n", 1, "--seed", 4, "--out", "one.png")
    with Image.open("many/0001.png") as many, Image.open("one.png") as one:
        assert many.tobytes() == one.tobytes()
    assert [read_record(Path(f"many/000{k}.png"))["drawn"]["batch"] for k in range(5)] == [2, 2, 2, 2, 1]


def test_training_ends_at_its_budget_and_says_where_it_is(command):
    code, out, err = command("train", "tiny.toml", "--iterations", 2, "--set", "train.seed=7", "--out", "here")
    assert code == 0 and "2 iterations" in out and "zeuxis sample here" in out and "iteration 2" in err
    kept = json.loads(Path("here/run.json").read_text())
    assert kept["finished"] and kept["recipe"]["train"]["seed"] == 7 and kept["recipe"]["train"]["iterations"] == 2


def test_what_cannot_draw_is_not_said_to(command):
    tiny = ("--set", "model.hidden=8", "--set", "model.widths=[4]", "--set", "model.latent=2")
    code, out, _ = command(
        "train", "autoencoder", "--data", "digits", "--size", 8, *tiny, "--budget", "1r", "--out", "ae"
    )
    assert code == 0 and "zeuxis evaluate ae" in out and "zeuxis sample" not in out


def test_what_writes_is_sampled_as_lines_of_text(command):
    tiny = ("--set", "model.hidden=8", "--set", "model.features=2")
    code, out, _ = command("train", "caption-lm", *tiny, "--budget", "2r", "--out", "lm")
    assert code == 0 and "have it write: zeuxis sample lm" in out
    code, out, _ = command("sample", "lm", "-n", 3, "--seed", 5)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3
    code, out, _ = command("sample", "lm", "-n", 1, "--seed", 6, "--json")
    assert code == 0 and json.loads(out)["captions"] == [lines[1]], "a seed is a caption"
    code, _, err = command("sample", "lm", "--label", 3)
    assert code == 2 and "writes captions" in err and "--label" in err
    code, _, err = command("sample", "lm", "-n", 1, "--temperature", -1)
    assert code == 2 and "temperature" in err


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_goes_on_with_the_same_command(command, monkeypatch, sent, status):
    line, play = ["train", "tiny.toml", "--json", "--budget", "20r"], Trainer.play

    def interrupted(self):
        play(self)
        if self.round == 7:
            signal.raise_signal(sent)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "play", interrupted)
        code, out, _ = command(*line)
    first = json.loads(out)
    assert code == status and first["stopped"] == sent.name and first["round"] == 7
    code, out, _ = command(*line)
    second = json.loads(out)
    assert code == 0 and second["run"] == first["run"] and second["stopped"] is None and second["round"] == 20
    events = [json.loads(line) for line in Path(first["run"], "log.jsonl").read_text().splitlines()]
    assert f"resumed after iteration {first['round']}" in [e.get("event") for e in events]
    code, out, _ = command("train", "tiny.toml", "--json")  # another budget is another run
    assert code == 0 and json.loads(out)["run"] != first["run"]


# -- what may go wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("trian", 2, "Did you mean 'train'"),
        ("train", 2, "Missing argument"),
        ("train vea", 2, "unknown recipe 'vea'"),
        ("train tiny.toml --budget 1m --iterations 3", 2, "give one of them"),
        ("train tiny.toml --budget soon", 2, "write 90s, 10m, 2h, 1h30m or 500i"),
        ("train tiny.toml --set train.bach=3", 2, "train.batch"),
        ("train tiny.toml --set nonsense", 2, "a.b=value"),
        ("train tiny.toml --set model.nfg=3", 2, "did you mean"),
        ("train tiny.toml --data dgits", 2, "did you mean digits"),
        ("train tiny.toml --data .", 1, "pictures"),
        ("train gaussian --data digits --size 2", 2, "--size"),
        ("sample", 2, "say which model"),
        ("sample nothing", 2, "unknown model 'nothing'"),
        ("sample dcgan", 2, "zeuxis train dcgan"),
        ("evaluate cvae --data digits --guidance 2", 2, "no knob 'guidance'"),
        ("sample tiny.toml", 2, "is a recipe, not a model"),
        ("sample nothing -n 0", 2, "-n"),
        ("sample --replay tiny.toml", 2, "not a PNG"),
        ("info flow-matchin", 2, "flow-matching"),
        ("info none.png", 2, "there is no picture none.png"),
        ("data fashion", 2, "fashion-mnist"),
        ("convert none.pt", 2, "no file"),
        ("convert none.pt --as nothing", 2, "kind of published checkpoint"),
        ("compare gaussian", 2, "two different recipes"),
        ("compare gaussian pca --budget 10x", 2, "write 90s"),
        ("reproduce tiny.toml --seeds a", 2, "whole numbers"),
        ("reproduce tiny.toml", 2, "makes no claim"),
        ("list --jsn", 2, "--json"),
    ],
)
def test_a_mistake_is_one_line_and_the_right_exit_code(command, line, code, says):
    done, out, err = command(*line.split())
    assert (done, out) == (code, "")
    assert says in err
    assert err.startswith("zeuxis: ") and err.count("\n") == 1


def test_what_a_model_does_not_obey_is_said(command, trained):
    code, _, err = command("sample", trained, "--caption", "a circle")
    assert code == 2 and "not conditioned on a caption" in err
    code, _, err = command("sample", trained, "--steps", 3)
    assert code == 2 and "no knob 'steps'; it has: temperature" in err


def test_a_traceback_is_shown_only_when_asked_for(command, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("zeuxis.pretrained.convert.convert", broken)
    code, _, err = command("convert", "tiny.toml")
    assert code == 1 and err == "zeuxis: RuntimeError: two (a mistake in Zeuxis: run again with --debug to see where)\n"
    with pytest.raises(RuntimeError, match="two"):
        main(["convert", "tiny.toml", "--debug"])
    with pytest.raises(UsageError, match="unknown model"):
        main(["--debug", "sample", "nothing"])


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs"), 1, "free some"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "runs"), 1, "free some"),
        (OSError(errno.EROFS, "Read-only file system", "a"), 1, "a: Read-only file system: give another place"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "runs"), 1, "choose a shorter name"),
        (OSError(errno.EMFILE, "Too many open files", "runs"), 1, "raise the limit of open files (ulimit -n)"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "runs"), 1, "runs: Not a directory: give another place"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "out of memory"),
        (MemoryError(), 1, "out of memory (MemoryError): use a smaller --batch or --size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), 1,
         "you tried to allocate 9 bytes.): use a smaller --batch or --size"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), 1, "out of memory (CUDA"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 1, "a: Permission denied: change its permissions"),
        (KeyboardInterrupt(), 130, ""),
        (Stopped("SIGTERM"), 143, "stopped by SIGTERM"),
        (Stopped("a signal to another process"), 130, "stopped by a signal"),
    ],
)  # fmt: skip
def test_the_machine_s_troubles_have_a_mend(command, monkeypatch, error, code, says):
    def troubled(*args, **kwargs):
        raise error

    monkeypatch.setattr("zeuxis.pretrained.convert.convert", troubled)
    done, out, err = command("convert", "tiny.toml")
    assert (done, out) == (code, "") and says in err and err.count("\n") <= 1
    assert "mistake in Zeuxis" not in err and ("free some" in err) == (getattr(error, "errno", 0) in FULL)


@pytest.mark.parametrize("words", [["list", "--json"], ["info", "digits"], ["list", "--help"]])  # echo, rich, typer
def test_a_reader_that_goes_away_ends_a_command_as_sigpipe_does(words):
    script = f"import sys; from zeuxis.cli import main; sys.exit(main({words}))"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_training_whose_progress_nobody_reads_saves_what_it_learnt(command, monkeypatch, tmp_path):
    def unread(*shown):
        raise BrokenPipeError

    monkeypatch.setattr("zeuxis.cli.progress.Progress.__call__", unread)
    run = tmp_path / "run"
    code, *_ = command("train", "vae", "--data", "digits", "--size", 8, "--iterations", 9, "--out", run, "--batch", 2)
    assert code == 141
    assert (run / "model").is_dir() and list((run / "checkpoints").iterdir())


# -- small parts --------------------------------------------------------------------------------------


def test_budgets():
    assert Budget.parse("10m") == Budget(minutes=10)
    assert Budget.parse("90s") == Budget(minutes=1.5)
    assert Budget.parse("0.5h") == Budget(minutes=30)
    assert Budget.parse("500r") == Budget(iterations=500) == Budget.parse("500i")
    assert Budget.parse("1h30m") == Budget(minutes=90) and Budget.parse("1d0.5h") == Budget(minutes=1470)
    for wrong in ("", "10", "m", "30m1h", "1h1h", "0h0m", "1h500i", "-1m", "0m", "1.5r", "10 m", "1e3s", "infm"):
        with pytest.raises(UsageError):
            Budget.parse(wrong)


def test_a_budget_replaces_the_recipe_s_own_and_a_folder_called_7_stays_a_folder():
    recipe = recipe_of("tiny.toml", budget="1m", data="7", batch=9, changes=["train.seed=2"])
    assert (recipe.train.iterations, recipe.train.minutes, recipe.data, recipe.train.batch) == (None, 1, "7", 9)


def test_json_has_no_infinities_and_durations_read_well():
    assert plain({"a": float("nan"), "b": (Path("x"), {2, 1})}) == {"a": None, "b": ["x", [1, 2]]}
    assert [duration(s) for s in (5, 75, 3725)] == ["0:05", "1:15", "1:02:05"]


def test_what_remains_is_told_at_the_pace_since_the_start_or_the_resumption(monkeypatch):
    clock = iter(range(0, 1000, 100))  # seconds
    monkeypatch.setattr("zeuxis.cli.progress.time.monotonic", lambda: next(clock))
    progress = Progress()
    assert progress._remaining(0.5) is None  # at 0 s: resumed half-way, no pace is known
    assert progress._remaining(0.6) == pytest.approx(400)  # at 100 s: a tenth took 100 s, four are left
    assert progress._remaining(0.0) is None  # at 200 s: a new stage
    assert progress._remaining(0.25) == pytest.approx(300)


def test_doctor_finds_this_machine_fit_and_mends_what_is_not(command, monkeypatch):
    code, out, _ = command("doctor", "--json")
    found = {f["what"]: f for f in json.loads(out)["findings"]}
    assert {"python", "torch", "threads", "disk here", "writing here", "data digits"} <= set(found)
    assert code == (0 if all(f["mend"] is None for f in found.values()) else 1)
    monkeypatch.setenv("ZEUXIS_DATA", str(Path("nowhere").resolve()))
    code, out, _ = command("doctor")
    assert code == 1 and "problem: ZEUXIS_DATA" in out and "mend: set it to the folder" in out


def test_any_data_makes_pairs(command, tmp_path):
    code, out, _ = command(
        "data", "digits", "--pair", "blur | shrink:2", "--out", str(tmp_path / "sheet.png"), "--json"
    )
    found = json.loads(out)
    assert code == 0 and found["name"] == "digits | blur:2 | shrink:2" and found["provides"] == ["label", "source"]
    assert (tmp_path / "sheet.png").is_file()
    assert recipe_of("tiny.toml", pair="hole:0.5").data.endswith(" | hole:0.5")
    assert recipe_of("tiny.toml", data="scenes", pair="age").data == "scenes | age"
    for line in (
        ("data", "--pair", "blur"),
        ("evaluate", "scenes", "--pair", "blur"),
        ("data", "digits", "--pair", "blurr"),
    ):
        assert command(*line)[0] == 2
    assert paired(None, None) is None


def test_a_folder_is_looked_through(command, tmp_path):
    for k in range(12):
        Image.new("RGB", (32, 20), (k, 0, 0)).save(tmp_path / f"{k}.png")
    (tmp_path / "bad.png").write_bytes(b"")
    code, out, _ = command("data", "--check", tmp_path)
    assert code == 1 and "damaged, left out: 1" in out and "12 of 13 pictures" in out and "would refuse" in out
    assert out.startswith("read as pictures: 12 used; not used: 1 damaged")
    code, out, _ = command("data", "--check", tmp_path, "--size", "64", "--json")
    found = json.loads(out)
    assert found["usable"] == 12 and found["refused"] and found["read"].startswith("read as")
    assert [f["path"] for f in found["findings"] if f["left_out"]] == ["tiny.toml", "bad.png"]  # all that lies there
    assert command("data", "--check")[0] == 2 and command("data", "--check", tmp_path / "nowhere")[0] in (1, 2)


def test_every_command_is_there_and_explains_itself(command):
    names = ["list", "info", "data", "train", "sample", "evaluate", "reproduce", "compare", "convert", "doctor", "demo"]
    names += ["resume", "encode", "decode", "classify", "average", "test-system", "pull", "export", "sweep", "restore"]
    names += ["walk", "project", "mix", "directions", "breed", "neighbours", "diagnose"]
    names += ["translate", "edit", "paint", "style", "detect", "credentials", "serve"]
    assert set(names) == set(zeuxis.cli.COMMANDS)
    for name in names:
        code, out, _ = command(name, "--help")
        assert code == 0 and "--json" in out
