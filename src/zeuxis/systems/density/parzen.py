"""The Parzen window: a bump on every example, and why that fails where there are many dimensions.

Parzen 1962, "On estimation of a probability density function and mode", Ann. Math. Stat. 33. Symbols -> code:
    x_i -> centres    h -> width    p(x) = 1/n sum_i N(x; x_i, h^2 I)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape, to_float, to_uint8
from zeuxis.card import Card
from zeuxis.distributions.dequantise import dequantise
from zeuxis.errors import DataError, UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Rng, Stream
from zeuxis.verbs import Proof

WIDTHS = (0.002, 4.0)  # the least and the greatest that are tried
GOLDEN = (math.sqrt(5) - 1) / 2
STEPS = 24  # of the search, each of which leaves 0.618 of the range of log h
CHUNK = 256  # images whose distances are taken together
DIMENSIONS = (1, 2, 4, 8, 16, 32, 64)  # of the curve


class Parzen(System):
    """A Gaussian of one width on each of many training images.

    The width is the likeliest for other training images: for the very centres it would be 0.

    Args:
        keep: training images kept as centres, at most; drawn from all, as the others are.
        held: other training images, for which the width is chosen.
    """

    card = Card(
        "parzen",
        title="Parzen window",
        family="density",
        year=1962,
        paper="Parzen 1962, Ann. Math. Stat. 33, 1065-1076",
        verbs={"sample", "log_prob"},
        knobs=("temperature",),
        departures=("The kernel is a Gaussian, and its width is found on held-out images.",),
    )
    centres: Tensor
    count: Tensor
    width: Tensor

    def __init__(self, shape: Shape, *, keep: int = 10_000, held: int = 1000) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if keep < 1 or held < 1:
            raise UsageError(f"keep={keep}, held={held}: at least 1 of each")
        self.keep, self.held = keep, held
        self.register_buffer("centres", torch.zeros(keep, *self.shape, dtype=torch.uint8))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))  # centres in use
        self.register_buffer("width", torch.ones(()))  # h

    def fit(self, batches: Iterable[Batch]) -> None:
        """Keep centres, hold a few images out, and find the width that is likeliest for those."""
        x = torch.cat([to_uint8(batch.image) for batch in batches])
        if tuple(x.shape[1:]) != tuple(self.shape):
            raise DataError(
                f"images of {tuple(x.shape[1:])} given to a parzen of {tuple(self.shape)}: resize them to fit"
            )
        if len(x) < 2:
            raise DataError(f"a window cannot be fitted to {len(x)} image(s): give at least 2")
        x = x[Stream(0, "parzen", "order").permutation(len(x)).to(x.device)]  # folders come class by class
        held = min(self.held, len(x) // 2)
        centres = x[held : held + self.keep]
        self.centres[: len(centres)].copy_(centres)
        self.count.fill_(len(centres))
        # The held-out images are dequantised, as those will be whose likelihood is measured.
        held_out = dequantise(to_float(x[:held]), Stream(0, "parzen"))
        squares = _squares(held_out.flatten(1), self._centres())
        self.width.fill_(best_width(squares, self.centres[0].numel()))

    def _centres(self) -> Tensor:
        return to_float(self.centres[: int(self.count)]).flatten(1)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """A centre and its noise ``(B, C, H, W)``, clamped; at ``temperature`` 0 the mere centre."""
        temperature = self.settings(how).temperature
        chosen = (rng.uniform(len(rng), 1, device=self.device)[:, 0] * self.count).long()
        noise = rng.normal(len(rng), *self.shape, device=self.device)
        return (to_float(self.centres[chosen]) + temperature * self.width * noise).clamp(-1, 1)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log p(x) in nats ``(B,)``: exact, of the continuous density on [-1, 1]^d."""
        x = image.flatten(1)
        return log_density(_squares(x, self._centres()), float(self.width), x.shape[1]).float()

    def proofs(self) -> Mapping[str, Proof]:
        """``shortfall/D``: nats per dimension that a window of so many examples loses against the truth, N(0, I_D)."""
        return {f"shortfall/{d}": Proof("lower", partial(shortfall, d)) for d in DIMENSIONS}


def shortfall(d: int, samples: int, rng: Rng) -> float:
    """(log N(x) - log p(x)) / d, the mean over 500 new x, for a window of ``samples`` draws of N(0, I_d).

    Its best width shrinks only as n^(-1 / (d + 4)) (Silverman 1986, section 4.3): so it over-smooths.
    """
    centres, held, new = (rng.normal(n, d) for n in (samples, 500, 500))
    width = best_width(_squares(held, centres), d)
    truth = -0.5 * new.double().square().sum(1) - 0.5 * d * math.log(2 * math.pi)
    return float((truth - log_density(_squares(new, centres), width, d)).mean() / d)


def log_density(squares: Tensor, width: float, d: int) -> Tensor:
    """log p ``(B,)``, float64, from squared distances ``(B, n)`` to the centres."""
    n = squares.shape[1]
    return (-0.5 * squares / width**2).logsumexp(1) - math.log(n) - 0.5 * d * math.log(2 * math.pi * width**2)


def best_width(squares: Tensor, d: int) -> float:
    """The likeliest h for squared distances ``(B, n)``, by golden section over log h (Kiefer 1953)."""
    low, high = (math.log(w) for w in WIDTHS)

    def score(h: float) -> float:
        return float(log_density(squares, math.exp(h), d).mean())

    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = score(left), score(right)
    for _ in range(STEPS):
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = score(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = score(right)
    return math.exp((low + high) / 2)


def _squares(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances, float64 ``(B, n)``."""
    return torch.cat([torch.cdist(part.double(), centres.double()).square() for part in x.split(CHUNK)])
