"""A picture edited by a model that was trained for no such thing: nearer with less strength, the rest bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image
from torch import Tensor, nn

from zeuxis.api.edit import edit
from zeuxis.api.model import Model, load
from zeuxis.api.replay import likeness, replay
from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.editing import last_share
from zeuxis.editing.sdedit import edited
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng
from zeuxis.systems.diffusion.ncsn import NCSN
from zeuxis.systems.diffusion.score_sde import ScoreSDE
from zeuxis.verbs import Verbs

CAPTION = "a small red circle above a large green star at night"
SHORT = {"steps": 10}


@pytest.fixture(scope="module")
def scenes() -> Model:
    return load("scenes")


@pytest.fixture(scope="module")
def given(scenes: Model) -> Image.Image:
    return scenes.sample(1, 3, caption="a small red circle above a large blue square at night", knobs=SHORT)[0]


def away(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one).astype(float) - np.asarray(other)).mean())


def test_less_strength_stays_nearer_to_the_picture(scenes: Model, given: Image.Image) -> None:
    found = [away(edit(scenes, given, strength=s, knobs=SHORT, caption=CAPTION)[0], given) for s in (0.2, 0.5, 1.0)]
    assert 0 < found[0] < found[1] < found[2]


def test_what_is_asked_of_sampling_and_is_an_edit_is_told_so(scenes: Model, given: Image.Image) -> None:
    for field in ("source", "mask"):
        with pytest.raises(Unsupported, match=f"not conditioned on a {field}; zeuxis edit scenes PICTURE"):
            scenes.sample(1, caption=CAPTION, **{field: given})
    with pytest.raises(Unsupported, match=r"no knob 'strength', which is an edit's \(zeuxis edit MODEL PICTURE"):
        scenes.sample(1, caption=CAPTION, knobs={"strength": 0.5})


def test_what_a_mask_leaves_out_stays_and_the_rest_is_what_the_caption_says(scenes: Model, given: Image.Image) -> None:
    mask = np.zeros((32, 32), bool)
    mask[16:] = True
    made = edit(scenes, given, mask, 2, 7, knobs=SHORT, caption=CAPTION)
    before, after = np.asarray(given).astype(int), np.asarray(made[1]).astype(int)
    assert np.array_equal(before[:16], after[:16])
    assert (after[16:, :, 1] - after[16:, :, 2]).max() > 60  # green, where it was blue
    assert (before[16:, :, 1] - before[16:, :, 2]).max() < 30
    again, differs = replay(made.records[1], source=given, mask=mask)
    assert not differs and likeness(again[0], made[1]).identical
    with pytest.raises(Unsupported, match="give it again"):
        replay(made.records[1])


def test_a_seed_is_a_picture_whatever_the_batch(scenes: Model, given: Image.Image) -> None:
    two = edit(scenes, given, None, 2, 4, knobs=SHORT, caption=CAPTION)
    alone = edit(scenes, given, None, 1, 5, knobs=SHORT, caption=CAPTION)
    assert likeness(two[1], alone[0]).same and not likeness(two[0], alone[0]).same


def test_strength_is_a_share_of_the_steps_rounded_down() -> None:
    levels = torch.linspace(10, 0, 11)
    for strength, taken in ((0.1, 1), (0.29, 2), (0.3, 3), (0.7, 7), (0.99, 9), (1.0, 10)):
        assert torch.equal(last_share(levels, strength), levels[10 - taken :]), strength
    for strength, says in (
        (0.0, "no step"),
        (0.09, "no step"),
        (-0.5, "a share"),
        (1.5, "a share"),
        (math.nan, "a share"),
    ):
        with pytest.raises(UsageError, match=says):
            last_share(levels, strength)


@pytest.mark.parametrize(("make", "own"), [(ScoreSDE, "predictor-corrector"), (NCSN, "annealed-langevin")])
def test_a_model_with_a_walk_of_its_own_is_edited_by_it(make: type[System], own: str) -> None:
    system = make(Shape(1, 8, 8), network={"kind": "unet", "width": 32, "multiples": (1, 2), "blocks": 1})  # type: ignore[call-arg]
    picture, rng = torch.zeros(1, 1, 8, 8), ImageRng([0])
    assert system.settings(Sampling()).sampler == own
    edits = [edited(system, picture, None, s, Condition(), rng, Sampling(steps=4)) for s in (0.25, 1.0)]
    assert all(bool(torch.isfinite(made).all()) for made in edits)
    assert float(edits[0].abs().mean()) < float(edits[1].abs().mean())


def test_what_cannot_be_edited_is_refused_in_words(scenes: Model, given: Image.Image) -> None:
    with pytest.raises(Unsupported, match="out of noise"):
        edit(load("cvae"), given, label=3)
    with pytest.raises(UsageError, match="no step"):
        edit(scenes, given, strength=0.01, knobs=SHORT, caption=CAPTION)
    with pytest.raises(UsageError, match="marks nothing"):
        edit(scenes, given, np.zeros((32, 32), bool), caption=CAPTION)
    with pytest.raises(UsageError, match="of the source's size"):
        edit(scenes, given, np.ones((16, 32), bool), caption=CAPTION)
    with pytest.raises(UsageError, match="strength"):
        edit(scenes, given, strength=1.5, caption=CAPTION)


class Halving(Verbs):
    """A first stage that halves pictures in side and in value, and a denoiser that knows one latent, a quarter."""

    card = Card(
        "halving",
        title="Halving",
        family="diffusion",
        year=2022,
        paper="none",
        verbs={"sample", "denoiser", "encode", "decode"},
        knobs=("sampler",),
    )

    def __init__(self) -> None:
        super().__init__()
        self.config = {"sampler": "euler"}

    def encode(self, image: Tensor) -> Tensor:
        return image[:, :, ::2, ::2] / 2

    def decode(self, latent: Tensor) -> Tensor:
        return 2 * nn.functional.interpolate(latent, scale_factor=2)

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        return torch.tensor([10.0, 5.0, 1.0, 0.1, 0.0])

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()):  # type: ignore[no-untyped-def]
        return lambda x, sigma: torch.full_like(x, 0.25)


def test_latents_are_put_under_noise_where_the_model_draws_those() -> None:
    picture, make = -torch.ones(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    whole = edited(Halving(), picture, None, 0.5, Condition(), ImageRng([0, 1]))
    assert torch.allclose(whole, torch.full_like(whole, 0.5), atol=1e-5)
    make[:, :, 3, 3] = 1  # one pixel, of which the latent around it is made
    part = edited(Halving(), picture, make, 1.0, Condition(), ImageRng([0, 1]))
    assert torch.allclose(part[:, :, 3, 3], torch.tensor(0.5), atol=1e-5) and int((part != picture).sum()) == 2 * 3


class Normal(Halving):
    """A denoiser of independent N(0, 1), by latents that end at the level of Stable Diffusion's chain."""

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        return torch.tensor([14.6, 3.0, 0.5, 0.0])

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()):  # type: ignore[no-untyped-def]
        return lambda x, sigma: x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2)


