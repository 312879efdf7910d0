"""What a generator makes of the same latents as it learns: how much that differs, and how much it still changes.

A game of two players need not end: its losses may stand still while what is made goes round and round, and change while
it does not. So the pictures themselves are looked at, at fixed shares of the budget, which is the same on any machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from zeuxis.batch import Condition
from zeuxis.game import System
from zeuxis.rng import ImageRng
from zeuxis.training.log import MADE
from zeuxis.training.precision import Precision, autocast

TIMES = 32  # in a training, at evenly spread shares of its budget
PICTURES, VALUES = 64, 2**20  # that are looked at, and numbers in them
MOST = 0.015  # of the time of training that it may take


class Watch:
    """Looks at what ``system`` itself makes, not its average, of a few latents under ``condition``."""

    def __init__(self, system: System, condition: Condition, device: str) -> None:
        self.system, self.device = system, device
        n = max(2, min(PICTURES, VALUES // math.prod(system.shape)))
        self.seeds = range(min(n, len(condition) or n))
        self.condition = condition[: len(self.seeds)].only(system.conditions).to(device)
        self.able = {"draw_latents", "decode"} <= system.can
        self.before: Tensor | None = None  # what was made the last time
        self.step, self.took = 0, 0.0

    def due(self, progress: float, seconds: float) -> bool:
        """Whether another share of the budget has passed, and there is time to look; ``seconds`` are of training."""
        step = int(progress * TIMES)
        passed, self.step = step > self.step, step
        return self.able and passed and (self.took <= MOST * seconds)

    def look(self, precision: Precision) -> Mapping[str, float]:
        """``spread`` is the deviation of what is made from its mean, a value; ``change`` how far it came since the last
        look, in spreads; ``low`` and ``high`` its range."""
        start = time.monotonic()
        try:
            with torch.no_grad(), autocast(self.device, precision):
                self.system.eval()
                latent = self.system.draw_latents(self.condition, ImageRng(self.seeds))
                made = self.system.decode(latent).float().flatten(1).cpu()  # (n, d)
        finally:
            self.system.train()
        spread = float((made - made.mean(0)).square().mean().sqrt())
        found = {"spread": spread, "low": float(made.min()), "high": float(made.max())}
        if self.before is not None:
            found["change"] = float((made - self.before).square().mean().sqrt()) / max(spread, 1e-12)
        self.before = made
        self.took += time.monotonic() - start
        return {f"{MADE}{name}": value for name, value in found.items()}
