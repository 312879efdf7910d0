"""The buffers of a system as they were before a step, so that a step that is left out leaves nothing behind.

A forward pass changes buffers (statistics of batch norm, the vectors of spectral norm, kept chains, image pools) before
anyone can know whether its loss is finite.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from zeuxis.game import System

SMALL = 2**16  # numbers of a buffer up to which it is copied at every step


class KeptBuffers:
    """Copies of a system's buffers, but for those of frozen parts and of the modules in ``without``.

    Of large ones torch's count of their changes says whether they need be copied again. It does not count those that
    batch norm makes to its statistics, which are small.
    """

    def __init__(self, system: System, without: Iterable[nn.Module] = ()) -> None:
        apart = {id(m) for part in system.frozen for m in part.modules()} | {id(m) for m in without}
        modules = [m for m in system.modules() if id(m) not in apart]
        self._places = [(m, name) for m in modules for name, b in m._buffers.items() if b is not None]
        self._held: list[Tensor] = []
        self._versions: list[int] = []
        self._copies: list[Tensor] = []
        self.keep()

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the buffers as they are now."""
        now = [b for m, name in self._places if (b := m._buffers[name]) is not None]
        if len(now) == len(self._held) and all(b is held for b, held in zip(now, self._held, strict=True)):
            self._copy(self._copies, now, self._changed())
        else:
            self._held, self._copies = now, [b.detach().clone() for b in now]
        self._versions = [b._version for b in now]

    @torch.no_grad()
    def put_back(self) -> None:
        """Make the buffers what they were at the last :meth:`keep`."""
        # By their data: a later move may go on with a forward pass that was made before (``Turn.memo``), whose gradient
        # does not read the statistics of batch norm, but refuses buffers that were counted to have changed since.
        self._copy([b.data for b in self._held], self._copies, self._changed())
        for (module, name), buffer in zip(self._places, self._held, strict=True):
            module._buffers[name] = buffer
        self._versions = [b._version for b in self._held]

    def _changed(self) -> list[int]:
        """Which of the buffers may have changed."""
        return [
            k
            for k, (b, version) in enumerate(zip(self._held, self._versions, strict=True))
            if b.numel() <= SMALL or b._version != version
        ]

    @staticmethod
    def _copy(to: list[Tensor], values: list[Tensor], which: list[int]) -> None:
        if which:
            torch._foreach_copy_([to[k] for k in which], [values[k] for k in which])