def test_at_strength_1_nothing_is_left_of_what_was_where_it_is_drawn() -> None:
    """Under noise of 14.6 alone the mean of a white picture would still be another than that of a black one."""
    black, white = -torch.ones(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    half = torch.zeros(1, 1, 8, 8)
    half[..., 4:] = 1

    def drawn(picture: Tensor, make: Tensor | None, strength: float) -> Tensor:
        return edited(Normal(), picture, make, strength, Condition(), ImageRng([3]))

    assert torch.equal(drawn(black, None, 1.0), drawn(white, None, 1.0))
    assert torch.equal(drawn(black, half, 1.0)[..., 4:], drawn(white, half, 1.0)[..., 4:])
    assert torch.equal(drawn(white, half, 1.0)[..., :4], white[..., :4])
    for make in (None, half):
        one, other = drawn(black, make, 0.7), drawn(white, make, 0.7)
        assert float((other - one)[..., 4:].mean()) > 0.1


def test_the_command_writes_them_with_their_records(command: Command, given: Image.Image, tmp_path: Path) -> None:
    given.save(tmp_path / "given.png")
    args = ("edit", "scenes", tmp_path / "given.png", "--caption", CAPTION, "--steps", "6", "--strength", "0.5")
    code, out, _ = command(*args, "-n", "2", "--out", tmp_path / "made", "--json")
    assert code == 0 and '"strength": 0.5' in out and len(list((tmp_path / "made").iterdir())) == 2
    assert command("edit", "cvae", tmp_path / "given.png")[0] in (1, 2)
    given.resize((64, 48)).save(tmp_path / "given.png")
    code, _, err = command(*args, "--out", tmp_path / "one.png")
    assert code == 0 and "given.png has 64x48 pixels, and 'scenes' learnt 32x32" in err
