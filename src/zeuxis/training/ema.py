"""The average of a system over its rounds (EMA): a copy of it that shares the tensors which are never trained.

What is shared are tensors, not modules, so that an adapter inside a frozen network is averaged. The average is
kept in float32 whatever the weights are: in half precision a step of ``1 - decay`` is lost in rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from zeuxis.game import System
from zeuxis.training.buffers import SMALL
from zeuxis.training.fit import put_back
from zeuxis.training.state import Tensors


def ema_copy(system: System) -> System:
    """A copy to average into: same class, same verbs, frozen tensors shared, no gradients, float32."""
    memo = {id(tensor): tensor for tensor in _shared(system)}
    average = copy.deepcopy(system, memo).requires_grad_(False).eval()
    for module in average.modules():
        for p in module._parameters.values():
            if p is not None and _is_half(p) and id(p) not in memo:
                p.data = p.data.float()
        for name, b in module._buffers.items():
            if b is not None and _is_half(b) and id(b) not in memo:
                module._buffers[name] = b.float()
    return average


def _shared(system: System) -> Iterator[Tensor]:
    """The tensors that never change: frozen parameters, and the buffers of frozen parts."""
    yield from (p for p in system.parameters() if not p.requires_grad)
    for part in system.frozen:
        yield from part.buffers()


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() < 4


class Averaging:
    """Moves an average towards its system; which tensors move is found out once."""

    def __init__(self, average: System, system: System) -> None:
        theirs = dict(system.named_parameters())
        pairs = [(mine, theirs[name]) for name, mine in average.named_parameters() if mine is not theirs[name]]
        self.own: list[Tensor] = [mine for mine, _ in pairs]  # the parameters that are not shared
        self._theirs: list[Tensor] = [p for _, p in pairs]
        self._alike = all(mine.dtype == p.dtype for mine, p in pairs)
        both = zip(average.modules(), system.modules(), strict=True)
        self._buffers = [
            (mine, their, name)
            for mine, their in both
            for name, b in mine._buffers.items()
            if b is not None and b is not their._buffers[name]
        ]
        self._seen: dict[int, tuple[Tensor, int]] = {}  # large buffers of the system, and the count of their changes

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """``average <- decay * average + (1 - decay) * system`` for parameters that are trained; buffers are copied."""
        now = self._theirs
        if not self._alike:
            now = [p.to(mine.dtype) for mine, p in zip(self.own, self._theirs, strict=True)]
        if now:
            torch._foreach_lerp_(self.own, now, 1 - decay)
        pairs = [(mine._buffers[name], their._buffers[name]) for mine, their, name in self._buffers]
        there = [
            (mine, b) for k, (mine, b) in enumerate(pairs) if mine is not None and b is not None and self._changed(k, b)
        ]
        if there:
            torch._foreach_copy_([mine for mine, _ in there], [b for _, b in there])

    def _changed(self, k: int, buffer: Tensor) -> bool:
        """Whether the k-th buffer may have changed since it was last asked about (see :class:`KeptBuffers`)."""
        if buffer.numel() <= SMALL:
            return True
        held, version = self._seen.get(k, (None, 0))
        self._seen[k] = buffer, buffer._version
        return held is not buffer or version != buffer._version


def update_ema(average: System, system: System, decay: float) -> None:
    """One update of ``average``; a training, which makes many, keeps an :class:`Averaging`."""
    Averaging(average, system).update(decay)


def own_state(average: System, system: System) -> Tensors:
    """What of the average is not the system's."""
    theirs = {name: id(t) for name, t in system.state_dict(keep_vars=True).items()}
    return {name: t for name, t in average.state_dict(keep_vars=True).items() if id(t) != theirs[name]}


def restore_average(average: System, system: System, tensors: Tensors) -> None:
    """Put back what :func:`own_state` returned, after ``system`` was put back.

    Older checkpoints hold nothing of parts that the average then shared whole: there it begins at the system's.
    """
    state = system.state_dict()
    own = own_state(average, system)
    found = {name: tensors.get(name, state[name]) for name in own}
    put_back(own, found, "the checkpoint's average does not fit", "use the recipe that it was trained with")


def warmed_decay(decay: float, rounds: int) -> float:
    """The decay in round ``rounds``: smaller at first, so that the initial weights soon count for little."""
    return min(decay, (1 + rounds) / (10 + rounds))
