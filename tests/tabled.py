"""Rows of pictures as public tables have them."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def png(colour: tuple[int, int, int], size: tuple[int, int] = (20, 12)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def rows(n: int, blue: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Pictures whose red numbers them, with a label and a caption each."""
    return [
        {"image": {"bytes": png((k, 0, blue)), "path": f"{k}.png"}, "label": k % 3, "text": f"bird {k}", **more}
        for k in range(n)
    ]
