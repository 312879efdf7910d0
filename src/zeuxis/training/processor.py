"""What processor this is, as it says itself: its name and the instruction sets that decide how fast networks run."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOLD = Path("/proc/cpuinfo")  # where Linux lists the flags of every core
# What results record: the widths of vectors, and arithmetic of numbers of 16 bits. x86 and arm have names of their own.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve", "bf16", "i8mm")
# Those by which networks train faster in bfloat16, each with the vendor of whom that holds ("" is any). Without any,
# every product is converted there and back. Instructions for vectors alone (avx512_bf16) are as a vendor builds them:
# AMD's do twice the products of float32's, and a step takes 0.58 to 0.98 of the time; beside Intel's the conversions
# cost more than they save, and it takes 1.3 to 1.7 times as long (benchmarks/precision_rate.py on both; never on
# amx_bf16). arm's were not timed.
FAST_BFLOAT16 = (("amx_bf16", ""), ("avx512_bf16", "AuthenticAMD"))


@dataclass(frozen=True)
class Processor:
    """One kind of processor."""

    name: str
    instructions: tuple[str, ...]  # those of INSTRUCTIONS that it has; none where it could not be asked
    cores: int  # that this process may use
    vendor: str = ""  # as x86 spells it

    @property
    def bfloat16(self) -> str | None:
        """The instruction set by which it computes bfloat16 faster; None where it has, or tells of, none."""
        fast = (name for name, vendor in FAST_BFLOAT16 if vendor in ("", self.vendor))
        return next((name for name in fast if name in self.instructions), None)


@cache
def processor() -> Processor:
    """This machine's."""
    text = TOLD.read_text(encoding="utf-8", errors="replace") if TOLD.is_file() else ""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return told(text, platform.processor() or platform.machine(), cores)


def told(text: str, otherwise: str, cores: int) -> Processor:
    """What a ``cpuinfo`` says of the first core; ``otherwise`` is the name where it gives none, as on arm."""
    first: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            first.setdefault(key.strip().lower(), value.strip())
    flags = set(first.get("flags", first.get("features", "")).split())
    name = first.get("model name") or otherwise
    return Processor(name, tuple(i for i in INSTRUCTIONS if i in flags), cores, first.get("vendor_id", ""))
