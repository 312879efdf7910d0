"""ncsn, score-sde, edm and classifier guidance, mostly with networks that know the answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.diffusion.guidance import classifier_guided
from zeuxis.diffusion.langevin import excess
from zeuxis.diffusion.likelihood import LOW
from zeuxis.diffusion.path import SDES, Path, SdeKind, append_dims
from zeuxis.diffusion.predictor_corrector import (
    Predictor,
    annealed_langevin,
    ladder,
    langevin_rate,
    predictor_corrector,
)
from zeuxis.diffusion.sampler import ByLevel, euler
from zeuxis.diffusion.schedule import geometric
from zeuxis.distributions.reduce import per_image
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.networks import Ends, build_network
from zeuxis.nn.resampling_unet import NoisyClassifier, ResamplingUNet
from zeuxis.nn.unet import UNet
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.density.gaussian import Gaussian
from zeuxis.systems.diffusion.classifier_guidance import ClassifierGuidance
from zeuxis.systems.diffusion.edm import EDM
from zeuxis.systems.diffusion.ncsn import NCSN
from zeuxis.systems.diffusion.score_sde import ScoreSDE

SHAPE = Shape(1, 8, 8)
NET = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}
KINDS: tuple[SdeKind, ...] = ("vp", "sub-vp", "ve")
MEAN, DEVIATION = 0.2, 0.1


def gaussian_x0(x: Tensor, sigma: Tensor, mean: float = MEAN, deviation: float = DEVIATION) -> Tensor:
    """E[x0 | x0 + sigma e] of independent pixels N(mean, deviation^2)."""
    s = append_dims(sigma, x)
    return (deviation**2 * x + s**2 * mean) / (deviation**2 + s**2)


def turn(x: Tensor, condition: Condition = Condition()) -> Turn:
    return Turn(Batch(x, condition), Stream(1), 0, 0.0)


# -- the continuous paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "times", "alphas", "stds"),
    [
        ("vp", (0.25, 0.5, 0.75, 1.0), (0.72365719, 0.28118288, 0.05866350, 0.00657159), (0.69015960, 0.95965420, 0.99827781, 0.99997841)),  # noqa: E501
        ("sub-vp", (0.25, 0.5, 0.75, 1.0), (0.72365719, 0.28118288, 0.05866350, 0.00657159), (0.47632, 0.92094, 0.99656, 0.99996)),  # noqa: E501
        ("ve", (0.0, 0.5, 1.0), (1.0, 1.0, 1.0), (0.01, 0.70710678, 50.0)),
    ],
)  # fmt: skip
def test_published_processes(
    kind: SdeKind, times: tuple[float, ...], alphas: tuple[float, ...], stds: tuple[float, ...]
) -> None:
    path = SDES[kind](*((0.01, 50.0) if kind == "ve" else (0.1, 20.0)))
    t = torch.tensor(times)
    torch.testing.assert_close(path.alpha(t), torch.tensor(alphas), rtol=1e-5, atol=0)
    torch.testing.assert_close(path.std(t), torch.tensor(stds), rtol=1e-4 if kind == "sub-vp" else 1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_their_time_inverts_the_noise_level_for_tensors_and_numbers(kind: SdeKind) -> None:
    path = SDES[kind](*((0.01, 50.0) if kind == "ve" else (0.1, 20.0)))
    t = torch.tensor([1e-4, 1e-3, 0.02, 0.4, 0.9, 1.0])
    torch.testing.assert_close(path.time(path.std(t) / path.alpha(t)), t, rtol=1e-4, atol=1e-6)
    for each in t.tolist():
        assert path.time(path.std(each) / path.alpha(each)) == pytest.approx(each, rel=1e-6)
        assert path.std(each) == pytest.approx(float(path.std(torch.tensor(each))), rel=1e-4)


# -- walks at a level -------------------------------------------------------------------------------------------


def test_the_published_rate_and_ladder() -> None:
    """NCSNv2 on CIFAR-10: 232 levels from 50 to 0.01, 5 steps each, epsilon 6.2e-6, so a rate of 0.062."""
    ratio = (50 / 0.01) ** (1 / 231)
    assert langevin_rate(ratio, 5) == pytest.approx(6.2e-6 / 0.01**2, abs=5e-4)
    assert ladder(0.01, 50, 3 * 32 * 32) == 220  # the paper's 232 is "about" its Eq. for 1/2
    assert ladder(0.01, 90, 3 * 64 * 64) == pytest.approx(500, rel=0.06)


def test_langevin_dynamics_at_one_level_has_the_variance_of_its_walk() -> None:
    sigma, rate, deviation = 0.7, 0.2, 0.5
    levels = torch.tensor([sigma, 0.0])
    x = torch.zeros(4000, 1, 1, 1)

    def denoise(x: Tensor, level: Tensor) -> Tensor:
        return gaussian_x0(x, level, 0.3, deviation)

    found = annealed_langevin(denoise, x, levels, Stream(0), each=60, rate=rate, clean=False)
    variance = deviation**2 + sigma**2
    assert float(found.mean()) == pytest.approx(0.3, abs=0.05)
    assert float(found.var()) == pytest.approx(variance * excess(rate * sigma**2, variance), rel=0.06)


def mixture(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Of 0.3 N(-0.6, 0.1^2 I) + 0.7 N(0.5, 0.1^2 I) in any number of dimensions d, every entry of a mean alike:
    log p(y | x) (B, 2) and E[x0 | x, y] (B, 2, d)."""
    flat, s = x.flatten(1)[:, None], sigma[:, None, None]
    means, weights = torch.tensor([[-0.6], [0.5]]), torch.tensor([0.3, 0.7])
    variance = DEVIATION**2 + s**2
    log = weights.log() - ((flat - means) ** 2 / (2 * variance)).sum(2)
    return log.log_softmax(1), (DEVIATION**2 * flat + s**2 * means) / variance


