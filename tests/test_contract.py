"""The contract that every system keeps. It is run on each one's smallest instance, as its recipe describes it."""

from __future__ import annotations

import copy
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import toy_source
from torch.autograd.functional import jacobian

from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.build import build
from zeuxis.catalog.listing import entries
from zeuxis.catalog.weights import load_system
from zeuxis.data.batches import Batches, epoch_batches
from zeuxis.game import System, Turn, play_round
from zeuxis.knobs import Sampling
from zeuxis.recipe import Recipe, Train, load_recipe, recipe_paths
from zeuxis.rng import ImageRng
from zeuxis.rng import Stream as Draws
from zeuxis.training.checkpoint import write_model
from zeuxis.training.optimiser import BUILDERS
from zeuxis.training.trainer import Trainer

GREY = {"fashion-mnist", "mnist", "digits"}
RECIPES = [r for r in map(load_recipe, recipe_paths()) if not r.counts]
TRAINED = [r for r in RECIPES if r.tiny or r.name == r.system]
SIZES = {r.name: r.size or 32 for r in RECIPES}
ROUNDS = Train(rounds=4, batch=6, ema=0.9, save_minutes=60, preview_minutes=60)


@cache
def source(recipe: str):
    r = load_recipe(recipe)
    return toy_source(1 if r.data in GREY else 3, r.size or 32)


@cache
def _built(recipe: str) -> System:
    r = load_recipe(recipe)
    return build_for(r.model_copy(update={"model": {**r.model, **r.tiny}}), source(recipe))


def tiny(recipe: Recipe) -> System:
    return copy.deepcopy(_built(recipe.name))


def games() -> list[Recipe]:
    return [r for r in TRAINED if _built(r.name).players()]


def with_verb(verb: str) -> list[Recipe]:
    return [r for r in TRAINED if verb in _built(r.name).can]


def fitted(recipe: Recipe, rounds: int = 3) -> System:
    """An instance that has learnt a little: some rounds, or its closed form."""
    system = tiny(recipe)
    if system.players():
        harness = Harness(system, recipe)
        harness.hurry()
        harness.rounds(rounds)
    else:
        system.fit(epoch_batches(source(recipe.name), 16))
    return system.eval()


class Harness:
    """Plays rounds with plain optimisers and remembers what each move changed."""

    def __init__(self, system: System, recipe: Recipe) -> None:
        self.system, self.players = system.train(), system.players()
        self.optimisers = {p.name: BUILDERS[p.optimiser](p) for p in self.players}
        self.stream, self.rng, self.round = Batches(source(recipe.name), 6, 0), Draws(0, "moves"), 0
        self.losses: list[float] = []
        self.touched: set[int] = set()

    def draw(self) -> list[Turn]:
        return [Turn(self.stream.next(), self.rng, self.round, min(1.0, self.round / 4))]

    def step(self, player, loss, turns) -> None:
        own = {id(p) for p in player.parameters()}
        before = {n: p.detach().clone() for n, p in self.system.named_parameters() if id(p) not in own}
        self.optimisers[player.name].zero_grad()
        value = loss(turns[0])
        if value is None:
            return
        assert value.ndim == 0 and torch.isfinite(value), f"{player.name}: loss {value}"
        value.backward()
        for p in self.system.parameters():
            if p.grad is not None:  # zero is a gradient: at the start some layers are silent, some terms cancel
                self.touched.add(id(p))
        self.optimisers[player.name].step()
        after = dict(self.system.named_parameters())
        changed = [n for n, value in before.items() if not torch.equal(value, after[n])]
        assert not changed, f"'{player.name}' moved and changed {changed[:3]} of another"
        self.losses.append(float(value.detach()))

    def hurry(self) -> None:
        """A learning rate at which few rounds show."""
        for group in (g for o in self.optimisers.values() for g in o.param_groups):
            group["lr"] = 2e-3

    def rounds(self, n: int) -> None:
        for _ in range(n):
            play_round(self.system, self.players, self.draw, self.step)
            self.round += 1


def ids(recipes: list[Recipe]) -> list[str]:
    return [r.name for r in recipes]


def test_every_system_has_a_recipe_of_its_own_name() -> None:
    # The networks that read pictures have one recipe for each dataset instead.
    lacking = {e.card.id for e in entries().values() if e.card.family != "recognition"} - set(recipe_paths())
    assert not lacking, f"systems without a desk recipe: {sorted(lacking)}"


@pytest.mark.parametrize("recipe", games(), ids=ids(games()))
def test_rounds_are_finite_and_every_parameter_learns(recipe: Recipe) -> None:
    system = tiny(recipe)
    harness = Harness(system, recipe)
    harness.rounds(3)
    for name, value in system.state_dict().items():
        assert not value.is_floating_point() or torch.isfinite(value).all(), f"{name} is not finite after three rounds"
    trained = {id(p) for player in harness.players for p in player.parameters()}
    idle = [n for n, p in system.named_parameters() if id(p) in trained and id(p) not in harness.touched]
    assert not idle, f"no gradient within three rounds: {idle[:5]}"


