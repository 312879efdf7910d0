"""The line ``parameters``, by which programs that show images say how one was made: made of the record, and read back.

It is a habit that began with one web page for Stable Diffusion and that image browsers and archives read: the caption
(or what a picture was changed by, the instruction), on the next line what not to draw, and on the last the settings as
``Name: value, ...``. Here each value comes from :mod:`zeuxis.provenance.record`, which alone is read when a picture is
drawn again.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeuxis.data.png_chunks import SIGNATURE, png_chunks
from zeuxis.errors import DataError, UsageError
from zeuxis.escaping import printable
from zeuxis.files import open_regular

PARAMETERS = "parameters"
MAX_TEXT = 1 << 20  # bytes of a text in a PNG; a longer one is not ours
MAX_CHUNKS = 100_000
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
        "Version": f"zeuxis {record['versions']['zeuxis']}",
    }
    settings = ", ".join(f"{name}: {_plain(value)}" for name, value in values.items() if value is not None)
    lines = [_text(condition.get("caption", condition.get("instruction"))), _text(condition.get("negative"))]
    return "\n".join([*lines[:1], *(f"Negative prompt: {line}" for line in lines[1:] if line), settings]).lstrip("\n")


def _text(value: object) -> str:
    """A caption in one line, in which nothing is obeyed by a terminal; "" where there is none, or no text."""
    return printable(value) if isinstance(value, str) else ""


def _plain(value: object) -> str:
    """A value, in JSON's quotes where readers would else take part of it for the next."""
    text = printable(str(value))
    return json.dumps(text, ensure_ascii=False) if QUOTED.search(text) else text


def read_parameters(path: Path) -> str | None:
    """The line of a PNG, whoever wrote it; None where it has none, or is no PNG.

    Raises DataError for a damaged one.
    """
    try:
        with open_regular(path) as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                return None
            for kind, length in png_chunks(file, MAX_CHUNKS):
                if kind not in (b"tEXt", b"iTXt") or length > MAX_TEXT:
                    continue
                key, _, rest = file.read(length).partition(b"\0")
                if key != PARAMETERS.encode():
                    continue
                if kind == b"tEXt":
                    return rest.decode("latin-1")
                packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[2]
                return (zlib.decompressobj().decompress(rest, MAX_TEXT) if packed else rest).decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, IndexError, zlib.error) as error:
        raise DataError(f"the line '{PARAMETERS}' in {path} is damaged: {error}") from None
    return None
