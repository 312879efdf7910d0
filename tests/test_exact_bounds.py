"""The bounds of vae and cvae against a likelihood that is known exactly.

With a linear decoder and Gaussian pixels p(x) is one Gaussian: z ~ N(m, diag(s^2)), x = W z + b + sigma e, so that
p(x) = N(W m + b, W diag(s^2) W' + sigma^2 I). The columns of W are orthogonal here, so the true posterior has a
diagonal covariance and an encoder can be it. The ELBO of a linear decoder is a mean of squares of the noise, and
the 2 Z points +-sqrt(Z) e_k have the mean and covariance of N(0, I): on them it is exact, not estimated.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.distributions.normal import Normal
from zeuxis.game import Turn
from zeuxis.rng import Stream
from zeuxis.systems.autoencoder.cvae import CVAE
from zeuxis.systems.autoencoder.vae import VAE

SHAPE, LATENT, CLASSES, SIGMA = Shape(1, 4, 4), 3, 3, 0.4
PIXELS = 16

Posterior = tuple[Tensor, Tensor]  # mean and log variance, (B, Z) each


class Given(nn.Module):
    """An encoder that is any function of its input."""

    def __init__(self, posterior: Callable[[Tensor], Posterior]) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat(self.posterior(image), 1)


class SigmaPoints:
    """In place of random noise: row k of a batch gets the k-th of the points +-sqrt(Z) e."""

    def normal(self, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        assert shape == (2 * LATENT, LATENT)
        return math.sqrt(LATENT) * torch.cat([torch.eye(LATENT), -torch.eye(LATENT)])


def linear_decoder(inputs: int) -> nn.Sequential:
    """W z + b as a picture; the first ``LATENT`` columns of W are orthogonal, of lengths 0.5, 1 and 1.5."""
    layer = nn.Linear(inputs, PIXELS)
    with torch.no_grad():
        weight = Stream(1).normal(PIXELS, inputs)
        weight[:, :LATENT] = torch.linalg.qr(weight[:, :LATENT])[0] * torch.tensor([0.5, 1.0, 1.5])
        layer.weight.copy_(weight)
        layer.bias.copy_(0.3 * Stream(2).normal(PIXELS))
    return nn.Sequential(layer, nn.Unflatten(1, SHAPE))


def conditioned(image: Tensor, label: Tensor | None, decoder: nn.Sequential, prior: Posterior) -> Posterior:
    """The true posterior of a linear Gaussian model."""
    weight, bias = decoder[0].weight, decoder[0].bias
    shift = bias if label is None else bias + weight[:, LATENT:].T[label]
    precision = (-prior[1]).exp() + weight[:, :LATENT].square().sum(
        0
    ) / SIGMA**2  # diagonal: W's columns are orthogonal
    pull = (-prior[1]).exp() * prior[0] + (image.flatten(1) - shift) @ weight[:, :LATENT] / SIGMA**2
    return pull / precision, -precision.log().expand_as(pull)


def marginal(image: Tensor, label: Tensor | None, decoder: nn.Sequential, prior: Posterior, sigma: Tensor) -> Tensor:
    """log p(x) (B,), exactly, in double precision."""
    weight, bias = decoder[0].weight.double(), decoder[0].bias.double()
    loading = weight[:, :LATENT]  # (D, Z)
    mean = bias + prior[0].double() @ loading.T
    if label is not None:
        mean = mean + weight[:, LATENT:].T[label]
    spread = (loading * prior[1].double().exp()[:, None]) @ loading.T  # (B, D, D)
    noise = sigma.double() ** 2 * torch.eye(PIXELS)
    return MultivariateNormal(mean, spread + noise).log_prob(image.flatten(1).double())


class Linear:
    """A VAE, or a CVAE, that is linear; ``off`` moves and widens the encoder's posterior away from the true one."""

    def __init__(self, *, conditional: bool, off: float = 0.0) -> None:
        self.off, self.conditional = off, conditional
        self.image = Stream(3).normal(4, *SHAPE)
        self.label = torch.tensor([0, 2, 1, 0]) if conditional else None
        small = {"latent": LATENT, "widths": (), "hidden": 2}
        self.system: VAE | CVAE = CVAE(SHAPE, classes=CLASSES, **small) if conditional else VAE(SHAPE, **small)
        self.system.decoder = linear_decoder(LATENT + (CLASSES if conditional else 0))
        self.system.encoder = Given(self.encoder)
        with torch.no_grad():
            self.system.likelihood.log_sigma.fill_(math.log(SIGMA))
            if conditional:
                self.system.prior.weight.copy_(0.5 * Stream(4).normal(CLASSES, 2 * LATENT))

    def prior(self, label: Tensor | None) -> Posterior:
        if label is None:
            return torch.zeros(1, LATENT), torch.zeros(1, LATENT)
        prior = self.system.prior_of(label)
        return prior.mean, prior.logvar

    def true(self, image: Tensor, label: Tensor | None) -> Posterior:
        return conditioned(image, label, self.system.decoder, self.prior(label))

    def encoder(self, inputs: Tensor) -> Posterior:
        """The encoder's: a cvae's inputs also hold the label, as planes. No gradient reaches the decoder through it."""
        label = inputs[:, 1:, 0, 0].argmax(1) if self.conditional else None
        with torch.no_grad():
            mean, logvar = self.true(inputs[:, :1], label)
        return mean + self.off * torch.tensor([1.0, -0.5, 0.3]) * (0.5 * logvar).exp(), logvar + self.off

    def exact(self) -> Tensor:
        """log p(x) of the four pictures."""
        sigma = self.system.likelihood.log_sigma.exp()
        return marginal(self.image, self.label, self.system.decoder, self.prior(self.label), sigma)

    def elbo(self, k: int) -> Tensor:
        """What training raises for picture ``k``, its mean over the noise exact."""
        times = 2 * LATENT
        label = None if self.label is None else self.label[k].repeat(times)
        batch = Batch(self.image[k].expand(times, *SHAPE), Condition(label=label))
        return -self.system.bound(Turn(batch, SigmaPoints(), 0, 0.0))


