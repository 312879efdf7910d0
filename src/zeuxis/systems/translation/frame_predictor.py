"""The frame predictor: the next frame of a film from those before it, sharp although it is uncertain.

Mathieu, Couprie & LeCun 2016, "Deep multi-scale video prediction beyond mean square error" (arXiv:1511.05440).
Symbols -> code:
    X -> frames    Y -> image    X_k, Y_k -> levels(...)[k]    G -> generator    D_k -> critic.nets[k]    p -> power
    lambda_adv, lambda_lp, lambda_gdl -> adversarial, pixel, gradient    alpha -> alpha

Axes: T frames given, K scales.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.gradient_difference import gradient_difference
from zeuxis.nn.frame_pyramid import PATCH, SCALES, FramePyramid, PyramidCritic, levels
from zeuxis.rng import ImageRng
from zeuxis.systems.translation._family import check_sides, source_at


class FramePredictor(System):
    """Two players: a generator of the next frame at K scales, and a critic at each of them.

    The frames given lie one after another in the channels of the source, the latest last.

    Args:
        scales: K, from 1 to 4; each is twice as fine as the one before.
        width: channels of the generator's first layer at every scale.
        critic_width: channels of the narrowest of the critics' layers.
        power: p of the loss between pixels, 1 or 2.
        pixel: weight of the loss between pixels.
        gradient: weight of the gradient difference loss.
        alpha: its exponent.
        adversarial: weight of the critics' judgement; at 0 there are none.
        lr: learning rate of both players.
    """

    card = Card(
        "frame-predictor",
        title="Multi-scale frame prediction",
        family="translation",
        year=2016,
        paper="1511.05440",
        needs={"source"},
        knobs=(
            Knob("ahead", "int", "frames ahead; from the second on it goes on from what it made", 1, least=1, most=64),
        ),
        departures=(
            "Adam in place of plain gradient descent, unless the recipe says otherwise.",
            "Kernels of the critics' first layers are the paper's; those that see a whole patch of 32 pixels are "
            "convolutions, which judge every such patch of a larger picture.",
            "One generated batch serves both players, the generator first; the authors' program draws one for each.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        scales: int = 4,
        width: int = 128,
        critic_width: int = 64,
        power: int = 1,
        pixel: float = 1.0,
        gradient: float = 1.0,
        alpha: float = 1.0,
        adversarial: float = 0.05,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        channels, given = self.shape.channels, Shape(*(source_shape or shape)).channels
        if given % channels:
            raise UsageError(
                f"'frame-predictor' is given frames of {channels} channels one after another, and a source of {given} "
                "is no whole number of them: use data such as motion"
            )
        if not 1 <= scales <= SCALES or power not in (1, 2):
            raise UsageError(f"model.scales={scales}, model.power={power}: give 1 to {SCALES}, and 1 or 2")
        self.stride = 2 ** (scales - 1)
        check_sides("frame-predictor", self.shape, self.stride, least=PATCH // self.stride)
        self.power, self.alpha, self.lr = power, alpha, lr
        self.pixel, self.gradient, self.adversarial = pixel, gradient, adversarial
        self.generator = FramePyramid(given, channels, scales=scales, width=width)  # G
        self.critic = (
            PyramidCritic(given, channels, scales=scales, width=critic_width) if adversarial else None  # D_1 ... D_K
        )
        self.loss, self.scales = NonSaturating(), scales

    def players(self) -> tuple[Player, ...]:
        generator = Player("generator", (self.generator,), lr=self.lr, decay="cosine")
        if self.critic is None:
            return (generator,)
        return (generator, Player("critic", (self.critic,), lr=self.lr, betas=(0.5, 0.999), decay="cosine"))

    def moves(self) -> tuple[Move, ...]:
        predict = Move("generator", self.predict)
        return (predict,) if self.critic is None else (predict, Move("critic", self.criticise))

    def predict(self, turn: Turn) -> Tensor:
        """Eq. 7: lambda_lp L_p + lambda_gdl L_gdl + lambda_adv L_adv, each the sum over the scales."""
        frames = self.frames_of(turn.batch.condition, turn.batch.image)
        made, wanted = self.generator(frames), levels(turn.batch.image, self.scales)
        turn.memo["made"] = [each.detach() for each in made]
        pairs = list(zip(made, wanted, strict=True))
        away = torch.stack([(ours - y).abs().pow(self.power).mean() for ours, y in pairs]).sum()  # Eq. 1
        slopes = torch.stack([gradient_difference(ours, y, self.alpha) for ours, y in pairs]).sum()  # Eq. 6
        turn.note(pixel=away, gradient=slopes)
        loss = self.pixel * away + self.gradient * slopes
        if self.critic is None:
            return loss
        judged = self.critic(levels(frames, self.scales), made)
        fooled = torch.stack([self.loss.generator(logits) for logits in judged]).sum()  # Eq. 5
        turn.note(fooled=fooled)
        return loss + self.adversarial * fooled

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 3, the sum over the scales."""
        assert self.critic is not None
        frames = levels(self.frames_of(turn.batch.condition, turn.batch.image), self.scales)
        real, fake = self.critic(frames, levels(turn.batch.image, self.scales)), self.critic(frames, turn.memo["made"])
        loss = torch.stack([self.loss.critic(*logits) for logits in zip(real, fake, strict=True)]).sum()
        turn.note(critic=loss)
        return loss

    def frames_of(self, condition: Condition, image: Tensor) -> Tensor:
        """X ``(B, T C, H, W)``, at the size of the images."""
        return source_at(condition, self.shape.at(*image.shape[2:]), "frame-predictor")

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        frames = source_at(condition, self.shape, "frame-predictor")
        ahead: int = self.settings(how).ahead
        for _ in range(ahead):
            following = self.generator(frames)[-1]  # (B, C, H, W)
            frames = torch.cat([frames[:, self.shape.channels :], following.to(frames.dtype)], 1)
        return following.float().clamp(-1, 1)
