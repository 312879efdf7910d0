"""How a dataset of the Hugging Face hub is spelled where data is asked for.

    hub:OWNER/NAME[@REVISION][:SPLIT][,KEY=VALUE]...

    hub:zh-plus/tiny-imagenet
    hub:lambdalabs/naruto-blip-captions@main:train
    hub:someone/birds@8f7c2b1:train,image=photo,caption=title,label=
    hub:someone/birds,config=small

REVISION is a branch, a tag or a commit. SPLIT takes one split of the hub's and divides it as a folder is. The
keys name columns (``image``, ``label``, ``caption``; with nothing after the sign the condition is left out) and
the ``config``, where the dataset has several.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from zeuxis.errors import UnknownName, UsageError

PREFIX = "hub:"
COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(
    r"hub:(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^:,\s]+))?(:(?P<split>[\w.-]+))?(?P<options>(,[^,]+)*)"
)


@dataclass(frozen=True)
class HubName:
    """A dataset of the hub, and what is wanted of it. None leaves a choice to the rules; "" leaves a column out."""

    repo: str
    revision: str | None = None
    split: str | None = None
    config: str | None = None
    image: str | None = None
    label: str | None = None
    caption: str | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.repo

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, under which nothing can change."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        options = {key: getattr(self, key) for key in KEYS}
        spelt = "".join(f",{key}={value}" for key, value in options.items() if value is not None)
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{PREFIX}{self.repo}{revision}{'' if self.split is None else f':{self.split}'}{spelt}"


KEYS = ("config", "image", "label", "caption")


def parse_hub_name(text: str) -> HubName:
    """The dataset that ``text`` spells.

    Raises:
        UsageError: it is not spelled like one.
        UnknownName: an option that is none.
    """
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"'{text}': write hub:OWNER/NAME, hub:OWNER/NAME@REVISION:SPLIT or hub:OWNER/NAME,image=COLUMN"
        )
    options: dict[str, str] = {}
    for option in found["options"].split(",")[1:]:
        key, sign, value = option.partition("=")
        if not sign:
            raise UsageError(f"'{text}': '{option}' is no option: write {option}=VALUE")
        if key not in KEYS:
            raise UnknownName(f"option of '{text}'", key, KEYS)
        options[key] = value
    if options.get("image") == "" or options.get("config") == "":
        raise UsageError(f"'{text}': there are no pictures without an image column: leave the empty option out")
    return HubName(found["repo"], found["revision"], found["split"], **options)
