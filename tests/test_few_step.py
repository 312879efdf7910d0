"""Progressive distillation, shortcut models, MeanFlow and drifting, mostly where the answer is a closed form.

Of pixels N(0, s^2) the velocity of the straight path, the curves that it draws and the mean velocity over any stretch
of them are known: with D(t) = sqrt((1 - t)^2 s^2 + t^2), the deviation at t, z_r = z_t D(r) / D(t).
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.mean_velocity import instant_denoiser, walk
from zeuxis.diffusion.path import append_dims
from zeuxis.diffusion.sampler import ByLevel, Denoise, euler
from zeuxis.diffusion.schedule import flow_levels
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.embed import SLOW_TIME_SCALE, TIME_SCALE
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.density.gaussian import Gaussian
from zeuxis.systems.diffusion.consistency_continuous import ContinuousConsistency, normalised
from zeuxis.systems.diffusion.ddpm import DDPM
from zeuxis.systems.diffusion.drifting import Drifting, drifting_field, map_features, mean_distance
from zeuxis.systems.diffusion.meanflow import MeanFlow
from zeuxis.systems.diffusion.ncsn import NCSN
from zeuxis.systems.diffusion.progressive_distillation import ProgressiveDistillation
from zeuxis.systems.diffusion.score_sde import ScoreSDE
from zeuxis.systems.diffusion.shortcut import Shortcut

SHAPE = Shape(1, 8, 8)
DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}
UNET = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": (2,), "heads": 2}
DEVIATION = 0.3
SCALES = {Shortcut: TIME_SCALE, MeanFlow: SLOW_TIME_SCALE}


def pixels(n: int, seed: int = 0) -> Tensor:
    """Pictures (n, 1, 8, 8) of independent pixels N(0, DEVIATION^2)."""
    return DEVIATION * Stream(seed).normal(n, *SHAPE)


def turn(x: Tensor, seed: int = 1, progress: float = 0.0, condition: Condition = Condition()) -> Turn:
    return Turn(Batch(x, condition), Stream(seed), 0, progress)


def deviation_at(t: Tensor) -> Tensor:
    """D(t): of a pixel at time t of the straight path."""
    return ((1 - t) ** 2 * DEVIATION**2 + t**2).sqrt()


class KnowsTheMean(nn.Module):
    """The mean velocity (z_t - z_r) / span over every stretch, of a span of 0 the velocity: a closed form."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale  # of the times that it is given
        self.error = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, time: Tensor, other: Tensor, **conditioning: Tensor) -> Tensor:
        t, span = (append_dims(v.double() / self.scale, x) for v in (time, other))
        now = deviation_at(t)
        slope = (t - (1 - t) * DEVIATION**2) / now**2  # d log D / dt
        # expm1 of log D(r) - log D(t), whose difference of squares is span (2 t - span) and so on, exactly
        squares = -span * (2 * t - span) + span * (2 - 2 * t + span) * DEVIATION**2  # D(r)^2 - D(t)^2
        step = -((1 + squares / now**2).sqrt() - 1) / torch.where(span == 0, 1.0, span)
        return (x.double() * torch.where(span == 0, slope, step) + self.error).to(x.dtype)


# -- the walk with mean velocities ------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 16])
def test_the_right_mean_velocity_draws_the_same_picture_in_any_number_of_steps(steps: int) -> None:
    for system in (Shortcut(SHAPE, network=DIT), MeanFlow(SHAPE, network=DIT)):
        system.network = KnowsTheMean(SCALES[type(system)])  # type: ignore[assignment]
        drawn = system.sample(Condition(), ImageRng.counting(0, 3), Sampling(steps=steps))
        wanted = DEVIATION * ImageRng.counting(0, 3).normal(3, *SHAPE)  # z_0 = z_1 D(0) / D(1)
        torch.testing.assert_close(drawn, wanted.clamp(-1, 1), rtol=1e-4, atol=1e-5)


