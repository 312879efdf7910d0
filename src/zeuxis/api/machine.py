"""What kind of machine this is, as results and pages name it."""

from __future__ import annotations

import platform
from typing import Any

import torch

from zeuxis.api.naming import slug
from zeuxis.training.processor import processor

VECTORS = ("avx2", "avx512f", "asimd", "sve")  # instruction sets that tell how wide a processor computes


def kind(device: str = "cpu") -> str:
    """Machines of one kind compute alike: ``x86_64-avx2``, ``x86_64-avx512f-amx_bf16``, ``cuda-nvidia-h200``."""
    if torch.device(device).type == "cuda":
        return f"cuda-{slug(torch.cuda.get_device_name(device))}"
    if torch.device(device).type != "cpu":
        return f"{torch.device(device).type}-{platform.machine()}"
    found = processor()
    vector = [name for name in found.instructions if name in VECTORS][-1:]
    return "-".join([platform.machine(), *vector, *([found.bfloat16] if found.bfloat16 else [])])


def machine(device: str = "cpu", *, threads: int | None = None, precision: str | None = None) -> dict[str, Any]:
    """What figures were obtained on; ``threads`` and ``precision`` are those of the training, where there was one."""
    found = processor()
    return {
        "kind": kind(device),
        "system": platform.system(),
        "processor": platform.machine(),
        "model": found.name,
        "instructions": list(found.instructions),
        "cores": found.cores,
        "threads": threads or torch.get_num_threads(),
        "precision": precision or "float32",
        "device": torch.device(device).type,
    }


def threads(number: int | None = None) -> str:
    """``"1 thread"``, ``"2 threads"``: what this machine's figures were obtained with."""
    n = torch.get_num_threads() if number is None else number
    return f"{n} thread{'' if n == 1 else 's'}"
