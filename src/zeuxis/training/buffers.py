"""The buffers of a system as they were before a step, so that a step that is left out leaves nothing behind.

A forward pass changes buffers (statistics of batch norm, the vectors of spectral norm, kept chains, image pools) before
anyone can know whether its loss is finite.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from zeuxis.game import System


class KeptBuffers:
    """Copies of a system's buffers, but for those of frozen parts and of the modules in ``without``.

    Torch counts the changes of a tensor, so that only what changed is copied: constants never are again.
    """

    def __init__(self, system: System, without: Iterable[nn.Module] = ()) -> None:
        apart = {id(m) for part in system.frozen for m in part.modules()} | {id(m) for m in without}
        modules = [m for m in system.modules() if id(m) not in apart]
        self._places = [(m, name) for m in modules for name, b in m._buffers.items() if b is not None]
        self._held: list[tuple[Tensor, int, Tensor]] = []  # each buffer, the count of its changes, and its copy
        self._held = [(b, b._version, b.detach().clone()) for b in self._buffers()]

    def _buffers(self) -> list[Tensor]:
        return [b for m, name in self._places if (b := m._buffers[name]) is not None]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the buffers as they are now."""
        for k, buffer in enumerate(self._buffers()):
            held, version, copy = self._held[k]
            if buffer is held and buffer._version == version:
                continue
            same = copy.shape == buffer.shape and copy.dtype == buffer.dtype and copy.device == buffer.device
            self._held[k] = buffer, buffer._version, copy.copy_(buffer) if same else buffer.detach().clone()

    @torch.no_grad()
    def put_back(self) -> None:
        """Make the buffers what they were at the last :meth:`keep`."""
        for k, (module, name) in enumerate(self._places):
            held, version, copy = self._held[k]
            if module._buffers[name] is not held or held._version != version:
                module._buffers[name] = held
                held.copy_(copy)
                self._held[k] = held, held._version, copy
