"""The residual generator of CycleGAN (Zhu et al. 2017, 1703.10593), after Johnson et al. (2016, 1603.08155)."""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.nn.norm import Norm, initialise_normal


class ReflectBlock(nn.Module):
    """R256: two reflected 3x3 convolutions around a residual."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv(channels, channels, 3, norm),
            *_conv(channels, channels, 3, norm)[:-1],
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class ResNetGenerator(nn.Module):
    """Images ``(B, C_in, H, W)`` to images ``(B, C_out, H, W)`` in [-1, 1]; H and W are multiples of 4.

    c7s1-64, d128, d256, R256 x ``blocks``, u128, u64, c7s1-3 in the paper's words (Appendix, 7.2), with
    64 = ``ngf``: 9 blocks for 256 pixels and up, 6 below.
    """

    def __init__(
        self, inputs: int, outputs: int, *, ngf: int = 64, blocks: int = 9, norm: Norm = Norm.INSTANCE
    ) -> None:
        super().__init__()
        bias = not norm.affine
        layers = _conv(inputs, ngf, 7, norm)
        for c in (ngf, 2 * ngf):  # d128, d256
            layers += [nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=bias), norm(2 * c), nn.ReLU()]
        layers += [ReflectBlock(4 * ngf, norm) for _ in range(blocks)]
        for c in (4 * ngf, 2 * ngf):  # u128, u64
            up = nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
            layers += [up, norm(c // 2), nn.ReLU()]
        layers += [nn.Conv2d(ngf, outputs, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def _conv(inputs: int, outputs: int, kernel: int, norm: Norm) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect", bias=not norm.affine)
    return [conv, norm(outputs), nn.ReLU()]