def of_mixture(x: Tensor, sigma: Tensor) -> Tensor:
    log, each = mixture(x, sigma)
    return (log.exp()[..., None] * each).sum(1).view_as(x)


def is_of_mixture(drawn: Tensor) -> None:
    low = drawn.flatten(1).mean(1) < 0
    assert float(low.float().mean()) == pytest.approx(0.3, abs=0.07)
    assert float(drawn[low].mean()) == pytest.approx(-0.6, abs=0.02)
    assert float(drawn[~low].mean()) == pytest.approx(0.5, abs=0.02)
    assert float(drawn[~low].std()) == pytest.approx(DEVIATION, rel=0.12)


def test_annealed_langevin_draws_a_mixture() -> None:
    levels = geometric(60, 0.01, 5.0)
    x = 5 * Stream(0).normal(400, 1, 4, 4)
    is_of_mixture(annealed_langevin(of_mixture, x, levels, Stream(1), each=6, rate=0.15))


@pytest.mark.parametrize("predictor", ["reverse-diffusion", "ancestral"])
@pytest.mark.parametrize("corrections", [0, 1, 2])
def test_predictor_and_corrector_draw_a_mixture(predictor: Predictor, corrections: int) -> None:
    levels = geometric(100 if predictor == "reverse-diffusion" else 50, 0.01, 20.0)
    x = 20 * Stream(0).normal(400, *SHAPE)
    how = {"predictor": predictor, "corrections": corrections, "snr": 0.16}
    is_of_mixture(predictor_corrector(of_mixture, x, levels, Stream(1), **how))  # type: ignore[arg-type]


def test_the_corrector_s_step_is_that_of_the_signal_to_noise_rule() -> None:
    """Song et al. 2021, Alg. 4: e = 2 (r |z| / |s|)^2, x + e s + sqrt(2 e) z, with each picture's own norms."""
    levels, rng = torch.tensor([2.0, 1.0, 0.0]), Stream(5)
    x = Stream(3).normal(3, *SHAPE)
    asked: list[Tensor] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(x)
        return gaussian_x0(x, sigma)

    predictor_corrector(denoise, x, levels, rng, corrections=1, snr=0.1)
    assert len(asked) == 3  # N + (N - 1) corrections
    again = Stream(5)
    z0, z1 = again.normal(3, *SHAPE), again.normal(3, *SHAPE)
    one = torch.ones(3)
    predicted = x + 3 / 4 * (gaussian_x0(x, 2 * one) - x) + math.sqrt(3) * z0
    torch.testing.assert_close(asked[1], predicted)
    score = gaussian_x0(predicted, one) - predicted
    e = 2 * (0.1 * z1.flatten(1).norm(dim=1) / score.flatten(1).norm(dim=1)) ** 2
    corrected = predicted + append_dims(e, x) * score + append_dims((2 * e).sqrt(), x) * z1
    torch.testing.assert_close(asked[2], corrected)


