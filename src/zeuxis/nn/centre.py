"""What a denoiser's network sees in a picture: its middle layer, read while it runs.

Xiang et al. 2023, "Denoising diffusion autoencoders are unified self-supervised learners" (arXiv:2303.09769).

Axes: N tokens, D numbers of one of them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.watched import watched


def centre_features(network: Backbone, run: Callable[[], Tensor]) -> Tensor:
    """The mean over places of the layer :attr:`Backbone.centre` ``(B, D)``, while ``run`` calls ``network`` once."""
    with watched(network.centre) as made:
        run()
    (middle,) = made  # (B, C, h, w) of a convolution, (B, N, D) of a transformer
    return middle.flatten(2).mean(2) if middle.ndim == 4 else middle.mean(1)
