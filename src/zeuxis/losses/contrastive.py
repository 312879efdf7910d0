"""Losses that draw together what belongs together and push the rest apart.

Axes: N pictures, K more texts of each, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


def info_nce(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    same: Tensor | None = None,
    wrong: Tensor | None = None,
    lacking: Tensor | None = None,
) -> Tensor:
    """The symmetric cross-entropy of N pairs (Radford et al. 2021, arXiv:2103.00020, figure 3): a scalar.

    ``first`` and ``second`` (N, D) have length 1, row i of one belonging to row i of the other; ``scale`` is one over
    the temperature. At random it is log N. Off the diagonal ``same`` (N, N) bool marks what belongs together too
    (the same caption twice): it counts as no negative. ``wrong`` (N, K, D) are more for each row of the first, that do
    not belong to it, but for those that ``lacking`` (N, K) bool marks, which are none.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"pairs of {tuple(first.shape)} and {tuple(second.shape)}: want (N, D) twice")
    logits = scale * (first.float() @ second.float().T)  # (N, N)
    if same is not None:
        diagonal = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(same & ~diagonal, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    wide = logits
    if wrong is not None:
        more = scale * torch.einsum("nd,nkd->nk", first.float(), wrong.float())
        if lacking is not None:
            more = more.masked_fill(lacking, -torch.inf)
        wide = torch.cat([logits, more], 1)  # (N, N + K)
    return (F.cross_entropy(wide, target) + F.cross_entropy(logits.T, target)) / 2
