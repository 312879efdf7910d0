"""DDPM, flow matching and consistency training, mostly with networks that know the answer."""

from __future__ import annotations

import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from zeuxis.api.collectors import Chunk, Likelihoods
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.diffusion.path import append_dims
from zeuxis.diffusion.sampler import SAMPLERS, ByLevel, euler
from zeuxis.diffusion.straight import LEAST_TIME
from zeuxis.diffusion.weighting import min_snr
from zeuxis.distributions.reduce import per_image
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.metrics.likelihood import bits_per_dim
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.recipe import load_recipe, merged
from zeuxis.rng import ImageRng, Rng, Stream
from zeuxis.systems.diffusion.classifier_guidance import ClassifierGuidance
from zeuxis.systems.diffusion.consistency import Consistency
from zeuxis.systems.diffusion.consistency_continuous import ContinuousConsistency
from zeuxis.systems.diffusion.ddpm import BIN, DDPM, discretised_normal_log_prob
from zeuxis.systems.diffusion.edm import EDM
from zeuxis.systems.diffusion.flow_matching import FlowMatching
from zeuxis.systems.diffusion.ncsn import NCSN
from zeuxis.systems.diffusion.score_sde import ScoreSDE
from zeuxis.training.legacy import upgraded_config, upgraded_tensors

SHAPE = Shape(1, 8, 8)
WORDS = ("a", "red", "blue", "circle", "square")
SMALL = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}
DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}
UNET = {"kind": "unet", "width": 16, "multiples": (1, 2), "blocks": 1, "attention": (), "heads": 2}
TEXT = {"width": 16, "depth": 1}


def image(n: int = 1, seed: int = 0) -> Tensor:
    """Pictures (n, 1, 8, 8) of 256 grey levels in [-1, 1]."""
    return Stream(seed).integers(256, n, *SHAPE).float() / 127.5 - 1


def turn(x: Tensor, condition: Condition = Condition(), progress: float = 0.0) -> Turn:
    return Turn(Batch(x, condition), Stream(1), 0, progress)


def tiny_flow(**how: object) -> FlowMatching:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = TEXT if how.get("condition") == "caption" else None
        net = FlowMatching(SHAPE, **{"network": DIT, "text": text, **how})  # type: ignore[arg-type]
        for p in net.parameters():  # what starts at zero would hide the condition
            nn.init.normal_(p, std=0.2)
    return net


# -- the denoiser, of all three ---------------------------------------------------------------------------------


def stirred(system: DDPM | Consistency | FlowMatching) -> System:
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in system.parameters():
            p.normal_(std=0.1, generator=rng)
    return system


