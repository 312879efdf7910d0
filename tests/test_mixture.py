"""Mixtures and windows against known densities, scikit-learn, and each other."""

import itertools
import math

import pytest
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape, to_float, to_uint8
from zeuxis.distributions.affine import pack, unpack
from zeuxis.errors import DataError, UsageError
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.density import parzen
from zeuxis.systems.density.gaussian import Gaussian
from zeuxis.systems.density.mixture import Mixture
from zeuxis.systems.density.parzen import Parzen

SHAPE = Shape(1, 2, 2)
CENTRES = torch.tensor([[-0.6, -0.6, 0.0, 0.3], [0.6, -0.4, 0.2, 0.0], [0.0, 0.6, -0.5, -0.3], [0.5, 0.5, 0.5, 0.5]])
WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4])


def toy(n: int, seed: int = 0) -> Tensor:
    """Images ``(n, 1, 2, 2)`` of four clusters of deviation 0.08 with unequal weights."""
    rng = Stream(seed, "toy")
    which = torch.searchsorted(WEIGHTS.cumsum(0), rng.uniform(n)).clamp(max=3)
    return (CENTRES[which] + 0.08 * rng.normal(n, 4)).unflatten(1, SHAPE)


def batches(images: Tensor) -> list[Batch]:
    return [Batch(part) for part in images.split(97)]


def fitted(images: Tensor, **config: float) -> Mixture:
    model = Mixture(SHAPE, components=int(config.get("components", 4)), rounds=int(config.get("rounds", 20)), prior=0.0)
    model.fit(batches(images))
    return model


def test_packing_is_undone():
    factor = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).tril().double()
    assert torch.equal(unpack(pack(factor), 5), factor)


def test_em_recovers_weights_means_and_spreads():
    model = fitted(toy(8000))
    order = [int((model.means - centre).norm(dim=1).argmin()) for centre in CENTRES]
    assert sorted(order) == [0, 1, 2, 3]
    assert (model.weights[order] - WEIGHTS).abs().max() < 0.02
    assert (model.means[order] - CENTRES).abs().max() < 0.02
    for k in range(4):
        covariance = unpack(model.packed[k], 4) @ unpack(model.packed[k], 4).T
        assert (covariance - 0.08**2 * torch.eye(4)).abs().max() < 1.5e-3


def test_a_round_of_em_never_lowers_the_likelihood():
    """The rounds are nested: k-means is the same, so round r of a longer run is that of a shorter one."""
    images = toy(1500) + 0.15 * Stream(3).normal(1500, 1, 2, 2)  # clusters that overlap, so that EM has work to do
    found = []
    for rounds in range(1, 8):
        model = fitted(images, rounds=rounds, components=3)
        found.append(float(model.log_prob(images, Stream(0)).double().mean()))
    assert all(after >= before - 1e-6 for before, after in itertools.pairwise(found))
    assert found[-1] > found[0]


def test_the_density_is_that_of_scikit_learn():
    model = fitted(toy(2000))
    peer = GaussianMixture(4, covariance_type="full")
    peer.weights_, peer.means_ = model.weights.double().numpy(), model.means.double().numpy()
    peer.precisions_cholesky_ = torch.stack([unpack(p, 4).inverse().T for p in model.packed]).numpy()
    x = toy(50, seed=1)
    theirs = torch.from_numpy(peer.score_samples(x.flatten(1).double().numpy()))
    torch.testing.assert_close(model.log_prob(x, Stream(0)).double(), theirs, rtol=1e-5, atol=1e-5)


def test_a_mixture_explains_new_clusters_better_than_one_gaussian():
    train, test = toy(4000), toy(2000, seed=1)
    one = Gaussian(SHAPE)
    one.fit(batches(train))
    gain = fitted(train).log_prob(test, Stream(0)).mean() - one.log_prob(test, Stream(0)).mean()
    assert gain > 1.0
    assert (
        abs(float(fitted(train, components=1).log_prob(test, Stream(0)).mean() - one.log_prob(test, Stream(0)).mean()))
        < 1e-3
    )


def test_a_component_without_images_begins_anew_where_the_mixture_is_worst():
    model = fitted(toy(400), rounds=1)
    share = torch.zeros(400, 4, dtype=torch.float64)
    share[:, 0] = 1.0  # the others have died
    explained = torch.arange(400.0)
    share = model._restart_dead(share, explained)
    assert share.sum(0).tolist() == [397.0, 1.0, 1.0, 1.0]
    assert share[:3, 1:].sum() == 3  # the three worst ones


def test_mixture_samples_follow_its_weights_and_obey_the_seed():
    model = fitted(toy(4000))
    many = model.sample(Condition(), ImageRng.counting(0, 3000))
    which = (many.flatten(1)[:, None] - CENTRES).norm(dim=2).argmin(1)
    assert (torch.bincount(which, minlength=4) / 3000 - WEIGHTS).abs().max() < 0.03
    assert torch.equal(model.sample(Condition(), ImageRng([7])), many[7:8])
    still = model.sample(Condition(), ImageRng.counting(0, 50), Sampling(temperature=0.0)).flatten(1)
    assert (still[:, None] - model.means).norm(dim=2).amin(1).max() < 1e-6


