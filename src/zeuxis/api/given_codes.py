"""Codes that a user gives to be decoded, checked: of others a network would draw nonsense, or say what nobody can read.

Axes: N pictures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.game import System


def codes_given(codes: Any, system: System, name: str, one: Tensor) -> Tensor:
    """``codes`` ``(N, ...)``, a tensor or an array, as ``system`` decodes them; ``one`` ``(...)`` is a code of its own.

    Raises UsageError for another shape, for indices that are none of the table's, and for numbers that are not finite.
    """
    found = torch.as_tensor(codes)
    if not _fits(tuple(found.shape), system, tuple(one.shape)):
        mend = ": write codes[None]" if _fits((1, *found.shape), system, tuple(one.shape)) else ""
        raise UsageError(
            f"codes of shape {tuple(found.shape)} are none of '{name}': it decodes {('N', *one.shape)}, N pictures "
            f"at a time{mend}".replace("'N'", "N")
        )
    if system.codes is None:
        if not found.is_floating_point():
            raise UsageError(f"'{name}' decodes real numbers, and these codes are {found.dtype}: give codes.float()")
        if not found.isfinite().all():
            raise UsageError(f"the codes for '{name}' hold numbers that are not finite: encode the picture again")
        return found.float()
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise UsageError(f"'{name}' decodes whole numbers, and these codes are {found.dtype}: give codes.long()")
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < system.codes:
        raise UsageError(
            f"codes for '{name}' are from 0 to {system.codes - 1}, and these reach from {found.min()} to {found.max()}"
        )
    return found.long()


def _fits(shape: tuple[int, ...], system: System, one: tuple[int, ...]) -> bool:
    """Whether codes of ``shape`` may be some of ``system``, which makes codes of the shape ``one``."""
    if system.style_layers and len(shape) == 2:
        return True  # z, whose width is not that of the style codes
    if len(shape) != 1 + len(one):
        return False
    if system.stride is None:
        return shape[1:] == one
    return shape[1:-2] == one[:-2]  # pictures of other sizes have maps of other sizes