def test_at_a_moment_it_is_the_denoiser_of_the_pixels() -> None:
    for system in (Shortcut(SHAPE, network=DIT), MeanFlow(SHAPE, network=DIT)):
        system.network = KnowsTheMean(SCALES[type(system)])  # type: ignore[assignment]
        denoise = system.denoiser(Condition(), 4)
        assert isinstance(denoise, ByLevel)
        for sigma in (0.05, 0.5, 5.0, 100.0):
            x = math.hypot(DEVIATION, sigma) * Stream(2).normal(4, *SHAPE)
            wanted = DEVIATION**2 / (DEVIATION**2 + sigma**2) * x
            torch.testing.assert_close(denoise(x, torch.full((4,), sigma)), wanted, rtol=0, atol=1e-4)
            torch.testing.assert_close(denoise.of(x, sigma), wanted, rtol=0, atol=1e-4)


def test_the_walk_of_a_velocity_that_ignores_its_span_is_euler() -> None:
    def velocity(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
        return (x - 0.5) / append_dims(t, x)

    noise = Stream(0).normal(2, *SHAPE)
    torch.testing.assert_close(walk(velocity, noise, torch.linspace(1, 0, 5)), torch.full_like(noise, 0.5))
    levels = flow_levels(4)
    drawn = euler(instant_denoiser(velocity), levels[0] * noise, levels, Stream(0))
    torch.testing.assert_close(drawn, torch.full_like(noise, 0.5), rtol=0, atol=1e-4)


# -- shortcut models --------------------------------------------------------------------------------------------


def test_two_short_steps_of_the_right_network_are_one_long_step() -> None:
    """Of the exact mean velocity the part that learns long steps has no error, at any time and for any length."""
    system = Shortcut(SHAPE, network=DIT, finest=64, share=0.5, mu=0.0)
    system.network = KnowsTheMean(TIME_SCALE)  # type: ignore[assignment]
    now = turn(pixels(256))
    loss = system.match(now)
    # A step of 1 / 64 is asked for as one of no length, whose velocity is a little off at the end of it.
    assert float(now.notes["doubled"]) < 1e-4
    assert float(now.notes["velocity"]) > 0.5 * DEVIATION**2  # stays: what no network can know
    slope = torch.autograd.grad(loss, system.network.error)[0]
    assert abs(float(slope)) < 0.05  # the right map is where the loss is least


def test_the_times_of_long_steps_are_where_walks_of_that_length_stop() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Watches(KnowsTheMean):
        def forward(self, x: Tensor, time: Tensor, other: Tensor, **conditioning: Tensor) -> Tensor:
            seen.append((time / self.scale, other / self.scale))
            return super().forward(x, time, other)

    system = Shortcut(SHAPE, network=DIT, finest=16, share=0.25, mu=0.0)
    system.network = Watches(TIME_SCALE)  # type: ignore[assignment]
    system.match(turn(pixels(400)))
    (first, half), (second, again), (t, span) = seen
    assert len(first) == 100 and len(t) == 400
    long, moment = span[:100], span[100:]
    assert set(long.tolist()) == {1 / 8, 1 / 4, 1 / 2, 1.0} and not moment.any()
    torch.testing.assert_close((t[:100] / long).round(), t[:100] / long)  # multiples of the step
    assert (t[:100] > 0).all() and (t[:100] - long >= -1e-6).all()
    torch.testing.assert_close(first, t[:100])
    torch.testing.assert_close(second, first - long / 2, atol=1e-6, rtol=0)
    assert torch.equal(half, again)
    torch.testing.assert_close(half, torch.where(long == 1 / 8, 0.0, long / 2))  # 1 / 16 is asked for as 0


def test_long_steps_are_learnt_from_the_average() -> None:
    system = Shortcut(SHAPE, network=DIT, mu=0.75)
    with torch.no_grad():
        for p in system.network.parameters():
            p.add_(1.0)
    before = [p.clone() for p in system.target.parameters()]
    system.after_round(turn(pixels(1)))
    for old, slow, online in zip(before, system.target.parameters(), system.network.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.75 * old + 0.25 * online)


def cut(x: Tensor, ends: list[int]) -> list[Turn]:
    """The turns of a batch in parts that end there."""
    turns = [turn(x[start:end]) for start, end in pairwise([0, *ends])]
    for one in turns:
        one.linked = turns
    return turns


@pytest.mark.parametrize("ends", [[8], [4, 8], [1, 2, 3, 4, 5, 6, 7, 8], [3, 8]])
def test_the_share_is_that_of_the_batch_however_it_is_cut(ends: list[int], monkeypatch) -> None:
    """A quarter of eight are two pictures; of each of eight parts it would be all of them, and none be left."""
    long = {"shortcut": 0, "meanflow": 0}
    led, both = Shortcut.led, MeanFlow.velocity_and_change

    def counted_led(self: Shortcut, x: Tensor, *rest: Any) -> Tensor:
        long["shortcut"] += len(x)
        return led(self, x, *rest)

    def counted_both(self: MeanFlow, z: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        long["meanflow"] += len(z)
        return both(self, z, *rest)

    monkeypatch.setattr(Shortcut, "led", counted_led)
    monkeypatch.setattr(MeanFlow, "velocity_and_change", counted_both)
    for system in (Shortcut(SHAPE, network=DIT), MeanFlow(SHAPE, network=DIT)):
        for part in cut(pixels(8), ends):
            assert torch.isfinite(system.match(part))
            assert all(bool(torch.as_tensor(note).isfinite()) for note in part.notes.values())
    assert long == {"shortcut": 2, "meanflow": 2}


def test_a_shortcut_model_learns_the_velocity_too() -> None:
    with pytest.raises(UsageError, match=r"set train\.batch to 2 or more"):
        Shortcut(SHAPE, network=DIT).match(turn(pixels(1)))
    system, now = Shortcut(SHAPE, network=DIT, share=0.9), turn(pixels(3))
    system.match(now)  # 0.9 of 3, rounded up, would leave none
    assert {"velocity", "doubled"} <= now.notes.keys() and bool(torch.as_tensor(now.notes["velocity"]).isfinite())


# -- MeanFlow ---------------------------------------------------------------------------------------------------


def test_the_change_of_the_mean_velocity_is_its_derivative_along_the_curve() -> None:
    system = MeanFlow(SHAPE, network=UNET)
    with torch.no_grad():
        for k, p in enumerate(system.network.parameters()):
            p.copy_(0.2 * Stream(k).normal(*p.shape))
    z, v = Stream(0).normal(3, *SHAPE), Stream(1).normal(3, *SHAPE)
    t, r = torch.tensor([0.3, 0.6, 0.9]), torch.tensor([0.1, 0.6, 0.2])
    _, change = system.velocity_and_change(z, t, t - r, v, {})
    h = 1e-3

    def along(k: float) -> Tensor:
        return system.velocity(z + k * h * v, t + k * h, t + k * h - r, {})

    wanted = (along(1) - along(-1)) / (2 * h)
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(change, wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))


def test_the_right_mean_velocity_fulfils_the_identity_and_no_other_does() -> None:
    system = MeanFlow(SHAPE, network=DIT)
    system.network = KnowsTheMean(SLOW_TIME_SCALE)  # type: ignore[assignment]
    t, r = torch.tensor([0.4, 0.8, 1.0]), torch.tensor([0.1, 0.5, 0.0])
    z = append_dims(deviation_at(t), torch.zeros(3, *SHAPE)) * Stream(0).normal(3, *SHAPE)
    v = system.velocity(z, t, 0 * t, {})  # the marginal velocity
    u, change = system.velocity_and_change(z, t, t - r, v, {})
    torch.testing.assert_close(u, v - append_dims(t - r, z) * change, rtol=0, atol=1e-4)  # Eq. 6
    wrong = v - append_dims(0.5 * (t - r), z) * change
    assert (u - wrong).abs().max() > 0.05


def test_under_bfloat16_derivatives_stay_in_float32() -> None:
    flow, trig = MeanFlow(SHAPE, network=UNET), ContinuousConsistency(SHAPE, network=UNET)
    for system in (flow, trig):
        with torch.no_grad():
            for k, p in enumerate(system.network.parameters()):
                p.copy_(0.2 * Stream(k).normal(*p.shape))
    z, v, t = Stream(0).normal(2, *SHAPE), Stream(1).normal(2, *SHAPE), torch.tensor([0.4, 0.9])

    def changes() -> list[Tensor]:
        return [flow.velocity_and_change(z, t, t / 2, v, {})[1], trig.answer_and_change(z, t, v, {})[1]]

    full = changes()
    with torch.autocast("cpu", torch.bfloat16):
        half = changes()
    assert all(torch.equal(one, other) for one, other in zip(full, half, strict=True))


def test_under_bfloat16_pictures_drift_as_far() -> None:
    system = Drifting(SHAPE, network=DIT)
    system.network = nn.Identity()  # type: ignore[assignment]
    system.generate = lambda noise: 0.5 * noise  # type: ignore[method-assign]
    full = system.drift(turn(pixels(8)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(system.drift(turn(pixels(8))), full)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_right_mean_velocity_is_where_the_loss_is_least(share: float) -> None:
    """The gradient of the plain squared error is 0 at the closed form in expectation, and not beside it."""
    slopes = {}
    for error in (0.0, 0.2):
        system = MeanFlow(SHAPE, network=DIT, share=share, power=0.0)
        system.network = KnowsTheMean(SLOW_TIME_SCALE)  # type: ignore[assignment]
        system.network.error.data.fill_(error)
        loss = system.match(turn(pixels(2000)))
        slopes[error] = float(torch.autograd.grad(loss, system.network.error)[0]) / 64
    assert abs(slopes[0.0]) < 0.02 and slopes[0.2] == pytest.approx(0.4, abs=0.05)


def test_the_adaptive_weight_is_one_over_the_error() -> None:
    system = MeanFlow(SHAPE, network=DIT, power=1.0)
    system.network = KnowsTheMean(SLOW_TIME_SCALE)  # type: ignore[assignment]
    now = turn(pixels(16))
    assert float(system.match(now).detach()) == pytest.approx(1.0, abs=1e-3)  # error / (error + c)


# -- progressive distillation -----------------------------------------------------------------------------------


class Table(System):
    """A denoiser x0 = g(sigma) x, whose g is a parameter for each of its levels: at first that of N(0, DEVIATION^2)."""

    card = Card("table", title="", family="diffusion", year=0, paper="", verbs={"sample", "denoiser"}, knobs=("steps",))

    def __init__(self, shape: Shape, *, steps: int = 16, predicts: str = "x0") -> None:
        super().__init__()
        self.shape = Shape(*shape)
        sigmas = self.levels(Sampling(steps=steps))[:-1]
        self.gains = nn.Parameter(DEVIATION**2 / (DEVIATION**2 + sigmas**2))

    def players(self) -> tuple[Player, ...]:
        return (Player("table", (self.gains,)),)

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        steps = self.settings(how).steps
        return torch.cat([torch.logspace(math.log10(20), math.log10(0.05), steps), torch.zeros(1)])

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        sigmas = self.levels()[:-1]

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            at = (sigma.reshape(-1, 1).log() - sigmas.log()).abs().argmin(1)
            return append_dims(self.gains[at], x) * x

        return denoise


def test_after_all_halvings_one_step_is_the_teacher_s_sixteen() -> None:
    """On a Gaussian every student can be exact, and the loss's minimiser is the composition of two steps."""
    teacher = Table(SHAPE)
    system = ProgressiveDistillation(SHAPE, teacher=teacher, start=16, steps=1)
    assert system.halvings == 4 and len(system.levels()) == 9
    optimiser = torch.optim.Adam(system.player.parameters(), 1.0)
    rounds = 240
    for k in range(rounds):
        now = turn(pixels(64, seed=k), seed=k, progress=k / rounds)
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * max(0.02, system.annealed(k / rounds))
        loss = system.halve(now)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            system.after_round(now)
    assert int(system.stage) == 3 and system.levels().tolist() == pytest.approx([20.0, 0.0])
    levels, n = teacher.levels(), 4
    x = levels[0] * ImageRng.counting(0, n).normal(n, *SHAPE)
    wanted = euler(teacher.denoiser(Condition(), n), x, levels, Stream(0))
    drawn = system.sample(Condition(), ImageRng.counting(0, n))
    torch.testing.assert_close(drawn, wanted.detach().clamp(-1, 1), rtol=0, atol=0.01)
    at_once = teacher.denoiser(Condition(), n)(x, levels[:1].expand(n))  # what the teacher makes of one step
    assert (at_once - wanted).abs().mean() > 10 * (drawn - wanted).abs().mean()
    torch.testing.assert_close(teacher.gains, Table(SHAPE).gains)  # the teacher is as it was


def test_the_target_is_where_two_steps_lead() -> None:
    """Algorithm 2's target, in VE space, makes one step of DDIM end where two of the teacher's end."""
    system = ProgressiveDistillation(SHAPE, teacher=Table(SHAPE), start=16, steps=8)
    grid = system.grid(0)
    with torch.no_grad():  # a student that already does it, in closed form
        for k in range(8):
            now, middle, after = grid[2 * k : 2 * k + 3]
            g, h = system.elder.gains[2 * k : 2 * k + 2]  # type: ignore[index]
            half = g + (1 - g) * middle / now
            whole = half * (h + (1 - h) * after / middle)
            system.student.gains[2 * k] = (whole - after / now) / (1 - after / now)  # type: ignore[index]
    assert system.halve(turn(pixels(128))) < 1e-7
    with torch.no_grad():
        system.student.gains += 0.01  # type: ignore[operator]
    assert system.halve(turn(pixels(128))) > 1e-6


def test_students_become_elders_between_halvings_and_rates_fall_within_each() -> None:
    system = ProgressiveDistillation(SHAPE, teacher=Table(SHAPE), start=8, steps=2)
    with torch.no_grad():
        system.student.gains += 1.0  # type: ignore[operator]
    system.after_round(turn(pixels(1), progress=0.49))
    assert int(system.stage) == 0 and len(system.levels()) == 5
    system.after_round(turn(pixels(1), progress=0.5))
    assert int(system.stage) == 1 and len(system.levels()) == 3
    assert torch.equal(system.elder.gains, system.student.gains)  # type: ignore[arg-type]
    system.after_round(turn(pixels(1), progress=1.0))
    assert int(system.stage) == 1
    assert [system.annealed(p) for p in (0.0, 0.25, 0.5, 0.75)] == [1.0, 0.5, 1.0, 0.5]


def test_what_is_no_teacher() -> None:
    with pytest.raises(Unsupported, match="no denoiser to distil"):
        ProgressiveDistillation(SHAPE, teacher=Gaussian(SHAPE))
    small = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}
    for noise in (DDPM(SHAPE, **small), ScoreSDE(SHAPE, network=UNET), NCSN(SHAPE, network=UNET)):  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"predicts the noise \(epsilon\)"):
            ProgressiveDistillation(SHAPE, teacher=noise)
    with pytest.raises(UsageError, match=r"pictures of \(1, 8, 8\), not \(1, 16, 16\)"):
        ProgressiveDistillation(Shape(1, 16, 16), teacher=Table(SHAPE))
    for start, steps in ((12, 4), (4, 4), (4, 8), (16, 0)):
        with pytest.raises(UsageError, match=f"{start} steps are not halved to {steps}"):
            ProgressiveDistillation(SHAPE, teacher=Table(SHAPE), start=start, steps=steps)


def test_no_more_steps_are_halved_than_the_teacher_s_chain_has() -> None:
    """A chain of 10 asked for 16 steps gives 10, of which every second one of every second one misses the end."""
    small = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}
    teacher = DDPM(SHAPE, **small, predicts="v", chain=10)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"at most 10 steps, so that 16 .*: set start to at most 8$"):
        ProgressiveDistillation(SHAPE, teacher=teacher, start=16, steps=1)
    with pytest.raises(UsageError, match=r"set start to at most 6$"):
        ProgressiveDistillation(SHAPE, teacher=teacher, start=24, steps=3)
    system = ProgressiveDistillation(SHAPE, teacher=teacher, start=8, steps=1)
    for stage in range(system.halvings):
        system.stage.fill_(stage)
        assert len(system.levels()) == 1 + 4 // 2**stage and system.levels()[-1] == 0


