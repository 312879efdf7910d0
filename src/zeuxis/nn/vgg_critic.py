"""The critics of SRGAN and ESRGAN: a row of convolutions like VGG's, halving the picture, and two full layers.

Ledig et al. 2017 (1609.04802), figure 4; Wang et al. 2018, "ESRGAN" (1809.00219), as in the authors' program. Counts of
64 channels and three colours: SRGAN's, 23,565,505 parameters for 96 pixels; ESRGAN's, 14,499,401 for 128.

Axes: C_i channels and h_i, w_i sides after i halvings.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError

SLOPE = 0.2
WIDEST = 8  # times the width at which channels stop doubling


class VGGCritic(nn.Module):
    """Images ``(B, C, H, W)`` of one size to logits ``(B,)``.

    Args:
        shape: of the images.
        width: channels at the picture's side; they double with every halving, up to 8 times.
        halvings: how often the sides are halved; both must be multiples of 2 as often.
        kernel: of the halving convolutions: 3 in SRGAN, 4 in ESRGAN.
        hidden: numbers between the full layers.
        bias: whether convolutions before a batch norm have biases, of which it leaves nothing: SRGAN's do.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        width: int = 64,
        halvings: int = 5,
        kernel: int = 4,
        hidden: int = 100,
        bias: bool = False,
    ) -> None:
        super().__init__()
        _, height, across = shape
        if halvings < 1:
            raise UsageError(f"model.halvings is {halvings}: the critic halves pictures at least once")
        if height % 2**halvings or across % 2**halvings:
            raise UsageError(
                f"the critic halves pictures of {across}x{height} pixels {halvings} times, which does not come out "
                "even: set model.halvings, or another size"
            )
        layers: list[nn.Module] = []
        now = shape.channels
        for i in range(halvings):
            to = width * min(2**i, WIDEST)
            layers.append(nn.Conv2d(now, to, 3, padding=1, bias=bias or not i))
            layers += [nn.BatchNorm2d(to)] if i else []
            layers += [nn.LeakyReLU(SLOPE), nn.Conv2d(to, to, kernel, stride=2, padding=1, bias=bias)]
            layers += [nn.BatchNorm2d(to), nn.LeakyReLU(SLOPE)]
            now = to
        cells = (height >> halvings) * (across >> halvings)
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(now * cells, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.trunk(x).flatten(1))  # of (B, C_i, h_i, w_i)
        return logits[:, 0]
