"""No promise of the contract is empty: a system is broken on purpose in each way, and the check must say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zeuxis.game import System
from zeuxis.recipe import load_recipe
from zeuxis.systems.adversarial.dcgan import DCGAN
from zeuxis.systems.autoencoder.align_draw import AlignDraw
from zeuxis.systems.autoencoder.vae import VAE
from zeuxis.systems.density.maf import MAF
from zeuxis.systems.diffusion.ddpm import DDPM
from zeuxis.systems.energy.ebm import EBM
from zeuxis.systems.recognition.classifier import Classifier
from zeuxis.testing import case as casing
from zeuxis.testing import contract
from zeuxis.testing.case import Case, ContractBroken
from zeuxis.testing.contract import CHECKS, COUNTS
from zeuxis.testing.distance import energy_distance
from zeuxis.training.trainer import Trainer

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
Change = Callable[[Any, Any], Any]  # of what a method returned, and the system


def returns(cls: type[System], method: str, change: Change) -> Plant:
    """``method`` of ``cls`` returns what ``change`` makes of its result."""

    def plant(patch: Patch) -> None:
        true = getattr(cls, method)
        patch.setattr(cls, method, lambda self, *args, **kwargs: change(true(self, *args, **kwargs), self))

    return plant


def built(change: Callable[[System], None]) -> Plant:
    """Every instance that is built is changed; one that is loaded is not."""

    def plant(patch: Patch) -> None:
        true = casing.build_for

        def build_for(*args: Any, **kwargs: Any) -> System:
            system = true(*args, **kwargs)
            change(system)
            return system

        patch.setattr(casing, "build_for", build_for)

    return plant


def constructed(cls: type[System], change: Callable[[System], None]) -> Plant:
    """The constructor of ``cls`` does ``change`` at its end, whoever calls it."""

    def plant(patch: Patch) -> None:
        true = cls.__init__

        @wraps(true)  # the constructor's keywords are what a recipe may say
        def __init__(self: System, *args: Any, **kwargs: Any) -> None:
            true(self, *args, **kwargs)
            change(self)

        patch.setattr(cls, "__init__", __init__)

    return plant


def replaced(where: object, name: str, value: Any) -> Plant:
    """``name`` of ``where`` is ``value``."""
    return lambda patch: patch.setattr(where, name, value)


def company(x: Tensor, system: System) -> Tensor:
    """Each row knows of the others."""
    return (x + 0.1 * x.mean(0, keepdim=True)).clamp(-1, 1)


def company_of_latents(z: Tensor, system: System) -> Tensor:
    """Each latent knows of the others."""
    return z + z.mean(0, keepdim=True)


def idle(system: System) -> None:
    """A parameter that nothing uses, in a player's network."""
    assert isinstance(system, VAE)
    system.encoder.register_parameter("idle", nn.Parameter(torch.ones(3)))


def zeroed(value: Tensor, system: VAE) -> Tensor:
    """A loss in which the decoder counts nothing: its gradients are there, and 0."""
    counted = sum(p.square().sum() for net in (system.encoder, system.likelihood) for p in net.parameters())
    return counted + 0 * sum(p.sum() for p in system.decoder.parameters())


def meddling(value: Tensor, system: DCGAN) -> Tensor:
    """A move of the generator that changes the discriminator."""
    next(system.discriminator.parameters()).data.add_(1)  # behind the back of autograd
    return value


def counting(value: Tensor, system: System) -> Tensor:
    """A loss that depends on how often it was asked for, which no checkpoint holds."""
    system.__dict__["asked"] = system.__dict__.get("asked", 0) + 1
    return value * system.__dict__["asked"]


def denoise_as(change: Callable[[Tensor], Tensor]) -> Plant:
    return returns(DDPM, "denoiser", lambda denoise, system: lambda x, sigma: change(denoise(x, sigma)))