# -- the systems ------------------------------------------------------------------------------------------------


class KnowsTheScore(nn.Module):
    """The best network for independent pixels: of ``F = sign (x - a x0) / s`` on a path, told t or not."""

    def __init__(self, path: Path, sign: float) -> None:
        super().__init__()
        self.path, self.sign = path, sign

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        t = time / 1000
        a, s = append_dims(self.path.alpha(t), x), append_dims(self.path.std(t), x)
        return self.sign * (x - a * gaussian_x0(x / a, (s / a).flatten())) / s


class KnowsEDM(nn.Module):
    """The same of EDM: F = (x0 - c_skip x) / c_out (Karras et al. 2022, Eq. 7)."""

    def forward(self, seen: Tensor, time: Tensor) -> Tensor:
        sigma = (time * 4 / 1000).exp()
        s = append_dims(sigma, seen)
        x = seen * (s**2 + 0.25).sqrt()
        skip, out = 0.25 / (s**2 + 0.25), s * 0.5 / (s**2 + 0.25).sqrt()
        return (gaussian_x0(x, sigma) - skip * x) / out


def knowing(name: str) -> System:
    match name:
        case "ncsn":
            ncsn = NCSN(SHAPE, network=NET, high=20.0, clamp=False)
            ncsn.network = KnowsTheScore(ncsn.path, -1)  # type: ignore[assignment]
            return ncsn
        case "edm":
            edm = EDM(SHAPE, network=NET)
            edm.network = KnowsEDM()  # type: ignore[assignment]
            return edm
        case _:
            sde = ScoreSDE(SHAPE, network=NET, sde=name, clamp=False)  # type: ignore[arg-type]
            sde.network = KnowsTheScore(sde.path, 1)  # type: ignore[assignment]
            return sde


NAMES = ("ncsn", *KINDS, "edm")


@pytest.mark.parametrize("name", NAMES)
def test_the_denoiser_of_independent_pixels_is_the_closed_form(name: str) -> None:
    system = knowing(name)
    denoise = system.denoiser(Condition(), 2)
    assert isinstance(denoise, ByLevel)
    for sigma in (0.03, 0.4, 3.0, 15.0):
        x = MEAN + math.hypot(DEVIATION, sigma) * Stream(2).normal(2, *SHAPE)
        each = torch.full((2,), sigma)
        torch.testing.assert_close(denoise(x, each), gaussian_x0(x, each), rtol=0, atol=2e-3)
        torch.testing.assert_close(denoise.of(x, sigma), gaussian_x0(x, each), rtol=0, atol=2e-3)


@pytest.mark.parametrize(("name", "how"), [(n, {"steps": 200}) for n in KINDS] + [("edm", {}), ("ncsn", {"steps": 60})])
def test_what_they_draw_has_the_mean_and_the_deviation(name: str, how: dict[str, int]) -> None:
    drawn = knowing(name).sample(Condition(), ImageRng.counting(0, 16), Sampling(**how))
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(drawn.std()) == pytest.approx(DEVIATION, rel=0.12)


@pytest.mark.parametrize("name", NAMES)
def test_the_right_network_has_the_least_loss(name: str) -> None:
    system, image = knowing(name), MEAN + DEVIATION * Stream(0).normal(64, *SHAPE)
    (move,) = system.moves()
    right = move.loss(turn(image))
    network = system.network
    assert isinstance(network, nn.Module)
    forward = network.forward
    network.forward = lambda x, time: forward(x, time) + 0.3  # type: ignore[method-assign]
    wrong = move.loss(turn(image))
    assert right is not None and wrong is not None
    # an error in what the network predicts counts by its square, in every method's own unit
    assert float(wrong - right) == pytest.approx(0.09, abs=0.03)


