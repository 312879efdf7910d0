"""Paths, schedules, samplers and guidance, against closed forms: no network is trained here."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from inspect import signature
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor

from zeuxis.diffusion import guidance, schedule, weighting
from zeuxis.diffusion.path import (
    BetaSchedule,
    Path,
    Straight,
    VarianceExploding,
    VariancePreserving,
    add_noise,
    append_dims,
    betas,
)
from zeuxis.diffusion.precondition import Prediction, consistency, edm, in_ve, on_path, target, to_x0
from zeuxis.diffusion.sampler import (
    ON_STRAIGHT,
    SAMPLERS,
    Denoise,
    ancestral,
    ddim,
    dpmpp_2m,
    dpmpp_2m_sde,
    dpmpp_2s,
    dpmpp_sde,
    euler,
    heun,
    lms,
    midpoint,
    multistep,
    unipc,
    with_knobs,
)
from zeuxis.errors import UnknownName, UsageError
from zeuxis.rng import ImageRng, Stream

DDPM = VariancePreserving(betas("linear"))


# -- paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("linear", (0.9999, 0.521423, 0.077797, 4.035830e-05)),
        ("cosine", (0.99995872, 0.845888, 0.492285, 2.428767e-09)),
        ("scaled-linear", (0.99915, 0.673793, 0.276333, 4.660099e-03)),
    ],
)
def test_published_chains(name: str, golden: tuple[float, ...]) -> None:
    path = VariancePreserving(betas(name))  # type: ignore[arg-type]
    abar = path.alpha(torch.tensor([0.0, 250.0, 500.0, 999.0])) ** 2
    torch.testing.assert_close(abar, torch.tensor(golden), rtol=2e-5, atol=0)


@pytest.mark.parametrize("steps", [50, 100, 400, 4000])
@pytest.mark.parametrize("name", ["linear", "scaled-linear"])
def test_a_chain_of_any_length_ends_in_the_same_noise(name: BetaSchedule, steps: int) -> None:
    """What is left of a picture, sqrt(alpha-bar_T), of 1000 steps and of others: 0.764 of 100 unscaled ones."""
    whole, other = (float(VariancePreserving(betas(name, n)).alpha(float(n - 1))) for n in (1000, steps))
    assert math.log(other) == pytest.approx(math.log(whole), rel=0.2)


def test_a_chain_has_two_steps_or_more() -> None:
    for name in get_args(BetaSchedule):
        path = VariancePreserving(betas(name, 2))
        assert 0 < path.sigma(0.0) < path.sigma(1.0)
        with pytest.raises(UsageError, match="2 or more"):
            betas(name, 1)


@pytest.mark.parametrize("path", [DDPM, Straight(), VarianceExploding()])
def test_numbers_and_tensors_are_the_same_levels(path: Path) -> None:
    t = torch.tensor([0.02, 0.4, 13.3, 500.25, 998.9]) / (1 if path is DDPM else 1001)
    for of in (path.alpha, path.std, lambda t: path.time(path.std(t) / path.alpha(t))):
        torch.testing.assert_close(torch.tensor([of(float(each)) for each in t]), of(t), rtol=1e-4, atol=1e-5)


def test_longer_chains_are_finer() -> None:
    path = VariancePreserving(betas("linear", 4000))
    torch.testing.assert_close(path.sigmas[[0, -1]], torch.tensor([0.005, 153.4502]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("path", [DDPM, Straight(), VarianceExploding()])
def test_time_inverts_the_noise_level(path: Path) -> None:
    t = torch.tensor([0.0, 1.0, 13.0, 500.0, 500.25, 999.0]) / (1 if path is DDPM else 1001) + (path is not DDPM) * 1e-4
    torch.testing.assert_close(path.time(path.std(t) / path.alpha(t)), t, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("path", [DDPM, Straight()])
@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v", "velocity", "score"])
def test_every_prediction_leads_back_to_the_image(path: Path, predicts: Prediction) -> None:
    x0, noise = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([5.0, 300.0, 700.0], dtype=torch.float64) / (1 if path is DDPM else 1000)
    x = add_noise(path, x0, noise, t)
    a, s = append_dims(path.alpha(t), x0), append_dims(path.std(t), x0)
    prediction = {"epsilon": noise, "x0": x0, "v": a * noise - s * x0, "velocity": noise - x0, "score": -noise / s}[
        predicts
    ]
    c = on_path(predicts, path, t)
    close = 1e-4 if path is DDPM else 1e-9  # DDPM's table is float32
    torch.testing.assert_close(to_x0(c, prediction, x), x0, rtol=0, atol=close)
    torch.testing.assert_close(target(c, x0, x), prediction, rtol=0, atol=100 * close)
    ve = in_ve(predicts, path, path.std(t) / path.alpha(t))  # the same network in VE space
    torch.testing.assert_close(ve.input, path.alpha(t), rtol=1e-4, atol=1e-6, check_dtype=False)
    torch.testing.assert_close(ve.noise, t, rtol=1e-4, atol=1e-4, check_dtype=False)
    torch.testing.assert_close(to_x0(ve, prediction, x / a), x0, rtol=0, atol=1e-3 if path is DDPM else 1e-9)


def test_published_coefficients_of_edm() -> None:
    """Karras et al. 2022, Table 1, with sigma_data 0.5: the network's input and target have unit variance."""
    sigma = torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64)
    c = edm(sigma)
    torch.testing.assert_close(c.skip, 0.25 / (sigma**2 + 0.25))
    torch.testing.assert_close(c.out, sigma * 0.5 / (sigma**2 + 0.25).sqrt())
    torch.testing.assert_close(c.input, 1 / (sigma**2 + 0.25).sqrt())
    torch.testing.assert_close(c.noise, sigma.log() / 4)
    torch.testing.assert_close(weighting.edm(sigma) * c.out**2, torch.ones_like(sigma))  # lambda = 1 / c_out^2
    rng = torch.Generator().manual_seed(0)
    x0, noise = (k * torch.randn(3, 1, 100, 100, generator=rng, dtype=torch.float64) for k in (0.5, 1.0))
    x = x0 + append_dims(sigma, x0) * noise
    for made in (append_dims(c.input, x) * x, target(c, x0, x)):
        torch.testing.assert_close(made.flatten(1).std(1), torch.ones_like(sigma), rtol=0.05, atol=0)


