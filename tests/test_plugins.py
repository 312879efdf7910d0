"""Systems of the user's own: found wherever they are named, alone in their mistakes, and held to the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command

from zeuxis import plugins
from zeuxis.catalog.listing import add_systems, entries, entry, packaged, problems, system_class
from zeuxis.catalog.weights import load_system
from zeuxis.errors import UnknownName, UsageError
from zeuxis.plugins import VARIABLE, using
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.testing.contract import CHECKS

METHOD = '''
"""A method: every picture is one learnt picture."""
from zeuxis.card import Card
from zeuxis.game import Move, Player, System
from zeuxis.batch import Shape
import torch
from ._parts import NOISE

class Still(System):
    """One picture."""
    card = Card("ID", title="Still", family="density", year=2026, paper="none", verbs={"sample"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.picture = torch.nn.Parameter(torch.zeros(shape))

    def players(self):
        return (Player("painter", (self.picture,), lr=1e-2),)

    def moves(self):
        return (Move("painter", lambda turn: (self.picture - turn.batch.image).square().mean()),)

    def sample(self, condition, rng, how={}):
        return (self.picture + NOISE * rng.normal(len(rng), *self.shape)).clamp(-1, 1)
'''
RECIPE = 'system = "still"\nabout = "a still"\ndata = "digits"\nsize = 8\n[train]\niterations = 2\nbatch = 4\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a method, a helper that it imports, and its recipe."""
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "still.py").write_text(METHOD.replace("ID", "still"))
    (mine / "_parts.py").write_text("NOISE = 0.1\n")
    (mine / "still.toml").write_text(RECIPE)
    (mine / "pyproject.toml").write_text('[project]\nname = "not a recipe"\n')
    return mine


def own() -> set[str]:
    return set(entries()) - set(packaged())


# -- found ------------------------------------------------------------------------------------------------------------


def test_a_folder_a_file_and_the_environment_name_systems(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own() == set()
    for path in (folder, folder / "still.py"):
        with using([path]):
            assert own() == {"still"} and not problems()
            assert entry("still").path == folder / "still.py"
            assert load_recipe("still").about == "a still" and "pyproject" not in recipe_paths()
            assert system_class("still").__name__ == "Still"
        assert own() == set() and "still" not in recipe_paths()
    monkeypatch.setenv(VARIABLE, str(folder))
    assert own() == {"still"}


def test_the_command_line_names_systems_anywhere(folder: Path, command: Command) -> None:
    for words in (["--systems", folder, "list", "--json"], ["list", "--json", f"--systems={folder}"]):
        code, out, _ = command(*words)
        row = next(row for row in json.loads(out) if row["id"] == "still")
        assert code == 0 and row["recipes"] == ["still"]
    assert "still" not in {row["id"] for row in json.loads(command("list", "--json")[1])}
    code, _, err = command("list", "--systems")
    assert code == 2 and "--systems lacks its value" in err
    code, _, err = command("list", "--systems", "nowhere")
    assert code == 2 and "'nowhere'" in err


def test_python_names_systems_and_reads_them_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_named", [])
    add_systems(folder)
    assert system_class("still").__doc__ == "One picture."
    (folder / "still.py").write_text(METHOD.replace("ID", "still").replace("One picture.", "Another picture, changed."))
    add_systems(folder)
    assert system_class("still").__doc__ == "Another picture, changed."


def test_an_installed_package_names_systems_by_an_entry_point(tmp_path: Path, folder: Path) -> None:
    """In a Python of its own; listing imports nothing of the package, and its class comes by the package's own name."""
    site = tmp_path / "site"
    (site / "stillness" / "systems").mkdir(parents=True)
    (site / "stillness" / "__init__.py").write_text("NOISE = 0.1\n")
    (site / "stillness" / "systems" / "__init__.py").write_text("")
    (site / "stillness" / "systems" / "a.py").write_text(METHOD.replace("ID", "a").replace("._parts", "stillness"))
    info = site / "stillness-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stillness\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[zeuxis.systems]\nmine = stillness.systems\ngone = nowhere.at_all\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from zeuxis.catalog.listing import entries, problems, system_class\n"
        "assert 'a' in entries() and 'stillness' not in sys.modules and 'torch' not in sys.modules\n"
        "assert [p.message for p in problems() if 'nowhere.at_all' in p.message]\n"
        "assert system_class('a').__module__ == 'stillness.systems.a'\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(site)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_folders_may_hold_files_of_one_name(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "still.py").write_text(METHOD.replace("ID", "quiet"))
    (other / "_parts.py").write_text("NOISE = 0.2\n")
    with using([folder, other]):
        modules = {sys.modules[system_class(name).__module__].NOISE for name in ("still", "quiet")}
    assert modules == {0.1, 0.2}


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = (\n", 1),
        ('\n\nclass A:\n    card = Card("broken", title="t" + name)\n', 4),
        ('class A:\n    card = Card("broken", title="A", family="a", year=1, paper="p", verbs={"fly"})\n', 2),
        ('class A:\n    card = Card("broken", nonsense=1)\n', 2),
    ],
    ids=["syntax", "not literal", "unknown verb", "unknown field"],
)
def test_a_broken_file_is_named_and_leaves_the_rest_alone(folder: Path, command: Command, text: str, line: int) -> None:
    (folder / "broken.py").write_text(text)
    code, out, err = command("list", "--systems", folder)
    assert code == 0 and "still" in out and f"{folder / 'broken.py'}:{line}: " in err and err.count("\n") == 1
    with using([folder]):
        with pytest.raises(UsageError, match=rf"broken\.py:{line}: "):
            entry("broken")
        assert entry("still").card.title == "Still"


