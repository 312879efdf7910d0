"""Averages whose length is chosen after training (Karras et al. 2024, arXiv:2312.02696, Section 3 and Appendix C).

A training keeps two averages with weights that grow as a power of the iteration, and puts snapshots of both aside. Any
other average of that kind, longer or shorter, at any time, is very nearly a weighted sum of those snapshots.

Symbols -> code: sigma_rel -> length    gamma -> exponent    beta_gamma(t) -> decay    p . p -> product    X -> weights

A length is the standard deviation of an average's weights in time, as a share of the time of training: 0.1 looks back a
tenth of it or so. ``LEAST_LENGTH`` to ``MOST_LENGTH`` are those that the stored ones give well (the paper's Figure 5).

Axes: N snapshots, of both averages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree

import numpy as np
import torch
from torch import Tensor

from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.game import System
from zeuxis.training.checkpoint import numbered, read_folder, write_folder
from zeuxis.training.fit import put_back
from zeuxis.training.norms import batch_norms
from zeuxis.training.state import Tensors

STORED = (0.05, 0.10)  # lengths of the averages of which snapshots are kept
LEAST_LENGTH, MOST_LENGTH = 0.01, 0.25
FOLDER, STEM = "averages", "average"


def exponent(length: float) -> float:
    """gamma of an average of that length (Eq. 126 solved for it): the only root that is above -1."""
    t = length**-2
    roots = np.roots([1.0, 7.0, 16.0 - t, 12.0 - t])
    return float(roots[np.isreal(roots)].real.max())


def decay(gamma: float, round: int) -> float:
    """beta_gamma(t) (Eq. 127): what is left in round ``round`` (1, 2, ...) of what the average was."""
    return float((1 - 1 / round) ** (gamma + 1))


def product(at: tuple[float, float], other: tuple[float, float]) -> float:
    """The inner product (Eq. 151) of the weights in time of two averages, each (round, gamma)."""
    (t, gamma), (late, delta) = sorted((at, other))  # the first ends no later than the second
    return (gamma + 1) * (delta + 1) * (t / late) ** delta / ((gamma + delta + 1) * late)


def weights_of(stored: Sequence[tuple[int, float]], round: int, length: float) -> list[float]:
    """What each of ``stored`` snapshots (its round and length) counts in an average of ``length`` at ``round``.

    They are those of least squares between the weights in time (Algorithm 3), scaled so that their sum is 1.
    """
    have = [(float(r), exponent(own)) for r, own in stored]
    wanted = (float(round), exponent(length))
    a = np.array([[product(one, two) for two in have] for one in have])
    b = np.array([product(one, wanted) for one in have])
    found = np.linalg.solve(a, b)
    return [float(x) for x in found / found.sum()]


class PowerAverages:
    """The two averages of the trained parameters of ``system``; ``place`` is the run's folder.

    Raises :class:`Unsupported` for a system with batch norms, whose statistics belong to one set of weights.
    """

    def __init__(self, system: System, place: Path) -> None:
        if batch_norms(system):
            raise Unsupported(
                f"'{system.card.id}' has batch norms, whose statistics no average of weights has: set train.posthoc = 0"
            )
        self.folder = place / FOLDER
        self.now = {name: p for name, p in system.named_parameters() if p.requires_grad}
        self.gammas = [exponent(length) for length in STORED]
        self.averages = [{name: p.detach().float().clone() for name, p in self.now.items()} for _ in STORED]

    @torch.no_grad()
    def update(self, round: int) -> None:
        """Take in the parameters after ``round`` rounds."""
        now = [p.detach().float() for p in self.now.values()]
        for gamma, average in zip(self.gammas, self.averages, strict=True):
            torch._foreach_lerp_(list(average.values()), now, 1 - decay(gamma, round))

    def state(self) -> Tensors:
        """Both averages by number and name."""
        return {f"{k}/{name}": t for k, average in enumerate(self.averages) for name, t in average.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` returned."""
        put_back(self.state(), tensors, "the checkpoint's averages do not fit", "set train.posthoc as it was")

    def put_aside(self, round: int) -> None:
        """Write a snapshot of both after ``round`` rounds."""
        write_folder(self.folder / f"{round:08d}", self.state(), {"round": round, "lengths": list(STORED)}, STEM)

    def forget_after(self, round: int) -> None:
        """Remove snapshots of later rounds than ``round``, from which training goes on: they will be made again."""
        for path in numbered(self.folder):
            if int(path.name) > round:
                rmtree(path)


def combined(run: Path, length: float, round: int | None = None) -> tuple[Tensors, int]:
    """The trained parameters of the average of ``length`` at ``round`` (None: the last snapshot's), and that round.

    Raises:
        UsageError: the length is none that snapshots give well, or there is none of that round.
        WeightsError: a snapshot is damaged.
    """
    if not LEAST_LENGTH <= length <= MOST_LENGTH:
        raise UsageError(f"a length of {length:g}: from {LEAST_LENGTH} to {MOST_LENGTH} of the training is wanted")
    paths = numbered(run / FOLDER)
    rounds = [int(path.name) for path in paths]
    if not paths or (round is not None and round < rounds[0]):
        when = "" if round is None else f" up to iteration {round}"
        raise UsageError(f"{run} has no snapshots of averages{when}: train with --set train.posthoc=16")
    end = rounds[-1] if round is None else round
    if end not in rounds:
        raise UsageError(f"{run} has no snapshot of averages at iteration {end}: take one of {rounds}")
    paths = paths[: rounds.index(end) + 1]
    kept = [(int(path.name), length) for path in paths for length in STORED]
    sums: dict[str, Tensor] = {}
    counts = weights_of(kept, end, length)
    for number, path in enumerate(paths):
        tensors, facts = read_folder(path, STEM)
        if facts.get("lengths") != list(STORED):
            raise WeightsError(f"{path} holds averages of the lengths {facts.get('lengths')}, not {list(STORED)}")
        for key, tensor in tensors.items():
            k, _, name = key.partition("/")
            part = counts[number * len(STORED) + int(k)] * tensor.double()
            sums[name] = part if name not in sums else sums[name] + part
    return {name: t.float() for name, t in sums.items()}, end