def test_a_consistency_model_is_the_identity_at_the_least_noise() -> None:
    c = consistency(torch.tensor([0.002, 1.0]), 0.5, 0.002)
    assert c.skip[0] == 1 and c.out[0] == 0 and c.skip[1] < 0.21 and c.out[1] > 0.4


def test_variance_is_preserved() -> None:
    t = torch.arange(0, 999, 37.5)
    torch.testing.assert_close(DDPM.alpha(t) ** 2 + DDPM.std(t) ** 2, torch.ones_like(t))


def test_unknown_schedule_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="cosine"):
        betas("cosin")  # type: ignore[arg-type]


# -- schedules --------------------------------------------------------------------------------------------------


def test_karras_levels() -> None:
    golden = [80, 57.5860, 40.7856, 28.3746, 19.3525, 12.9101, 8.40094, 5.31519, 3.25682, 1.92334, 1.08817]
    golden += [0.585348, 0.296442, 0.139516, 0.0599473, 0.0229345, 0.00752802, 0.002, 0]
    torch.testing.assert_close(schedule.karras(18), torch.tensor(golden), rtol=1e-5, atol=0)


def test_geometric_levels() -> None:
    golden = [1, 0.59948425, 0.35938137, 0.21544347, 0.12915497, 0.07742637, 0.04641589, 0.02782559, 0.01668101, 0.01]
    torch.testing.assert_close(schedule.geometric(10), torch.tensor([*golden, 0]), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("spacing", "steps"),  # Lin et al. 2023, Table 2, whose t is 1 to 1000
    [
        ("trailing", [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]),
        ("leading", [1, 101, 201, 301, 401, 501, 601, 701, 801, 901]),
        ("linspace", [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]),
    ],
)
def test_published_spacings_of_a_chain(spacing: schedule.Spacing, steps: list[int]) -> None:
    levels = schedule.respaced(DDPM.sigmas, 10, spacing)
    torch.testing.assert_close(levels[:-1], DDPM.sigmas[torch.tensor(steps).flip(0) - 1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("spacing", "middle"),
    [
        ("uniform-log-snr", (80 * 0.01) ** 0.5),
        ("karras", ((80 ** (1 / 7) + 0.01 ** (1 / 7)) / 2) ** 7),
        ("trailing", float(DDPM.sigmas[499])),
    ],
)
def test_every_call_of_a_short_chain_has_work_to_do(spacing: schedule.Spacing, middle: float) -> None:
    """Of two steps at [157, 0.01, 0] the second did nothing."""
    levels = schedule.respaced(DDPM.sigmas, 2, spacing)
    torch.testing.assert_close(levels[1:], torch.tensor([middle, 0]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("spacing", get_args(schedule.Spacing))
def test_any_number_of_steps_descends_to_nothing(spacing: schedule.Spacing) -> None:
    for sigmas in (DDPM.sigmas, VariancePreserving(betas("cosine", 37)).sigmas):
        for steps in (1 + (spacing == "leading"), 2, 3, 7, 36, 37, 5000):
            levels = schedule.respaced(sigmas, steps, spacing)
            assert len(levels) == min(steps, len(sigmas)) + 1 and (levels.diff() < 0).all() and levels[-1] == 0
        torch.testing.assert_close(levels[:-1], sigmas.flip(0), rtol=0, atol=0)  # the chain itself
    with pytest.raises(UsageError, match="1 or more"):
        schedule.respaced(DDPM.sigmas, 0, spacing)


def test_no_grid_has_no_steps() -> None:
    for grid in (schedule.karras, schedule.geometric, schedule.flow_times, schedule.flow_levels):
        with pytest.raises(UsageError, match="0 steps of sampling: take 1 or more"):
            grid(0)


def test_a_grid_without_its_lowest_level() -> None:
    torch.testing.assert_close(schedule.skip_lowest(torch.tensor([9.0, 3, 1, 0])), torch.tensor([9.0, 3, 0]))


def test_levels_of_the_straight_path_start_where_a_picture_is_hardly_there() -> None:
    torch.testing.assert_close(schedule.flow_levels(4), torch.tensor([1000, 3, 1, 1 / 3, 0]))
    fine = schedule.flow_levels(5000, shift=2.0)
    assert fine[0] > 1000 and (fine.diff() < 0).all() and fine.isfinite().all()


def test_shifted_flow_times() -> None:
    torch.testing.assert_close(schedule.flow_times(4), torch.tensor([1, 0.75, 0.5, 0.25, 0]))
    torch.testing.assert_close(schedule.flow_times(2, shift=3.0), torch.tensor([1, 0.75, 0]))


# -- samplers against a Gaussian: the flow has a closed form ----------------------------------------------------

MEAN, DEVIATION = 0.3, 0.4
MANY = 1000
QUANTILES = torch.special.ndtri((torch.arange(MANY, dtype=torch.float64) + 0.5) / MANY)[:, None]  # of N(0, 1), (K, 1)


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] where x0 ~ N(MEAN, DEVIATION^2)."""
    s2 = append_dims(sigma, x) ** 2
    return (DEVIATION**2 * x + s2 * MEAN) / (DEVIATION**2 + s2)


def start(n: int = 64, high: float = 80.0) -> Tensor:
    return high * torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def error(solve: Callable[..., Tensor], steps: int) -> float:
    x = start()
    exact = MEAN + (x - MEAN) * DEVIATION / math.sqrt(DEVIATION**2 + 80.0**2)
    return float((solve(gaussian, x, schedule.karras(steps, low=0.01).double(), Stream(0)) - exact).abs().max())


ORDERS: list[tuple[Callable[..., Tensor], int]] = [
    (euler, 1),
    (heun, 2),
    (midpoint, 2),
    (dpmpp_2s, 2),
    (dpmpp_2m, 2),
    (unipc, 3),
    (partial(unipc, scale="bh1"), 3),
    (partial(unipc, order=3), 3),
    (partial(lms, order=2), 2),
    (partial(lms, order=3), 3),
    (lms, 4),
]


@pytest.mark.parametrize(("solve", "order"), [(euler, 1), (heun, 2), (dpmpp_2m, 2)])
def test_order_of_convergence(solve: Callable[..., Tensor], order: int) -> None:
    coarse, fine = error(solve, 40), error(solve, 80)
    assert fine < (0.1 if order == 1 else 0.01)
    assert 0.7 * 2**order < coarse / fine < 1.5 * 2**order


def soft(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] where x0 is N(-0.6, 0.3^2) or N(0.4, 0.3^2), with probabilities 0.3 and 0.7; x (K, 1)."""
    weight, mean = x.new_tensor([0.3, 0.7]), x.new_tensor([-0.6, 0.4])
    s2 = sigma[:, None] ** 2
    share = (weight.log() - (x - mean) ** 2 / (2 * (0.09 + s2))).softmax(1)
    return (share * (0.09 * x + s2 * mean) / (0.09 + s2)).sum(1, keepdim=True)


def exact_karras(steps: int) -> Tensor:
    """Levels from 80 to 0.01 (N + 1,), float64: a grid to refine, without the step to 0."""
    ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return (80 ** (1 / 7) + ramp * (0.01 ** (1 / 7) - 80 ** (1 / 7))) ** 7


@pytest.fixture(scope="module")
def ends_of_flow() -> Tensor:
    return lms(soft, 80 * QUANTILES[::50], exact_karras(1200), Stream(0))


@pytest.mark.parametrize(("solve", "order"), ORDERS)
def test_the_published_order_of_convergence(solve: Callable[..., Tensor], order: int, ends_of_flow: Tensor) -> None:
    """On a density of two modes: with half the step, 2^-p of the error, or still less."""
    coarse, fine = (
        float((solve(soft, 80 * QUANTILES[::50], exact_karras(steps), Stream(0)) - ends_of_flow).abs().mean())
        for steps in (60, 120)
    )
    assert 0.8 * 2**order < coarse / fine < 2.2 * 2**order


class OneAtATime:
    """Noise of which row k of the batch is given the k-th draw alone, and it is 1."""

    def __init__(self) -> None:
        self.drawn = 0

    def normal(self, *shape: int, device: object = "cpu") -> Tensor:
        self.drawn += 1
        noise = torch.zeros(shape, dtype=torch.float64)
        noise[self.drawn] = 1
        return noise


def variance_drawn(solve: Callable[..., Tensor], levels: Tensor) -> float:
    """The variance, exactly, of what a sampler draws of N(0, 0.3^2): all is linear in the noise there."""
    x = torch.zeros(2 * len(levels) + 1, 1, dtype=torch.float64)
    x[0] = math.hypot(0.3, float(levels[0]))
    return float(solve(narrow, x, levels, OneAtATime()).square().sum())


@pytest.mark.parametrize(
    ("solve", "order"),
    [
        (ancestral, 1),
        (partial(ddim, eta=0.5), 1),
        (dpmpp_2m_sde, 2),
        (dpmpp_sde, 2),
        (partial(dpmpp_2m, eta=0.5), 2),
        (partial(dpmpp_2s, eta=0.5), 2),
        (partial(heun, churn=20.0, churn_low=0.05, churn_high=50.0), 2),
    ],
)
def test_fresh_noise_leaves_the_variance_right(solve: Callable[..., Tensor], order: int) -> None:
    coarse, fine = (abs(variance_drawn(solve, exact_karras(n)) / (0.09 + 0.01**2) - 1) for n in (60, 120))
    assert fine < (0.1 if order == 1 else 0.01)
    assert coarse / fine > 0.75 * 2**order


def test_churn_asks_nothing_above_the_first_level() -> None:
    """Above the last step of a chain its network sees more noise than it was ever shown."""
    levels, x, asked = schedule.karras(6), 80 * Stream(0).normal(2, 1), list[float]()

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma[0]))
        return soft(x, sigma)

    drawn = heun(watched, x, levels, Stream(1), churn=3.0)
    assert asked[0] == max(asked) == float(levels[0]) and asked[2] == pytest.approx(
        1.41421 * float(levels[1]), rel=1e-4
    )
    assert not torch.equal(drawn, heun(soft, x, levels, Stream(1)))


