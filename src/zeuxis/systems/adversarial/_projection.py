"""The game that SAGAN and BigGAN share: hinge losses, two learning rates, a class that both players may be told.

Lim and Ye 2017 (arXiv:1705.02894) and Miyato and Koyama 2018 (arXiv:1802.05637). Symbols -> code:
    x -> real    y -> told, (B, Y)    z -> z, (B, nz)    G -> generator    D -> discriminator, logits

Axes: Y numbers of what is told.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.errors import lookup, must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import Hinge
from zeuxis.nn.condition_vector import ClassVector
from zeuxis.nn.spectral_resnet import SpectralDiscriminator
from zeuxis.rng import ImageRng, Rng


class ProjectionGame(System):
    """The discriminator moves ``critic_steps`` times a round, on a fresh batch each, then the generator.

    A subclass builds both; the generator is called with latents and with what :meth:`code` makes of a class.
    """

    generator: nn.Module
    discriminator: SpectralDiscriminator

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int,
        condition: str,
        nz: int,
        critic_steps: int,
        rates: tuple[float, float],
        betas: tuple[float, float],
    ) -> None:
        """``rates`` are the generator's and the discriminator's."""
        super().__init__()
        must_be_within(1, critic_steps=critic_steps)
        self.shape = Shape(*shape)
        labelled = lookup("condition", condition, {"none": False, "label": True})
        self.vector = ClassVector(classes) if labelled else None
        self.classes = classes if labelled else 0
        self.nz, self.critic_steps = nz, critic_steps
        self.rates, self.betas = rates, (betas[0], betas[1])
        self.loss = Hinge()

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset() if self.vector is None else frozenset({self.vector.field})

    def players(self) -> tuple[Player, ...]:
        generator, discriminator = self.rates
        return (
            Player("discriminator", (self.discriminator,), lr=discriminator, betas=self.betas),
            Player("generator", (self.generator,), lr=generator, betas=self.betas),
        )

    def moves(self) -> tuple[Move, ...]:
        return (
            Move("discriminator", self.discriminate, times=self.critic_steps),
            Move("generator", self.generate),
        )

    def discriminate(self, turn: Turn) -> Tensor:
        """max(0, 1 - D(x, y)) + max(0, 1 + D(G(z, y), y))."""
        y = self.told(turn.batch.condition, len(turn.batch))
        with torch.no_grad():
            fake = self.generator(self.latent(turn.rng, len(y)), self.code(y))
        both = torch.cat([turn.batch.image, fake.to(turn.batch.image.dtype)])  # each picture is judged by itself
        real_logit, fake_logit = self.discriminator(both, torch.cat([y, y])).chunk(2)
        turn.note(real=real_logit.float().mean(), fake=fake_logit.float().mean())
        return self.loss.critic(real_logit, fake_logit)

    def generate(self, turn: Turn) -> Tensor:
        """-D(G(z, y), y)."""
        y = self.told(turn.batch.condition, len(turn.batch))
        fake = self.generator(self.latent(turn.rng, len(y)), self.code(y))
        return self.loss.generator(self.discriminator(fake, y))

    def told(self, condition: Condition, n: int) -> Tensor:
        """Classes as one-hot rows ``(n, K)``; rows of no numbers where there is nothing to tell."""
        return torch.zeros(n, 0, device=self.device) if self.vector is None else self.vector(condition).to(self.device)

    def code(self, y: Tensor) -> Tensor:
        """What the generator is told of one-hot classes ``(B, K)``."""
        return y

    def latent(self, rng: Rng, n: int) -> Tensor:
        """z, ``(n, nz)``."""
        return rng.normal(n, self.nz, device=self.device)

    def coded(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """What :meth:`decode` takes, ``(B, nz + Y)``: latents ``(B, nz)`` and after them the codes of classes ``(B,)``.

        Between two of them lie pictures that are of neither class.
        """
        return torch.cat([z, self.code(self.told(Condition(label), len(z)))], 1)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """What :meth:`coded` makes of z and the classes; ``temperature`` scales z."""
        return self.coded(self.settings(how).temperature * self.latent(rng, len(rng)), condition.label)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of what :meth:`coded` makes; without classes those are latents."""
        image: Tensor = self.generator(latent[:, : self.nz], latent[:, self.nz :])
        return image
