"""How well edges that were found are those that are there: the F-measure of boundaries.

Martin, Fowlkes & Malik 2004, "Learning to detect natural image boundaries using local brightness, color, and texture
cues", IEEE TPAMI 26(5), section 3.2; the figure at the best threshold over the data set (ODS) as in Arbelaez, Maire,
Fowlkes & Malik 2011, IEEE TPAMI 33(5), section 2.3. Symbols -> code: P, R, F -> precision, recall, value

Axes: M pixels found, N pixels that are there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, pad

from zeuxis.degrade.canny import thin
from zeuxis.errors import UsageError

THRESHOLDS = 50  # evenly over (0, 1)
LEAST, SHARE = 1.5, 0.0075  # how far apart two pixels may be that match: pixels, and of the picture's diagonal


@dataclass(frozen=True)
class BoundaryScore:
    """At the threshold that is best over all pictures. Shares in [0, 1]; F = 2 P R / (P + R)."""

    value: float
    precision: float
    recall: float
    threshold: float


class Boundaries:
    """Counts of edges found, of edges there, and of those that match, at every threshold, over pictures.

    Edges that were found are thinned to ridges first, all detectors' alike. A pixel found matches one that is there
    within ``max(1.5, 0.0075 x diagonal)`` pixels, one to one, as many as can be matched at all (Hopcroft & Karp 1973);
    the authors' program matches for the least sum of distances, with a price for what stays alone.
    """

    def __init__(self) -> None:
        self.found = np.zeros(THRESHOLDS, np.int64)
        self.matched = np.zeros(THRESHOLDS, np.int64)
        self.there, self.pictures = 0, 0

    def __len__(self) -> int:
        return self.pictures

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Those that are tried."""
        return (np.arange(THRESHOLDS) + 1) / (THRESHOLDS + 1)

    def add(self, edges: Tensor, target: Tensor) -> None:
        """Count ``edges`` in [0, 1] and ``target`` {0, 1}, both ``(B, 1, H, W)``."""
        if edges.shape != target.shape or edges.ndim != 4 or edges.shape[1] != 1:
            raise UsageError(f"edges {tuple(edges.shape)} against {tuple(target.shape)}: want both (N, 1, H, W)")
        reach = max(LEAST, SHARE * math.hypot(*edges.shape[2:]))
        for strength, wanted in zip(ridges(edges).cpu().numpy()[:, 0], target.cpu().numpy()[:, 0] > 0, strict=True):
            self._add(strength, np.argwhere(wanted), reach)

    def _add(self, strength: NDArray[np.float32], there: NDArray[np.int64], reach: float) -> None:
        places = np.argwhere(strength > 0)
        height = strength[tuple(places.T)]
        order = np.argsort(-height, kind="stable")  # the strongest first: each threshold takes the first few
        places, height = places[order], height[order]
        near = _near(places, there, reach)
        counts = np.searchsorted(-height, -self.thresholds, side="right")
        matches = {count: _matches(near[:count]) for count in np.unique(counts)}
        self.found += counts
        self.matched += np.array([matches[count] for count in counts])
        self.there += len(there)
        self.pictures += 1

    def best(self) -> BoundaryScore:
        """ODS; 0 where nothing that is there was found."""
        precision, recall = self.matched / np.maximum(self.found, 1), self.matched / max(self.there, 1)
        both = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        k = int(both.argmax())
        return BoundaryScore(float(both[k]), float(precision[k]), float(recall[k]), float(self.thresholds[k]))


def ridges(edges: Tensor) -> Tensor:
    """Edges ``(B, 1, H, W)`` in [0, 1], 0 where they are no ridge: where a neighbour across has more.

    Across is where the edges, smoothed by 3x3, bend most (Hessian; Dollar & Zitnick 2015, IEEE TPAMI 37(8), section
    4.3, with four directions in place of interpolation). Of two neighbours that are alike the first counts. Lines that
    are one pixel wide, as Canny's, stay as they are.
    """
    smooth = pad(
        avg_pool2d(pad(edges.float(), (1, 1, 1, 1), mode="replicate"), 3, stride=1), (1,) * 4, mode="replicate"
    )
    xx = smooth[..., 1:-1, 2:] + smooth[..., 1:-1, :-2] - 2 * smooth[..., 1:-1, 1:-1]
    yy = smooth[..., 2:, 1:-1] + smooth[..., :-2, 1:-1] - 2 * smooth[..., 1:-1, 1:-1]
    xy = (smooth[..., 2:, 2:] + smooth[..., :-2, :-2] - smooth[..., 2:, :-2] - smooth[..., :-2, 2:]) / 4
    ridge = (xx + yy) / 2 - torch.hypot((xx - yy) / 2, xy) < 0  # the smaller eigenvalue
    across = torch.atan2(2 * xy, xx - yy) / 2 + math.pi / 2  # its axis
    blocks = -max_pool2d(-pad((edges > 0).float(), (1, 1, 1, 1)), 2, stride=1)  # 1 where four pixels are all edges
    thick = max_pool2d(blocks, 2, stride=1) > 0
    return torch.where(thick, thin(edges, across) * ridge, edges)


def _near(places: NDArray[np.int64], there: NDArray[np.int64], reach: float) -> list[list[int]]:
    """Which of ``there`` (N, 2) lie within ``reach`` of each of ``places`` (M, 2)."""
    from scipy.spatial import KDTree  # noqa: PLC0415  (half a second, for who measures something else)

    if not len(places) or not len(there):
        return [[] for _ in places]
    found: list[list[int]] = KDTree(there).query_ball_point(places, reach + 1e-6).tolist()
    return found


def _matches(near: list[list[int]]) -> int:
    """How many pairs can be made at most, none of whose sides is in two."""
    from scipy.sparse import csr_array  # noqa: PLC0415  (as above)
    from scipy.sparse.csgraph import maximum_bipartite_matching  # noqa: PLC0415  (as above)

    rows = np.repeat(np.arange(len(near)), [len(each) for each in near])
    if not len(rows):
        return 0
    columns = np.concatenate([np.asarray(each, np.int64) for each in near if each])
    graph = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(near), int(columns.max()) + 1))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
