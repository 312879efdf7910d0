"""Where the splits of a folder lie, by the words that people call them, in any case.

    train/ val/ test/                 folders of their own, each with a layout of its own
    gt/train/ gt/test/ lq/train/ ...  or within the folders of any layout, all of them
    trainA/ trainB/ testA/ ...        two collections without correspondence
    NAME-train-000.tar ...            shards whose names tell it
    photos/ ...                       and all of it perhaps within one folder, or several, that hold nothing else

A file's place in its layout is what remains of its path without the folders of splits and without those around all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from zeuxis.data.names import in_natural_order
from zeuxis.errors import DataError

WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing"),
}
STRAY = 0.2  # of the pictures, beside folders that mean something; above it they mean nothing
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}
NAME = re.compile(r"(?P<word>[a-z]+)([ _-]?(set|split|data|images?|imgs?|pictures|photos|20\d\d))?")  # train_images
SIDE = re.compile(r"(?P<word>[a-z]+)[ _-]?(?P<letter>[ab])")  # of trainA
LETTERS = re.compile(r"[a-z]+")
BESIDE = "beside the folders of splits"


def split_of(folder: str) -> str | None:
    """The split that a folder of this name is; None where it is none."""
    named = NAME.fullmatch(folder.lower())
    return SPLIT_OF.get(named["word"]) if named else None


@dataclass(frozen=True)
class Home:
    """Where the pictures of one split lie, of the collection ``letter`` ("" where there is one)."""

    letter: str = ""
    split: str = "train"
    above: tuple[str, ...] = ()  # folders that are its own, so that what lies in them belongs to it
    around: int = 0  # how many components of a path lie around the layout
    at: int | None = None  # which component of the path names the split
    name: str = ""  # that component
    inner: int = 0  # how many of what remains lie around the layout again
    scenes: bool = False  # whether the folders of the layout lie within others, each of which has them all
    files: frozenset[str] = frozenset()  # where not folders tell splits: those that belong to this

    def holds(self, path: str) -> bool:
        """Whether the file at ``path`` belongs to this."""
        if self.files:
            return path in self.files
        parts = path.split("/")
        if tuple(parts[: self.around]) != self.above[: self.around]:
            return False
        return self.at is None or (len(parts) > self.at + 1 and parts[self.at] == self.name)

    def place(self, path: str) -> str:
        """Where the file counts as lying, in its layout."""
        parts = path.split("/")
        kept = [part for k, part in enumerate(parts) if k >= self.around and k != self.at][self.inner :]
        if self.scenes and len(kept) > 2:
            kept[:2] = kept[1], kept[0]
        return "/".join(kept)

    def without_split(self, path: str) -> str:
        """The path without the folder that names the split: by this pictures are set apart, wherever they lie."""
        return "/".join(part for k, part in enumerate(path.split("/")) if k != self.at)


@dataclass
class Homes:
    """All homes of a folder, and the files that lie in none with why."""

    homes: list[Home]
    beside: list[str] = field(default_factory=list)
    said: str = ""  # of what lies around and how splits are called, for people
    structured: bool = True  # whether folders mean something there

    def given(self, letter: str) -> dict[str, Home]:
        """The splits of a collection that have a home of their own."""
        return {home.split: home for home in self.homes if home.letter == letter}


def homes_of(paths: Sequence[str]) -> Homes:
    """The homes of files at ``paths`` (relative, with ``/``).

    Raises:
        DataError: two folders are called as the same split; or splits without one to train on.
    """
    if loose := _beside_one_folder(paths):
        inner = homes_of([path for path in paths if "/" in path])
        if inner.structured:
            return replace(inner, beside=[*loose, *inner.beside])
    above: tuple[str, ...] = ()
    while (top := _around(paths, len(above))) is not None:
        above = (*above, top)
    depth = len(above)
    within = f"within {'/'.join(above)}/, " if above else ""
    tops = [path.split("/")[depth:] for path in paths]
    folders = in_natural_order(parts[0] for parts in tops if len(parts) > 1)
    if found := _collections(folders, above):
        return _settled(found, paths, within)
    words = {name: split for name in folders if (split := split_of(name)) is not None}
    if "train" in words.values() and not _only_a_class(words, folders, tops):
        return _settled([Home("", s, above, depth, depth, name) for name, s in words.items()], paths, within)
    if len(words) > 1 and len(words) == len(folders) and all(len(parts) > 1 for parts in tops):
        raise DataError(
            f"{' and '.join(f'{name}/' for name in words)} are splits, and there is none to train on: "
            "call the folder of training pictures train, or give one of these folders"
        )
    if found := _inside(tops, above):
        return _settled(found, paths, within)
    inside = Counter(parts[0] if len(parts) > 1 else "" for parts in tops)
    few = inside.pop("", 0) <= STRAY * len(tops)
    return Homes([Home("", "train", above, depth)], said=within, structured=few and len(inside) > 1)


def shard_splits(homes: Homes, shards: Sequence[str]) -> Homes:
    """``homes`` of a folder of ``shards`` alone, which their names tell apart (``birds-train-000.tar``,
    ``val-000.tar``) where no folders do."""
    if len(homes.homes) != 1 or len(shards) < 2:
        return homes
    files: dict[str, list[str]] = {}
    for path in shards:
        words = [word for word in LETTERS.findall(path.rpartition("/")[2].lower()) if word in SPLIT_OF]
        files.setdefault(SPLIT_OF[words[-1]] if words else "", []).append(path)
    found = {split: files[split] for split in WORDS if split in files}
    if "train" not in found or len(found) < 2:
        return homes
    (home,) = homes.homes
    parts = [replace(home, split=split, name=split, files=frozenset(held)) for split, held in found.items()]
    said = f"{homes.said}splits {', '.join(found)} by the names of shards; "
    return replace(homes, homes=parts, beside=[*homes.beside, *files.get("", [])], said=said)


def _beside_one_folder(paths: Sequence[str]) -> list[str]:
    """The few files at the top where all others lie in one folder: nothing where there are many, or none."""
    loose = [path for path in paths if "/" not in path]
    tops = {path.split("/")[0] for path in paths} - set(loose)
    return loose if len(tops) == 1 and len(loose) <= STRAY * len(paths) else []


def _around(paths: Sequence[str], depth: int, split: str = "train") -> str | None:
    """The one folder that everything lies in at ``depth``, unless it is that of ``split``, or a layout by itself."""
    tops = {path.split("/")[depth] if path.count("/") > depth else "" for path in paths}
    if len(tops) != 1 or "" in tops:
        return None
    (top,) = tops
    return None if split_of(top) == split or top.lower() == "ab" else top


def _collections(folders: Sequence[str], above: tuple[str, ...]) -> list[Home]:
    """trainA and trainB, and what is beside them of the other splits."""
    found: list[Home] = []
    for name in folders:
        if (side := SIDE.fullmatch(name.lower())) and side["word"] in SPLIT_OF:
            found.append(Home(side["letter"].upper(), SPLIT_OF[side["word"]], above, len(above), len(above), name))
    return found if {"A", "B"} <= {home.letter for home in found if home.split == "train"} else []


def _only_a_class(words: Collection[str], folders: Sequence[str], tops: Sequence[Sequence[str]]) -> bool:
    """Whether ``train`` is one class of several: the only word for a split, among other flat folders of pictures."""
    return len(words) == 1 and len(folders) > 2 and all(len(parts) == 2 for parts in tops)


def _inside(tops: Sequence[Sequence[str]], above: tuple[str, ...]) -> list[Home]:
    """Splits one folder deeper, where every file lies in one."""
    if not all(len(parts) > 2 and split_of(parts[1]) for parts in tops):
        return []
    names = {name: split_of(name) for name in in_natural_order(parts[1] for parts in tops)}
    homes = [Home("", split, above, len(above), len(above) + 1, name) for name, split in names.items() if split]
    return homes if "train" in {home.split for home in homes} else []


def _inwards(home: Home, homes: Sequence[Home], paths: Sequence[str]) -> Home:
    """``home`` without folders around all of it, as many as the pictures to train on have."""
    train = next(one for one in homes if (one.letter, one.split) == (home.letter, "train"))
    depths = [_depth([one.place(path) for path in paths if one.holds(path)]) for one in (train, home)]
    return replace(home, inner=depths[0]) if depths[0] <= depths[1] else home


def _depth(places: Sequence[str]) -> int:
    """How many folders lie around all of ``places``."""
    depth = 0
    while places and _around(places, depth, "") is not None:
        depth += 1
    return depth


def _settled(homes: list[Home], paths: Sequence[str], within: str) -> Homes:
    order = list(WORDS)
    homes = sorted(homes, key=lambda home: (home.letter, order.index(home.split), home.name))
    for one, other in pairwise(homes):
        if (one.letter, one.split) == (other.letter, other.split):
            raise DataError(
                f"both {one.name}/ and {other.name}/ would be the split '{one.split}': put them together, "
                "or rename one of them"
            )
    homes = [_inwards(home, homes, paths) for home in homes]
    said = f"{within}splits {', '.join(f'{home.name}/' for home in homes)}; "
    return Homes(homes, [path for path in paths if not any(home.holds(path) for home in homes)], said)
