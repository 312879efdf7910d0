"""What must be said to the processor's threads before torch is loaded. Imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from zeuxis.errors import UsageError

THREADS = "--threads"
# A thread that waits for another sleeps instead of spinning: beside a busy program spinning takes the core that the
# other needs. The first is read by GNU's OpenMP and by LLVM's, the second (milliseconds of spinning) by Intel's.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


@contextmanager
def prepared(threads: Sequence[str]) -> Iterator[None]:
    """Within it the environment has threads wait asleep, unless it says otherwise, and be as many as asked for.

    Raises:
        UsageError: the last of ``threads`` is no whole number from 1 to 999.
    """
    added = {name: value for name, value in WAITING.items() if name not in os.environ}
    if threads:
        number = threads[-1]
        if re.fullmatch(r"0*[1-9][0-9]{0,2}", number) is None:
            raise UsageError(f"{THREADS} {number[:20]} is not a number of threads from 1 to 999: write {THREADS} 2")
        added["OMP_NUM_THREADS"] = number
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
