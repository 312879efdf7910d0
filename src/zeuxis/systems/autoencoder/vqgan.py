"""VQGAN (Esser, Rombach & Ommer 2020, "Taming Transformers for High-Resolution Image Synthesis", arXiv:2012.09841).

The first stage: pictures to a small map of codes and back. Its prior, a transformer over the codes,
is a method of its own. Symbols -> code:
    E -> encoder, into_codes    G -> from_codes, decoder    Z -> quantiser    D -> critic
    z_hat -> z    z_q -> quantised.vectors    s -> indices    lambda -> balance    G_L -> decoder.out
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import Unsupported
from zeuxis.game import Move, Player, System, Turn
from zeuxis.losses.adversarial import Hinge
from zeuxis.losses.reconstruction import l1, l2
from zeuxis.nn.autoencoder import Decoder, Encoder
from zeuxis.nn.norm import Norm
from zeuxis.nn.patch import PatchCritic
from zeuxis.nn.quantisers import make_quantiser


class VQGAN(System):
    """Two players with overlapping interests, of whom the second joins late.

    The autoencoder wants its pictures like their originals and real to the critic, who enters when
    ``critic_start`` of the budget is spent. ``multiples`` sets the factor f = 2^(levels - 1) between
    pictures and codes. With ``moving`` the codebook follows the vectors it stands for (a k-means start,
    moving averages, dead codes restarted) in place of gradients. ``quantiser`` may also be ``"fsq"`` (with its
    ``levels``) or ``"lfq"``: see :func:`make_quantiser`; of their vectors ``code_width`` says nothing.
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
        moving: bool = False,
        quantiser: str = "codebook",
        levels: tuple[int, ...] = (),
        ndf: int = 64,
        layers: int = 3,
        critic_start: float = 0.5,
        adversarial: float = 0.8,
        perceptual: float = 1.0,
        features: System | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.codes = Shape(*shape), codes
        self.critic_start = critic_start
        self.adversarial, self.perceptual = adversarial, perceptual
        factor = 2 ** (len(multiples) - 1)
        if self.shape.height % factor or self.shape.width % factor:
            raise Unsupported(
                f"images of {self.shape.height}x{self.shape.width} cannot be coded by a factor of {factor}: "
                f"choose a size that {factor} divides, or fewer multiples"
            )
        self.stride = factor if features is None else None  # a feature network may be made for one shape
        channels = self.shape.channels
        multiples, attention = tuple(multiples), tuple(attention)
        self.encoder = Encoder(channels, latent, width=width, multiples=multiples, blocks=blocks, attention=attention)
        self.quantiser = make_quantiser(
            quantiser, codes, code_width, moving=moving, kmeans=moving, revive=0.1 * moving, levels=tuple(levels)
        )
        self.into_codes = nn.Conv2d(latent, self.quantiser.width, 1)
        self.from_codes = nn.Conv2d(self.quantiser.width, latent, 1)
        self.decoder = Decoder(latent, channels, width=width, multiples=multiples, blocks=blocks, attention=attention)
        self.critic = PatchCritic(channels, ndf=ndf, layers=layers, norm=Norm.BATCH)
        self.loss = Hinge()
        self.features = features
        if features is not None:
            self.freeze(features)

    def players(self) -> tuple[Player, ...]:
        lr = 12 * 4.5e-6  # 4.5e-6 for each image of the published batch of 12
        ours = (self.encoder, self.into_codes, self.quantiser, self.from_codes, self.decoder)
        return (
            Player("autoencoder", ours, lr=lr, betas=(0.5, 0.9)),
            Player("critic", (self.critic,), lr=lr, betas=(0.5, 0.9)),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.reconstruct), Move("critic", self.criticise))

    def reconstruct(self, turn: Turn) -> Tensor:
        """Eq. 6 as E, G and Z see it."""
        x = turn.batch.image  # (B, C, H, W)
        z = self.into_codes(self.encoder(x))  # (B, D, h, w)
        quantised = self.quantiser(z)  # Eq. 2
        y = self.decoder(self.from_codes(quantised.vectors)).float()  # (B, C, H, W), Eq. 3
        turn.memo["vectors"] = z.detach(), quantised.indices
        turn.memo["reconstruction"] = y.detach()
        turn.note(l1=l1(y, x), codebook=quantised.loss, perplexity=quantised.perplexity)
        likeness = l1(y, x) + self.perceptual_distance(y, x)
        loss = likeness + quantised.loss  # Eq. 4, with the perceptual likeness of section 3.1
        if turn.progress >= self.critic_start:
            deception = self.loss.generator(self.critic(y))  # Eq. 5
            balance = self.balance(likeness, deception)
            turn.note(deception=deception, balance=balance)
            loss = loss + balance * deception
        return loss

    def criticise(self, turn: Turn) -> Tensor | None:
        """Eq. 5 as D sees it, by the hinge; passes until it is the critic's time."""
        if turn.progress < self.critic_start:
            return None
        loss = self.loss.critic(self.critic(turn.batch.image), self.critic(turn.memo["reconstruction"]))
        turn.note(critic=loss)
        return loss

    def after_round(self, turn: Turn) -> None:
        """A moving codebook follows the vectors of the batch."""
        z, indices = turn.memo["vectors"]
        turn.note(restarted=self.quantiser.follow(z, indices, turn.rng, first=turn.round == 0))

    def perceptual_distance(self, y: Tensor, x: Tensor) -> Tensor:
        """Mean squared difference of features, weighed; 0 without features."""
        if self.features is None:
            return y.new_zeros(())
        return self.perceptual * l2(self.features.encode(y), self.features.encode(x).detach())

    def balance(self, likeness: Tensor, deception: Tensor) -> Tensor:
        """lambda: makes both losses pull equally hard at the decoder's last layer, then weighs (Eq. 7)."""
        last = self.decoder.out.weight  # G_L
        pull, push = (torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (likeness, deception))
        return self.adversarial * (pull / (push + 1e-4)).clamp(max=1e4).detach()

    def encode(self, image: Tensor) -> Tensor:
        """The indices of the codes, int64 ``(B, H / f, W / f)``."""
        indices: Tensor = self.quantiser(self.into_codes(self.encoder(image))).indices
        return indices

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, f h, f w)`` in [-1, 1] of indices ``(B, h, w)``."""
        y: Tensor = self.decoder(self.from_codes(self.quantiser.lookup(latent)))
        return y.float().clamp(-1, 1)
