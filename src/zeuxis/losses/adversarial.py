"""Adversarial losses: pairs of a critic's and a generator's, on logits, means over every element.

Each is a frozen dataclass with two methods; its fields are the formula's numbers (margins, targets).
Logits may have any shape: ``(B,)`` of a whole-image critic or ``(B, 1, h, w)`` of patches.
Losses are computed in float32 whatever the precision of the logits.

Axes: h and w rows and columns of a critic's map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import normalize, relu, softplus

from zeuxis.errors import TooFewPictures


class AdversarialLoss(Protocol):
    """The critic's and the generator's loss, both scalars."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor: ...

    def generator(self, fake: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class NonSaturating:
    """-log D(x) - log(1 - D(G(z))) and -log D(G(z)), D = sigmoid(logit) (Goodfellow et al. 2014, section 3)."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real.float()).mean() + softplus(fake.float()).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return softplus(-fake.float()).mean()


@dataclass(frozen=True)
class Minimax:
    """The game as first written: the generator lowers log(1 - D(G(z))), which saturates when it loses."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real.float()).mean() + softplus(fake.float()).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -softplus(fake.float()).mean()


@dataclass(frozen=True)
class Hinge:
    """max(0, m - D(x)) + max(0, m + D(G(z))) and -D(G(z)) (Lim & Ye 2017, arXiv:1705.02894)."""

    margin: float = 1.0

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(self.margin - real.float()).mean() + relu(self.margin + fake.float()).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -fake.float().mean()


@dataclass(frozen=True)
class LeastSquares:
    """((D(x) - b)^2 + (D(G(z)) - a)^2) / 2 and (D(G(z)) - c)^2 / 2 (Mao et al. 2016, arXiv:1611.04076, Eq. 2)."""

    fake_target: float = 0.0  # a
    real_target: float = 1.0  # b
    generator_target: float = 1.0  # c

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        off_real = (real.float() - self.real_target).square().mean()
        off_fake = (fake.float() - self.fake_target).square().mean()
        return 0.5 * (off_real + off_fake)

    def generator(self, fake: Tensor) -> Tensor:
        return 0.5 * (fake.float() - self.generator_target).square().mean()


@dataclass(frozen=True)
class Wasserstein:
    """D(G(z)) - D(x) and -D(G(z)); D must be kept 1-Lipschitz (Arjovsky et al. 2017, arXiv:1701.07875)."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.float().mean() - real.float().mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -fake.float().mean()


@dataclass(frozen=True)
class Relativistic:
    """-log sigmoid(D(x) - D(G(z))) and its mirror image (Jolicoeur-Martineau 2018, arXiv:1807.00734, Eq. 10-11).

    Pairs row k of the real logits with row k of the fake ones, and its generator's loss takes both.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake.float() - real.float()).mean()

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(real.float() - fake.float()).mean()


@dataclass(frozen=True)
class RelativisticAverage:
    """How much realer a picture is than the mean of the others (Wang et al. 2018, ESRGAN, arXiv:1809.00219, Eq. 1-2).

    -log D_Ra(x_r, x_f) - log(1 - D_Ra(x_f, x_r)), D_Ra(x_r, x_f) = sigmoid(C(x_r) - E C(x_f)), and its mirror image for
    the generator, whose loss takes both. Unlike :class:`Relativistic` no rows are paired.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.float(), fake.float()
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.critic(fake, real)


@dataclass(frozen=True)
class EnergyMargin:
    """D(x) + max(0, m - D(G(z))) and D(G(z)), of energies (Zhao, Mathieu & LeCun 2016, arXiv:1609.03126, Eq. 1-2)."""

    margin: float = 10.0

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return real.float().mean() + relu(self.margin - fake.float()).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return fake.float().mean()


def pull_away(code: Tensor) -> Tensor:
    """The mean squared cosine between the codes ``(B, D)`` of different pictures (the same paper, Eq. 4): 0 where they
    are orthogonal, 1 where all point one way. Raises ValueError for fewer than two pictures."""
    n = len(code)
    if n < 2:
        raise TooFewPictures(f"{n} code: the pull-away term is of pairs")
    unit = normalize(code.float(), dim=1)
    squares = (unit @ unit.T).square()  # (B, B)
    return (squares.sum() - squares.diagonal().sum()) / (n * (n - 1))
