"""How long a user waits before anything happens: python benchmarks/startup.py [--turns 7].

Processor time of whole processes, in turns; beside them an empty Python.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from tempfile import TemporaryDirectory

import _race

COMMANDS = {
    "python alone": ["-c", "pass"],
    "import zeuxis": ["-c", "import zeuxis"],
    "zeuxis --help": ["-m", "zeuxis", "--help"],
    "zeuxis list": ["-m", "zeuxis", "list"],
    "import zeuxis and torch": ["-c", "from zeuxis.api.model import load"],
    "load cvae": ["-c", "from zeuxis.api.model import load; load('cvae')"],
    "zeuxis sample cvae": ["-m", "zeuxis", "sample", "cvae", "--out", "drawn.png"],
}


def spent() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(arguments: list[str], folder: str) -> float:
    start = spent()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return spent() - start


def main() -> None:
    given = _race.arguments(__doc__).parse_args()
    found: _race.Seconds = {name: [] for name in COMMANDS}
    with TemporaryDirectory(prefix="zeuxis-") as folder:  # what is drawn goes there
        for _ in range(given.turns):
            for name, command in COMMANDS.items():
                found[name].append(seconds(command, folder))
    _race.told([_race.Row(name, f"{statistics.median(s):.3f} s of CPU") for name, s in found.items()], given)


if __name__ == "__main__":
    main()
