"""Where the user's own systems lie: folders and files named to us, and entry points. Imports no torch.

A place is named by ``--systems PATH`` on the command line, by the environment variable ``ZEUXIS_SYSTEMS`` (several
paths, separated as in ``PATH``), by :func:`add_systems` from Python, or by an installed package that declares an entry
point of the group ``zeuxis.systems``. In a folder, and in the folders right inside it, every ``*.py`` may define
systems and every ``*.toml`` with a key ``system`` is a recipe; names that begin with ``_`` or ``.`` are left out. Of a
file, the file itself and the recipes beside it count.

Looking reads text and imports nothing. Only :func:`import_file` imports, and only files that were found here: a name
that stands in a card, a checkpoint or a recipe never becomes an import.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from zeuxis.errors import UsageError
from zeuxis.files import at_home, read_text

GROUP = "zeuxis.systems"
VARIABLE = "ZEUXIS_SYSTEMS"
HOW = f"name the folder of a system of your own: --systems FOLDER, {VARIABLE}, or zeuxis.plugins.add_systems(FOLDER)"


@dataclass(frozen=True)
class Place:
    """A folder or a file of the user's; ``package`` is the importable name that an entry point gives it."""

    path: Path
    package: str | None = None

    def files(self, ending: str) -> list[Path]:
        """The files here that end so and may define something, in order."""
        if self.path.is_file():
            return [self.path] if ending == ".py" else _plain(self.path.parent.glob(f"*{ending}"))
        inside = [p for p in self.path.glob(f"*/*{ending}") if not p.parent.name.startswith(("_", "."))]
        return _plain([*self.path.glob(f"*{ending}"), *inside])

    def module(self, file: Path) -> str:
        """The dotted name under which ``file`` is imported: its own in an installed package, else a unique one."""
        if self.package is None:
            return f"{_folder_package(file.parent)}.{file.stem}"
        if self.path.is_file():
            return self.package
        return ".".join([self.package, *file.relative_to(self.path).with_suffix("").parts])


@dataclass(frozen=True)
class Problem:
    """Something of the user's that could not be read; asking for one of ``names`` raises ``message``."""

    message: str
    names: frozenset[str]


_named: list[Place] = []
_caches: list[Callable[[], None]] = []  # empties what was remembered of the places' files


def cleared_with_places(clear: Callable[[], None]) -> None:
    """Call ``clear`` (a ``cache_clear``) whenever the places are named anew."""
    _caches.append(clear)


def add_systems(*paths: str | Path) -> None:
    """Make the systems and recipes in these folders or files known, as if they were part of the package.

    Called again, it reads the files again, and imports anew what has changed.
    Raises :class:`UsageError` for a path that is neither a folder nor a ``.py`` file.
    """
    for path in paths:
        place = _place(path)
        if place not in _named:
            _named.append(place)
    _clear()


@contextmanager
def using(paths: Iterable[str | Path]) -> Iterator[None]:
    """Within this context the systems in these folders or files are known too."""
    wanted, before = list(paths), list(_named)
    if not wanted:
        yield
        return
    try:
        add_systems(*wanted)
        yield
    finally:
        _named[:] = before
        _clear()


def places() -> tuple[Place, ...]:
    """Every place: those named in this process, then those of the environment, then those of installed packages."""
    paths = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    found = [*_named, *(_place(path, f" ({VARIABLE})") for path in paths)]
    found += [place for place, _ in _installed() if place is not None]
    return tuple(dict.fromkeys(found))


def problems_of_places() -> list[Problem]:
    """Entry points that lead nowhere."""
    return [problem for _, problem in _installed() if problem is not None]


def recipe_files(places: Iterable[Place]) -> tuple[dict[str, Path], list[Problem]]:
    """The recipes in ``places`` by name, and what of them cannot be used."""
    found: dict[str, Path] = {}
    problems = []
    for path in dict.fromkeys(p for place in places for p in place.files(".toml")):
        try:
            if "system" not in tomllib.loads(read_text(path)):
                continue  # of something else, such as a pyproject.toml
        except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
            problems.append(Problem(f"{path}: not valid TOML: {error}", frozenset({path.stem})))
            continue
        if path.stem in found:
            both = f"{found[path.stem]} and {path}"
            problems.append(
                Problem(f"two recipes are called '{path.stem}': {both}: rename one", frozenset({path.stem}))
            )
        else:
            found[path.stem] = path
    return found, problems


def import_file(place: Place, file: Path) -> ModuleType:
    """The module in ``file``, a file of ``place``; raises :class:`UsageError`, with its line, where it cannot run.

    The file's folder becomes a package under a name of its own, so that ``from ._parts import x`` reaches a file
    beside it and two folders may hold files of the same name; nothing is added to ``sys.path``.
    """
    name = place.module(file)
    try:
        if place.package is None:
            _import_folder(file.parent)
        return importlib.import_module(name)
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == file]
        where = f"{file}:{lines[-1]}" if lines else str(file)
        raise UsageError(f"{where}: cannot be imported: {type(error).__name__}: {error}{_mend(error, file)}") from error


def _mend(error: Exception, file: Path) -> str:
    """What to do about a helper beside ``file`` that was imported as if it lay on ``sys.path``."""
    if isinstance(error, ModuleNotFoundError) and error.name and (file.parent / f"{error.name}.py").is_file():
        return f": it lies beside that file, so write: from .{error.name} import ..."
    return ""


def _place(path: str | Path, named_by: str = "") -> Place:
    where = at_home(path).resolve()
    if not where.is_dir() and not (where.suffix == ".py" and where.is_file()):
        raise UsageError(f"no systems in '{path}'{named_by}: it is neither a folder nor a .py file")
    return Place(where)


def _plain(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if not p.name.startswith(("_", ".")))


def _folder_package(folder: Path) -> str:
    return f"_zeuxis_own_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def _import_folder(folder: Path) -> None:
    """Make ``folder`` a package under its unique name; its ``__init__.py`` is run if it has one."""
    name = _folder_package(folder)
    if name in sys.modules:
        return
    init = folder / "__init__.py"
    if init.is_file():
        spec = spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _clear() -> None:
    _installed.cache_clear()
    for clear in _caches:
        clear()
    for name in [n for n in sys.modules if n.startswith("_zeuxis_own_")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@cache
def _installed() -> list[tuple[Place | None, Problem | None]]:
    """The place of each entry point, or why it has none. Only the top package is looked up: nothing is imported."""
    found: list[tuple[Place | None, Problem | None]] = []
    from importlib.metadata import entry_points  # noqa: PLC0415  (a third of what --help would take)

    for point in entry_points(group=GROUP):
        top, *parts = point.value.split(".")
        spec = find_spec(top)
        base = _base(spec)
        path = None if base is None else _descend(base, parts)
        if path is None:
            wrong = (
                f"entry point '{point.name}' of '{GROUP}': no module or package '{point.value}': reinstall its package"
            )
            found.append((None, Problem(wrong, frozenset({point.name}))))
        else:
            found.append((Place(path.resolve(), point.value), None))
    return found


def _base(spec: ModuleSpec | None) -> Path | None:
    """The folder of a package, or the file of a module."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def _descend(base: Path, parts: list[str]) -> Path | None:
    path = base.joinpath(*parts)
    return next((p for p in (path, path.with_name(f"{path.name}.py")) if p.exists()), None)
