"""Captions that users give to models of a world, brought to the phrasings that the world itself uses.

A model has learnt those and no others: what it makes of another wording, though every word is known to it, is chance.
A model that was trained on captions of its user's is not meant: its vocabulary is another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from zeuxis.data.worlds import face, faces, grammar, motion, slots
from zeuxis.data.worlds.rich import facts, wording
from zeuxis.errors import UsageError
from zeuxis.spec import DataSpec

Reader = Callable[[str], str]
"""A caption in the world's own phrasing; raises :class:`zeuxis.errors.UsageError` with the nearest that there is."""

NOTHING = frozenset({
    "a", "an", "the", "is", "are", "it", "there", "this", "that", "who", "which",
    "with", "and", "of", "in", "on", "at", "by", "to", "has",
})  # fmt: skip
"""Words that state nothing."""

FACE: slots.Slots = {
    "age": face.FACTORS["age"],
    "smile": face.FACTORS["smile"],
    "pose": face.FACTORS["pose"],
    "hair style": ("short", "long", "curly", "bald", "no hair"),
    "hair colour": face.FACTORS["hair_colour"],
}
WORN: slots.Slots = {name: (name, f"no {name}") for name in ("glasses", "beard", "hat")}
MOVING: slots.Slots = {
    "size": motion.VALUES["size_1"],
    "colour": motion.VALUES["colour_1"],
    "shape": motion.VALUES["shape_1"],
    "speed": motion.VALUES["speed_1"],
    "direction": (*motion.VALUES["direction_1"], "upwards", "downwards"),
}


def read_face(caption: str) -> str:
    """A caption of ``faces``. What is worn may be left out; colour too, of the bald."""
    words = slots.words_of(caption, {*NOTHING, "face", "looking", "wearing", "person"})
    words = [word for k, word in enumerate(words) if word != "hair" or words[k - 1 : k] == ["no"]]
    try:
        found = slots.filled(words, {**FACE, **WORN})
        bald = found.get("hair style") in ("bald", "no hair")
        slots.require(found, {name: choice for name, choice in FACE.items() if not (bald and name == "hair colour")})
    except UsageError as error:
        raise slots.refused(caption, error, _face(slots.guessed(words, FACE))) from None
    return _face(found)


def _face(found: Mapping[str, str]) -> str:
    value = {name: "no" if found.get(name, "no").startswith("no") else "yes" for name in WORN}
    value |= {name: found[name] for name in ("age", "smile", "pose")}
    style = found["hair style"]
    value |= {"hair_style": "bald" if style == "no hair" else style, "hair_colour": found.get("hair colour", "black")}
    return faces.caption_of(value)


def read_motion(caption: str) -> str:
    """A caption of ``motion``: one object or two, each with all that moves it, and the time."""
    words = slots.words_of(caption.replace(" and ", " plus "), {*NOTHING, "moving", "moves"})
    times = [word for word in words if word in grammar.TIMES]
    told = [word for word in words if word not in grammar.TIMES]
    at = told.index("plus") if "plus" in told else len(told)
    parts = [part for part in (told[:at], told[at + 1 :]) if part] or [[]]
    try:
        if len(times) != 1:
            raise UsageError("say the time once: 'by day' or 'at night'")
        found = [slots.filled(part, MOVING) for part in parts]
        for one in found:
            slots.require(one, MOVING)
    except UsageError as error:
        nearest = _moving([slots.guessed(part, MOVING) for part in parts], (times or ["day"])[0])
        raise slots.refused(caption, error, nearest) from None
    return _moving(found, times[0])


def _moving(found: list[dict[str, str]], time: str) -> str:
    value = {"time": time}
    for k, one in enumerate(found, 1):
        value |= {f"{name}_{k}": given.removesuffix("wards") for name, given in one.items()}
    return motion.caption([choice.index(value.get(name, "none")) for name, choice in motion.VALUES.items()])


def read_rich(caption: str) -> str:
    """A caption of ``scenes-rich``, whose phrasings are many: its own words as they come, of an object at least."""
    plain = re.sub(r"\b(?:this|that|which|it|has)\s+", "", caption)
    words, known = slots.words_of(plain, ()), wording.words()
    shapes = {word for shape in facts.SHAPES for word in wording.SYNONYMS.get(shape, (shape,))}
    unknown = [word for word in words if word not in known]
    if unknown or not shapes & set(words):
        why = f"unknown word '{unknown[0]}'" if unknown else f"an object is missing, of {', '.join(sorted(shapes))}"
        kept = slots.guessed(words, {"colour": facts.COLOURS, "shape": facts.SHAPES, "size": facts.SIZES})
        raise slots.refused(caption, UsageError(why), f"{grammar.Thing(*kept.values())} {wording.WHERE[0]}")
    return plain


READERS: Mapping[frozenset[str], Reader] = {
    frozenset(grammar.WORDS): grammar.canonical,
    frozenset(faces.WORDS): read_face,
    frozenset(motion.WORDS): read_motion,
    frozenset(wording.words()): read_rich,
}
"""How the captions of a world are read, by the vocabulary that it is known by."""


def reader(spec: DataSpec) -> Reader | None:
    """How captions are read for a model whose data are those of ``spec``; None where they are taken as they are."""
    return READERS.get(frozenset(spec.words))