EACH = pytest.mark.parametrize("conditional", [False, True], ids=["vae", "cvae"])


@EACH
def test_with_the_true_posterior_the_bound_is_the_likelihood(conditional: bool) -> None:
    model = Linear(conditional=conditional)
    elbo = torch.stack([model.elbo(k) for k in range(4)])
    torch.testing.assert_close(elbo.double(), model.exact(), rtol=1e-6, atol=2e-5)


@EACH
def test_the_bound_falls_short_by_the_divergence_from_the_true_posterior(conditional: bool) -> None:
    model = Linear(conditional=conditional, off=0.8)
    true = model.true(model.image, model.label)
    mean, logvar = true[0] + 0.8 * torch.tensor([1.0, -0.5, 0.3]) * (0.5 * true[1]).exp(), true[1] + 0.8
    gap = Normal(mean, logvar).kl(Normal(*true))
    assert gap.min() > 0.5  # the test would be idle without one
    elbo = torch.stack([model.elbo(k) for k in range(4)])
    torch.testing.assert_close(elbo.double(), model.exact() - gap, rtol=1e-6, atol=2e-5)


@EACH
def test_with_the_true_posterior_the_bound_climbs_as_the_likelihood_does(conditional: bool) -> None:
    """The gap is then at its least, zero, so its slope vanishes: decoder, sigma and prior get the likelihood's."""
    model = Linear(conditional=conditional)
    climbing = [*model.system.decoder.parameters(), model.system.likelihood.log_sigma]
    climbing += [model.system.prior.weight] if conditional else []
    found = torch.autograd.grad(sum(model.elbo(k) for k in range(4)), climbing)
    exact = torch.autograd.grad(model.exact().sum(), climbing)
    for one, other in zip(found, exact, strict=True):
        assert other.abs().max() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-4)


@torch.no_grad()
def test_with_the_true_posterior_every_weight_is_the_likelihood() -> None:
    """p(x, z) / q(z|x) is p(x) whatever z is drawn, so one sample says as much as five."""
    model = Linear(conditional=False)
    for samples in (1, 5):
        model.system.importance = samples
        torch.testing.assert_close(
            model.system.log_prob(model.image, Stream(samples)).double(), model.exact(), rtol=1e-6, atol=2e-5
        )


@torch.no_grad()
def test_more_samples_raise_the_bound_to_the_likelihood_and_not_beyond() -> None:
    """Burda et al. 2015, theorem 1: L_1 <= L_16 <= L_256 <= log p(x), and the limit is reached."""
    model = Linear(conditional=False, off=1.0)
    images, exact = model.image.repeat(256, 1, 1, 1), model.exact().mean()
    bounds, errors = [], []
    for samples in (1, 16, 256):
        model.system.importance = samples
        drawn = model.system.log_prob(images, Stream(samples)).double().view(256, 4).mean(1)
        bounds.append(drawn.mean())
        errors.append(drawn.std() / math.sqrt(256))
    elbo = torch.stack([model.elbo(k) for k in range(4)]).double().mean()
    assert (bounds[0] - elbo).abs() < 4 * errors[0]
    assert bounds[1] > bounds[0] + 4 * errors[0]
    assert bounds[2] > bounds[1] + 4 * errors[1]
    assert bounds[2] < exact + 4 * errors[2]
    assert exact - bounds[2] < 0.01
