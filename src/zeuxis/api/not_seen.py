"""What of a picture's file no model is shown, in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from zeuxis.api.restore_picture import several_notes
from zeuxis.api.still import WHITE
from zeuxis.data.bit_depth import brightest, dark_notes
from zeuxis.data.picture import FORMATS, read_kept, transparent


def not_seen(source: Path, done: str, become: str) -> list[str]:
    """A note for each thing of a picture that is not ``done`` (translated, ...) with it: all but the first of several
    pictures, and transparency, of which ``become`` says what came. Also where one of 16 bits seems to hold fewer."""
    kept = read_kept(source)
    with Image.open(source, formats=FORMATS) as file:
        notes = [*several_notes(file, done), *dark_notes(brightest(kept, source), done)]
    if transparent(kept) and np.asarray(kept.convert("RGBA").getchannel("A")).min() < WHITE:
        notes.append(f"what is transparent in it was white to the model, and {become}")
    return [f"{source}: {note}" for note in notes]
