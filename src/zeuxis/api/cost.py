"""What a picture costs: multiply-adds and seconds.

Axes: h heads, Q queries, K keys (not classes), d numbers of a query, e of a value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from zeuxis.api.model import Model
from zeuxis.batch import Condition
from zeuxis.knobs import Sampling

COUNTED = 2  # pictures whose multiply-adds are counted


@dataclass(frozen=True)
class Cost:
    """Of one picture as a model draws it."""

    multiply_adds: int  # of matrix products, convolutions and attention; the rest of a network is little beside them
    seconds: float  # in a batch, on the machine at hand


def multiply_adds(work: Callable[[], object]) -> int:
    """The multiply-adds of ``work``, of matrix products, convolutions and attention."""
    with FlopCounterMode(display=False, custom_mapping=_OF_THE_CPU) as counted:
        work()
    return counted.get_total_flops() // 2


def draw_with_cost(model: Model, condition: Condition, seeds: range, how: Sampling) -> tuple[Tensor, Cost]:
    """The pictures ``(N, C, H, W)`` of ``seeds``, each under its condition, and what one of them costs on average."""
    start = time.perf_counter()
    images = model.draw(condition, seeds, how)
    seconds = (time.perf_counter() - start) / len(seeds)
    few = min(len(seeds), COUNTED)
    counted = multiply_adds(lambda: model.draw(condition[slice(few)], seeds[:few], how))
    return images, Cost(counted // few, seconds)


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *rest: Any, **keywords: Any) -> int:
    """Operations, two a multiply-add, of softmax(Q K^T) V: (B, h, Q, d), (B, h, K, d) and (B, h, K, e)."""
    pairs = query[:-1].numel() * key[-2]  # B h Q K
    return 2 * pairs * (query[-1] + value[-1])


# torch counts the attention of other devices and not this one.
_OF_THE_CPU = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
