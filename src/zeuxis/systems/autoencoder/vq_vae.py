"""VQ-VAE (van den Oord, Vinyals & Kavukcuoglu 2017, "Neural Discrete Representation Learning", arXiv:1711.00937).

Symbols -> code:
    x -> image    z_e(x) -> z    e in R^(K x D) -> the quantiser's codebook: K -> codes, D -> code_width
    z_q(x) -> quantised.vectors    q(z = k | x) -> indices    beta -> beta    log p(x | z_q(x)) -> l2
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.losses.reconstruction import l2
from zeuxis.nn.quantisers import make_quantiser
from zeuxis.nn.strided import StridedDecoder, StridedEncoder, code_map


class VQVAE(System):
    """Pictures to a map of whole numbers, its sides smaller by a power of two, and back.

    The prior over codes is uniform here; a model of the codes is a method of its own.

    Args:
        codes: values that a code takes, K.
        code_width: numbers of a codebook's vector; the other quantisers have widths of their own.
        width: channels of the networks.
        hidden: channels within a residual block.
        blocks: residual blocks of the encoder, and of the decoder.
        halvings: of the sides from picture to codes: 2 are codes of 4 x 4 pixels.
        beta: weight of the commitment loss, which keeps the encoder near its codes.
        entropy: weight of the penalty that keeps lookup-free codes in use; "lfq" alone.
        quantiser: "codebook", "fsq" (finite scalars) or "lfq" (lookup-free).
        ema: whether the codebook is moving averages of what it is chosen for (appendix A.1), and not learnt by
            gradient.
        kmeans: whether the codebook starts at the k-means of the first batch; one that is started from stays.
        restart_dead: codes chosen less often than this in a batch, on average, restart at vectors of the batch; 0
            restarts none.
        levels: values of each finite scalar, whose product is ``codes``; "fsq" alone.
    """

    card = Card(
        "vq-vae",
        title="VQ-VAE",
        family="autoencoder",
        year=2017,
        paper="1711.00937",
        verbs={"encode", "decode"},
        latents="entries",
        departures=(
            "A convolution of 3x3 stands before the residual blocks on either side, as in the authors' program.",
            "The paper does not give the width of the codes of its pictures: 64, as in the authors' program.",
            "log p(x|z) is the squared error, the mean over pixels; Eq. 3's other terms are means too.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        codes: int = 512,
        code_width: int = 64,
        width: int = 256,
        hidden: int = 256,
        blocks: int = 2,
        halvings: int = 2,
        beta: float = 0.25,
        entropy: float = 0.1,
        quantiser: str = "codebook",
        ema: bool = False,
        kmeans: bool = False,
        restart_dead: float = 0.0,
        levels: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        must_be_within(1, halvings=halvings)
        must_be_within(0, blocks=blocks, beta=beta, entropy=entropy)
        self.shape, self.codes = Shape(*shape), codes
        code_map(self.shape, halvings)
        self.stride = 2**halvings
        self.quantiser = make_quantiser(
            quantiser,
            codes,
            code_width,
            beta=beta,
            entropy=entropy,
            ema=ema,
            kmeans=kmeans,
            restart_dead=restart_dead,
            levels=tuple(levels),
        )
        channels, inner = self.shape.channels, self.quantiser.width
        self.encoder = StridedEncoder(channels, width, strided=(width,) * halvings, hidden=hidden, blocks=blocks)
        self.into_codes = nn.Conv2d(width, inner, 1)
        between = (width,) * (halvings - 1)
        self.decoder = StridedDecoder(inner, channels, width=width, strided=between, hidden=hidden, blocks=blocks)

    def players(self) -> tuple[Player, ...]:
        return (Player("autoencoder", (self.encoder, self.into_codes, self.quantiser, self.decoder), lr=2e-4),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.rebuild),)

    def rebuild(self, turn: Turn) -> Tensor:
        """Eq. 3: the squared error of the picture, and the quantiser's loss."""
        x = turn.batch.image  # (B, C, H, W)
        z = self.into_codes(self.encoder(x))  # (B, D, h, w)
        quantised = self.quantiser(z)  # Eqs. 1 and 2
        error = l2(self.decoder(quantised.vectors).float(), x)
        turn.memo["vectors"] = z.detach(), quantised.indices
        turn.note(l2=error, codebook=quantised.loss, perplexity=quantised.perplexity)
        return error + quantised.loss

    def after_round(self, turn: Turn) -> None:
        """Update a codebook that learns without gradients."""
        z, indices = turn.whole("vectors")
        turn.note(restarted=self.quantiser.update(z, indices, turn.shared_rng, first=turn.first))

    def encode(self, image: Tensor) -> Tensor:
        """The indices of the codes, int64 ``(B, H / f, W / f)`` in [0, codes)."""
        indices: Tensor = self.quantiser(self.into_codes(self.encoder(image))).indices
        return indices

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, f h, f w)`` in [-1, 1] of indices ``(B, h, w)``."""
        y: Tensor = self.decoder(self.quantiser.lookup(latent))
        return y.float().clamp(-1, 1)
