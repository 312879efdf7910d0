"""Random numbers without global state: every draw in Zeuxis takes an ``Rng``.

Two kinds share one face. A :class:`Stream` is one seeded generator, for training. An
:class:`ImageRng` holds one generator per image, for sampling: image ``k`` of a call with
seed ``s`` is drawn from seed ``s + k`` alone, so it is the same picture at any batch size
and in any company, but for how sums over a batch are rounded. Both draw on the CPU and move
the result, so that a seed means the same picture on every device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

Device = torch.device | str
MAX_SEED = 2**63 - 1
GENERATOR_SEEDS = 2**32  # torch's CPU generator reads no more of a seed than its low 32 bits


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed for the stream called ``names`` under ``seed``: stable across machines and versions."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") & MAX_SEED


def generator(seed: int) -> torch.Generator:
    """A CPU generator seeded with ``seed`` (taken modulo 2**63, so that ``s + k`` never overflows)."""
    return torch.Generator().manual_seed(seed & MAX_SEED)


# Type and device are said, for a program may have set others by default: then a seed would be another picture.


def _empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="cpu")


class Rng(Protocol):
    """What a method may draw. Shapes begin with the batch axis B."""

    def normal(self, *shape: int, device: Device = "cpu") -> Tensor:
        """Standard normal, float32, of ``shape``."""
        ...

    def uniform(self, *shape: int, device: Device = "cpu") -> Tensor:
        """Uniform in [0, 1), float32, of ``shape``."""
        ...

    def integers(self, high: int, *shape: int, device: Device = "cpu") -> Tensor:
        """Uniform integers in [0, high), int64, of ``shape``."""
        ...

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts of the expectations ``rate`` (B, ...), in its dtype and on its device."""
        ...

    def each(self, n: int) -> list[Stream]:
        """One stream for each of ``n`` images, for what is drawn image by image."""
        ...


class Stream:
    """One seeded generator; its state can be saved and restored exactly."""

    def __init__(self, seed: int, *names: str | int) -> None:
        self.generator = generator(derive_seed(seed, *names) if names else seed)

    def normal(self, *shape: int, device: Device = "cpu") -> Tensor:
        return _empty(shape).normal_(generator=self.generator).to(device)

    def uniform(self, *shape: int, device: Device = "cpu") -> Tensor:
        return _empty(shape).uniform_(generator=self.generator).to(device)

    def integers(self, high: int, *shape: int, device: Device = "cpu") -> Tensor:
        return _empty(shape, torch.int64).random_(high, generator=self.generator).to(device)

    def poisson(self, rate: Tensor) -> Tensor:
        return torch.poisson(rate.cpu(), self.generator).to(rate.device)

    def each(self, n: int) -> list[Stream]:
        return [Stream(seed) for seed in self.integers(MAX_SEED, n).tolist()]

    def permutation(self, n: int) -> Tensor:
        """A random order of 0..n-1, int64 ``(n,)``."""
        return torch.randperm(n, generator=self.generator, device="cpu")

    def state(self) -> Tensor:
        """The generator's state as a uint8 tensor, for a checkpoint."""
        return self.generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Put back what :meth:`state` returned."""
        self.generator.set_state(state.cpu())


class ImageRng:
    """One generator per image: row ``k`` of every draw comes from ``seeds[k]`` alone.

    Any integer is a seed, and different ones give different pictures.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)
        self.generators = [generator(s if 0 <= s < GENERATOR_SEEDS else derive_seed(s)) for s in self.seeds]

    @classmethod
    def counting(cls, seed: int, n: int) -> ImageRng:
        """The ``n`` generators seeded ``seed, seed + 1, ...``: the call that a user makes."""
        return cls(range(seed, seed + n))

    def __len__(self) -> int:
        return len(self.generators)

    def _rows(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """What is to be drawn, row by row: half the time of tensors of their own, where rows are small."""
        if not shape or shape[0] != len(self):
            raise ValueError(f"drawing {shape} from {len(self)} image generators: axis 0 must count the images")
        return _empty(shape, dtype)

    def normal(self, *shape: int, device: Device = "cpu") -> Tensor:
        found = self._rows(shape)
        for row, g in zip(found.unbind(), self.generators, strict=True):
            row.normal_(generator=g)
        return found.to(device)

    def uniform(self, *shape: int, device: Device = "cpu") -> Tensor:
        found = self._rows(shape)
        for row, g in zip(found.unbind(), self.generators, strict=True):
            row.uniform_(generator=g)
        return found.to(device)

    def integers(self, high: int, *shape: int, device: Device = "cpu") -> Tensor:
        found = self._rows(shape, torch.int64)
        for row, g in zip(found.unbind(), self.generators, strict=True):
            row.random_(high, generator=g)
        return found.to(device)

    def poisson(self, rate: Tensor) -> Tensor:
        self._rows(tuple(rate.shape))
        rows = [torch.poisson(row, g) for row, g in zip(rate.cpu(), self.generators, strict=True)]
        return torch.stack(rows).to(rate.device)

    def each(self, n: int) -> list[Stream]:
        self._rows((n,))
        return [Stream(int(seed)) for seed in self.integers(MAX_SEED, n)]


def normal_like(x: Tensor, rng: Rng) -> Tensor:
    """Standard normal noise of ``x``'s shape, device and dtype."""
    return rng.normal(*x.shape, device=x.device).to(x.dtype)
