"""The convolutional stacks of DCGAN (Radford, Metz & Chintala 2015, 1511.06434), for squares of 8, 16, 32, ... pixels.

Layers of a norm with a bias of its own have none themselves, nor has the first of a normalised
discriminator: the layers as they have been published in code.

Axes: S rows and columns of a square picture.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.norm import Norm, initialise_normal
from zeuxis.nn.point import FromPoint, ToPoint

SMALLEST = 4  # pixels a side of the coarsest map


def halvings(shape: Shape) -> int:
    """How often a picture's side halves to 4 pixels: 4 for 64. Raises :class:`UsageError` unless it does so exactly."""
    side = shape.height
    times = (side // SMALLEST).bit_length() - 1
    if shape.width != side or times < 1 or SMALLEST << times != side:
        raise UsageError(
            f"images of {shape.width} x {side}: this network takes squares of 8, 16, 32, 64, ...; set size to one"
        )
    return times


class DCGANGenerator(nn.Module):
    """Latents ``(B, nz)`` to images ``(B, C, S, S)`` in [-1, 1]: transposed 4x4 convolutions, norm, ReLU, tanh.

    ``ngf`` is the number of channels at half the picture's side; it doubles with every level below.
    """

    def __init__(self, shape: Shape, *, nz: int = 100, ngf: int = 64, norm: Norm = Norm.BATCH) -> None:
        super().__init__()
        times = halvings(shape)
        now = ngf << (times - 1)
        layers: list[nn.Module] = [
            FromPoint(nz, now, SMALLEST, bias=not norm.affine),
            norm(now),
            nn.ReLU(inplace=True),
        ]
        for _ in range(times - 1):
            up = nn.ConvTranspose2d(now, now // 2, 4, stride=2, padding=1, bias=not norm.affine)
            now //= 2
            layers += [up, norm(now), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(now, shape.channels, 4, stride=2, padding=1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.layers(z)
        return x


class DCGANDiscriminator(nn.Module):
    """Images ``(B, C, S, S)`` to logits ``(B,)``: 4x4 convolutions of stride 2, norm, leaky ReLU of slope 0.2.

    ``ndf`` is the number of channels at half the picture's side. The first layer has no norm, as the
    paper says, unless ``norm_first``, as in some published code.
    """

    def __init__(self, shape: Shape, *, ndf: int = 64, norm: Norm = Norm.BATCH, norm_first: bool = False) -> None:
        super().__init__()
        first = norm if norm_first else Norm.NONE
        layers: list[nn.Module] = [
            nn.Conv2d(shape.channels, ndf, 4, stride=2, padding=1, bias=norm is Norm.NONE),
            first(ndf),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        now = ndf
        for _ in range(halvings(shape) - 1):
            down = nn.Conv2d(now, 2 * now, 4, stride=2, padding=1, bias=not norm.affine)
            now *= 2
            layers += [down, norm(now), nn.LeakyReLU(0.2, inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.head = ToPoint(now, 1, SMALLEST, bias=False)
        initialise_normal(self)

    def features(self, x: Tensor) -> Tensor:
        """The last map, ``(B, ndf S / 8, 4, 4)``."""
        h: Tensor = self.trunk(x)
        return h

    def maps(self, x: Tensor) -> list[Tensor]:
        """What every convolution makes, after its norm and activation, fine to coarse: ``(B, C, h, w)``."""
        found = []
        for layer in self.trunk:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        logit: Tensor = self.head(self.features(x))
        return logit.flatten()
