"""Every key of a recipe has a meaning, its default is the constructor's, and a dry run says what a training holds."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch
from conftest import Command
from PIL import Image

from zeuxis.api.dry_run import dry_run
from zeuxis.api.parameters import counts
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.listing import entries, system_class
from zeuxis.catalog.schema import COMMON, FACTS, Key, model_arguments, model_sections, sections, toml
from zeuxis.catalog.signatures import Expression, constructor, fields, meanings, table_keys
from zeuxis.data.library import open_source
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import Player
from zeuxis.plugins import using
from zeuxis.recipe import Recipe, load_recipe, recipe_paths
from zeuxis.training.ema import ema_copy, own_state
from zeuxis.training.optimiser import OPTIMISERS, flat_state, overridden

TINY = """
system = "wgan-gp"
about = "a game small enough for a test"
data = "digits"
size = 8
[model]
nz = 4
width = 4
critic_steps = 2
[players.critic]
optimiser = "rmsprop"
warmup = 7
decay = "cosine"
[train]
iterations = 30
batch = 16
ema = 0.9
"""
OWN = '''
"""Two systems, one of which has the other's constructor, and tables of two kinds."""
from zeuxis.card import Card
from zeuxis.game import System
from ._parts import BODIES, HALF

HEAD = {"units": 8, "bias": True}
"""The keys of ``[model.head]``.

Args:
    units: of the layer.
    bias: whether it has one.
"""


class Base(System):
    """A base.

    Args:
        body: a table of :data:`BODIES`: what thinks.
        head: a table of :data:`HEAD`: what decides.
        share, part: halves of ``something``,
            in [0, 1].
        steps: not the knob's words.
    """

    def __init__(self, shape, *, body=None, head=None, share=HALF, part=-HALF / 2, steps=3, temperature=1.0,
                 bare=print, lr=1e-3):
        super().__init__()


class Mine(Base):
    """One of the user's own.

    Args:
        share: of mine.

    Raises: nothing.
    """

    card = Card("mine", title="Mine", family="density", year=2026, paper="none", knobs=("steps", "temperature"))
'''
PARTS = '''
HALF = 1 / 2

def small(ends, *, width=4):
    """Small.

    Args:
        width: of the small.
    """

def large(ends, *, depth: int):
    """Large, unexplained."""

