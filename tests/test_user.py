"""What a user meets beside mistakes: where things are written, what a terminal shows, what is said and advised."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from zeuxis.api.live import FIGURES, progress_line
from zeuxis.api.measurable import too_few
from zeuxis.api.pictures import targets
from zeuxis.api.still import has_colours
from zeuxis.cli import ELSEWHERE, main
from zeuxis.cli.evaluate import together
from zeuxis.cli.listing import listed, systems
from zeuxis.cli.progress import Progress, fitted
from zeuxis.cli.tree import COMMANDS, tree
from zeuxis.errors import NoSuchPath, UnknownName, UsageError, nearest, paths_near
from zeuxis.escaping import word
from zeuxis.metrics.record import Figure
from zeuxis.metrics.table import METRICS
from zeuxis.provenance.record import read_record
from zeuxis.training.trainer import Clock

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src/zeuxis").rglob("*.py"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test works in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def command(capsys):
    """Run a command that works: what it printed on stdout and stderr."""

    def run(*args):
        code = main([str(a) for a in args])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, captured.err

    return run


@pytest.fixture
def trained(command):
    """The folder of a Gaussian fitted to the digits."""
    command("train", "gaussian", "--data", "digits", "--size", 8, "--out", "g")
    return "g"


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


# -- where pictures and codes are written -------------------------------------------------------------


def test_pictures_of_two_commands_never_share_a_name_or_a_sheet(command, trained):
    command("sample", trained, "-n", 4, "--out", "mine")
    out, _ = command("sample", trained, "-n", 2, "--seed", 9, "--out", "mine", "--json")
    assert names("mine") == ["0000.png", "0001.png", "0002.png", "0003.png", "0004.png", "0005.png", *sheets()]
    found = json.loads(out)
    assert found["files"] == ["mine/0004.png", "mine/0005.png"] and found["sheet"] == "mine/sheet-0004.png"
    assert read_record(Path("mine/sheet-0004.png"))["sheet_of"] == 2, "a sheet is of its own command's pictures"
    assert [read_record(Path(f"mine/000{k}.png"))["seed"] for k in (3, 4)] == [3, 9]
    for _ in range(2):
        command("sample", trained, "-n", 2)
    assert sorted(path.name for path in Path("samples").iterdir()) == ["g-0", "g-0-2"]
    assert names("samples/g-0") == names("samples/g-0-2")


def sheets() -> list[str]:
    return ["sheet-0004.png", "sheet.png"]


def test_a_name_of_one_picture_numbers_several(command, trained):
    out, _ = command("sample", trained, "-n", 3, "--out", "x.png")
    assert "3 pictures -> x-0.png to x-2.png" in out and "x-sheet.png" in out
    command("sample", trained, "-n", 2, "--out", "x.png")
    here = {path.name for path in Path().glob("x*")}
    assert here == {"x-0.png", "x-1.png", "x-2.png", "x-3.png", "x-4.png", "x-sheet.png", "x-sheet-3.png"}
    out, _ = command("sample", trained, "-n", 1, "--out", "x.png")
    assert out.strip() == "x.png" and Path("x.png").is_file()


def test_pictures_are_png_for_the_record_lies_there():
    assert targets(Path("a.PNG"), 1) == [Path("a.PNG")] and targets(Path("some.v2"), 1) == [Path("some.v2/0000.png")]
    for ending in ("jpg", "JPEG", "webp", "tiff"):
        with pytest.raises(UsageError, match="carries the record"):
            targets(Path(f"a.{ending}"), 1)


def test_codes_have_a_folder_of_their_own_and_lost_colours_are_said(command):
    Path("album").mkdir()
    colours = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(colours).save("album/photo.png")
    Image.fromarray(colours).convert("L").convert("RGB").save("album/grey.png")
    out, err = command("encode", "album/photo.png", "album/grey.png", "--with", "vqgan")
    assert names("album") == ["grey.png", "photo.png"], "nothing is written beside the pictures"
    assert names("codes") == ["grey.codes.safetensors", "photo.codes.safetensors"]
    assert "-> codes/photo.codes.safetensors" in out
    assert err.count("colours are lost") == 1 and "album/photo.png: its colours" in err
    assert has_colours(Path("album/photo.png")) and not has_colours(Path("album/grey.png"))


# -- what a terminal of 80 characters shows -----------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_list_breaks_no_name(width):
    rows = systems()
    text = listed(rows, width)
    assert max(map(len, text.splitlines())) <= width
    words = set(re.split(r"[\s;]+", text))
    for row in rows:
        assert {row["id"], *row["verbs"], *row["needs"]} <= words, row["id"]
        assert set(row["recipes"]) <= words | {row["id"]}


NOTES = {"loss/generator": 0.70812, "real": 0.528, "fake": 0.4927, "loss/discriminator": 1.318, "held-out/mean": 0.5}


def test_a_line_of_progress_has_three_figures_at_most():
    line = progress_line(Clock(12345, 1, 1.0, 0.5, 600.0, NOTES))
    assert line == "iteration 12,345  generator 0.708  discriminator 1.32  held-out 0.5"
    assert len(line.split("  ")) == 1 + FIGURES
    assert progress_line(Clock(1, 1, 1.0, 0.5, None, {})) == "iteration 1"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_is_one_line_with_share_and_time_left(width, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        "rich.console.Console", lambda stderr: Console(file=screen, width=width, force_terminal=True, color_system=None)
    )
    with Progress() as progress:
        progress(progress_line(Clock(12345, 1, 1.0, 0.5, 600.0, NOTES)), 0.5, 4000.0)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    shown = [line.rstrip() for line in lines if "iteration" in line]
    assert shown and all(len(line) <= width and "…" not in line for line in shown)
    assert all(" 50% 1:06:40 left  iteration 12,345" in line for line in shown)
    assert ("discriminator" in shown[-1]) == (width == 120)


def test_what_does_not_fit_is_left_out_whole():
    assert fitted("iteration 3  generator 0.1  critic 0.2", 30) == "iteration 3  generator 0.1"
    assert fitted("a single long message", 5) == "a single long message"


# -- what is said and advised -------------------------------------------------------------------------


def options_of_all() -> set[str]:
    command = tree()
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for each in command.commands.values():
        found |= {option for parameter in each.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return found | {"--help", "--systems", "--threads", "--debug"}


def saying(pattern: str) -> list[Path]:
    """The sources in which ``pattern`` is found at all: reading code as code takes longer."""
    return [path for path in SOURCES if re.search(pattern, path.read_text(encoding="utf-8"))]


@cache
def texts(path: Path) -> list[str]:
    """Every text in the code of a file but for its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    nodes = (
        n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs
    )
    return [str(node.value) for node in nodes]