@pytest.mark.parametrize("recipe", with_verb("sample"), ids=ids(with_verb("sample")))
def test_a_seed_is_a_picture_in_any_company(recipe: Recipe) -> None:
    system = fitted(recipe)
    how = Sampling(**recipe.sample, **({"steps": 3} if "steps" in system.knobs else {}))
    batch = source(recipe.name).batch(torch.arange(5))
    condition = batch.condition.only(system.conditions)
    with torch.inference_mode():
        together = system.sample(condition, ImageRng.counting(7, 5), how)
        alone = torch.cat([system.sample(condition[slice(k, k + 1)], ImageRng([7 + k]), how) for k in range(5)])
        again = system.sample(condition, ImageRng.counting(7, 5), how)
        others = system.sample(condition, ImageRng.counting(100, 5), how)
    assert together.shape == (5, *system.shape)
    assert together.min() >= -1 and together.max() <= 1 and torch.isfinite(together).all()
    assert torch.equal(together, again), "the same call made other pictures"
    assert (together - alone).abs().max() < 2e-3, "a picture depends on its company"  # a quarter of a grey level
    if "source" not in system.conditions:  # a translation may well be deterministic
        assert not torch.equal(together, others), "seeds make no difference"


@pytest.mark.parametrize("recipe", with_verb("draw_steps"), ids=ids(with_verb("draw_steps")))
def test_the_last_step_is_the_picture(recipe: Recipe) -> None:
    system = fitted(recipe)
    condition = source(recipe.name).batch(torch.arange(3)).condition.only(system.conditions)
    with torch.inference_mode():
        steps = system.draw_steps(condition, ImageRng.counting(7, 3))
        picture = system.sample(condition, ImageRng.counting(7, 3))
    assert steps.shape[0] == 3 and steps.shape[2:] == system.shape and steps.abs().max() <= 1
    assert torch.equal(steps[:, -1], picture)


@pytest.mark.parametrize("recipe", with_verb("encode"), ids=ids(with_verb("encode")))
def test_encodings_do_not_depend_on_company(recipe: Recipe) -> None:
    system = fitted(recipe)
    image = source(recipe.name).batch(torch.arange(4)).image
    with torch.inference_mode():
        together = system.encode(image)
        alone = torch.cat([system.encode(image[k : k + 1]) for k in range(4)])
        assert torch.allclose(together.float(), alone.float(), atol=1e-4)
        if "decode" in system.can:
            assert system.decode(together).shape == image.shape


@pytest.mark.parametrize("recipe", with_verb("log_prob"), ids=ids(with_verb("log_prob")))
def test_likelihoods_are_finite_and_prefer_the_data_to_noise(recipe: Recipe) -> None:
    system = fitted(recipe, rounds=40)
    image = source(recipe.name).batch(torch.arange(4)).image
    noise = Draws(0).uniform(*image.shape) * 2 - 1
    with torch.inference_mode():
        real, random = system.log_prob(image, Draws(1)), system.log_prob(noise, Draws(1))
    assert real.shape == (4,) and torch.isfinite(real).all()
    assert real.mean() > random.mean()


FLOWS = [r for r in TRAINED if _built(r.name).flow is not None]


