"""SRResNet: enlarge pictures by regression.

Ledig et al. 2017, "Photo-realistic single image super-resolution using a generative adversarial network"
(arXiv:1609.04802), section 3.1 (its generator) trained without its critic, as the network is used today. Symbols ->
code: I^HR -> image    I^LR -> source    r -> scale    B -> blocks    G -> network
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import lookup
from zeuxis.game import Turn
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.sr_resnet import SRResNetNet, SubPixelSRResNet
from zeuxis.systems.restoration._family import RegressionRestorer, enlarging_steps, scale_between


class SRResNet(RegressionRestorer):
    """One player: residual blocks on the small picture, then enlargements, beside the bilinear one.

    The scale is that of the data: pictures made smaller by ``bicubic:4`` are enlarged by 4.

    Args:
        blocks: residual blocks.
        width: channels within.
        upsampler: "pixelshuffle", the paper's enlargements of features one after another, or "pixelshuffledirect", one
            convolution to all numbers of the large picture (Shi et al. 2016; the names are SwinIR's), which leaves time
            for more blocks.
        lr: learning rate, which falls along a cosine.
    """

    card = Card(
        "sr-resnet",
        title="SRResNet",
        family="restoration",
        year=2017,
        paper="1609.04802",
        needs={"source"},
        departures=(
            "No batch norm, leaky ReLUs and a bilinear skip, as in the authors' successors' program (BasicSR).",
            "The mean absolute error in place of the squared one, as there.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        blocks: int = 16,
        width: int = 64,
        upsampler: Literal["pixelshuffle", "pixelshuffledirect"] = "pixelshuffle",
        lr: float = 2e-4,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        scale = scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "sr-resnet")
        steps = enlarging_steps(scale)
        channels = self.shape.channels
        self.network: PictureNetwork = lookup(  # G
            "upsampler",
            upsampler,
            {
                "pixelshuffle": lambda: SRResNetNet(channels, blocks=blocks, width=width, steps=steps),
                "pixelshuffledirect": lambda: SubPixelSRResNet(channels, blocks=blocks, width=width, scale=scale),
            },
        )()

    def regress(self, turn: Turn) -> Tensor:
        """Eq. 4 with absolute values."""
        return l1(self.made_of(turn.batch.condition), turn.batch.image)
