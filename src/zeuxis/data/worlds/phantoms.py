"""The world of phantoms: slices of heads as a magnetic resonance scanner shows them, in three contrasts at once.

Sources of examples. What a head holds is in ``head``, how it is painted in ``section``, how bright each tissue is in
``tissue``, what the scanner adds in ``scanner``. A picture of one contrast and that of another show the same slice, to
the pixel, which pictures of patients never do.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.counter import uniforms
from zeuxis.data.worlds.head import FACTORS, OWN, SLICE, head
from zeuxis.data.worlds.scanner import BIASES, grey_window, magnitude, sensitivity
from zeuxis.data.worlds.section import paint
from zeuxis.data.worlds.tissue import CONTRASTS, NUMBERS, TISSUES, signals
from zeuxis.data.worlds.world import World
from zeuxis.rng import derive_seed
from zeuxis.spec import DataSpec, Shape

SLICES = len(FACTORS["slice"])  # of each subject
PIXELS = 1 << 18  # that are painted together: a core's cache holds no more
NAMES = tuple(CONTRASTS)


class Phantoms(World):
    """T1-weighted slices (``source``) and the same T2-weighted (the image): one-to-one contrast synthesis.

    Examples 4k to 4k + 3 are the slices of subject k, from low to high; the splits share no subject. ``layout`` has
    the classes ``tissue.TISSUES``; ``factors`` are ``head.FACTORS``. Slices of every phantom world with the same index
    and split are the same.
    """

    name = "phantoms"
    natural = DataSpec(
        Shape(1, 64, 64),
        source_shape=Shape(1, 64, 64),
        layout_names=tuple(TISSUES),
        factors=tuple((name, len(values)) for name, values in FACTORS.items()),
        provides=frozenset({"source", "layout", "factors"}),
    )
    target = "T2"
    given: tuple[str, ...] = ("T1",)

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        super().__init__(size, split, length)
        self.key = derive_seed(0, "phantoms", split)
        self.subjects = derive_seed(0, "phantoms", split, "subjects")
        self.noises = {name: derive_seed(0, "phantoms", split, "noise", name) for name in CONTRASTS}

    def subject(self, index: Tensor) -> Tensor:
        """Who is shown, ``(B,)`` int64."""
        return self.checked(index) // SLICES

    def draws(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The uniform numbers of the subjects, ``(B, NUMBERS + OWN)``, and of the slices, ``(B, BIASES + SLICE)``."""
        return uniforms(self.subjects, self.subject(index), NUMBERS + OWN), uniforms(self.key, index, BIASES + SLICE)

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        images, layout, factors = self._scan(index, (self.target, *self.given), clean=False)
        return Batch(images[:, :1], Condition(source=images[:, 1:], layout=layout, factors=factors), index)

    def contrasts(self, index: Tensor) -> Tensor:
        """All of ``tissue.CONTRASTS``, ``(B, 3, H, W)`` in [-1, 1]."""
        return self._scan(index, NAMES, clean=False)[0]

    def truth(self, index: Tensor) -> Tensor:
        """The same under an even coil and without noise, ``(B, 3, H, W)``."""
        return self._scan(index, NAMES, clean=True)[0]

    def _scan(self, index: Tensor, names: tuple[str, ...], clean: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures ``(B, C, H, W)``, layouts and factors."""
        parts = self.checked(index).split(max(1, PIXELS // self.size**2))
        images, layouts, factors = zip(*(self._some(part, names, clean) for part in parts), strict=True)
        return torch.cat(images), torch.cat(layouts), torch.cat(factors)

    def _some(self, index: Tensor, names: tuple[str, ...], clean: bool) -> tuple[Tensor, Tensor, Tensor]:
        own, u = self.draws(index)
        heads = head(index % SLICES, own[:, NUMBERS:], u[:, BIASES:])
        bright = signals(own[:, :NUMBERS])[:, [NAMES.index(name) for name in names]]
        image, layout = paint(heads, bright, self.size)
        if not clean:
            image.mul_(sensitivity(u[:, :BIASES], self.size)[:, None])
        for k, name in enumerate(names):
            scanned = image[:, k] if clean else magnitude(image[:, k], self.noises[name], index)
            image[:, k] = grey_window(scanned, CONTRASTS[name])
        return image, layout, heads.factors


class JointPhantoms(Phantoms):
    """T1- and T2-weighted slices (two channels of ``source``) and the same PD-weighted (the image): many-to-one."""

    name = "phantoms-pd"
    natural = replace(Phantoms.natural, source_shape=Shape(2, 64, 64))
    target = "PD"
    given = ("T1", "T2")
