"""A mixture of Gaussians with full covariances, fitted by expectation and maximisation.

Dempster, Laird & Rubin 1977, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Stat. Soc. B 39;
in the notation of Bishop 2006, "Pattern Recognition and Machine Learning", section 9.2.2. Symbols -> code:
    x_n in R^d -> images, flattened    pi_k -> weights    mu_k -> means    Sigma_k = L_k L_k' -> factors
    gamma(z_nk) -> responsibility (n, K)        N_k -> count
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor
from torch.linalg import cholesky_ex, solve_triangular

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.affine import pack, unpack
from zeuxis.distributions.dequantise import VARIANCE
from zeuxis.errors import DataError, UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Rng, Stream
from zeuxis.systems.density._moments import dimension

START_AXES, START_IMAGES = 32, 20_000  # k-means begins with this many principal components of this many images
NEGLIGIBLE = 1e-6  # a responsibility below which an image does not count for a component
CHUNK = 4096  # images whose distances are taken together


class Mixture(System):
    """sum_k pi_k N(mu_k, Sigma_k) over pixels: k-means, then EM in float64.

    A component that loses all its images begins anew at the image that the mixture explains worst.

    Args:
        components: normals, K.
        rounds: of EM.
        prior: how many images the covariance within clusters, pooled over all of them, counts for in every Sigma_k:
            with fewer images than pixels a component's own would be singular.
        floor: variance added to every pixel; by default that of uniform noise one grey level wide.
    """

    card = Card(
        "mixture",
        title="Mixture of Gaussians",
        family="density",
        year=1977,
        paper="Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1-38",
        verbs={"sample", "log_prob"},
        knobs=("temperature",),
        departures=(
            "Covariances are drawn towards the one pooled over all clusters, as under an inverse-Wishart prior.",
            "The variance of 8-bit dequantisation is added to every pixel.",
        ),
    )
    weights: Tensor
    means: Tensor
    packed: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        components: int = 8,
        rounds: int = 6,
        prior: float = 500.0,
        floor: float = VARIANCE,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if components < 1 or rounds < 1:
            raise UsageError(f"components={components}, rounds={rounds}: at least 1 of each")
        self.components, self.rounds, self.prior, self.floor = components, rounds, prior, floor
        self.d = dimension(self.shape)
        self.register_buffer("weights", torch.full((components,), 1 / components))  # pi
        self.register_buffer("means", torch.zeros(components, self.d))  # mu
        self.register_buffer("packed", pack(torch.eye(self.d)).repeat(components, 1))  # lower triangles of L_k

    def fit(self, batches: Iterable[Batch]) -> None:
        """Maximise the posterior of all images, which are kept in memory as one float32 tensor."""
        x = torch.cat([batch.image.detach().flatten(1).float() for batch in batches])  # (n, d)
        if x.shape[1] != self.d:
            raise DataError(f"images of {x.shape[1]} numbers given to a mixture of {self.shape}: resize them to fit")
        if len(x) < 2 * self.components:
            raise DataError(
                f"{len(x)} images are too few for {self.components} components: give more, or ask for fewer"
            )
        responsibility = self._start(x)
        for _ in range(self.rounds):
            self._maximise(x, responsibility)
            responsibility, log_likelihood = self._expect(x)
            responsibility = self._restart_dead(responsibility, log_likelihood)
        self._maximise(x, responsibility)

    def _start(self, x: Tensor) -> Tensor:
        """Responsibilities ``(n, K)`` of 0 and 1 by k-means along the leading principal components."""
        few = len(x) <= START_IMAGES
        some = (x if few else x[Stream(0, "mixture").permutation(len(x))[:START_IMAGES].to(x.device)]).cpu().numpy()
        axes = PCA(min(START_AXES, *some.shape), random_state=0).fit(some)
        means = KMeans(self.components, n_init=4, random_state=0).fit(axes.transform(some))
        found = [means.predict(axes.transform(part.cpu().numpy())) for part in x.split(CHUNK)]
        nearest = torch.cat([torch.from_numpy(part).long() for part in found]).to(x.device)
        responsibility = torch.nn.functional.one_hot(nearest, self.components).double()
        for k in (responsibility.sum(0) == 0).nonzero()[:, 0].tolist():  # where fewer pictures differ than K
            row = responsibility[:, responsibility.sum(0).argmax()].argmax()
            responsibility[row] = 0.0
            responsibility[row, k] = 1.0
        return responsibility

    def _maximise(self, x: Tensor, responsibility: Tensor) -> None:
        """pi, mu and Sigma from responsibilities ``(n, K)`` (Bishop, Eq. 9.24 to 9.26, under the prior)."""
        count = responsibility.sum(0)  # N_k, Eq. 9.27
        means, scatters = [], []
        for k in range(self.components):
            kept = responsibility[:, k] > NEGLIGIBLE
            own, weight = x[kept].double(), responsibility[kept, k, None]
            mean = (weight * own).sum(0) / count[k] if kept.any() else self.means[k].double()  # Eq. 9.24
            own.sub_(mean).mul_(weight.sqrt())
            means.append(mean)
            scatters.append(own.T @ own)
        pooled = torch.stack(scatters).sum(0) / len(x)
        for k, (mean, scatter) in enumerate(zip(means, scatters, strict=True)):
            covariance = (scatter + self.prior * pooled) / (count[k] + self.prior)  # Eq. 9.25
            covariance.diagonal().add_(self.floor)
            factor, failed = cholesky_ex(covariance)
            if failed:
                raise DataError(f"the covariance of component {k} is singular with floor {self.floor:g}: raise it")
            self.means[k].copy_(mean)
            self.packed[k].copy_(pack(factor))
        self.weights.copy_(count / len(x))  # Eq. 9.26

    def _expect(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Responsibilities ``(n, K)`` (Eq. 9.23) and log-likelihoods ``(n,)`` of images ``(n, d)``."""
        joint = self._joint(x)
        log_likelihood = joint.logsumexp(1)
        return (joint - log_likelihood[:, None]).exp(), log_likelihood

    def _restart_dead(self, responsibility: Tensor, log_likelihood: Tensor) -> Tensor:
        """Give every component with less than one image the least likely ones, a hundredth of an equal share."""
        dead = (responsibility.sum(0) < 1).nonzero()[:, 0].tolist()
        each = max(1, len(responsibility) // (100 * self.components))
        worst = log_likelihood.argsort()
        for place, k in enumerate(dead):
            rows = worst[place * each : (place + 1) * each]
            responsibility[rows] = 0.0
            responsibility[rows, k] = 1.0
        return responsibility

    def _joint(self, x: Tensor) -> Tensor:
        """log pi_k + log N(x; mu_k, Sigma_k), float64 ``(n, K)``."""
        found = x.new_empty(len(x), self.components, dtype=torch.float64)
        for k in range(self.components):
            factor = unpack(self.packed[k], self.d)
            constant = factor.diagonal().log().sum() + 0.5 * self.d * math.log(2 * math.pi)
            # The inverse once, so that each chunk is one product.
            inverse = solve_triangular(factor, torch.eye(self.d, dtype=factor.dtype, device=factor.device), upper=False)
            for start in range(0, len(x), CHUNK):
                rows = slice(start, start + CHUNK)
                z = (x[rows].double() - self.means[k].double()) @ inverse.T
                found[rows, k] = -0.5 * z.square().sum(1) - constant
        return found + self.weights.double().clamp_min(1e-300).log()

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """A component by its weight, then a picture of it: ``(B, C, H, W)``, clamped to [-1, 1]."""
        temperature = self.settings(how).temperature
        u = rng.uniform(len(rng), 1, device=self.device)
        chosen = torch.searchsorted(self.weights.cumsum(0), u[:, 0]).clamp(max=self.components - 1)
        z = temperature * rng.normal(len(rng), self.d, device=self.device)
        image = self.means[chosen].double()
        for k in chosen.unique().tolist():
            rows = chosen == k
            image[rows] += z[rows].double() @ unpack(self.packed[k], self.d).T
        return image.clamp(-1, 1).float().unflatten(1, self.shape)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log p(x) in nats ``(B,)`` (Eq. 9.14): exact, of the continuous density on [-1, 1]^d."""
        return self._joint(image.flatten(1)).logsumexp(1).float()
