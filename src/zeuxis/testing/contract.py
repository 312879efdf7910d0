"""The contract that every system keeps: one function for each promise, and the table of them.

Each takes a :class:`~zeuxis.testing.case.Case` and raises :class:`~zeuxis.testing.case.ContractBroken`, whose message
says what is not so. ``tests/test_contract.py`` and ``tests/test_contract_training.py`` run them over the whole
catalogue, ``zeuxis test-system`` over a file of the user's.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from zeuxis.catalog.assemble import load_given, trained_by
from zeuxis.catalog.build import build, given_models
from zeuxis.catalog.listing import entry
from zeuxis.catalog.weights import load_system
from zeuxis.data.batches import Batches
from zeuxis.distributions.flow import Flow
from zeuxis.game import System
from zeuxis.recipe import Recipe, Train
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec
from zeuxis.testing.case import BATCH, Case, ContractBroken, Harness, require
from zeuxis.testing.distance import distance
from zeuxis.training.checkpoint import write_model
from zeuxis.training.given import given_systems
from zeuxis.training.trainer import Trainer

ROUNDS = Train.model_validate({"iterations": 4, "batch": BATCH, "ema": 0.9, "save_minutes": 60, "preview_minutes": 60})
LONGEST, SHARE = 64, 0.1  # rounds in which eight pictures are learnt, and by what share they come nearer at least
WARM, SEEN = 4, 8  # rounds before the clock has run out, and losses of which a mean is taken
PATIENCE = 30  # rounds in which every parameter gets a gradient: some layers start at zero, one behind another
COMPANY = 2e-3  # of how far a batch is apart: sums over batches of other sizes are rounded otherwise
ROUNDING = 1e-5  # of values about 1


def card_is_kept(case: Case) -> None:
    """The class has what its card claims, and says what it is."""
    found = entry(case.recipe.system)
    cls = case.kind
    for verb in sorted(found.card.verbs):
        require(getattr(cls, verb) is not getattr(System, verb), f"its card claims {verb}, and the class lacks it")
    require(bool(found.doc), f"class {found.class_name} has no docstring")
    foreign = sorted(case.can - found.card.verbs)
    require(not foreign, f"an instance can {', '.join(foreign)}, which its card does not claim")
    if "decode" in case.can:
        wrong = f"an instance decodes {case.latents}, and its card says {found.card.latents}"
        require(case.latents == found.card.latents, wrong)


def moves_change_their_own_player(case: Case) -> None:
    """Losses and weights stay finite, a move changes nothing of another player, and every parameter learns."""
    system = case.built()
    harness = Harness(system, Batches(case.source, BATCH, 0), case.device, watches=True)
    trained = {id(p) for player in harness.players for p in player.parameters()}
    nobody = [n for n, p in system.named_parameters() if p.requires_grad and id(p) not in trained]
    require(not nobody, f"no player has {', '.join(nobody[:5])}: give them to one, or freeze them")
    harness.rounds(3)
    harness.hurry()
    while not trained <= harness.moved and harness.round < PATIENCE:
        harness.rounds(1)
    for name, value in system.state_dict().items():
        finite = not value.is_floating_point() or torch.isfinite(value).all()
        require(finite, f"{name} is not finite after {harness.round} rounds")
    idle = [n for n, p in system.named_parameters() if id(p) in trained and id(p) not in harness.moved]
    require(not idle, f"no gradient but zero in {harness.round} rounds: {', '.join(idle[:5])}")


def seed_is_a_picture(case: Case) -> None:
    """The same seed draws the same picture, alone and in any company; others draw others."""
    system = case.fitted()
    how = case.short
    condition = case.batch(5).condition.only(system.conditions)
    with torch.inference_mode():
        together = system.sample(condition, ImageRng.counting(7, 5), how)
        two, one = slice(2), slice(4, 5)
        apart = [system.sample(condition[rows], ImageRng(range(7, 12)[rows]), how) for rows in (two, one)]
        again = system.sample(condition, ImageRng.counting(7, 5), how)
        others = system.sample(condition, ImageRng.counting(100, 5), how)
    wanted = (5, *system.shape)
    require(together.shape == wanted, f"five pictures have the shape {tuple(together.shape)}, not {wanted}")
    require(torch.isfinite(together).all(), "pixels are not finite")
    low, high = float(together.min()), float(together.max())
    require(low >= -1 and high <= 1, f"pixels lie in [{low:.3g}, {high:.3g}], not in [-1, 1]")
    require(torch.equal(together, again), "the same call made other pictures: draw from the given rng alone")
    _keeps_to_itself("a picture", together, torch.cat([apart[0], together[2:4], apart[1]]))
    if not {"source", "layout"} & system.conditions:  # a translation may well be deterministic
        require(not torch.equal(together, others), "other seeds draw the same pictures")


def _keeps_to_itself(what: str, together: Tensor, alone: Tensor) -> None:
    """Refuse rows that are other alone than together, by more than a little of what tells the rows apart."""
    spread = float((together - together.mean(0)).abs().max())
    apart, size = float((together - alone).abs().max()), float(together.abs().max())
    bound = COMPANY * min(1.0, spread) + ROUNDING * max(1.0, size)
    require(apart <= bound, f"{what} depends on its company: it differs by {apart:.3g} when made alone")


def denoiser_runs_from_noise_to_data(case: Case) -> None:
    """Its levels descend to 0, and what it makes of a noisy picture is finite and does not depend on its company.

    A system that encodes pictures denoises what it makes of them.
    """
    system = case.fitted()
    levels = system.levels()
    descends = levels.ndim == 1 and levels[0] > 1 and levels[-1] == 0 and bool((levels.diff() < 0).all())
    require(descends, f"levels do not descend from noise to 0: {levels.tolist()[:8]}")
    batch = case.batch(3)
    condition = batch.condition.only(system.conditions)
    with torch.no_grad():
        clean = system.encode(batch.image) if "encode" in system.can else batch.image
        for sigma in (levels[0], levels[-2]):
            x = clean + sigma * Stream(1).normal(*clean.shape, device=case.device)
            x0 = system.denoiser(condition, 3)(x, sigma.expand(3).to(x))
            require(x0.shape == x.shape and bool(torch.isfinite(x0).all()), f"x0 is not finite at sigma {sigma:.4g}")
            rows = [slice(k, k + 1) for k in range(3)]
            alone = torch.cat([system.denoiser(condition[k], 1)(x[k], sigma.expand(1).to(x)) for k in rows])
            _keeps_to_itself(f"x0 at sigma {sigma:.4g}", x0, alone)


def last_step_is_the_picture(case: Case) -> None:
    """``draw_steps`` ends in what ``sample`` gives."""
    system = case.fitted()
    condition = case.batch(3).condition.only(system.conditions)
    with torch.inference_mode():
        steps = system.draw_steps(condition, ImageRng.counting(7, 3))
        picture = system.sample(condition, ImageRng.counting(7, 3))
    fits = steps.shape[0] == 3 and tuple(steps.shape[2:]) == tuple(system.shape)
    require(fits, f"steps of three pictures have the shape {tuple(steps.shape)}, not (3, T, C, H, W)")
    require(steps.abs().max() <= 1, "pixels of steps lie outside [-1, 1]")
    require(torch.equal(steps[:, -1], picture), "the last step is not the picture of the same seed")


def encodings_keep_to_themselves(case: Case) -> None:
    """An encoding does not depend on its company, and what claims to decode gives pictures."""
    system = case.fitted()
    image = case.batch(4).image
    with torch.inference_mode():
        together = system.encode(image)
        alone = torch.cat([system.encode(image[k : k + 1]) for k in range(4)])
        _keeps_to_itself("an encoding", together.float(), alone.float())
        if "decode" in system.can:
            made = system.decode(together)
            require(made.shape == image.shape, f"decoded {tuple(made.shape)}, encoded {tuple(image.shape)}")


def latents_are_decoded(case: Case) -> None:
    """The latents that samples are drawn from do not depend on their company, and decode to pictures."""
    system = case.fitted()
    condition = case.batch(4).condition.only(system.conditions)
    with torch.inference_mode():
        together = system.draw_latents(condition, ImageRng.counting(7, 4))
        alone = [system.draw_latents(condition[slice(k, k + 1)], ImageRng([7 + k])) for k in range(4)]
        _keeps_to_itself("a latent", together, torch.cat(alone))
        made = system.decode(together)
    require(made.shape == (4, *system.shape), f"four latents are decoded to {tuple(made.shape)}")
    require(torch.isfinite(made).all(), "what latents are decoded to is not finite")


def likelihoods_prefer_data(case: Case) -> None:
    """Likelihoods are finite, one for each picture, and higher for the data than for noise."""
    system = case.fitted(rounds=40)  # after fewer some are so far off that one of the wrong sign would do
    image = case.batch(4).image
    noise = Stream(0).uniform(*image.shape, device=case.device) * 2 - 1
    with torch.inference_mode():
        told = system.log_prob(torch.cat([image, noise]), Stream(1))
    require(told.shape == (8,), f"log_prob of eight pictures has the shape {tuple(told.shape)}, not (8,)")
    real, random = told.chunk(2)
    require(torch.isfinite(real).all(), "log_prob is not finite")
    of, than = float(real.mean()), float(random.mean())
    require(of > than, f"noise is as likely as the data: {than:.4g} and {of:.4g} nats")


def flow_is_inverted(case: Case) -> None:
    """A flow is inverted by its inverse, and its log-determinant is that of the Jacobian; on pictures of 4 pixels."""
    small = Case(case.recipe.model_copy(update={"size": 4}), case.device)
    system, draws = small.built(), Stream(3)
    if small.players:  # away from the start, where a flow may be the identity
        with torch.no_grad():
            for p in system.parameters():
                p.add_(0.2 * draws.normal(*p.shape, device=case.device))
    else:
        system = small.fitted()
    system.requires_grad_(False).eval()
    flow, image = system.flow, small.batch(3).image
    require(flow is not None, "it has no flow at 4 pixels a side")
    assert flow is not None
    z, log_det = flow.forward_and_log_det(image)
    latent = draws.normal(3, z.shape[1], device=case.device)
    density = -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi) + log_det
    found = torch.stack([_log_volume(flow, x) for x in image])
    for name, one, other, rtol, atol in (
        ("encode is not the flow", system.encode(image), z, 1e-5, 1e-5),
        ("decode does not undo encode", system.decode(z.float()), image, 0, 1e-3),
        ("encode does not undo decode", system.encode(system.decode(latent)), latent, 0, 1e-3),
        ("the log-determinant is not that of the Jacobian", log_det, found, 1e-4, 1e-3),
        ("log_prob is not that of the flow", system.log_prob(image, draws), density, 1e-5, 1e-3),
    ):
        same = torch.allclose(one.double(), other.double(), rtol=rtol, atol=atol)
        require(same, f"{name}: they differ by {float((one - other).abs().max()):.3g}")


def _log_volume(flow: Flow, x: Tensor) -> Tensor:
    """log |det| of the flow's Jacobian at a picture ``(C, H, W)``, by differentiation."""
    slope = jacobian(lambda v: flow.forward_and_log_det(v.view(1, *x.shape))[0][0], x.flatten())
    require(not torch.equal(slope, torch.eye(len(slope)).to(slope)), "the flow is the identity: nothing is checked")
    return torch.linalg.slogdet(slope.double()).logabsdet


