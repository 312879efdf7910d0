"""A tokeniser's files beside published weights: ``vocab.json`` with ``merges.txt``, or ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeuxis.errors import DataError
from zeuxis.files import read_text, spelt_error
from zeuxis.nn.clip_tokeniser import BEGIN, END, ClipTokeniser
from zeuxis.pretrained.json_table import read_json

LENGTH = 77
LONGEST = 1 << 20  # a window beyond this is a program's way of saying that it has none


def read_tokeniser(folder: str | Path) -> ClipTokeniser:
    """The tokeniser of a folder such as a hub repository's ``tokenizer/``.

    Window and padding are those of ``tokenizer_config.json``; what ``special_tokens_map.json`` says goes before it,
    unless the former has a table ``added_tokens_decoder`` and so is of a program that no longer asks the latter (as
    `transformers` reads them). Without either, 77 tokens padded with the end.

    Tokens beyond the vocabulary, which textual inversion taught a model to draw, are those of ``added_tokens.json``, of
    that ``added_tokens_decoder``, or of ``tokenizer.json``.

    Raises :class:`DataError` where a file is missing or is not what it should be.
    """
    folder = Path(folder)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        vocabulary, merges = read_json(folder / "vocab.json", DataError), _merges(folder / "merges.txt")
        more = _table(folder / "added_tokens.json")
    elif (folder / "tokenizer.json").is_file():
        vocabulary, merges, more = _of_tokenizer(folder / "tokenizer.json")
    else:
        raise DataError(f"{folder} holds no tokeniser: it needs vocab.json and merges.txt, or tokenizer.json")
    settings = _table(folder / "tokenizer_config.json")
    more = {**more, **_decoded(settings.get("added_tokens_decoder", {}), folder)}
    added = {token: i for token, i in more.items() if token not in vocabulary}
    if not all(isinstance(i, int) for i in (*vocabulary.values(), *added.values())):
        raise DataError(f"the vocabulary in {folder} is not a table of tokens and their numbers")
    if "added_tokens_decoder" not in settings:
        settings |= _table(folder / "special_tokens_map.json")
    length = settings.get("model_max_length", LENGTH)
    return ClipTokeniser(
        {**vocabulary, **added},
        merges,
        length=int(length) if isinstance(length, int | float) and length < LONGEST else LENGTH,
        pad=_token(settings.get("pad_token", END)),
        added=tuple(token for token in added if token not in (BEGIN, END)),
    )


def _decoded(told: Any, folder: Path) -> dict[str, int]:
    """``added_tokens_decoder``, whose keys are the numbers, the other way round."""
    try:
        return {_token(token): int(i) for i, token in told.items()}
    except (AttributeError, ValueError):
        raise DataError(f"{folder / 'tokenizer_config.json'}: added_tokens_decoder is no table of tokens") from None


def _table(path: Path) -> dict[str, Any]:
    return read_json(path, DataError) if path.is_file() else {}


def _token(value: Any) -> str:
    """A special token, which may be written as a table with its content."""
    return str(value["content"]) if isinstance(value, Mapping) and "content" in value else str(value)


def _merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {spelt_error(error, path)}") from None
    return [_pair(line.split(), path) for line in lines if line.strip() and not line.startswith("#version")]


def _pair(parts: Any, path: Path) -> tuple[str, str]:
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise DataError(f"{path}: a merge is two pieces, not {str(parts)[:60]}")
    return parts[0], parts[1]


def _of_tokenizer(path: Path) -> tuple[dict[str, int], list[tuple[str, str]], dict[str, int]]:
    """Vocabulary, merges and added tokens of ``tokenizer.json``, in which a merge is "a b" or a list of both."""
    found = read_json(path, DataError)
    model = found.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise DataError(f"{path} has no byte-pair vocabulary under 'model'")
    if model.get("end_of_word_suffix") != "</w>":
        raise DataError(f"{path}: words do not end in </w>: this is not CLIP's tokeniser")
    try:
        merges = [_pair(m.split(" ") if isinstance(m, str) else m, path) for m in model.get("merges", [])]
        added = {str(token["content"]): int(token["id"]) for token in found.get("added_tokens", [])}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: its merges or its added tokens are not those ({error!r})") from None
    return model["vocab"], merges, added