@pytest.mark.parametrize("name", [*KINDS, "edm"])
def test_the_likelihood_of_independent_pixels_is_the_closed_form(name: str) -> None:
    system = knowing(name)
    image = MEAN + DEVIATION * Stream(0).normal(3, *SHAPE)
    least = system.path.std(system.least) / system.path.alpha(system.least) if isinstance(system, ScoreSDE) else LOW
    variance = DEVIATION**2 + max(LOW, least) ** 2  # nothing is asked of a network below what it is trained at
    wanted = -0.5 * per_image((image - MEAN) ** 2 / variance + math.log(2 * math.pi * variance))
    found = system.log_prob(image, Stream(1))  # one probe is exact: the divergence is diagonal
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.3)


SETTINGS = {"ncsn": {"steps": 5, "sampler": "euler"}, "edm": {"steps": 5, "sampler": "euler", "guidance": 2.0}} | {
    kind: {"steps": 5, "sampler": "euler", "guidance": 2.0} for kind in KINDS
}
LABELLED = {"classes": 3, "condition": "label"}


def stirred(name: str) -> System:
    make = {
        "ncsn": lambda: NCSN(SHAPE, network=NET, high=20.0, **LABELLED),
        "edm": lambda: EDM(SHAPE, network=NET, **LABELLED),
    }
    system = make.get(name, lambda: ScoreSDE(SHAPE, network=NET, sde=name, **LABELLED))()  # type: ignore[arg-type,call-overload]
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in system.parameters():
            p.normal_(std=0.1, generator=rng)
    return system


@pytest.mark.parametrize("name", NAMES)
def test_euler_on_the_open_denoiser_draws_what_sample_draws(name: str) -> None:
    system, how = stirred(name), Sampling(**SETTINGS[name])  # type: ignore[arg-type]
    condition, rng = Condition(label=torch.tensor([0, 2, 1])), ImageRng.counting(0, 3)
    levels = system.levels(how)
    assert len(levels) == 6 and levels[-1] == 0 and (levels.diff() < 0).all()
    with torch.no_grad():
        drawn = euler(system.denoiser(condition, 3, how), levels[0] * rng.normal(3, *SHAPE), levels, rng)
    torch.testing.assert_close(drawn.clamp(-1, 1), system.sample(condition, ImageRng.counting(0, 3), how))


def test_a_blind_network_is_not_told_the_level() -> None:
    for blind in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            ncsn = NCSN(SHAPE, network=NET, blind=blind)
        for p in ncsn.parameters():
            nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(0))
        x = Stream(0).normal(2, *SHAPE)
        scores = [(ncsn.denoise(x, level, {}) - x) / level for level in (0.1, 10.0)]
        assert torch.allclose(*scores, atol=1e-5) == blind


def test_2020_s_ladder_is_the_default_and_knobs_that_mean_nothing_are_refused() -> None:
    ncsn = NCSN(SHAPE, network=NET)
    assert ncsn.scales == ladder(0.02, 100.0, 64) and len(ncsn.levels()) == ncsn.scales + 1
    draw = lambda **how: ncsn.sample(Condition(), ImageRng.counting(0, 1), Sampling(**{"steps": 2, **how}))  # noqa: E731
    with pytest.raises(UsageError, match="each 3: sampler 'heun' makes no use of each"):
        draw(sampler="heun", each=3)
    with pytest.raises(UsageError, match="churn"):
        draw(churn=4.0)
    with pytest.raises(UnknownName, match="heun"):
        draw(sampler="huen")
    with pytest.raises(UnknownName, match="SDE"):
        ScoreSDE(SHAPE, network=NET, sde="vq")  # type: ignore[arg-type]


