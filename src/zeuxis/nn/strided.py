"""The networks of VQ-VAE (van den Oord et al. 2017, 1711.00937) and of VQ-VAE-2 (Razavi et al. 2019, 1906.00446).

Strided convolutions of 4x4 down and transposed ones up, residual blocks without norms at the smallest map, ReLU.

Axes: f the factor, h and w rows and columns of codes.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.batch import Shape
from zeuxis.errors import Unsupported


def code_map(shape: Shape, halvings: int) -> tuple[int, int]:
    """Rows and columns of the codes of pictures halved ``halvings`` times; :class:`Unsupported` if they cannot be."""
    factor = 2**halvings
    if shape.height % factor or shape.width % factor:
        raise Unsupported(
            f"images of {shape.width}x{shape.height} cannot be coded by a factor of {factor}: choose a size that "
            f"{factor} divides, such as {-(-shape.height // factor) * factor}x{-(-shape.width // factor) * factor}"
        )
    return shape.height // factor, shape.width // factor


class Residual(nn.Module):
    """ReLU, conv 3x3 to ``hidden`` channels, ReLU, conv 1x1 back, around a residual: ``(B, C, H, W)`` to the same."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return out


class StridedEncoder(nn.Sequential):
    """``(B, inputs, H, W)`` to ``(B, width, H / f, W / f)``: each of ``strided`` channels halves the sides.

    ``blocks`` residual blocks of ``hidden`` channels follow.
    """

    def __init__(self, inputs: int, width: int, *, strided: tuple[int, ...], hidden: int, blocks: int) -> None:
        layers: list[nn.Module] = []
        for channels in strided:
            layers += [nn.Conv2d(inputs, channels, 4, stride=2, padding=1), nn.ReLU()]
            inputs = channels
        layers += [nn.Conv2d(inputs, width, 3, padding=1), *(Residual(width, hidden) for _ in range(blocks)), nn.ReLU()]
        super().__init__(*layers)


class StridedDecoder(nn.Sequential):
    """``(B, inputs, h, w)`` to ``(B, outputs, f h, f w)``, unbounded: residual blocks, then one doubling more than
    there are widths between, ``strided``.
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int, strided: tuple[int, ...], hidden: int, blocks: int
    ) -> None:
        layers: list[nn.Module] = [nn.Conv2d(inputs, width, 3, padding=1)]
        layers += [*(Residual(width, hidden) for _ in range(blocks)), nn.ReLU()]
        now = width
        for channels in strided:
            layers += [nn.ConvTranspose2d(now, channels, 4, stride=2, padding=1), nn.ReLU()]
            now = channels
        super().__init__(*layers, nn.ConvTranspose2d(now, outputs, 4, stride=2, padding=1))
