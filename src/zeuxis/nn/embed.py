"""Embeddings of time, position and class.

Legend: B images, H rows, W columns, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zeuxis.errors import UsageError

TIME_SCALE = 1000  # of a time in [0, 1]: the sinusoids' frequencies were made for steps out of 1000
SLOW_TIME_SCALE = 10  # where a target holds the network's derivative in time: that of fast sinusoids is all noise


def sinusoid(time: Tensor, width: int, *, period: float = 10_000.0, ddpm: bool = False) -> Tensor:
    """Sinusoidal embedding ``(B, width)`` of times ``(B,)``, of any scale, in float32.

    The order is [cos, sin] over frequencies ``period ** (-i / half)``, as in ADM, Stable Diffusion
    and DiT. ``ddpm`` gives that of Ho et al. (2020): [sin, cos] over ``period ** (-i / (half - 1))``.
    The frequencies suit times of about 0 to 1000: scale a time in [0, 1] by :data:`TIME_SCALE` first. An odd ``width``
    ends in a 0.
    """
    half = width // 2
    if not half:
        raise UsageError(f"an embedding of {width} number tells no time: give it a width of 2 or more")
    span = max(1, half - 1) if ddpm else half
    rates = torch.exp(-math.log(period) / span * torch.arange(half, device=time.device, dtype=torch.float32))
    angle = time.float()[:, None] * rates  # (B, half)
    parts = (angle.sin(), angle.cos()) if ddpm else (angle.cos(), angle.sin())
    return nn.functional.pad(torch.cat(parts, 1), (0, width % 2))


class TimeEmbedding(nn.Module):
    """``Linear -> SiLU -> Linear`` over :func:`sinusoid`: times ``(B,)`` to vectors ``(B, width)``."""

    def __init__(self, width: int, frequencies: int = 256, *, ddpm: bool = False) -> None:
        super().__init__()
        self.frequencies, self.ddpm = frequencies, ddpm
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        out: Tensor = self.mlp(sinusoid(time, self.frequencies, ddpm=self.ddpm))
        return out


def check_labels(label: Tensor, classes: int) -> None:
    """Raise :class:`UsageError` for a label (B,) that is none of K = ``classes``.

    To an embedding K itself would pass for no label, and to a cross entropy -100 for no example.
    """
    if bool(((label < 0) | (label >= classes)).any()):
        found = sorted(set(label.tolist()) - set(range(classes)))
        raise UsageError(f"label {found[0]} of {classes} classes: they are counted from 0 to {classes - 1}")


class LabelEmbedding(nn.Module):
    """Classes ``(B,)`` int64 in [0, K) to vectors ``(B, width)``, with one more, the null class K.

    The null class stands for "no label": the unconditional branch of classifier-free guidance
    (Ho & Salimans 2022, 2207.12598).
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, label: Tensor, drop: Tensor | None = None) -> Tensor:
        """``drop`` ``(B,)`` bool marks the labels that are replaced by the null class."""
        if drop is not None:
            label = label.masked_fill(drop, self.classes)
        out: Tensor = self.table(label)
        return out

    def null(self, n: int) -> Tensor:
        """The null class, ``n`` times: ``(n, width)``."""
        return self.table.weight[-1].expand(n, -1)


def pos_embed(height: int, width: int, dim: int) -> Tensor:
    """The 2-D sine-cosine embedding ``(height * width, dim)`` of a grid, row by row, as in ViT-MAE and DiT.

    The first half of the channels encodes the column and the second the row, each as [sin, cos].
    Raises :class:`UsageError` unless ``dim`` is a multiple of 4.
    """
    if dim % 4:
        raise UsageError(
            f"a width of {dim} for tokens: sine and cosine of a row and a column take a multiple of 4, such as "
            f"{max(4, round(dim / 4) * 4)}"
        )
    rates = 10_000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in (column, row)]  # each (H W, dim / 4)
    return torch.cat([f for a in angles for f in (a.sin(), a.cos())], 1).float()
