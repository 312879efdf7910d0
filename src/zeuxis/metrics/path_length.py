"""Perceptual path length: how evenly pictures change on the way between two latents.

Karras, Laine and Aila 2019, "A style-based generator architecture for generative adversarial networks"
(arXiv:1812.04948), section 4.1: l = E[d(G(x(t)), G(x(t + epsilon))) / epsilon^2], t even in [0, 1]. Symbols -> code:
d -> the squared distance of features    x -> the way between two latents    epsilon -> EPSILON

Where a picture turns suddenly into another the way is long, though both ends may be good pictures. As in the authors'
program the least and the greatest hundredth of the distances are left out.
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.errors import DataError

EPSILON = 1e-4
LEFT_OUT = 0.01  # of the distances, at either end


def path_lengths(here: Tensor, there: Tensor) -> Tensor:
    """d / epsilon^2 ``(N,)`` of features ``(N, D)`` at t and at t + epsilon."""
    return (here.double() - there.double()).square().sum(1) / EPSILON**2


def path_length(lengths: Tensor) -> tuple[float, float]:
    """The mean of ``lengths`` (N,) without the extremes, and its standard error."""
    if not lengths.isfinite().all():
        raise DataError("path-length: pictures on the way between two latents are not finite")
    least, most = (
        lengths.quantile(LEFT_OUT, interpolation="lower"),
        lengths.quantile(1 - LEFT_OUT, interpolation="higher"),
    )
    kept = lengths[(lengths >= least) & (lengths <= most)]
    return float(kept.mean()), float(kept.std() / len(kept) ** 0.5)
