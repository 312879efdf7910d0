"""VQGAN (Esser, Rombach & Ommer 2020, "Taming Transformers for High-Resolution Image Synthesis", arXiv:2012.09841).

The first stage: pictures to a small map of codes and back. Its prior, a transformer over the codes,
is a method of its own. Symbols -> code:
    E -> encoder, into_codes    G -> from_codes, decoder    Z -> quantiser    D -> critic
    z_hat -> z    z_q -> quantised.vectors    s -> indices
What it shares with latent diffusion's first stage, the reconstruction loss, the critic and its adaptive weight, is in
``_first_stage.py``.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import Player, System, Turn
from zeuxis.nn.autoencoder import Decoder, Encoder
from zeuxis.nn.norm import Norm
from zeuxis.nn.patch_gan import PatchCritic
from zeuxis.nn.quantisers import make_quantiser
from zeuxis.systems.autoencoder._first_stage import FirstStage


class VQGAN(FirstStage):
    """Pictures as indices of a codebook, and an adversarial loss.

    The autoencoder lowers the reconstruction loss and that of a generator against the critic, which starts when
    ``critic_start`` of the budget is spent. ``multiples`` sets the factor f = 2^(levels - 1) between
    pictures and codes. With ``ema`` the codebook is a moving average of the vectors it is chosen for (a k-means
    start, dead codes restarted) in place of gradients. ``quantiser`` may also be ``"fsq"`` (with its
    ``levels``) or ``"lfq"``: see :func:`make_quantiser`; their vectors' width is not ``code_width``.
    ``features`` is a trained system whose ``encode`` is the space of the perceptual loss, weighed by
    ``perceptual``; without it there is none.
    """

    card = Card(
        "vqgan",
        title="VQGAN",
        family="autoencoder",
        year=2020,
        paper="2012.09841",
        verbs={"encode", "decode"},
        departures=(
            "The perceptual loss compares features of a given system, or is left out: LPIPS's weights do not ship.",
            "The critic starts at a share of the budget, not after a number of steps.",
            "Eq. 7 as in the authors' program: delta is 1e-4, lambda is clamped at 1e4 and multiplied by 0.8.",
            "The commitment is weighed by beta = 0.25 as in VQ-VAE; the program weighs the codebook's term by mistake.",
            "The critic looks at the reconstruction that the autoencoder's move made, which is one step older.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        codes: int = 1024,
        code_width: int = 256,
        latent: int = 256,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 1, 2, 2, 4),
        blocks: int = 2,
        attention: tuple[int, ...] = (16,),
        ema: bool = False,
        quantiser: str = "codebook",
        levels: tuple[int, ...] = (),
        ndf: int = 64,
        layers: int = 3,
        critic_start: float = 0.5,
        adversarial: float = 0.8,
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
        self.codes = codes
        channels = self.shape.channels
        self.encoder = Encoder(channels, latent, width=width, multiples=multiples, blocks=blocks, attention=attention)
        self.quantiser = make_quantiser(
            quantiser, codes, code_width, ema=ema, kmeans=ema, restart_dead=0.1 * ema, levels=tuple(levels)
        )
        self.into_codes = nn.Conv2d(latent, self.quantiser.width, 1)
        self.from_codes = nn.Conv2d(self.quantiser.width, latent, 1)
        self.decoder = Decoder(latent, channels, width=width, multiples=multiples, blocks=blocks, attention=attention)
        self.critic = PatchCritic(channels, ndf=ndf, layers=layers, norm=Norm.BATCH)

    def players(self) -> tuple[Player, ...]:
        return self.players_of(self.encoder, self.into_codes, self.quantiser, self.from_codes, self.decoder)

    def rebuild(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """Pictures of quantised vectors, and the cost of the codebook."""
        z = self.into_codes(self.encoder(turn.batch.image))  # (B, D, h, w)
        quantised = self.quantiser(z)  # Eq. 2
        turn.memo["vectors"] = z.detach(), quantised.indices
        turn.note(codebook=quantised.loss, perplexity=quantised.perplexity)
        return self.decoder(self.from_codes(quantised.vectors)).float(), quantised.loss  # Eqs. 3 and 4

    def after_round(self, turn: Turn) -> None:
        """Update a moving-average codebook by the vectors of the batch."""
        z, indices = turn.memo["vectors"]
        turn.note(restarted=self.quantiser.update(z, indices, turn.rng, first=turn.round == 0))

    def encode(self, image: Tensor) -> Tensor:
        """The indices of the codes, int64 ``(B, H / f, W / f)``."""
        indices: Tensor = self.quantiser(self.into_codes(self.encoder(image))).indices
        return indices

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, f h, f w)`` in [-1, 1] of indices ``(B, h, w)``."""
        y: Tensor = self.decoder(self.from_codes(self.quantiser.lookup(latent)))
        return y.float().clamp(-1, 1)
