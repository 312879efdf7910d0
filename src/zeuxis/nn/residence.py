"""Where the parts of a large network live while they do not compute.

A text tower, a U-Net and a decoder are needed one after another. Their tensors stay in the file, mapped (which costs no
memory that the system could not take back), and each part is brought to the device and to the dtype in which it
computes for as long as it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Residence:
    """Where parts compute, and in which dtype their matrices are kept there (None: float32)."""

    device: torch.device
    dtype: torch.dtype | None = None

    @contextmanager
    def of(self, part: nn.Module, dtype: torch.dtype | None = None) -> Iterator[None]:
        """Within this context ``part`` is there (see :meth:`bring`); afterwards its tensors are what they were."""
        back = self.bring(part, dtype)
        try:
            yield
        finally:
            back()

    def bring(self, part: nn.Module, dtype: torch.dtype | None = None) -> Callable[[], None]:
        """Bring the parameters and buffers of ``part`` here; returns what takes them back.

        ``dtype`` is another than this residence's. Vectors (of norms, biases) are kept in float32, as matrices are
        without a dtype.
        """
        wanted = dtype or self.dtype or torch.float32
        before: list[tuple[nn.Module, str, Tensor]] = []
        for module in part.modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    before.append((module, name, tensor))
                    _put(module, name, self._there(tensor, wanted))

        def back() -> None:
            for module, name, tensor in before:
                _put(module, name, tensor)

        return back

    def _there(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        kind = tensor.dtype
        if kind.is_floating_point:
            kind = dtype if tensor.ndim > 1 else torch.float32
        there = tensor.detach().to(self.device, kind)
        return nn.Parameter(there, requires_grad=False) if isinstance(tensor, nn.Parameter) else there


def at_work(residence: Residence | None, part: nn.Module, *, whole: bool = False) -> AbstractContextManager[None]:
    """Within this context ``part`` is where it computes; without a ``residence`` it lives there.

    ``whole`` is of a part that float16 would overflow in: it is kept in float32 then.
    """
    if residence is None:
        return nullcontext()
    return residence.of(part, torch.float32 if whole and residence.dtype == torch.float16 else None)


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, nn.Parameter):
        module._parameters[name] = tensor
    else:
        module._buffers[name] = tensor
