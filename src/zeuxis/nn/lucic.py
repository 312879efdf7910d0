"""The pair of networks on which the large comparison of adversarial objectives was made, and its autoencoding critic.

Lucic, Kurach, Michalski, Gelly and Bousquet 2018, "Are GANs created equal? A large-scale study" (arXiv:1711.10337),
appendix F: InfoGAN's layers (Chen et al. 2016, arXiv:1606.03657), two convolutions and two full layers. Counts of
28x28x1 at nz 64, width 64: generator 6,642,241, critic 6,556,865 (6,559,169 normalised), autoencoder 1,073,601.
Pictures of any sides that 4 divides.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError

SLOPE = 0.2  # of the leaky ReLU
STD = 0.02  # of the weights at first


def quarter(shape: Shape) -> tuple[int, int]:
    """Rows and columns of the coarsest map. Raises :class:`UsageError` for sides that 4 does not divide."""
    if shape.height % 4 or shape.width % 4:
        raise UsageError(
            f"images of {shape.width} x {shape.height}: it halves both sides twice; set size so that 4 divides it"
        )
    return shape.height // 4, shape.width // 4


class LucicGenerator(nn.Module):
    """Latents ``(B, nz)`` to images ``(B, C, H, W)`` in [-1, 1]; every layer but the last is normalised by batch."""

    def __init__(self, shape: Shape, *, nz: int = 64, width: int = 64) -> None:
        super().__init__()
        rows, columns = quarter(shape)
        hidden, maps = 16 * width, 2 * width * rows * columns
        self.layers = nn.Sequential(
            nn.Linear(nz, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Linear(hidden, maps),
            nn.BatchNorm1d(maps),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Unflatten(1, (2 * width, rows, columns)),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.ConvTranspose2d(width, shape.channels, 4, stride=2, padding=1),
        )
        small_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        image: Tensor = self.layers(z)
        return 2 * image.sigmoid() - 1


class LucicCritic(nn.Module):
    """Images ``(B, C, H, W)`` to logits ``(B,)``; with ``batch_norm`` the second and third layer are normalised.

    Without ``bias`` the logit has none: a loss of differences between logits cannot tell.
    """

    def __init__(self, shape: Shape, *, width: int = 64, batch_norm: bool = False, bias: bool = True) -> None:
        super().__init__()
        rows, columns = quarter(shape)
        hidden = 16 * width
        self.layers = nn.Sequential(
            nn.Conv2d(shape.channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width) if batch_norm else nn.Identity(),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Flatten(),
            nn.Linear(2 * width * rows * columns, hidden),
            nn.BatchNorm1d(hidden) if batch_norm else nn.Identity(),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Linear(hidden, 1, bias=bias),
        )
        small_normal(self)

    def forward(self, image: Tensor) -> Tensor:
        logit: Tensor = self.layers(image)
        return logit.squeeze(1)


class LucicAutoencoder(nn.Module):
    """The critic of energies: images ``(B, C, H, W)`` to a code ``(B, width)`` and back, nothing normalised."""

    def __init__(self, shape: Shape, *, width: int = 64) -> None:
        super().__init__()
        rows, columns = quarter(shape)
        maps = 2 * width * rows * columns
        self.encoder = nn.Sequential(
            nn.Conv2d(shape.channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.Flatten(),
            nn.Linear(maps, width),
            nn.LeakyReLU(SLOPE, inplace=True),
        )
        self.decoder = nn.Sequential(
            nn.Linear(width, maps),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Unflatten(1, (2 * width, rows, columns)),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.ConvTranspose2d(width, shape.channels, 4, stride=2, padding=1),
        )
        small_normal(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What is rebuilt ``(B, C, H, W)``, in [-1, 1], and the code."""
        code: Tensor = self.encoder(image)
        rebuilt: Tensor = self.decoder(code)
        return 2 * rebuilt.sigmoid() - 1, code


def small_normal(net: nn.Module) -> None:
    """Weights from N(0, 0.02), biases zero; norms start as torch has them."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