@pytest.mark.parametrize("recipe", FLOWS, ids=ids(FLOWS))
def test_a_flow_is_inverted_and_its_log_determinant_is_that_of_the_jacobian(recipe: Recipe) -> None:
    toy = toy_source(1 if recipe.data in GREY else 3, 4)
    system = build_for(recipe.model_copy(update={"size": 4, "model": {**recipe.model, **recipe.tiny}}), toy)
    draws = Draws(3)
    if system.players():  # away from the start, where a flow may be the identity
        with torch.no_grad():
            for p in system.parameters():
                p.add_(0.2 * draws.normal(*p.shape))
    else:
        system.fit(epoch_batches(toy, 16))
    system.requires_grad_(False).eval()
    flow, image = system.flow, toy.batch(torch.arange(3)).image
    assert flow is not None and {"encode", "decode", "log_prob"} <= system.can
    z, log_det = flow.forward_and_log_det(image)
    torch.testing.assert_close(system.encode(image), z.float())
    torch.testing.assert_close(system.decode(z.float()), image, rtol=0, atol=1e-3)
    latent = draws.normal(3, z.shape[1])
    torch.testing.assert_close(system.encode(system.decode(latent)), latent, rtol=0, atol=1e-3)
    for x, found in zip(image, log_det, strict=True):
        slope = jacobian(lambda v: flow.forward_and_log_det(v.view(1, *system.shape))[0][0], x.flatten())
        assert not torch.equal(slope, torch.eye(len(slope)))
        torch.testing.assert_close(found.double(), torch.linalg.slogdet(slope.double()).logabsdet, rtol=1e-4, atol=1e-3)
    expected = -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi) + log_det
    torch.testing.assert_close(system.log_prob(image, draws).double(), expected.double(), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("recipe", TRAINED, ids=ids(TRAINED))
def test_saved_is_loaded_bit_equal(recipe: Recipe, tmp_path: Path) -> None:
    system = fitted(recipe)
    write_model(tmp_path / "model", system, {"data": "toy"})
    loaded, _ = load_system(tmp_path)
    assert loaded.state_dict().keys() == system.state_dict().keys()
    for name, value in system.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    constants = dict(loaded.named_buffers())  # of which no file holds some
    for name, buffer in system.named_buffers():
        assert torch.equal(constants[name], buffer) and constants[name].dtype == buffer.dtype, name


@pytest.mark.parametrize("recipe", games(), ids=ids(games()))
def test_resumed_is_bit_equal_to_uninterrupted(recipe: Recipe, tmp_path: Path) -> None:
    def trainer(folder: Path, rounds: int) -> Trainer:
        # The learning rate follows progress, so both must know the same budget.
        plan = ROUNDS.model_copy(update={"batch": 6, "rounds": 4})
        made = Trainer(tiny(recipe), Batches(source(recipe.name), 6, 0), plan, folder, players=recipe.players)
        made.resume()
        while made.round < rounds:
            made.play()
        made.save()
        return made

    trainer(tmp_path / "parts", 2)
    parts, whole = trainer(tmp_path / "parts", 4), trainer(tmp_path / "whole", 4)
    for kind in ("system", "average"):
        one, other = getattr(parts, kind).state_dict(), getattr(whole, kind).state_dict()
        assert all(torch.equal(one[k], other[k]) for k in one), f"the resumed {kind} differs"
    assert torch.equal(parts.rng.state(), whole.rng.state())
    assert parts.batches.state() == whole.batches.state()


CONTRASTS = {"rbm"}  # of their losses only the gradients mean something
ONE_PLAYER = [r for r in games() if len(_built(r.name).players()) == 1 and r.system not in CONTRASTS]


@pytest.mark.parametrize("recipe", ONE_PLAYER, ids=ids(ONE_PLAYER))
def test_eight_images_can_be_learnt(recipe: Recipe) -> None:
    system = tiny(recipe)
    harness = Harness(system, recipe)
    harness.stream = Batches(toy_source(*source(recipe.name).shape[:2], n=8), 8, 0)
    harness.hurry()
    harness.rounds(4)  # the clock runs out: what is asked no longer changes
    begun = len(harness.losses)
    harness.rounds(60)
    early, late = sum(harness.losses[begun : begun + 8]) / 8, sum(harness.losses[-8:]) / 8
    assert late < early - 0.1 * abs(early), f"the loss went from {early:.4g} to {late:.4g} in 60 rounds"


@pytest.mark.parametrize("recipe", [r for r in games() if r.system in CONTRASTS], ids=lambda r: r.name)
def test_eight_images_become_likely(recipe: Recipe) -> None:
    system = tiny(recipe)
    harness = Harness(system, recipe)
    harness.stream = Batches(toy_source(*source(recipe.name).shape[:2], n=8), 8, 0)
    image = harness.stream.next().image
    early = float(system.log_prob(image, Draws(0)).mean())
    harness.rounds(60)
    late = float(system.log_prob(image, Draws(0)).mean())
    assert late > early + 0.1 * abs(early), f"the likelihood went from {early:.4g} to {late:.4g} nats in 60 rounds"


PINNED = [r for r in map(load_recipe, recipe_paths()) if r.counts]


@pytest.mark.parametrize("recipe", PINNED, ids=ids(PINNED))
def test_the_published_size_has_the_published_count(recipe: Recipe) -> None:
    toy = toy_source(1 if recipe.data in GREY else 3, recipe.size or 32, n=2)
    with torch.device("meta"):
        system = build(recipe.system, toy.spec, recipe.model)
    counted = {name: sum(p.numel() for p in system.get_submodule(name).parameters()) for name in recipe.counts}
    assert counted == recipe.counts


def test_cards_tell_what_the_class_can() -> None:
    for e in entries().values():
        cls = type(next(_built(r.name) for r in TRAINED if r.system == e.card.id))
        for verb in e.card.verbs:
            assert getattr(cls, verb) is not getattr(System, verb), f"{e.card.id} claims {verb} without having it"
        assert e.doc, f"{e.card.id} has no docstring"