def test_an_id_that_exists_is_refused(folder: Path, command: Command) -> None:
    (folder / "mine.py").write_text(METHOD.replace("ID", "dcgan"))
    (folder / "vae.toml").write_text(RECIPE)
    (folder / "wrong.toml").write_text(RECIPE + "nonsense = 1\n")
    code, out, err = command("list", "--systems", folder)
    assert code == 0 and "still" in out and err.count("\n") == 3
    with using([folder]):
        with pytest.raises(UsageError, match=r"two systems are called 'dcgan': .*dcgan\.py and .*mine\.py"):
            system_class("dcgan")
        with pytest.raises(UsageError, match=r"two recipes are called 'vae': .*vae\.toml and .*vae\.toml"):
            load_recipe("vae")
        with pytest.raises(UsageError, match="nonsense"):
            load_recipe("wrong")
        assert entry("vae").place is None and load_recipe("still").system == "still"


def test_a_file_that_cannot_be_imported_says_where(folder: Path) -> None:
    (folder / "still.py").write_text(METHOD.replace("ID", "still").replace("from ._parts", "from _parts"))
    with using([folder]), pytest.raises(UsageError, match=r"still\.py:7: .*so write: from \._parts import"):
        system_class("still")


def test_a_model_never_says_where_its_class_comes_from(folder: Path, command: Command, tmp_path: Path) -> None:
    assert command("train", "still", "--out", tmp_path / "run", "--systems", folder)[0] == 0
    with using([folder]):
        assert load_system(tmp_path / "run")[0].card.id == "still"
    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    assert str(folder) not in json.dumps(card)
    with pytest.raises(UnknownName, match=r"'still'.*--systems FOLDER"):
        load_system(tmp_path / "run")
    card["system"] = "os.path"
    (tmp_path / "run" / "model" / "model.json").write_text(json.dumps(card))
    with pytest.raises(UnknownName, match=r"os\.path"):
        load_system(tmp_path / "run")


# -- the contract -----------------------------------------------------------------------------------------------------

BREAKS = {  # what is put in place of what, and the promise that it breaks
    "seed-is-a-picture": ("rng.normal(len(rng), *self.shape)", "torch.randn(len(rng), *self.shape)"),
    "card-is-kept": ("def sample", "def draw"),
    "moves-change-their-own-player": ("(self.picture - turn", "(0 * self.picture - turn"),
    "resumed-is-uninterrupted": ("(self.picture - turn", "(self.picture - torch.rand(()) - turn"),
}


def test_a_method_that_keeps_the_contract_passes(folder: Path, command: Command) -> None:
    code, out, err = command("test-system", folder / "still.py")
    assert code == 0 and out.count("ok  ") == out.count("\n") >= 5, out + err


@pytest.mark.parametrize("name", list(BREAKS))
def test_a_broken_promise_is_named(folder: Path, command: Command, name: str) -> None:
    (folder / "still.py").write_text(METHOD.replace("ID", "still").replace(*BREAKS[name]))
    code, out, _ = command("test-system", folder / "still.py", "--json")
    promise = next(check.promise for check in CHECKS if check.name == name)
    broken = {found["promise"]: found["why"] for found in json.loads(out) if found["why"]}
    assert code == 1 and promise in broken, broken


def test_an_error_of_the_users_is_a_finding_with_its_line(folder: Path, command: Command) -> None:
    text = METHOD.replace("ID", "still").replace("(self.picture + NOISE", "(self.nothing + NOISE")
    (folder / "still.py").write_text(text)
    line = next(k for k, words in enumerate(text.splitlines(), 1) if "nothing" in words)
    code, out, _ = command("test-system", folder)
    assert code == 1 and "FAIL  still: the same seed" in out and f"still.py:{line})" in out, out
