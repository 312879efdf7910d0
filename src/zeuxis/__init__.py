"""Zeuxis: learn a distribution of images, sample it, steer it, edit with it and measure it.

>>> import zeuxis as zx
>>> model = zx.load("scenes")
>>> model.sample(caption="a small red circle above a large blue square at night", n=4, seed=0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load"]

if TYPE_CHECKING:
    from zeuxis.api.model import load as load


def __getattr__(name: str) -> Any:
    # Importing the package costs no torch: the command line lists and helps without it.
    if name == "load":
        from zeuxis.api.model import load  # noqa: PLC0415

        return load
    raise AttributeError(f"module 'zeuxis' has no attribute '{name}'")
