"""``python -m zeuxis``, and the program that is installed: the command line, begun with a patient collector.

Python looks for garbage whenever some hundreds of objects are new, and loading torch and the rest makes hundreds of
thousands, which all stay: looking at them again and again takes a tenth or more of a command's start. So the first look
waits until that many are there, then passes them over for good, and all is as ever. A library that is imported leaves
Python's collector alone.
"""

import gc
import os
import sys
from typing import Any

FIRST = 300_000  # new objects before the first look: about as many as loading makes


def patient(first: int = FIRST) -> None:
    """Have the collector look at nothing until ``first`` objects are new, and never again at what is there then."""
    usual = gc.get_threshold()

    def settle(phase: str, _: dict[str, Any]) -> None:
        if phase == "stop":
            gc.callbacks.remove(settle)
            gc.freeze()
            gc.set_threshold(*usual)

    gc.callbacks.append(settle)
    gc.set_threshold(first, *usual[1:])


def open_streams() -> None:
    """Lead stdin, stdout and stderr nowhere that whoever began this had closed (``>&-``, a service, no console).

    Python has None in their place then, and the next file that is opened would have their number: what a library writes
    to standard output would go into a checkpoint.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def entry() -> int:
    """The program ``zeuxis``."""
    open_streams()
    patient()
    from zeuxis.cli import main  # noqa: PLC0415  (what it loads is what the collector is to wait for)

    return main()


if __name__ == "__main__":
    sys.exit(entry())
