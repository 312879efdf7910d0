"""The residual generator of CycleGAN (Zhu et al. 2017, 1703.10593), after Johnson et al. (2016, 1603.08155)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from zeuxis.nn.norm import Norm, initialise_normal


class ReflectBlock(nn.Module):
    """R256: two reflected 3x3 convolutions around a residual."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *reflected(channels, channels, 3, norm),
            *reflected(channels, channels, 3, norm)[:-1],
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class ResNetGenerator(nn.Module):
    """Images ``(B, C_in, H, W)`` to images ``(B, C_out, H, W)`` in [-1, 1]; H and W are multiples of 2^``downs``.

    Sides of one such step, which leave a point where it is coarsest, are lengthened by their border: a point can be
    neither mirrored nor normalised.

    c7s1-64, d128, d256, R256 x ``blocks``, u128, u64, c7s1-3 in the paper's words (Appendix, 7.2), with
    64 = ``ngf``: 9 blocks for 256 pixels and up, 6 below. With 4 ``downs`` it is the global generator of pix2pixHD.
    """

    def __init__(
        self, inputs: int, outputs: int, *, ngf: int = 64, blocks: int = 9, downs: int = 2, norm: Norm = Norm.INSTANCE
    ) -> None:
        super().__init__()
        self.least = max(2 * 2**downs, 4)  # pixels a side; the kernels of 7 mirror three
        bias, widths = not norm.affine, [ngf * 2**k for k in range(downs + 1)]
        layers = reflected(inputs, ngf, 7, norm)
        for c in widths[:-1]:  # d128, d256
            layers += [nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=bias), norm(2 * c), nn.ReLU()]
        layers += [ReflectBlock(widths[-1], norm) for _ in range(blocks)]
        for c in widths[:0:-1]:  # u128, u64
            layers += doubled(c, norm)
        self.layers = nn.Sequential(*layers, *to_picture(ngf, outputs))
        initialise_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        down, across = (max(0, self.least - side) for side in (height, width))
        out: Tensor = self.layers(pad(x, (0, across, 0, down), mode="replicate") if down or across else x)
        return out[:, :, :height, :width]


def reflected(inputs: int, outputs: int, kernel: int, norm: Norm) -> list[nn.Module]:
    """A convolution that sees the picture reflected at its edges, its norm and a ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect", bias=not norm.affine)
    return [conv, norm(outputs), nn.ReLU()]


def doubled(channels: int, norm: Norm) -> list[nn.Module]:
    """Twice the side and half the channels, a norm and a ReLU."""
    up = nn.ConvTranspose2d(channels, channels // 2, 3, 2, padding=1, output_padding=1, bias=not norm.affine)
    return [up, norm(channels // 2), nn.ReLU()]


def to_picture(channels: int, outputs: int) -> list[nn.Module]:
    """c7s1-3: the last convolution, to values in [-1, 1]."""
    return [nn.Conv2d(channels, outputs, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