OF_OTHERS = {*ELSEWHERE, "--editable", "--format", "--sparse"}  # programs'


def test_no_option_is_advised_that_does_not_exist():
    known = options_of_all()
    wrong = [
        f"{path.relative_to(ROOT)}: {option}"
        for path in saying(r"[^\w(-]--[a-z]")
        for text in texts(path)
        if text.count(" ")  # a sentence: not the arguments of a program that is run
        for option in re.findall(r"(?<![\w(-])--[a-z][a-z-]*[a-z](?!:)\b", text)
        if option not in known | OF_OTHERS
    ]
    assert not wrong, wrong


def test_no_command_is_advised_that_does_not_exist():
    known = {*COMMANDS, "--help"}
    for path in saying(r"zeuxis [a-z-]+ [A-Z{.-]"):
        for text in texts(path):
            for name in re.findall(r"(?:^|[(:`] ?)zeuxis ([a-z-]+) [A-Z{.-]", text):
                assert name in known, f"{path.relative_to(ROOT)}: zeuxis {name}"


def test_a_path_in_a_command_that_is_advised_is_one_word():
    paths = {"path", "folder", "file", "place", "picture", "model", "garden", "run", "out", "weights"}
    wrong = []
    for path in saying(r"zeuxis [a-z-]+ .*\{"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for before, value in pairwise(node.values) if isinstance(node, ast.JoinedStr) else ():
                if not (isinstance(before, ast.Constant) and isinstance(value, ast.FormattedValue)):
                    continue
                begins = re.search(r"zeuxis [a-z-]+ (?:[A-Z]+ )?(?:--[a-z]+ )?$", str(before.value))
                if begins and ast.unparse(value.value).rpartition(".")[2] in paths:
                    wrong.append(f"{path.relative_to(ROOT)}: {begins[0]}{{{ast.unparse(value.value)}}}")
    assert not wrong, "word() quotes it: " + "; ".join(wrong)
    assert word("mein Modell ü") == "'mein Modell ü'" and word(Path("runs/00000-vae")) == "runs/00000-vae"


def test_no_package_is_advised_that_is_not_published():
    told = [
        f"{path.relative_to(ROOT)}: {text}" for path in saying(r"zeuxis\[") for text in texts(path) if "zeuxis[" in text
    ]
    assert not told, told
    pages = [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
    assert not [page.name for page in pages if re.search(r"install ['\"]?zeuxis", page.read_text(encoding="utf-8"))]


def test_a_path_is_near_what_lies_beside_it(tmp_path, monkeypatch):
    (tmp_path / "Fotos von Übersee").mkdir()
    for name in ("strand.jpg", "berg.jpg"):
        (tmp_path / "Fotos von Übersee" / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(NoSuchPath("picture", "Fotos von Übersee/strnd.jpg")) == (
        "there is no picture Fotos von Übersee/strnd.jpg: did you mean Fotos von Übersee/strand.jpg?"
    )
    (tmp_path / "lost.jpg").symlink_to("nowhere.jpg")
    for name, what in (("lost.jpg", "a link that leads nowhere"), ("Fotos von Übersee", "a folder")):
        assert str(NoSuchPath("picture", name)) == f"there is no picture {name}: it is {what}", "and never itself"
    assert paths_near("~/Fotos von Übersee/Berg.JPG") == ["~/Fotos von Übersee/berg.jpg"]
    assert paths_near(str(tmp_path / "Fotos von Uebersee")) == [str(tmp_path / "Fotos von Übersee")]
    assert paths_near("nowhere/a.jpg") == paths_near("~nobody/a.jpg") == paths_near("/") == paths_near("xyz") == []


def test_names_are_near_in_any_case_and_by_their_words():
    clothes = ["T-shirt/top", "Trouser", "Coat", "Shirt", "Ankle boot"]
    assert nearest("Boot", clothes)[0] == "Ankle boot" and nearest("COAT", clothes)[0] == "Coat"
    many = [f"set{k:02d}" for k in range(40)]
    assert "and 28 more" in str(UnknownName("dataset", "qqqq", many))
    assert (
        str(UnknownName("dataset", "./birds", many, elsewhere="folder")) == "there is no folder ./birds: check the path"
    )
    assert "no folder of that name" in str(UnknownName("dataset", "qqqq", many, elsewhere="folder"))
    assert "known" in str(UnknownName("class", "T-shirt/to", ["a"])), "only what may be a path is taken for one"


# -- measuring ----------------------------------------------------------------------------------------


@pytest.fixture
def few(command):
    """The folder of a Gaussian fitted to thirty-one photographs."""
    Path("photos").mkdir()
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (31, 16, 16, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(f"photos/{k:02d}.png")
    command("train", "gaussian", "--data", "photos", "--size", 8, "--out", "gp")
    return "gp"


def test_what_few_pictures_cannot_tell_is_said_once(command, few):
    out, err = command("evaluate", few)
    assert err.count("are too few for the 192 dimensions of pixels-8") == 1
    assert "precision (from 4), recall (from 4), two-sample (from 4)" in err and "'photos' holds 3 pictures" in err
    assert err.count("biased below 5000") == 1 and "precision" not in out and "frechet" in out


@pytest.mark.parametrize("line", ["gp --metric frechet --features features-digits", "gp --metric precision"])
def test_nothing_is_drawn_before_it_is_known_what_can_be_measured(few, line, monkeypatch, capsys):
    def drawn(*args, **kwargs):
        raise AssertionError("it was drawn")

    monkeypatch.setattr("zeuxis.api.model.Model.draw", drawn)
    assert main(["evaluate", *line.split()]) == 2
    assert "zeuxis: " in capsys.readouterr().err


def test_the_least_that_metrics_need_is_what_they_refuse_without(few):
    from zeuxis.api.evaluate import evaluate
    from zeuxis.api.model import load
    from zeuxis.data.own import OwnData

    of_pictures = {"fake", "real", "moments", "grain", "untrained", "fake_views", "real_views"}
    least_of = {name: m.least for name, m in METRICS.items() if m.least > 1 and of_pictures.issuperset(m.needs)}
    assert len(least_of) == 9 and max(least_of.values()) == 4
    model = load(few)
    pictures = np.random.default_rng(1).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    for metric, least in least_of.items():
        assert evaluate(model, data=OwnData.of(pictures), metrics=[metric], samples=least, split="train"), metric
        with pytest.raises(UsageError, match=r"too few|no spread"):
            evaluate(model, data=OwnData.of(pictures), metrics=[metric], samples=least - 1, split="train")


def test_warnings_that_say_the_same_are_one_line():
    figures = [Figure(name, 1.0, 31, "lower", of_distribution=True) for name in ("frechet", "frechet-grain")]
    (line,) = together([*figures, Figure("psnr", 1.0, 31, "higher")])
    assert line.startswith("frechet, frechet-grain over 31 samples")


# -- the repository, and start-up ---------------------------------------------------------------------


def tracked() -> list[str]:
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout:
        pytest.skip("the sources are in no git repository")
    return done.stdout.strip("\0").split("\0")


def test_every_file_can_be_checked_out_on_any_system():
    reserved = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
    files = tracked()
    for file in files:
        for part in file.split("/"):
            assert not re.search(r'[<>:"\\|?*\x00-\x1f]|[ .]$', part) and not reserved.fullmatch(part), file
        assert len(file) < 150, file
    assert len({file.casefold() for file in files}) == len(files), "two names differ in their case alone"


def test_what_commands_write_is_not_for_git():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    for folder in ("runs", "samples", "codes", "results"):
        assert {f"{folder}/", f"/{folder}/"} & set(ignored), folder
    assert "results/" not in ignored, "those of the package are kept"


def test_the_demo_installs_what_it_runs():
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    demo = re.search(r"^demo: (.*)$", make, re.MULTILINE)
    rule = re.search(rf"^{re.escape(demo[1])}:.*\n((?:\t.*\n)+)", make, re.MULTILINE) if demo else None
    assert rule is not None and "--editable ." in rule[1] and "[dev]" not in rule[1]


def test_a_model_is_loaded_without_the_compiler_of_torch():
    """It takes as long to import as the rest; drawing for parameters on the meta device would, or a dispatch mode."""
    script = (
        "import sys; from zeuxis.api.model import load; [load(name) for name in ('cvae', 'scenes', 'vqgan')]; "
        "found = {'torch._dynamo', 'sympy'} & set(sys.modules); assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_too_few_is_of_what_is_fitted_alone(few):
    from zeuxis.api.features import features_of
    from zeuxis.api.model import load

    space, model = features_of("photos", "pixels-8"), load(few)
    assert too_few(space, ["kernel", "precision"], model, 3) is None
    assert too_few(space, ["frechet"], model, 193) is None and "192" in (too_few(space, ["frechet"], model, 192) or "")
