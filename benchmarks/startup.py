"""How long a user waits before anything happens: python benchmarks/startup.py. Prints one JSON object of seconds.

Whole processes, the median of seven after one to warm the disk cache; beside them an empty Python.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python alone": ["-c", "pass"],
    "import zeuxis": ["-c", "import zeuxis"],
    "zeuxis --help": ["-m", "zeuxis", "--help"],
    "zeuxis list": ["-m", "zeuxis", "list"],
    "import zeuxis and torch": ["-c", "from zeuxis.api.model import load"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    found = {name: statistics.median([seconds(c) for _ in range(8)][1:]) for name, c in COMMANDS.items()}
    json.dump({name: round(value, 3) for name, value in found.items()}, sys.stdout, indent=1)
