"""What a network may predict on the straight path ``x_t = (1 - t) x0 + t e``, judged by the error of its velocity.

The velocity is ``v = e - x0``, and follows from the image, ``(x_t - x0) / t``, and from the noise, ``(e - x_t) / (1 -
t)``. Both divisions are held back where they would be by nearly nothing: there nothing else would count.

Legend: B images (B, C, H, W); t is (B,), or in :func:`coefficients` a plain number where it is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from zeuxis.diffusion.path import Level, Straight, append_dims
from zeuxis.diffusion.precondition import Coefficients, on_path
from zeuxis.diffusion.weighting import squared_error

StraightPrediction = Literal["velocity", "x0", "epsilon"]
LEAST_TIME = 0.1  # the loss divides by no less, or near-clean images (of predicted noise: near-pure noise) would rule
_PATH = Straight()


def coefficients(predicts: StraightPrediction, t: Level) -> Coefficients[Level]:
    """From the prediction at ``x_t`` to x0; of noise, x0 = x_t - t v with v held back near t = 1."""
    if predicts != "epsilon":
        return on_path(predicts, _PATH, t)
    rest = (1 - t).clamp(min=LEAST_TIME) if isinstance(t, Tensor) else max(1 - t, LEAST_TIME)
    share = t / rest
    return Coefficients(1 + share, -share, 1 + 0 * t, t)


def _of_velocity(prediction: Tensor, image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Lipman et al. 2022, Eq. 23, the same at all times: psi' is noise - image where sigma_min is 0."""
    return squared_error(prediction, noise - image)


def _of_image(prediction: Tensor, image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The same error, (image - x0) / t, but for times so short that dividing by them would let nothing else count."""
    scale = append_dims(t.clamp(min=LEAST_TIME), image)
    return squared_error(prediction / scale, image / scale)


def _of_noise(prediction: Tensor, image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The same error, (e - noise) / (1 - t), likewise but for times so near to noise."""
    scale = append_dims((1 - t).clamp(min=LEAST_TIME), image)
    return squared_error(prediction / scale, noise / scale)


ERRORS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "velocity": _of_velocity,
    "x0": _of_image,
    "epsilon": _of_noise,
}  # of prediction, image, noise and t: (B,)
