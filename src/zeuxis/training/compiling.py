"""Networks that torch compiles, and what is said where it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from zeuxis.errors import UsageError
from zeuxis.game import Player

COMPILER = ("torch._dynamo", "torch._inductor", "torch._functorch", "triton")  # where its errors come from


def compile_networks(players: Sequence[Player]) -> None:
    """Have the networks of ``players`` compiled when they are first asked."""
    for player in players:
        for net in player.nets:
            if isinstance(net, nn.Module):
                net.compile()


@contextmanager
def of_compiler() -> Iterator[None]:
    """Where compiled networks compute: what the compiler says (it found no C++ compiler, no triton) gets its mend."""
    try:
        yield
    except Exception as error:
        if not any(kind.__module__.startswith(COMPILER) for kind in type(error).__mro__):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"the networks cannot be compiled here ({first[:200]}): set train.compile=false, or install what it lacks"
        ) from error
