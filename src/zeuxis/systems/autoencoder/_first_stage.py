"""What the first stages share: a reconstruction loss, and an adversarial one that starts late.

Equations are those of VQGAN (Esser et al. 2020, arXiv:2012.09841), which latent diffusion (Rombach et al.
2021, arXiv:2112.10752, appendix G) took over; what lies between encoder and decoder is each method's own.
Symbols -> code: E -> encoder    G -> decoder    G_L -> decoder.out    D -> critic    lambda -> adaptive_weight
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError, must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.losses.adversarial import Hinge
from zeuxis.losses.reconstruction import l1, l2
from zeuxis.nn.autoencoder import Decoder, Encoder
from zeuxis.nn.patch_gan import PatchCritic, must_fit_patches
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.nn.strided import code_map


class FirstStage(System, ABC):
    """Two players, the autoencoder and a critic that starts late.

    A subclass builds ``encoder``, ``decoder`` and ``critic`` and what it has between the first two, names
    its players by :meth:`players_of`, and implements :meth:`rebuild`. ``levels`` is how many the networks have,
    of ``blocks`` residual blocks each, ``layers`` how many strided convolutions the critic.
    """

    encoder: Encoder
    decoder: Decoder
    critic: PatchCritic

    def __init__(
        self,
        shape: Shape,
        levels: int,
        *,
        blocks: int,
        layers: int,
        critic_start: float,
        adversarial: float,
        perceptual: float,
        features: System | None,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        must_be_within(0, adversarial=adversarial, perceptual=perceptual)
        must_be_within(1, blocks=blocks)
        self.critic_layers, self.critic_start = layers, critic_start
        self.adversarial, self.perceptual = adversarial, perceptual
        code_map(self.shape, levels - 1)
        self.stride = 2 ** (levels - 1) if features is None else None  # a feature network may be made for one shape
        self.loss = Hinge()
        self.features = features
        if features is not None:
            self.freeze(features)

    @abstractmethod
    def rebuild(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """The pictures of ``turn`` after coding, ``(B, C, H, W)`` float32, and the loss of their code (a scalar)."""

    def players_of(self, *ours: nn.Module) -> tuple[Player, Player]:
        """The autoencoder, of these networks, and the critic.

        Raises :class:`UsageError`, at the beginning of a training and not where the critic enters, for one that never
        would or that has no room.
        """
        if not 0 <= self.critic_start <= 1:
            raise UsageError(
                f"critic_start is {self.critic_start:g}: give a share of the budget, from 0 to 1 (1: never), and not a"
                " number of steps"
            )
        if self.critic_start < 1:
            must_fit_patches(self.shape, self.critic_layers)
        lr = 12 * 4.5e-6  # 4.5e-6 for each image of the published batch of 12
        return (
            Player("autoencoder", ours, lr=lr, betas=(0.5, 0.9)),
            Player("critic", (self.critic,), lr=lr, betas=(0.5, 0.9)),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.reconstruct), Move("critic", self.criticise))

    def reconstruct(self, turn: Turn) -> Tensor:
        """The autoencoder's loss of Eq. 6."""
        x = turn.batch.image  # (B, C, H, W)
        y, code_loss = self.rebuild(turn)  # Eq. 3
        turn.note(l1=l1(y, x))
        reconstruction_loss = self.reconstruction_loss(y, x)
        loss = reconstruction_loss + code_loss  # Eq. 4
        if turn.progress >= self.critic_start:
            logits, turn.memo["fake logits"] = shared_pass(self.critic, y, keep=turn.alone)
            generator_loss = self.loss.generator(logits)  # Eq. 5
            adaptive_weight = self.adaptive_weight(reconstruction_loss, generator_loss)
            turn.note(generator_loss=generator_loss, adaptive_weight=adaptive_weight)
            loss = loss + adaptive_weight * generator_loss
        return loss

    def criticise(self, turn: Turn) -> Tensor | None:
        """The critic's loss of Eq. 5, by the hinge; passes until ``critic_start``."""
        if turn.progress < self.critic_start:
            return None
        loss = self.loss.critic(self.critic(turn.batch.image), turn.memo["fake logits"]())
        turn.note(critic=loss)
        return loss

    def reconstruction_loss(self, y: Tensor, x: Tensor) -> Tensor:
        """|x - y| and the perceptual distance of VQGAN's section 3.1, the mean over pixels."""
        return l1(y, x) + self.perceptual_distance(y, x)

    def perceptual_distance(self, y: Tensor, x: Tensor) -> Tensor:
        """Mean squared difference of features, weighed; 0 without features."""
        if self.features is None:
            return y.new_zeros(())
        return self.perceptual * l2(self.features.encode(y), self.features.encode(x).detach())

    def adaptive_weight(self, reconstruction_loss: Tensor, generator_loss: Tensor) -> Tensor:
        """lambda: gives both losses gradients of one norm at the last layer, times ``adversarial`` (Eq. 7)."""
        last = self.decoder.out.weight  # G_L
        reconstruction, generator = (
            torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
            for loss in (reconstruction_loss, generator_loss)
        )
        return self.adversarial * (reconstruction / (generator + 1e-4)).clamp(max=1e4).detach()
