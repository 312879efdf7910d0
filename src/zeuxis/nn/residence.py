"""Where the parts of a large network live while they do not compute.

A text tower, a U-Net and a decoder are needed one after another. Their tensors stay in the file, mapped (which costs no
memory that the system could not take back), and each part is brought to the device and to the dtype in which it
computes for as long as it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        """Within this context the parameters and buffers of ``part`` are there; afterwards they are what they were.

        ``dtype`` is another than this residence's. Vectors (of norms, biases) are kept in float32, as matrices are
        without a dtype.
        """
        wanted = dtype or self.dtype or torch.float32
        away: list[tuple[dict[str, Tensor | None], str, Tensor]] = []
        try:
            for module in part.modules():
                parameters: dict[str, Tensor | None] = module._parameters  # type: ignore[assignment]
                for table in (parameters, module._buffers):
                    for name, tensor in table.items():
                        if tensor is not None:
                            away.append((table, name, tensor))
                            table[name] = self._there(tensor, wanted)
            yield
        finally:
            for table, name, tensor in away:
                table[name] = tensor

    def _there(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        kind = tensor.dtype
        if kind.is_floating_point:
            kind = dtype if tensor.ndim > 1 else torch.float32
        there = tensor.detach().to(self.device, kind)
        return nn.Parameter(there, requires_grad=False) if isinstance(tensor, nn.Parameter) else there
