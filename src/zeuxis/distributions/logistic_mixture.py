"""The discretised mixture of logistics over the 256 levels of a pixel.

Salimans et al. 2017, "PixelCNN++" (1701.05517), section 2.1 and 2.2. Symbols -> code:
    pi_i -> logits    mu_i, s_i -> mean, exp(log_scale)    alpha, beta, gamma -> coefficients

Parameters ``(B, P, H, W)`` hold, for each of M components: a logit; for each channel a mean and a log scale; and
with three channels three coefficients, by which green's mean depends on red, and blue's on both.

Axes: M components, P parameters of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.distributions.discretised import DiscretisedLogistic

LEAST_LOG_SCALE = -7.0  # a scale of a ninth of a level: below it gradients overflow and nothing is gained


def parameter_count(channels: int, components: int) -> int:
    """P: how many numbers a pixel of 1 or 3 channels needs."""
    return components * (1 + 2 * channels + (3 if channels == 3 else 0))


@dataclass(frozen=True, slots=True)
class LogisticMixture:
    """A distribution of every pixel: M components, each of all C channels together."""

    logits: Tensor  # (B, M, H, W)
    mean: Tensor  # (B, M, C, H, W): of channel c without its dependence on the channels before it
    log_scale: Tensor  # (B, M, C, H, W)
    coefficients: Tensor | None  # (B, M, 3, H, W): red in green, red in blue, green in blue

    @classmethod
    def of(cls, parameters: Tensor, channels: int, components: int) -> LogisticMixture:
        """From a network's output ``(B, P, H, W)``."""
        logits, rest = parameters.float().split([components, parameters.shape[1] - components], 1)
        parts = rest.unflatten(1, (components, -1))  # (B, M, 2 C + ..., H, W)
        mean, log_scale = parts[:, :, :channels], parts[:, :, channels : 2 * channels].clamp(min=LEAST_LOG_SCALE)
        coefficients = parts[:, :, 2 * channels :].tanh() if channels == 3 else None
        return cls(logits, mean, log_scale, coefficients)

    def means(self, image: Tensor) -> Tensor:
        """The means ``(B, M, C, H, W)``, given the pixel's own earlier channels in ``image`` (B, C, H, W) (Eq. 3)."""
        if self.coefficients is None:
            return self.mean
        red, green = image[:, None, 0], image[:, None, 1]
        a, b, c = self.coefficients.unbind(2)
        offset = torch.stack([0 * a * red, a * red, b * red + c * green], 2)
        return self.mean + offset

    def log_prob(self, image: Tensor) -> Tensor:
        """log P of each pixel ``(B, H, W)`` in nats, for images ``(B, C, H, W)`` on 256 levels of [-1, 1] (Eq. 2)."""
        each = DiscretisedLogistic(self.means(image), self.log_scale).log_prob(image[:, None])  # (B, M, C, H, W)
        return (each.sum(2) + self.logits.log_softmax(1)).logsumexp(1)

    def from_uniform(self, u: Tensor, temperature: float = 1.0) -> Tensor:
        """A pixel value everywhere ``(B, C, H, W)`` on the 256 levels, by uniform numbers ``u`` (B, M + C, H, W).

        ``temperature`` scales the logistics; the components are drawn by the Gumbel-max trick.
        """
        m = self.logits.shape[1]
        u = u.clamp(1e-5, 1 - 1e-5)
        component = (self.logits - (-u[:, :m].log()).log()).argmax(1, keepdim=True)  # (B, 1, H, W)
        noise = temperature * (u[:, m:].log() - (-u[:, m:]).log1p())  # (B, C, H, W), standard logistic
        index = component[:, :, None]  # (B, 1, 1, H, W)
        mean, scale = (_at_component(x, index) for x in (self.mean, self.log_scale.exp()))  # (B, C, H, W)
        if self.coefficients is None:
            return _nearest_level(mean + scale * noise)
        a, b, c = _at_component(self.coefficients, index).unbind(1)
        red = _nearest_level(mean[:, 0] + scale[:, 0] * noise[:, 0])
        green = _nearest_level(mean[:, 1] + a * red + scale[:, 1] * noise[:, 1])
        blue = _nearest_level(mean[:, 2] + b * red + c * green + scale[:, 2] * noise[:, 2])
        return torch.stack([red, green, blue], 1)


def _at_component(x: Tensor, index: Tensor) -> Tensor:
    """``(B, M, C, H, W)`` at the component ``index`` (B, 1, 1, H, W): ``(B, C, H, W)``."""
    return x.gather(1, index.expand(-1, -1, x.shape[2], -1, -1))[:, 0]


def _nearest_level(x: Tensor) -> Tensor:
    """The nearest of the 256 levels of [-1, 1]."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
