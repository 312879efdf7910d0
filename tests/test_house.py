"""How the package is built: imports run strictly downward, and method files never import each other."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import zeuxis

ROOT = Path(zeuxis.__file__).parent
PLAN = tomllib.loads((Path(__file__).parent.parent / "docs" / "floors.toml").read_text(encoding="utf-8"))
FLOORS = [level for floor in PLAN["floor"] for level in floor["levels"]]
FLOOR = {name: k for k, names in enumerate(FLOORS) for name in names}
MODULES = [p for p in sorted(ROOT.rglob("*.py")) if p != ROOT / "__init__.py"]


@cache
def read(path: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    """The zeuxis modules that a file imports, as dotted names without the package; and the classes that it defines."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("zeuxis."):
            found |= {f"{node.module}.{a.name}".removeprefix("zeuxis.") for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("zeuxis.") for a in node.names if a.name.startswith("zeuxis.")}
    return frozenset(found), tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef))


def imports(path: Path) -> frozenset[str]:
    return read(path)[0]


def package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_package_has_one_floor() -> None:
    assert {package(p) for p in MODULES} <= set(FLOOR)
    assert len(FLOOR) == sum(map(len, FLOORS))


def test_imports_run_downward() -> None:
    wrong = []
    for path in MODULES:
        mine = package(path)
        for name in imports(path):
            theirs = name.split(".")[0]
            # ``batch``, ``errors`` and their like on the ground floor may lean on one another.
            ground = FLOOR[mine] == FLOOR.get(theirs) == 0
            if theirs in FLOOR and theirs != mine and not ground and FLOOR[theirs] >= FLOOR[mine]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_what_only_one_machine_made_is_neither_kept_nor_packed() -> None:
    """An sdist leaves out what the ``.gitignore`` at the top says, and heeds no other."""
    top = ROOT.parents[1]
    assert [path.name for path in top.iterdir() if path.name.startswith("-")] == []  # what --help was once written to
    ignored = (top / ".gitignore").read_text(encoding="utf-8").split()
    assert {".venv/", ".hypothesis/", "node_modules/", "runs/"} <= set(ignored)
    assert [path for path in top.glob("*/.gitignore") if path.parent.name in ("studio", "src", "tests", "docs")] == []


def test_methods_do_not_import_methods() -> None:
    wrong = []
    for path in (ROOT / "systems").rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "systems" and not parts[2].startswith("_"):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_what_a_family_shares_stays_in_the_family() -> None:
    """A part that two families need is on a lower floor, not a private file of one of them."""
    wrong = []
    for path in (ROOT / "systems").glob("*/*.py"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "systems" and parts[1] != path.parent.name:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_method_files_stay_short() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in (ROOT / "systems").glob("*/*.py")}
    assert not {str(p): n for p, n in lengths.items() if n > 300}
    methods = sorted(n for p, n in lengths.items() if not p.name.startswith("_"))
    assert methods[len(methods) // 2] < 150


def test_nothing_global_is_drawn_from() -> None:
    banned = ("torch.manual_seed", "np.random.seed", "random.seed(", "pkg_resources", "torch.load(", "pickle.load")
    wrong = [
        f"{p.relative_to(ROOT)}: {word}"
        for p in MODULES
        for word in banned
        if any(word in line.split("#")[0] and '"' not in line for line in p.read_text(encoding="utf-8").splitlines())
    ]
    assert not wrong, "\n".join(wrong)


def test_a_class_name_means_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for name in read(path)[1]:
            if not name.startswith("_"):
                homes.setdefault(name, []).append(str(path.relative_to(ROOT)))
    several = {name: files for name, files in homes.items() if len(files) > 1}
    assert not several, f"one word, one meaning: {several}"
