"""The line ``parameters``, by which programs that show images say how one was made: made of the record, and read back.

It is a habit that began with one web page for Stable Diffusion and that image browsers and archives read: the caption,
on the next line what not to draw, and on the last the settings as ``Name: value, ...``. Here each value comes from
:mod:`zeuxis.provenance.record`, which alone is read when a picture is drawn again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from zeuxis.escaping import printable
from zeuxis.version import __version__

PARAMETERS = "parameters"
KNOBS = {"steps": "Steps", "sampler": "Sampler", "guidance": "CFG scale"}  # of the record, and as others call them
HASH = 10  # characters of the weights' hash that others show
QUOTED = re.compile(r'[,:"\n]')  # in a value, what readers would take for its end


def parameters(record: Mapping[str, Any], width: int, height: int) -> str:
    """The text of a picture of that size; what the record does not hold is left out."""
    condition, sampling, digest = record["condition"], record["sampling"], record["weights_sha256"]
    values: dict[str, Any] = {shown: sampling.get(knob) for knob, shown in KNOBS.items()}
    values |= {
        "Seed": record["seed"],
        "Size": f"{width}x{height}",
        "Model hash": None if digest is None else digest[:HASH],
        "Model": record["model"],
        "Version": f"zeuxis {__version__}",
    }
    settings = ", ".join(f"{name}: {_plain(value)}" for name, value in values.items() if value is not None)
    lines = [_text(condition.get("caption")), _text(condition.get("negative"))]
    return "\n".join([*lines[:1], *(f"Negative prompt: {line}" for line in lines[1:] if line), settings]).lstrip("\n")


def _text(value: object) -> str:
    """A caption in one line, in which nothing is obeyed by a terminal; "" where there is none, or no text."""
    return printable(value) if isinstance(value, str) else ""


def _plain(value: object) -> str:
    """A value, in JSON's quotes where readers would else take part of it for the next."""
    text = printable(str(value))
    return json.dumps(text, ensure_ascii=False) if QUOTED.search(text) else text
