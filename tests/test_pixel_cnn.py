"""PixelCNN: nothing looks ahead, every level's probability counts, and the fast way draws the same as the slow."""

import math

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape, to_float
from zeuxis.distributions.discretised import DiscretisedLogistic
from zeuxis.distributions.logistic_mixture import LogisticMixture, parameter_count
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.causal import GatedLayer
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoregressive.pixel_cnn import PixelCNN

SIDE = 6


def small(channels: int = 1, **config: object) -> PixelCNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PixelCNN(
            Shape(channels, SIDE, SIDE), width=8, depth=3, first_kernel=3, kernel=3, components=2, **config
        ).eval()


def levels(*shape: int, seed: int = 0) -> Tensor:
    return to_float(Stream(seed).integers(256, *shape).to(torch.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_no_pixel_depends_on_a_later_one(channels):
    """The gradient of every pixel's log-probability with respect to every pixel: zero for all that come later."""
    model = small(channels)
    image = levels(1, channels, SIDE, SIDE).requires_grad_()
    mixture = model._predicted(image, None)
    for row in range(SIDE):
        for column in range(SIDE):
            # The parameters, not the probability, which depends on the pixel's own value too.
            value = (
                mixture.mean[..., row, column].sum()
                + mixture.logits[..., row, column].sum()
                + mixture.log_scale[..., row, column].sum()
            )
            (slope,) = torch.autograd.grad(value, image, retain_graph=True)
            seen = slope.abs().sum((0, 1)).flatten() > 0
            here = row * SIDE + column
            assert not seen[here:].any(), (row, column)
            if here:
                assert seen[max(0, here - SIDE) : here].any()


def test_there_is_no_blind_spot():
    """Deep enough, the last pixel sees every other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = PixelCNN(Shape(1, SIDE, SIDE), width=8, depth=8, first_kernel=3, kernel=3, components=2).eval()
    image = levels(1, 1, SIDE, SIDE).requires_grad_()
    (slope,) = torch.autograd.grad(model._predicted(image, None).mean[..., -1, -2].sum(), image)
    seen = (slope[0, 0] != 0).flatten()
    assert seen[: SIDE * SIDE - 2].all()


@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_of_all_levels_sum_to_one(channels):
    p = parameter_count(channels, 4)
    mixture = LogisticMixture.of(3 * Stream(0).normal(1, p, 2, 2), channels, 4)
    values = torch.linspace(-1, 1, 256)
    if channels == 1:
        images = values.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        total = mixture.log_prob(images).logsumexp(0)
        torch.testing.assert_close(total, torch.zeros(2, 2), rtol=0, atol=1e-5)
        return
    # Summed over all blues and all greens, what is left is the distribution of red alone.
    each = values.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    red = levels(1, 1, 2, 2, seed=1).expand(256, -1, -1, -1)
    by_green = [mixture.log_prob(torch.cat([red, g.expand_as(red), each], 1)).logsumexp(0) for g in each]
    alone = LogisticMixture(mixture.logits, mixture.mean[:, :, :1], mixture.log_scale[:, :, :1], None)
    torch.testing.assert_close(torch.stack(by_green).logsumexp(0), alone.log_prob(red[:1])[0], rtol=1e-4, atol=1e-4)


def test_one_component_is_one_logistic():
    output = Stream(0).normal(3, 3, 2, 2)
    image = levels(3, 1, 2, 2)
    mixture = LogisticMixture.of(output, 1, 1)
    expected = DiscretisedLogistic(output[:, 1:2], output[:, 2:3]).log_prob(image)[:, 0]
    torch.testing.assert_close(mixture.log_prob(image), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_follow_the_mixture(channels):
    p = parameter_count(channels, 2)
    mixture = LogisticMixture.of((0.7 * Stream(3).normal(1, p, 1, 1) - 0.5).expand(20_000, -1, -1, -1), channels, 2)
    drawn = mixture.from_uniform(Stream(4).uniform(20_000, 2 + channels, 1, 1))
    assert (((drawn + 1) * 127.5).round() / 127.5 - 1 - drawn).abs().max() < 1e-6
    found = -mixture.log_prob(drawn).mean()  # the entropy, as the samples see it
    again = -mixture.log_prob(mixture.from_uniform(Stream(5).uniform(20_000, 2 + channels, 1, 1))).mean()
    assert abs(float(found - again)) < 0.03
    if channels == 1:
        one = LogisticMixture(mixture.logits[:1], mixture.mean[:1], mixture.log_scale[:1], None)
        values = torch.linspace(-1, 1, 256)
        probability = one.log_prob(values.view(-1, 1, 1, 1)).exp().flatten()
        assert abs(float((probability * values).sum() - drawn.mean())) < 0.02
        assert abs(float(-(probability * probability.log()).sum() - found)) < 0.03


@pytest.mark.parametrize(("channels", "condition"), [(1, "none"), (3, "label")])
def test_the_fast_way_draws_the_same_as_recomputing_everything(channels, condition):
    model = small(channels, condition=condition, classes=4)
    label = torch.tensor([0, 3]) if condition == "label" else None
    fast = model.sample(Condition(label=label), ImageRng.counting(0, 2))
    u = ImageRng.counting(0, 2).uniform(2, 2 + channels, SIDE, SIDE)
    slow = torch.zeros_like(fast)
    with torch.no_grad():
        for row in range(SIDE):
            for column in range(SIDE):
                slow[:, :, row, column] = model._predicted(slow, label).from_uniform(u)[:, :, row, column]
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-5)


def test_the_label_matters():
    model = small(condition="label", classes=4)
    assert model.conditions == {"label"}
    with torch.no_grad():
        a, b = (model.sample(Condition(label=torch.tensor([k])), ImageRng([0])) for k in (0, 1))
    assert not torch.equal(a, b)
    with pytest.raises(Unsupported, match="by label"):
        model.log_prob(levels(1, 1, SIDE, SIDE), Stream(0))


def test_it_learns_what_is_certain():
    """Pictures of one random grey each: the first pixel is a surprise, the others are not."""
    model = small().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for k in range(100):
        image = levels(16, 1, 1, 1, seed=k).expand(-1, -1, SIDE, SIDE)
        loss = model.nll(Turn(Batch(image), Stream(k), k, k / 100))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.65 * math.log(256)
    nats = -model.log_prob(image, Stream(0)).mean() / SIDE**2
    torch.testing.assert_close(nats, model.nll(Turn(Batch(image), Stream(0), 0, 0.0)))


def test_temperature_narrows():
    model = small()
    warm, cold = (model.sample(Condition(), ImageRng.counting(0, 8), Sampling(temperature=t)) for t in (1.0, 0.0))
    assert not torch.equal(warm, cold)


def test_misuse_is_explained():
    with pytest.raises(Unsupported, match="1 or 3 channels"):
        PixelCNN(Shape(2, 4, 4))
    with pytest.raises(UsageError, match="odd"):
        PixelCNN(Shape(1, 4, 4), kernel=4)
    with pytest.raises(UsageError, match="labelled data"):
        PixelCNN(Shape(1, 4, 4), condition="label")
    with pytest.raises(UsageError, match="none, label"):
        PixelCNN(Shape(1, 4, 4), condition="caption")
    with pytest.raises(ValueError, match="exactly when"):
        GatedLayer(2, 4, 3, vector=3)(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