def meddling_save(patch: Patch) -> None:
    """What is saved is changed by it."""
    save = Trainer.save

    def saved(self: Trainer) -> None:
        save(self)
        next(self.system.parameters()).data.add_(1)

    patch.setattr(Trainer, "save", saved)


def moved(loaded: tuple[System, dict[str, Any]]) -> tuple[System, dict[str, Any]]:
    with torch.no_grad():
        next(loaded[0].parameters()).add_(1e-6)
    return loaded


def constant(name: str) -> Callable[[System], None]:
    """A constant that is drawn anew whenever the system is built, and that no file holds."""
    return lambda system: system.register_buffer(name, torch.rand(3), persistent=False)


FOUND, LOAD = contract.entry, contract.load_system
NAN = float("nan")
# The check, the recipe, what is broken, and what must be said of it.
BROKEN: list[tuple[str, str, Plant, str]] = [
    ("card-is-kept", "vae", replaced(VAE, "decode", System.decode), "claims decode, and the class lacks it"),
    ("card-is-kept", "vae", replaced(contract, "entry", lambda n: replace(FOUND(n), doc="")), "has no docstring"),
    ("card-is-kept", "vae", replaced(VAE, "can", frozenset({"segment"})), "can segment, which its card does not claim"),
    ("moves-change-their-own-player", "vae", built(idle), "no gradient but zero in 30 rounds: encoder.idle"),
    ("moves-change-their-own-player", "vae", returns(VAE, "bound", zeroed), "no gradient but zero.*, decoder"),
    (
        "moves-change-their-own-player",
        "vae",
        built(lambda system: system.register_parameter("lost", nn.Parameter(torch.ones(2)))),
        "no player has lost",
    ),
    (
        "moves-change-their-own-player",
        "dcgan",
        returns(DCGAN, "generate", meddling),
        "changed discriminator.* of another",
    ),
    ("moves-change-their-own-player", "vae", returns(VAE, "bound", lambda x, s: x.expand(2)), "it is one number"),
    ("moves-change-their-own-player", "vae", returns(VAE, "bound", lambda x, s: x * NAN), "is nan in round 0"),
    ("moves-change-their-own-player", "vae", returns(VAE, "bound", lambda x, s: x.detach()), "depends on none"),
    (
        "moves-change-their-own-player",
        "vae",
        built(lambda system: system.register_buffer("lost", torch.full((2,), NAN))),
        "lost is not finite",
    ),
    ("seed-is-a-picture", "dcgan", returns(DCGAN, "sample", lambda x, s: x[..., 1:]), "have the shape"),
    ("seed-is-a-picture", "dcgan", returns(DCGAN, "sample", lambda x, s: x * NAN), "not finite"),
    ("seed-is-a-picture", "dcgan", returns(DCGAN, "sample", lambda x, s: x + 2), "pixels lie in"),
    (
        "seed-is-a-picture",
        "dcgan",
        returns(DCGAN, "sample", lambda x, s: 0.5 * x + 0.1 * torch.rand_like(x)),
        "draw from the given rng alone",
    ),
    ("seed-is-a-picture", "dcgan", returns(DCGAN, "sample", company), "depends on its company"),
    ("seed-is-a-picture", "dcgan", returns(DCGAN, "sample", lambda x, s: 0 * x), "other seeds draw the same"),
    ("denoiser-runs-from-noise-to-data", "ddpm", returns(DDPM, "levels", lambda x, s: x.flip(0)), "do not descend"),
    ("denoiser-runs-from-noise-to-data", "ddpm", denoise_as(lambda x: x * NAN), "x0 is not finite"),
    (
        "denoiser-runs-from-noise-to-data",
        "ddpm",
        denoise_as(lambda x: x + x.mean(0)),
        "x0 .* depends on its company",
    ),
    ("last-step-is-the-picture", "align-draw", returns(AlignDraw, "draw_steps", lambda x, s: x[0]), "have the shape"),
    ("last-step-is-the-picture", "align-draw", returns(AlignDraw, "draw_steps", lambda x, s: x + 2), "outside"),
    (
        "last-step-is-the-picture",
        "align-draw",
        returns(AlignDraw, "sample", lambda x, s: -x),
        "the last step is not the picture",
    ),
    ("encodings-keep-to-themselves", "vae", returns(VAE, "encode", company), "depends on its company"),
    ("encodings-keep-to-themselves", "vae", returns(VAE, "decode", lambda x, s: x[..., 1:]), "decoded"),
    ("likelihoods-prefer-data", "vae", returns(VAE, "log_prob", lambda x, s: x.mean()), "has the shape"),
    ("likelihoods-prefer-data", "vae", returns(VAE, "log_prob", lambda x, s: x * NAN), "log_prob is not finite"),
    ("likelihoods-prefer-data", "vae", returns(VAE, "log_prob", lambda x, s: -x), "noise is as likely as the data"),
    ("flow-is-inverted", "maf", returns(MAF, "encode", lambda z, s: 2 * z), "encode is not the flow"),
    ("flow-is-inverted", "maf", returns(MAF, "decode", lambda x, s: x + 0.1), "decode does not undo encode"),
    ("flow-is-inverted", "maf", returns(MAF, "log_prob", lambda x, s: x + 1), "log_prob is not that of the flow"),
    (
        "flow-is-inverted",
        "maf",
        replaced(contract, "_log_volume", lambda flow, x: torch.zeros(())),
        "the log-determinant is not that of the Jacobian",
    ),
    ("latents-are-decoded", "vae", returns(VAE, "draw_latents", company_of_latents), "a latent"),
    ("latents-are-decoded", "vae", returns(VAE, "decode", lambda x, s: x * NAN), "is not finite"),
    ("saved-is-loaded", "vae", replaced(contract, "load_system", lambda at: moved(LOAD(at))), "loaded otherwise than"),
    ("saved-is-loaded", "vae", constructed(VAE, constant("drawn")), "constants are made otherwise on loading: drawn"),
    ("resumed-is-uninterrupted", "vae", returns(VAE, "bound", counting), "the resumed system differs"),
    ("resumed-is-uninterrupted", "vae", meddling_save, "saving changes the training"),
    ("eight-images-are-learnt", "ebm", returns(EBM, "contrastive_loss", lambda x, s: -x), "the energy distance"),
    ("eight-images-are-learnt", "dcgan", returns(DCGAN, "generate", lambda x, s: -x), "the energy distance"),
    ("eight-images-are-learnt", "vae", returns(VAE, "bound", lambda x, s: 0 * x), "their unlikelihood"),
    ("eight-images-are-learnt", "features-digits", returns(Classifier, "learn", lambda x, s: 0 * x), "the loss went"),
]


