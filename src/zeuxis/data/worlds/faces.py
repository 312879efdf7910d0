"""The world of drawn faces: ten factors, known exactly, and persons who are met more than once.

Sources of examples. How a face looks is in ``portrait``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.counter import uniforms
from zeuxis.data.worlds.face import FACTORS, JITTER, PROPORTIONS, Face, face
from zeuxis.data.worlds.portrait import PARTS, paint
from zeuxis.data.worlds.world import World, of_split
from zeuxis.rng import derive_seed
from zeuxis.spec import DataSpec, Shape

PICTURES = 8  # of each person
CHUNK = 64  # faces that are painted together: more of them no longer fit into a core's cache
_SIZES = [len(values) for values in FACTORS.values()]


@cache
def descriptions() -> Tensor:
    """Every row of factors, ``(51840, 10)`` int64."""
    return torch.cartesian_prod(*(torch.arange(n) for n in _SIZES))


def caption(factors: Tensor) -> str:
    """The caption of a row ``(10,)`` of factors: ``"an old smiling face with long red hair and glasses looking left"``.

    Skin and light are left out, and so is the hair colour of the bald: see :func:`stated_factors`.
    """
    return caption_of({name: values[k] for (name, values), k in zip(FACTORS.items(), factors.tolist(), strict=True)})


def caption_of(value: Mapping[str, str]) -> str:
    """The caption of the values of the factors that it states."""
    has = ["no hair" if value["hair_style"] == "bald" else f"{value['hair_style']} {value['hair_colour']} hair"]
    has += [thing for name, thing in _WORN.items() if value[name] == "yes"]
    article = "an" if value["age"] == "old" else "a"
    return f"{article} {value['age']} {value['smile']} face with {' and '.join(has)} looking {value['pose']}"


def stated_factors(factors: Tensor) -> Tensor:
    """``factors`` (B, 10) with -1 for what :func:`caption` does not state."""
    names = list(FACTORS)
    stated = factors.clone()
    stated[:, [names.index("skin"), names.index("light")]] = -1
    bald = stated[:, names.index("hair_style")] == FACTORS["hair_style"].index("bald")
    stated[bald, names.index("hair_colour")] = -1
    return stated


_WORN = {"glasses": "glasses", "beard": "a beard", "hat": "a hat"}
_STATED = ("age", "smile", "pose", "hair_colour", "hair_style")
_FRAME = {"a", "an", "face", "with", "no", "hair", "and", "looking", "glasses", "beard", "hat"}
WORDS = tuple(sorted(_FRAME | {value for name in _STATED for value in FACTORS[name]} - {"bald"}))
"""Every word of captions."""


class Faces(World):
    """Drawn faces. Examples 8k to 8k + 7 show person k, with factors that are drawn anew for each.

    ``factors`` are ``portrait.FACTORS``; ``layout`` has the classes ``portrait.PARTS``. The splits share no row of
    factors and no person.
    """

    name = "faces"
    natural = DataSpec(
        Shape(3, 64, 64),
        layout_names=PARTS,
        words=WORDS,
        factors=tuple((name, len(values)) for name, values in FACTORS.items()),
        provides=frozenset({"caption", "layout", "factors"}),
    )

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        super().__init__(size, split, length)
        self.rows = of_split(descriptions(), _SIZES, split)
        self.persons = derive_seed(0, self.name, split, "persons")

    def stated_factors(self, factors: Tensor) -> Tensor:
        return stated_factors(factors)

    def person(self, index: Tensor) -> Tensor:
        """Who is shown, ``(B,)`` int64."""
        return self.checked(index) // PICTURES

    def faces(self, index: Tensor) -> Face:
        """The faces of ``index``, placed but not painted: the factors' exact values, and the person's proportions."""
        u = uniforms(self.key, self.checked(index), 1 + JITTER)
        rows = self.rows.to(index.device)
        factors = rows[(u[:, 0] * len(rows)).long().clamp(max=len(rows) - 1)]
        return face(factors, uniforms(self.persons, self.person(index), PROPORTIONS), u[:, 1:])

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64."""
        faces = self.faces(index)
        size = self.size
        painted = [paint(faces.rows(slice(k, k + CHUNK)), size) for k in range(0, len(index), CHUNK)]
        if not painted:
            painted = [paint(faces, size)]
        image, layout = (torch.cat(parts) for parts in zip(*painted, strict=True))
        captions = tuple(caption(row) for row in faces.factors)
        return Batch(image, Condition(caption=captions, layout=layout, factors=faces.factors), index)
