"""How far what a system makes is from some pictures: what shows that it learns them, where a loss does not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from zeuxis.batch import Batch
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.testing.case import Case
from zeuxis.training.given import given_systems

STEPS = 8  # of a sampler over a denoiser, which comes to a picture in any number of them


def distance(case: Case, system: System, batch: Batch) -> tuple[str, float] | None:
    """How far what ``system`` makes is from the pictures of ``batch``, and what that is; None where it makes none, or
    what a teacher makes."""
    if system.distils:
        return None
    system.eval()
    coders = [s for s in given_systems(system).values() if s.shape == system.shape and {"encode", "decode"} <= s.can]
    with torch.no_grad():
        image = batch.image
        for coder in coders:  # all that a model of its codes can come to is what it decodes
            image = coder.decode(coder.encode(image))
        if "log_prob" in system.can:
            made = "their unlikelihood in nats", -system.log_prob(batch.image, Stream(0)).mean()
        elif {"encode", "denoiser"} <= system.can:  # of latents: what an untrained first stage draws of them says less
            made = "the squared error of what is denoised, over the variance", _denoised_error(system, batch)
        elif {"encode", "decode"} <= system.can and not coders:
            made = "the squared error of their rebuilding", mse_loss(system.decode(system.encode(image)), image)
        elif "sample" in system.can:
            how = Sampling(**{**case.recipe.sample, **({"steps": STEPS} if _any_steps(system) else {})})
            condition = batch.condition.only(system.conditions)
            drawn = system.sample(condition, ImageRng.counting(7, len(batch)), how)
            made = "the energy distance of what is drawn", energy_distance(drawn, image)
        else:
            return None
    system.train()
    return made[0], float(made[1])


def _denoised_error(system: System, batch: Batch) -> Tensor:
    """How far the denoiser's answers are from the codes of the pictures, under noise of the middle level, as a share of
    those codes' variance: a scale that is measured in training is not learning."""
    code, levels = system.encode(batch.image), system.levels()
    sigma = levels[len(levels) // 2].expand(len(code)).to(code)
    x = code + sigma.view(-1, *[1] * (code.ndim - 1)) * Stream(7).normal(*code.shape, device=code.device)
    condition = batch.condition.only(system.conditions - {"source", "mask"})
    return mse_loss(system.denoiser(condition, len(code))(x, sigma), code) / code.var(correction=0)


def _any_steps(system: System) -> bool:
    """Whether it draws by a sampler over a denoiser whose steps may be chosen."""
    return "denoiser" in system.can and "steps" in system.knobs


def energy_distance(one: Tensor, other: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| (Szekely & Rizzo 2013) of two sets of pictures: 0 where they are the same."""
    x, y = one.flatten(1), other.flatten(1)  # (B, C H W)
    return 2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()