# -- classifier guidance ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_a_mixture_s_denoiser_steered_by_its_own_classifier_is_that_of_the_class(sigma: float) -> None:
    x, level = Stream(0).normal(50, 1, 1, 1), torch.full((50,), sigma)
    for y in (0, 1):
        guided = classifier_guided(of_mixture, lambda x, s, y=y: mixture(x, s)[0][:, y], 1.0)  # type: ignore[misc]
        wanted = mixture(x, level)[1][:, y].view_as(x)  # one number each
        torch.testing.assert_close(guided(x, level), wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(guided.of(x, sigma), wanted, rtol=1e-4, atol=1e-4)
        with torch.inference_mode():
            torch.testing.assert_close(guided(x, level), wanted, rtol=1e-4, atol=1e-4)
    asked = x.clone().requires_grad_(True)
    guided(asked, level).sum().backward()  # of one class the slope is that of the posterior mean
    assert asked.grad is not None
    share = DEVIATION**2 / (DEVIATION**2 + sigma**2)
    torch.testing.assert_close(asked.grad, torch.full_like(asked, share), rtol=1e-2, atol=1e-2)


def steered(**how: object) -> ClassifierGuidance:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        small = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": (), "head_width": 8}
        return ClassifierGuidance(SHAPE, classes=3, **{"base": EDM(SHAPE, network=NET), **small, **how})  # type: ignore[arg-type]


def test_without_scale_the_base_is_left_as_it_is_and_with_it_classes_differ() -> None:
    system = steered(scale=50.0).eval()
    labels = [Condition(label=torch.tensor([k])) for k in (0, 1)]
    x, sigma = Stream(0).normal(1, *SHAPE), torch.tensor([0.7])
    plain = system.base.denoiser(Condition(), 1)(x, sigma)
    assert torch.equal(system.denoiser(labels[0], 1, Sampling(scale=0.0))(x, sigma), plain)
    one, other = (system.denoiser(condition, 1)(x, sigma) for condition in labels)
    assert (one - plain).abs().max() > 1e-4 and (one - other).abs().max() > 1e-4
    assert {"scale", "steps", "guidance", "sampler"} <= set(system.knobs) and system.conditions == {"label"}
    assert all(not p.requires_grad for p in system.base.parameters())


def test_its_held_out_loss_is_the_classifier_s_at_eight_levels() -> None:
    system, batch = steered().eval(), Batch(Stream(0).normal(6, *SHAPE), Condition(label=torch.arange(6) % 3))
    with torch.no_grad():
        found = system.held_out(batch, Stream(1))
        noisy = batch.image + 0.5 * Stream(1).normal(6, *SHAPE)
        log = system.logits(noisy, torch.full((6,), 0.5)).log_softmax(1)
    assert len(found) == 8 and batch.condition.label is not None
    torch.testing.assert_close(found["sigma 0.5"], -log[torch.arange(6), batch.condition.label].mean())


def test_it_is_drawn_by_the_samplers_of_its_base_and_refuses_what_they_have_no_use_for() -> None:
    how = Sampling(steps=3)
    for base, own, knob, usual in (
        (ScoreSDE(SHAPE, network=NET), "predictor-corrector", "corrections", 1),
        (NCSN(SHAPE, network=NET, scales=4), "annealed-langevin", "each", 5),
    ):
        system = steered(base=base, scale=0.0).eval()
        given, rng = Condition(label=torch.tensor([1])), lambda: ImageRng([3])
        asked = Sampling(**how, sampler=own, **{knob: 2})
        wanted = base.sample(Condition(), rng(), asked)  # at scale 0 it is the base
        torch.testing.assert_close(system.sample(given, rng(), asked), wanted)
        assert not torch.allclose(system.sample(given, rng(), Sampling(**how, sampler=own, **{knob: usual})), wanted)
        with pytest.raises(UsageError, match=f"sampler 'ddim' makes no use of {knob}"):
            system.sample(given, rng(), Sampling(**how, **{knob: 2}))
    assert "annealed-langevin" not in steered().knobs["sampler"].choices


def test_what_cannot_be_steered_is_refused() -> None:
    with pytest.raises(Unsupported, match="no denoiser"):
        steered(base=Gaussian(SHAPE))
    with pytest.raises(UsageError, match="was trained on pictures of"):
        steered(base=EDM(Shape(1, 4, 4), network=NET))
    with pytest.raises(Unsupported, match="give a label"):
        steered().denoiser(Condition(), 1)


# -- the networks -----------------------------------------------------------------------------------------------


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_networks_have_the_published_counts() -> None:
    """EDM's counts include an embedding of 9 augmentations, ADM's one of 1,000 classes, which conditioners hold."""
    classes = 1000
    with torch.device("meta"):
        rgb = Ends(Shape(3, 32, 32))
        assert count(build_network({"kind": "ddpm++"}, rgb)) + 9 * 128 == 55_733_891
        assert count(build_network({"kind": "ncsn++"}, rgb)) + 9 * 256 == 56_397_827
        ffhq = {"multiples": (1, 2, 2, 2), "attention": (4,)}
        assert count(build_network({"kind": "ddpm++", **ffhq}, rgb)) == 61_804_419
        assert count(build_network({"kind": "ncsn++", **ffhq}, rgb)) + 9 * 256 == 62_761_091
        assert count(build_network({"kind": "adm"}, Ends(Shape(3, 64, 64)))) + classes * 768 == 295_899_267
        adm = {"head_width": 64, "modulate": True, "scale": 1.0, "out_channels": 6}
        imagenet = ResamplingUNet(3, width=192, multiples=(1, 2, 3, 4), blocks=3, attention=(2, 4, 8), **adm)  # type: ignore[arg-type]
        assert count(imagenet) + classes * 768 == 295_904_454
        large = ResamplingUNet(3, width=256, multiples=(1, 1, 2, 2, 4, 4), blocks=2, attention=(8, 16, 32), **adm)  # type: ignore[arg-type]
        assert count(large) == 552_814_086 and count(large) + classes * 1024 == 553_838_086
        assert count(NoisyClassifier(3, (64, 64), classes, blocks=4)) == 65_438_568
        wide = NoisyClassifier(3, (128, 128), classes, multiples=(1, 1, 2, 3, 4), attention=(4, 8, 16))
        assert count(wide) == 42_568_040
        widest = NoisyClassifier(3, (256, 256), classes, multiples=(1, 1, 2, 2, 4, 4), attention=(8, 16, 32))
        assert count(widest) == 54_096_360


def filled(network: ResamplingUNet) -> ResamplingUNet:
    """The same weights each time, which no initialisation gives."""
    rng = Stream(0)
    with torch.no_grad():
        for name, p in network.named_parameters():
            fan = p[0].numel() if p.ndim > 1 else 25
            norm = "norm" in name and name.endswith("weight")
            p.copy_(rng.normal(*p.shape) / math.sqrt(max(1, fan)) + norm)
        if len(network.frequencies):
            network.frequencies.copy_(16 * rng.normal(len(network.frequencies)))
    return network.eval()


@pytest.mark.parametrize(
    ("options", "pixels"),
    [
        ({}, (-0.369422, 0.411504, -1.383043, -1.06259, -0.947839, -0.862188)),
        (
            {"fourier": True, "residual": True, "taps": (1, 3, 3, 1)},
            (-0.168178, 0.105322, -0.835477, 0.222211, 0.727842, 0.463495),
        ),
        (
            {"modulate": True, "scale": 1.0, "head_width": 64, "out_channels": 6},
            (-0.200072, -1.282065, -0.021212, 0.189913, -0.893162, 0.600365, -0.015711, -0.582519, -0.876405),
        ),
    ],
    ids=["ddpm++", "ncsn++", "adm"],
)
def test_networks_compute_what_edm_s_code_computes(options: dict[str, object], pixels: tuple[float, ...]) -> None:
    """The numbers are those of ``SongUNet`` and ``DhariwalUNet`` of NVlabs/edm, commit 008a4e5, with these weights."""
    network = filled(ResamplingUNet(3, width=64, multiples=(1, 2), blocks=1, attention=(2,), **options))  # type: ignore[arg-type]
    with torch.no_grad():
        out = network(Stream(1).normal(2, 3, 16, 16), torch.tensor([300.0, -900.0]))
    found = torch.cat([out[1, :, 5, 7], out[0, 0, 0, :3]])
    torch.testing.assert_close(found, torch.tensor(pixels), rtol=0, atol=2e-5)


def test_such_networks_attend_to_no_caption() -> None:
    with pytest.raises(UsageError, match="attend to no caption"):
        build_network({"kind": "ncsn++"}, Ends(SHAPE, context_width=16))
    with pytest.raises(UsageError, match="cannot be halved"):
        build_network({"kind": "adm"}, Ends(Shape(3, 12, 12)))


def test_heads_that_do_not_divide_a_level_are_refused() -> None:
    levels: dict[str, Any] = {"width": 48, "multiples": (1, 2), "blocks": 1, "attention": (2,), "head_width": 64}
    wrong = "attention at 96 channels is not of whole heads of 64: change head_width"
    with pytest.raises(UsageError, match=wrong):
        build_network({"kind": "adm", **levels}, Ends(Shape(1, 8, 8)))
    with pytest.raises(UsageError, match=wrong):
        UNet(1, **levels)
