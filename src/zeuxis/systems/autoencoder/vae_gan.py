"""VAE-GAN (Larsen, Sønderby, Larochelle & Winther 2015, "Autoencoding beyond pixels using a learned similarity
metric", arXiv:1512.09300).

The critic learns to distinguish pictures from fakes; the reconstruction is measured in one of its layers,
not in pixels.
Symbols -> code:
    Enc -> encoder    Dec -> decoder    Dis -> critic, logits    Dis_l -> critic.features    gamma -> gamma
    z, z_p -> z, drawn    x~, x_p -> the halves of fake    L_prior -> rate    L_llike -> feature_loss    L_GAN -> loss
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.distributions.normal import Normal
from zeuxis.errors import must_be_within
from zeuxis.game import Move, Player, Turn
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.nn.conv_autoencoder import ConvDecoder, ConvEncoder
from zeuxis.nn.dcgan import DCGANDiscriminator
from zeuxis.nn.norm import Norm
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.systems.autoencoder._normal_code import NormalCode


class VAEGAN(NormalCode):
    """Three players, one move each (algorithm 1).

    The encoder lowers the rate and the feature loss, the decoder the feature loss and its adversarial loss, the critic
    its own; no gradient of the feature loss reaches the critic, none of the adversarial loss the encoder. Pictures are
    square, 4 times a power of two a side.

    Args:
        latent: numbers of a code.
        widths: channels of each stage of the convolutions; each halves the picture's sides, which must allow it; []
            leaves perceptrons of one hidden layer.
        hidden: units of the hidden layer between the convolutions and the code.
        ndf: channels of the critic at half the picture's side; they double with every level below.
        gamma: weight of the feature loss in the decoder's; the rest is adversarial.
        margin: in nats: players rest by the authors' rule of equilibrium (see :meth:`due`); none has all move in every
            round.
        equilibrium: the critic's error in nats about which the margin lies (0.68; log 2 is guessing).
    """

    card = Card(
        "vae-gan",
        title="VAE-GAN",
        family="autoencoder",
        year=2015,
        paper="1512.09300",
        verbs={"sample", "encode", "decode", "draw_latents"},
        knobs=("temperature",),
        departures=(
            "The decoder lowers -log Dis(x~) - log Dis(x_p); the paper's log(1 - Dis) saturates when it loses.",
            "Encoder and decoder are those of our vae, so that the two differ in the game alone.",
            "Groups are normalised, not batches: no picture's features depend on the rest of its batch.",
            "Dis_l is the critic's last map, which is its third convolution, the paper's choice, at 32x32.",
            "Adam in place of RMSProp.",
            "Fakes of either kind together weigh as much as the real pictures; algorithm 1 sums them, to twice that.",
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
        must_be_within(0, gamma=gamma, margin=margin or 0.0)
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
        return (Move("encoder", self.encoder_loss), Move("decoder", self.decoder_loss), Move("critic", self.criticise))

    def encoder_loss(self, turn: Turn) -> Tensor:
        """L_prior + L_llike, the loss of Enc."""
        x = turn.batch.image
        posterior = self.posterior(x)
        z = posterior.sample(turn.rng)  # (B, Z)
        features, turn.memo["real features"] = shared_pass(self.critic.trunk, x, keep=turn.alone)
        target = features.float()  # (B, F, 4, 4), Dis_l(x)
        turn.memo["z"], turn.memo["target"] = z.detach(), target.detach()
        rate = posterior.kl_standard().mean()  # Eq. 3
        feature_loss = self.feature_loss(self.critic.features(self.generate(z)), target)
        turn.note(rate=rate, feature_loss=feature_loss)
        return rate + feature_loss

    def decoder_loss(self, turn: Turn) -> Tensor | None:
        """gamma L_llike - L_GAN, the loss of Dec; passes where :meth:`due` says so."""
        z, target = turn.memo["z"], turn.memo["target"]
        drawn = turn.rng.normal(*z.shape, device=z.device)  # z_p
        fake = self.generate(torch.cat([z, drawn]))  # (2B, C, H, W): x~, then x_p
        features, turn.memo["fake features"] = shared_pass(self.critic.trunk, fake, keep=turn.alone)
        logits = self.critic.head(features).flatten()
        decoder_due, turn.memo["critic_due"] = self.due(self.critic.head(target).detach(), logits.detach())
        if not decoder_due:
            return None
        return self.gamma * self.feature_loss(features[: len(z)], target) + self.loss.generator(logits)

    def criticise(self, turn: Turn) -> Tensor | None:
        """-L_GAN; passes where :meth:`due` says so."""
        if not turn.memo["critic_due"]:
            return None
        real, fake = (self.critic.head(turn.memo[f"{of} features"]()).flatten() for of in ("real", "fake"))
        turn.note(real=real.float().sigmoid().mean(), fake=fake.float().sigmoid().mean())
        return self.loss.critic(real, fake)

    def feature_loss(self, features: Tensor, target: Tensor) -> Tensor:
        """-log N(Dis_l(x); Dis_l(x~), I) in nats, the mean over the batch (Eq. 7-8)."""
        return -Normal(features.float(), target.new_zeros(())).log_prob(target).mean()

    def due(self, real: Tensor, fake: Tensor) -> tuple[bool, bool]:
        """Whether decoder and critic move, by the critic's logits of real and fake pictures (the authors' program).

        The critic rests while either of its errors is below ``equilibrium - margin`` nats, the decoder while either
        is above ``equilibrium + margin``; where both would rest, both move. Without ``margin`` both always do.
        """
        if self.margin is None:
            return True, True
        errors = float(softplus(-real.float()).mean()), float(softplus(fake.float()).mean())
        decoder = max(errors) <= self.equilibrium + self.margin
        critic = min(errors) >= self.equilibrium - self.margin
        return (decoder, critic) if decoder or critic else (True, True)

    def generate(self, z: Tensor) -> Tensor:
        """Dec(z), ``(B, C, H, W)`` in [-1, 1]."""
        return self.decoder(z).float().tanh()

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of latents ``(B, Z)``."""
        return self.generate(latent)
