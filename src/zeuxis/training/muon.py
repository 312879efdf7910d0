"""Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): orthogonal steps for matrices.

The momentum of a matrix is replaced by the nearest matrix whose singular values are all about 1, by a polynomial that
is applied five times (Newton-Schulz). All directions of a layer then move alike, the rare ones too. Steps are scaled
as by Liu et al. 2025 ("Muon is scalable for LLM training", arXiv:2502.16982, Eq. 4) to the size of AdamW's, whose
learning rates and weight decay they take; whatever is no matrix is moved by AdamW itself.

Kernels of convolutions are matrices of outputs by everything else. Embeddings and first and last layers are not told
apart: Jordan leaves them to AdamW, which a player does by giving them groups of their own in another player.

Symbols -> code: B_t -> momentum    a, b, c -> COEFFICIENTS    O_t -> orthogonal(...)

Axes: N outputs of a layer, M inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x, x^3 and x^5: steep at 0, so that small singular values grow fast
TIMES = 5
LIKE_ADAMW = (
    0.2  # the root mean square of a number's step under AdamW, over the learning rate, as it is met in practice
)
EPS = 1e-7


def orthogonal(matrix: Tensor) -> Tensor:
    """``matrix`` (..., N, M) with its singular values moved to within about 0.7 to 1.2; in float32."""
    a, b, c = COEFFICIENTS
    x = matrix.float()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + EPS)  # none above 1
    for _ in range(TIMES):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """``betas`` are AdamW's, for what is no matrix; ``momentum`` is of matrices, with Nesterov's step ahead."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        kept = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum, "eps": eps}
        super().__init__(params, kept)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter that has a gradient; ``closure`` is called first, if given."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - group["lr"] * group["weight_decay"])
                move = self._muon if p.ndim >= 2 else self._adamw
                p.add_(move(p, p.grad, group), alpha=-group["lr"])
        return loss

    def _muon(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])  # B_t
        ahead = torch.lerp(gradient, momentum, group["momentum"])
        matrix = ahead.flatten(1)  # (N, M)
        step = orthogonal(matrix) * (LIKE_ADAMW * max(matrix.shape) ** 0.5)
        return step.view(p.shape).to(p.dtype)

    def _adamw(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros(())  # where torch keeps its own: reading it waits for no device
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        (first, second), t = group["betas"], float(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].lerp_(gradient.square(), 1 - second)
        size = (state["exp_avg_sq"] / (1 - second**t)).sqrt().add_(group["eps"])
        return state["exp_avg"] / (1 - first**t) / size
