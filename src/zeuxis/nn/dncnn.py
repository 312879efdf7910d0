"""DnCNN: a row of convolutions that predicts the noise of a picture.

Zhang et al. 2017, "Beyond a Gaussian denoiser" (1608.03981), section 3. Its batch norms are merged into the
convolutions here, as in the weights that the authors publish today. Counts of grey pictures: 555,137 parameters with
17 layers, 665,921 with 20.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.nn.picture_network import PictureNetwork


class DnCNNNet(PictureNetwork):
    """Noisy pictures ``(B, C, H, W)`` in [0, 1] to clean ones of the same shape, about in [0, 1].

    Args:
        channels: of the pictures.
        depth: convolutions.
        width: channels within.
    """

    def __init__(self, channels: int = 1, *, depth: int = 17, width: int = 64) -> None:
        super().__init__()
        self.channels, self.scale, self.reach, self.floats = channels, 1, depth, 3 * width
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        layers.append(nn.Conv2d(width, channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)  # Eq. 1: R(y)

    def forward(self, x: Tensor) -> Tensor:
        clean: Tensor = x - self.layers(x)  # x^ = y - R(y)
        return clean
