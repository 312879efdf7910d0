"""Directions in latent space along which pictures change in one respect.

- In closed form, SeFa: Shen & Zhou 2021, "Closed-form factorization of latent semantics in GANs" (arXiv:2007.06600),
  section 2.2: the directions n that the first map A stretches most, the eigenvectors of A'A (Eq. 7).
- Principal components: Härkönen, Hertzmann, Lehtinen & Paris 2020, "GANSpace" (arXiv:2004.02546), section 2: of style
  codes, where a mapping has given them a shape; normal latents have none, so of those it is of their pictures.
- Arithmetic: Radford, Metz & Chintala 2015 (arXiv:1511.06434), section 6.3.2: mean latents added and subtracted.

Symbols -> code: A -> weights    n -> directions

Axes: W numbers of a latent, L layers, N latents, K directions, M rows of A, D numbers of a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.errors import UsageError


def in_closed_form(weights: Tensor, k: int, layers: range | None = None) -> tuple[Tensor, Tensor]:
    """Unit directions ``(K, W)`` and by how much A stretches each ``(K,)``, of ``weights`` ``(M, W)``, or by layer
    ``(L, M, W)``, of which ``layers`` alone are looked at.

    The rows of A are scaled to length 1 first, as in the authors' program, so that no one channel decides.
    """
    if weights.ndim == 3:
        weights = (weights if layers is None else weights[layers.start : layers.stop]).flatten(0, 1)
    a = weights.double()
    length = a.norm(dim=1, keepdim=True)
    a = a[length[:, 0] > 0] / length[length[:, 0] > 0]
    _enough(k, a.shape[1], len(a))
    values, vectors = torch.linalg.eigh(a.T @ a)  # rising
    return vectors.flip(1).T[:k].float(), values.flip(0)[:k].clamp_min(0).sqrt().float()


def principal(latents: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The principal axes ``(K, W)`` of latents ``(N, W)``, of length 1, and their standard deviations ``(K,)``."""
    _enough(k, latents.shape[1], len(latents) - 1)
    centred = (latents - latents.mean(0)).double()
    _, spread, axes = torch.linalg.svd(centred, full_matrices=False)
    return axes[:k].float(), (spread[:k] / (len(latents) - 1) ** 0.5).float()


def explaining(latents: Tensor, pictures: Tensor, k: int, ridge: float = 1e-2) -> Tensor:
    """The directions ``(K, W)`` of latents ``(N, W)`` that the principal components of their pictures ``(N, D)``
    follow: GANSpace's for generators without a mapping (section 2.2), with a difference.

    There the latents are regressed on the components, and here the components on the latents, by ridge regression. Of
    independent normal latents both are the same direction but for chance, of which this has less; of others, such as
    codes of pictures, this is how a component grows, and theirs the mean latent of pictures in which it is large.
    """
    _enough(k, min(latents.shape[1], pictures.shape[1]), len(latents) - 1)
    z = (latents - latents.mean(0)).double()
    y = (pictures - pictures.mean(0)).double()
    u, s, _ = torch.linalg.svd(y, full_matrices=False)
    scores = u[:, :k] * s[:k]  # (N, K)
    gram = z.T @ z
    solved = torch.linalg.solve(gram + ridge * gram.diagonal().mean() * torch.eye(len(gram)).double(), z.T @ scores)
    return (solved / solved.norm(dim=0).clamp_min(1e-12)).T.float()


def deviations(latents: Tensor, directions: Tensor) -> Tensor:
    """How far latents ``(N, W)`` spread along each of ``directions`` ``(K, W)`` of length 1: ``(K,)``."""
    return ((latents - latents.mean(0)) @ directions.T).std(0)


def _enough(k: int, numbers: int, rows: int) -> None:
    most = min(numbers, rows)
    if not 1 <= k <= most:
        raise UsageError(f"{k} directions: there are from 1 to {most} here")