def test_churn_is_the_published_algorithm() -> None:
    """Karras et al. 2022, Alg. 2, as it is printed, with the same noise."""
    levels, rng = exact_karras(12), Stream(4)
    churn, low, high, scale = 6.0, 0.1, 30.0, 1.007
    x = start(high=80.0).flatten(1)
    found = heun(
        soft, x[:, :1], levels, Stream(4), churn=churn, churn_low=low, churn_high=high, churn_noise=scale, most=math.inf
    )
    x = x[:, :1]
    for t, after in pairwise(levels):
        gamma = min(churn / 12, math.sqrt(2) - 1) if low <= t <= high else 0.0
        t_hat = t + gamma * t
        if gamma:
            x = x + (t_hat**2 - t**2).sqrt() * scale * rng.normal(*x.shape)
        d = (x - soft(x, t_hat.expand(len(x)))) / t_hat
        euler_x = x + (after - t_hat) * d
        d_after = (euler_x - soft(euler_x, after.expand(len(x)))) / after
        x = x + (after - t_hat) * (d / 2 + d_after / 2)
    torch.testing.assert_close(found, x)


def test_knobs_of_samplers_are_taken_or_refused() -> None:
    x, levels = 80 * QUANTILES[::100], exact_karras(6)
    for name, preset in (("ddim", "ancestral"), ("dpmpp-2m", "dpmpp-2m-sde"), ("dpmpp-2s", "dpmpp-sde")):
        turned = with_knobs(name, {"eta": 1.0})
        assert torch.equal(turned(soft, x, levels, Stream(1)), SAMPLERS[preset](soft, x, levels, Stream(1)))
        assert with_knobs(preset, {"eta": 1}) is SAMPLERS[preset]  # which it has anyway
        with pytest.raises(UsageError, match=rf"eta 0.5: sampler '{preset}' makes no use of eta; {name} takes it"):
            with_knobs(preset, {"eta": 0.5})
    churned = with_knobs("heun", {"churn": 3.0})(soft, x, levels, Stream(1))
    assert torch.equal(churned, heun(soft, x, levels, Stream(1), churn=3.0))
    assert with_knobs("unipc", {"eta": 0.0, "churn": 0.0, "steps": 4}) is SAMPLERS["unipc"]
    with pytest.raises(UsageError, match=r"makes no use of eta; it is a knob of ddim, dpmpp-2m, dpmpp-2s"):
        with_knobs("euler", {"eta": 1.0})
    with pytest.raises(UsageError, match=r"churn 2: sampler 'ddim' makes no use of churn; it is a knob of heun"):
        with_knobs("ddim", {"churn": 2})
    with pytest.raises(UnknownName, match="unipc"):
        with_knobs("unipcc", {})
    with pytest.raises(UnknownName, match="bh2"):
        unipc(soft, x, levels, Stream(0), scale="bh3")  # type: ignore[arg-type]


