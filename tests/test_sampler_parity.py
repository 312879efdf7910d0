"""Every sampler beside the same method in diffusers, at equal model output, equal levels and equal noise.

The model is a closed form that is not linear in x. Of each run all that the model is shown is compared, and what it
ends in; where diffusers is not installed the ends are compared with those pinned here, of diffusers 0.42.1 (float32;
DPM++ SDE with torchsde 0.2.6 and the noise of its halves as :func:`noise_of_halves` has it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from zeuxis.diffusion.path import VariancePreserving, append_dims, betas
from zeuxis.diffusion.sampler import (
    ancestral,
    ddim,
    dpmpp_2m,
    dpmpp_sde,
    euler,
    heun,
    lms,
    unipc,
)

LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
KARRAS = LINEAR | {"use_karras_sigmas": True}
X = torch.tensor([-1.2, -0.3, 0.4, 1.5], dtype=torch.float64).view(1, 1, 2, 2)  # of unit noise, before it is scaled
STEPS = 8


def denoised(x: Tensor, sigma: Tensor | float) -> Tensor:
    """E[x0 | x] where x0 is N(-0.6, 0.3^2) or N(0.4, 0.3^2), with probabilities 0.3 and 0.7."""
    weight, mean = torch.tensor([0.3, 0.7], dtype=x.dtype), torch.tensor([-0.6, 0.4], dtype=x.dtype)
    s2 = (append_dims(sigma, x) if isinstance(sigma, Tensor) else torch.tensor(sigma))[..., None] ** 2
    share = (weight.log() - (x[..., None] - mean) ** 2 / (2 * (0.09 + s2))).softmax(-1)
    return (share * (0.09 * x[..., None] + s2 * mean) / (0.09 + s2)).sum(-1)


class Given:
    """Noise that is written down: the k-th draw is 1.3 cos(1.7 i + 0.9 k), i counting its numbers."""

    def __init__(self) -> None:
        self.drawn = 0

    def normal(self, *shape: int, device: object = "cpu") -> Tensor:
        self.drawn += 1
        i = torch.arange(math.prod(shape), dtype=torch.float64)
        return (1.3 * torch.cos(1.7 * i + 0.9 * self.drawn)).reshape(shape)


Run = tuple[list[Tensor], Tensor]  # all that the model is shown, over sqrt(1 + sigma^2), and the end


def ours(solve: Callable[..., Tensor], levels: Tensor) -> Run:
    shown: list[Tensor] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        shown.append(x / append_dims((1 + sigma**2).sqrt(), x))
        return denoised(x, sigma)

    start = X * math.sqrt(1 + float(levels[0]) ** 2)
    return shown, solve(denoise, start, levels.double(), Given())


CHAINS = ("DDIMScheduler", "DDPMScheduler")  # they know steps of the chain, and no levels


def theirs(peer: Any, noise: Given, **how: Any) -> Run:
    """A scheduler's run, by what its documentation says of a pipeline; a chain's x_t or x itself in VE space."""
    shown: list[Tensor] = []
    sigmas = VariancePreserving(betas("linear")).sigmas.double()
    in_ve = type(peer).__name__ not in CHAINS and float(peer.init_noise_sigma) != 1
    x = X.clone() * (float(peer.sigmas[0] ** 2 + 1) ** 0.5 if in_ve else 1.0)
    for i, t in enumerate(peer.timesteps):
        if in_ve:
            at_t = peer.scale_model_input(x, t)
            sigma = float((x / at_t).square().mean() - 1) ** 0.5
        else:
            at_t = x
            sigma = float(sigmas[int(t)] if type(peer).__name__ in CHAINS else peer.sigmas[i])
        shown.append(at_t.double())
        ve = at_t.double() * math.sqrt(1 + sigma**2)
        epsilon = (ve - denoised(ve, sigma)) / sigma
        x = peer.step(epsilon, t, x, **how).prev_sample
    if settings_of(peer).get("solver_type") == "bh1":  # it multiplies 0 by infinity in a step to level 0
        assert not bool(x.isfinite().any())
        x = denoised(ve, sigma)
    return shown, x.double()


def settings_of(peer: Any) -> dict[str, Any]:
    return dict(peer.config)


def draws_from(monkeypatch: pytest.MonkeyPatch, peer: Any) -> Given:
    """Has a scheduler draw what ours draws."""
    import importlib

    given = Given()
    module = importlib.import_module(type(peer).__module__)
    # Those that draw nothing do not import it.
    monkeypatch.setattr(module, "randn_tensor", lambda shape, *_, **__: given.normal(*shape), raising=False)
    return given


def noise_of_halves(peer: Any, given: Given) -> Callable[[Any, Any], Tensor]:
    """What DPM++ SDE draws for the halves of its steps, as :func:`dpmpp_2s` has it."""

    def noises() -> Iterator[Tensor]:
        levels = [*peer.sigmas[:1], *peer.sigmas[1:-1:2]]
        for now, after in pairwise(levels):
            first, second = given.normal(1, 1, 2, 2), given.normal(1, 1, 2, 2)
            middle = (now * after) ** 0.5
            share = float((1 / middle**2 - 1 / now**2) / (1 / after**2 - 1 / now**2))
            yield first
            yield math.sqrt(share) * first + math.sqrt(1 - share) * second

    source = noises()
    return lambda sigma, after: next(source)


Case = tuple[Callable[..., Tensor], str, dict[str, Any], dict[str, Any]]
OFF = {"most": math.inf}
CASES: dict[str, Case] = {  # ours; the scheduler, how it is built, and what its steps are told
    "euler": (euler, "EulerDiscreteScheduler", KARRAS, {}),
    "euler ancestral": (ancestral, "EulerAncestralDiscreteScheduler", LINEAR, {}),
    "heun": (partial(heun, **OFF), "HeunDiscreteScheduler", KARRAS, {}),
    "lms": (lms, "LMSDiscreteScheduler", KARRAS, {}),
    "ddim": (ddim, "DDIMScheduler", LINEAR | {"clip_sample": False, "timestep_spacing": "trailing"}, {}),
    "ddim, eta 0.6": (
        partial(ddim, eta=0.6),
        "DDIMScheduler",
        LINEAR | {"clip_sample": False, "timestep_spacing": "trailing"},
        {"eta": 0.6},
    ),
    "ddpm": (ancestral, "DDPMScheduler", LINEAR | {"clip_sample": False, "timestep_spacing": "trailing"}, {}),
    "dpm++ 2m": (partial(dpmpp_2m, **OFF), "DPMSolverMultistepScheduler", KARRAS, {}),
    "dpm++ 2m sde": (
        partial(dpmpp_2m, eta=1.0, **OFF),
        "DPMSolverMultistepScheduler",
        KARRAS | {"algorithm_type": "sde-dpmsolver++"},
        {},
    ),
    "dpm++ sde": (dpmpp_sde, "DPMSolverSDEScheduler", KARRAS, {}),
    "unipc 2 bh2": (partial(unipc, **OFF), "UniPCMultistepScheduler", KARRAS, {}),
    "unipc 3 bh2": (partial(unipc, order=3, **OFF), "UniPCMultistepScheduler", KARRAS | {"solver_order": 3}, {}),
    "unipc 2 bh1": (
        partial(unipc, scale="bh1", **OFF),
        "UniPCMultistepScheduler",
        KARRAS | {"solver_type": "bh1"},
        {},
    ),
    "unipc 3 bh1": (
        partial(unipc, scale="bh1", order=3, **OFF),
        "UniPCMultistepScheduler",
        KARRAS | {"solver_type": "bh1", "solver_order": 3},
        {},
    ),
}


def levels_of(peer: Any) -> Tensor:
    """A scheduler's grid (N + 1,)."""
    if type(peer).__name__ not in CHAINS:
        # Those that ask twice a step hold every level but the first and the last twice.
        return torch.as_tensor(peer.sigmas).double().unique_consecutive()
    sigmas = VariancePreserving(betas("linear")).sigmas.double()
    return torch.cat([sigmas[peer.timesteps], sigmas.new_zeros(1)])


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_that_of_diffusers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    diffusers = pytest.importorskip("diffusers")
    solve, scheduler, settings, how = CASES[name]
    if scheduler == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    peer = getattr(diffusers, scheduler)(**settings)
    peer.set_timesteps(STEPS)
    given = draws_from(monkeypatch, peer)
    if scheduler == "DPMSolverSDEScheduler":
        peer.noise_sampler = noise_of_halves(peer, given)
    shown, end = theirs(peer, given, **how)
    shown_ours, end_ours = ours(solve, levels_of(peer))
    assert len(shown_ours) == len(shown)
    for found, wanted in zip([*shown_ours, end_ours], [*shown, end], strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)


