"""Pictures cut off at the ends of their range, as a search that descends through them needs it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def within(image: Tensor) -> Tensor:
    """``image`` in [-1, 1]: values beyond are cut off, whose gradient passes where a step against it leads back.

    Under torch's ``clamp`` a value beyond has no gradient: what a generator makes too bright would stay so, however far
    it is from the picture that is looked for.
    """
    out: Tensor = _Within.apply(image)
    return out


class _Within(Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        ctx.save_for_backward(image)
        return image.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (image,) = ctx.saved_tensors
        return torch.where((image.abs() <= 1) | (grad * image > 0), grad, torch.zeros_like(grad))
