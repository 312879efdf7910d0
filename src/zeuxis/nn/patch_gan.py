"""The patch critic of pix2pix (Isola et al. 2017, 1611.07004): real or fake, patch by patch.

Axes: h and w rows and columns of the map of logits; C_l, h_l and w_l channels, rows and columns after layer l.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError, must_be_within
from zeuxis.nn.norm import Norm, initialise_normal
from zeuxis.nn.spectral import SpectralConv2dUV

PATCHES = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
"""Strided layers by how many pixels a side a logit sees: the paper's are 1, 16, 70 and 286, the whole picture."""
SLOPE = 0.2  # of leaky ReLUs below 0


class PatchCritic(nn.Module):
    """Images ``(B, C, H, W)`` to a map of logits ``(B, 1, h, w)``: C64-C128-C256-C512 and a last convolution.

    ``layers`` of stride 2 make the receptive field of a logit 16 (1), 34 (2) or 70 pixels (3, the published
    one) wide, as :data:`PATCHES` has it. ``norm`` is instance normalisation in CycleGAN, batch normalisation in
    pix2pix and VQGAN; the first layer has none. Channels stop doubling at 8 ``ndf``. pix2pixHD and SPADE pad by 2
    where pix2pix pads by 1; SPADE's inner layers have spectral norm as well, and no biases.
    """

    def __init__(
        self,
        channels: int,
        *,
        ndf: int = 64,
        layers: int = 3,
        norm: Norm = Norm.INSTANCE,
        padding: int = 1,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        made: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, stride=2, padding=padding), nn.LeakyReLU(SLOPE)]
        now, bias, convolution = ndf, not (norm.affine or spectral), SpectralConv2dUV if spectral else nn.Conv2d
        for i in range(1, layers + 1):
            to = ndf * min(2**i, 8)
            stride = 2 if i < layers else 1
            made += [convolution(now, to, 4, stride=stride, padding=padding, bias=bias), norm(to), nn.LeakyReLU(SLOPE)]
            now = to
        self.layers = nn.Sequential(*made, nn.Conv2d(now, 1, 4, padding=padding))
        initialise_normal(self)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each layer makes of the images, ``(B, C_l, h_l, w_l)``, the logits last."""
        found = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return [*found, x]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


class PixelCritic(nn.Module):
    """The 1x1 patch: images to a logit for every pixel ``(B, 1, H, W)``, C64-C128 of 1x1 convolutions (6.1.2)."""

    def __init__(self, channels: int, *, ndf: int = 64, norm: Norm = Norm.INSTANCE) -> None:
        super().__init__()
        bias = not norm.affine
        self.layers = nn.Sequential(
            nn.Conv2d(channels, ndf, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias),
            norm(2 * ndf),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias),
        )
        initialise_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def patch_critic(channels: int, patch: int, *, ndf: int = 64, norm: Norm = Norm.INSTANCE) -> PatchCritic | PixelCritic:
    """The critic each of whose logits sees ``patch`` pixels a side, one of :data:`PATCHES`."""
    layers = PATCHES[patch]
    if not layers:
        return PixelCritic(channels, ndf=ndf, norm=norm)
    return PatchCritic(channels, ndf=ndf, layers=layers, norm=norm)


def map_side(side: int, layers: int, padding: int = 1) -> int:
    """How many logits a row a :class:`PatchCritic` gives of pictures of ``side`` pixels; below 1 where none fits."""
    for _ in range(layers):
        side = (side + 2 * padding - 4) // 2 + 1
    return side + 2 * (2 * padding - 3)


def must_fit_patches(shape: Shape, layers: int) -> None:
    """Raise :class:`UsageError` unless a :class:`PatchCritic` of so many ``layers`` has a logit for such pictures."""
    must_be_within(1, layers=layers)
    side = min(shape.height, shape.width)
    if map_side(side, layers) < 1:
        able = [str(fewer) for fewer in range(1, layers) if map_side(side, fewer) > 0]
        mend = f"set layers to {' or '.join(able)}" if able else "set size to 8 or more"
        pictures = f"pictures of {shape.width}x{shape.height} pixels"
        raise UsageError(f"a critic of {layers} strided layers has no logit of {pictures}: {mend}")


def halved(x: Tensor) -> Tensor:
    """Pictures of half the side, as the critics of pix2pixHD and SPADE see them: means of 3x3 around every second."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


class MultiScaleCritic(nn.Module):
    """Like critics of the picture, of its half, of its quarter, ... (Wang et al. 2018, 1711.11585, section 3.2)."""

    def __init__(
        self,
        channels: int,
        *,
        scales: int = 3,
        ndf: int = 64,
        layers: int = 3,
        norm: Norm = Norm.INSTANCE,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.critics = nn.ModuleList(
            PatchCritic(channels, ndf=ndf, layers=layers, norm=norm, padding=2, spectral=spectral)
            for _ in range(scales)
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """The maps of each critic, the finest first, its logits the last of them."""
        found = []
        for k, critic in enumerate(self.critics):
            x = halved(x) if k else x
            assert isinstance(critic, PatchCritic)
            found.append(critic.maps(x))
        return found
