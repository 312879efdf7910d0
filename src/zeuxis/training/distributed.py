"""One training in several processes, each with a share of every batch (data parallel). Called once, after building.

Every process builds the same system from the same seed, loads its rows of the same batches, and draws from a
stream of its own. Gradients are averaged before a step, so that the parameters stay equal, and what follows a round
sees the shares of all; buffers follow the first process, and so do the clock and every decision that depends on time.
Only the first process writes.
With one process nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed
from torch import Tensor, nn

from zeuxis.errors import UsageError, WeightsError

OF_TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # what a process is told beside the number of all


class Exchange(Protocol):
    """What the processes need of a network."""

    def broadcast_(self, tensor: Tensor) -> None:
        """Overwrite ``tensor`` with the first process's."""
        ...

    def sum_(self, tensor: Tensor) -> None:
        """Overwrite ``tensor`` with the sum over all processes."""
        ...

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """``tensor`` of every process, in the order of their ranks."""
        ...


class TorchExchange:
    """The default process group of ``torch.distributed``; tensors pass through ``device``."""

    def __init__(self, device: torch.device | str) -> None:
        self.device = device

    def broadcast_(self, tensor: Tensor) -> None:
        moved = tensor.to(self.device)
        torch.distributed.broadcast(moved, 0)
        tensor.copy_(moved)

    def sum_(self, tensor: Tensor) -> None:
        moved = tensor.to(self.device)
        torch.distributed.all_reduce(moved)
        tensor.copy_(moved)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        moved = tensor.to(self.device)
        found = [torch.empty_like(moved) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(found, moved)
        return [t.to(tensor.device) for t in found]


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is. Without an ``exchange`` it is alone, and everything below is a no-op."""

    rank: int = 0
    size: int = 1
    exchange: Exchange | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that decides and writes."""
        return self.rank == 0

    @torch.no_grad()
    def align(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite ``tensors`` with the first process's."""
        if self.exchange is not None:
            for tensor in tensors:
                self.exchange.broadcast_(tensor)

    def from_first(self, values: Sequence[float]) -> list[float]:
        """The first process's ``values`` (exact as float64)."""
        if self.exchange is None:
            return list(values)
        sent = torch.tensor(values, dtype=torch.float64)
        self.exchange.broadcast_(sent)
        return [float(v) for v in sent]

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self.any(False)

    def must_agree(self, round: int, folder: Path) -> None:
        """Refuse to begin where a process goes on after another ``round`` than the rest: it has other weights.

        Raises:
            WeightsError: they have not found the same in ``folder``.
        """
        rounds = [int(found) for found in self.gather(torch.tensor(float(round), dtype=torch.float64))]
        if len(set(rounds)) > 1:
            raise WeightsError(
                f"the processes have not found the same checkpoint in {folder} (they would go on after the iterations "
                f"{', '.join(map(str, rounds))}): that folder has to be on a disk that all machines share"
            )

    def text_from_first(self, text: str) -> str:
        """The first process's ``text``."""
        data = text.encode("utf-8", "surrogateescape")  # a path may be of any bytes
        (length,) = self.from_first([len(data)])
        held = torch.zeros(int(length), dtype=torch.uint8)
        if self.first:
            held = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self.align([held])
        return bytes(held.tolist()).decode("utf-8", "surrogateescape")

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` holds in some process."""
        if self.exchange is None:
            return flag
        count = torch.tensor(float(flag))
        self.exchange.sum_(count)
        return bool(count > 0)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """``tensor`` of every process, by rank."""
        return [tensor] if self.exchange is None else self.exchange.gather(tensor)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of ``value`` over the processes."""
        if self.exchange is None:
            return value
        total = value.detach().clone()
        self.exchange.sum_(total)
        return total / self.size

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Overwrite gradients with their mean over the processes.

        A parameter without a gradient counts as zero where another process has one, and stays without where none has.
        """
        if self.exchange is None or not parameters:
            return
        has = torch.tensor([float(p.grad is not None) for p in parameters])
        self.exchange.sum_(has)
        by_type: dict[torch.dtype, list[nn.Parameter]] = {}
        for p, count in zip(parameters, has.tolist(), strict=True):
            if count:
                by_type.setdefault(p.dtype, []).append(p)
        for some in by_type.values():
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in some]
            flat = torch.cat([g.reshape(-1) for g in grads])  # one message for each type
            self.exchange.sum_(flat)
            flat /= self.size
            for p, g in zip(some, flat.split([p.numel() for p in some]), strict=True):
                p.grad = torch.empty_like(p).copy_(g.view_as(p))  # in the layout of p, as optimisers expect


ALONE = Ranks()


def join(device: str) -> tuple[Ranks, str]:
    """This process's place among those that ``torchrun`` started, and its device; alone where it started none."""
    asked = os.environ.get("WORLD_SIZE") or "1"
    if asked == "1":
        return ALONE, device
    lacking = [name for name in OF_TORCHRUN if not os.environ.get(name)]
    if lacking or not asked.isdecimal():
        why = f"{' and '.join(lacking)} not set" if lacking else "that is no number of processes"
        raise UsageError(
            f"WORLD_SIZE is {asked}, and {why}: start the processes with torchrun, which sets all, or unset WORLD_SIZE "
            "to train in one"
        )
    size = int(asked)
    if torch.device(device).type == "cuda":
        own, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if own >= count:
            raise UsageError(
                f"there are {count} GPUs and more than {own} processes on this machine: start as many as there are "
                f"GPUs ({count} processes of torchrun)"
            )
        device = f"cuda:{own}"
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Ranks(torch.distributed.get_rank(), size, TorchExchange(device)), device
