"""Kill a real training a hundred times at random moments, and resume a hundred times: python benchmarks/kills.py.

Each round starts ``zeuxis train`` on the embedded digits with a save after every round of play, kills it
(SIGKILL) after a random delay, then checks that the newest checkpoint is valid, that the run did not go
back by more than the round under way, and that its model folder loads. Prints one JSON object.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zeuxis.catalog.weights import load_system
from zeuxis.training.checkpoint import Checkpoints

COMMAND = [
    "train", "digits", "--budget", "100000r", "--set", "train.save_minutes=1e-9", "--set", "train.preview_minutes=9999",
    "--set", "model.network.width=32", "--set", "model.network.depth=1", "--set", "model.network.heads=2",
]  # fmt: skip


def main(kills: int) -> None:
    draw = random.Random(0)
    folder = Path(tempfile.mkdtemp(prefix="zeuxis-kills-"))
    run, valid, damaged, loaded, last = folder / "run", 0, 0, 0, 0
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-m", "zeuxis", *COMMAND, "--out", str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = len(list((run / "checkpoints").glob("[0-9]*"))) and Checkpoints(run / "checkpoints").paths()[-1].name
        while True:  # wait until it has got further, then some more
            assert child.poll() is None, f"the training ended by itself with {child.returncode}"
            paths = Checkpoints(run / "checkpoints").paths()
            if paths and paths[-1].name != before:
                break
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        child.send_signal(signal.SIGKILL)
        child.wait()
        found = Checkpoints(run / "checkpoints").newest()
        assert found is not None, "no valid checkpoint was left"
        _, facts, passed = found
        assert facts["round"] >= last, f"went back from round {last} to {facts['round']}"
        valid, damaged, last = valid + 1, damaged + len(passed), facts["round"]
        load_system(run)
        loaded += 1
    json.dump({"kills": kills, "valid": valid, "damaged": damaged, "models_loaded": loaded, "rounds": last}, sys.stdout)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
