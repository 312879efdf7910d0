"""What is said beside a LoRA's tensors of its layers' alpha and rank, in PEFT's words.

    lora_alpha, r                   of every layer
    alpha_pattern, rank_pattern     of layers by name, or by the end of it
    use_rslora                      whether alpha is divided by the root of r (Kalajdzievski 2023, arXiv:2312.03732)

It stands in the file's metadata (``lora_adapter_metadata``, as diffusers writes it: a table whose keys begin with the
name of a part), or in ``adapter_config.json`` beside a file that has PEFT's names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeuxis.errors import WeightsError
from zeuxis.pretrained.json_table import read_json

KEY, BESIDE = "lora_adapter_metadata", "adapter_config.json"
MARK = ".lora_A."  # of PEFT's names
NAME = re.compile(r"\^?[\w.-]+")  # ``^``: from the beginning of a layer's name on


@dataclass(frozen=True)
class AdapterTable:
    """The table at ``where``; empty where a file has none. ``prefixed`` is one whose keys begin with a part's name."""

    where: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    prefixed: bool = False
    files: tuple[Path, ...] = ()  # that it was read from, besides the file of tensors

    def alpha(self, layer: str, rank: int) -> float:
        """alpha of a layer of that rank, such as ``unet.mid_block...to_q``: the rank itself where nothing is said."""
        told = self._of(layer, "lora_alpha", "alpha_pattern")
        if told is None:
            return rank
        return told * math.sqrt(rank) if self._fact(layer, "use_rslora") else told

    def rank(self, layer: str) -> float | None:
        """The rank that a layer is said to have."""
        return self._of(layer, "r", "rank_pattern")

    def _of(self, layer: str, all_of_them: str, by_name: str) -> float | None:
        _, _, inside = layer.partition(".")
        patterns = self._fact(layer, by_name) or {}
        if not isinstance(patterns, Mapping):
            raise WeightsError(f"{self.where}: its {by_name} is no table")
        for name, value in patterns.items():
            if NAME.fullmatch(name) is None:
                raise WeightsError(f"{self.where}: {by_name} has '{name[:80]}', which is no layer's name")
            bare = name.removeprefix("^")
            if inside == bare or (bare == name and inside.endswith(f".{name}")):
                return self._number(by_name, value)
        value = self._fact(layer, all_of_them)
        return None if value is None else self._number(all_of_them, value)

    def _fact(self, layer: str, key: str) -> Any:
        return self.facts.get(f"{layer.partition('.')[0]}.{key}" if self.prefixed else key)

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WeightsError(f"{self.where}: {key} is {str(value)[:80]!r}, which is no number")
        return value


def adapter_table(file: Path, keys: Iterable[str], metadata: Mapping[str, str]) -> AdapterTable:
    """The table of a LoRA file with those ``keys`` and metadata; raises :class:`WeightsError` where it is damaged."""
    if KEY in metadata:
        where = f"{file}, {KEY}"
        facts = parsed(metadata[KEY], where)
        if not isinstance(facts, dict):
            raise WeightsError(f"{where} of its metadata is not a table")
        return AdapterTable(where, facts, prefixed=True)
    beside = file.with_name(BESIDE)
    if beside.is_file() and any(MARK in key for key in keys):
        return AdapterTable(str(beside), read_json(beside), files=(beside,))
    return AdapterTable()


def parsed(text: str, where: str) -> Any:
    """The JSON in an entry of metadata; raises :class:`WeightsError` naming ``where`` it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{where} of its metadata is no JSON: {error}") from None