# The grids of the schedulers above, in eight steps, and what they end in.
GRIDS: dict[str, list[float]] = {
    "karras": [
        157.407272339,
        71.3179245,
        29.205732346,
        10.494364738,
        3.163232327,
        0.743441105,
        0.119509473,
        0.01000133,
        0.0,
    ],
    "linspace": [
        157.407272339,
        41.249507904,
        13.257511139,
        5.166965961,
        2.354255438,
        1.151929736,
        0.494637638,
        0.01000133,
        0.0,
    ],
    "trailing": [
        157.40725708,
        48.166835785,
        17.246982574,
        7.186138153,
        3.424136639,
        1.792294264,
        0.952935517,
        0.4263587,
        0.0,
    ],
}
PINNED: dict[str, tuple[str, list[float]]] = {
    "euler": ("karras", [-0.39625, 0.054764, 0.306453, 0.596733]),
    "euler ancestral": ("linspace", [0.139984, 0.53948, 0.071885, -0.452267]),
    "heun": ("karras", [-0.961737, 0.016241, 0.512923, 1.089631]),
    "lms": ("karras", [-0.455288, 0.050347, 0.328702, 0.643921]),
    "ddim": ("trailing", [-0.468088, 0.061122, 0.342968, 0.593945]),
    "ddim, eta 0.6": ("trailing", [-0.010968, 0.296358, 0.208988, 0.273931]),
    "ddpm": ("trailing", [0.451284, 0.438937, -0.332891, -0.123309]),
    "dpm++ 2m": ("karras", [-0.723451, 0.030373, 0.436148, 0.874513]),
    "dpm++ 2m sde": ("karras", [-0.022103, 0.909963, 0.162424, -0.904514]),
    "dpm++ sde": ("karras", [-0.467084, 0.122277, 0.54239, 0.107351]),
    "unipc 2 bh2": ("karras", [-0.748782, 0.028714, 0.446461, 0.893509]),
    "unipc 3 bh2": ("karras", [-1.059242, 0.004172, 0.582798, 1.124584]),
    "unipc 2 bh1": ("karras", [-1.50903, -0.039132, 0.760659, 1.548064]),
    "unipc 3 bh1": ("karras", [-1.542156, -0.022261, 0.784811, 1.527848]),
}


