"""The network of Zhang, Isola and Efros 2016, "Colorful image colorization" (1603.08511): a distribution of colours for
every fourth pixel of a lightness.

As in the authors' program in PyTorch, but for its list of bins.

Axes: Q bins of colour, h and w a quarter of the picture's sides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from zeuxis.nn.lab import colour_bins, lab_to_rgb, rgb_to_lab
from zeuxis.nn.picture_network import PictureNetwork

STEP = 8  # sides are halved three times
# Of each block: channels over the first's, convolutions, the stride of the last, the dilation.
BLOCKS = ((1, 2, 2, 1), (2, 2, 2, 1), (4, 3, 2, 1), (8, 3, 1, 1), (8, 3, 1, 2), (8, 3, 1, 2), (8, 3, 1, 1))


class ColourNetwork(PictureNetwork):
    """Grey pictures ``(B, 3, H, W)`` in [0, 1] to coloured ones of the same lightness, in [0, 1].

    ``width`` is that of the first block. ``annealing`` is the temperature T at which colours are averaged (Eq. 5): 1 is
    their mean, near 0 the likeliest one.
    """

    bins: Tensor

    def __init__(self, *, width: int = 64, annealing: float = 0.38) -> None:
        super().__init__()
        self.channels, self.scale, self.annealing = 3, 1, annealing
        self.reach, self.floats, self.step = 256, 6 * width, STEP
        layers: list[nn.Module] = []
        now = 1
        for times, convs, stride, dilation in BLOCKS:
            to = times * width
            for k in range(convs):
                last = stride if k == convs - 1 else 1
                layers += [nn.Conv2d(now, to, 3, last, padding=dilation, dilation=dilation), nn.ReLU()]
                now = to
            layers.append(nn.BatchNorm2d(to))
        to = 4 * width
        layers += [nn.ConvTranspose2d(now, to, 4, stride=2, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(to, to, 3, padding=1), nn.ReLU(), nn.Conv2d(to, to, 3, padding=1), nn.ReLU()]
        bins = torch.from_numpy(colour_bins())
        self.register_buffer("bins", bins, persistent=False)  # (Q, 2)
        self.layers = nn.Sequential(*layers, nn.Conv2d(to, len(bins), 1))

    def logits(self, light: Tensor) -> Tensor:
        """Logits of colours ``(B, Q, h, w)`` of lightness ``(B, 1, H, W)`` in [0, 100]; sides are multiples of 8."""
        found: Tensor = self.layers((light - 50) / 100)
        return found

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        filled = pad(x, (0, -width % STEP, 0, -height % STEP), mode="replicate")
        light = rgb_to_lab(filled.float())[:, :1]
        share = (self.logits(light).float() / self.annealing).softmax(1)
        colour = torch.einsum("bqhw,qc->bchw", share, self.bins)  # (B, 2, h, w)
        whole = interpolate(colour, scale_factor=4, mode="bilinear", align_corners=False)
        return lab_to_rgb(torch.cat([light, whole], 1))[:, :, :height, :width]
