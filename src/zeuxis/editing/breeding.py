"""Breeding pictures: favourites cross and mutate.

Secretan et al. 2008, "Picbreeder: evolving pictures collaboratively online"; in the latent space of a generator:
Bontrager et al. 2018, "Deep interactive evolution" (arXiv:1801.08230). Uniform crossover takes each number from one of
two parents; of independent normal numbers it leaves independent normal numbers. Mutation goes a part of the way
towards a latent that is drawn afresh (:func:`zeuxis.editing.paths.between`), which on the sphere keeps its length.

Axes: W numbers of a latent or a style code, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.editing.space import DecodedSpace
from zeuxis.errors import UsageError
from zeuxis.rng import Stream


def crossed(a: Tensor, b: Tensor, space: DecodedSpace, rng: Stream) -> Tensor:
    """A latent whose numbers, or whose style codes layer by layer, come from one of two parents each.

    What it was told comes from one parent whole: a class is no sum of two.
    """
    if space.layers:
        from_a = rng.uniform(space.layers, *[1] * (a.ndim - 1)) < 0.5
        return torch.where(from_a, a, b)
    from_a = rng.uniform(*a.shape) < 0.5
    if space.told:
        from_a[-space.told :] = bool(rng.uniform(1) < 0.5)
    return torch.where(from_a, a, b)


@dataclass(frozen=True)
class Parents:
    """The parents of a child, by their places among the favourites, and the seed that its crossing draws from."""

    first: int
    second: int
    seed: int


def choose_parents(favourites: int, children: int, seed: int) -> list[Parents]:
    """Who has the children of the next generation: each favourite in turn, with another at random; alone, itself."""
    if favourites < 1:
        raise UsageError("nobody was picked: give the numbers of your favourites, as --pick 2,5")
    rng = Stream(seed, "breed")
    found = []
    for k in range(children):
        first = k % favourites
        other = (first + 1 + int(rng.integers(max(1, favourites - 1), 1))) % favourites
        found.append(Parents(first, other, int(rng.integers(2**31, 1))))
    return found
