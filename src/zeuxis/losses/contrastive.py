"""Losses that draw together what belongs together and push the rest apart.

Axes: N pictures, D features.
"""

from __future__ import annotations

import math

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


def dispersive(features: Tensor, temperature: float = 0.5) -> Tensor:
    """log E exp(-D / tau) over pairs of pictures (Wang & He 2025, arXiv:2506.09027): a scalar, less the further apart.

    ``features`` (N, D) are of any length; D here is the mean of their squared differences, so that their number does
    not matter. It is a contrastive loss without anything to draw together, which a regression beside it does.
    """
    apart = torch.pdist(features.float()).square() / features.shape[1]  # of each pair once
    pairs = torch.cat([apart, apart, apart.new_zeros(len(features))])  # all N^2, a picture and itself among them
    return (-pairs / temperature).logsumexp(0) - math.log(len(pairs))
