"""A penalty that keeps the filters of a layer at right angles, so that any latent makes a picture.

Brock, Donahue and Simonyan 2018 (arXiv:1809.11096), Eq. 3.

Axes: O filters of a layer, D numbers of a filter.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonality(nets: Iterable[nn.Module]) -> Tensor:
    """sum |W W^T o (1 - I)|_F^2 over the weights ``(O, D)`` of convolutions and full layers: angles, not lengths."""
    found = []
    for layer in (layer for net in nets for layer in net.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            with torch.autocast(layer.weight.device.type, enabled=False):
                matrix = layer.weight.flatten(1)
                gram = matrix @ matrix.T  # (O, O)
                found.append(gram.square().sum() - gram.diagonal().square().sum())
    return torch.stack(found).sum()