def saved_is_loaded(case: Case) -> None:
    """A model that was saved and loaded is equal, bit for bit."""
    system = case.fitted()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model", system, {"data": "toy"})
        loaded, _ = load_system(folder)
    saved, found = system.state_dict(), loaded.state_dict()
    require(found.keys() == saved.keys(), f"other tensors were loaded: {sorted(found.keys() ^ saved.keys())[:3]}")
    differing = [name for name, value in saved.items() if not torch.equal(found[name], value.cpu())]
    require(not differing, f"loaded otherwise than saved: {', '.join(differing[:3])}")
    constants = dict(loaded.named_buffers())  # of which no file holds some
    differing = [name for name, value in system.named_buffers() if not torch.equal(constants[name], value.cpu())]
    require(not differing, f"constants are made otherwise on loading: {', '.join(differing[:3])}")


def resumed_is_uninterrupted(case: Case) -> None:
    """A training that was stopped and went on is equal to one that was not, bit for bit."""
    with tempfile.TemporaryDirectory() as folder:

        def begun() -> Trainer:
            stream = Batches(case.source, BATCH, 0)
            players = case.recipe.players
            return Trainer(case.built(), stream, ROUNDS, Path(folder), players=players, device=case.device)

        whole = begun()
        while whole.round < 2:
            whole.play()
        kept = {k: v.clone() for k, v in whole.system.state_dict().items()}
        place = whole.batches.state(), whole.rng.state().tolist()
        whole.save()
        same = all(torch.equal(v, kept[k]) for k, v in whole.system.state_dict().items())
        same &= place == (whole.batches.state(), whole.rng.state().tolist())
        require(same, "saving changes the training that is saved")
        parts = begun()
        parts.resume()
        require(parts.round == 2, f"a training that was saved after round 2 goes on from round {parts.round}")
        for made in (whole, parts):  # one goes on as it is, the other from what was saved
            while made.progress < 1:
                made.play()
    for kind in ("system", "average"):
        one, other = getattr(parts, kind).state_dict(), getattr(whole, kind).state_dict()
        differing = [k for k in one if not torch.equal(one[k], other[k])]
        require(not differing, f"the resumed {kind} differs in {', '.join(differing[:3])}")
    require(torch.equal(parts.rng.state(), whole.rng.state()), "the resumed training draws other random numbers")
    require(parts.batches.state() == whole.batches.state(), "the resumed training meets other batches")