def test_ddim_without_noise_is_euler() -> None:
    x, levels = start(), schedule.karras(9).double()
    torch.testing.assert_close(ddim(gaussian, x, levels, Stream(0)), euler(gaussian, x, levels, Stream(0)))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_the_published_formula(eta: float) -> None:
    """Song et al. 2020, Eq. 12 and 16, in alpha-bar and x_t, step by step with the same noise."""
    sigmas = DDPM.sigmas.double()
    chain = torch.arange(999, 0, -111)
    levels = torch.cat([sigmas[chain], sigmas.new_zeros(1)])
    abar = 1 / (1 + levels**2)
    x = start(high=float(levels[0]))
    ours = ddim(gaussian, x, levels, Stream(3), eta)

    rng = Stream(3)
    xt = x * abar[0].sqrt()
    for a, b in pairwise(abar):
        x0 = gaussian(xt / a.sqrt(), ((1 - a) / a).sqrt().expand(len(x)))
        noise = (xt - a.sqrt() * x0) / (1 - a).sqrt()
        sigma = eta * ((1 - b) / (1 - a)).sqrt() * (1 - a / b).sqrt()
        xt = b.sqrt() * x0 + (1 - b - sigma**2).clamp(min=0).sqrt() * noise
        if sigma > 0:
            xt = xt + sigma * rng.normal(*x.shape)
    torch.testing.assert_close(ours, xt)


