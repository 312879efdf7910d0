"""Where CLIP's tokeniser is, for a single file of weights, which holds none.

Its vocabulary is not in this package. It is looked for, in this order: in the folder that ``ZEUXIS_TOKENIZER`` names;
beside the file (``tokenizer/``, or vocab.json and merges.txt); in a repository that was pulled; in an installed
``open_clip``, whose file is read as data, without importing it.
"""

from __future__ import annotations

import os
import zlib
from importlib.util import find_spec
from pathlib import Path

from zeuxis.data.cache import pulled_models
from zeuxis.errors import DataError, UsageError
from zeuxis.files import MOST_TEXT, at_home, read_bytes
from zeuxis.nn.clip_tokeniser import BEGIN, END, ClipTokeniser, byte_vocabulary
from zeuxis.pretrained.clip_files import read_tokeniser

VARIABLE = "ZEUXIS_TOKENIZER"
MERGES = 49152 - 256 - 2  # that OpenAI's models use of the file's
GZIP = 31  # how zlib is told that it reads gzip
LIBRARY = ("open_clip", "bpe_simple_vocab_16e6.txt.gz")


def find_tokeniser(file: Path) -> tuple[ClipTokeniser, Path]:
    """CLIP's tokeniser for the weights in ``file``, and where it was found.

    Its vocabulary and merges are those of every CLIP; its window and padding are of whichever model it lay beside.

    Raises :class:`UsageError` where it is nowhere, :class:`DataError` where it is damaged.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        folder = at_home(chosen)
        return read_tokeniser(folder), folder
    for folder in (file.parent / "tokenizer", file.parent, *sorted(pulled_models().glob("*/*/tokenizer"))):
        if any((folder / name).is_file() for name in ("merges.txt", "tokenizer.json")):
            return read_tokeniser(folder), folder
    spec = find_spec(LIBRARY[0])
    for place in () if spec is None else spec.submodule_search_locations or ():
        if (found := Path(place) / LIBRARY[1]).is_file():
            return of_merges(found), found
    raise UsageError(
        f"{file} holds no tokeniser: put vocab.json and merges.txt of any Stable Diffusion beside it, name their "
        f"folder in {VARIABLE}, or install open_clip_torch, which has them"
    )


def of_merges(file: Path) -> ClipTokeniser:
    """The tokeniser of OpenAI's file of merges, whose vocabulary follows from it."""
    try:
        reader = zlib.decompressobj(GZIP)
        unpacked = reader.decompress(read_bytes(file), MOST_TEXT)
        if not reader.eof:
            raise EOFError(f"its end is missing, or it holds more than {MOST_TEXT:,} bytes")
        lines = unpacked.decode("utf-8").splitlines()[1:]
        merges = [(first, second) for first, second in (line.split() for line in lines[:MERGES])]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{file} cannot be read ({error}): install open_clip_torch again") from None
    if len(merges) < MERGES:
        raise DataError(f"{file} has {len(merges)} merges of {MERGES}, it is cut short: install open_clip_torch again")
    letters = [token for token in byte_vocabulary() if token not in (BEGIN, END)]
    tokens = [*letters, *(first + second for first, second in merges), BEGIN, END]
    return ClipTokeniser({token: i for i, token in enumerate(tokens)}, merges)
