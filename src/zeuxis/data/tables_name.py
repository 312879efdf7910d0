"""How tables of pictures on this machine are spelled where data is asked for.

    FOLDER                        a folder that holds *.parquet and no pictures
    FILE.parquet                  one of them, all of whose pictures are divided as a folder's are
    parquet:PATH[,KEY=VALUE]...   either, with a choice; also of a folder that holds pictures too

    parquet:~/birds,image=photo,caption=title,label=
    parquet:~/birds,config=small,split=validation

The keys name columns (``image``, ``label``, ``caption``; with nothing after the sign the condition is left out), the
``config``, where the folder holds several tables, and one ``split`` of it, which is divided as a folder is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zeuxis.errors import UnknownName, UsageError
from zeuxis.files import at_home

PREFIX = "parquet:"
SUFFIX = ".parquet"
KEYS = ("config", "split", "image", "label", "caption")
OPTION = re.compile(r",(\w+)=([^,]*)$")


@dataclass(frozen=True)
class TablesName:
    """Tables on this machine, and what is wanted of them. None leaves a choice to the rules; "" leaves a column out."""

    path: str
    split: str | None = None
    config: str | None = None
    image: str | None = None
    label: str | None = None
    caption: str | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.path

    def __str__(self) -> str:
        options = {key: getattr(self, key) for key in KEYS}
        spelt = "".join(f",{key}={value}" for key, value in options.items() if value is not None)
        return f"{PREFIX}{self.path}{spelt}"


def tables_named(text: str | Path) -> TablesName | None:
    """The tables that ``text`` means; None where it means something else, or a folder that is to be looked into."""
    if str(text).startswith(PREFIX):
        return parse_tables_name(str(text))
    return TablesName(str(text)) if str(text).lower().endswith(SUFFIX) and at_home(text).is_file() else None


def parse_tables_name(text: str) -> TablesName:
    """The tables that ``text`` spells, which begins with :data:`PREFIX`.

    Raises:
        UsageError: it is not spelled like some.
        UnknownName: an option that is none.
    """
    path, options = text.strip().removeprefix(PREFIX), dict[str, str]()
    while (found := OPTION.search(path)) is not None:
        if found[1] not in KEYS:
            raise UnknownName(f"option of '{text}'", found[1], KEYS)
        options[found[1]] = found[2]
        path = path[: found.start()]
    if not path:
        raise UsageError(f"'{text}': write parquet:FOLDER, parquet:FILE.parquet or parquet:FOLDER,image=COLUMN")
    if "" in (options.get("image"), options.get("config"), options.get("split")):
        raise UsageError(f"'{text}': only a label or a caption can be left out: leave the empty option out")
    return TablesName(path, **options)