def test_ancestral_is_ddpms_posterior() -> None:
    """Ho et al. 2020, Eq. 7: one step from t = 500 to 499, in x_t."""
    beta = betas("linear")
    abar = (1 - beta).cumprod(0)
    now, before = abar[500], abar[499]
    x = start(high=float(((1 - now) / now).sqrt()))
    level = torch.stack([((1 - now) / now).sqrt(), ((1 - before) / before).sqrt()])
    ours = ancestral(gaussian, x, level, Stream(5)) * before.sqrt()

    xt, x0 = x * now.sqrt(), gaussian(x, level[:1].expand(len(x)))
    mean = before.sqrt() * beta[500] / (1 - now) * x0 + (1 - beta[500]).sqrt() * (1 - before) / (1 - now) * xt
    variance = (1 - before) / (1 - now) * beta[500]
    torch.testing.assert_close(ours, mean + variance.sqrt() * Stream(5).normal(*x.shape))


def test_euler_takes_the_same_steps_on_the_straight_path() -> None:
    times = schedule.flow_times(12).double()
    times[0] = 0.995  # the VE path has no pure noise
    noise = start(high=1.0)

    def straight(x: Tensor, t: Tensor) -> Tensor:
        return gaussian(x / append_dims(1 - t, x), t / (1 - t))

    ve = euler(gaussian, noise * times[0] / (1 - times[0]), times / (1 - times), Stream(0))
    torch.testing.assert_close(euler(straight, noise * times[0], times, Stream(0)), ve)


@pytest.mark.parametrize("name", ON_STRAIGHT)
def test_the_straight_path_from_pure_noise(name: str) -> None:
    def straight(x: Tensor, t: Tensor) -> Tensor:
        """E[x0 | x] on x = (1 - t) x0 + t e, which is finite at t = 1."""
        a, s = append_dims(1 - t, x), append_dims(t, x)
        return MEAN + DEVIATION**2 * a * (x - a * MEAN) / (DEVIATION**2 * a**2 + s**2)

    x = start(high=1.0)
    drawn = SAMPLERS[name](straight, x, schedule.flow_times(60).double(), Stream(0))
    torch.testing.assert_close(drawn, MEAN + DEVIATION * x, rtol=0, atol=0.05 if name == "euler" else 2e-3)


