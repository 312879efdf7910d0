"""Losses against numbers worked out by hand, and penalties through the second derivative."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from zeuxis.losses import adversarial, penalty, perceptual, reconstruction
from zeuxis.losses.overlap import soft_jaccard
from zeuxis.rng import Stream

REAL = torch.tensor([0.0, 2.0])
FAKE = torch.tensor([-1.0, 3.0])
LOG2 = math.log(2)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


SATURATED = (LOG2 + softplus(-2)) / 2 + (softplus(-1) + softplus(3)) / 2


@pytest.mark.parametrize(
    ("loss", "critic", "generator"),
    [
        (adversarial.NonSaturating(), SATURATED, (softplus(1) + softplus(-3)) / 2),
        (adversarial.Minimax(), SATURATED, -(softplus(-1) + softplus(3)) / 2),
        (adversarial.Hinge(), (1 + 0) / 2 + (0 + 4) / 2, -1.0),
        (adversarial.Hinge(margin=3), (3 + 1) / 2 + (2 + 6) / 2, -1.0),
        (adversarial.LeastSquares(), 0.5 * ((1 + 1) / 2 + (1 + 9) / 2), 0.5 * (4 + 4) / 2),
        (adversarial.LeastSquares(-1, 1, 0), 0.5 * ((1 + 1) / 2 + (0 + 16) / 2), 0.5 * (1 + 9) / 2),
        (adversarial.Wasserstein(), 1.0 - 1.0, -1.0),
    ],
)
def test_adversarial_pairs(loss: adversarial.AdversarialLoss, critic: float, generator: float) -> None:
    assert loss.critic(REAL, FAKE).item() == pytest.approx(critic, rel=1e-6)
    assert loss.generator(FAKE).item() == pytest.approx(generator, rel=1e-6)


def test_relativistic_pairs_rows() -> None:
    loss = adversarial.Relativistic()
    assert loss.critic(REAL, FAKE).item() == pytest.approx((softplus(-1) + softplus(1)) / 2)
    assert loss.generator(REAL, FAKE).item() == pytest.approx((softplus(1) + softplus(-1)) / 2)
    assert loss.critic(REAL, FAKE - 9).item() < loss.critic(REAL, FAKE).item()


def test_half_precision_logits_give_float32_losses() -> None:
    for loss in (
        adversarial.NonSaturating(),
        adversarial.Hinge(),
        adversarial.LeastSquares(),
        adversarial.Wasserstein(),
    ):
        assert loss.critic(REAL.bfloat16(), FAKE.bfloat16()).dtype == torch.float32
        assert loss.generator(FAKE.bfloat16()).dtype == torch.float32


class Quadratic(nn.Module):
    """D(x) = a/2 |x|^2, whose slope a x is known."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, x: Tensor) -> Tensor:
        return self.a / 2 * x.square().flatten(1).sum(1)


def test_r1_and_its_second_derivative() -> None:
    critic, x = Quadratic(3.0), torch.tensor([1.0, 2.0, 2.0]).view(1, 3, 1, 1)
    value = penalty.r1(critic, x)
    assert value.item() == pytest.approx(9 * 9)  # a^2 |x|^2
    value.backward()
    assert critic.a.grad is not None and critic.a.grad.item() == pytest.approx(2 * 3 * 9)


def test_gradient_penalty_between_equal_pictures() -> None:
    critic, x = Quadratic(1.0), torch.tensor([1.0, 2.0, 2.0]).view(1, 3, 1, 1)
    value = penalty.gradient_penalty(critic, x, x, Stream(0))  # every mix is x, whose slope is 3
    assert value.item() == pytest.approx((3 - 1) ** 2, rel=1e-5)
    value.backward()
    assert critic.a.grad is not None and critic.a.grad.item() == pytest.approx(2 * (3 - 1) * 3, rel=1e-5)


def test_gradient_penalty_draws_one_mix_an_image() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.square().sum((1, 2, 3))

    real, fake = torch.ones(64, 1, 4, 4), torch.zeros(64, 1, 4, 4)
    penalty.gradient_penalty(critic, real, fake, Stream(1))
    mix = seen[0].flatten(1)
    assert torch.equal(mix, mix[:, :1].expand_as(mix))  # the same within an image
    assert mix[:, 0].unique().numel() > 60 and 0.4 < mix.mean() < 0.6  # another in every image


