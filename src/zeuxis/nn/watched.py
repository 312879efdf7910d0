"""What a layer makes while its network runs: features for a loss on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def watched(layer: nn.Module | None) -> Iterator[list[Tensor]]:
    """Within this context every output of ``layer`` is put into the list, gradients and all; None: nothing is."""
    made: list[Tensor] = []
    if layer is None:
        yield made
        return
    handle = layer.register_forward_hook(lambda module, given, found: made.append(found))
    try:
        yield made
    finally:
        handle.remove()
