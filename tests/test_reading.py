"""Captions from users: models of a world read what its grammar understands, other models what they are given."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zeuxis as zx
from zeuxis.api.given import condition_of
from zeuxis.api.model import load
from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.faces import Faces
from zeuxis.data.worlds.motion import Motion, MotionClips
from zeuxis.data.worlds.reading import reader
from zeuxis.data.worlds.rich.sources import RichScenes
from zeuxis.data.worlds.scenes import Scenes
from zeuxis.data.worlds.world import World
from zeuxis.errors import UsageError
from zeuxis.spec import DataSpec, Shape

SCENES = DataSpec(Shape(3, 32, 32), words=grammar.WORDS)


def read(caption: str, words: tuple[str, ...] = grammar.WORDS) -> str:
    spec = DataSpec(Shape(3, 32, 32), words=words)
    found = condition_of("model", spec, frozenset({"caption"}), frozenset(), 1, {"caption": caption}).caption
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("blue circle", "a blue circle"),
        (
            "At night, a small red circle above a large blue square",
            "a small red circle above a large blue square at night",
        ),
        ("There is a green ring.", "a green ring"),
        ("a small red circle above a blue square", "a small red circle above a small blue square"),
        ("a red circle above a large blue square", "a large red circle above a large blue square"),
        ("a red circle above a blue square", "a red circle above a blue square"),
    ],
)
def test_a_caption_is_brought_to_the_phrasing_that_was_learnt(told: str, meant: str) -> None:
    assert read(told) == meant == read(meant)


@pytest.mark.parametrize("caption", ["", "of of of", "circle", "a dragon", "a red circle and a blue square"])
def test_what_is_not_understood_is_refused_with_what_is(caption: str) -> None:
    with pytest.raises(UsageError, match="nearest that is understood") as refused:
        read(caption)
    (nearest,) = re.findall(r"understood: '(.*)'", str(refused.value))
    assert read(nearest)


def test_captions_of_a_user_s_own_are_taken_as_they_are() -> None:
    assert read("circle blue", ("blue", "circle", "red")) == "circle blue"
    assert read("", ("blue",)) == ""
    assert read("anything", ()) == "anything"


def test_a_shipped_model_of_scenes_reads_so() -> None:
    model = load("scenes")
    condition = model.condition(2, caption=["blue circle", "At night, a small red star."])
    assert condition.caption == ("a blue circle", "a small red star at night")
    with pytest.raises(UsageError, match="an object is missing"):
        model.condition(1, caption="")


def test_every_caption_of_the_world_is_read_as_itself() -> None:
    world = Scenes(8)
    for caption in world.told(world.batch(torch.arange(400))):
        facts, again = grammar.parse(caption), grammar.parse(grammar.canonical(caption))
        assert (facts.relation, facts.time) == (again.relation, again.time)
        for said, kept in ((facts.first, again.first), (facts.second, again.second)):
            if said is not None and kept is not None:
                assert (said.colour, said.shape, said.size or kept.size) == (kept.colour, kept.shape, kept.size)
    for caption in Scenes(8, "test").captions():
        assert grammar.canonical(caption) == caption


LOOSE = st.sampled_from([*grammar.WORDS, "the", "is", "there", "redd", "dragon", "and", "", ",", "small", "circle"])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(LOOSE, max_size=9).map(" ".join))
def test_any_words_are_read_or_refused_with_a_caption_that_is_read(told: str) -> None:
    try:
        found = grammar.canonical(told)
    except UsageError as refused:
        (found,) = re.findall(r"understood: '(.*)'", str(refused))
    assert grammar.canonical(grammar.canonical(found)) == grammar.canonical(found)


def test_the_picture_of_a_loose_caption_is_that_of_the_plain_one() -> None:
    model = zx.load("align-draw")
    loose, plain = (model.sample(1, seed=3, caption=c) for c in ("blue circle", "a blue circle"))
    assert torch.equal(loose.tensor, plain.tensor)
    assert loose.records[0]["condition"]["caption"] == "a blue circle"


# -- the other worlds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Faces, Motion, MotionClips, RichScenes])
def test_the_captions_of_every_world_are_read_as_themselves(kind: type[World]) -> None:
    world = kind(16)
    read_one = reader(world.spec)
    captions = world.batch(torch.arange(40)).condition.caption
    assert read_one is not None and captions is not None
    for caption in captions:
        assert read_one(caption) == caption
        with pytest.raises(UsageError, match="nearest that is understood"):
            read_one("of of of")
    with pytest.raises(UsageError) as refused:
        read_one("zzz")
    (nearest,) = re.findall(r"understood: '(.*)'", str(refused.value))
    assert read_one(nearest) == nearest


@pytest.mark.parametrize(
    ("world", "told", "meant"),
    [
        (Faces, "Young, calm, bald, looking ahead", "a young calm face with no hair looking ahead"),
        (Faces, "an old face with glasses and grey curly hair, smiling, looking to the left",
         "an old smiling face with curly grey hair and glasses looking left"),
        (Faces, "a sad young face with short red hair looking right, no hat",
         "a young sad face with short red hair looking right"),
        (RichScenes, "there is a red star which is at the upper left", "there is a red star is at the upper left"),
        (Motion, "At night a red small star is moving slowly up",
         "a small red star moving slowly upwards at night"),
        (Motion, "small red star slowly to the left and large blue ring fast to the upper right, by day",
         "a small red star moving slowly to the left and a large blue ring moving fast to the upper right by day"),
    ],
)  # fmt: skip
def test_loose_captions_of_faces_and_motion(world: type[World], told: str, meant: str) -> None:
    assert read(told, world.natural.words) == meant


@pytest.mark.parametrize(
    ("world", "told", "says"),
    [
        (Faces, "an old face", "its smile is missing: say one of sad, calm, smiling"),
        (Faces, "an old young face", "two of one kind"),
        (Faces, "an old smilling face", "did you mean smiling"),
        (Motion, "a small red star by day", "its speed is missing"),
        (Motion, "a small red star moving fast upwards", "say the time once"),
        (RichScenes, "a red dragon", "unknown word 'dragon'"),
        (RichScenes, "at night", "an object is missing"),
    ],
)
def test_what_other_worlds_do_not_understand_is_said(world: type[World], told: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read(told, world.natural.words)
