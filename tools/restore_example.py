"""The picture of docs/restore.md: part of a photograph made small, enlarged by cubic interpolation and by a network.

    python tools/restore_example.py PHOTO LEFT,TOP,RIGHT,BOTTOM TIMES OUT.webp

``TIMES`` is by how much the part is made smaller first. The network is realesrgan-x4plus (the extra ``upscalers``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from zeuxis.api.restore import restore

GAP = 8  # pixels between the two


def main(photo: str, box: str, times: str, out: str) -> None:
    """Write the two beside each other, 4 times as large as the small one."""
    left, top, right, bottom = map(int, box.split(","))
    with Image.open(photo) as whole:
        part = whole.convert("RGB").crop((left, top, right, bottom))
    small = part.resize((part.width // int(times), part.height // int(times)), Image.Resampling.LANCZOS)
    with tempfile.TemporaryDirectory() as folder:
        small.save(Path(folder, "small.png"))
        (file,) = restore([Path(folder, "small.png")], task="enlarge:4").done
        with Image.open(file) as made:
            after = made.convert("RGB")
    before = small.resize(after.size, Image.Resampling.BICUBIC)
    page = Image.new("RGB", (2 * after.width + GAP, after.height), "white")
    page.paste(before, (0, 0))
    page.paste(after, (after.width + GAP, 0))
    page.save(out, quality=86, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
