"""The generator of pix2pixHD (Wang et al. 2018, 1711.11585, section 3.1): a global network and local enhancers."""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.nn.norm import Norm, initialise_normal
from zeuxis.nn.patch_gan import halved
from zeuxis.nn.resnet_generator import ReflectBlock, ResNetGenerator, doubled, reflected, to_picture


class LocalEnhancer(nn.Module):
    """G2: what it is given at twice the side is halved, the coarser network's features are added, and doubled again.

    Pictures ``(B, C_in, 2 H, 2 W)`` and features ``(B, 2 ngf, H, W)`` to features ``(B, ngf, 2 H, 2 W)``.
    """

    def __init__(self, inputs: int, ngf: int, blocks: int, norm: Norm) -> None:
        super().__init__()
        halve = nn.Conv2d(ngf, 2 * ngf, 3, stride=2, padding=1, bias=not norm.affine)
        self.front = nn.Sequential(*reflected(inputs, ngf, 7, norm), halve, norm(2 * ngf), nn.ReLU())
        self.back = nn.Sequential(*(ReflectBlock(2 * ngf, norm) for _ in range(blocks)), *doubled(2 * ngf, norm))

    def forward(self, x: Tensor, coarser: Tensor) -> Tensor:
        features: Tensor = self.back(self.front(x) + coarser)
        return features


class CoarseToFine(nn.Module):
    """Pictures ``(B, C_in, H, W)`` to images ``(B, C_out, H, W)`` in [-1, 1], of sides that are multiples of
    2^(``downs`` + ``enhancers``).

    ``ngf`` are the channels at the finest resolution: the global generator G1 has 64 where ``enhancers`` are none, and
    twice as many for each enhancer.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        ngf: int = 64,
        downs: int = 4,
        blocks: int = 9,
        enhancers: int = 0,
        enhancer_blocks: int = 3,
        norm: Norm = Norm.INSTANCE,
    ) -> None:
        super().__init__()
        widths = [ngf * 2**k for k in range(enhancers, -1, -1)]
        whole = ResNetGenerator(inputs, outputs, ngf=widths[0], blocks=blocks, downs=downs, norm=norm)
        self.coarse = nn.Sequential(*list(whole.layers)[:-2])  # G1 without its picture
        self.enhancers = nn.ModuleList(LocalEnhancer(inputs, width, enhancer_blocks, norm) for width in widths[1:])
        self.picture = nn.Sequential(*to_picture(ngf, outputs))
        initialise_normal(self)

    def coarsest(self, x: Tensor) -> Tensor:
        """The features of G1, at the side that the enhancers begin from."""
        for _ in self.enhancers:
            x = halved(x)
        features: Tensor = self.coarse(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        features, sizes = self.coarsest(x), [x]
        for _ in self.enhancers:
            sizes.append(halved(sizes[-1]))
        for enhancer, finer in zip(self.enhancers, sizes[-2::-1], strict=True):
            features = enhancer(finer, features)
        image: Tensor = self.picture(features)
        return image
