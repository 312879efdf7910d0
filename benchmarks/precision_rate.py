"""A training step in float32 beside the same step in bfloat16: what ``train.precision = "auto"`` rests on.

    python benchmarks/precision_rate.py [--turns 8] [--threads 1] [--recipes dcgan,vae,ddpm]

A round of the real trainer over each recipe's own network and batch, of noise in place of pictures. A ratio above 1
says that float32 is as many times as fast: ``zeuxis.training.processor`` chooses bfloat16 only for the instructions
with which the ratio is below 1.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import _race
import torch

from zeuxis.api.machine import kind
from zeuxis.api.parameters import spec_of
from zeuxis.catalog.build import build
from zeuxis.recipe import load_recipe

RECIPES = "dcgan,vae,ddpm"


def main() -> None:
    parser = _race.arguments(__doc__, turns=8)
    parser.add_argument("--recipes", default=RECIPES)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.recipes.split(","):
            recipe = load_recipe(name)
            spec = spec_of(recipe)
            image = torch.rand(recipe.train.batch, *spec.shape) * 2 - 1
            steps = {
                name_of: _race.trainer_step(
                    build(recipe.system, spec, recipe.model), image, name, Path(folder) / name / precision, precision
                )
                for name_of, precision in ((_race.OURS, "float32"), ("bfloat16", "bfloat16"))
            }
            what = f"{name}'s step in float32, {kind()}"
            rows += _race.compared(what, _race.race(steps, given.turns, warm=1), len(image))
    _race.told(rows, given)


if __name__ == "__main__":
    main()
