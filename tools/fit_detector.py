"""Train a shipped judge's detector of outliers: python tools/fit_detector.py NAME RUN [KEY=VALUE ...]

The network that reads is the shipped one and stays as it is, so what it reads of a picture does not change; the
detector learns as the recipe NAME says, for as many iterations. Ship the run with tools/ship.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.weights import load_system, weights_of
from zeuxis.data.bucketed import endless
from zeuxis.data.library import open_source
from zeuxis.recipe import load_recipe
from zeuxis.systems.recognition._family import OODDetector
from zeuxis.training.trainer import Trainer


def main(name: str, run: Path, changes: tuple[str, ...]) -> None:
    recipe = load_recipe(name, changes)
    source = open_source(recipe.data, recipe.size, "train")
    system, (shipped, _) = build_for(recipe, source), load_system(name)
    if not isinstance(system, OODDetector) or not system.detects:
        raise SystemExit(f"'{name}' has no detector: give its recipe model.detector")
    missing = system.load_state_dict(shipped.state_dict(), strict=False).missing_keys
    if foreign := [key for key in missing if not key.startswith("detector")]:
        raise SystemExit(f"'{name}' as shipped lacks {', '.join(foreign)}")
    system.network.requires_grad_(False)
    system.rounds_seen.zero_()  # of the thresholds' running means
    facts = {"recipe": name, "data": recipe.data, "size": recipe.size, "reference": source.fingerprint()}
    facts["started_from"] = weights_of(name)
    batches = endless(source, recipe.train.batch, recipe.train.seed, pixels=True)
    players = {player: table for player, table in recipe.players.items() if player == "detector"}
    Trainer(system, batches, recipe.train, run, players=players, facts=facts).run()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), tuple(sys.argv[3:]))
