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
from zeuxis.game import Player, System, Turn
from zeuxis.nn.autoencoder import Decoder, Encoder
from zeuxis.nn.norm import Norm
from zeuxis.nn.patch_gan import PatchCritic
from zeuxis.systems.autoencoder._first_stage import FirstStage


class KLAutoencoder(FirstStage):
    """Pictures in ``latent`` numbers a place, with a small pull towards a standard normal distribution.

    ``multiples`` sets the factor f = 2^(levels - 1) between pictures and latents; ``attention`` lists the factors
    at which the networks attend, besides the coarsest. ``kl`` weighs nats against the reconstruction loss summed over
    pixels.
    ``features`` is a trained system whose ``encode`` is the space of the perceptual loss, weighed by
    ``perceptual``; without it there is none. The critic starts when ``critic_start`` of the budget is spent.
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
            critic_start=critic_start,
            adversarial=adversarial,
            perceptual=perceptual,
            features=features,
        )
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
        return self.picture(latent).clamp(-1, 1)