# -- and against a mixture ---------------------------------------------------------------------------------------

WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
MODES = torch.randn(4, 8, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def mixture(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] where x0 is one of four modes in 8 dimensions, with deviation 0.2."""
    v = 0.2**2 + sigma[:, None] ** 2  # (B, 1)
    share = (WEIGHTS.log() - torch.cdist(x, MODES) ** 2 / (2 * v)).softmax(1)  # (B, 4)
    posterior = (0.2**2 * x[:, None] + sigma[:, None, None] ** 2 * MODES) / v[..., None]  # (B, 4, 8)
    return (share[..., None] * posterior).sum(1)


def drawn_from_mixture(solve: Callable[..., Tensor], levels: Tensor, n: int = 1500) -> Tensor:
    rng = Stream(11)
    return solve(mixture, float(levels[0]) * rng.normal(n, 8).double(), levels.double(), rng)


@pytest.mark.parametrize(
    ("solve", "levels"),
    [
        (heun, schedule.karras(35)),
        (dpmpp_2m, schedule.karras(35)),
        (ancestral, schedule.respaced(DDPM.sigmas, 1000)),  # its posterior is too narrow for longer steps
        (dpmpp_2m_sde, schedule.karras(60)),
        (dpmpp_sde, schedule.karras(40)),
        (partial(heun, churn=20.0), schedule.karras(40)),
        (unipc, schedule.karras(24)),
        (lms, schedule.karras(35)),
    ],
)
def test_mixture_is_recovered(solve: Callable[..., Tensor], levels: Tensor) -> None:
    x = drawn_from_mixture(solve, levels)
    nearest = torch.cdist(x, MODES).argmin(1)
    share = nearest.bincount(minlength=4) / len(x)
    torch.testing.assert_close(share.double(), WEIGHTS, rtol=0, atol=0.04)
    assert (x - MODES[nearest]).std() == pytest.approx(0.2, abs=0.01)


def test_heun_beats_euler_on_the_mixture() -> None:
    reference = drawn_from_mixture(heun, schedule.karras(300), 500)

    def rms(solve: Callable[..., Tensor], steps: int) -> float:
        return float((drawn_from_mixture(solve, schedule.karras(steps), 500) - reference).square().mean().sqrt())

    assert rms(heun, 35) < 0.03  # 69 calls of the denoiser
    assert rms(euler, 70) > 2 * rms(heun, 35)


# -- every sampler on every path: what a user may ask for ends near the truth, and nearer the more steps --------

CHAINS = {name: VariancePreserving(betas(name)) for name in get_args(BetaSchedule)}
PARTS = torch.tensor([[0.3, -0.6, 0.05], [0.7, 0.4, 0.15]], dtype=torch.float64)  # weight, mean, deviation


def narrow(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] where x0 ~ N(0, 0.3^2)."""
    s2 = sigma[:, None] ** 2
    return 0.09 * x / (0.09 + s2)


def two_parts(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] of ``PARTS``."""
    weight, mean, deviation = PARTS.T
    s2 = sigma[:, None] ** 2  # (K, 1)
    v = deviation**2 + s2  # (K, 2)
    share = (weight.log() - (x - mean) ** 2 / (2 * v) - v.log() / 2).softmax(1)
    return (share * (deviation**2 * x + s2 * mean) / v).sum(1, keepdim=True)


def truth_of_two_parts() -> Tensor:
    grid = torch.linspace(-2, 2, 40_001, dtype=torch.float64)
    below = (PARTS[:, 0] * torch.special.ndtr((grid[:, None] - PARTS[:, 1]) / PARTS[:, 2])).sum(1)
    return grid[torch.searchsorted(below, torch.special.ndtr(QUANTILES[:, 0]))]


def grid_of(path: str, steps: int, spacing: schedule.Spacing) -> Tensor:
    if path == "edm":
        return schedule.skip_lowest(schedule.karras(steps + 1))
    return schedule.flow_levels(steps) if path == "flow" else schedule.respaced(CHAINS[path].sigmas, steps, spacing)


def distance(solve: Callable[..., Tensor], levels: Tensor, of: Denoise, truth: Tensor) -> float:
    """Wasserstein's distance of what is drawn from the truth, from a thousand quantiles of noise."""
    noise = QUANTILES * math.sqrt(1 + float(levels[0]) ** 2)
    drawn = solve(of, noise, levels, Stream(0))[:, 0].sort().values
    return float((drawn - truth).abs().mean())


TRUTHS = [(narrow, 0.3 * QUANTILES[:, 0]), (two_parts, truth_of_two_parts())]
DEFAULT = signature(schedule.respaced).parameters["spacing"].default
STEPS = (1, 2, 5, 10, 20, 50)
FIRST, SECOND = (0.2, 0.15, 0.08, 0.045), (0.15, 0.1, 0.045, 0.02)  # at 5, 10, 20 and 50 steps
NOISY = {"ancestral": (0.25, 0.16, 0.09, 0.05), "dpmpp-sde": (0.15, 0.1, 0.045, 0.03)}
NOISY |= {"dpmpp-2m-sde": (0.17, 0.1, 0.045, 0.03)}
WITHIN = dict.fromkeys(SAMPLERS, SECOND) | {"euler": FIRST, "ddim": FIRST, "lms": (0.2, 0.1, 0.045, 0.02)} | NOISY


@pytest.mark.parametrize("path", [*CHAINS, "edm", "flow"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_more_steps_come_nearer_to_the_truth(name: str, path: str) -> None:
    for of, truth in TRUTHS:
        far = [distance(SAMPLERS[name], grid_of(path, steps, DEFAULT), of, truth) for steps in STEPS]
        assert all(found < bound for found, bound in zip(far[2:], WITHIN[name], strict=True)), far
        # One step gives the mean of all pictures: no number of steps is worse, nor are more than before.
        noise = 0.03 if name in NOISY else 0.02  # of a thousand draws
        assert all(after < max(1.1 * before, noise) for before, after in pairwise(far)), far


@pytest.mark.parametrize("spacing", get_args(schedule.Spacing))
@pytest.mark.parametrize("path", CHAINS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_no_spacing_makes_a_sampler_explode(name: str, path: str, spacing: schedule.Spacing) -> None:
    """Heun's method once gave a deviation of 0.85, clamped, in ten steps of the cosine chain, DPM-Solver 0.39 in 20."""
    for steps in STEPS[1:]:
        levels = grid_of(path, steps, spacing)
        drawn = SAMPLERS[name](narrow, QUANTILES * math.sqrt(1 + float(levels[0]) ** 2), levels, Stream(0))
        assert float(drawn.std()) < 0.4 and float((drawn.abs() >= 1).double().mean()) < 0.02


@pytest.mark.parametrize("steps", [5, 18])
def test_unheld_solvers_are_the_published_ones(steps: int) -> None:
    """Karras et al. 2022, Alg. 1, and Lu et al. 2022, Alg. 2, written as they are printed."""
    levels = schedule.karras(steps).double()
    x = x_heun = x_multistep = start(high=float(levels[0])).flatten(1)
    now_x0 = lambda x, level: narrow(x, level.expand(len(x)))  # noqa: E731
    before: Tensor | None = None
    for i in range(steps):
        t, after = levels[i], levels[i + 1]
        d = (x_heun - now_x0(x_heun, t)) / t
        euler_x = x_heun + (after - t) * d
        x_heun = euler_x
        if after > 0:
            x_heun = (x_heun - (after - t) * d) + (after - t) * (d + (euler_x - now_x0(euler_x, after)) / after) / 2
        x0 = now_x0(x_multistep, t)
        if before is None or after == 0:
            target = x0
        else:
            h, h_before = (t / after).log(), (levels[i - 1] / t).log()
            r = h_before / h
            target = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before
        x_multistep = (after / t) * x_multistep - (torch.expm1((after / t).log())) * target
        before = x0
    torch.testing.assert_close(heun(narrow, x, levels, Stream(0), most=math.inf), x_heun)
    torch.testing.assert_close(dpmpp_2m(narrow, x, levels, Stream(0), most=math.inf), x_multistep)


# -- against a peer ----------------------------------------------------------------------------------------------


def test_ddim_and_dpm_solver_agree_with_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    settings = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    peers: list[tuple[Callable[..., Tensor], object]] = [
        (ddim, diffusers.DDIMScheduler(**settings, clip_sample=False, timestep_spacing="trailing")),
        (dpmpp_2m, diffusers.DPMSolverMultistepScheduler(**settings, final_sigmas_type="zero")),
    ]
    for ours, peer in peers:
        peer.set_timesteps(20)  # type: ignore[attr-defined]
        steps = peer.timesteps  # type: ignore[attr-defined]
        levels = torch.cat([DDPM.sigmas[steps], torch.zeros(1)]).double()
        x = start(high=float(levels[0]))
        xt = x / math.sqrt(1 + float(levels[0]) ** 2)
        for t, level in zip(steps, levels[:-1], strict=True):
            ve = xt * (1 + level**2).sqrt()
            noise = (ve - gaussian(ve, level.expand(len(x)))) / level
            xt = peer.step(noise, t, xt).prev_sample  # type: ignore[attr-defined]
        torch.testing.assert_close(ours(gaussian, x, levels, Stream(0)), xt, rtol=0, atol=2e-4)


# -- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_picture_is_its_own_whatever_the_company(name: str) -> None:
    def alone(seeds: range) -> Tensor:
        rng = ImageRng(seeds)
        return SAMPLERS[name](gaussian, 80 * rng.normal(len(rng), 1, 2, 2), schedule.karras(6), rng)

    torch.testing.assert_close(alone(range(4))[2:3], alone(range(2, 3)))


def test_unknown_sampler_names_the_usable_ones() -> None:
    with pytest.raises(UnknownName, match="euler"):
        with_knobs("eular", {})


def test_multistep_calls_once_a_level_and_adds_the_paper_s_noise() -> None:
    seen: list[float] = []

    def perfect(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(float(sigma[0]))
        noise.append(float(x.std()))
        return torch.zeros_like(x)

    noise: list[float] = []
    out = multistep(perfect, 80 * torch.ones(1, 1, 64, 64), torch.tensor([80.0, 2.5, 0.0]), Stream(0), floor=1.5)
    assert seen == [80, 2.5] and not out.any()
    assert noise[1] == pytest.approx(2.0, rel=0.05)  # sqrt(2.5^2 - 1.5^2)


def test_guidance_is_affine_and_asks_once() -> None:
    calls: list[int] = []

    def denoise(x: Tensor, sigma: Tensor, conditioning: guidance.Conditioning) -> Tensor:
        calls.append(len(x))
        halves.append(conditioning["conditional"].tolist())
        return x + append_dims(conditioning["vector"], x)

    halves: list[list[bool]] = []
    given, null = {"vector": torch.tensor([1.0, 2.0])}, {"vector": torch.zeros(2)}
    x, sigma = torch.zeros(2, 1, 1, 1), torch.ones(2)
    for scale, factor, rows in ((3.0, 3.0, 4), (1.0, 1.0, 2), (0.0, 0.0, 2)):
        calls.clear()
        out = guidance.classifier_free(denoise, given, null, scale)(x, sigma)
        torch.testing.assert_close(out.flatten(), factor * given["vector"])
        assert calls == [rows]
    assert halves == [[True, True, False, False], [True, True], [False, False]]


def test_thresholds() -> None:
    x = torch.linspace(-4, 4, 101).view(1, 1, 1, 101)
    inside: Denoise = guidance.dynamic_threshold(lambda x, s: x, quantile=0.5)
    assert inside(x, torch.ones(1)).abs().max() == 1
    torch.testing.assert_close(inside(x, torch.ones(1))[..., 60], x[..., 60] / 2, rtol=0.05, atol=0)
    small = x / 10
    torch.testing.assert_close(inside(small, torch.ones(1)), small)  # nothing to pull in
    assert guidance.clamped(lambda x, s: x)(x, torch.ones(1)).abs().max() == 1


def test_densities() -> None:
    t = weighting.logit_normal(Stream(0), 20_000)
    assert float(t.logit().mean()) == pytest.approx(0, abs=0.03) and float(t.logit().std()) == pytest.approx(
        1, abs=0.03
    )
    sigma = weighting.log_normal(Stream(0), 20_000)
    assert float(sigma.log().mean()) == pytest.approx(-1.2, abs=0.05)
    with pytest.raises(UnknownName, match="logit-normal"):
        weighting.density("logit_normal")  # type: ignore[arg-type]


def test_weights() -> None:
    torch.testing.assert_close(weighting.edm(torch.tensor([0.5])), torch.tensor([8.0]))
    sigma = DDPM.sigma(torch.tensor([10.0, 400.0, 900.0]))
    x0, noise = torch.randn(2, 3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([10.0, 400.0, 900.0])
    wrong = x0 + 0.1  # an image that misses by 0.1 everywhere
    x = add_noise(DDPM, x0, noise, t)
    expected = 0.01 * (sigma**-2).clamp(max=5)
    predictions: tuple[Prediction, ...] = ("x0", "epsilon", "v")
    for predicts in predictions:
        c = on_path(predicts, DDPM, t)
        error = (target(c, wrong, x) - target(c, x0, x)).square().mean((1, 2, 3))
        torch.testing.assert_close(weighting.min_snr(sigma) * c.out**2 * error, expected, rtol=1e-3, atol=0)
