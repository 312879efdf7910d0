"""One seam for those who watch or steer attention: store it, replace it by another picture's, or reweight it.

Every attention of a network under :func:`controlled` hands over an :class:`AttentionCall` and uses the probabilities
that come back. Attention-based edits need nothing else.

Legend: B images (both halves of a guided batch), h heads, Q queries, K keys.

Axes: Q queries, h heads, K keys (not classes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from zeuxis.nn.attention import Attention
from zeuxis.nn.conditioner import Backbone


@dataclass(frozen=True)
class AttentionCall:
    """One use of one attention layer.

    ``layer`` is its path in the controlled network. ``conditional`` (B,) bool is true in the rows that stand under
    the condition and false in those under none; None where the network was not given it, as without any condition.
    """

    layer: str
    kind: Literal["self", "cross"]
    probabilities: Tensor  # (B, h, Q, K)
    conditional: Tensor | None


Control = Callable[[AttentionCall], Tensor]


@contextmanager
def controlled(net: nn.Module, control: Control) -> Iterator[None]:
    """Within this context every attention of ``net`` uses the probabilities that ``control`` returns for its call.

    ``net`` is a network or whatever holds some, such as a system.
    """
    halves: dict[nn.Module, Tensor | None] = {}  # of the batch that each network is working on

    def begin(network: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        halves[network] = named.get("conditional")

    def call(layer: str, kind: Literal["self", "cross"], network: nn.Module | None, probabilities: Tensor) -> Tensor:
        return control(AttentionCall(layer, kind, probabilities, None if network is None else halves.get(network)))

    networks = {name: m for name, m in net.named_modules() if isinstance(m, Backbone)}
    layers = {name: m for name, m in net.named_modules() if isinstance(m, Attention)}
    with ExitStack() as undo:
        for network in networks.values():
            undo.callback(network.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for name, layer in layers.items():
            inside = next((m for path, m in networks.items() if not path or name.startswith(f"{path}.")), None)
            undo.callback(setattr, layer, "control", layer.control)
            layer.control = partial(call, name, layer.kind, inside)
        yield
