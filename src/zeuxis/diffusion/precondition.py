"""Preconditioning: the four coefficients between a raw network F and the image that it amounts to.

    x0 = c_skip x + c_out F(c_in x, c_noise)        (Karras et al. 2022, arXiv:2206.00364, Eq. 7)

Training and sampling both go through them: :func:`to_x0` is that line, :func:`target` the same line solved for F,
what the network should predict. Whatever a network predicts is one row of a table here:

                 c_skip                        c_out                        c_in                     c_noise
    epsilon      1 / alpha                     -std / alpha                 1                        t
    x0           0                             1                            1                        t
    v            alpha / (alpha^2 + std^2)     -std / (alpha^2 + std^2)     1                        t
    velocity     1 / (alpha + std)             -std / (alpha + std)         1                        t
    score        1 / alpha                     std^2 / alpha                1                        t
    edm          d^2 / (s^2 + d^2)             s d / sqrt(s^2 + d^2)        1 / sqrt(s^2 + d^2)      log(s) / 4
    consistency  d^2 / ((s - m)^2 + d^2)       (s - m) d / sqrt(s^2 + d^2)  1 / sqrt(s^2 + d^2)      log(s) / 4

The first five are those of ``x = alpha x0 + std e`` on a path, and :func:`in_ve` takes them to VE space; the last two
are in VE space, with s for sigma, d for sigma_data and m for sigma_min. c_noise stands for the time that the
network is given, up to the scale that its embedding wants.

Legend: B images; every coefficient is (B,), or a plain number where sigma is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple

import torch
from torch import Tensor

from zeuxis.diffusion.path import Level, Path, append_dims

Prediction = Literal["epsilon", "x0", "v", "velocity", "score"]


class Coefficients(NamedTuple, Generic[Level]):
    """c_skip, c_out, c_in and c_noise."""

    skip: Level
    out: Level
    input: Level
    noise: Level


def on_path(predicts: Prediction, path: Path, t: Level) -> Coefficients[Level]:
    """Of a network that sees ``x_t`` on ``path`` at ``t``."""
    skip, out = _SKIP_OUT[predicts](path.alpha(t), path.std(t))
    return Coefficients(skip, out, 1 + 0 * t, t)


def in_ve(predicts: Prediction, path: Path, sigma: Level) -> Coefficients[Level]:
    """Of the same network where x is in VE space, ``x = x_t / alpha``, at ``sigma``."""
    t = path.time(sigma)
    alpha = path.alpha(t)
    skip, out = _SKIP_OUT[predicts](alpha, path.std(t))
    return Coefficients(alpha * skip, out, alpha, t)


def edm(sigma: Level, sigma_data: float = 0.5) -> Coefficients[Level]:
    """Input and target of unit variance at every level, if the data's deviation is ``sigma_data`` (EDM, Table 1)."""
    return consistency(sigma, sigma_data, 0.0)


def consistency(sigma: Level, sigma_data: float = 0.5, sigma_min: float = 0.002) -> Coefficients[Level]:
    """EDM's, moved so that x0 is x itself at ``sigma_min`` (Song et al. 2023, arXiv:2303.01469, Appendix C)."""
    whole: Level = (sigma**2 + sigma_data**2) ** -0.5
    skip = sigma_data**2 / ((sigma - sigma_min) ** 2 + sigma_data**2)
    return Coefficients(skip, sigma_data * (sigma - sigma_min) * whole, whole, _log(sigma) / 4)


def _log(level: Level) -> Level:
    return math.log(level) if isinstance(level, float) else level.log()


def to_x0(c: Coefficients[Level], prediction: Tensor, x: Tensor) -> Tensor:
    """The clean image (B, C, H, W) that the network's ``prediction`` at the noisy image ``x`` amounts to."""
    if isinstance(c.out, float):
        return torch.add(x if c.skip == 1 else c.skip * x, prediction, alpha=c.out)
    return append_dims(c.skip, x) * x + append_dims(c.out, x) * prediction


def target(c: Coefficients[Level], x0: Tensor, x: Tensor) -> Tensor:
    """What the network should predict (B, C, H, W) at the noisy image ``x`` whose clean image is ``x0``."""
    return (x0 - append_dims(c.skip, x) * x) / append_dims(c.out, x)


# (c_skip, c_out) where x = a x0 + s e. `velocity` is e - x0, the slope of the straight path; `v` = a e - s x0 is
# that of Salimans & Ho 2022 (arXiv:2202.00512).
# Each takes two tensors or two numbers, and gives the same.
_SKIP_OUT: dict[Prediction, Callable[[Any, Any], tuple[Any, Any]]] = {
    "epsilon": lambda a, s: (1 / a, -s / a),
    "x0": lambda a, s: (0 * a, 1 + 0 * a),
    "v": lambda a, s: (a / (a**2 + s**2), -s / (a**2 + s**2)),
    "velocity": lambda a, s: (1 / (a + s), -s / (a + s)),
    "score": lambda a, s: (1 / a, s**2 / a),
}