@pytest.mark.parametrize("name", PINNED)
def test_a_run_ends_where_that_of_diffusers_ended(name: str) -> None:
    grid, end = PINNED[name]
    _, found = ours(CASES[name][0], torch.tensor(GRIDS[grid], dtype=torch.float64))
    torch.testing.assert_close(found.flatten(), torch.tensor(end, dtype=torch.float64), rtol=0, atol=2e-5)


def test_the_straight_path_is_that_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    for solve, scheduler in (
        (euler, "FlowMatchEulerDiscreteScheduler"),
        (partial(heun, most=math.inf), "FlowMatchHeunDiscreteScheduler"),
    ):
        for shift in (1.0, 3.0):
            peer = getattr(diffusers, scheduler)(shift=shift)
            peer.set_timesteps(STEPS)
            x, twice = X.float(), "Heun" in scheduler
            for i, t in enumerate(peer.timesteps):
                s = float(peer.sigmas[(i + 1) // 2 * 2 if twice else i])
                x = peer.step((x - on_straight(x, s)) / s, t, x).prev_sample
            times = torch.as_tensor(peer.sigmas).double().unique_consecutive()
            found = solve(on_straight, X, times, Given())
            torch.testing.assert_close(found, x.double(), rtol=0, atol=2e-5)


def on_straight(x: Tensor, t: Tensor | float) -> Tensor:
    """The same x0 given x on the straight path, also at t = 1, where x says nothing of it."""
    t = append_dims(t, x) if isinstance(t, Tensor) else torch.tensor(t)
    a, s2 = (1 - t)[..., None], t[..., None] ** 2
    weight, mean = torch.tensor([0.3, 0.7], dtype=x.dtype), torch.tensor([-0.6, 0.4], dtype=x.dtype)
    v = a**2 * 0.09 + s2
    share = (weight.log() - (x[..., None] - a * mean) ** 2 / (2 * v)).softmax(-1)
    return (share * (a * 0.09 * x[..., None] + s2 * mean) / v).sum(-1)
