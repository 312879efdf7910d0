"""Linear probes of a model's codes, beside raw pixels and beside an untrained network of the same shape."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from zeuxis.api.collectors import Chunk
from zeuxis.api.model import Model
from zeuxis.api.reference import Reference
from zeuxis.batch import Condition
from zeuxis.catalog.build import build
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.metrics.probe import LEAST_TRAINING, Probe, probe
from zeuxis.rng import ImageRng, Stream, derive_seed

TRAINING, CHUNK = 5_000, 256  # training pictures at most, and held at a time
SIDE = 32  # pixels of a larger picture are averaged to so many a side
MOST = 20_000  # numbers of a code: a linear classifier over more takes hours


class Probes:
    """Codes of the model, of an untrained one and pixels, in the order of the held-out pictures."""

    def __init__(self, model: Model, reference: Reference, seed: int, how: Sampling) -> None:
        self.model, self.reference, self.how, self.device = model, reference, how, model.device
        self.factors = tuple(name for name, _ in reference.held_out.spec.factors)
        if not self.factors and not reference.held_out.spec.classes:
            raise Unsupported(f"'{reference.held_out.name}' has neither labels nor factors: a probe needs some")
        if not model.verbs & {"encode", "inner_features"}:
            raise Unsupported(f"'{model.name}' has no codes and no features ({', '.join(sorted(model.verbs))})")
        if len(reference.training) < LEAST_TRAINING:
            raise UsageError(
                f"'{reference.training.name}' has {len(reference.training)} training pictures: a linear probe needs "
                f"{LEAST_TRAINING}"
            )
        self.seed = seed
        self.systems = {"linear_probe": model.system}
        untrained = untrained_like(model.system, seed)
        if untrained is not None:
            self.systems["linear_probe_untrained"] = untrained.to(model.device).eval()
        self.codes: dict[str, list[Tensor]] = {name: [] for name in (*self.systems, "linear_probe_pixels")}
        self.target: list[Tensor] = []

    def add(self, chunk: Chunk) -> None:
        self._keep(self.codes, self.target, chunk.real.image, chunk.real.condition, "held-out")

    def evidence(self) -> dict[str, Any]:
        codes: dict[str, list[Tensor]] = {name: [] for name in self.codes}
        known: list[Tensor] = []
        source = self.reference.training
        order = Stream(0, "probe").permutation(len(source))[:TRAINING]
        for rows in order.split(CHUNK):
            batch = source.batch(rows).to(self.device)
            self._keep(codes, known, batch.image, batch.condition, "training")
        names, target = self.factors or ("label",), torch.cat(self.target)
        return {
            name: probe(torch.cat(codes[name]), torch.cat(known), torch.cat(self.codes[name]), target, names)
            for name in self.codes
        }

    def _keep(
        self, codes: dict[str, list[Tensor]], values: list[Tensor], image: Tensor, condition: Condition, part: str
    ) -> None:
        done = sum(map(len, values))
        seeds = [derive_seed(self.seed, "probe", part, k) for k in range(done, done + len(image))]
        for name, system in self.systems.items():
            rng = ImageRng(seeds)
            with self.model.computing():
                codes[name].append(code_of(system, image, rng, self.how).cpu())
        codes["linear_probe_pixels"].append(pixels(image).cpu())
        given = condition.factors if self.factors else condition.label
        if given is None:
            raise Unsupported(f"'{self.reference.held_out.name}' has neither labels nor factors: a probe needs some")
        values.append((given if given.ndim == 2 else given[:, None]).cpu())


def code_of(system: System, image: Tensor, rng: ImageRng, how: Sampling) -> Tensor:
    """The code of pictures ``(B, C, H, W)`` as numbers ``(B, D)``: their features, or what they are encoded to.

    Discrete codes are spread out, one number for each value of each place. Raises :class:`UsageError` for a code of
    more than :data:`MOST` numbers.
    """
    with torch.inference_mode():
        if "inner_features" in system.can:
            return _bounded(system, system.inner_features(image, rng, how))
        code = system.encode(image)
        if system.codes is not None:
            code = one_hot(code.flatten(1), system.codes)
        return _bounded(system, code)


def _bounded(system: System, code: Tensor) -> Tensor:
    flat = code.flatten(1).float()
    if flat.shape[1] > MOST:
        raise UsageError(
            f"'{system.card.id}' makes {flat.shape[1]:,} numbers of a picture: a linear probe takes {MOST:,} at most"
        )
    return flat


def pixels(image: Tensor) -> Tensor:
    """Pixels ``(B, D)`` of pictures ``(B, C, H, W)``, averaged to :data:`SIDE` a side where there are more."""
    height, width = (min(SIDE, side) for side in image.shape[2:])
    return adaptive_avg_pool2d(image, (height, width)).flatten(1).float()


def untrained_like(system: System, seed: int) -> System | None:
    """A freshly initialised system of the same shape, with other numbers; None of one that is learnt in closed form."""
    if not system.players():
        return None
    facts = system.spec.facts()
    model = {key: value for key, value in system.config.items() if key not in facts}
    return build(system.card.id, system.spec, model, derive_seed(seed, "untrained"))


__all__ = ["Probe", "Probes", "code_of", "pixels", "untrained_like"]
