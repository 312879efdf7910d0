"""A dataset at a glance: its facts, and a page of its pictures."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from zeuxis.api.pictures import panes, sheet, to_pil
from zeuxis.data.entries import ENTRIES, listing_row
from zeuxis.data.published import PUBLISHED, listed
from zeuxis.data.source import Source

TILE = 96  # pixels a side that a small picture is enlarged to
CARD_FIELDS = ("title", "licence", "may_ship", "citation", "homepage", "splits", "note")


def card(source: Source) -> dict[str, Any]:
    """What is known of a source, ready for JSON: what it holds, and for a known dataset where it is from."""
    origin: dict[str, Any] = {}
    if source.name in ENTRIES:
        origin = listing_row(ENTRIES[source.name])
    elif source.name in PUBLISHED:
        origin = listed(PUBLISHED[source.name])
    return {
        "name": source.name,
        **{key: value for key, value in origin.items() if key in CARD_FIELDS},
        "examples": len(source),
        **source.spec.as_dict(),
        "texts": first_texts(source),
        "read": list(source.remarks),
        "buckets": [
            {"width": b.shape.width, "height": b.shape.height, "examples": len(b.members)} for b in source.buckets
        ],
        "fingerprint": source.fingerprint(),
    }


def first_texts(source: Source, n: int = 3) -> list[str]:
    """The captions and instructions of its first ``n`` examples."""
    first = [source.batch(torch.tensor([k])).condition for k in range(min(n, len(source)))]  # a batch has one shape
    return [text for one in first for texts in (one.caption, one.instruction) for text in texts or ()]


def contact_sheet(source: Source, n: int = 64) -> Image.Image:
    """``n`` of its pictures, evenly spaced; each with the picture it was made from on its left, where there is one.

    A source of several contrasts, which is no picture by itself, is shown channel by channel.
    """
    index = torch.linspace(0, len(source) - 1, min(n, len(source))).round().long()
    tiles: list[Image.Image] = []
    for one in index.split(1) if source.buckets else [index]:  # a batch has one shape
        batch = source.batch(one)
        made_from = batch.condition.source
        pairs = [*(() if made_from is None else panes(made_from)), *panes(batch.image)]
        tiles += [to_pil(images[k]) for k in range(len(batch)) for images in pairs]
    columns = max(1, round(len(index) ** 0.5)) * len(pairs)
    return sheet(_framed(tiles) if source.buckets else tiles, columns, max(1, TILE // source.spec.shape.width))


def _framed(tiles: list[Image.Image]) -> list[Image.Image]:
    """Pictures of several sizes on white tiles of one, so that none is stretched."""
    size = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    framed = []
    for tile in tiles:
        frame = Image.new("RGB", size, "white")
        frame.paste(tile, ((size[0] - tile.width) // 2, (size[1] - tile.height) // 2))
        framed.append(frame)
    return framed
