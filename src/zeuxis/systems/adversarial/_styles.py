"""The game of the style-based generators: what StyleGAN2, StyleGAN2-ADA and StyleGAN3 share.

Karras et al. 2019 (1912.04958). Symbols -> code: D -> discriminator    gamma -> gamma
The codes z and w and what is drawn of them: see :mod:`zeuxis.systems.adversarial._style_space`.

Axes: L layers of the generator, W numbers of a style code.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.errors import UsageError, must_be_within
from zeuxis.game import Move, Player, Turn
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.penalty import r1
from zeuxis.metrics.equivariance import EQUIVARIANCES, equivariance
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.nn.stylegan2 import StyleDiscriminator
from zeuxis.rng import Rng
from zeuxis.systems.adversarial._style_space import StyleSpace, ToldDiscriminator
from zeuxis.verbs import Proof


class StyleGame(StyleSpace):
    """Two players on the non-saturating loss, and R1 on the discriminator every few rounds ("lazily", section 3.1).

    A penalty is multiplied by the rounds that it is left out for, and learning rate and betas are those of an Adam that
    makes as many steps more (appendix B). A subclass builds ``generator`` and ``discriminator``.
    """

    discriminator: StyleDiscriminator

    def __init__(
        self, shape: Shape, *, nz: int, classes: int, gamma: float, r1_every: int, mean_decay: float, lr: float
    ) -> None:
        super().__init__()
        must_be_within(0, gamma=gamma)
        must_be_within(0, 1, mean_decay=mean_decay)
        if r1_every < 1:
            raise UsageError("r1_every is 1 or more; a weight of 0 (gamma) leaves R1 out")
        self.shape, self.classes = Shape(*shape), classes
        self.nz, self.mean_decay, self.lr = nz, mean_decay, lr
        self.gamma, self.r1_every = gamma, r1_every if gamma else 0
        self.loss = NonSaturating()

    @abstractmethod
    def made(self, codes: Tensor, turn: Turn) -> Tensor:
        """The pictures of codes ``(B, L, W)`` in training, not bounded."""

    def players(self) -> tuple[Player, ...]:
        return (
            self._lazy("generator", self.generator, 0, self.lr),
            self._lazy("discriminator", self.discriminator, self.r1_every, self.lr),
        )

    def _lazy(self, name: str, net: torch.nn.Module, every: int, lr: float) -> Player:
        """A player who takes one step more in ``every`` rounds (0: never): c = k / (k + 1) of the rate."""
        share = every / (every + 1) if every else 1.0
        return Player(name, (net,), lr=lr * share, betas=(0.0, 0.99**share))

    def moves(self) -> tuple[Move, ...]:
        discriminator = [Move("discriminator", self.discriminate)]
        if self.r1_every:
            discriminator.append(Move("discriminator", self.flatten, every=self.r1_every))
        return (Move("generator", self.generate), *discriminator)

    def shown(self, image: Tensor, turn: Turn) -> Tensor:
        """What the discriminator sees of pictures."""
        return image

    def codes_of(self, turn: Turn, batch: Batch) -> Tensor:
        """The codes ``(B, L, W)`` that the generator is trained on."""
        return self._fresh(turn, batch)

    def generate(self, turn: Turn) -> Tensor:
        """-log D(g(f(z)))."""
        codes = self.codes_of(turn, turn.batch)
        turn.memo["code"] = codes[:, 0].detach()  # the first layer's is never mixed
        fake = self.shown(self.made(codes, turn), turn)
        judge = ToldDiscriminator(self.discriminator, self._label(turn.batch.condition))
        logit, turn.memo["fake logit"] = shared_pass(judge, fake, keep=turn.alone)
        return self.loss.generator(logit)

    def discriminate(self, turn: Turn) -> Tensor:
        """-log D(x) - log(1 - D(g(f(z)))); the fakes are those that the generator has just been judged by."""
        real = self.discriminator(self.shown(turn.batch.image, turn), self._label(turn.batch.condition))
        fake = turn.memo["fake logit"]()
        turn.memo["sign"] = real.detach().float().sign()
        turn.note(real=real.float().mean(), fake=fake.float().mean())
        return self.loss.critic(real, fake)

    def flatten(self, turn: Turn) -> Tensor:
        """gamma / 2 E|grad D(x)|^2: R1, on real pictures alone."""
        label = self._label(turn.batch.condition)
        slope = r1(lambda image: self.discriminator(self.shown(image, turn), label), turn.batch.image)
        turn.note(r1=slope)
        return self.r1_every * self.gamma / 2 * slope

    def after_round(self, turn: Turn) -> None:
        """The running mean of codes."""
        self.generator.mean.copy_(turn.whole("code").mean(0).lerp(self.generator.mean, self.mean_decay))

    def proofs(self) -> Mapping[str, Proof]:
        """``eq-t``, ``eq-t-frac``, ``eq-r``: how well pictures move and turn with what they are made from, in dB."""
        return {name: Proof("higher", partial(self._equivariance, name)) for name in EQUIVARIANCES}

    def _equivariance(self, name: str, samples: int, rng: Rng) -> float:
        label = rng.integers(self.classes, samples, device=self.device) if self.classes else None
        codes = self.styles(rng.normal(samples, self.nz, device=self.device), label)
        return equivariance(name, self.still, codes, rng)
