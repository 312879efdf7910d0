"""Zeuxis: learn a distribution of images, sample it, steer it, edit with it and measure it.

>>> import zeuxis as zx
>>> model = zx.load("scenes")
>>> model.sample(caption="a small red circle above a large blue square at night", n=4, seed=0)
>>> run = zx.train("dcgan", data="pictures/birds", size=64)
>>> zx.evaluate(run.model, metrics=["frechet"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zeuxis.version import __version__ as __version__

__all__ = ["StopTraining", "add_systems", "compare", "evaluate", "load", "resume", "sample", "train"]

# The other commands: each is a function of the same name in a module of its own.
IN_API = (
    "average",
    "breed",
    "diagnose",
    "edit",
    "mix",
    "paint",
    "project",
    "reproduce",
    "restore",
    "style",
    "sweep",
    "translate",
    "walk",
)

if TYPE_CHECKING:
    from zeuxis.api.functions import StopTraining as StopTraining
    from zeuxis.api.functions import compare as compare
    from zeuxis.api.functions import evaluate as evaluate
    from zeuxis.api.functions import load as load
    from zeuxis.api.functions import resume as resume
    from zeuxis.api.functions import sample as sample
    from zeuxis.api.functions import train as train
    from zeuxis.plugins import add_systems as add_systems


def __getattr__(name: str) -> Any:
    # Importing the package costs no torch: the command line lists and helps without it.
    if name == "add_systems":
        from zeuxis.plugins import add_systems  # noqa: PLC0415

        return add_systems
    if name in __all__:
        from zeuxis.api import functions  # noqa: PLC0415

        return getattr(functions, name)
    there = f": from zeuxis.api.{name} import {name}" if name in IN_API else ""
    raise AttributeError(f"module 'zeuxis' has no attribute '{name}'{there}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
