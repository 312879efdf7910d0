"""Nothing from a file, a name or an exception reaches the terminal as a command: all that is printed is escaped."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command
from PIL import Image

import zeuxis
import zeuxis as zx
import zeuxis.cli
from zeuxis.api.code_file import Coded, read_codes, write_codes
from zeuxis.cli import _traced, main
from zeuxis.cli.output import emit, figures, say, table
from zeuxis.cli.progress import Progress
from zeuxis.escaping import json_text, printable
from zeuxis.metrics.record import Figure
from zeuxis.provenance.record import read_record, record, save_png
from zeuxis.version import __version__

EVIL = "\x1b]0;title\x07\x1b[31mred\x9b2J\u202egnp.\u2028\x7f\x08\nforged: line\r\udcff"
NAME = EVIL.replace("\n", " ").replace("\udcff", "")  # what a recipe can hold


def is_clean(text: str) -> bool:
    return all(c == "\n" or printable(c) == c for c in text)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; what it printed must hold the evil text escaped, and nothing raw."""

    def run(*args: object, holds: str = "\\x1b") -> tuple[int, str, str]:
        code = main([str(a) for a in args])
        out, err = capsys.readouterr()
        assert is_clean(out + err), repr(out + err)
        assert not any(line.startswith("forged") for line in (out + err).splitlines())
        assert holds in out + err, out + err
        return code, out, err

    return run


def made(**changes: Any) -> dict[str, Any]:
    plain = {"model": "m", "system": "s", "weights_sha256": "0", "recipe": None, "data": None, "seed": 0}
    facts = record(**plain, sampling={}, condition={}, device="cpu")  # type: ignore[arg-type]
    return {**facts, **changes}


def picture(**changes: Any) -> Path:
    save_png(Image.new("L", (8, 8)), Path("p.png"), made(**changes))
    return Path("p.png")


# -- what is escaped ----------------------------------------------------------------------------------


def test_what_a_terminal_obeys_is_spelt_out() -> None:
    assert printable(EVIL) == (
        "\\x1b]0;title\\x07\\x1b[31mred\\x9b2J\\u202egnp.\\u2028\\x7f\\x08\\nforged: line\\r\\udcff"
    )
    ordinary = "Grüße, 世界 😀 naïve – ½ ‘x’ a\u200db"
    assert printable(ordinary) == ordinary


def test_json_reads_back_as_it_was_and_holds_nothing_raw() -> None:
    value = {EVIL: [EVIL, 1.5, None], "é😀": "é😀"}
    text = json_text(value, indent=1)
    assert json.loads(text) == value and is_clean(text) and "é😀" in text
    text.encode()


