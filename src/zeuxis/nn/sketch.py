"""What a sketch of the words is for (:class:`zeuxis.nn.text.Sketch`): shown beside the noisy picture, and regressed.

Legend: B images (B, C, H, W).

Axes: S rows and columns of a sketch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate


def shown_beside(x: Tensor, sketch: Tensor) -> Tensor:
    """Noisy pictures and their sketches (B, C, S, S), (B, 2 C, H, W).

    Detached: a sketch stays what its own loss makes it, the average picture of its caption.
    """
    return torch.cat([x, interpolate(sketch.detach().to(x.dtype), x.shape[2:], mode="bilinear")], 1)


def sketch_error(sketch: Tensor, image: Tensor, dropped: Tensor) -> Tensor:
    """How far sketches (B, C, S, S) are from their pictures, those whose caption was ``dropped`` (B,) counting 0."""
    average = adaptive_avg_pool2d(image, sketch.shape[-1])  # (B, C, S, S)
    return ((sketch.float() - average).square().flatten(1).mean(1) * ~dropped).mean()