def test_the_guidance_of_the_teacher_is_within_its_students() -> None:
    from zeuxis.systems.diffusion.flow_matching import FlowMatching

    teacher = FlowMatching(SHAPE, network=DIT, classes=3, condition="label", guidance=3.0)
    with torch.no_grad():
        for k, p in enumerate(teacher.parameters()):
            p.copy_(0.2 * Stream(k).normal(*p.shape))
    condition = Condition(label=torch.tensor([0, 2, 1, 1]))

    def loss(guidance: float | None, stage: int = 0) -> float:
        system = ProgressiveDistillation(SHAPE, teacher=teacher, start=4, steps=1, guidance=guidance)
        system.stage.fill_(stage)
        return float(system.halve(turn(pixels(4), condition=condition)).detach())

    assert loss(None) == loss(3.0) != loss(1.0)  # the teacher's own default
    assert loss(3.0, stage=1) == loss(1.0, stage=1)  # a student already has it within
    system = ProgressiveDistillation(SHAPE, teacher=teacher, start=4, steps=1)
    assert system.conditions == {"label"} and not system.knobs
    x, sigma = pixels(4), torch.full((4,), 2.0)
    torch.testing.assert_close(
        system.denoiser(condition, 4)(x, sigma), teacher.denoiser(condition, 4, Sampling(guidance=1.0))(x, sigma)
    )
    with pytest.raises(Unsupported, match="no knob 'guidance'"):
        system.sample(condition, ImageRng.counting(0, 4), Sampling(guidance=2.0))


