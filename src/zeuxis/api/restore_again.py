"""The command that restores a picture again as its record says."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from zeuxis.errors import DataError


def restoring_again(record: Mapping[str, Any]) -> str:
    """``zeuxis restore ...``, of the record of a restored picture; files that it names by hash are MASK.png there.

    Raises :class:`DataError` where the record does not say.
    """
    try:
        return shlex.join(_words(record))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"this picture's record is damaged: it does not say how it was restored ({error!r})") from None


def _words(record: Mapping[str, Any]) -> list[str]:
    turned = dict(record["sampling"])
    task, mask, fidelity, faces = (turned.pop(name, None) for name in ("task", "mask", "fidelity", "faces"))
    eight = turned.pop("self_ensemble", False)
    words = ["zeuxis", "restore", str(record["condition"]["source"]["file"]), "--model", str(record["model"])]
    if task != "restore":  # which no one can ask for: it stands where nothing tells what a model does
        words += ["--task", str(task) if mask is None else f"{task}:MASK.png"]
    for name, value in sorted(turned.items()):
        words += ["--knob", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    words += [] if fidelity is None else ["--fidelity", f"{fidelity:g}"]
    words += ["--self-ensemble"] if eight else []
    words += ["--seed", str(record["seed"])] if record["seed"] else []
    for place in faces or ():
        x, y, side, _ = place
        words += ["--face", f"{x - side / 2:g},{y - side / 2:g},{side:g},{side:g}"]
    whole = "faces" in record or "panorama" in record  # of which no tiles are cut
    return words if whole else [*words, "--tile", str(record["tiles"]["tile"])]
