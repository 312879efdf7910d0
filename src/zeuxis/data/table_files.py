"""Which Parquet file holds what, by its path: the configs and splits of published sets of pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from zeuxis.data.hub_name import HubName
from zeuxis.data.splits import split_of
from zeuxis.data.tables_name import TablesName
from zeuxis.errors import DataError, UnknownName

SHARD = re.compile(r"(?P<split>.+?)-\d{4,6}-of-\d{4,6}([-.]\w+)*")
NUMBER = re.compile(r"(part[-._])?\d+([-.]\w+)*")


@dataclass(frozen=True)
class TableFile:
    """A Parquet file of a set; ``path`` is where it lies there, with ``/``."""

    path: str
    bytes: int

    @property
    def split(self) -> str:
        """``train`` of data/train-00000-of-00002.parquet, default/train/0000.parquet and train.parquet."""
        path = PurePosixPath(self.path)
        if found := SHARD.fullmatch(path.stem):
            return found["split"]
        return path.parent.name if NUMBER.fullmatch(path.stem) and path.parent.name else path.stem

    @property
    def config(self) -> str:
        """The folder that the split lies in; "default" for ``data`` and for none."""
        parents = [part for part in PurePosixPath(self.path).parent.parts if part not in (self.split, "data")]
        return parents[-1] if parents else "default"


def of_config(name: HubName | TablesName, files: Sequence[TableFile]) -> list[TableFile]:
    """Those of ``files`` that belong to the config that is meant, by path.

    Raises:
        UnknownName: no such config.
        DataError: there are several, and none is chosen.
    """
    configs = sorted({file.config for file in files})
    if name.config is not None and name.config not in configs:
        raise UnknownName(f"config of '{name.title}'", name.config, configs)
    if name.config is None and len(configs) > 1 and "default" not in configs:
        chosen = replace(name, config="NAME")
        raise DataError(f"'{name}' has several configs: choose one, as {chosen} ({', '.join(configs)})")
    wanted = name.config or ("default" if "default" in configs else configs[0] if configs else "")
    return sorted((file for file in files if file.config == wanted), key=lambda file: file.path)


def parts_of(name: HubName | TablesName, files: Sequence[TableFile]) -> dict[str, list[TableFile]]:
    """The files of each of our splits, that to train on first; all of the split that was asked for as "train".

    Files on this machine of which none is called as a split is are all to train on.

    Raises:
        UnknownName: no such split.
        DataError: there are splits, and none to train on.
    """
    theirs = sorted({file.split for file in files})
    wanted = name.split if name.split is not None else theirs[0] if len(theirs) == 1 else None
    if wanted is not None:
        if wanted not in theirs:
            raise UnknownName(f"split of '{name.title}'", wanted, theirs)
        return {"train": [file for file in files if file.split == wanted]}
    parts: dict[str, list[TableFile]] = {split: [] for split in ("train", "val", "test")}
    for file in files:
        if (split := split_of(file.split)) is not None:
            parts[split].append(file)
    if isinstance(name, TablesName) and not any(parts.values()):
        return {"train": list(files)}
    if not parts["train"]:
        example = replace(name, split="SPLIT")
        raise DataError(f"'{name}' has no split 'train' but {', '.join(theirs) or 'none'}: choose one, as {example}")
    return {split: held for split, held in parts.items() if held}
