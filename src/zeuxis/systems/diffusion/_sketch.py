"""A caption's sketch beside what a network denoises: what it is trained on, and how the network is shown it.

:class:`zeuxis.nn.text.Sketch` draws it from the words alone. It is in no paper: where things go is decided at noise
levels at which a picture holds almost nothing, so a short training hardly learns it there; the sketch learns it at
every level.

Axes: S rows and columns of a sketch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from zeuxis.diffusion.weighting import squared_error
from zeuxis.nn.conditioner import Conditioning


def sketch_error(sketch: Tensor, image: Tensor, dropped: Tensor) -> Tensor:
    """The squared error of sketches ``(B, C, S, S)`` of ``image`` (B, C, H, W) averaged to S x S.

    It is 0 where ``dropped`` (B,) bool.
    """
    return (squared_error(sketch, adaptive_avg_pool2d(image, sketch.shape[-1])) * ~dropped).mean()


def shown_with_sketch(x: Tensor, conditioning: Conditioning) -> tuple[Tensor, Conditioning]:
    """``x`` (B, C, H, W) with the conditioning's sketch beside it, (B, 2 C, H, W), and the rest of the conditioning.

    The sketch is detached: it stays what its own loss makes it, the average picture of its caption. Without one, both
    come back as they are.
    """
    if "sketch" not in conditioning:
        return x, conditioning
    rest = {name: value for name, value in conditioning.items() if name != "sketch"}
    sketch = conditioning["sketch"].detach().to(x.dtype)
    return torch.cat([x, interpolate(sketch, x.shape[2:], mode="bilinear")], 1), rest
