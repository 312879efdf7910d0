"""Distances between feature maps. The features come from the caller: a critic, a classifier, any network.

This is not LPIPS: LPIPS (Zhang et al. 2018) is ``unit_feature_distance`` on the maps of one particular
network with learnt channel weights, and without those public weights a figure must not be called by its name.

Axes: C_l, H_l, W_l those of the maps of layer l.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize


def feature_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """The sum over layers of mean |difference| (feature matching, Wang et al. 2018, arXiv:1711.11585, Eq. 4).

    ``ours`` and ``theirs`` are maps ``(B, C_l, H_l, W_l)`` of the same layers; gradients do not reach ``theirs``.
    """
    return _sum([(a.float() - b.detach().float()).abs().mean() for a, b in zip(ours, theirs, strict=True)])


def unit_feature_distance(
    ours: Sequence[Tensor], theirs: Sequence[Tensor], weights: Sequence[Tensor] | None = None
) -> Tensor:
    """LPIPS's form, ``(B,)``: squared difference of maps of unit length at each place (arXiv:1801.03924, Eq. 1).

    ``weights[l]`` ``(C_l,)`` weighs the squared differences of a layer's channels, as the authors' program and its
    published weights do: Eq. 1 multiplies before it squares, so these are the squares of its w_l. Without weights
    every channel counts once.
    """
    layers = []
    for level, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        difference = (normalize(a.float(), dim=1) - normalize(b.float(), dim=1)).square()  # (B, C, H, W)
        if weights is not None:
            difference = difference * weights[level].view(1, -1, 1, 1)
        layers.append(difference.sum(1).mean((1, 2)))
    return _sum(layers)


def _sum(layers: list[Tensor]) -> Tensor:
    """The sum of at least one tensor."""
    total = layers[0]
    for layer in layers[1:]:
        total = total + layer
    return total
