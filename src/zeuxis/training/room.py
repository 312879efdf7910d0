"""How much memory is free, on the CPU or on a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, where there is one
USED = Path("/sys/fs/cgroup/memory.current")


def free_memory(device: torch.device | str) -> int | None:
    """Bytes that a process may still take on ``device``; None where this system does not tell."""
    kind = torch.device(device)
    if kind.type == "cuda":
        free, _ = torch.cuda.mem_get_info(kind)
        return int(free)
    if kind.type != "cpu":
        return None
    found = _available()
    limit, used = _number(LIMIT), _number(USED)
    if limit is not None and used is not None:
        found = limit - used if found is None else min(found, limit - used)
    return found


def _available() -> int | None:
    if MEMINFO.is_file():
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    known = getattr(os, "sysconf_names", {})
    if "SC_AVPHYS_PAGES" in known:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