def test_json_on_a_terminal_of_few_characters_is_the_same_document(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    emit({"name": f"é😀{EVIL}"})
    say("é")
    table("é", ["ü"], [["é😀"]])
    sys.stdout.flush()
    document, rest = raw.getvalue().decode("ascii").split("}\n", 1)
    assert json.loads(document + "}") == {"name": f"é😀{EVIL}"} and rest.startswith("\\xe9\n")


# -- by every way that prints -------------------------------------------------------------------------


def test_info_of_a_picture(command: Command) -> None:
    found = made(model=EVIL, system=EVIL, condition={"caption": EVIL}, **{EVIL: EVIL})
    save_png(Image.new("L", (8, 8)), Path("p.png"), found)
    assert read_record(Path("p.png")) == found
    command("info", "p.png")
    told = json.loads(command("info", "p.png", "--json", holds="\\u009b")[1])
    assert told.pop("marks")["parameters"].endswith(f"Version: zeuxis {__version__}") and told == found


def test_info_of_codes(command: Command) -> None:
    coded = Coded(torch.zeros(4), None, EVIL, EVIL, "0", (1, 8, 8), EVIL, (8, 8), EVIL)
    write_codes(Path("a.codes.safetensors"), coded)
    assert read_codes(Path("a.codes.safetensors")).original == EVIL
    command("info", "a.codes.safetensors")
    assert json.loads(command("info", "a.codes.safetensors", "--json", holds="\\u009b")[1])["model"] == EVIL
    assert command("decode", "a.codes.safetensors", "--with", "vqgan")[0] != 0


def test_info_of_a_model(command: Command) -> None:
    run = zx.train("gaussian", data="digits", size=8, out="run", quiet=True).folder
    card = json.loads((run / "model" / "model.json").read_text())
    (run / "model" / "model.json").write_text(json.dumps({**card, "recipe": EVIL, EVIL: {"deep": EVIL}, "data": EVIL}))
    command("info", "run")
    command("info", "run", "--json", holds="\\u009b")
    assert command("evaluate", "run")[0] == 2  # there are no data of that name


def test_recipes_of_the_users_own(command: Command) -> None:
    Path("own").mkdir()
    text = f'name = {json.dumps("own")}\nsystem = "gaussian"\nabout = {json.dumps(NAME)}\ndata = {json.dumps(NAME)}\n'
    Path("own/own.toml").write_text(text + f"[claim]\nmetric = {json.dumps(NAME)}\nbetter = 'lower'\n")
    Path("own/broken.toml").write_text(f"{text}{json.dumps(NAME)} = 1\n")
    command("info", "own/own.toml")
    command("list", "--systems", "own")
    command("info", "own/own.toml", "--json", holds="\\u009b")
    assert command("train", "own/own.toml")[0] == 2
    assert command("train", "own/broken.toml")[0] == 2


def test_data_and_its_check(command: Command) -> None:
    folder = Path(NAME.replace("/", ""))
    for k in range(2):
        inner = folder / f"class {k} {NAME}"
        inner.mkdir(parents=True)
        for n in range(12):
            Image.new("L", (8, 8), 20 * n).save(inner / f"{n}{NAME}.png")
    (folder / f"bad{NAME}.png").write_bytes(b"no picture")
    assert command("data", folder, "--check", "--size", 8)[0] == 0
    command("data", folder, "--check", "--size", 8, "--json", holds="\\u009b")
    assert command("data", folder, "--size", 8)[0] == 0


def test_replay_and_its_errors(command: Command) -> None:
    for changes in ({"model": EVIL}, {"condition": {EVIL: EVIL}}, {"dtype": EVIL}, {"device": EVIL}, {"prior": EVIL}):
        assert command("sample", "--replay", picture(**{"model": "scenes", **changes}), holds="zeuxis: ")[0] != 0


def test_misuse(command: Command) -> None:
    wrong = f"{EVIL}=1"
    lines = [[verb, EVIL] for verb in ("info", "sample", "train", "data", "convert")]
    lines += [[EVIL], ["sample", f"--{EVIL}"], ["evaluate", "scenes", "--metric", EVIL], ["compare", EVIL, "dcgan"]]
    lines += [["train", "digits", "--set", f"train.seed={EVIL}"], ["sample", "scenes", "--knob", wrong]]
    for line in lines:
        assert command(*line, holds="x1b")[0] != 0


def test_exceptions(command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr("zeuxis.pretrained.convert.convert", broken)
    Path("a.pt").write_bytes(b"x")
    assert command("convert", "a.pt")[0] == 1
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(RuntimeError) as caught:
        main(["--debug", "convert", "a.pt"])
    assert sys.excepthook is _traced
    sys.excepthook(caught.type, caught.value, caught.tb)
    err = capsys.readouterr().err
    assert is_clean(err) and "Traceback" in err and "\\x1b" in err


def test_figures(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure(EVIL, 1.0, 2, "lower", caution=EVIL)
    monkeypatch.setattr("zeuxis.api.evaluate.evaluate", lambda *args, **kwargs: [figure])
    assert command("evaluate", "scenes")[0] == 0
    assert json.loads(command("evaluate", "scenes", "--json", holds="\\u009b")[1])[0]["name"] == EVIL


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(os, "environ", {**os.environ, "TERM": "xterm", "COLUMNS": "400"})
    with Progress() as progress:
        progress(EVIL, 0.5)
    shown = stream.getvalue()
    assert "\\x1b]0;title" in shown and "\x1b]0;" not in shown and "\x9b" not in shown and "\u202e" not in shown


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    table(EVIL, ["a", EVIL], [[EVIL, EVIL]])
    out = capsys.readouterr().out
    assert is_clean(out) and "\\x1b" in out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_figures_are_not_broken_on_a_narrow_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    values = [f"{k}.123456" for k in range(12)]
    figures("a model", ["metric", *(f"value {k}" for k in range(12))], [["nearer-to-training", *values]] * 2)
    out = capsys.readouterr().out
    assert all(len(line.rstrip()) <= width for line in out.splitlines())
    cells = [cell for line in out.splitlines() for cell in line.split()]
    assert all(cells.count(value) == 2 for value in values)
    tables = 1 if width == 200 else out.count("metric")
    assert cells.count("nearer-to-training") == 2 * tables and (tables > 1) == (width < 200)


def test_commands_print_by_the_escaping_functions_alone() -> None:
    """So that a command to come cannot print anything raw."""
    allowed = {"output.py": {"echo", "print"}, "keys.py": {"print"}}  # those escape every cell
    for path in sorted(Path(zeuxis.cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="print" | "echo" as name) | ast.Attribute(attr="echo" | "secho" | "print" as name)
                ):
                    assert name in allowed.get(path.name, set()), f"{path.name}:{node.lineno} prints by itself"
