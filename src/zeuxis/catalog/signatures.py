"""What functions and classes take, read from their source as text: names, defaults, meanings. Nothing is imported.

A meaning is an entry ``name: meaning`` or ``name, other: meaning`` under ``Args:`` in a docstring. An entry that begins
``a table of :data:`NAME` `` says that the argument is a table whose keys ``NAME`` has: see :func:`table_keys`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from zeuxis.catalog.parsing import parsed
from zeuxis.errors import UnknownName, UsageError, lookup

ROOT = Path(__file__).parents[1]
OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


class Expression(str):
    """A default that only running the file would give, as it is written there."""

    __slots__ = ()


@dataclass(frozen=True)
class Argument:
    """A keyword: its default (None where it has none, and is ``required``) and its meaning ("" where none is given)."""

    name: str
    required: bool
    default: Any
    meaning: str
    table: str | None = None  # the name of its keys' table, as its meaning gives it


Arguments = dict[str, Argument]


def constructor(path: Path, class_name: str) -> Arguments:
    """The arguments that the class of that name, defined in the file at ``path``, is built with; ``self`` apart.

    A class without a constructor of its own has that of a base; what it means may be in either's docstring.
    """
    found = _find(path, class_name)
    if found is None or not isinstance(found[1], ast.ClassDef):
        raise UnknownName(f"class in {path}:", class_name, _classes(path))
    return _of_class(found[0], found[1])


def fields(path: Path, class_name: str) -> Arguments:
    """The fields of the dataclass of that name, with their defaults."""
    found = _find(path, class_name)
    assert found is not None
    where, node = found
    assert isinstance(node, ast.ClassDef)
    said = meanings(ast.get_docstring(node) or "")
    annotated = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    pairs = ((n.target.id, n.value) for n in annotated if isinstance(n.target, ast.Name))
    return {name: _argument(name, value, said, where) for name, value in pairs}


def table_keys(path: Path, name: str, chosen: Mapping[str, Any]) -> Arguments:
    """The keys of the table that ``name`` stands for in the file at ``path``.

    It is a dotted name within the package, or one that the file defines or imports, of:
    a function: its keyword-only arguments; a dict of plain values: its keys, explained under ``Args:`` in the
    docstring below it; a dict of functions: ``kind``, the name of one (the first, if not ``chosen``), and its own.
    """
    found = _named(path, name)
    if found is None:
        raise UsageError(f"{path}: ':data:`{name}`' is nowhere: name a dict or a function of that file, or zeuxis.a.B")
    where, node = found
    if isinstance(node, ast.FunctionDef):
        return _of_function(where, node)
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    if not isinstance(value, ast.Dict):
        raise UsageError(f"{where}: '{name}' is neither a dict nor a function: keys of a table are read from one")
    pairs = _entries(where, value)
    functions = {key: _find(file, v.id) for key, (file, v) in pairs.items() if isinstance(v, ast.Name)}
    if not functions or len(functions) < len(pairs):
        said = meanings(_docstring_below(where, node))
        return {key: _argument(key, v, said, file) for key, (file, v) in pairs.items()}
    kind = chosen.get("kind", next(iter(functions)))
    of_kind = lookup("kind", kind, functions)
    choices = " or ".join(f'"{each}"' for each in functions)
    own = {} if of_kind is None or not isinstance(of_kind[1], ast.FunctionDef) else _of_function(of_kind[0], of_kind[1])
    return {"kind": Argument("kind", False, next(iter(functions)), f"{choices}; each has keys of its own"), **own}


def _entries(path: Path, table: ast.Dict) -> dict[str, tuple[Path, ast.expr]]:
    """The values of a dict in the file at ``path`` and the file of each, those of ``**OTHER`` among them."""
    pairs: dict[str, tuple[Path, ast.expr]] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        if key is not None:
            pairs[str(ast.literal_eval(key))] = path, value
            continue
        found = _named(path, value.id) if isinstance(value, ast.Name) else None
        other = found[1].value if found is not None and isinstance(found[1], (ast.Assign, ast.AnnAssign)) else None
        if found is None or not isinstance(other, ast.Dict):
            raise UsageError(f"{path}:{value.lineno}: '**' is read of the name of a dict only, and not run")
        pairs |= _entries(found[0], other)
    return pairs


def meanings(doc: str) -> dict[str, str]:
    """What the entries under ``Args:`` say, each in one line, by name."""
    _, found, text = doc.partition("Args:\n")
    said: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", re.split(r"\n\n|\n(?=\S)", text)[0]) if found else ():
        names, colon, meaning = entry.strip().partition(": ")
        if colon and re.fullmatch(r"\w+(, \w+)*", names):
            said |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return said


# -- reading ------------------------------------------------------------------------------------------


@cache
def _parsed(path: Path, changed: int) -> ast.Module:
    return parsed(path.read_text(encoding="utf-8"), str(path))


def _tree(path: Path) -> ast.Module:
    return _parsed(path, path.stat().st_mtime_ns)


def _classes(path: Path) -> list[str]:
    return [node.name for node in _tree(path).body if isinstance(node, ast.ClassDef)]


def _find(path: Path, name: str) -> tuple[Path, ast.stmt] | None:
    """What defines ``name`` at the top of the file at ``path``, or of one that it imports it from, and that file."""
    for node in _tree(path).body:
        match node:
            case ast.ClassDef(name=found) | ast.FunctionDef(name=found) if found == name:
                return path, node
            case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)) if found == name:
                return path, node
            case ast.ImportFrom(module=module, names=names, level=level):
                for alias in names:
                    there = _file(path, module or "", level) if (alias.asname or alias.name) == name else None
                    if there is not None:
                        return _find(there, alias.name)
    return None


def _named(path: Path, name: str) -> tuple[Path, ast.stmt] | None:
    """What a name is that a docstring gives: dotted from the package, or known in the file."""
    module, _, last = name.rpartition(".")
    if not module:
        return _find(path, last)
    there = _file(path, module, 0)
    return None if there is None else _find(there, last)


def _file(path: Path, module: str, level: int) -> Path | None:
    """The file of a module of the package, or of one beside ``path``; None for others."""
    parts = module.split(".") if module else []
    if level:
        base = path.parents[level - 1].joinpath(*parts)
    elif parts[0] == "zeuxis":
        base = ROOT.joinpath(*parts[1:])
    else:
        return None
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _of_class(path: Path, node: ast.ClassDef) -> Arguments:
    said = meanings(ast.get_docstring(node) or "")
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return {arg: _argument(arg, default, said, path) for arg, default in list(_pairs(item.args))[1:]}
    for base in node.bases:
        found = _find(path, base.id) if isinstance(base, ast.Name) else None
        inherited = _of_class(found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else {}
        if inherited:
            return {name: _explained(arg, said.get(name, arg.meaning)) for name, arg in inherited.items()}
    return {}


def _of_function(path: Path, node: ast.FunctionDef) -> Arguments:
    said = meanings(ast.get_docstring(node) or "")
    only = {a.arg for a in node.args.kwonlyargs}
    return {arg: _argument(arg, default, said, path) for arg, default in _pairs(node.args) if arg in only}


def _pairs(args: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    """Every argument and its default."""
    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    for arg, default in (*zip(plain, defaults, strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)):
        yield arg.arg, default


def _argument(name: str, default: ast.expr | None, said: Mapping[str, str], path: Path) -> Argument:
    bare = Argument(name, default is None, None if default is None else _value(default, path), "")
    return _explained(bare, said.get(name, ""))


def _explained(argument: Argument, meaning: str) -> Argument:
    table = re.match(r"a table of :data:`([\w.]+)`:? ?", meaning)
    if table is not None:
        argument, meaning = replace(argument, table=table[1]), f"a table: {meaning[table.end() :]}"
    return replace(argument, meaning=re.sub(r":\w+:(?=`)", "", meaning).replace("`", ""))


def _value(node: ast.expr, path: Path) -> Any:
    """What an expression of literals, arithmetic and named constants is; others as :class:`Expression`."""
    try:
        return _evaluated(node, path)
    except ValueError:
        return Expression(ast.unparse(node))


def _evaluated(node: ast.expr, path: Path) -> Any:
    match node:
        case ast.Name(id=name):
            found = _find(path, name)
            if found is not None and isinstance(found[1], (ast.Assign, ast.AnnAssign)) and found[1].value is not None:
                return _evaluated(found[1].value, found[0])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_evaluated(left, path), _evaluated(right, path))
        case ast.Tuple(elts=items):
            return tuple(_evaluated(item, path) for item in items)
    return ast.literal_eval(node)


def _docstring_below(path: Path, node: ast.stmt) -> str:
    """The string that stands right below a definition."""
    body = _tree(path).body
    after = body[body.index(node) + 1 :][:1]
    match after:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return "\n".join(line.strip() if not line.startswith("    ") else line for line in text.splitlines())
    return ""