SMALL = {"small": small}
BODIES = {**SMALL, "large": large}
WRONG = {**dict(large=large)}
'''


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, at a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    Path("tiny.toml").write_text(TINY)


def keys(recipe: Recipe) -> dict[str, Key]:
    return {key.name: key for section in sections(recipe) for key in section.keys}


# -- the keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", entries())
def test_every_keyword_has_a_meaning_of_its_own_and_the_constructors_default(name: str) -> None:
    known, cls = entries()[name], system_class(name)
    said = meanings(inspect.getdoc(cls) or "")
    read = constructor(known.path, known.class_name)
    built = {k: p for k, p in inspect.signature(cls.__init__).parameters.items() if k != "self"}
    assert list(read) == list(built)
    for key, parameter in built.items():
        if key in FACTS:
            continue
        assert said.get(key) or key in known.card.knob_table or key in COMMON, f"{key}: write it under Args:"
        assert model_arguments(known)[key].meaning
        assert read[key].required == (parameter.default is inspect.Parameter.empty)
        assert read[key].required or read[key].default == parameter.default
    left = set(said) - set(built)
    assert not left, f"under Args:, but no keyword: {left}"


@pytest.mark.parametrize("name", recipe_paths())
def test_every_key_of_every_recipe_is_explained(name: str) -> None:
    recipe = load_recipe(name)
    found = keys(recipe)
    assert not [key.name for key in found.values() if not key.meaning]
    table = recipe.model_dump()
    for part in ("model", "train"):
        for key, value in table[part].items():
            of_it = found[f"{part}.{key}"]
            assert of_it.value == value or isinstance(of_it.value, Expression), key
    assert {f"players.NAME.{key}" for own in recipe.players.values() for key in own} <= set(found)
    assert all(found[f"sample.{key}"].value == value for key, value in recipe.sample.items())


def test_the_fields_of_a_player_are_all_explained() -> None:
    read = fields(Path(inspect.getfile(Player)), "Player")
    assert set(read) == set(Player.__dataclass_fields__)
    assert all(read[name].meaning for name in set(read) - {"name", "nets", "groups"})
    assert read["lr"].default == 2e-4


def test_what_a_recipe_changes_stands_out() -> None:
    found = keys(load_recipe("flow-matching", ("train.seed=4", "sample.steps=3")))
    changed = {name for name, key in found.items() if key.changed}
    assert {"model.times", "model.network.kind", "train.seed", "sample.steps", "players.NAME.lr"} <= changed
    assert not {"name", "model.drop", "model.network", "model.text.width", "train.keep", "sample.sampler"} & changed
    assert (found["sample.steps"].value, found["sample.steps"].default) == (3, 6)  # the default is what it builds
    assert "model.network.multiples" in found and "model.network.patch" not in found


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("model.tims=1", "model.*times"),
        ("model.network.fine=1", "model.network.*kind"),
        ("model.network.kind=unot", "unet"),
        ("model.text.lenth=3", "length"),
        ("model.network=3", "is a table"),
        ("players.network.rate=3", "players.network.*rate"),
        ("sample.heat=3", "no knob"),
    ],
)
def test_a_key_that_idles_is_an_error(change: str, names: str) -> None:
    with pytest.raises(UsageError, match=names):
        sections(load_recipe("flow-matching", (change,)))


def test_a_system_of_ones_own_is_read_without_running_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "_parts.py").write_text(PARTS + "raise RuntimeError")
    with using([tmp_path]):
        known = entries()["mine"]
        read = model_arguments(known)
        assert list(read) == ["body", "head", "share", "part", "steps", "temperature", "bare", "lr"]
        assert (read["share"].meaning, read["part"].meaning) == ("of mine.", "halves of something, in [0, 1].")
        assert read["steps"].meaning == "not the knob's words." and "latent" in read["temperature"].meaning
        assert (read["share"].default, read["bare"].default, read["bare"].meaning) == (0.5, "print", "")
        assert read["lr"].meaning == COMMON["lr"] and read["body"].meaning == "a table: what thinks."
        assert toml(read["bare"].default) == "print"  # no string: what is written there
        names = [key.name for section in model_sections(known, {}) for key in section.keys]
        assert names[-4:] == ["model.body.kind", "model.body.width", "model.head.units", "model.head.bias"]
        body, head = model_sections(known, {"body": {"kind": "large", "depth": 2}, "head": {"units": 3}})[1:]
        assert [(k.value, k.required, k.meaning) for k in body.keys][1:] == [(2, True, "")]
        assert [(k.value, k.meaning) for k in head.keys] == [(3, "of the layer."), (True, "whether it has one.")]
        with pytest.raises(UsageError, match="nowhere"):
            table_keys(known.path, "TAIL", {})
        with pytest.raises(UsageError, match=r"_parts\.py:\d+: '\*\*' is read of the name of a dict"):
            table_keys(tmp_path / "_parts.py", "WRONG", {})
        with pytest.raises(UnknownName, match="Mine"):
            constructor(known.path, "Mime")


def test_values_are_spelled_as_toml_has_them() -> None:
    values = {"a": [1, 2.0, 1e-4], "b": 'say "x"', "c": None, "d": (True, {})}
    assert toml(values) == r'{ a = [1, 2.0, 0.0001], b = "say \"x\"", c = none, d = [true, {}] }'
    assert toml((2 / 255) ** 2 / 12) == "5.12623e-06"


# -- info ---------------------------------------------------------------------------------------------


def test_info_of_a_recipe_fits_80_columns(command: Command) -> None:
    code, out, err = command("info", "digits", "--set", "train.keep=7")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert max(map(len, lines)) <= 80
    assert {"[model]", "[model.network]", "[train]"} <= set(lines)
    assert [line.split()[1:4] for line in lines if line.startswith("*") and " keep " in line] == [["keep", "7", "2"]]


def test_info_gives_the_same_as_data(command: Command) -> None:
    code, out, _ = command("info", "tiny.toml", "--json")
    found = json.loads(out)
    assert (code, found["recipe"], found["system"]) == (0, "tiny", "wgan-gp")
    assert set(found["keys"]) == set(keys(load_recipe("tiny.toml")))
    told = {"value": 4, "default": 64, "required": False, "changed": True, "meaning": "base channels of both networks."}
    assert found["keys"]["model.width"] == told
    assert found["keys"]["players.NAME.warmup"]["value"] == {"critic": 7}


def test_info_of_a_name_with_several_meanings_tells_all(command: Command) -> None:
    code, out, _ = command("info", "vae")
    assert code == 0 and out.index("arxiv.org") < out.index("recipe vae") < out.index("[train]")
    code, out, _ = command("info", "scenes", "--json")  # a model that ships, and its recipe
    assert code == 0 and {"sha256", "keys"} <= set(json.loads(out))
    code, out, _ = command("info", "judge")  # recipes, but none of that name
    assert code == 0 and "gaussian_noise" in out and "[train]" not in out


def test_info_of_a_recipe_that_cannot_be_read_names_its_file(command: Command) -> None:
    Path("mine").mkdir()
    Path("mine/broken.toml").write_text('system = "vae"\nabout = "x"\ndata = "digits"\nsise = 8\n')
    code, out, err = command("info", "broken", "--systems", "mine")
    assert code == 2 and out == "" and "broken.toml" in err and "size" in err and err.count("\n") == 1


def test_set_is_of_recipes(command: Command) -> None:
    code, _, err = command("info", "judge", "--set", "train.keep=2")
    assert code == 2 and "'judge'" in err and err.count("\n") == 1
    code, _, err = command("info", "digits", "--set", "train.kep=2")
    assert code == 2 and "keep" in err


# -- the dry run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wgan-gp", "consistency", "vqgan", "dbn", "align-draw-bag", "pca", "pixel-cnn-codes"])
def test_a_dry_run_counts_what_a_training_holds(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    smaller = {**recipe.model, **recipe.tiny}
    recipe = recipe.model_copy(update={"data": "scenes", "size": 16, "model": smaller})
    if "tokeniser" in smaller:  # a model that ships, for grey pictures of 32x32
        recipe = recipe.model_copy(update={"data": "digits", "size": 32})
    found = dry_run(recipe, sheet_path=tmp_path / "sheet.png")
    system = build_for(recipe, open_source(recipe.data, recipe.size))
    assert {n.name: n.trainable + n.frozen for n in found.networks} == {k: v for k, v in counts(system).items() if v}
    players = overridden(system.players(), recipe.players)
    kept = 0
    for player in players:
        for parameter in player.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser = OPTIMISERS[player.optimiser](player)
        optimiser.step()
        kept += sum(t.numel() * t.element_size() for t in flat_state(optimiser).values())
    assert found.memory.optimiser == kept
    tensors = [*system.parameters(), *system.buffers()]
    assert found.memory.weights == sum(t.numel() * t.element_size() for t in tensors)
    if recipe.train.ema and players:
        own = own_state(ema_copy(system), system).values()
        assert found.memory.average == sum(t.numel() * t.element_size() for t in own)


def test_a_dry_run_trains_nothing_and_says_what_would_be(command: Command) -> None:
    before = set(Path().iterdir())
    code, out, err = command("train", "tiny.toml", "--dry-run", "--out", "first.png", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert set(Path().iterdir()) - before == {Path("first.png")}
    with Image.open("first.png") as sheet:
        assert sheet.width == sheet.height > 4 * 60  # 16 pictures
    assert (found["folder"], found["state"], found["iterations"]) == ("runs/00000-tiny-digits", "new", 30)
    assert (found["data"]["examples"], found["data"]["provides"], len(found["first"])) == (1439, ["label"], 4)
    critic, generator = sorted(found["players"], key=lambda player: str(player["name"]))
    assert (critic["optimiser"], critic["warmup"], critic["decay"]) == ("rmsprop", 7, "cosine")
    assert "2 times an iteration" in critic["moves"][0] and generator["optimiser"] == "adam"
    code, out, _ = command("train", "tiny.toml", "--dry-run")
    sheet_path = Path(next(line for line in out.splitlines() if "sheet" in line).split()[1].rstrip(","))
    assert code == 0 and sheet_path.is_file()
    sheet_path.unlink()
    assert "30 iterations, in batches of 16: 0.3 passes" in out and "warm-up of 7" in out


def test_a_dry_run_shows_what_holds_a_player(command: Command) -> None:
    held = ("--set", "players.critic.clip=0.5", "--set", "players.critic.bound=0.01")
    _, out, _ = command("train", "tiny.toml", "--dry-run", *held, "--out", "first.png")
    assert ", clip 0.5, bound 0.01" in out
    _, out, _ = command("train", "tiny.toml", "--dry-run", *held, "--out", "first.png", "--json")
    assert {p["name"]: p["bound"] for p in json.loads(out)["players"]} == {"critic": 0.01, "generator": None}


def test_a_dry_run_knows_the_run_that_would_go_on(command: Command) -> None:
    assert command("train", "gaussian", "--data", "digits", "--size", 8, "--out", "mine")[0] == 0
    ask = ("train", "gaussian", "--data", "digits", "--size", 8, "--dry-run", "--json")
    code, out, _ = command(*ask, "--out", "mine")
    assert code == 0 and (json.loads(out)["folder"], json.loads(out)["state"]) == ("mine", "finished")
    code, out, err = command(*ask, "--out", "mine", "--fresh")
    assert code == 0 and json.loads(out)["state"] == "new", err  # what lies there is set aside
    code, out, _ = command(*ask)
    assert json.loads(out)["players"] == [] and json.loads(out)["memory"]["gradients"] == 0


def test_a_dry_run_shows_pairs_and_names_files_that_cannot_be_used(command: Command) -> None:
    Path("mine").mkdir()
    for k in range(40):
        Image.new("RGB", (16, 16), (6 * k, 90, 40)).save(f"mine/{k}.png")
    Path("mine/bad.png").write_bytes(b"no picture")
    code, out, err = command(
        "train", "cyclegan", "--data", "mine", "--pair", "blur:2", "--size", 16, "--dry-run", "--json",
        "--set", "model.ngf=2", "--set", "model.ndf=2", "--set", "model.blocks=1", "--batch", 4, "--out", "a.png",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["data"]["skipped"] == 1 and "bad.png" in found["data"]["why"][0]
    assert found["data"]["provides"] == ["source"]
    with Image.open("a.png") as sheet:
        assert sheet.width > 1.8 * sheet.height  # each picture beside its source


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("flow-matching", "--data", "digits", "--size", "8", "--set", "model.network.multiples=[1,1,1,1,1]"), "8"),
        (("tiny.toml", "--set", "players.critik.lr=1"), "critic"),
        (("tiny.toml", "--set", "model.wdth=1"), "width"),
        (("align-draw", "--data", "digits"), "needs caption"),
    ],
)
def test_a_dry_run_fails_where_the_training_would(command: Command, options: tuple[str, ...], said: str) -> None:
    code, out, err = command("train", *options, "--dry-run")
    assert code == 2 and out == "" and said in err, err
    assert not Path("runs").exists()