def test_mixture_misuse_is_explained():
    with pytest.raises(DataError, match="too few for 4 components"):
        fitted(toy(5))
    with pytest.raises(DataError, match="resize"):
        Mixture(Shape(1, 3, 3)).fit(batches(toy(50)))
    with pytest.raises(UsageError, match="at least 1"):
        Mixture(SHAPE, components=0)


# -- the window -------------------------------------------------------------------------------------


def test_the_window_is_that_of_scikit_learn():
    model = Parzen(SHAPE, keep=300, held=100)
    images = to_float(to_uint8(toy(400)))
    model.fit(batches(images))
    centres = to_float(model.centres).flatten(1)
    assert torch.cdist(centres, images.flatten(1)).amin(1).max() < 1e-3 and int(model.count) == 300
    peer = KernelDensity(bandwidth=float(model.width)).fit(centres.double().numpy())
    x = toy(40, seed=1)
    theirs = torch.from_numpy(peer.score_samples(x.flatten(1).double().numpy()))
    torch.testing.assert_close(model.log_prob(x, Stream(0)).double(), theirs, rtol=1e-4, atol=1e-4)


def test_a_folder_of_classes_one_after_another_is_seen_whole(monkeypatch: pytest.MonkeyPatch):
    """Neither a window of fewer centres nor a start from fewer images is of the first classes alone."""
    noise = 0.02 * Stream(2).normal(600, *SHAPE)
    heaps = (noise + torch.tensor([-0.8, 0.0, 0.8]).repeat_interleave(200)[:, None, None, None]).clamp(-1, 1)
    window = Parzen(SHAPE, keep=150, held=100)
    window.fit(batches(heaps))
    nats = window.log_prob(heaps, Stream(0)).view(3, 200).mean(1)
    assert nats.max() - nats.min() < 1
    monkeypatch.setattr("zeuxis.systems.density.mixture.START_IMAGES", 150)
    model = Mixture(SHAPE, components=3, rounds=1)
    model.fit(batches(heaps))
    torch.testing.assert_close(model.weights, torch.full((3,), 1 / 3), atol=1e-3, rtol=0)


def test_the_width_is_the_likeliest():
    far = parzen._squares(toy(200, 1).flatten(1), toy(500).flatten(1))
    best = parzen.best_width(far, 4)
    score = lambda h: float(parzen.log_density(far, h, 4).mean())  # noqa: E731
    assert 0.01 < best < 0.2
    assert score(best) > max(score(best * 1.02), score(best / 1.02))


def test_pixels_that_never_change_leave_it_a_density():
    images = toy(300)
    images[:, :, 0] = -1.0
    model = Parzen(SHAPE, keep=200, held=50)
    model.fit(batches(images))
    assert model.log_prob(images, Stream(0)).isfinite().all()


def test_it_fails_as_the_dimension_grows():
    """The truth is a standard normal: with two thousand examples little is lost in 1 dimension, much in 64."""
    lost = [parzen.shortfall(d, 2000, Stream(d)) for d in (1, 8, 64)]
    assert lost[0] < 0.005 < 0.02 < lost[1] < 0.1 < lost[2]
    assert parzen.shortfall(8, 4000, Stream(0)) < parzen.shortfall(8, 200, Stream(0))


def test_window_samples_are_near_training_images_and_obey_the_seed():
    model = Parzen(SHAPE, keep=100, held=20)
    model.fit(batches(toy(150)))
    cold = model.sample(Condition(), ImageRng.counting(3, 20), Sampling(temperature=0.0))
    assert all((to_uint8(one) == model.centres[: int(model.count)]).all((1, 2, 3)).any() for one in cold)
    many = model.sample(Condition(), ImageRng.counting(3, 20))
    assert torch.equal(model.sample(Condition(), ImageRng([5])), many[2:3])
    assert abs(float((many - cold).std()) / float(model.width) - 1) < 0.3
    again = Parzen(**model.config)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.log_prob(cold, Stream(0)), model.log_prob(cold, Stream(0)))
    assert math.isfinite(float(Parzen(SHAPE).log_prob(cold, Stream(0)).mean()))


def test_window_misuse_is_explained():
    with pytest.raises(DataError, match="at least 2"):
        Parzen(SHAPE).fit(batches(toy(1)))
    with pytest.raises(DataError, match="resize"):
        Parzen(Shape(1, 3, 3)).fit(batches(toy(50)))
    with pytest.raises(UsageError, match="at least 1"):
        Parzen(SHAPE, keep=0)


@pytest.mark.parametrize("different", [1, 2])
def test_fewer_different_pictures_than_components(different: int) -> None:
    """k-means leaves components without a picture then, of which there is no mean."""
    shades = torch.linspace(-1, 1, different + 2)[1:-1]
    image = shades.repeat(10)[:, None, None, None].expand(-1, 1, 4, 4)
    found = Mixture(Shape(1, 4, 4), components=3)
    found.fit([Batch(image)])
    assert all(value.isfinite().all() for value in found.state_dict().values())
    assert float(found.weights.sum()) == pytest.approx(1.0)
    seen, unseen = found.log_prob(image[:different], Stream(0)), found.log_prob(-torch.ones(1, 1, 4, 4), Stream(0))
    assert seen.isfinite().all() and (seen > unseen).all()