LABELLED = {"classes": 3, "condition": "label"}
OPEN = {
    "ddpm": (lambda: DDPM(SHAPE, **SMALL, **LABELLED), {"steps": 5, "guidance": 2.0, "sampler": "euler"}),  # type: ignore[arg-type]
    "flow": (lambda: FlowMatching(SHAPE, network=DIT, **LABELLED), {"steps": 5, "guidance": 2.0}),  # type: ignore[arg-type]
    "shifted": (lambda: FlowMatching(SHAPE, network=UNET, predicts="x0", shift=3.0, **LABELLED), {"steps": 4}),  # type: ignore[arg-type]
    "consistency": (lambda: Consistency(SHAPE, **SMALL, **LABELLED), {"steps": 1}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", OPEN)
def test_euler_on_the_open_denoiser_draws_what_sample_draws(name: str) -> None:
    make, settings = OPEN[name]
    system, how = stirred(make()), Sampling(**settings)
    assert "denoiser" in system.can
    condition = Condition(label=torch.tensor([0, 2, 1]))
    levels = system.levels(how)
    assert len(levels) == settings["steps"] + 1 and levels[-1] == 0 and (levels.diff() < 0).all()
    rng = ImageRng.counting(0, 3)
    with torch.no_grad():
        drawn = euler(system.denoiser(condition, 3, how), levels[0] * rng.normal(3, *SHAPE), levels, rng)
    wanted = system.sample(condition, ImageRng.counting(0, 3), how)
    torch.testing.assert_close(drawn.clamp(-1, 1), wanted, rtol=0, atol=0.02 * float(wanted.std()))


def test_guidance_is_inside_the_denoiser() -> None:
    flow, condition = tiny_flow(**LABELLED), Condition(label=torch.tensor([0, 2]))
    x, sigma = image(2) + 3 * Stream(1).normal(2, *SHAPE), torch.tensor([0.3, 3.0])
    null, plain, guided = (flow.denoiser(condition, 2, Sampling(guidance=g))(x, sigma) for g in (0.0, 1.0, 3.0))
    assert (plain - null).abs().max() > 1e-3
    torch.testing.assert_close(guided, null + 3 * (plain - null), rtol=1e-4, atol=1e-4)


def test_the_denoiser_of_independent_pixels_is_the_closed_form() -> None:
    mean, deviation = 0.2, 0.1
    ddpm, flow = DDPM(SHAPE, **SMALL), FlowMatching(SHAPE, network=DIT)  # type: ignore[arg-type]
    ddpm.network = BestGuess(ddpm, torch.tensor(mean), deviation)
    flow.network = KnowsThePixels(mean, deviation)
    for system in (ddpm, flow):
        for sigma in system.levels(Sampling(steps=7))[:-1]:
            x = mean + math.hypot(deviation, float(sigma)) * Stream(2).normal(2, *SHAPE)
            wanted = (deviation**2 * x + sigma**2 * mean) / (deviation**2 + sigma**2)
            torch.testing.assert_close(
                system.denoiser(Condition(), 2)(x, sigma.expand(2)), wanted.clamp(-1, 1), rtol=0, atol=1e-3
            )


@pytest.mark.parametrize("name", OPEN)
def test_a_number_is_answered_as_that_level_of_every_image(name: str) -> None:
    system = stirred(OPEN[name][0]())
    denoise = system.denoiser(Condition(label=torch.tensor([0, 2, 1])), 3)
    assert isinstance(denoise, ByLevel)
    for level in (0.03, 0.7, 12.0, 70.0):
        x = level * Stream(3).normal(3, *SHAPE)
        each = denoise(x, torch.full((3,), level))
        torch.testing.assert_close(denoise.of(x, level), each, rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_the_denoiser() -> None:
    x = image().requires_grad_(True)
    tiny_flow().denoiser(Condition(), 1)(x, torch.ones(1)).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0


def test_models_of_the_first_format_are_read() -> None:
    """Flat keywords become tables of the chosen parts; blocks of the U-Net and conditioners have other names."""
    flat = {"condition": "caption", "network": "uvit", "width": 160, "depth": 4, "heads": 5, "patch": 4, "fine": 64}
    flat |= {"fine_depth": 3, "multiples": [1, 2], "attention": [2], "text_width": 128, "text_depth": 2}
    flat |= {"text_heads": 4, "text_length": 12, "sketch": 8, "shift": 2.0, "solver": "heun"}
    uvit = {"kind": "uvit", "patch": 4, "fine": 64, "fine_depth": 3, "width": 160, "depth": 4, "heads": 5}
    text = {"width": 128, "depth": 2, "heads": 4, "length": 12, "sketch": 8}
    rest = {"shift": 2.0, "sampler": "heun"}
    assert upgraded_config("flow-matching", flat) == {"condition": "caption", "network": uvit, "text": text, **rest}
    unet = {"kind": "unet", "width": 160, "multiples": [1, 2], "blocks": 4, "attention": [2], "heads": 5}
    again = upgraded_config("flow-matching", flat | {"network": "unet", "condition": "label"})
    assert again == {"condition": "label", "network": unet, "text": None, **rest}
    assert upgraded_config("ddpm", {"width": 8, "depth": 1}) == {"width": 8, "blocks": 1}
    names = {
        "network.down.0.stages.1.block.conv1.weight": "network.down_levels.0.blocks.1.resblock.conv1.weight",
        "network.down.0.stages.1.reader.norm.bias": "network.down_levels.0.blocks.1.transformer.norm.bias",
        "network.up.1.stages.0.attention.norm.bias": "network.up_levels.1.blocks.0.attention.norm.bias",
        "network.up.1.resample.conv.bias": "network.up_levels.1.resample.conv.bias",
        "network.middle.1.block.conv1.bias": "network.middle_blocks.1.resblock.conv1.bias",
        "network.middle.0.attention.attention.out.bias": "network.middle_blocks.0.attention.attention.out.bias",
        "network.middle.0.attention.qkv.bias": "network.middle.0.attention.qkv.bias",  # a U-ViT's
        "average.reader.tower.token.weight": "average.conditioner.tower.token.weight",
        "target_reader.embedding.table.weight": "target_conditioner.embedding.table.weight",
        "reader.quantiser.codebook": "reader.quantiser.codebook",  # a first stage
    }
    assert list(upgraded_tensors(dict.fromkeys(names, 0), 1)) == list(names.values())


def test_other_systems_have_no_denoiser() -> None:
    from zeuxis.systems.density.gaussian import Gaussian

    for ask in (lambda g: g.denoiser(Condition(), 1), lambda g: g.levels()):
        with pytest.raises(Unsupported, match="cannot denoise"):
            ask(Gaussian(SHAPE))


class KnowsThePixels(nn.Module):
    """The velocity field of independent pixels N(mean, deviation^2)."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.variance = mean, deviation**2

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        t = append_dims(time / TIME_SCALE, x)
        x0 = self.mean + (1 - t) * self.variance * (x - (1 - t) * self.mean) / ((1 - t) ** 2 * self.variance + t**2)
        return (x - x0) / t


# -- flow matching ----------------------------------------------------------------------------------------------


class KnowsThePicture(nn.Module):
    """The velocity field of the distribution that holds one picture."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.picture = picture

    def forward(self, x: Tensor, time: Tensor, **conditioning: Tensor) -> Tensor:
        return (x - self.picture) / append_dims(time / TIME_SCALE, x)


def test_every_sampler_is_on_the_cards() -> None:
    for system in (DDPM, FlowMatching):
        assert system.card.knob_table["sampler"].choices == tuple(SAMPLERS)
    for system, own in ((NCSN, "annealed-langevin"), (ScoreSDE, "predictor-corrector")):
        assert system.card.knob_table["sampler"].choices == (own, *SAMPLERS)
    assert DDPM.card.knob_table["spacing"].parse("exponential") == "uniform-log-snr"


@pytest.mark.parametrize("solver", SAMPLERS)
def test_every_sampler_draws_independent_pixels(solver: str) -> None:
    """Of a network that knows the answer, from pure noise to pictures of the right mean and deviation."""
    flow = FlowMatching(SHAPE, network=DIT)
    flow.network = KnowsThePixels(0.2, 0.1)
    drawn = flow.sample(Condition(), ImageRng.counting(0, 60), Sampling(steps=25, sampler=solver))
    within = 0.03 if solver in ("euler", "ddim", "ancestral") else 0.015
    assert abs(float(drawn.mean()) - 0.2) < within and abs(float(drawn.std()) - 0.1) < within


def test_knobs_of_the_chosen_sampler_reach_it_or_are_refused() -> None:
    flow, ddpm = tiny_flow(), DDPM(SHAPE, **SMALL)  # type: ignore[arg-type]
    for system in (flow, ddpm):

        def drawn(**how: float | str) -> Tensor:
            return system.sample(Condition(), ImageRng.counting(0, 2), Sampling(steps=4, **how))  # noqa: B023

        with torch.no_grad():
            ddim, half, whole = (drawn(sampler="ddim", eta=eta) for eta in (0.0, 0.5, 1.0))
        assert torch.equal(whole, drawn(sampler="ancestral")) and torch.equal(ddim, drawn(sampler="ddim"))
        assert len({float(each.sum()) for each in (ddim, half, whole)}) == 3
        assert not torch.equal(drawn(sampler="heun", churn=2.0), drawn(sampler="heun"))
        with pytest.raises(UsageError, match="makes no use of eta"):
            drawn(sampler="unipc", eta=0.5)
        with pytest.raises(UsageError, match="from 0 to 1"):
            drawn(sampler="ddim", eta=1.5)


@pytest.mark.parametrize("solver", ["euler", "heun", "midpoint", "unipc", "dpmpp-2m"])
def test_the_right_velocity_has_no_loss_and_leads_to_the_picture(solver: str) -> None:
    flow = FlowMatching(SHAPE, network=DIT)
    flow.network = KnowsThePicture(image())
    assert flow.match(turn(image().expand(16, -1, -1, -1))) < 1e-8
    drawn = flow.sample(Condition(), ImageRng.counting(0, 3), Sampling(steps=4, sampler=solver))
    torch.testing.assert_close(drawn, image().expand(3, -1, -1, -1), rtol=0, atol=1e-4)


class WrongBy(nn.Module):
    """The right answer for one picture, a velocity or the image, plus an error."""

    def __init__(self, right: nn.Module | None, picture: Tensor, error: float) -> None:
        super().__init__()
        self.right, self.picture, self.error = right, picture, error

    def forward(self, x: Tensor, time: Tensor, **conditioning: Tensor) -> Tensor:
        return (self.picture if self.right is None else self.right(x, time)) + self.error


@pytest.mark.parametrize("t", [1e-3, 0.05, 0.3, 0.9])
def test_an_error_in_the_velocity_counts_the_same_at_all_times(t: float) -> None:
    """Lipman et al. 2022, Eq. 23, has no weight; only of a predicted image is the division by t held back."""
    flow = FlowMatching(SHAPE, network=DIT)
    flow.network, flow.density = (
        WrongBy(KnowsThePicture(image()), image(), 0.1),
        lambda rng, n, device: torch.full((n,), t),
    )
    now = turn(image().expand(4, -1, -1, -1))
    torch.testing.assert_close(flow.match(now), torch.tensor(0.01), rtol=1e-2, atol=0)
    other = FlowMatching(SHAPE, network=DIT, predicts="x0")
    other.network, other.density = WrongBy(None, image(), 0.1 * t), flow.density
    torch.testing.assert_close(other.match(now), torch.tensor(0.01 * min(1, t / LEAST_TIME) ** 2), rtol=1e-2, atol=0)


@pytest.mark.parametrize("network", [DIT, UNET], ids=["dit", "unet"])
@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("label", Condition(label=torch.tensor([1])), Condition(label=torch.tensor([2]))),
        ("caption", Condition(caption=("a red circle",)), Condition(caption=("a blue square",))),
    ],
)
def test_conditions_are_obeyed_and_guidance_goes_beyond(
    network: dict[str, object], kind: str, one: Condition, other: Condition
) -> None:
    flow = tiny_flow(classes=3, words=WORDS, condition=kind, network=network)
    assert flow.conditions == {kind}

    def draw(condition: Condition, guidance: float) -> Tensor:
        return flow.sample(condition, ImageRng.counting(0, 1), Sampling(steps=2, guidance=guidance))

    assert (draw(one, 1.0) - draw(other, 1.0)).abs().max() > 1e-4
    assert (draw(one, 1.0) - draw(one, 3.0)).abs().max() > 1e-4
    torch.testing.assert_close(draw(one, 0.0), draw(other, 0.0))


@pytest.mark.parametrize("kind", ["label", "caption"])
def test_a_dropped_condition_is_the_null_condition(kind: str) -> None:
    flow = tiny_flow(classes=3, words=WORDS, condition=kind)
    condition = Condition(label=torch.tensor([0, 2]), caption=("a red circle", "blue square"))
    dropped = flow.conditioner(condition, 2, torch.tensor([True, False]))
    null, given = flow.conditioner.null(2), flow.conditioner(condition, 2)
    torch.testing.assert_close(dropped["vector"][0], null["vector"][0])
    torch.testing.assert_close(dropped["vector"][1], given["vector"][1])
    assert (null["vector"][0] - given["vector"][0]).abs().max() > 1e-3


def test_training_hides_the_condition_as_often_as_asked() -> None:
    masks: list[Tensor] = []
    flow = tiny_flow(classes=3, condition="label", drop=0.25)
    read = flow.conditioner.forward
    flow.conditioner.forward = lambda condition, n, drop: masks.append(drop) or read(condition, n, drop)  # type: ignore[method-assign]
    flow.match(turn(image().expand(2000, -1, -1, -1), Condition(label=torch.zeros(2000, dtype=torch.int64))))
    assert float(masks[0].float().mean()) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("label", [-1, 3, 100])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    """The number of classes itself would pass for the null class, in training and in drawing."""
    flow = tiny_flow(classes=3, condition="label")
    for asked in (
        lambda: flow.match(turn(image(), Condition(label=torch.tensor([label])))),
        lambda: flow.sample(Condition(label=torch.tensor([label])), ImageRng([0]), Sampling(steps=1)),
    ):
        with pytest.raises(UsageError, match=f"label {label} of 3 classes: they are counted from 0 to 2"):
            asked()


def test_a_classifier_of_noisy_pictures_knows_its_classes_alone() -> None:
    """A cross entropy would pass over -100, as "no example"."""
    small = {"width": 32, "multiples": (1,), "blocks": 1, "attention": (), "head_width": 32}
    base = tiny_flow()
    guide = ClassifierGuidance(tuple(SHAPE), base=base, classes=3, **small)
    for label in (-100, 3):
        told = Condition(label=torch.tensor([label]))
        with pytest.raises(UsageError, match=f"label {label} of 3 classes"):
            guide.learn(turn(image(), told))
        with pytest.raises(UsageError, match=f"label {label} of 3 classes"):
            guide.sample(told, ImageRng([0]), Sampling(steps=1))
    with pytest.raises(UsageError, match="0 < low < high"):
        ClassifierGuidance(tuple(SHAPE), base=base, classes=3, low=0.0, **small)


def test_what_training_never_hid_is_not_asked_about() -> None:
    flow, label = tiny_flow(classes=3, condition="label", drop=0.0), Condition(label=torch.tensor([1]))
    for guidance in (0.0, 3.0):
        with pytest.raises(Unsupported, match=f"guidance {guidance:g}: this model was trained with drop 0"):
            flow.sample(label, ImageRng([0]), Sampling(steps=1, guidance=guidance))
    with pytest.raises(Unsupported, match="a likelihood: this model was trained with drop 0"):
        flow.log_prob(image(), Stream(0))
    assert torch.isfinite(flow.sample(label, ImageRng([0]), Sampling(steps=1))).all()
    plain = tiny_flow(drop=0.0)  # drop is idle without a condition
    assert torch.isfinite(plain.sample(Condition(), ImageRng([0]), Sampling(steps=1, guidance=3.0))).all()


@pytest.mark.parametrize(
    ("make", "how", "says"),
    [
        (FlowMatching, {"shift": 0.0}, "shift 0: give a number above 0"),
        (EDM, {"low": 0.0}, "levels from low 0 to high 80: 0 < low < high"),
        (EDM, {"low": 90.0}, "0 < low < high"),
        (EDM, {"rho": 0.0}, "rho 0: give"),
        (EDM, {"sigma_data": 0.0}, "sigma_data 0: give"),
        (NCSN, {"scales": 1}, "a ladder of 1 scales"),
        (NCSN, {"low": -1.0}, "0 < low < high"),
        (ScoreSDE, {"sde": "ve", "low": 1.0, "high": 0.5}, "from low 1 to high 0.5"),
        (Consistency, {"first": 1}, "from 1 levels at first to 150"),
        (Consistency, {"first": 10, "last": 3}, "2 <= first <= last"),
        (Consistency, {"mu": 1.0}, "mu 1: the target's decay"),
        (Consistency, {"rho": 0.0}, "rho 0: give a number above 0"),
        (Consistency, {"sigma_data": -0.5}, "sigma_data -0.5: give a number above 0"),
        (ContinuousConsistency, {"sigma_data": 0.0}, "sigma_data 0: give a number above 0"),
        (ContinuousConsistency, {"warm": 1.5}, "warm 1.5 is a share of the training"),
        (ScoreSDE, {"least": 1.0}, "least 1: times go from there to 1"),
        (FlowMatching, {"snapshot": 1.0}, "snapshot 1 is a share of the training"),
        (FlowMatching, {"snapshot": -0.5}, "snapshot -0.5 is a share of the training"),
    ],
)
def test_settings_that_could_not_be_drawn_with_are_refused_before_training(
    make: type[System], how: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        make(SHAPE, **how)  # type: ignore[call-arg]


def test_shares_and_weights_that_mean_nothing_are_refused() -> None:
    for drop in (-0.1, 1.5, math.nan):
        with pytest.raises(UsageError, match="a share of the training images, from 0 to 1"):
            tiny_flow(classes=3, condition="label", drop=drop).match(turn(image(), Condition(label=torch.tensor([0]))))
    with pytest.raises(UsageError, match="gamma -1: give a number above 0"):
        min_snr(torch.ones(1), -1.0)


def test_a_table_within_the_recipe_s_table_is_changed_key_by_key() -> None:
    recipe = load_recipe("digits", ("model.network.width=48", "model.steps=3"))
    assert recipe.model["network"] == load_recipe("digits").model["network"] | {"width": 48}
    small = merged(recipe.model, recipe.tiny)
    assert small["network"] == {"kind": "dit", "width": 16, "depth": 1, "heads": 2}
    assert small["steps"] == 2 and recipe.model["network"]["width"] == 48


def test_a_sketch_is_drawn_from_the_words_alone_and_changes_the_picture() -> None:
    flow = tiny_flow(words=WORDS, condition="caption", text=TEXT | {"sketch": 4})
    one, other = (flow.conditioner(Condition(caption=(c,)), 1) for c in ("a red circle", "a blue square"))
    assert one["sketch"].shape == (1, 1, 4, 4)
    assert (one["sketch"] - other["sketch"]).abs().max() > 1e-3
    x, t = image(), torch.tensor([0.5])
    swapped = {**one, "sketch": other["sketch"]}
    assert (flow.denoise(x, t, one) - flow.denoise(x, t, swapped)).abs().max() > 1e-4


def test_the_sketch_becomes_the_average_picture_of_its_caption() -> None:
    flow = tiny_flow(words=WORDS, condition="caption", text=TEXT | {"sketch": 4}, drop=0.0)
    condition = Condition(caption=("a red circle", "a blue square"))
    light = torch.stack([torch.full(tuple(SHAPE), 0.5), torch.full(tuple(SHAPE), -0.5)])
    optimiser = torch.optim.Adam(flow.conditioner.parameters(), 2e-2)
    for _ in range(75):
        loss = flow.match(turn(light, condition))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    drawn = flow.conditioner(condition, 2)["sketch"].flatten(1).mean(1)
    torch.testing.assert_close(drawn, torch.tensor([0.5, -0.5]), rtol=0, atol=0.1)


def test_the_error_in_the_picture_does_not_reach_the_sketch() -> None:
    flow = tiny_flow(words=WORDS, condition="caption", text=TEXT | {"sketch": 4})
    conditioning = flow.conditioner(Condition(caption=("a red circle",)), 1)
    flow.denoise(image(), torch.tensor([0.5]), conditioning).square().mean().backward()
    learns = {name for name, p in flow.conditioner.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert not any(name.startswith("sketch.") for name in learns)
    assert any(name.startswith("tower.") for name in learns)


def test_a_shift_trains_nearer_to_noise() -> None:
    seen: list[Tensor] = []

    class Watches(KnowsThePicture):
        def forward(self, x: Tensor, time: Tensor, **conditioning: Tensor) -> Tensor:
            seen.append(time / TIME_SCALE)
            return super().forward(x, time)

    for shift in (1.0, 3.0):
        flow = FlowMatching(SHAPE, network=DIT, shift=shift)
        flow.network = Watches(image())
        flow.match(turn(image().expand(2000, -1, -1, -1)))
    plain, bent = seen
    torch.testing.assert_close(bent, 3 * plain / (1 + 2 * plain))  # Esser et al., Eq. 23


def test_bfloat16_keeps_the_loss_in_float32() -> None:
    flow = tiny_flow(classes=3, condition="label")
    condition = Condition(label=torch.arange(4) % 3)
    full = flow.match(turn(image(4), condition))
    with torch.autocast("cpu", torch.bfloat16):
        half = flow.match(turn(image(4), condition))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.05, atol=0)


def test_what_a_user_may_get_wrong() -> None:
    with pytest.raises(Unsupported, match="classes"):
        FlowMatching(SHAPE, condition="label", network=DIT)
    with pytest.raises(Unsupported, match="captions"):
        FlowMatching(SHAPE, condition="caption", network=DIT)
    with pytest.raises(UnknownName, match="caption"):
        FlowMatching(SHAPE, words=WORDS, condition="captions", network=DIT)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="caption"):
        FlowMatching(SHAPE, text={"sketch": 4})
    with pytest.raises(UnknownName, match="width"):
        FlowMatching(SHAPE, words=WORDS, condition="caption", text={"widht": 4})
    with pytest.raises(UsageError, match=r"model\.text is a table"):
        FlowMatching(SHAPE, words=WORDS, condition="caption", text=64)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="unet"):
        FlowMatching(SHAPE, network={"kind": "u-net"})
    with pytest.raises(UnknownName, match=r"kind 'unet'.*'patch'.*known: attention"):
        FlowMatching(SHAPE, network={"kind": "unet", "patch": 2})
    with pytest.raises(UnknownName, match="heads"):
        FlowMatching(SHAPE, network={"head": 2})
    with pytest.raises(UsageError, match=r"model\.network\.kind = 'dit'"):
        FlowMatching(SHAPE, network="dit")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="patch"):
        FlowMatching(SHAPE, network={"patch": 3})
    with pytest.raises(UnknownName, match="label"):
        DDPM(SHAPE, condition="caption")
    with pytest.raises(UsageError, match="multiples"):
        DDPM(SHAPE, multiples=(1, 1, 1, 1, 1))
    with pytest.raises(Unsupported, match="label"):
        tiny_flow(classes=3, condition="label").sample(Condition(), ImageRng.counting(0, 1))
    with pytest.raises(UnknownName, match="heun"):
        tiny_flow().sample(Condition(), ImageRng.counting(0, 1), Sampling(sampler="huen"))
    with pytest.raises(UsageError, match="dpmpp-2m"):
        tiny_flow().sample(Condition(), ImageRng.counting(0, 1), Sampling(sampler="dpm++-2m"))


