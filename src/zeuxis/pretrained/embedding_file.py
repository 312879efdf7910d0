"""Files of textual inversion (Gal et al. 2022, arXiv:2208.01618): vectors of a new token, beside those a tower has.

    A1111's web UI      ``emb_params`` (n, E), or a pickle's ``string_to_param``; XL's: ``clip_l`` and ``clip_g``.
                        The token is the name of the file.
    diffusers           one tensor (E,) or (n, E), under the token itself, such as ``<cat-toy>``

n vectors stand in a text one after another; the further ones are called NAME_1, NAME_2, ... as diffusers has them.

Axes: E width of a text tower, V rows of its vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zeuxis.errors import NoSuchPath, UsageError, WeightsError
from zeuxis.nn.clip_tokeniser import END, WORD_END
from zeuxis.pretrained.parts import INVERSION, OF_TOWERS, open_tensors, weights_of

ONE_TOWER = (INVERSION, "string_to_param.*")  # under what A1111's files have their vectors, whatever the token
PLACE = "string_to_token."  # which of the tower's tokens stood for it as it was learnt
MOST_VECTORS = 75  # that a window of CLIP's holds
WIDTHS = (768, 1024, 1280)  # of published towers


class Embedding(NamedTuple):
    """What a file teaches: the vectors ``(n, E)`` of a token, for each text tower."""

    token: str
    vectors: tuple[Tensor, ...]


def read_embedding(file: Path, token: str | None = None) -> Embedding:
    """What is in ``file``, by its own token or by another.

    Raises :class:`WeightsError` for a file of anything else, naming what it holds.
    """
    if not file.is_file():
        raise NoSuchPath("file", file, "--embedding: ")
    (kept,) = weights_of(file)
    tensors = {key: tensor for key, tensor in open_tensors(kept).items() if not key.startswith(PLACE)}
    own = file.stem
    if tensors.keys() == set(OF_TOWERS):
        each = [tensors[key] for key in OF_TOWERS]
    elif len(tensors) == 1:
        ((key, vectors),) = tensors.items()
        each, own = [vectors], own if key in (*ONE_TOWER, OF_TOWERS[0]) else key
    else:
        raise WeightsError(f"{file} is no textual inversion: it holds {_some(tensors)}, not one token's vectors")
    each = [vectors[None] if vectors.ndim == 1 else vectors for vectors in each]
    counts = {len(vectors) for vectors in each}
    if any(vectors.ndim != 2 for vectors in each) or len(counts) != 1 or not 1 <= len(each[0]) <= MOST_VECTORS:
        raise WeightsError(
            f"{file} is no textual inversion: {_some(tensors)}, where rows of vectors are wanted, 1 to {MOST_VECTORS}"
        )
    if not all(vectors.is_floating_point() and bool(torch.isfinite(vectors).all()) for vectors in each):
        raise WeightsError(f"{file} is damaged: some of its numbers are not finite; fetch or train it again")
    return Embedding(own if token is None else token, tuple(each))


def holds_embedding(file: Path) -> bool:
    """Whether there are vectors of a token in a file of safetensors, and nothing else, as wide as published ones."""
    try:
        return all(vectors.shape[1] in WIDTHS for vectors in read_embedding(file).vectors)
    except WeightsError:
        return False


def teach(
    embedding: Embedding, text: Sequence[Mapping[str, Any]], tensors: dict[str, Tensor], what: str
) -> tuple[dict[str, Any], ...]:
    """The tables ``text`` of towers that know the token, whose vectors are appended to those in ``tensors``.

    Raises :class:`UsageError` for a token that cannot be told from what the tokeniser has, :class:`WeightsError` where
    the vectors are another model's; ``what`` begins the message.
    """
    token, each = embedding
    if len(each) != len(text) or any(v.shape[1] != table["width"] for v, table in zip(each, text, strict=False)):
        widths = " and ".join(str(vectors.shape[1]) for vectors in each)
        raise WeightsError(
            f"{what} has vectors of {widths} numbers, and the text towers of this model read "
            f"{' and '.join(str(table['width']) for table in text)}: it was made for another base"
        )
    names = (token, *(f"{token}_{k}" for k in range(1, len(each[0]))))
    tables = []
    for k, (table, vectors) in enumerate(zip(text, each, strict=True)):
        _refuse_known(names, table, what)
        key = f"prompt.readers.{k}.tower.token.weight"
        rows = tensors[key]  # (V, E)
        tensors[key] = torch.cat([rows, vectors.to(rows.dtype)])
        known = {**table["tokens"], **{name: len(rows) + i for i, name in enumerate(names)}}
        tables.append({
            **table,
            "tokens": known,
            "added": (*table["added"], *names),
            "vocabulary": len(rows) + len(names),
            # the largest id of a text is no longer its end
            "end": table["tokens"][END] if table["end"] is None else table["end"],
        })  # fmt: skip
    return tuple(tables)


def _refuse_known(names: Sequence[str], table: Mapping[str, Any], what: str) -> None:
    if not names[0].strip() or re.search(r"\s", names[0]):
        raise UsageError(f"{what}: a token is one word, and '{names[0]}' is none: write FILE=NAME")
    taken = next((name for name in names if {name, name.lower() + WORD_END} & table["tokens"].keys()), None)
    if taken is not None:
        raise UsageError(f"{what}: the model knows '{taken}' already: write FILE=NAME, with a name that is no word")


def _some(tensors: Mapping[str, Tensor]) -> str:
    shown = [f"{key} {tuple(tensor.shape)}" for key, tensor in list(tensors.items())[:4]]
    return ", ".join(shown) + (f" and {len(tensors) - 4} more" if len(tensors) > 4 else "") or "nothing"
