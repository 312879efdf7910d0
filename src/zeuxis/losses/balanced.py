"""Cross-entropy of two classes of which one is rare."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def balanced_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-beta sum over edges log p - (1 - beta) sum elsewhere log(1 - p), beta the share of pixels that are no edge.

    Xie & Tu 2015 (arXiv:1504.06375), Eq. 2; ``logits`` and ``target`` {0, 1} ``(B, 1, H, W)``. beta is each picture's
    own; the mean over pixels, where the paper sums. Of a picture without edges (or of nothing else) it is 0.
    """
    logits = logits.float()
    beta = 1 - target.mean((1, 2, 3), keepdim=True)  # |Y-| / |Y|
    loss = beta * target * softplus(-logits) + (1 - beta) * (1 - target) * softplus(logits)
    return loss.mean()
