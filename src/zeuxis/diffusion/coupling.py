"""Which noise goes with which picture of a batch: at random, or so that pairs lie near each other.

Lines between near pairs cross less, so that the flow along them is straighter and is solved in fewer steps: optimal
transport within the batch (Tong et al. 2023, arXiv:2302.00482; Pooladian et al. 2023, arXiv:2304.14772), which
"immiscible diffusion" also is (Li et al. 2024, arXiv:2406.12303). All pairs together still have each noise once, so the
noise stays normal over all pictures; over those of one class it does not.

Axes: N pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeuxis.errors import Unsupported, lookup

Coupling = Literal["independent", "ot"]


def independent(image: Tensor, noise: Tensor) -> Tensor:
    """The noise as it is."""
    return noise


def optimal_transport(image: Tensor, noise: Tensor) -> Tensor:
    """The same noise (B, C, H, W) in the order in which the sum of squared distances from the pictures is least."""
    cost = torch.cdist(image.float().flatten(1), noise.float().flatten(1)).square()  # (N, N)
    order = assignment(cost.detach().cpu().double().numpy())
    return noise[torch.from_numpy(order).to(noise.device)]


def assignment(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each row of ``cost`` (N, N) its column, (N,), each once, so that the sum is least.

    Shortest augmenting paths (Jonker & Volgenant 1987, doi:10.1007/BF02278710): N^2 steps over N numbers.
    """
    n = len(cost)
    row_price, column_price = np.zeros(n), np.zeros(n)
    row_of = np.full(n, -1)  # of each column
    for start in range(n):
        reach = np.full(n, np.inf)  # the length of the shortest path to each column so far
        before = np.full(n, -1)  # the column that it came from
        left = np.ones(n, dtype=bool)  # the columns that are not on the tree of shortest paths
        row, column, length = start, -1, 0.0
        while True:
            along = length + cost[row] - row_price[row] - column_price
            nearer = left & (along < reach)
            reach[nearer], before[nearer] = along[nearer], column
            column = int(np.where(left, reach, np.inf).argmin())
            length, left[column] = float(reach[column]), False
            if row_of[column] < 0:
                break
            row = int(row_of[column])
        done = ~left
        done[column] = False
        row_price[start] += length
        row_price[row_of[done]] += length - reach[done]
        column_price[done] -= length - reach[done]
        while column >= 0:  # turn the path over
            last = int(before[column])
            row_of[column] = start if last < 0 else row_of[last]
            column = last
    column_of = np.empty(n, dtype=np.int64)
    column_of[row_of] = np.arange(n)
    return column_of


def coupling_under(condition: str, name: Coupling) -> Callable[[Tensor, Tensor], Tensor]:
    """The coupling called ``name``, of a model that obeys ``condition``; :class:`Unsupported` where they clash."""
    found = lookup("coupling", name, COUPLINGS)
    if found is not independent and condition != "none":
        raise Unsupported(
            f"coupling '{name}' with condition '{condition}': under a condition the noise would no longer be "
            "normal, which sampling draws; set condition 'none', or coupling 'independent'"
        )
    return found


COUPLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"independent": independent, "ot": optimal_transport}
