"""How many scenes are rendered a second, labels and all: ``python benchmarks/scenes_rate.py [--threads N]``.

One row for each picture size and batch size; per second of processor time.
"""

from __future__ import annotations

import _race
import torch

from zeuxis.data.worlds.scenes import Scenes

SIZES = ((32, 32), (32, 128), (32, 512), (64, 128), (128, 32))  # pixels a side, pictures a batch


def main() -> None:
    given = _race.arguments(__doc__).parse_args()
    torch.set_num_threads(given.threads)
    rows = []
    for size, batch in SIZES:
        source, index = Scenes(size=size), torch.arange(batch)
        seconds = _race.race({_race.OURS: lambda source=source, index=index: source.batch(index)}, given.turns)
        rows.append(_race.alone(f"scenes, {size}x{size}, all labels, batch {batch}", seconds[_race.OURS], batch))
    _race.told(rows, given)


if __name__ == "__main__":
    main()
