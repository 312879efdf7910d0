"""AlignDRAW: a bound that is the paper's, a decoder that never takes the picture, a claim about the order of words."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from zeuxis.api import reproduce
from zeuxis.api.runs import preview_images
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.data.worlds.grammar import facts_from, sentence
from zeuxis.data.worlds.scenes import Scenes
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.metrics.record import Figure
from zeuxis.nn.draw import read, window, write
from zeuxis.recipe import load_recipe
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder._pixels import BernoulliPixels, GaussianPixels
from zeuxis.systems.autoencoder.align_draw import AlignDraw, LSTMState

WORDS = ("a", "red", "blue", "circle", "square", "above")
ONE, OTHER = "a red circle above a blue square", "a blue square above a red circle"
SHAPE = Shape(3, 12, 10)


def tiny(reader: str = "aligned", shape: Shape = SHAPE, likelihood: str = "bernoulli", least: float = 0.0) -> AlignDraw:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        size = {"length": 8, "text": 6, "align": 5, "hidden": 16, "latent": 4, "steps": 3, "patch": 4}
        return AlignDraw(shape, words=WORDS, text_encoder=reader, likelihood=likelihood, least=least, **size)


def pictures(n: int, shape: Shape = SHAPE) -> Tensor:
    return Stream(1).uniform(n, *shape) * 2 - 1


def test_order_matters_to_the_aligned_reader_and_cannot_to_the_bag() -> None:
    captions = Condition(caption=(ONE, OTHER))
    with torch.no_grad():
        aligned, bag = (tiny(reader).sample(captions, ImageRng([5, 5])) for reader in ("aligned", "bag"))
        others = tiny("bag").sample(Condition(caption=(ONE, "a red circle above a red square")), ImageRng([5, 5]))
    assert (aligned[0] - aligned[1]).abs().max() > 1e-5
    assert (bag[0] - bag[1]).abs().max() < 1e-6
    assert (others[0] - others[1]).abs().max() > 1e-5, "the bag does not even hear which words there are"


def test_the_bound_is_the_papers() -> None:
    """Sections 3.2 and 3.3 written out once more, with the divergences of torch.distributions."""
    system = tiny(likelihood="bernoulli")
    image, captions = pictures(2), Condition(caption=(ONE, "a circle"))
    turn = Turn(Batch(image, captions), Stream(7), 0, 0.0)
    loss = system.bound(turn)
    rng = Stream(7)
    context = system.text_encoder(*system.tokeniser.encode(captions.caption or ()))
    h, c, hi, ci = system.first[:, None].expand(-1, 2, -1)
    canvas = system.blank.expand(2, -1, -1, -1)
    rate = torch.zeros(2)
    for t in range(3):
        missing = (image + 1) / 2 - canvas.sigmoid()  # of intensities in [0, 1]; half of a difference in [-1, 1]
        glimpse = read(torch.cat([image, 2 * missing], 1), window(system.glimpse.where(h), 4, SHAPE), 4)
        hi, ci = system.inference(torch.cat([glimpse.flatten(1), h], 1), (hi, ci))
        mean, logvar = system.posterior(hi).chunk(2, 1)
        prior = Normal(torch.zeros(2, 4), torch.ones(2, 4))
        if t:
            mu, sigma = system.prior(h).tanh().chunk(2, 1)
            prior = Normal(mu, sigma.exp())
        rate = rate + kl_divergence(Normal(mean, (logvar / 2).exp()), prior).sum(1)
        z = mean + (logvar / 2).exp() * rng.normal(2, 4)
        text_features, _ = system.align(context, h)
        h, c = system.generative(torch.cat([z, text_features], 1), (h, c))
        patch = system.writer.what(h).view(2, 3, 4, 4)
        canvas = canvas + write(patch, window(system.writer.where(h), 4, SHAPE), SHAPE)
    distortion = BernoulliPixels().nll(canvas, image)
    assert torch.allclose(loss, (distortion + rate).mean(), rtol=1e-5)
    assert torch.allclose(torch.as_tensor(turn.notes["rate"]), rate.mean(), rtol=1e-4)
    assert torch.allclose(torch.as_tensor(turn.notes["elbo"]), -loss, rtol=1e-5)


def test_sampling_takes_no_picture() -> None:
    system, captions = tiny(), Condition(caption=(ONE,))
    system.sample(captions, ImageRng([3])).square().sum().backward()
    encoder = (system.glimpse, system.inference, system.posterior)
    assert all(p.grad is None for part in encoder for p in part.parameters())
    assert system.generative.weight_ih.grad is not None and system.text_encoder.token.weight.grad is not None
    with torch.no_grad():
        made = system.sample(captions, ImageRng([3]))
        for p in (p for part in encoder for p in part.parameters()):
            p.fill_(torch.nan)
        assert torch.equal(system.sample(captions, ImageRng([3])), made)


def test_the_first_prior_is_standard_and_the_others_depend_on_the_state() -> None:
    system = tiny()
    h = Stream(0).normal(2, 16)
    first, second = system.prior_of(h, 0), system.prior_of(1e6 * h, 1)
    assert (first.mean == 0).all() and (first.logvar == 0).all()
    mean, logvar = second.mean, second.logvar
    assert mean.abs().max() <= 1 and logvar.abs().max() <= 2 and not torch.equal(mean[0], mean[1])


def test_the_first_canvas_is_blank_and_every_step_adds_to_it() -> None:
    system = tiny(likelihood="gaussian")
    gen, _, canvas = system.initial(2)
    context = system.context_of(Condition(caption=(ONE, OTHER)))
    after, drawn = system.step(torch.zeros(2, 4), gen, canvas, context)
    assert (canvas == 0).all() and isinstance(after, LSTMState)
    assert torch.allclose(drawn, system.writer(after.h))


def test_steps_are_shown_in_rows_and_end_in_the_picture() -> None:
    grey = Shape(1, 8, 8)
    system = tiny(shape=grey, likelihood="gaussian")
    captions = Condition(caption=(ONE, OTHER, "a circle"))
    with torch.no_grad():
        steps = system.draw_steps(captions, ImageRng.counting(0, 3))
        assert steps.shape == (3, 3, *grey) and torch.equal(
            steps[:, -1], system.sample(captions, ImageRng.counting(0, 3))
        )
        shown = preview_images(system, Batch(pictures(3, grey), captions), Sampling())
    assert shown is not None and len(shown) == 3 * 8
    for k in range(3):
        row = torch.stack(shown[8 * k : 8 * k + 8])
        assert torch.equal(row[0], steps[k, 0]) and torch.equal(row[-1], steps[k, -1])


def test_without_temperature_every_seed_draws_the_same() -> None:
    system, captions = tiny(), Condition(caption=(ONE, ONE))
    with torch.no_grad():
        cold, warm = (system.sample(captions, ImageRng([0, 1]), Sampling(temperature=t)) for t in (0.0, 1.0))
    assert torch.allclose(cold[0], cold[1], atol=1e-6) and not torch.allclose(warm[0], warm[1], atol=1e-4)


def test_gaussian_pixels_are_never_finer_than_the_least_that_was_given() -> None:
    likelihood = tiny(likelihood="gaussian", least=0.3).likelihood
    assert isinstance(likelihood, GaussianPixels)
    for log_sigma, deviation in ((-30.0, 0.3), (math.log(0.4), 0.5)):  # 0.3^2 + 0.4^2 = 0.5^2
        with torch.no_grad():
            likelihood.log_sigma.fill_(log_sigma)
        assert (likelihood.logvar / 2).exp().item() == pytest.approx(deviation)
    free = GaussianPixels()
    with torch.no_grad():
        free.log_sigma.fill_(-1.25)
    assert free.logvar.item() == -2.5
    free.logvar.backward()
    assert free.log_sigma.grad == 2


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="captioned data"):
        AlignDraw(SHAPE)
    with pytest.raises(UnknownName, match="text_encoder"):
        tiny("backwards")
    with pytest.raises(UnknownName, match="likelihood"):
        tiny(likelihood="poisson")
    with pytest.raises(UsageError, match="empty caption"):
        tiny().sample(Condition(caption=(ONE, "")), ImageRng([0, 1]))


# -- its claim ----------------------------------------------------------------------------------------


def test_a_claim_may_be_about_a_part_of_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def evaluate(model: object, **given: object) -> list[Figure]:
        metrics = given["metrics"]
        assert isinstance(metrics, tuple)
        asked.append(metrics)
        names = ("agreement", "agreement/time", "agreement/colour_1", "frechet")
        return [Figure(name, k / 10, 100, "higher") for k, name in enumerate(names)]

    monkeypatch.setattr(reproduce, "evaluate", evaluate)
    recipe = load_recipe("align-draw")
    assert recipe.claim is not None
    for metric, value in (("agreement/colour_1", 0.2), ("agreement", 0.0)):
        claim = recipe.claim.model_copy(update={"metric": metric})
        found = reproduce.measured(None, recipe, claim, lambda message, fraction: None, ("agreement", "frechet"))  # type: ignore[arg-type]
        assert found["value"] == value and asked[-1] == ("agreement", "frechet")
    claim = recipe.claim.model_copy(update={"metric": "agreement/weather"})
    with pytest.raises(UnknownName, match="agreement/weather"):
        reproduce.measured(None, recipe, claim, lambda message, fraction: None)  # type: ignore[arg-type]


def test_the_claims_note_tells_what_can_be_reached_without_order() -> None:
    """Scenes whose objects exchange their colours are told by the same words, and either is as likely."""
    claim = load_recipe("align-draw").claim
    assert claim is not None
    scenes = Scenes(32, "test")
    factors = scenes.placed(Stream(0, "held-out").permutation(len(scenes))[: claim.samples]).factors
    one, other = factors[:, 3], factors[:, 6] - 1  # colours; the second is -1 where there is no second object
    twins = (other >= 0) & (one != other)
    exchanged = torch.where(twins[:, None], factors[:, [0, 1, 2, 6, 4, 5, 3, 7]], factors)
    exchanged[:, 3] -= twins.long()
    exchanged[:, 6] += twins.long()
    for row, twin in zip(factors[:200].tolist(), exchanged[:200].tolist(), strict=True):
        told, other_told = (sorted(sentence(facts_from(f)).replace("an ", "a ").split()) for f in (row, twin))
        assert told == other_told
    without_order = 1 - 0.5 * twins.double().mean()
    constant = one.bincount().max() / len(one)
    assert f"constant answers reach {constant:.2f}, words without their order at most {without_order:.2f}" in claim.note


def test_the_two_recipes_differ_in_the_reader_alone() -> None:
    aligned, bag = load_recipe("align-draw"), load_recipe("align-draw-bag")
    assert bag.model == {**aligned.model, "text_encoder": "bag"}
    assert all(
        getattr(aligned, field) == getattr(bag, field) for field in ("data", "size", "players", "train", "sample")
    )
