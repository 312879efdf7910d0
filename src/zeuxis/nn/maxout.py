"""The perceptrons of the first adversarial networks: maxout units with dropout against rectified ones.

Goodfellow, Warde-Farley, Mirza, Courville and Bengio 2013, "Maxout networks" (arXiv:1302.4389); Srivastava et al. 2014,
"Dropout", JMLR 15. Dropout draws from the generator that it is given, and without one drops nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.rng import Rng

CLAMP = 1e-2  # what a pixel that is always black is given in place of 0, whose log-odds are infinite


class Maxout(nn.Linear):
    """``(B, inputs)`` to ``(B, units)``, each the largest of so many ``pieces`` of affine functions."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__(inputs, units * pieces)
        self.units, self.pieces = units, pieces

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).unflatten(1, (self.units, self.pieces)).amax(2)


def drop(x: Tensor, keep: float, rng: Rng | None) -> Tensor:
    """``x`` with each number kept with probability ``keep`` and scaled by 1 / keep, else 0; itself without ``rng``."""
    if rng is None or keep >= 1:
        return x
    return x * (rng.uniform(*x.shape, device=x.device) < keep) / keep


def uniform(net: nn.Module, width: float) -> None:
    """Weights of full layers uniform in [-width, width], biases zero."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -width, width)
            nn.init.zeros_(layer.bias)


class PerceptronGenerator(nn.Module):
    """Latents ``(B, nz)`` over two layers of rectified units to ``(B, outputs)`` in [-1, 1]."""

    def __init__(self, nz: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(nz, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )
        uniform(self, 0.05)

    @property
    def fresh(self) -> bool:
        """Whether no training has moved it: biases begin at 0."""
        return not self.get_parameter("layers.4.bias").any()

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Have the middle of what is made be the mean of pixels ``(B, outputs)`` in [-1, 1].

        From biases of 0 every picture is grey at first, which the discriminator tells from data long before the
        generator has left it.
        """
        self.get_parameter("layers.4.bias").copy_(((x.float().mean(0) + 1) / 2).clamp(CLAMP, 1 - CLAMP).logit())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.layers(z)
        return 2 * out.sigmoid() - 1


class MaxoutDiscriminator(nn.Module):
    """``(B, inputs)`` over two layers of maxout units to logits ``(B,)``; the inputs of each layer are dropped out."""

    def __init__(
        self, inputs: int, *, units: int = 240, pieces: int = 5, keep_input: float = 0.8, keep_hidden: float = 0.5
    ) -> None:
        super().__init__()
        self.keep_input, self.keep_hidden = keep_input, keep_hidden
        self.first, self.second = Maxout(inputs, units, pieces), Maxout(units, units, pieces)
        self.last = nn.Linear(units, 1)
        uniform(self, 0.005)

    def forward(self, x: Tensor, rng: Rng | None = None) -> Tensor:
        h = self.first(drop(x, self.keep_input, rng))
        h = self.second(drop(h, self.keep_hidden, rng))
        logit: Tensor = self.last(drop(h, self.keep_hidden, rng))
        return logit.squeeze(1)
