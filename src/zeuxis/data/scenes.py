"""Pairs that lie within folders of scenes, as frames of films do: ``SCENE/blur/1.png`` and ``SCENE/sharp/1.png``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zeuxis.data.pairs import partners, roles
from zeuxis.data.splits import Home, Homes


def among_scenes(homes: Homes, pictures: Sequence[str]) -> Homes:
    """``homes`` in which folders of pairs count as lying around those of scenes, where they lie within each of them."""
    train = next(home for home in homes.homes if home.split == "train")
    if not _holds_pairs(train, pictures, least=2):
        return homes
    return replace(
        homes, homes=[replace(home, scenes=True) if _holds_pairs(home, pictures) else home for home in homes.homes]
    )


def _holds_pairs(home: Home, pictures: Sequence[str], least: int = 1) -> bool:
    """Whether all pictures lie in folders within those of ``least`` scenes or more, and of two that every scene has
    most names are the same: by how folders are called alone classes could be taken for scenes."""
    inside: dict[str, dict[str, dict[str, str]]] = {}  # by scene and folder the pictures, by what follows
    for path in pictures:
        if home.holds(path):
            scene, _, rest = home.place(path).partition("/")
            folder, slash, name = rest.partition("/")
            if not slash:
                return False
            inside.setdefault(scene, {}).setdefault(folder, {})[name] = path
    if len(inside) < least or next(roles(inside), None) is not None:
        return False
    shared = set.intersection(*(set(folders) for folders in inside.values()))
    for image, other, *_ in roles(shared):
        sides = [
            {f"{scene}/{name}": path for scene, folders in inside.items() for name, path in folders[folder].items()}
            for folder in (image, other)
        ]
        if 2 * len(partners(*sides)[0]) >= min(map(len, sides)):
            return True
    return False
