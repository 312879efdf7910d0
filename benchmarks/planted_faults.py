"""What ``zeuxis diagnose`` finds of planted faults, and that it claims none of healthy runs.

Run as ``python benchmarks/planted_faults.py [--out FOLDER] [--only NAME]``. Each line trains for seconds, on points or
on pictures of 8 pixels a side, with one setting that provokes a failure, or one that cures it; what is found is
compared with what was planted. Trainings that are in the folder already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zeuxis.api.diagnose import diagnose
from zeuxis.api.functions import train
from zeuxis.data.library import Data, data_of, open_source
from zeuxis.errors import TrainingStopped

Settings = Mapping[str, Any]
POINTS: Settings = {"train.preview_minutes": 60, "train.save_minutes": 60}
SMALL: Settings = {**POINTS, "model.width": 8, "model.nz": 16, "data": "digits", "size": 8, "train.ema": 0.99}
VAE: Settings = {**POINTS, "model.widths": [16, 32], "model.hidden": 64, "model.latent": 8, "data": "digits", "size": 8}


def both(**changes: Any) -> dict[str, Any]:
    """The same for both players of the game of 2014."""
    return {f"players.{name}.{key}": value for name in ("generator", "discriminator") for key, value in changes.items()}


def divided() -> Data:
    """Digits that were divided by 255 before they were kept as bytes."""
    image = open_source("digits", 8).batch(torch.arange(1000)).image
    return data_of(((image[:, 0] + 1) / 2).round().numpy().astype(np.uint8))


def few() -> Data:
    """As many digits as can be learnt by heart."""
    image = open_source("digits", 8).batch(torch.arange(15)).image
    return data_of(((image[:, 0] + 1) * 127.5).numpy().astype(np.uint8))


@dataclass(frozen=True)
class Plant:
    """A training: what is planted in it (None: nothing), and what mends it, in settings."""

    name: str
    fault: str | None
    recipe: str
    iterations: int | None
    settings: Settings = field(default_factory=dict)
    data: Callable[[], Data] | None = None
    cure: str = ""  # the healthy plant that shows it mended: the same recipe, or of games the one that ends well


PLANTS = (
    # On eight centres and on 25, the generator runs ahead of a critic that hardly learns.
    Plant("ring, generator too quick", "mode collapse", "gan-ring", 800,
          {**POINTS, "players.generator.lr": 5e-3, "players.generator.betas": [0.9, 0.999],
           "players.discriminator.lr": 2e-4}, cure="ring"),
    Plant("grid, generator too quick", "mode collapse", "gan-grid", 800,
          {**POINTS, "players.generator.lr": 5e-3, "players.generator.betas": [0.9, 0.999],
           "players.discriminator.lr": 2e-4}, cure="ring"),
    Plant("digits, a critic that does not learn", "mode collapse", "ns-gan", 500,
          {**SMALL, "players.critic.lr": 1e-7}, cure="ring"),
    # The game as first written is flat where the generator loses.
    Plant("ring, saturating, critic far ahead", "vanishing gradients", "gan-ring", 600,
          {**POINTS, "model.loss": "saturating", "model.critic_steps": 5, "players.discriminator.lr": 5e-3,
           "players.generator.lr": 1e-5}, cure="ring"),
    Plant("digits, minimax, critic far ahead", "vanishing gradients", "mm-gan", 500,
          {**SMALL, "model.critic_steps": 5, "players.critic.lr": 2e-3, "players.generator.lr": 1e-5},
          cure="ring"),
    # A critic without bounds, and two players that chase each other.
    Plant("digits, wgan without a bound", "non-convergence", "wgan", 500,
          {**SMALL, "players.critic.bound": 1e9, "players.critic.lr": 2e-3}, cure="ring"),
    Plant("ring, momentum", "non-convergence", "gan-ring", 1000,
          {**POINTS, **both(lr=3e-3, betas=[0.9, 0.9])}, cure="ring"),
    Plant("digits, gan", "non-convergence", "gan-ring", 2000, {**POINTS, **both(lr=5e-4), "data": "digits", "size": 8,
          "train.batch": 64}, cure="ring"),
    Plant("12 digits, flow matching", "memorising", "digits", 1200, {**POINTS, "model.condition": "none"}, few,
          cure="digits, flow matching"),
    Plant("digits over 255", "wrong value range", "vae", 200, {k: v for k, v in VAE.items() if k != "data"},
          divided, cure="digits, vae"),
    Plant("digits, an average too long", "an average that was never used", "ns-gan", 300,
          {**SMALL, "train.ema": 0.9999, "train.ema_warmup": False}, cure="ring"),
    Plant("digits, vae, rate too high", "too high a rate", "vae", 300,
          {**VAE, "players.autoencoder.lr": 1.0}, cure="digits, vae"),
    # Healthy ones.
    Plant("ring", None, "gan-ring-r1", 2500, POINTS),
    Plant("digits, vae", None, "vae", 800, VAE),
    Plant("digits, pca", None, "pca", None, {"data": "digits", "size": 8, "model.components": 16}),
    Plant("digits, mixture", None, "mixture-digits", None, {}),
    Plant("digits, flow matching", None, "digits", 300, POINTS),
)  # fmt: skip


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--out", type=Path, default=None)
    given.add_argument("--only", default="")
    arguments = given.parse_args()
    with tempfile.TemporaryDirectory(prefix="zeuxis-") as scratch:
        folder = arguments.out or Path(scratch)
        lines = [line(plant, folder) for plant in PLANTS if arguments.only in plant.name]
    planted = [right for plant_fault, right in lines if plant_fault]
    healthy = [right for plant_fault, right in lines if not plant_fault]
    print(f"found {sum(planted)} of {len(planted)} planted faults; nothing claimed of {sum(healthy)} of {len(healthy)}")


def line(plant: Plant, folder: Path) -> tuple[bool, bool]:
    """Train and diagnose one; prints what was found. Returns whether something was planted, and whether it is right."""
    out = folder / plant.name.replace(" ", "-").replace(",", "")
    with suppress(TrainingStopped):  # it is one of the faults
        train(
            plant.recipe, None if plant.data is None else plant.data(), iterations=plant.iterations, out=out,
            settings=dict(plant.settings), quiet=True,
        )  # fmt: skip
    found = diagnose(out, data=None if plant.data is None else plant.data())
    names = [finding.name for finding in found.findings]
    right = plant.fault in names if plant.fault else not names
    said = f"planted {plant.fault or 'nothing'}, found {', '.join(names) or 'nothing'}"
    print(f"{'ok ' if right else 'NO '} {plant.name}: {said}")
    for finding in found.findings:
        print(f"      {finding.name}: {finding.evidence}")
    print("      " + json.dumps({k: float(f"{v:.3g}") for k, v in found.figures.items()}), flush=True)
    return plant.fault is not None, right


if __name__ == "__main__":
    main()