# -- DDPM ---------------------------------------------------------------------------------------------------------


class BestGuess(nn.Module):
    """What the best network predicts if pixels are independent N(mean, deviation^2)."""

    def __init__(self, system: DDPM, mean: Tensor, deviation: float) -> None:
        super().__init__()
        self.path, self.predicts, self.mean, self.variance = system.path, system.predicts, mean, deviation**2

    def forward(self, x: Tensor, time: Tensor, **conditioning: Tensor) -> Tensor:
        t = time * len(self.path) / 1000
        a, s = append_dims(self.path.alpha(t), x), append_dims(self.path.std(t), x)
        x0 = self.mean + a * self.variance * (x - a * self.mean) / (a**2 * self.variance + s**2)
        noise = (x - a * x0) / s
        return {"epsilon": noise, "x0": x0, "v": a * noise - s * x0}[self.predicts]


@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v"])
@pytest.mark.parametrize("solver", ["ancestral", "ddim", "heun", "dpmpp-2m"])
def test_the_right_prediction_has_no_loss_and_leads_to_the_picture(predicts: str, solver: str) -> None:
    system = DDPM(SHAPE, **SMALL, predicts=predicts)  # type: ignore[arg-type]
    system.network = BestGuess(system, image(), 0.0)
    assert system.predict(turn(image().expand(16, -1, -1, -1))) < 1e-6
    drawn = system.sample(Condition(), ImageRng.counting(0, 2), Sampling(steps=6, sampler=solver))
    torch.testing.assert_close(drawn, image().expand(2, -1, -1, -1), rtol=0, atol=2e-4)