def test_a_chain_that_predicts_v_is_a_teacher() -> None:
    small = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": (), "chain": 20}
    teacher = DDPM(SHAPE, **small, predicts="v", schedule="cosine")  # type: ignore[arg-type]
    system = ProgressiveDistillation(SHAPE, teacher=teacher, start=8, steps=2, weight="truncated-snr")
    loss = system.halve(turn(pixels(8)))
    loss.backward()
    moved = [p.grad is not None and bool(p.grad.any()) for p in system.student.parameters()]
    assert torch.isfinite(loss) and any(moved)
    assert not any(p.requires_grad for part in (system.teacher, system.elder) for p in part.parameters())


def test_a_student_is_stored_without_its_teacher_and_found_again(tmp_path: Path) -> None:
    from zeuxis.catalog.weights import load_system
    from zeuxis.systems.diffusion.flow_matching import FlowMatching
    from zeuxis.training.checkpoint import read_model, write_model

    write_model(tmp_path / "teacher" / "model", FlowMatching(SHAPE, network=DIT), {"data": "toy"})
    teacher, _ = load_system(tmp_path / "teacher")
    system = ProgressiveDistillation(SHAPE, teacher=teacher, start=4, steps=1)
    assert system.player.parameters() and not any(p.requires_grad for p in system.teacher.parameters())
    with torch.no_grad():
        for p in system.player.parameters():
            p.add_(0.1)
    write_model(tmp_path / "student" / "model", system, {"data": "toy"})
    tensors, card = read_model(tmp_path / "student" / "model")
    assert not any(name.startswith("teacher.") for name in tensors) and "given" in card["config"]["teacher"]
    found, _ = load_system(tmp_path / "student")
    for name, p in system.student.named_parameters():
        assert torch.equal(dict(found.student.named_parameters())[name], p)  # type: ignore[union-attr]


