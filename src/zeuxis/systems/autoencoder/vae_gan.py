"""VAE-GAN (Larsen, Sønderby, Larochelle & Winther 2015, "Autoencoding beyond pixels using a learned similarity
metric", arXiv:1512.09300).

A critic learns what tells pictures from their imitations; likeness is measured in one of its layers, not in pixels.
Symbols -> code:
    Enc -> encoder    Dec -> decoder    Dis -> critic, logits    Dis_l -> critic.features    gamma -> gamma
    z, z_p -> z, drawn    x~, x_p -> the halves of made    L_prior -> rate    L_llike -> unlikeness    L_GAN -> loss
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import Move, Player, Turn
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.likelihood import gaussian_nll, kl_normal
from zeuxis.nn.conv_autoencoder import ConvDecoder, ConvEncoder
from zeuxis.nn.dcgan import DCGANDiscriminator
from zeuxis.nn.norm import Norm
from zeuxis.systems.autoencoder._normal_code import NormalCode


class VAEGAN(NormalCode):
    """Three players, one move each (algorithm 1).

    The encoder lowers the rate and the unlikeness, the decoder the unlikeness and the critic's suspicion, the critic
    its own error; the critic never hears of likeness, nor the encoder of the critic's verdict. With ``margin`` the
    authors' rule of equilibrium holds: see :meth:`due`. Pictures are square, 4 times a power of two a side.
    """

    card = Card(
        "vae-gan",
        title="VAE-GAN",
        family="autoencoder",
        year=2015,
        paper="1512.09300",
        verbs={"sample", "encode", "decode"},
        knobs=("temperature",),
        departures=(
            "The decoder lowers -log Dis(x~) - log Dis(x_p); the paper's log(1 - Dis) saturates when it loses.",
            "Encoder and decoder are those of our vae, so that the two differ in the game alone.",
            "Groups are normalised, not batches: the likeness of two pictures does not depend on their company.",
            "Dis_l is the critic's last map, which is its third convolution, the paper's choice, at 32x32.",
            "Adam in place of RMSProp.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        latent: int = 32,
        widths: tuple[int, ...] = (32, 64, 128),
        hidden: int = 256,
        ndf: int = 32,
        gamma: float = 1e-2,
        margin: float | None = None,
        equilibrium: float = 0.68,
    ) -> None:
        super().__init__()
        self.shape, self.latent = Shape(*shape), latent
        self.gamma, self.margin, self.equilibrium = gamma, margin, equilibrium
        self.encoder = ConvEncoder(self.shape, 2 * latent, widths=tuple(widths), hidden=hidden)
        self.decoder = ConvDecoder(self.shape, latent, widths=tuple(widths), hidden=hidden)
        self.critic = DCGANDiscriminator(self.shape, ndf=ndf, norm=Norm.GROUP)
        self.loss = NonSaturating()

    def players(self) -> tuple[Player, ...]:
        return (
            Player("encoder", (self.encoder,), lr=1e-3),
            Player("decoder", (self.decoder,), lr=5e-4, betas=(0.5, 0.999)),
            Player("critic", (self.critic,), lr=5e-4, betas=(0.5, 0.999)),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("encoder", self.infer), Move("decoder", self.make), Move("critic", self.criticise))

    def infer(self, turn: Turn) -> Tensor:
        """L_prior + L_llike, as Enc sees them."""
        x = turn.batch.image
        mean, logvar = self.posterior(x)  # (B, Z) each
        z = mean + (0.5 * logvar).exp() * turn.rng.normal(*mean.shape, device=mean.device)
        wanted = self.critic.features(x).float()  # (B, F, 4, 4), Dis_l(x)
        turn.memo["z"], turn.memo["wanted"] = z.detach(), wanted.detach()
        rate = kl_normal(mean, logvar).mean()  # Eq. 3
        feature_loss = self.feature_loss(self.critic.features(self.paint(z)), wanted)
        turn.note(rate=rate, feature_loss=feature_loss)
        return rate + feature_loss

    def make(self, turn: Turn) -> Tensor | None:
        """gamma L_llike - L_GAN, as Dec sees them; passes where :meth:`due` says so."""
        z, wanted = turn.memo["z"], turn.memo["wanted"]
        drawn = turn.rng.normal(*z.shape, device=z.device)  # z_p
        made = self.paint(torch.cat([z, drawn]))  # (2B, C, H, W): x~, then x_p
        seen = self.critic.features(made)
        verdict = self.critic.head(seen).flatten()
        turn.memo["made"] = made.detach()
        makes, turn.memo["criticises"] = self.due(self.critic.head(wanted).detach(), verdict.detach())
        if not makes:
            return None
        return self.gamma * self.feature_loss(seen[: len(z)], wanted) + self.loss.generator(verdict)

    def criticise(self, turn: Turn) -> Tensor | None:
        """-L_GAN; passes where :meth:`due` says so."""
        if not turn.memo["criticises"]:
            return None
        real, made = self.critic(turn.batch.image), self.critic(turn.memo["made"])
        turn.note(real=real.float().sigmoid().mean(), made=made.float().sigmoid().mean())
        return self.loss.critic(real, made)

    def feature_loss(self, seen: Tensor, wanted: Tensor) -> Tensor:
        """-log N(Dis_l(x); Dis_l(x~), I) in nats, the mean over the batch (Eq. 7-8)."""
        return gaussian_nll(seen.float(), wanted).mean()

    def due(self, real: Tensor, made: Tensor) -> tuple[bool, bool]:
        """Whether decoder and critic move, by the critic's logits of real and made pictures (the authors' program).

        The critic rests while either of its errors is below ``equilibrium - margin`` nats, the decoder while either
        is above ``equilibrium + margin``; where both would rest, both move. Without ``margin`` both always do.
        """
        if self.margin is None:
            return True, True
        errors = float(softplus(-real.float()).mean()), float(softplus(made.float()).mean())
        makes = max(errors) <= self.equilibrium + self.margin
        criticises = min(errors) >= self.equilibrium - self.margin
        return (makes, criticises) if makes or criticises else (True, True)

    def paint(self, z: Tensor) -> Tensor:
        """Dec(z), ``(B, C, H, W)`` in [-1, 1]."""
        return self.decoder(z).float().tanh()

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of latents ``(B, Z)``."""
        return self.paint(latent)
