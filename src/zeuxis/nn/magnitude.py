"""Layers that keep the magnitude of what goes through them, and of their own weights.

Karras, Aittala, Lehtinen, Hellsten, Aila & Laine 2024, "Analyzing and improving the training dynamics of diffusion
models" (EDM2, arXiv:2312.02696). The magnitude of a tensor is the root of its mean square (Eq. 6). If the parts of what
goes in are independent and of magnitude 1, so is what comes out of every layer here, whatever is learnt: nothing drifts
as training goes on, and a learning rate means the same for all weights at all times. No layer has a bias; the network
is given a channel of ones.

A layer normalises its weights when it runs (Eq. 47), so that only their direction counts. Where training leaves them
ever longer, as it does, it turns them ever less: :func:`force_unit_weights` brings the weights themselves back to
magnitude 1 after every step (Algorithm 1, Eq. 66).

Legend: B images, C channels, H rows, W columns, N places of a map, D width, h heads, d width of one, F features.

Axes: N tokens, D width, F features, C_a channels of the first of two maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.nn.attention import SelfAttention

SILU_MAGNITUDE = 0.596  # of SiLU where what goes in is normal (Eq. 81)
LEAST = 1e-4  # what is divided by is no less, but for nothing: tensors of zeros stay zeros


def unit(x: Tensor, dims: Sequence[int]) -> Tensor:
    """``x`` divided by its magnitude over ``dims``: over the channels of a map it is the pixel norm (Eq. 30)."""
    norm = torch.linalg.vector_norm(x, dim=tuple(dims), keepdim=True, dtype=torch.float32)
    return x / (LEAST + norm * math.sqrt(norm.numel() / x.numel())).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """SiLU over its magnitude (Eq. 81)."""
    return F.silu(x) / SILU_MAGNITUDE


def mp_sum(a: Tensor, b: Tensor, share: float = 0.5) -> Tensor:
    """``a`` and the ``share`` that ``b`` has in the sum (Eq. 88)."""
    return a.lerp(b, share) / math.hypot(1 - share, share)


def mp_cat(a: Tensor, b: Tensor, share: float = 0.5) -> Tensor:
    """Maps ``a`` (B, C_a, H, W) and ``b`` side by side, weighed so that ``b`` has its ``share`` in what follows however
    many channels each has (Eq. 103)."""
    both = a.shape[1] + b.shape[1]
    scale = math.sqrt(both) / math.hypot(1 - share, share)
    first, second = scale * (1 - share) / math.sqrt(a.shape[1]), scale * share / math.sqrt(b.shape[1])
    return torch.cat([first * a, second * b], 1)


class MPFourier(nn.Module):
    """Numbers ``(B,)`` of about 1 to ``(B, F)``: cosines of random frequencies and phases, over their magnitude
    (Eq. 75)."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 * math.pi * torch.randn(features))
        self.register_buffer("phases", 2 * math.pi * torch.rand(features))

    def forward(self, x: Tensor) -> Tensor:
        return math.sqrt(2) * (x.float()[:, None] * self.frequencies + self.phases).cos()


class MPLinear(nn.Linear):
    """A linear map without bias whose weight's rows count by their direction alone (Eq. 47)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        nn.init.normal_(self.weight)
        _force(self.weight)

    def forward(self, x: Tensor, gain: float | Tensor = 1.0) -> Tensor:
        """``gain`` is the magnitude of what comes out."""
        return F.linear(x, _scaled(self.weight, gain))


class MPConv2d(nn.Conv2d):
    """A convolution of odd ``side`` without bias whose filters count by their direction alone (Eq. 47)."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2, bias=False)
        nn.init.normal_(self.weight)
        _force(self.weight)

    def forward(self, x: Tensor, gain: float | Tensor = 1.0) -> Tensor:
        """``gain`` is the magnitude of what comes out."""
        return F.conv2d(x, _scaled(self.weight, gain), padding=self.padding)


class CosineAttention(SelfAttention):
    """Tokens ``(B, N, D)`` attend to one another by the cosines of queries and keys; values have magnitude 1 too
    (Eq. 39)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, bias=False)
        self.qkv, self.out = MPLinear(width, 3 * width), MPLinear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (unit(part, (-1,)) for part in self.split(self.qkv(x), 3))  # (B, h, N, d)
        return self.merge(q, k, v, mask)


class Uncertainty(nn.Module):
    """How uncertain a denoiser is at each level: the logarithm u of its expected loss, ``(B,)`` of numbers ``(B,)``.

    A loss l is replaced by ``l / exp(u) + u`` (Eq. 21), which is least where u is the logarithm of l: all levels then
    weigh the same, whatever is left to learn at each (Appendix B.7).
    """

    def __init__(self, features: int = 128) -> None:
        super().__init__()
        self.fourier, self.linear = MPFourier(features), MPLinear(features, 1)

    def forward(self, level: Tensor) -> Tensor:
        found: Tensor = self.linear(self.fourier(level))[:, 0]
        return found.float()


@torch.no_grad()
def force_unit_weights(network: nn.Module) -> None:
    """Bring the weights of all layers of these kinds in ``network`` to magnitude 1, as after every step (Alg. 1)."""
    for module in network.modules():
        if isinstance(module, MPLinear | MPConv2d):
            _force(module.weight)


@torch.no_grad()
def _force(weight: Tensor) -> None:
    weight.copy_(_rows(weight))


def _scaled(weight: Tensor, gain: float | Tensor) -> Tensor:
    """The weight in use: rows of length ``gain``."""
    return _rows(weight) * (gain / math.sqrt(weight[0].numel()))


def _rows(weight: Tensor) -> Tensor:
    return unit(weight, range(1, weight.ndim))
