"""Random numbers from a counter: what an example draws depends on its index alone.

A generator per example would cost tens of microseconds each. Here the bits of ``(key, index,
slot)`` are mixed by SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), for a
whole batch at once, in int64 arithmetic that wraps; any example can be drawn again, in any
company, on any device, with the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(bits: int) -> int:
    """An unsigned 64-bit constant as the int64 of the same bits."""
    return bits - (1 << 64) if bits >> 63 else bits


_GAMMA = _signed(0x9E3779B97F4A7C15)  # the golden ratio, odd
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, n: int) -> Tensor:
    """Logical right shift: int64's own is arithmetic and would copy the sign."""
    return (x >> n) & ((1 << (64 - n)) - 1)


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of int64 tensors under which near inputs part completely."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def uniforms(key: int | Tensor, index: Tensor, slots: int) -> Tensor:
    """``slots`` uniform numbers in [0, 1), float32 ``(B, slots)``, for each of ``index`` (B,) int64 under ``key``.

    A key may be of each example its own, (B,) int64.
    """
    start = mix(index * _GAMMA + key)[:, None]  # (B, 1): each example has its own sequence
    steps = torch.arange(1, slots + 1, device=index.device) * _GAMMA  # (slots,)
    return _shift(mix(start + steps), 40).float() * 2.0**-24  # 24 bits: all that float32 can hold
