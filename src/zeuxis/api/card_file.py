"""Files of safetensors whose metadata hold a card in JSON under the key ``zeuxis``."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from zeuxis.errors import DataError, NoSuchPath, UsageError
from zeuxis.files import read_bytes

KEY = "zeuxis"
MOST_BYTES = 256 << 20


def read_card_file(path: Path, mend: str) -> tuple[dict[str, Tensor], str | None]:
    """The tensors of a file, and the text of its card, where it has one; ``mend`` says how it is made anew.

    Raises:
        UsageError: no such file, or one that cannot be read.
        DataError: damaged.
    """
    content = content_of(path)
    try:
        tensors = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    except (ValueError, RecursionError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error}): {mend}") from None
    return tensors, metadata.get(KEY)


def content_of(path: Path) -> bytes:
    """The bytes of a file; raises :class:`UsageError` where there is none, or it cannot be read."""
    try:
        return read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise NoSuchPath("file", path) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
