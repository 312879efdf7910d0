"""Where a model computes, by the name that a user gives."""

from __future__ import annotations

import re

import torch

from zeuxis.errors import UsageError


def checked_device(name: str | torch.device) -> str:
    """``name``, or how torch's device is called, if it is cpu, cuda, cuda:N or mps and this machine has it.

    Raises:
        UsageError: it is none of these, or not here; the message says what is.
    """
    name = str(name)
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"--device {name}: there is no such device: give {here()}")
    if name.startswith("cuda"):
        count, number = torch.cuda.device_count(), int(name.partition(":")[2] or 0)
        if not torch.cuda.is_available():
            why = "this machine has no GPU that PyTorch can use" if torch.version.cuda else "this PyTorch has no CUDA"
            raise UsageError(f"--device {name}: {why}: leave it out to compute on the processor ({here()})")
        if number >= count:
            raise UsageError(f"--device {name}: there are {count} GPUs here, counted from 0: give {here()}")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"--device mps: this is no Mac with such a GPU: leave it out, or give {here()}")
    return name


def here() -> str:
    """The devices of this machine, in words."""
    cuda = [f"cuda:{k}" for k in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return " or ".join(["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])])