def test_gradient_penalty_is_two_sided_and_counts_every_pixel() -> None:
    x = torch.zeros(2, 1, 3, 3)
    for slope, expected in ((0.0, 1.0), (1 / 3, 0.0), (1.0, 4.0)):  # |grad| = 3 slope
        value = penalty.gradient_penalty(lambda image, s=slope: s * image.sum((1, 2, 3)), x, x, Stream(0))
        assert value.item() == pytest.approx(expected, abs=1e-6)


def test_penalties_match_a_numerical_second_derivative() -> None:
    weight = torch.nn.init.normal_(torch.empty(4, 9, dtype=torch.float64), generator=Stream(3).generator)
    x = Stream(4).normal(2, 1, 3, 3)

    def value(w: Tensor) -> Tensor:
        return penalty.r1(lambda image: torch.tanh(image.flatten(1) @ w.float().T).sum(1), x)

    weight.requires_grad_()
    (gradient,) = torch.autograd.grad(value(weight), weight)
    step = torch.zeros_like(weight)
    step[1, 2] = 1e-2
    numeric = (value(weight.detach() + step) - value(weight.detach() - step)) / 2e-2
    assert gradient[1, 2].item() == pytest.approx(numeric.item(), rel=1e-2)


def test_dragan_stays_near_the_data() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum((1, 2, 3)) / 3

    real = Stream(5).normal(8, 1, 3, 3)
    assert penalty.dragan(critic, real, Stream(6)).item() == pytest.approx(0, abs=1e-6)  # slope 1/3 in 9 pixels
    shift = seen[0] - real
    assert (shift >= 0).all() and 0 < shift.max() <= 0.5 * real.std()


def test_reconstruction_distances() -> None:
    x, y = torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])
    assert reconstruction.l1(x, y).item() == 2
    assert reconstruction.l2(x, y).item() == 5


def test_feature_distances() -> None:
    ours = [torch.ones(2, 3, 4, 4, requires_grad=True), torch.zeros(2, 1, 2, 2)]
    theirs = [torch.zeros(2, 3, 4, 4, requires_grad=True), torch.full((2, 1, 2, 2), 0.5)]
    distance = perceptual.feature_distance(ours, theirs)
    assert distance.item() == 1.5
    distance.backward()
    assert ours[0].grad is not None and theirs[0].grad is None
    a, b = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 7.0]).view(1, 2, 1, 1)
    assert perceptual.unit_feature_distance([a], [b]).tolist() == [2.0]  # unit vectors at a right angle
    assert perceptual.unit_feature_distance([a], [b], [torch.tensor([1.0, 3.0])]).tolist() == [4.0]
    w = torch.tensor([0.5, 3.0])  # Eq. 1 multiplies the difference, so the square of its w is what is given
    difference = w * (a / a.norm(dim=1, keepdim=True) - b / b.norm(dim=1, keepdim=True))[0, :, 0, 0]
    assert perceptual.unit_feature_distance([a], [b], [w.square()]).item() == pytest.approx(
        float(difference @ difference)
    )
    assert perceptual.unit_feature_distance([a, a], [2 * a, 5 * a]).item() == pytest.approx(0, abs=1e-12)


def test_layers_must_pair_up() -> None:
    with pytest.raises(ValueError):
        perceptual.feature_distance([REAL], [REAL, FAKE])


def test_soft_jaccard_is_the_intersection_over_union_of_certain_predictions() -> None:
    layout = torch.tensor([[[0, 0, 1], [1, 1, 1]]])  # class 2 is not there and does not count
    labels = torch.tensor([[[0, 1, 1], [1, 1, 0]]])
    certain = 50.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert soft_jaccard(certain, layout) == pytest.approx(1 - (1 / 3 + 3 / 5) / 2, abs=1e-6)
    assert soft_jaccard(50.0 * torch.nn.functional.one_hot(layout, 3).permute(0, 3, 1, 2), layout) < 1e-6


def test_soft_jaccard_pulls_at_a_small_part_as_hard_as_at_a_large_one() -> None:
    layout = torch.zeros(1, 8, 8, dtype=torch.long)
    layout[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    (pull,) = torch.autograd.grad(soft_jaccard(logits, layout), logits)
    (plain,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, layout), logits)
    ratio = (pull[0, 1, 0, 0] / pull[0, 1, 4, 4]).abs() / (plain[0, 1, 0, 0] / plain[0, 1, 4, 4]).abs()
    assert ratio > 2
