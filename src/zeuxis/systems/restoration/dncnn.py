"""DnCNN: remove noise by predicting it.

Zhang, Zuo, Chen, Meng and Zhang 2017, "Beyond a Gaussian denoiser: residual learning of deep CNN for image denoising"
(arXiv:1608.03981). Symbols -> code:
    x -> image    y -> source    R(y) -> what the network's layers make, which it subtracts    D -> depth
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Turn
from zeuxis.losses.reconstruction import l2
from zeuxis.nn.dncnn import DnCNNNet
from zeuxis.systems.restoration._family import RegressionRestorer, scale_between


class DnCNN(RegressionRestorer):
    """One player: a row of convolutions, whose sum with what it predicts of the noise is the picture.

    Args:
        depth: convolutions; the paper has 17 for one strength of noise, 20 for many.
        width: channels within.
        lr: learning rate, which falls along a cosine.
    """

    card = Card(
        "dncnn",
        title="DnCNN",
        family="restoration",
        year=2017,
        paper="1608.03981",
        needs={"source"},
        departures=("No batch norm: it is merged into the convolutions in the weights that are published today.",),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        depth: int = 17,
        width: int = 64,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        if scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "dncnn") != 1:
            raise UsageError("'dncnn' keeps a picture's size: use --pair noise:0.2, or sr-resnet to enlarge")
        self.network = DnCNNNet(self.shape.channels, depth=depth, width=width)

    def regress(self, turn: Turn) -> Tensor:
        """Eq. 1: the residual's squared error is the picture's, since R(y) - (y - x) = x - (y - R(y))."""
        return l2(self.made_of(turn.batch.condition), turn.batch.image)
