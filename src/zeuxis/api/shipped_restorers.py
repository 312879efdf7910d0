"""The restorers whose weights come with the package, by name. Imports no torch, so that lists are quick."""

from __future__ import annotations

from dataclasses import dataclass

LICENCE = "Apache-2.0; trained on photographs under CC0, CC BY and CC BY-SA (docs/restore.md names the authors)"


@dataclass(frozen=True)
class ShippedRestorer:
    """What the model of that name does, and for what kind of pictures."""

    task: str
    about: str


SHIPPED = {
    "denoise": ShippedRestorer("denoise", "photographs, noise of any strength"),
    "jpeg": ShippedRestorer("jpeg", "photographs, JPEG of any quality"),
    "deblur": ShippedRestorer("deblur", "photographs, out of focus, moved or soft"),
    "inpaint": ShippedRestorer("inpaint", "scratches, writing and small things on photographs"),
    "enlarge-2": ShippedRestorer("enlarge:2", "photographs, true to the pixel"),
    "enlarge-4": ShippedRestorer("enlarge:4", "photographs, true to the pixel"),
}


def shipped_for(task: str) -> str | None:
    """The name of the model of the package that does a task; None where none does."""
    return next((name for name, one in SHIPPED.items() if one.task == task), None)