def test_the_bound_of_a_known_picture_is_its_last_two_terms() -> None:
    system = DDPM(SHAPE, **SMALL, chain=50)  # type: ignore[arg-type]
    system.network = BestGuess(system, image(), 0.0)
    last = torch.tensor([49.0])
    a2, s2 = system.path.alpha(last) ** 2, system.path.std(last) ** 2
    prior = 0.5 * (a2 * image().square().sum() + 64 * (s2 - 1 - s2.log()))
    half = 0.5 * BIN / float(system.path.sigmas[0])
    inside = math.log(math.erf(half / math.sqrt(2)))  # of the bin, for a perfect mean
    ends = int((image().abs() > 1 - BIN / 2).sum())
    grey = (64 - ends) * inside + ends * math.log(0.5 * (1 + math.erf(half / math.sqrt(2))))
    bound = system.log_prob(image(), Stream(0))
    torch.testing.assert_close(bound, grey - prior - 64 * math.log(BIN), rtol=1e-3, atol=0)


def test_the_bound_is_below_the_truth_by_what_the_chain_s_steps_cost() -> None:
    deviation, n = 0.25, 256
    system = DDPM(SHAPE, **SMALL)  # type: ignore[arg-type]
    system.network = BestGuess(system, torch.zeros(1), deviation)
    x = ((deviation * Stream(4).normal(n, *SHAPE)).clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1
    truth = per_image(-0.5 * (x / deviation) ** 2 - math.log(deviation * math.sqrt(2 * math.pi)))
    gap = float((truth - system.log_prob(x, Stream(5))).mean()) / 64  # nats a pixel

    # In expectation each term is known, because so is the error that is left, v s^2 / (v + s^2).
    s2, v = system.path.sigmas.double() ** 2, deviation**2
    left = v * s2 / (v + s2)
    steps = 0.5 * ((1 / s2[:-1] - 1 / s2[1:]) * left[1:]).sum()
    end = 0.5 * (math.log(2 * math.pi) + s2[0].log() + left[0] / s2[0])
    expected = float(steps + end) - 0.5 * math.log(2 * math.pi * math.e * v)
    assert gap == pytest.approx(expected, abs=0.02)
    assert expected > 0.4  # the first steps of the linear schedule are far apart


def test_evaluation_gives_the_bound_the_grey_levels_that_it_asks() -> None:
    """Of a model that finds each of the 256 grey levels as likely as any other: 8 bits, and no noise on the way in."""

    class Even(DDPM):
        def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
            grey = (image + 1) * 127.5
            torch.testing.assert_close(grey, grey.round(), rtol=0, atol=1e-3)
            return torch.full((len(image),), -64 * math.log(256 * BIN))

    seen = Likelihoods(SimpleNamespace(system=Even(SHAPE, **SMALL), computing=nullcontext), 0)  # type: ignore[arg-type]
    seen.add(Chunk(Batch(image(5)), None))
    found = seen.evidence()
    assert bits_per_dim(found["log_prob"], found["dims"], found["level"]).tolist() == pytest.approx([8] * 5)


def test_grey_levels_share_out_all_probability() -> None:
    levels = (torch.arange(256) / 127.5 - 1).view(256, 1, 1, 1)
    for mean, std in ((0.1, 0.05), (-1.3, 0.2), (1.0, 0.001)):
        share = discretised_normal_log_prob(torch.full_like(levels, mean), std, levels)
        assert float(share.exp().sum()) == pytest.approx(1, abs=1e-4)
        assert share.isfinite().all()


def test_flips_show_every_second_picture_from_the_other_side() -> None:
    """A network that knows the picture is wrong about its mirror image alone."""
    for picture, flips, share in ((image(), False, 0.0), (image() + image().flip(3), True, 0.0), (image(), True, 0.5)):
        system = DDPM(SHAPE, **SMALL, flips=flips, predicts="x0")  # type: ignore[arg-type]
        system.network = BestGuess(system, picture, 0.0)
        wrong = float((picture - picture.flip(3)).square().mean())
        loss = float(system.predict(turn(picture.expand(2000, -1, -1, -1))))
        assert loss == pytest.approx(share * wrong, rel=0.1, abs=1e-6)


def test_min_snr_leaves_noisy_steps_alone() -> None:
    plain, weighed = (DDPM(SHAPE, **SMALL, gamma=g) for g in (0.0, 5.0))  # type: ignore[arg-type]
    weighed.load_state_dict(plain.state_dict())
    assert 0 < weighed.predict(turn(image(8))) < plain.predict(turn(image(8)))


# -- consistency --------------------------------------------------------------------------------------------------


def consistency(**how: object) -> Consistency:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = Consistency(SHAPE, **{**SMALL, **how})  # type: ignore[arg-type]
        for p in system.network.parameters():
            nn.init.normal_(p, std=0.1)
    return system


def test_the_boundary_is_exact() -> None:
    system = consistency()
    x = image(2)
    assert torch.equal(system.denoise(x, torch.full((2,), system.low), {}), x)
    assert not torch.allclose(system.denoise(x, torch.full((2,), 0.5), {}), x, atol=1e-2)


def test_published_scalings() -> None:
    system = consistency()
    system.network = _Says(1.0)
    half = torch.tensor([0.5])
    out = system.denoise(torch.zeros(1, *SHAPE), half, {}).mean()
    skip = system.denoise(torch.ones(1, *SHAPE), half, {}).mean() - out
    torch.testing.assert_close(torch.stack([skip, out]), torch.tensor([0.50200400, 0.35213918]))


class _Says(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.calls = value, 0

    def forward(self, x: Tensor, time: Tensor, **conditioning: Tensor) -> Tensor:
        self.calls += 1
        return torch.full_like(x, self.value)


def test_published_curricula() -> None:
    system = consistency()
    assert [system.levels_at(p) for p in (0.0, 0.25, 1.0)] == [2, 76, 151]
    assert system.decay_at(0.0) == pytest.approx(0.9) and system.decay_at(1.0) == pytest.approx(0.9 ** (2 / 151))
    improved = consistency(curriculum="doubling", first=10, last=1280)
    assert [improved.levels_at(p) for p in (0.0, 0.124, 0.126, 0.99, 1.0)] == [11, 11, 21, 1281, 1281]


def test_the_target_follows_only_after_the_round() -> None:
    system = consistency()
    before = [p.clone() for p in system.target.parameters()]
    now = turn(image(4))
    loss = system.agree(now)
    loss.backward()
    assert all(p.grad is None for p in system.target.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, system.target.parameters(), strict=True))
    with torch.no_grad():
        system.after_round(now)
    for a, b, c in zip(before, system.target.parameters(), system.network.parameters(), strict=True):
        torch.testing.assert_close(b, 0.9 * a + 0.1 * c)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_as_many_calls_as_steps(steps: int) -> None:
    system = consistency()
    system.network = net = _Says(0.0)
    assert system.sample(Condition(), ImageRng.counting(0, 2), Sampling(steps=steps)).shape == (2, *SHAPE)
    assert net.calls == steps


def test_a_perfect_model_has_no_loss() -> None:
    """Of one picture: F such that skip x + out F is that picture, for both pseudo-Huber and squared distances."""
    picture = image()
    for how in ({}, {"distance": "huber", "visits": "log-normal", "inverse_gap": True, "mu": 0.0}):
        system = consistency(**how)
        system.consistent = lambda network, x, sigma, conditioning: picture + 0 * x  # type: ignore[method-assign]
        assert float(system.agree(turn(picture.expand(4, -1, -1, -1), progress=0.5))) == 0


def test_log_normal_visits_follow_their_density() -> None:
    system = consistency(visits="log-normal")
    levels = system.training_levels(40)
    drawn = system.visits(levels, 20_000, Stream(0)).bincount(minlength=39) / 20_000
    share = ((levels.log() + 1.1) / math.sqrt(8)).erf().diff()
    torch.testing.assert_close(drawn, share / share.sum(), rtol=0, atol=0.01)