# -- drifting ---------------------------------------------------------------------------------------------------


def test_the_field_is_nothing_between_equals_and_changes_its_sign_with_the_sides() -> None:
    x, p, q = (Stream(k).normal(n, 5) for k, n in ((0, 7), (1, 9), (2, 9)))
    torch.testing.assert_close(drifting_field(x, p, p, 0.5), torch.zeros(7, 5), rtol=0, atol=1e-6)  # Proposition 3.1
    torch.testing.assert_close(drifting_field(x, p, q, 0.5), -drifting_field(x, q, p, 0.5))  # Eq. 3


def test_the_field_is_equation_11_for_one_sample() -> None:
    """Of one x the normalisation over x leaves sqrt(softmax), which both kernels have."""
    x, p, q, tau = torch.zeros(1, 2), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0]]), 0.7
    k = torch.exp(-torch.tensor([1.0, 2.0, 3.0]) / tau)
    root = (k / k.sum()).sqrt()
    wanted = sum(root[i] * root[2] * (p[i] - q[0]) for i in range(2))
    torch.testing.assert_close(drifting_field(x, p, q, tau)[0], wanted)


def test_a_drawn_picture_does_not_repel_itself() -> None:
    x = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    pulled = drifting_field(x, torch.tensor([[1.0, 0.0], [4.0, 0.0]]), x, 1.0, alone=True)
    assert pulled[0, 0] < 1.0 and torch.isfinite(pulled).all()
    others = drifting_field(x[:1], torch.tensor([[1.0, 0.0], [4.0, 0.0]]), x[1:], 1.0)
    assert pulled[0, 0] * others[0, 0] > 0  # away from the other one, as if that were all


