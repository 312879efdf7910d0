"""The closed-form density models against known parameters, known likelihoods and scikit-learn."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA as SklearnPCA
from torch.distributions import MultivariateNormal

from zeuxis.batch import Batch, Condition, Shape, to_float
from zeuxis.distributions.dequantise import VARIANCE
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.density._moments import moments
from zeuxis.systems.density.gaussian import Gaussian
from zeuxis.systems.density.pca import PCA

SHAPE = Shape(2, 2, 3)
D = 12


def batches(images: torch.Tensor, size: int = 97) -> list[Batch]:
    return [Batch(part) for part in images.split(size)]


def known() -> tuple[torch.Tensor, torch.Tensor]:
    """A mean and a covariance with correlations, well inside [-1, 1]."""
    mixing = Stream(1).normal(D, D) * 0.05
    return Stream(2).uniform(D) * 0.6 - 0.3, mixing @ mixing.T + 0.002 * torch.eye(D)


def drawn(n: int, seed: int = 3) -> torch.Tensor:
    mean, covariance = known()
    return (mean + Stream(seed).normal(n, D) @ torch.linalg.cholesky(covariance).T).unflatten(1, SHAPE)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Handwritten digits as 8-bit images: 1500 to fit, 297 held out."""
    pixels = torch.from_numpy(load_digits().images).mul(255 / 16).round().to(torch.uint8)
    images = to_float(pixels).unsqueeze(1)
    return images[:1500], images[1500:]


def fitted(system: System, images: torch.Tensor) -> System:
    system.fit(batches(images))
    return system


BOTH = pytest.mark.parametrize("build", [Gaussian, lambda shape: PCA(shape, components=3)], ids=["gaussian", "pca"])


