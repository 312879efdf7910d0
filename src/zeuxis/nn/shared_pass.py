"""One pass of a network for two moves: of the player who lowers a loss through it, then of its own.

A generator learns through a discriminator, which then learns from the same pictures. As long as it has not moved in
between, both see the same activations: a pass of it, of the three that a round takes otherwise, is spared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


def shared_pass(net: nn.Module, x: Tensor, *, keep: bool) -> tuple[Tensor, Callable[[], Tensor]]:
    """``net(x)`` whose gradient goes to ``x`` alone, and what gives ``net(x)`` whose gradient goes to ``net`` alone.

    The latter is for one later move, before which ``net`` may not change. All parameters of ``net`` are trained.
    Without ``keep`` (where memory is short: the batch is cut into parts) nothing is held, and it is computed again.
    """
    if not keep:
        again = x.detach()
        return net(x), lambda: net(again)
    leaf = x.detach().requires_grad_()
    with _trained(net):
        out = net(leaf)
    onwards: Tensor = _Onwards.apply(x, leaf, lambda: out)
    return onwards, lambda: out


class _Onwards(Function):
    """The identity of ``out()``, through whose graph the gradient goes back to ``leaf`` only, and on to ``x``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, leaf: Tensor, out: Callable[[], Tensor]) -> Tensor:
        ctx.leaf, ctx.out = leaf, out
        return out().detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (back,) = torch.autograd.grad(ctx.out(), ctx.leaf, grad, retain_graph=True)
        return back, None, None


@contextmanager
def _trained(net: nn.Module) -> Iterator[None]:
    """Within it every parameter of ``net`` requires gradients."""
    still = [p for p in net.parameters() if not p.requires_grad]
    for p in still:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in still:
            p.requires_grad_(False)
