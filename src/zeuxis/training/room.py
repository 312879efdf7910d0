"""How much memory is free, on the CPU or on a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, where there is one
USED = Path("/sys/fs/cgroup/memory.current")
KINDS = Path("/sys/fs/cgroup/memory.stat")  # of what is used, a line each


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
        # Files that were read and are not in use count as used, and make room when it is wanted.
        left = max(0, limit - used + _line(KINDS, "inactive_file", 1))
        found = left if found is None else min(found, left)
    return found


def _available() -> int | None:
    if MEMINFO.is_file():
        return _line(MEMINFO, "MemAvailable:", 1024)
    known = getattr(os, "sysconf_names", {})
    if "SC_AVPHYS_PAGES" in known:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _line(path: Path, name: str, unit: int) -> int:
    """Bytes that the line called ``name`` tells in ``unit``; 0 where there is none."""
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return next((int(words[1]) * unit for words in map(str.split, lines) if words[:1] == [name]), 0)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