@pytest.mark.parametrize("size", [1, 7, 500])
def test_moments_do_not_depend_on_the_batches(size):
    images = drawn(500) + 3  # a mean far from 0, where E[xx'] - mm' would cancel
    mean, covariance, n = moments(batches(images, size))
    flat = images.flatten(1).double()
    assert n == 500
    torch.testing.assert_close(mean, flat.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(covariance, flat.T.cov(correction=0), rtol=1e-10, atol=1e-14)


def test_gaussian_recovers_the_parameters():
    mean, covariance = known()
    n = 20_000
    model = fitted(Gaussian(SHAPE, floor=0.0), drawn(n))
    found = model.factor() @ model.factor().T
    spread = covariance.diagonal()
    assert ((model.mean - mean).abs() < 4 * (spread / n).sqrt()).all()
    error = ((covariance.square() + spread[:, None] * spread) / n).sqrt()  # of a sample covariance
    assert ((found - covariance).abs() < 4 * error).all()


def test_gaussian_density_is_exact():
    model = fitted(Gaussian(SHAPE), drawn(300))
    factor = model.factor()
    reference = MultivariateNormal(model.mean.double(), scale_tril=factor)
    x = drawn(5, seed=9)
    torch.testing.assert_close(model.log_prob(x, Stream(0)), reference.log_prob(x.double().flatten(1)).float())


def test_gaussian_samples_follow_the_fit():
    mean, covariance = known()
    model = fitted(Gaussian(SHAPE, floor=0.0), drawn(20_000))
    sample = model.sample(Condition(), ImageRng.counting(0, 4000)).flatten(1)
    assert ((sample.mean(0) - mean).abs() < 5 * (covariance.diagonal() / 4000).sqrt()).all()
    torch.testing.assert_close(sample.var(0), covariance.diagonal(), rtol=0.12, atol=0)


def test_constant_pixels_get_the_floor():
    images = drawn(200)
    images[:, :, 0] = -1.0  # a border that never changes
    model = fitted(Gaussian(SHAPE), images)
    variances = (model.factor() @ model.factor().T).diagonal().unflatten(0, SHAPE)
    torch.testing.assert_close(variances[:, 0], torch.full((2, 3), VARIANCE).double(), rtol=1e-5, atol=0)
    assert model.log_prob(images, Stream(0)).isfinite().all()
    with pytest.raises(DataError, match="raise the floor"):
        Gaussian(SHAPE, floor=0.0).fit(batches(images))


def test_the_gaussian_is_held_out_likelier_than_independent_pixels():
    """On real digits: correlations must pay, and fewer bits than 8 a pixel must be needed."""
    train, test = digits()
    noisy = test + (Stream(4).uniform(*test.shape) - 0.5) * 2 / 255
    full = fitted(Gaussian(train.shape[1:]), train)
    spread = (full.factor() @ full.factor().T).diagonal()
    independent = torch.distributions.Normal(full.mean.double(), spread.sqrt()).log_prob(noisy.double().flatten(1))
    nats = (full.log_prob(noisy, Stream(0)).mean().item(), independent.sum(1).mean().item())
    bits = [-each / (64 * math.log(2)) + math.log2(127.5) for each in nats]
    assert 4.0 < bits[0] < bits[1] - 0.3
    assert bits[0] < 7.0


@pytest.mark.parametrize("components", [1, 8, 30])
def test_pca_agrees_with_scikit_learn(components):
    train, test = digits()
    model = fitted(PCA(train.shape[1:], components=components, floor=0.0), train)
    peer = SklearnPCA(components, svd_solver="full").fit(train.flatten(1).double().numpy())
    x = test.flatten(1).double().numpy()
    theirs = torch.from_numpy(peer.inverse_transform(peer.transform(x))).unflatten(1, test.shape[1:])
    ours = model.decode(model.encode(test)).double()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    ours_mse, theirs_mse = ((y - test).square().mean().item() for y in (ours, theirs))
    assert abs(ours_mse - theirs_mse) < 1e-6


def test_pca_likelihood_agrees_with_its_covariance():
    model = fitted(PCA(SHAPE, components=4), drawn(400))
    loading = (model.axes * model.scale[:, None]).double()  # W'
    covariance = loading.T @ loading + model.noise.double() * torch.eye(D)
    x = drawn(6, seed=8)
    reference = MultivariateNormal(model.mean.double(), covariance).log_prob(x.double().flatten(1)).float()
    torch.testing.assert_close(model.log_prob(x, Stream(0)), reference, rtol=1e-5, atol=1e-4)


def test_pca_with_all_but_one_component_is_the_gaussian():
    train, test = digits()
    full, nearly = fitted(Gaussian(train.shape[1:]), train), fitted(PCA(train.shape[1:], components=63), train)
    torch.testing.assert_close(nearly.log_prob(test, Stream(0)), full.log_prob(test, Stream(0)), rtol=1e-3, atol=0.1)


def test_pca_samples_have_the_covariance_it_claims():
    model = fitted(PCA(SHAPE, components=4), drawn(400))
    loading = (model.axes * model.scale[:, None]).double()
    variances = (loading.T @ loading).diagonal() + model.noise.double()
    sample = model.sample(Condition(), ImageRng.counting(0, 4000)).flatten(1)
    torch.testing.assert_close(sample.double().var(0), variances, rtol=0.12, atol=0)


def test_more_components_reconstruct_better():
    train, test = digits()
    errors = []
    for components in (2, 8, 32):
        model = fitted(PCA(train.shape[1:], components=components), train)
        errors.append((model.decode(model.encode(test)) - test).square().mean().item())
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


@BOTH
def test_latents_invert(build):
    model = fitted(build(SHAPE), drawn(400))
    latent = model.encode(drawn(5, seed=6))
    torch.testing.assert_close(model.encode(model.decode(latent)), latent, rtol=1e-3, atol=1e-4)
    spread = model.encode(drawn(2000, seed=7)).std(0)
    assert (spread > 0.8).all() and (spread < 1.4).all()  # whitened: about standard normal


@BOTH
def test_samples_obey_seed_shape_range_and_temperature(build):
    model = fitted(build(SHAPE), drawn(400))
    many = model.sample(Condition(), ImageRng.counting(5, 6))
    assert many.shape == (6, *SHAPE) and many.dtype == torch.float32 and many.abs().max() <= 1
    torch.testing.assert_close(model.sample(Condition(), ImageRng([8])), many[3:4], rtol=0, atol=1e-6)
    assert not torch.equal(many[0], many[1])
    cold = model.sample(Condition(), ImageRng.counting(5, 64), Sampling(temperature=0.0))
    warm = model.sample(Condition(), ImageRng.counting(5, 64))
    assert cold.var(0).sum() < 0.7 * warm.var(0).sum()


@BOTH
def test_state_dict_round_trip_is_bit_equal(build):
    model = fitted(build(SHAPE), drawn(400))
    again = type(model)(**model.config)
    again.load_state_dict(model.state_dict())
    rng = ImageRng.counting(0, 3)
    assert torch.equal(again.sample(Condition(), rng), model.sample(Condition(), ImageRng.counting(0, 3)))
    x = drawn(3)
    assert torch.equal(again.log_prob(x, Stream(0)), model.log_prob(x, Stream(0)))


@BOTH
def test_a_new_instance_is_already_a_density(build):
    model = build(SHAPE)
    assert model.log_prob(drawn(3), Stream(0)).isfinite().all()
    assert model.sample(Condition(), ImageRng.counting(0, 2)).shape == (2, *SHAPE)


@BOTH
def test_misuse_is_explained(build):
    with pytest.raises(DataError, match="at least 2"):
        build(SHAPE).fit(batches(drawn(1)))
    with pytest.raises(DataError, match="resize"):
        build(Shape(1, 2, 3)).fit(batches(drawn(9)))
    with pytest.raises(Unsupported, match="choose a size"):
        build(Shape(3, 128, 128))


def test_pca_refuses_more_components_than_there_are():
    with pytest.raises(UsageError, match="between 1 and 11"):
        PCA(SHAPE, components=12)


def test_gaussian_stores_the_pinned_number_of_values():
    assert sum(b.numel() for b in Gaussian(Shape(1, 28, 28)).buffers()) == 308_504
