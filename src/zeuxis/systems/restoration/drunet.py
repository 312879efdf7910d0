"""DRUNet: remove noise, blur or compression of unknown strength, or fill what is hidden, by a residual U-Net.

Zhang, Li, Zuo, Zhang, Van Gool and Timofte 2021, "Plug-and-play image restoration with deep denoiser prior"
(arXiv:2008.13751), section IV. Symbols -> code:
    x -> image    y -> source    sigma -> drawn by the data's damage    D -> network
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError, lookup
from zeuxis.game import Turn
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.residual_unet import ResidualUNet
from zeuxis.systems.restoration._family import CONDITIONS, RegressionRestorer, scale_between


class DRUNet(RegressionRestorer):
    """One player: a U-Net of residual blocks, without norms and biases, that makes the whole picture.

    Args:
        widths: channels at each level, from fine to coarse.
        blocks: residual blocks at each level, on the way down and again on the way up.
        shrink: pixels a side that are folded into channels first, as in FFDNet; 1 as the paper has it. 2 is a quarter
            of the work.
        residual: whether the network makes what is added to the picture, as in DnCNN, in place of a whole one; what is
            right of the picture then stays, such as colours of which training has few.
        condition: "none", or "mask": what the mask hides is made, and the rest stays as it is.
        lr: learning rate, which falls along a cosine.
    """

    card = Card(
        "drunet",
        title="DRUNet",
        family="restoration",
        year=2021,
        paper="2008.13751",
        needs={"source"},
        accepts={"mask"},
        departures=(
            "Blind: no map of the noise's strength is given beside the picture.",
            "The learning rate falls along a cosine, not by halves.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        blocks: int = 4,
        shrink: int = 1,
        residual: bool = False,
        condition: Literal["none", "mask"] = "none",
        lr: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        self.obeyed = lookup("condition", condition, CONDITIONS)
        if scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "drunet") != 1:
            raise UsageError("'drunet' keeps a picture's size: use --pair blind-noise, or sr-resnet to enlarge")
        if not 1 <= shrink <= 4:
            raise UsageError(f"model.shrink is {shrink}: from 1 to 4 pixels a side become channels")
        self.network = ResidualUNet(
            self.shape.channels,
            widths=tuple(widths),
            blocks=blocks,
            shrink=shrink,
            residual=residual,
            masked=condition == "mask",
        )  # D

    @property
    def conditions(self) -> frozenset[str]:
        return self.obeyed

    def regress(self, turn: Turn) -> Tensor:
        """The mean absolute error (section IV-B)."""
        return l1(self.made_of(turn.batch.condition), turn.batch.image)