def test_distances_are_normalised_to_the_root_of_the_numbers() -> None:
    x, y = 7 * Stream(0).normal(1, 32, 9), 7 * Stream(1).normal(1, 32, 9)
    scale = mean_distance(x, y) / 3
    assert float(mean_distance(x / scale, y / scale)) == pytest.approx(3.0)  # Eq. 20
    system = Drifting(SHAPE, network=DIT)
    v = system.field(x / scale, y / scale, 0.05)
    assert float(v.square().mean()) == pytest.approx(1.0, abs=1e-4)  # Eq. 24


class Line(nn.Module):
    """A generator a e + b of pictures of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.05)), nn.Parameter(torch.tensor(-0.6))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.a * x + self.b


def test_a_line_drifts_to_the_gaussian_s_mean_and_deviation() -> None:
    system = Drifting(Shape(1, 4, 4), network={**DIT, "patch": 2})
    system.network = Line()  # type: ignore[assignment]
    mean, deviation, n = 0.4, 0.25, 128
    optimiser = torch.optim.Adam(system.network.parameters(), 1.0)
    draws = Stream(0)
    for k in range(200):
        real = mean + deviation * draws.normal(n, 1, 1, 1)
        loss = system.drift(Turn(Batch(real), draws, k, 0.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = 0.02 * (1 - k / 200) + 1e-4
        optimiser.step()
    assert float(system.network.b.detach()) == pytest.approx(mean, abs=0.03)
    assert abs(float(system.network.a.detach())) == pytest.approx(deviation, abs=0.03)


def test_maps_are_read_place_by_place_and_by_patches() -> None:
    maps = Stream(0).normal(3, 2, 8, 8)
    places, mean, deviation, *patches = map_features(maps)
    assert places.shape == (64, 3, 2) and mean.shape == deviation.shape == (1, 3, 2)
    assert [p.shape[0] for p in patches] == [16, 16, 4, 4]
    torch.testing.assert_close(places[9], maps[:, :, 1, 1])
    torch.testing.assert_close(mean[0], maps.mean((2, 3)))
    torch.testing.assert_close(deviation[0], maps.flatten(2).std(2, correction=0))
    torch.testing.assert_close(patches[0][5], maps[:, :, 2:4, 2:4].mean((2, 3)))
    torch.testing.assert_close(patches[3][1], maps[:, :, :4, 4:].flatten(2).std(2, correction=0))


def test_drifting_wants_company_and_features_that_fit() -> None:
    with pytest.raises(UsageError, match="2 or more"):
        Drifting(SHAPE, network=DIT).drift(turn(pixels(1)))
    with pytest.raises(Unsupported, match="does not encode"):
        Drifting(SHAPE, network=DIT, features=Table(SHAPE))
    with pytest.raises(UsageError, match="above 0"):
        Drifting(SHAPE, network=DIT, temperatures=(0.0,))
    with pytest.raises(UsageError, match="finest"):
        Shortcut(SHAPE, network=DIT, finest=12)
    with pytest.raises(UsageError, match="share"):
        MeanFlow(SHAPE, network=DIT, share=0.0)


# -- continuous-time consistency --------------------------------------------------------------------------------


class KnowsTheStart(nn.Module):
    """F of the consistency function of pixels N(0, DEVIATION^2): f(x, t) = x DEVIATION / (deviation at t)."""

    def __init__(self, sigma_data: float) -> None:
        super().__init__()
        self.sigma_data, self.error = sigma_data, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, time: Tensor, **conditioning: Tensor) -> Tensor:
        x, t = x.double() * self.sigma_data, append_dims(time.double() / SLOW_TIME_SCALE, x)
        now = ((t.cos() * DEVIATION) ** 2 + (t.sin() * self.sigma_data) ** 2).sqrt()
        start = x * DEVIATION / now
        return ((t.cos() * x - start) / (t.sin() * self.sigma_data) + self.error).float()


def continuous() -> ContinuousConsistency:
    system = ContinuousConsistency(SHAPE, network=DIT)
    system.network = KnowsTheStart(system.sigma_data)  # type: ignore[assignment]
    return system


def test_the_right_answer_stays_the_same_along_the_path() -> None:
    """Along the marginal flow df/dt is 0, and the tangent, cos(t) df/dt, is that derivative."""
    system, d = continuous(), 0.5
    t = torch.tensor([0.2, 0.7, 1.3])
    cos, sin = (append_dims(v, torch.zeros(3, *SHAPE)) for v in (t.cos(), t.sin()))
    variance = (cos * DEVIATION) ** 2 + (sin * d) ** 2
    x = variance.sqrt() * Stream(0).normal(3, *SHAPE)
    flow = cos * sin * (d**2 - DEVIATION**2) / variance * x  # E[dx/dt | x]
    answer, change = system.answer_and_change(x, t, flow, {})
    tangent = system.tangent(answer, change, x, t, flow, 1.0)
    torch.testing.assert_close(tangent, torch.zeros_like(x), rtol=0, atol=1e-4)
    along = Stream(1).normal(3, *SHAPE)
    answer, change = system.answer_and_change(x, t, along, {})
    h = 1e-3
    f = [system.consistent(x + k * h * along, t + k * h, {}) for k in (1, -1)]
    wanted = cos * (f[0] - f[1]) / (2 * h)
    torch.testing.assert_close(system.tangent(answer, change, x, t, along, 1.0), wanted, rtol=0, atol=5e-3)


def test_the_right_answer_is_where_the_loss_pulls_nowhere() -> None:
    slopes = {}
    for error in (0.0, 0.3):
        system = continuous()
        system.network.error.data.fill_(error)  # type: ignore[union-attr, operator]
        loss = system.stay(turn(pixels(2000), progress=1.0))
        slopes[error] = float(torch.autograd.grad(loss, system.network.error)[0])  # type: ignore[arg-type]
    assert abs(slopes[0.0]) < 0.02 and slopes[0.3] > 0.2


@pytest.mark.parametrize("side", [2, 16])
def test_each_tangent_is_brought_to_its_own_size_whatever_the_picture_s(side: int) -> None:
    tangent = torch.tensor([0.1, 1.0, 50.0]).view(-1, 1, 1, 1) * torch.ones(3, 3, side, side)
    found, size = normalised(tangent)
    torch.testing.assert_close(size, torch.tensor([0.1, 1.0, 50.0]))
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([0.5, 1 / 1.1, 50 / 50.1]))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_right_answer_draws_the_pixels(steps: int) -> None:
    system = continuous()
    drawn = system.sample(Condition(), ImageRng.counting(0, 200), Sampling(steps=steps))
    assert float(drawn.std()) == pytest.approx(DEVIATION, rel=0.02)
    levels = system.levels(Sampling(steps=steps))
    assert len(levels) == steps + 1 and (levels.diff() < 0).all()
    x = levels[0] * Stream(0).normal(4, *SHAPE)
    start = x * DEVIATION / (DEVIATION**2 + float(levels[0]) ** 2) ** 0.5
    torch.testing.assert_close(system.denoiser(Condition(), 4)(x, levels[0].expand(4)), start, rtol=0, atol=1e-3)
