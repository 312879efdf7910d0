"""The codes of a dataset's pictures, as a source of their own that any density can learn from.

In shapes, beside the letters of `zeuxis.batch`: N pictures that were coded, Z numbers in the code of each.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.data.source import Source
from zeuxis.errors import Unsupported
from zeuxis.game import System
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec, Shape

CHUNK = 256


class Codes(Source):
    """Codes ``(N, Z)`` as pictures of Z channels and one pixel, which nothing else is known of."""

    def __init__(self, name: str, codes: Tensor) -> None:
        self.name, self.codes = name, codes
        self.spec = DataSpec(Shape(codes.shape[1], 1, 1))

    def __len__(self) -> int:
        return len(self.codes)

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.codes[index][:, :, None, None], index=index.clone())

    def fingerprint(self) -> str:
        return hashlib.sha256(self.codes.numpy().tobytes()).hexdigest()[:16]


def code_width(system: System) -> int:
    """Z, where ``system`` turns a picture into a vector of Z real numbers and back; refused where it does not."""
    name, verbs = system.card.id, system.card.verbs
    mend = "a prior is for systems that do, such as autoencoder, vae or pca"
    if not {"encode", "decode"} <= verbs:
        raise Unsupported(f"'{name}' does not code pictures and decode them ({', '.join(sorted(verbs))}): {mend}")
    if system.conditions:
        raise Unsupported(f"'{name}' is steered by {', '.join(sorted(system.conditions))}: {mend}, steered by nothing")
    with torch.inference_mode():
        latent = system.encode(torch.zeros(1, *system.shape, device=system.device))
    if system.codes is not None or latent.ndim != 2 or not latent.is_floating_point():
        kind = "real numbers" if system.codes is None else f"one of {system.codes} values each"
        size = "x".join(map(str, latent.shape[1:]))
        raise Unsupported(f"'{name}' codes a picture as {size} places of {kind}, not as a vector of numbers: {mend}")
    return int(latent.shape[1])


def codes_of(system: System, source: Source, n: int) -> Tensor:
    """The codes ``(min(n, len(source)), Z)`` of the first pictures in a fixed random order, float32 on the CPU."""
    order = Stream(0, "codes").permutation(len(source))[:n]
    with torch.inference_mode():
        found = [system.encode(source.batch(part).image.to(system.device)) for part in order.split(CHUNK)]
    return torch.cat(found).float().cpu()
