"""Losses that draw together what belongs together and push the rest apart.

Axes: N pictures, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor


def supervised_contrastive(features: Tensor, label: Tensor, temperature: float = 0.1) -> Tensor:
    """L_out^sup of Khosla et al. 2020 (arXiv:2004.11362), Eq. 2: a scalar, the mean over the anchors.

    ``features`` (N, D) have length 1; ``label`` (N,) is the class of each, and every label must
    occur at least twice. With each label twice it is InfoNCE (van den Oord et al. 2018) as in SimCLR.
    Symbols -> code:  i -> a row of the table   P(i) -> positive   A(i) -> all but the diagonal   tau -> temperature
    """
    if features.ndim != 2 or label.shape != features.shape[:1]:
        raise ValueError(f"features {tuple(features.shape)} with labels {tuple(label.shape)}: want (N, D) and (N,)")
    diagonal = torch.eye(len(label), dtype=torch.bool, device=label.device)
    positive = (label[:, None] == label[None, :]) & ~diagonal  # (N, N)
    if not positive.any(1).all():
        raise ValueError("a contrastive loss needs every label at least twice in a batch")
    logits = (features.float() @ features.float().T / temperature).masked_fill(diagonal, -torch.inf)
    nll = -logits.log_softmax(1)  # of picking p among A(i)
    return (nll.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()
