"""VQ-VAE-2 (Razavi, van den Oord & Vinyals 2019, "Generating Diverse High-Fidelity Images with VQ-VAE-2", 1906.00446).

Symbols -> code:
    h_top, h_bottom -> z_top, z_bottom    e_top, e_bottom -> top.vectors, bottom.vectors
    E_bottom -> bottom_encoder, then into_bottom    E_top -> top_encoder, into_top    D -> upsample and decoder
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError, must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.losses.reconstruction import l2
from zeuxis.nn.quantiser import Quantised
from zeuxis.nn.strided import StridedDecoder, StridedEncoder, code_map
from zeuxis.nn.vector_quantiser import VectorQuantiser

BOTTOM, TOP = 2, 3  # how often a picture is halved to the one map and to the other


class VQVAE2(System):
    """Two maps of codes, of an eighth and a quarter of the sides: the whole on top, and below what it leaves out.

    A picture's code is one sequence ``(B, N)``, the top map row by row and then the bottom one; both take values in [0,
    codes), of a codebook each. Codebooks are moving averages, as published.

    Args:
        codes: values that a code takes, K.
        code_width: numbers of a codebook's vector.
        width: channels of the networks.
        hidden: channels within a residual block.
        blocks: residual blocks of each network.
        beta: weight of the commitment loss, which keeps the encoders near their codes.
        kmeans: whether the codebooks start at the k-means of the first batch; those that are started from stay.
        restart_dead: codes chosen less often than this in a batch, on average, restart at vectors of the batch; 0
            restarts none.
    """

    card = Card(
        "vq-vae-2",
        title="VQ-VAE-2",
        family="autoencoder",
        year=2019,
        paper="1906.00446",
        verbs={"encode", "decode"},
        latents="entries",
        departures=(
            "The bottom encoder is conditioned on the top codes by one decoder of them, concatenated to its map.",
            "Two levels, not the three of faces at 1024x1024; the priors over the codes are methods of their own.",
            "What the paper's table leaves open is as in a public program of the same size (1,388,867 parameters with "
            "32 residual units): the first strided convolution half as wide, a transposed one for the top codes.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        codes: int = 512,
        code_width: int = 64,
        width: int = 128,
        hidden: int = 64,
        blocks: int = 2,
        beta: float = 0.25,
        kmeans: bool = False,
        restart_dead: float = 0.0,
    ) -> None:
        super().__init__()
        must_be_within(0, blocks=blocks, beta=beta)
        self.shape, self.codes = Shape(*shape), codes
        self.maps = code_map(self.shape, TOP), code_map(self.shape, BOTTOM)  # rows and columns of either
        channels, half, d = self.shape.channels, (width // 2,), code_width
        self.bottom_encoder = StridedEncoder(channels, width, strided=(*half, width), hidden=hidden, blocks=blocks)
        self.top_encoder = StridedEncoder(width, width, strided=half, hidden=hidden, blocks=blocks)
        self.into_top = nn.Conv2d(width, d, 1)
        self.top_decoder = StridedDecoder(d, d, width=width, strided=(), hidden=hidden, blocks=blocks)
        self.into_bottom = nn.Conv2d(d + width, d, 1)
        self.upsample = nn.ConvTranspose2d(d, d, 4, stride=2, padding=1)
        self.decoder = StridedDecoder(2 * d, channels, width=width, strided=half, hidden=hidden, blocks=blocks)
        self.top, self.bottom = (
            VectorQuantiser(codes, d, beta=beta, ema=True, kmeans=kmeans, restart_dead=restart_dead) for _ in self.maps
        )

    def players(self) -> tuple[Player, ...]:
        encoders = (self.bottom_encoder, self.top_encoder, self.into_top, self.top_decoder, self.into_bottom)
        return (Player("autoencoder", (*encoders, self.upsample, self.decoder), lr=3e-4),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.rebuild),)

    def quantised(self, image: Tensor) -> tuple[tuple[Tensor, Quantised], tuple[Tensor, Quantised]]:
        """The first half of Algorithm 1: vectors and what becomes of them, of the top and then of the bottom."""
        features = self.bottom_encoder(image)  # (B, width, H/4, W/4)
        z_top = self.into_top(self.top_encoder(features))  # (B, D, H/8, W/8)
        top = self.top(z_top)
        context = self.top_decoder(top.vectors)  # (B, D, H/4, W/4)
        z_bottom = self.into_bottom(torch.cat([context, features], 1))  # (B, D, H/4, W/4)
        return (z_top, top), (z_bottom, self.bottom(z_bottom))

    def decode_vectors(self, top: Tensor, bottom: Tensor) -> Tensor:
        """D(e_top, e_bottom): vectors ``(B, D, h, w)`` of both maps to pictures, unbounded."""
        image: Tensor = self.decoder(torch.cat([self.upsample(top), bottom], 1))
        return image.float()

    def rebuild(self, turn: Turn) -> Tensor:
        """The squared error of the picture, and the commitment to both maps (Eq. 2)."""
        x = turn.batch.image
        (z_top, top), (z_bottom, bottom) = self.quantised(x)
        error = l2(self.decode_vectors(top.vectors, bottom.vectors), x)
        turn.memo["vectors"] = (z_top.detach(), top.indices), (z_bottom.detach(), bottom.indices)
        turn.note(l2=error, codebook=top.loss + bottom.loss, top=top.perplexity, bottom=bottom.perplexity)
        return error + top.loss + bottom.loss

    def after_round(self, turn: Turn) -> None:
        """Update both codebooks by the vectors that they were chosen for."""
        pairs = zip((self.top, self.bottom), turn.whole("vectors"), strict=True)
        restarted = [book.update(z, indices, turn.shared_rng, first=turn.first) for book, (z, indices) in pairs]
        turn.note(restarted=sum(restarted))

    def encode(self, image: Tensor) -> Tensor:
        """The codes, int64 ``(B, H W / 64 + H W / 16)`` in [0, codes): the top map, then the bottom, row by row."""
        (_, top), (_, bottom) = self.quantised(image)
        return torch.cat([top.indices.flatten(1), bottom.indices.flatten(1)], 1)

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [-1, 1] of such a sequence of codes."""
        (rows, columns), below = self.maps
        n = rows * columns
        if latent.shape[1] != n + below[0] * below[1]:
            raise UsageError(
                f"codes of {tuple(latent.shape)} are no pictures of {self.shape.width}x{self.shape.height}: give "
                f"{n} codes of the top map and then {below[0] * below[1]} of the bottom one for each"
            )
        top, bottom = latent[:, :n].unflatten(1, (rows, columns)), latent[:, n:].unflatten(1, below)
        return self.decode_vectors(self.top.lookup(top), self.bottom.lookup(bottom)).clamp(-1, 1)
