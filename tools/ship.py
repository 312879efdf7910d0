"""Put a run's model into the package in half precision: python tools/ship.py RUN NAME.

The card keeps the hash of the run's weights as ``shipped_from``, and the result that names them the shipped ones'.
Refuses where half precision changes the output: it compares the model's outputs with both.
"""

from __future__ import annotations

import json
import sys

import torch
from torch import Tensor

from zeuxis.catalog.listing import RESULTS, WEIGHTS
from zeuxis.catalog.weights import load_system, locate, shipped
from zeuxis.game import System
from zeuxis.provenance.record import write_whole
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import read_folder, write_folder

MOST_HALF = 6e4  # float16 ends at 65,504


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """float32 tensors as float16, unless a value would overflow."""
    return {k: t.half() if t.dtype == torch.float32 and t.abs().max() < MOST_HALF else t for k, t in tensors.items()}


def most_moved(before: System, after: System) -> float | None:
    """The largest difference of a class probability or a pair's score; None for systems without such outputs."""
    image, other = (Stream(0, which).uniform(256, *before.shape) * 2 - 1 for which in ("image", "other"))
    worst = []
    with torch.inference_mode():
        if "classify" in before.card.verbs:
            pairs = zip(before.classify(image), after.classify(image), strict=True)
            worst += [(a.softmax(1) - b.softmax(1)).abs().max() for a, b in pairs]
        if "segment" in before.card.verbs:
            worst.append((before.segment(image).softmax(1) - after.segment(image).softmax(1)).abs().max())
        if "verify" in before.card.verbs:
            worst.append((before.verify(image, other) - after.verify(image, other)).abs().max())
    return max(map(float, worst), default=None)


def paths_in(config: object) -> list[str]:
    """The folders, rather than shipped names, at which a card says that given systems are kept."""
    if isinstance(config, list):
        return [path for value in config for path in paths_in(value)]
    if not isinstance(config, dict):
        return []
    if "given" in config and isinstance(config["given"], dict):
        return [] if config["given"]["model"] in shipped() else [config["given"]["model"]]
    return [path for value in config.values() for path in paths_in(value)]


def link(name: str, measured: str) -> None:
    """Write into the result of weights ``measured`` that they ship, and their hash as they do."""
    path = RESULTS / f"{name}.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"per_seed": []}
    seeds = {run["weights_sha256"]: run["seed"] for run in result["per_seed"] if "weights_sha256" in run}
    if measured not in seeds:
        sys.stderr.write(f"note: no result of '{name}' names these weights: zeuxis reproduce {name}\n")
        return
    sha = json.loads((WEIGHTS / name / "model.json").read_text(encoding="utf-8"))["sha256"]
    result["shipped"] = {"name": name, "sha256": sha, "seed": seeds[measured]}
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())


def main(run: str, name: str) -> None:
    tensors, card = read_folder(locate(run), "model")
    if paths := paths_in(card["config"]):
        raise SystemExit(f"{run} was trained upon {paths[0]}, which does not ship: ship that, and train upon its name")
    facts = {k: v for k, v in card.items() if k != "sha256"} | {"shipped_from": card["sha256"]}
    write_folder(WEIGHTS / name, halved(tensors), facts, "model")
    link(name, card["sha256"])
    before, _ = load_system(run)
    after, _ = load_system(WEIGHTS / name)
    worst = most_moved(before, after)
    if worst is not None:
        if worst > 0.05:
            raise SystemExit(f"half precision moves a reading by {worst:.3f}: ship '{name}' in full precision")
        sys.stderr.write(f"largest change of a reading: {worst:.4f}\n")
    size = sum(p.stat().st_size for p in (WEIGHTS / name).iterdir())
    sys.stderr.write(f"{name}: {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
