"""The generative adversarial network of 2014: two perceptrons, one of which makes what the other is to tell from data.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville and Bengio 2014, "Generative adversarial networks"
(arXiv:1406.2661), with the layers of the authors' program for MNIST. Symbols -> code:
    x -> real    z -> z, (B, nz)    G -> generator    D -> discriminator, logits; D(x) = sigmoid(logit)
    k -> critic_steps
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError, lookup, must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import Minimax, NonSaturating
from zeuxis.losses.penalty import r1 as r1_penalty
from zeuxis.nn.maxout import MaxoutDiscriminator, PerceptronGenerator
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.adversarial._line import optimal_discriminator
from zeuxis.verbs import Proof

LOSSES: Mapping[str, Callable[[], NonSaturating | Minimax]] = {
    "non-saturating": NonSaturating,
    "saturating": Minimax,
}


class GAN(System):
    """The discriminator moves ``critic_steps`` times a round, on a fresh batch each, then the generator (algorithm 1).

    Pictures of any shape, down to one number.

    Args:
        nz: numbers, normally distributed, that drive a picture.
        hidden: units of each of the generator's two layers.
        units: maxout units of each of the discriminator's two layers.
        pieces: affine functions whose largest a maxout unit is.
        from_black: whether the discriminator sees pixels in [0, 1], as the authors' does, so that black ones, and those
            that dropout takes, move no weight; points are best left in [-1, 1].
        keep_input: how often dropout leaves the discriminator a pixel; 1 is always.
        keep_hidden: how often it leaves it a unit.
        loss: the generator's: "non-saturating" raises log D(G(z)); "saturating" lowers log(1 - D(G(z))), the game as
            first written, which is flat while the generator loses.
        r1: weight of the discriminator's squared slope at data, half of it (Mescheder et al. 2018, 1801.04406, Eq. 9),
            with which the game converges where it would circle; 0, the game of 2014, is without.
        critic_steps: moves k of the discriminator a round.
        lr: learning rate of both players, of stochastic gradient descent.
        momentum: of both players.
    """

    card = Card(
        "gan",
        title="Generative adversarial network",
        family="adversarial",
        year=2014,
        paper="1406.2661",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=(
            "Latents are normal; the authors' program draws them uniformly.",
            "The output's biases are set to the log-odds of the first batch's mean pixels, not of all data's.",
            "Momentum and the learning rate are constant, where theirs rises from 0.5 to 0.7 and falls, over a hundred"
            " thousands of rounds.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 100,
        hidden: int = 1200,
        units: int = 240,
        pieces: int = 5,
        from_black: bool = True,
        keep_input: float = 0.8,
        keep_hidden: float = 0.5,
        loss: Literal["non-saturating", "saturating"] = "non-saturating",
        r1: float = 0.0,
        critic_steps: int = 1,
        lr: float = 0.1,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        must_be_within(0, r1=r1)
        must_be_within(1, critic_steps=critic_steps)
        for name, keep in (("keep_input", keep_input), ("keep_hidden", keep_hidden)):
            if not 0 < keep <= 1:
                raise UsageError(
                    f"{name} is {keep:g}: give how often dropout leaves a number, above 0, and 1 for always"
                )
        self.shape = Shape(*shape)
        self.nz, self.critic_steps, self.lr, self.momentum = nz, critic_steps, lr, momentum
        self.from_black, self.r1 = from_black, r1
        d = self.shape.channels * self.shape.height * self.shape.width
        self.generator = PerceptronGenerator(nz, hidden, d)
        self.discriminator = MaxoutDiscriminator(
            d, units=units, pieces=pieces, keep_input=keep_input, keep_hidden=keep_hidden
        )
        self.loss = lookup("loss", loss, LOSSES)()

    def players(self) -> tuple[Player, ...]:
        return tuple(
            Player(name, (net,), lr=self.lr, betas=(self.momentum, 0.0), optimiser="sgd")
            for name, net in (("discriminator", self.discriminator), ("generator", self.generator))
        )

    def moves(self) -> tuple[Move, ...]:
        return (
            Move("discriminator", self.discriminate, times=self.critic_steps),
            Move("generator", self.generate),
        )

    def discriminate(self, turn: Turn) -> Tensor:
        """-log D(x) - log(1 - D(G(z))) (Eq. 1), and the penalty on slopes if there is one."""
        x = turn.batch.image.flatten(1)  # (B, d)
        turn.memo |= {"pixels": x, "fresh": self.generator.fresh}
        with torch.no_grad():
            fake = self.generator(self._latent(turn))
        logits = self.judge(torch.cat([x, fake.to(x.dtype)]), turn.rng)
        real_logit, fake_logit = logits.chunk(2)  # each row is judged by itself
        turn.note(real=real_logit.float().sigmoid().mean(), fake=fake_logit.float().sigmoid().mean())
        loss = self.loss.critic(real_logit, fake_logit)
        if not self.r1:
            return loss
        slope = r1_penalty(lambda pixels: self.judge(pixels, turn.rng), x)
        turn.note(slope=slope)
        return loss + self.r1 / 2 * slope

    def generate(self, turn: Turn) -> Tensor:
        """-log D(G(z)), or log(1 - D(G(z)))."""
        return self.loss.generator(self.judge(self.generator(self._latent(turn)), turn.rng))

    def after_round(self, turn: Turn) -> None:
        """The first round leaves a fresh generator's pictures about the mean of its data."""
        if turn.first and turn.memo["fresh"]:
            self.generator.begin(turn.whole("pixels"))

    def judge(self, x: Tensor, rng: Rng | None = None) -> Tensor:
        """The logit ``(B,)`` of pixels ``(B, d)`` in [-1, 1]."""
        logit: Tensor = self.discriminator((x + 1) / 2 if self.from_black else x, rng)
        return logit

    def _latent(self, turn: Turn) -> Tensor:
        x = turn.batch.image
        return turn.rng.normal(len(x), self.nz, device=x.device)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z ``(B, nz)``; ``temperature`` scales it."""
        return self.settings(how).temperature * rng.normal(len(rng), self.nz, device=self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def latent_weights(self) -> Tensor:
        """The first layer's, a row for each of its outputs."""
        return self.generator.get_parameter("layers.0.weight")

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] from latents ``(B, nz)``."""
        image: Tensor = self.generator(latent)
        return image.unflatten(1, self.shape)

    def proofs(self) -> Mapping[str, Proof]:
        """``optimal-discriminator``: how far a trained one is from p / (p + q) in one dimension, at most."""
        return {"optimal-discriminator": Proof("lower", optimal_discriminator)}
