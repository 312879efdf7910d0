"""A file of one coded picture: safetensors whose metadata says which model can decode it. Never a pickle.

The tensor ``codes`` is the output of ``encode`` without its batch axis: indices in the smallest integers that hold
them, real numbers in float32. The metadata's ``zeuxis`` is a card in JSON, with the SHA-256 of the tensor's bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from zeuxis.api.card_file import KEY, read_card_file
from zeuxis.errors import DataError, UsageError
from zeuxis.escaping import json_text
from zeuxis.files import without_home
from zeuxis.provenance.record import versions, write_whole

SUFFIX = ".codes.safetensors"
TENSOR, FORMAT = "codes", 1
INTEGERS = ((2**8, torch.uint8), (2**15, torch.int16), (2**31, torch.int32))  # values that each holds, from 0


@dataclass(frozen=True)
class Coded:
    """One picture in a model's codes."""

    codes: Tensor  # (...): int64 in [0, values), or float32 where ``values`` is None
    values: int | None  # how many an index can take
    model: str  # the name or folder from which it was loaded
    system: str
    weights_sha256: str
    shape: tuple[int, int, int]  # channels, rows and columns of the picture as it was coded
    original: str  # the name of the file that it came from
    original_size: tuple[int, int]  # width and height of it, upright
    fitted: str | None  # how it was cropped or resized

    @property
    def bits_each(self) -> int:
        """The size of one entry in bits."""
        return 32 if self.values is None else max(1, math.ceil(math.log2(self.values)))

    @property
    def bits(self) -> int:
        """The size of all codes in bits."""
        return self.codes.numel() * self.bits_each

    def size(self) -> str:
        """``64 codes of 8 bits: 64 bytes``."""
        kind = "numbers" if self.values is None else "codes"
        return f"{self.codes.numel():,} {kind} of {self.bits_each} bits: {math.ceil(self.bits / 8):,} bytes"


def write_codes(path: Path, coded: Coded) -> None:
    """Put ``coded`` at ``path``, whole or not at all."""
    kind = torch.float32 if coded.values is None else next(k for most, k in INTEGERS if coded.values <= most)
    kept = coded.codes.detach().cpu().to(kind).contiguous()
    card = {field.name: getattr(coded, field.name) for field in fields(coded) if field.name != "codes"}
    card |= {"model": without_home(coded.model), "format": FORMAT, "sha256": _hash(kept), "versions": versions()}
    write_whole(path, save({TENSOR: kept}, {KEY: json_text(card, sort_keys=True)}))


def read_codes(path: Path) -> Coded:
    """What :func:`write_codes` wrote, with its hash and ranges checked; whether it fits a model is not.

    Raises:
        UsageError: no such file, or one of another kind.
        DataError: damaged, or changed since it was written.
    """
    path = Path(path)
    tensors, card = read_card_file(path, "encode the picture again")
    if card is None or set(tensors) != {TENSOR}:
        raise UsageError(f"{path} holds no coded picture: write one with zeuxis encode PICTURE --with MODEL")
    kept = tensors[TENSOR]
    try:
        return _checked(json.loads(card), kept)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is damaged: {why}; encode the picture again") from None


def _checked(card: dict[str, Any], kept: Tensor) -> Coded:
    """A ``Coded`` of sound parts; raises ValueError, KeyError or TypeError otherwise."""
    if card["format"] != FORMAT:
        raise ValueError(f"it is of format {card['format']}, and this version reads {FORMAT}")
    if card["sha256"] != _hash(kept):
        raise ValueError("its codes are not those that were written")
    for key in ("model", "system", "weights_sha256", "original"):
        if not isinstance(card[key], str):
            raise TypeError(f"its {key} is no text")
    values = card["values"]
    if values is None:
        if kept.dtype != torch.float32 or not torch.isfinite(kept).all():
            raise ValueError(f"its codes ({kept.dtype}) are not finite numbers of float32")
        codes = kept
    else:
        codes = kept.long()
        if kept.dtype not in [kind for _, kind in INTEGERS] or type(values) is not int:
            raise TypeError(f"its codes ({kept.dtype}) are no indices")
        if kept.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < values:
            raise ValueError(f"its codes reach from {codes.min()} to {codes.max()}, outside the {values} there are")
    fitted = None if card["fitted"] is None else str(card["fitted"])
    names = (card["model"], card["system"], card["weights_sha256"])
    shape, size = _sides(card["shape"], 3), _sides(card["original_size"], 2)
    return Coded(codes, values, *names, shape, card["original"], size, fitted)


def _sides(value: Any, count: int) -> Any:
    """``count`` whole numbers above 0, as a tuple."""
    if not isinstance(value, list) or len(value) != count or not all(type(x) is int and x > 0 for x in value):
        raise TypeError(f"{value} is not a size")
    return tuple(value)


def _hash(kept: Tensor) -> str:
    return hashlib.sha256(str(tuple(kept.shape)).encode() + kept.numpy().tobytes()).hexdigest()


def described(coded: Coded) -> dict[str, Any]:
    """All of it but the codes themselves, with their size in bits, ready for JSON."""
    facts = {field.name: getattr(coded, field.name) for field in fields(coded) if field.name != "codes"}
    return {**facts, "codes": list(coded.codes.shape), "bits_each": coded.bits_each, "bits": coded.bits}
