"""The patch critic of pix2pix (Isola et al. 2017, 1611.07004): real or fake, patch by patch.

Axes: h and w rows and columns of the map of logits.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.nn.norm import Norm, initialise_normal


class PatchCritic(nn.Module):
    """Images ``(B, C, H, W)`` to a map of logits ``(B, 1, h, w)``: C64-C128-C256-C512 and a last convolution.

    ``layers`` of stride 2 make the receptive field of a logit 16 (1), 34 (2) or 70 pixels (3, the published
    one) wide. ``norm`` is instance normalisation in CycleGAN, batch normalisation in pix2pix and VQGAN;
    the first layer has none. Channels stop doubling at 8 ``ndf``.
    """

    def __init__(self, channels: int, *, ndf: int = 64, layers: int = 3, norm: Norm = Norm.INSTANCE) -> None:
        super().__init__()
        made: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        now = ndf
        for i in range(1, layers + 1):
            to = ndf * min(2**i, 8)
            stride = 2 if i < layers else 1
            made += [nn.Conv2d(now, to, 4, stride, padding=1, bias=not norm.affine), norm(to), nn.LeakyReLU(0.2)]
            now = to
        self.layers = nn.Sequential(*made, nn.Conv2d(now, 1, 4, padding=1))
        initialise_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits
