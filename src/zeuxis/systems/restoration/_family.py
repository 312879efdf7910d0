"""What restorers that regress share: one network of the source, one player, and the picture as it was as its target."""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.rng import ImageRng


class RegressionRestorer(System):
    """One player: a network that makes the picture of its source.

    A subclass sets ``shape``, ``network`` and ``lr``, and says what it lowers. Pictures are in [-1, 1] here and in
    [0, 1] in the network, whose weights are then those of published checkpoints.
    """

    network: PictureNetwork
    lr: float

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=self.lr, decay="cosine"),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.regress),)

    def regress(self, turn: Turn) -> Tensor:
        """How far what is made of the sources is from the pictures."""
        raise NotImplementedError

    def made_of(self, source: Tensor) -> Tensor:
        """Pictures ``(B, C, scale H, scale W)``, about in [-1, 1], of sources ``(B, C, H, W)`` in [-1, 1]."""
        return 2 * self.network((source + 1) / 2) - 1

    def source_of(self, condition: Condition) -> Tensor:
        """The sources of a batch; raises :class:`Unsupported` where there are none."""
        if condition.source is None:
            raise Unsupported(f"'{self.card.id}' restores a picture and was given none: give it a source")
        return condition.source

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.made_of(self.source_of(condition)).float().clamp(-1, 1)


def scale_between(shape: Shape, source: Shape | None, system: str) -> int:
    """By how much a picture is larger than its source, a whole number; 1 where nothing is known of the source.

    Raises :class:`UsageError` where the two have no such number, or other channels.
    """
    if source is None:
        return 1
    scale = shape.height // source.height
    if source.at(source.height * scale, source.width * scale) != shape:
        of, to = ("x".join(map(str, one)) for one in (source, shape))
        raise UsageError(f"'{system}' keeps channels and enlarges by a whole number, and {of} would become {to}")
    return scale
