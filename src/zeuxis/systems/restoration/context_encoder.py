"""Context encoder: fill the middle of a picture by what is around it.

Pathak, Krahenbuhl, Donahue, Darrell and Efros 2016, "Context encoders: feature learning by inpainting"
(arXiv:1604.07379), as in the authors' program. Symbols -> code:
    x -> image    M -> mask    F -> encoder, decoder    D -> critic    lambda_adv -> adversarial

Axes: S rows and columns of a square picture.
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.nn.context_encoder import ContextEncoder
from zeuxis.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from zeuxis.rng import ImageRng

KNOWN_WEIGHT = 10.0  # of the squared error on what is made though it is known


class ContextEncoderSystem(System):
    """Two players: an encoder of the picture and a decoder of its middle, and a critic of middles.

    It makes the middle half of each side. Where the mask leaves a border of that (``--pair mask:0.4375`` of 128 pixels
    leaves four), what is made there is held to what is known ten times as firmly, so that it joins on.

    Args:
        nef: channels of the encoder at half the picture's side.
        bottleneck: numbers of the code.
        ngf: channels of the decoder at a quarter of the picture's side; they double with every level below.
        ndf: channels of the critic at a quarter of the picture's side.
        adversarial: weight of the loss against the critic; the squared error has the rest of 1.
        lr: learning rate of the critic; the networks' is ten times as high.
    """

    card = Card(
        "context-encoder",
        title="Context encoder",
        family="restoration",
        year=2016,
        paper="1604.07379",
        needs={"source", "mask"},
        departures=(
            "A bottleneck of convolutions, as in the authors' program; the paper has a layer for each channel.",
            "No biases before norms, which the program sets to zero after every step.",
            "What is hidden is middle grey, not the mean colour of ImageNet.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        nef: int = 64,
        bottleneck: int = 4000,
        ngf: int = 64,
        ndf: int = 64,
        adversarial: float = 1e-3,
        lr: float = 2e-4,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.adversarial, self.lr = adversarial, lr
        side = self.shape.height // 2
        middle = self.shape.at(side, side)
        self.encoder = ContextEncoder(self.shape, nef=nef, bottleneck=bottleneck)
        self.decoder = DCGANGenerator(middle, nz=bottleneck, ngf=ngf)
        self.critic = DCGANDiscriminator(middle, ndf=ndf)
        self.loss = NonSaturating()
        start = side // 2
        self.middle = (..., slice(start, start + side), slice(start, start + side))

    def players(self) -> tuple[Player, ...]:
        networks = (self.encoder, self.decoder)
        return (
            Player("networks", networks, lr=10 * self.lr, betas=(0.5, 0.999)),
            Player("critic", (self.critic,), lr=self.lr, betas=(0.5, 0.999)),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("critic", self.criticise), Move("networks", self.fill))

    def made_of(self, condition: Condition) -> Tensor:
        """The middles ``(B, C, S / 2, S / 2)`` of pictures with holes."""
        made: Tensor = self.decoder(self.encoder(condition.required("source")))
        return made

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 2, as D sees it."""
        made = self.made_of(turn.batch.condition).detach()
        return self.loss.critic(self.critic(turn.batch.image[self.middle]), self.critic(made))

    def fill(self, turn: Turn) -> Tensor:
        """Eq. 3."""
        made = self.made_of(turn.batch.condition)
        mask = turn.batch.condition.required("mask")
        self._check(mask)
        hidden = mask[self.middle]
        weight = hidden + KNOWN_WEIGHT * (1 - hidden)  # (B, 1, S / 2, S / 2)
        error = (weight * (made.float() - turn.batch.image[self.middle]).square()).mean()  # Eq. 1
        fooled = self.loss.generator(self.critic(made))
        turn.note(error=error, fooled=fooled)
        return (1 - self.adversarial) * error + self.adversarial * fooled

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        source, mask = condition.required("source"), condition.required("mask")
        self._check(mask)
        filled = source.clone()
        filled[self.middle] = self.made_of(condition).float().clamp(-1, 1)
        return filled.where(mask > 0, source)

    def _check(self, mask: Tensor) -> None:
        """Refuse a mask that hides what the decoder does not make."""
        elsewhere = mask.clone()
        elsewhere[self.middle] = 0
        if elsewhere.any():
            raise UsageError(
                "'context-encoder' fills the middle half of a picture alone, and the mask hides more: hide less, as "
                "--pair mask:0.4375 does"
            )
