"""The deep belief network against sums over all states of a small one."""

import pytest
import torch

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.boltzmann import LogZ, binarise
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.energy.dbn import DBN

SMALL = Shape(1, 2, 3)  # 6 pixels: 64 pictures


def network(strength: float = 0.7, **config: object) -> DBN:
    model = DBN(SMALL, hidden=(4, 3), **config)
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(strength * Stream(k, "dbn").normal(*p.shape))
    return model.eval()


def states(n: int) -> torch.Tensor:
    return ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).float()


class Many(Stream):
    """One stream for 6000 pictures, which is as random as one for each and sooner drawn from."""

    def __len__(self) -> int:
        return 6000


def exact(model: DBN) -> torch.Tensor:
    """log P(v) of all 64 pictures: sum over h1 of P(v | h1) P(h1), the latter from the top machine."""
    low, top = model._machine(0), model._machine(1)
    h, v = states(4), states(6)
    log_h = -top.free_energy(h) - top.enumerated()  # (16,)
    odds = low.downward(h)  # (16, 6)
    log_v = -torch.nn.functional.binary_cross_entropy_with_logits(
        odds[:, None].expand(-1, 64, -1), v.expand(16, -1, -1), reduction="none"
    ).sum(2)
    return (log_h[:, None] + log_v).logsumexp(0)


def test_probabilities_sum_to_one_and_the_bound_is_one():
    model = network(draws=400)
    images = (2 * states(6) - 1).view(-1, *SMALL)
    with torch.no_grad():
        true, bound = exact(model), model.log_prob(images, Stream(0))
    assert abs(float(true.double().logsumexp(0))) < 1e-5
    assert (bound < true + 0.15).all()  # chance alone gives some hundredths
    assert bound.mean() < true.mean()


def test_the_bound_is_tight_where_q_is_the_posterior():
    """Without weights between the picture and the first layer, Q is exact."""
    model = network(draws=4)
    with torch.no_grad():
        model._machine(0).weight.zero_()
        top = model._machine(1)
        top.weight.zero_()
        top.bias.copy_(model._machine(0).hidden_bias)  # the first layer's prior is what Q says
        images = (2 * states(6) - 1).view(-1, *SMALL)
        torch.testing.assert_close(model.log_prob(images, Stream(0)), exact(model), rtol=1e-4, atol=1e-4)


def test_pictures_are_drawn_as_often_as_they_are_likely():
    model = network()
    with torch.no_grad():
        made = model.sample(Condition(), Many(0), Sampling(steps=40))
        found = torch.bincount((binarise(made).long() << torch.arange(6)).sum(1), minlength=64) / 6000
        expected = exact(model).exp()
    assert (found - expected).abs().sum() / 2 < 0.06
    assert (torch.full((64,), 1 / 64) - expected).abs().sum() / 2 > 0.2


@pytest.mark.parametrize(
    ("progress", "moves"), [(0.0, [True, False]), (0.49, [True, False]), (0.5, [False, True]), (1.0, [False, True])]
)
def test_layers_learn_one_after_the_other(progress, moves):
    model = network()
    turn = Turn(Batch((2 * states(6) - 1).view(-1, *SMALL)), Stream(0), 0, progress)
    assert [model.contrastive_divergence(k, turn) is not None for k in range(2)] == moves
    together = network(greedy=False)
    assert [together.contrastive_divergence(k, turn) is not None for k in range(2)] == [True, True]


def test_samples_follow_their_seeds_and_layers_invert_roughly():
    model = network()
    with torch.no_grad():
        many = model.sample(Condition(), ImageRng.counting(0, 4), Sampling(steps=10))
        assert torch.equal(model.sample(Condition(), ImageRng([2]), Sampling(steps=10)), many[2:3])
        assert model.encode(many).shape == (4, 3) and model.decode(model.encode(many)).shape == many.shape


def test_misuse_is_explained():
    with pytest.raises(UsageError, match="one is an 'rbm'"):
        DBN(SMALL, hidden=(4,))


def test_the_annealed_log_z_of_the_top_is_as_close_as_its_spread_says_and_enters_the_estimate_once() -> None:
    """What is a bound with the exact log Z is off by the annealing's error otherwise, to either side."""
    model = DBN(SMALL, hidden=(4, 18), temperatures=4, runs=4, repeats=60, draws=1)
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(1.2 * Stream(k, "dbn").normal(*p.shape))
        exact_z = float((-model._machine(1).free_energy(states(4))).double().logsumexp(0))  # of the 16 states below
        found = model._log_z()
        images = (2 * states(6) - 1).view(-1, *SMALL)
        estimate = model.log_prob(images, Stream(0))
        model.cached_log_z = (model.cached_log_z[0], LogZ(exact_z, None))
        bound = model.log_prob(images, Stream(0))
    assert found.spread is not None and abs(found.value - exact_z) < 4 * found.spread / 60**0.5
    torch.testing.assert_close(bound - estimate, torch.full((64,), found.value - exact_z), rtol=0, atol=1e-4)
