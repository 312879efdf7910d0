"""The overlap of two regions, softly: unlike a mean over pixels it weighs small regions as much as large ones.

The intersection over union of Rahman & Wang 2016, "Optimizing intersection-over-union in deep neural networks
for image segmentation" (ISVC), for probabilities in place of yes and no.

Axes: N pixels of a batch.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def soft_jaccard(logits: Tensor, layout: Tensor) -> Tensor:
    """1 - the mean over classes of sum(p y) / sum(p + y - p y): a scalar in [0, 1], 0 where the prediction is perfect.

    ``logits`` (B, K, H, W), ``layout`` (B, H, W) int64 in [0, K). The sums run over all pixels of the batch;
    classes that ``layout`` does not hold are left out.
    """
    p = logits.float().softmax(1).transpose(0, 1).flatten(1)  # (K, N)
    y = F.one_hot(layout, p.shape[0]).flatten(0, 2).T.to(p)  # (K, N)
    both = (p * y).sum(1)
    share = both / (p.sum(1) + y.sum(1) - both)  # (K,)
    return 1 - share[y.sum(1) > 0].mean()
