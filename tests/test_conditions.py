"""What steers a picture and what may be turned: from a user's hand to the system, into the record, and back."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from zeuxis.api.given import GIVEN
from zeuxis.api.model import Model, load
from zeuxis.api.replay import replay
from zeuxis.batch import BATCHED, Batch, Condition, Shape, joined
from zeuxis.card import Card
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.listing import entries
from zeuxis.cli import main
from zeuxis.cli.sample import said_before
from zeuxis.cli.tree import tree
from zeuxis.conditions import FIELDS
from zeuxis.data.library import open_source
from zeuxis.data.source import BY_KIND, TEXTS
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError
from zeuxis.game import System
from zeuxis.knobs import SHORT, Knob, Sampling, checked
from zeuxis.provenance.record import read_record
from zeuxis.recipe import load_recipe, recipe_paths, with_overrides
from zeuxis.rng import ImageRng

SHAPE, SOURCE = Shape(3, 8, 12), Shape(6, 16, 20)
LAYOUT = ("sky", "road", "tree")


class Shown(System):
    """Obeys everything that there is, keeps what it got, and draws a picture that depends on all of it."""

    card = Card(
        "shown",
        title="A system of a test",
        family="test",
        year=2026,
        paper="none",
        verbs={"sample", "encode", "decode"},
        needs=set(FIELDS),
        knobs=("steps", Knob("strength", "float", "how far from the source", 0.5, least=0, most=1)),
    )

    def __init__(
        self,
        shape: Shape = SHAPE,
        *,
        source_shape: Shape = SOURCE,
        class_names: tuple[str, ...] = ("cat", "dog", "owl"),
        layout_names: tuple[str, ...] = LAYOUT,
        factors: tuple[tuple[str, int], ...] = (("time", 2), ("shape", 5)),
        steps: int = 4,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.unused = nn.Parameter(torch.zeros(1))
        self.got: list[Condition] = []
        self.how: list[dict[str, Any]] = []

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        self.got.append(condition)
        self.how.append(vars(self.settings(how)))
        tensors = [getattr(condition, name) for name in sorted(FIELDS) if name not in TEXTS]
        level = sum(value.float().reshape(len(value), -1).mean(1) for value in tensors) / 100  # (B,)
        texts = zip(condition.caption or (), condition.instruction or (), strict=True)
        level = level + torch.tensor([len(a) + 2 * len(b) for a, b in texts]) / 1000
        noise = rng.normal(len(rng), *self.shape) / 100
        return (level[:, None, None, None] + noise).clamp(-1, 1)

    def encode(self, image: Tensor) -> Tensor:
        return image.flatten(1)

    def decode(self, latent: Tensor) -> Tensor:
        return latent.unflatten(1, tuple(self.shape))


class Partial(Shown):
    """Obeys a source and, where one is given, a mask."""

    card = dataclasses.replace(Shown.card, needs=frozenset({"source"}), accepts=frozenset({"mask"}))

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"source", "mask"})

    @property
    def optional(self) -> frozenset[str]:
        return frozenset({"mask"})

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        self.got.append(condition)
        return torch.zeros(len(rng), *self.shape)


def model_of(system: System) -> Model:
    card = {"config": system.config, "sha256": "0" * 64, "class_names": ["cat", "dog", "owl"]}
    return Model("shown", system, card)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Model:
    model = model_of(Shown())
    monkeypatch.setattr("zeuxis.cli.sample.loaded", lambda *names: model)
    monkeypatch.setattr("zeuxis.api.replay.load", lambda *names: model)
    return model


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of many kinds, in the working folder."""
    monkeypatch.chdir(tmp_path)
    r = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(r.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(f"{name}.png")
    for name in "uvwxyz":
        Image.fromarray(r.integers(0, 256, (16, 20), dtype=np.uint8)).save(f"{name}.png")
    halves = np.zeros((8, 12), np.uint8)
    halves[:, 6:] = 1
    Image.fromarray(halves * 255).save("mask.png")
    Image.fromarray(np.dstack([np.full((8, 12, 3), 200, np.uint8), 255 * (1 - halves)])).save("hole.png")
    Image.fromarray(halves + 1).save("layout.png")
    indexed = Image.fromarray(halves * 2, "P")
    indexed.putpalette([0, 0, 0, 9, 9, 9, 250, 0, 0])
    indexed.save("palette.png")
    Image.fromarray(halves * 3).save("beyond.png")
    Path("broken.png").write_bytes(b"\x89PNG no")
    return tmp_path


EVERYTHING: dict[str, Any] = {
    "label": "dog",
    "caption": "a ring",
    "negative": "a square",
    "source": "a.png,b.png",
    "mask": "mask.png",
    "control": "a.png",
    "layout": "layout.png",
    "style": "a.png",
    "instruction": "make it night",
    "factors": "time=1,shape=3",
}


# -- one table ----------------------------------------------------------------------------------------


def test_every_field_has_every_behaviour() -> None:
    """A field of ``Condition`` is one line in FIELDS: everything else about it follows from its kind."""
    assert [f.name for f in dataclasses.fields(Condition)] == list(FIELDS)
    options = {o for c in tree("sample").commands["sample"].params for o in c.opts}
    for name, field in FIELDS.items():
        assert field.kind in BATCHED and field.kind in GIVEN, name
        assert field.kind == "text" or field.kind in BY_KIND, name
        assert field.option in options, name
        for function in (Model.sample, Model.condition, replay):
            assert name in inspect.signature(function).parameters, name
    assert set(EVERYTHING) == set(FIELDS), "the tests below give every field"
    assert {f"--{name}" for name in SHORT} | {"--knob"} <= options


def test_every_field_is_batched(files: Path, shown: Model) -> None:
    one = shown.condition(1, **EVERYTHING)
    assert one.given == set(FIELDS) and len(one) == 1
    many = one.expand(3)
    image = torch.zeros(3, *SHAPE)
    again = joined([Batch(image[:1], many[slice(0, 1)]), Batch(image[1:], many[slice(1, 3)])]).condition
    for name in FIELDS:
        a, b = getattr(many, name), getattr(again, name)
        assert len(a) == len(b) == 3, name
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, name
        moved = getattr(one.to("meta"), name)
        assert moved.device.type == "meta" if isinstance(moved, Tensor) else moved == getattr(one, name), name
    assert many.only(frozenset({"mask"})).given == {"mask"}
    with pytest.raises(ValueError, match=r"3 values of .* for 2 images"):
        many.expand(2)


def test_every_field_reaches_the_system_the_record_and_a_replay(files: Path, shown: Model) -> None:
    pictures = shown.sample(2, seed=3, **EVERYTHING)
    got = shown.system.got[0]  # type: ignore[union-attr,index]
    assert got.given == set(FIELDS)
    assert got.label.tolist() == [1, 1] and got.caption == ("a ring",) * 2 and got.factors.tolist() == [[1, 3]] * 2
    assert tuple(got.source.shape[1:]) == SOURCE and tuple(got.style.shape[1:]) == SHAPE
    assert got.mask.shape == (2, 1, 8, 12) and got.layout.shape == (2, 8, 12)
    held = pictures.records[1]["condition"]
    assert set(held) == set(FIELDS)
    assert held["label"] == {"number": 1, "name": "dog"} and held["factors"] == {"time": 1, "shape": 3}
    assert held["source"]["size"] == [20, 16] and len(held["source"]["sha256"]) == 64
    path = pictures.save("made")[1]
    made = read_record(path)
    shown_again = {name: EVERYTHING[name] for name in ("source", "mask", "control", "layout", "style")}
    again, differs = replay(made, **shown_again)
    assert differs == [] and again.records[0] == made and torch.equal(again.tensor[0], pictures.tensor[1])
    _, differs = replay(made, **{**shown_again, "source": "b.png,a.png"})
    assert len(differs) == 1 and differs[0].startswith("the source was ")
    with pytest.raises(Unsupported, match=r"made from a control.*--control FILE"):
        replay(made)


def test_what_a_record_cannot_have_is_refused(files: Path, shown: Model) -> None:
    made = shown.sample(1, **EVERYTHING).records[0]
    with pytest.raises(Unsupported, match="holds preview_after_rounds"):
        replay({**made, "condition": {"preview_after_rounds": 3}})
    with pytest.raises(DataError, match="its label is no class"):
        replay({**made, "condition": {"label": True}})
    with pytest.raises(UsageError, match="made without a mask: leave --mask out"):
        replay({**made, "condition": {"label": 1}}, mask="mask.png")


def test_a_record_of_the_first_format_is_replayed(files: Path, shown: Model) -> None:
    pictures = shown.sample(1, seed=4, steps=7, **EVERYTHING)
    old = {**pictures.records[0], "format": 1}
    old["condition"] = {**old["condition"], "label": 1, "source": "a picture that the user gave"}
    given = {name: EVERYTHING[name] for name in ("source", "mask", "control", "layout", "style")}
    again, differs = replay(old, **given)
    assert torch.equal(again.tensor, pictures.tensor)
    assert differs == ["the source cannot be checked: the record, of an older version, holds no hash of it"]


# -- pictures of any kind -----------------------------------------------------------------------------


def source_of(model: Model, value: Any, n: int = 1) -> Tensor:
    found = model.condition(n, **{**EVERYTHING, "source": value}).source
    assert found is not None
    return found


def test_a_source_may_be_a_path_a_picture_an_array_or_a_tensor(files: Path, shown: Model) -> None:
    named = source_of(shown, "a.png,b.png")
    assert named.shape == (1, *SOURCE) and -1 <= named.min() < -0.5 and 0.5 < named.max() <= 1
    pictures = [Image.open("a.png"), Image.open("b.png")]
    for same in (
        [pictures],
        [("a.png", np.asarray(pictures[1]))],
        named,
        named[0],
        named[0].numpy().transpose(1, 2, 0),
        [(named[0, :3], named[0, 3:])],
    ):
        assert torch.equal(source_of(shown, same), named)
    Path("both").mkdir()
    for name in "ab":
        Path("both", f"{name}.png").write_bytes(Path(f"{name}.png").read_bytes())
    assert torch.equal(source_of(shown, "both"), named)
    grey = source_of(shown, "u.png,v.png,w.png,x.png,y.png,z.png")
    assert torch.equal(grey[0, 2], torch.from_numpy(np.array(Image.open("w.png"))).float() * (2 / 255) - 1)
    made = model_of(Shown(source_shape=SHAPE)).sample(1, **{**EVERYTHING, "source": "a.png", "mask": "v.png"})
    smaller = model_of(Shown(source_shape=Shape(3, 4, 6)))
    assert source_of(smaller, made).shape == (1, 3, 4, 6), "pictures that were made, brought to the size"
    big = torch.linspace(-1, 1, 60).expand(3, 40, 60)
    brought = source_of(smaller, big)[0]
    assert (brought.diff(dim=2) > 0).all() and torch.allclose(brought[:, 0], brought[:, 3])


def test_what_is_cut_off_given_pictures_is_told(files: Path, shown: Model) -> None:
    assert shown.unread() == () and shown.unread(source="a.png,b.png", style=None) == (), "of 5:4 and 5:4 nothing"
    (said,) = shown.unread(mask="x.png")  # 20 x 16 for pictures of 12 x 8
    assert said == "of the mask x.png the middle is taken, 83% of it: it has 20x16 pixels, and 12x8 are drawn"
    Image.new("RGB", (40, 20)).save("wide.png")
    for given, told in (("wide.png,a.png", ["wide.png"]), (["a.png,b.png", "b.png,wide.png"], ["wide.png"])):
        assert [name for name in told for line in shown.unread(source=given) if name in line] == told
    assert len(shown.unread(style=Image.open("wide.png"), layout="layout.png")) == 1
    assert shown.unread(mask=np.ones((4, 40), bool), layout=torch.ones(4, 40).long()) == (), "a program knows its own"
    assert "the middle is taken" not in capture(shown, "mask.png") and "the middle is taken" in capture(shown, "x.png")


def capture(model: Model, mask: str) -> str:
    """What is said before pictures are drawn."""
    return "\n".join(said_before(model, 1, Sampling(), None, {"mask": mask}))


def test_data_that_provide_another_condition_say_so() -> None:
    recipe = with_overrides(load_recipe("flow-matching"), ["model.condition=caption"])
    with pytest.raises(Unsupported, match=r"needs caption, .* does not provide: use --condition label, which it does"):
        build_for(recipe, open_source("digits"))
    with pytest.raises(Unsupported, match="does not provide: use one of"):
        build_for(load_recipe("controlnet"), open_source("digits"))


def test_pictures_are_given_once_or_once_for_each(files: Path, shown: Model) -> None:
    two = source_of(shown, ["a.png,b.png", "b.png,a.png"], 2)
    assert torch.equal(two[0], source_of(shown, "a.png,b.png")[0]) and torch.equal(two[0, :3], two[1, 3:])
    assert torch.equal(source_of(shown, two, 2), two)
    with pytest.raises(UsageError, match="2 values of source for 3 pictures: give one, or one for each"):
        source_of(shown, two, 3)


def test_a_mask_is_light_or_a_hole(files: Path, shown: Model) -> None:
    halves = torch.zeros(1, 1, 8, 12)
    halves[..., 6:] = 1
    bools = halves[0, 0].bool()
    opaque = Image.merge("RGBA", [*Image.open("mask.png").convert("RGB").split(), Image.new("L", (12, 8), 255)])
    for mask in ("mask.png", "hole.png", opaque, bools, bools.numpy(), halves, halves[0], bools.numpy()[..., None]):
        found = shown.condition(1, **{**EVERYTHING, "mask": mask}).mask
        assert found is not None and torch.equal(found, halves), mask
    larger = bools.numpy().repeat(5, 0).repeat(5, 1)
    assert torch.equal(shown.condition(1, **{**EVERYTHING, "mask": larger}).mask, halves)  # type: ignore[arg-type]
    for dim in (bools.numpy().astype(np.uint8), bools.numpy().astype(np.uint16)):  # 0 and 1, in files of any bits
        with pytest.raises(UsageError, match=r"dark all over \([01] of 255 at most\), so it marks nothing"):
            shown.condition(1, **{**EVERYTHING, "mask": Image.fromarray(dim)})
    nothing = Image.merge("RGBA", [*Image.new("RGB", (12, 8)).split(), Image.new("L", (12, 8), 255)])
    for black in (Image.new("L", (12, 8)), nothing):
        with pytest.raises(UsageError, match="the mask marks nothing: make it light, or transparent"):
            shown.condition(1, **{**EVERYTHING, "mask": black})


def test_a_layout_is_of_class_numbers_or_a_palette(files: Path, shown: Model) -> None:
    halves = torch.zeros(1, 8, 12, dtype=torch.int64)
    halves[..., 6:] = 1
    large = (halves[0] + 1).numpy().astype(np.uint8).repeat(4, 0).repeat(4, 1)
    for layout, wanted in (
        ("layout.png", halves + 1),
        ("palette.png", halves * 2),
        (halves, halves),
        (halves[0].numpy(), halves),
        (Image.fromarray(large), halves + 1),
    ):
        found = shown.condition(1, **{**EVERYTHING, "layout": layout}).layout
        assert found is not None and found.dtype == torch.int64 and torch.equal(found, wanted)


def test_factors_are_given_by_name_or_in_order(files: Path, shown: Model) -> None:
    for given in ("time=1,shape=3", {"shape": 3, "time": 1}, [1, 3], torch.tensor([1, 3])):
        found = shown.condition(2, **{**EVERYTHING, "factors": given}).factors
        assert found is not None and found.tolist() == [[1, 3]] * 2
    found = shown.condition(2, **{**EVERYTHING, "factors": ["time=0,shape=0", "time=1,shape=4"]}).factors
    assert found is not None and found.tolist() == [[0, 0], [1, 4]]


@pytest.mark.parametrize(
    ("field", "value", "error", "says"),
    [
        ("source", "none.png,b.png", UsageError, "there is no picture none.png"),
        ("source", "broken.png,b.png", DataError, "broken.png cannot be used"),
        ("source", "a.png", Unsupported, "6 channels are wanted.*several pictures"),
        ("source", "a.png,b.png,u.png", Unsupported, "2 channels are wanted"),
        ("source", "a.png,b.png,u.png,v.png", UsageError, "4 pictures for 6 channels: give 2 in colour or 6 in grey"),
        ("source", torch.zeros(3, 16, 20), Unsupported, "has 3 channels, and 6 are wanted"),
        ("source", torch.full((6, 16, 20), 255.0), UsageError, r"outside \[-1, 1\]"),
        ("source", torch.zeros(6, 16, 20, dtype=torch.int64), UsageError, "give uint8"),
        ("source", 3, UsageError, "the source is a int: give a path"),
        ("mask", torch.full((8, 12), 0.5), UsageError, "fractions"),
        ("mask", torch.full((8, 12), 255), UsageError, "other values than 0 and 1"),
        ("layout", "beyond.png", UsageError, "class 3, which is none of the 3 that there are: 0 sky, 1 road, 2 tree"),
        ("layout", "a.png", UsageError, r"has the colour #[0-9a-f]{6}, which is no class"),
        ("label", "cow", UnknownName, "unknown class 'cow'"),
        ("label", 1.5, UnknownName, "unknown class '1.5'"),
        ("label", 3, UsageError, "outside the 3 classes"),
        ("caption", 3.5, UsageError, "no text"),
        ("factors", "time=1", UsageError, r"a whole number for each of: time \(0 to 1\), shape \(0 to 4\)"),
        ("factors", "time=1,shape=9", UsageError, "out of range"),
        ("factors", "tine=1,shape=3", UnknownName, "did you mean time"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_mend(
    files: Path, shown: Model, field: str, value: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as raised:
        shown.condition(1, **{**EVERYTHING, field: value})
    assert "\n" not in str(raised.value)


def test_a_model_is_given_what_it_obeys_and_no_more(files: Path) -> None:
    partial = model_of(Partial(source_shape=SHAPE))
    partial.sample(1, source="a.png")
    partial.sample(1, source="a.png", mask="v.png")
    got = [condition.given for condition in partial.system.got]  # type: ignore[union-attr]
    assert got == [{"source"}, {"source", "mask"}]
    with pytest.raises(UsageError, match=r"needs a source: give it \(--source PICTURE\)"):
        partial.sample(1)
    with pytest.raises(Unsupported, match="not conditioned on an instruction; recipes that are: none yet"):
        partial.sample(1, source="a.png", instruction="make it night")
    with pytest.raises(Unsupported, match=r"not conditioned on a caption; recipes that are: .*scenes"):
        partial.sample(1, source="a.png", caption="night")
    with pytest.raises(Unsupported, match=r"not conditioned on a negative; recipes that are: .*stable-diffusion"):
        partial.sample(1, source="a.png", negative="night")
    with pytest.raises(UnknownName, match="did you mean source"):
        partial.sample(1, sauce="a.png")


# -- knobs --------------------------------------------------------------------------------------------


def test_knobs_are_given_by_keyword_by_name_and_on_the_command_line(
    files: Path, shown: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown.knobs["steps"].default == 4 and shown.knobs["strength"].least == 0
    shown.sample(1, steps=5, knobs={"strength": 1}, **EVERYTHING)
    assert shown.system.how[-1] == {"steps": 5, "strength": 1.0}  # type: ignore[union-attr,index]
    line = ["sample", "shown", "-n", "1", "--steps", "9", "--knob", "strength=0.25", "--out", "drawn.png", "--json"]
    line += [word for name, value in EVERYTHING.items() for word in (f"--{name}", value)]
    assert main(line) == 0
    assert shown.system.how[-1] == {"steps": 9, "strength": 0.25}  # type: ignore[union-attr,index]
    assert shown.system.got[-1].given == set(FIELDS)  # type: ignore[union-attr,index]
    assert read_record(Path("drawn.png"))["sampling"] == {"steps": 9, "strength": 0.25}
    capsys.readouterr()
    pictures = [
        word for name in ("source", "mask", "control", "layout", "style") for word in (f"--{name}", EVERYTHING[name])
    ]
    assert main(["sample", "--replay", "drawn.png", *pictures]) == 0
    assert "the same, pixel for pixel" in capsys.readouterr().out
    two = ["sample", "shown", "-n", "2", *line[4:], "--out", "two", "--source", "b.png,a.png"]
    assert main(two) == 0
    assert not torch.equal(*shown.system.got[-1].source)  # type: ignore[union-attr,index]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--knob strength", "--knob strength is not of the form name=value"),
        ("--knob strength=2", "strength 2.0: a number from 0 to 1 is wanted (how far from the source)"),
        ("--knob strength=much", "strength much: a number from 0 to 1"),
        ("--steps 2.5", "steps 2.5: a whole number"),
        ("--steps 2 --knob steps=3", "knob steps is given twice, 2 and 3"),
        ("--knob speed=2", "has no knob 'speed'; it has: steps (a whole number from 1 to 100000, by default 4: "),
    ],
)
def test_a_wrong_knob_names_those_there_are(
    files: Path, shown: Model, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    assert main(["sample", "shown", *line.split()]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


def test_a_knob_is_given_once(files: Path, shown: Model) -> None:
    with pytest.raises(UsageError, match="knob steps is given twice"):
        shown.sample(1, steps=3, knobs={"steps": 4}, **EVERYTHING)
    with pytest.raises(UnknownName, match=r"did you mean steps.*knobs="):
        shown.sample(1, step=3, **EVERYTHING)


def test_the_knobs_of_every_recipe_are_those_of_its_system() -> None:
    for recipe in map(load_recipe, recipe_paths()):
        checked(recipe.name, entries()[recipe.system].card.knob_table, recipe.sample)


def test_a_wrong_knob_of_a_recipe_is_found_before_it_is_trained() -> None:
    source = open_source("digits", 8)
    build_for(load_recipe("gaussian", ("sample.temperature=0.5",)), source)
    with pytest.raises(UsageError, match="temperature -1"):
        build_for(load_recipe("gaussian", ("sample.temperature=-1",)), source)
    with pytest.raises(Unsupported, match=r"\[sample\] of recipe 'gaussian'\) has no knob 'steps'; it has: temp"):
        build_for(load_recipe("gaussian", ("sample.steps=3",)), source)


def test_info_lists_each_knob(capsys: pytest.CaptureFixture[str]) -> None:
    for name, steps in (("flow-matching", 50), ("scenes", 24)):
        assert main(["info", name]) == 0
        out = capsys.readouterr().out
        assert f"steps: a whole number from 1 to 100000, by default {steps}: network evaluations" in out
        assert (
            "sampler: euler, heun, midpoint, " in out
            and " or lms, by default euler: how the reverse process is solved" in out
        )
        assert "eta: a number from 0 to 1, by default 0.0: share of the noise" in out


# -- codes --------------------------------------------------------------------------------------------


def test_pictures_are_encoded_and_decoded(files: Path, shown: Model) -> None:
    codes = shown.encode(["a.png", Image.open("b.png"), np.zeros((8, 12, 3), np.uint8)], batch=2)
    assert codes.shape == (3, 3 * 8 * 12) and (codes[2] == -1).all()
    pictures = shown.decode(codes)
    assert len(pictures) == 3 and torch.equal(shown.encode(pictures), codes)
    held = pictures.records[0]["condition"]["codes"]
    assert held["shape"] == [288] and pictures.records[1]["condition"]["codes"]["sha256"] != held["sha256"]
    shown.system.stride = 4
    assert shown.encode("u.png").shape == (1, 3 * 16 * 20), "sides that the stride divides stay"
    assert shown.encode("a.png").shape == (1, 3 * 8 * 12), "others are brought to the model's size"
    with pytest.raises(UsageError, match="one size at a time"):
        shown.encode(["u.png", "a.png"])


def test_what_codes_nothing_encodes_nothing(files: Path) -> None:
    class Silent(Shown):
        card = dataclasses.replace(Shown.card, verbs=frozenset({"sample"}))

    silent = model_of(Silent())
    for verb, given in ((silent.encode, "a.png"), (silent.decode, torch.zeros(1, 288))):
        with pytest.raises(Unsupported, match=r"cannot (en|de)code; it can: sample"):
            verb(given)


def test_classes_have_names() -> None:
    assert model_of(Shown()).classes == ("cat", "dog", "owl")
    assert load("vqgan").classes[0] == "T-shirt/top" and "ring" in load("scenes").classes
