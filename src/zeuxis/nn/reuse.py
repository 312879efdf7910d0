"""Layers that are asked the same again: what they answered to the very same tensor is kept.

A picture's text is read by every cross-attention at every step, and is the same at each: its keys and values need to be
computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from zeuxis.nn.attention import CrossAttention


@contextmanager
def context_read_once(net: nn.Module) -> Iterator[None]:
    """Within this context every cross-attention of ``net`` maps a context to keys and values once.

    Only the very same tensor object is known again, and only the last one is remembered. It must not be changed
    meanwhile, nor the layers' weights; no gradient is asked of either.
    """
    with ExitStack() as undo:
        for layer in (m.kv for m in net.modules() if isinstance(m, CrossAttention)):
            layer.__dict__["forward"] = _Recall(layer.forward)
            undo.callback(layer.__dict__.pop, "forward")
        yield


class _Recall:
    """A layer's forward pass, or its last answer."""

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        self.compute = compute
        self.last: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.last is None or self.last[0] is not x:
            self.last = x, self.compute(x)
        return self.last[1]