@pytest.mark.parametrize(("check", "recipe", "plant", "says"), BROKEN, ids=lambda x: x if isinstance(x, str) else "")
def test_what_is_broken_is_found(check: str, recipe: str, plant: Plant, says: str, monkeypatch: Patch) -> None:
    plant(monkeypatch)
    (run,) = (known.run for known in CHECKS if known.name == check)
    with pytest.raises(ContractBroken, match=says):
        run(Case(load_recipe(recipe)))


def test_every_check_is_broken_above() -> None:
    assert {check for check, *_ in BROKEN} == {check.name for check in CHECKS}


def test_a_count_that_is_not_the_published_one_is_found() -> None:
    recipe = load_recipe("vae-paper")
    name, count = next(iter(recipe.counts.items()))
    with pytest.raises(ContractBroken, match=f"{count:,} parameters, {count + 1:,} are published"):
        COUNTS.run(Case(recipe.model_copy(update={"counts": {name: count + 1}})))


def test_the_energy_distance_is_that_of_its_formula() -> None:
    # Of single numbers by hand: x in {0, 2}, y in {1, 1}: 2 * 1 - 1 - 0.
    x, y = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1), torch.ones(2, 1, 1, 1)
    assert float(energy_distance(x, y)) == 1.0 and float(energy_distance(x, x.flip(0))) == 0.0
