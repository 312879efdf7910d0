"""The KL-regularised first stage of latent diffusion (Rombach et al. 2021, "High-Resolution Image Synthesis with
Latent Diffusion Models", arXiv:2112.10752, section 3.1 and appendix G); also the autoencoder of Stable Diffusion.

Pictures to a small map of real numbers and back; the diffusion model in its space is a method of its own.
Symbols -> code:
    E -> encoder, into_moments    D -> from_latent, decoder    E_mu, E_sigma -> posterior.mean, posterior.std
    L_rec -> reconstruction_loss    D_psi -> critic    L_reg -> rate (weighed by ``kl``)
What it shares with VQGAN, the reconstruction loss, the critic and its adaptive weight, is in ``_first_stage.py``.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.distributions.normal import Normal
from zeuxis.errors import must_be_within
from zeuxis.game import Player, System, Turn
from zeuxis.nn.autoencoder import Decoder, Encoder
from zeuxis.nn.norm import Norm
from zeuxis.nn.patch_gan import PatchCritic
from zeuxis.nn.within import within
from zeuxis.systems.autoencoder._first_stage import FirstStage


class KLAutoencoder(FirstStage):
    """Pictures in a few numbers a place, with a small pull towards a standard normal distribution.

    Args:
        latent: channels of a latent: numbers a place.
        width: channels of the finest level.
        multiples: of the width at each level, from fine to coarse; they set the factor f = 2^(levels - 1) between the
            sides of pictures and latents.
        blocks: residual blocks at each level of the encoder; the decoder has one more.
        attention: the downsampling factors (1, 2, 4, ...) at which the networks attend, besides the coarsest.
        kl: weight of the rate in nats against the reconstruction loss summed over pixels.
        ndf: channels of the critic's first layer, at half the picture's side; they double from layer to layer, up to 8
            times.
        layers: strided convolutions of the critic: one of its logits sees 16 (1), 34 (2) or 70 pixels (3) a side.
        critic_start: share of the budget, in [0, 1], after which the critic joins in: before, the reconstruction is too
            poor to learn from it.
        adversarial: weight of the generator's loss against the critic, beside the adaptive weight that keeps its
            gradient as large as the reconstruction's; 0 is without.
        perceptual: weight of the perceptual loss; idle without ``features``.
        features: a trained system whose ``encode`` is the space of the perceptual loss; none leaves that loss out.
    """

    card = Card(
        "kl-autoencoder",
        title="KL autoencoder",
        family="autoencoder",
        year=2021,
        paper="2112.10752",
        verbs={"encode", "decode"},
        departures=(
            "The perceptual loss compares features of a given system, or is left out: LPIPS's weights do not ship.",
            "The critic starts at a share of the budget, not after a number of steps.",
            "The losses are as in the authors' program, where the paper is brief: sums over a picture, hinge, weight.",
            "The program's log-variance of pixels is left out: it starts at 0, and no optimiser of theirs holds it.",
            "The critic looks at the reconstruction that the autoencoder's move made, which is one step older.",
            "encode gives the mean of q(z|x), unscaled: whoever diffuses it divides by its standard deviation.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        latent: int = 4,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 2, 4, 4),
        blocks: int = 2,
        attention: tuple[int, ...] = (),
        kl: float = 1e-6,
        ndf: int = 64,
        layers: int = 3,
        critic_start: float = 0.2,
        adversarial: float = 0.5,
        perceptual: float = 1.0,
        features: System | None = None,
    ) -> None:
        multiples, attention = tuple(multiples), tuple(attention)
        super().__init__(
            shape,
            len(multiples),
            blocks=blocks,
            layers=layers,
            critic_start=critic_start,
            adversarial=adversarial,
            perceptual=perceptual,
            features=features,
        )
        must_be_within(0, kl=kl)
        self.kl = kl
        channels, both = self.shape.channels, 2 * latent  # a mean and a log-variance
        self.encoder = Encoder(channels, both, width=width, multiples=multiples, blocks=blocks, attention=attention)
        self.into_moments = nn.Conv2d(both, both, 1)
        self.from_latent = nn.Conv2d(latent, latent, 1)
        self.decoder = Decoder(latent, channels, width=width, multiples=multiples, blocks=blocks, attention=attention)
        self.critic = PatchCritic(channels, ndf=ndf, layers=layers, norm=Norm.BATCH)

    def players(self) -> tuple[Player, ...]:
        return self.players_of(self.encoder, self.into_moments, self.from_latent, self.decoder)

    def rebuild(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """Pictures of z drawn from q(z|x), and the weighted rate."""
        posterior = self.posterior(turn.batch.image)
        y = self.picture(posterior.sample(turn.rng))
        rate = posterior.kl_standard().mean()  # nats a picture
        turn.note(rate=rate)
        return y, self.kl * rate

    def reconstruction_loss(self, y: Tensor, x: Tensor) -> Tensor:
        """The sum over a picture's pixels: what ``kl`` and the adaptive weight's clamp are published against."""
        return x[0].numel() * super().reconstruction_loss(y, x)

    def posterior(self, image: Tensor) -> Normal:
        """q(z|x), ``(B, Z, H / f, W / f)``, float32."""
        mean, logvar = self.into_moments(self.encoder(image)).float().chunk(2, dim=1)
        return Normal(mean, logvar.clamp(-30, 20))

    def picture(self, latent: Tensor) -> Tensor:
        """What the decoder makes of latents, unbounded."""
        y: Tensor = self.decoder(self.from_latent(latent)).float()
        return y

    def encode(self, image: Tensor) -> Tensor:
        """The mean of q(z|x), ``(B, Z, H / f, W / f)``."""
        return self.posterior(image).mean

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, f h, f w)`` in [-1, 1] of latents ``(B, Z, h, w)``."""
        return within(self.picture(latent))