def eight_images_are_learnt(case: Case) -> None:
    """A game learns eight pictures: they become likelier, or what is drawn comes nearer to them, or what is rebuilt.

    What it makes decides. A loss does so only where nothing is made (of a classifier): of a game of several players,
    and of a difference of energies, it says nothing. What steers a given diffusion model, whose draws are first of all
    that model's, may show by either that it learns.
    """
    system = case.built()
    harness = Harness(system, Batches(case.toy(8), 8, 0), case.device)
    harness.hurry()
    batch = harness.stream.next().to(case.device)
    harness.rounds(WARM)  # the clock runs out: what is asked no longer changes
    made = distance(case, case.built(), batch)
    steers = any("denoiser" in given.can for given in given_systems(system).values())
    before = {} if made is None else dict([made])
    if made is None or steers:
        begun = len(harness.losses)
        harness.rounds(SEEN)
        before["the loss"] = sum(harness.losses[begun:]) / len(harness.losses[begun:])
    now, least = before, SEEN if "the loss" in before else WARM
    while harness.round < LONGEST:
        further = max(least, harness.round // 2)  # what learns fast is looked at soon, what is slow seldom
        harness.rounds(min(further, LONGEST - harness.round))
        later = distance(case, system, batch)
        now = {"the loss": sum(harness.losses[-SEEN:]) / SEEN, **({} if later is None else dict([later]))}
        if any(now[name] < value - SHARE * abs(value) for name, value in before.items()):
            return
    went = " and ".join(f"{name} went from {value:.4g} to {now[name]:.4g}" for name, value in before.items())
    raise ContractBroken(f"on eight pictures {went} in {harness.round} rounds")


def published_counts(case: Case) -> None:
    """At the size that the recipe pins, each network has as many parameters as were published."""
    recipe = case.recipe
    system = _without_memory(recipe, case.toy(2).spec)
    for name, wanted in recipe.counts.items():
        counted = sum(p.numel() for p in system.get_submodule(name).parameters())
        require(counted == wanted, f"{name} has {counted:,} parameters, {wanted:,} are published")


def _without_memory(recipe: Recipe, spec: DataSpec) -> System:
    """The system of a recipe, and those that it names and that are to be trained first, as shapes alone."""
    given = {}
    for key, name in given_models(recipe).items():
        first = trained_by(name)
        given[key] = load_given(name) if first is None else _without_memory(first, spec)
    with torch.device("meta"):
        return build(recipe.system, spec, recipe.model | given)


@dataclass(frozen=True)
class Check:
    """A promise, in words, the function that checks it, and whom it concerns."""

    promise: str
    run: Callable[[Case], None]
    concerns: Callable[[Case], bool] = lambda case: True

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")


def _plays(case: Case) -> bool:
    return case.players > 0


def _verb(verb: str) -> Callable[[Case], bool]:
    return lambda case: verb in case.can


# Add a promise here: one function above, one line below.
CHECKS = (
    Check("the class has what its card claims", card_is_kept),
    Check("each move changes its own player alone, every parameter learns", moves_change_their_own_player, _plays),
    Check("the same seed draws the same picture in any company", seed_is_a_picture, _verb("sample")),
    Check("a denoiser runs from noise to data", denoiser_runs_from_noise_to_data, _verb("denoiser")),
    Check("the last step of drawing is the picture", last_step_is_the_picture, _verb("draw_steps")),
    Check("encodings do not depend on company", encodings_keep_to_themselves, _verb("encode")),
    Check("latents are decoded", latents_are_decoded, _verb("draw_latents")),
    Check("likelihoods are finite and prefer data to noise", likelihoods_prefer_data, _verb("log_prob")),
    Check("a flow is inverted, its Jacobian as it says", flow_is_inverted, lambda case: case.flows),
    Check("saved is loaded, bit for bit", saved_is_loaded),
    Check("resumed is uninterrupted, bit for bit", resumed_is_uninterrupted, _plays),
    Check("eight pictures can be learnt", eight_images_are_learnt, _plays),
)
# Of a recipe that pins the published size: it is built without memory, and nothing else is checked on it.
COUNTS = Check("each network has the published count", published_counts)
