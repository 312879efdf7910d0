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

    The autoencoder lowers the reconstruction loss and that of a generator against the critic, which starts late.

    Args:
        codes: values that a code takes, K.
        code_width: numbers of a codebook's vector; the other quantisers have widths of their own.
        latent: channels that the encoder makes and the decoder takes.
        width: channels of the finest level.
        multiples: of the width at each level, from fine to coarse; they set the factor f = 2^(levels - 1) between the
            sides of pictures and codes.
        blocks: residual blocks at each level of the encoder; the decoder has one more.
        attention: the downsampling factors (1, 2, 4, ...) at which the networks attend, besides the coarsest.
        ema: whether the codebook is a moving average of the vectors it is chosen for (with a k-means start, dead codes
            restarted), and not learnt by gradient.
        quantiser: "codebook", "fsq" (finite scalars) or "lfq" (lookup-free): see :func:`make_quantiser`.
        levels: values of each finite scalar, whose product is ``codes``; "fsq" alone.
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
        "vqgan",
        title="VQGAN",
        family="autoencoder",
        year=2020,
        paper="2012.09841",
        verbs={"encode", "decode"},
        latents="entries",
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
            blocks=blocks,
            layers=layers,
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
        z, indices = turn.whole("vectors")
        turn.note(restarted=self.quantiser.update(z, indices, turn.shared_rng, first=turn.first))

    def encode(self, image: Tensor) -> Tensor:
        """The indices of the codes, int64 ``(B, H / f, W / f)``."""
        indices: Tensor = self.quantiser(self.into_codes(self.encoder(image))).indices
        return indices

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, f h, f w)`` in [-1, 1] of indices ``(B, h, w)``."""
        y: Tensor = self.decoder(self.from_codes(self.quantiser.lookup(latent)))
        return y.float().clamp(-1, 1)
