"""Train and measure a shipped judge's detector of outliers: python tools/fit_detector.py NAME RUN [KEY=VALUE ...]

The network that reads is the shipped one and stays as it is, so what it reads of a picture does not change; the
detector learns as the recipe NAME says. The claim's figures are measured anew and written into the result of NAME, with
what the detector took beside what the network took. Ship the run with tools/ship.py.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from zeuxis.api.evaluate import default_metrics
from zeuxis.api.model import Model, load
from zeuxis.api.reproduce import claim_of, measured
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.listing import RESULTS
from zeuxis.catalog.weights import load_system, weights_of
from zeuxis.data.bucketed import endless
from zeuxis.data.library import open_source
from zeuxis.data.source import Source
from zeuxis.nn.augment import augmented
from zeuxis.provenance.record import write_whole
from zeuxis.recipe import Recipe, load_recipe
from zeuxis.rng import Stream
from zeuxis.systems.recognition._family import OODDetector
from zeuxis.training.trainer import Trainer

CALIBRATED = 2048  # pictures, the last of the training split


def train(recipe: Recipe, run: Path) -> None:
    """Train the detector in ``run``, or go on with it; nothing is left to do where that is finished."""
    source = open_source(recipe.data, recipe.size, "train")
    system, (shipped, _) = build_for(recipe, source), load_system(recipe.name)
    if not isinstance(system, OODDetector) or not system.detects:
        raise SystemExit(f"'{recipe.name}' has no detector: give its recipe model.detector")
    read = {key: value for key, value in shipped.state_dict().items() if not key.startswith("detector")}
    unknown = system.load_state_dict(read, strict=False).missing_keys
    if foreign := [key for key in unknown if not key.startswith("detector")]:
        raise SystemExit(f"'{recipe.name}' as shipped lacks {', '.join(foreign)}")
    system.network.requires_grad_(False)
    system.rounds_seen.zero_()  # of the thresholds' running means
    facts = {"recipe": recipe.name, "data": recipe.data, "size": recipe.size, "reference": source.fingerprint()}
    facts["started_from"] = weights_of(recipe.name)
    batches = endless(source, recipe.train.batch, recipe.train.seed, pixels=True)
    players = {player: table for player, table in recipe.players.items() if player == "detector"}
    trainer = Trainer(system, batches, recipe.train, run, players=players, facts=facts)
    trainer.run()
    best = trainer.best.eval()
    assert isinstance(best, OODDetector)
    calibrate(best, source)
    trainer.save()


def calibrate(system: OODDetector, source: Source) -> None:
    """Set both thresholds so that a share ``coverage`` of training pictures, plain or augmented, lies below both.

    In training they follow the network as it learns; what ships is its average.
    """
    rng, scores = Stream(0, "calibrate"), []
    for index in torch.arange(len(source) - CALIBRATED, len(source)).split(128):
        image = source.batch(index).image
        changed = augmented(image, rng, system.color_jitter, system.gaussian_noise)
        image = torch.where(rng.integers(2, len(image), 1, 1, 1).bool(), changed, image)
        with torch.inference_mode():
            scores.append(torch.stack([system.ood_score(image).float(), system.detector_score(image)], 1))
    limit = torch.cat(scores).quantile(1 - (1 - system.coverage) / 2, dim=0)
    system.ood_threshold.copy_(limit[0])
    system.detector_threshold.copy_(limit[1])


def write_result(recipe: Recipe, model: Model, folder: Path = RESULTS) -> None:
    """Put the figures of ``model`` in the place of those in the result of the network that it was begun from."""
    path = folder / f"{recipe.name}.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    (run,) = result["per_seed"]
    start = time.monotonic()
    found = measured(model, recipe, claim_of(recipe), lambda message, fraction: None, default_metrics(model))
    card = model.card
    run |= {"value": found["value"], "figures": found["figures"], "weights_sha256": model.weights_sha256}
    run |= {"measure_seconds": round(time.monotonic() - start, 1)}
    run["detector"] = {key: card[key] for key in ("started_from", "round", "images", "seconds")}
    result |= {"value": found["value"], "weights_sha256": model.weights_sha256}
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    chosen, place = load_recipe(sys.argv[1], tuple(sys.argv[3:])), Path(sys.argv[2])
    train(chosen, place)
    write_result(chosen, load(place))
