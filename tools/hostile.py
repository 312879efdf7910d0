"""Try the commands on hundreds of hostile files, made by code, and count what held.

    python tools/hostile.py [--records 300] [--cards 100] [--recipes 100] [--weights 100] [--pictures 300]
        [--shards 100] [--seed 0]

Prints a line for each kind (tried, held) and one for each fault; the exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

COUNTS = {"records": 300, "cards": 100, "recipes": 100, "weights": 100, "pictures": 300, "shards": 100}


def tried() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for kind, count in COUNTS.items():
        asked.add_argument(f"--{kind}", type=int, default=count)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        home = Path(folder)
        os.environ["ZEUXIS_CACHE"] = str(home / "cache")
        os.environ.pop("ZEUXIS_DATA", None)  # so that data which are named would have to be fetched
        from strangers import KINDS, attempts, base_model  # noqa: PLC0415  (torch; after the environment is set)

        models = base_model(home / "models")
        counts = {kind: getattr(given, kind if kind in COUNTS else f"{kind}s") for kind in KINDS}
        for kind in KINDS:
            held, start = 0, time.monotonic()
            for number, trial in enumerate(attempts(kind, counts[kind], given.seed, models)):
                place = home / f"{kind}-{number}"
                place.mkdir()
                faults = trial.run(place)
                held += not faults
                for fault in faults:
                    sys.stdout.write(f"  {kind} {number} ({trial.name}): {fault!a}\n")
                    sys.stdout.flush()
            bad += counts[kind] - held
            sys.stdout.write(f"{kind}: {counts[kind]} tried, {held} held, {time.monotonic() - start:.0f} s\n")
            sys.stdout.flush()
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(tried())
