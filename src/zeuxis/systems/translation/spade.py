"""SPADE (GauGAN): paint a layout, in the style of a picture or in one of chance.

Park, Liu, Wang and Zhu 2019, "Semantic image synthesis with spatially-adaptive normalization" (arXiv:1903.07291).
Symbols -> code:
    m -> the layout, one-hot    z -> z    G -> generator    D -> critic    E -> encoder (appendix A)
    lambda of L_F, L_KLD -> features, kl
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import Hinge
from zeuxis.losses.perceptual import feature_distance
from zeuxis.nn.patch_gan import MultiScaleCritic
from zeuxis.nn.spade import SpadeGenerator, StyleEncoder
from zeuxis.rng import ImageRng
from zeuxis.systems.translation._family import check_counts, check_sides, one_hot, resized


class Spade(System):
    """Two players: a generator, normalised by the layout, with the encoder of styles; and critics at two scales.

    Sampling paints ``condition.layout``: with ``condition.style`` in that picture's style, else in one drawn at random.

    Args:
        ngf: channels of the generator, of which its first layers have 16 times as many.
        nz: numbers of the style's code; 0 is without encoder, one picture for each layout.
        doublings: how often the generator doubles its first side; 5, 6 and 7 in the authors' program.
        hidden: channels of the layout's embedding in each normalisation.
        style_side: most pixels a side of the picture that the encoder sees; larger ones are reduced to that.
        ndf: channels of the critics' first layers.
        layers: strided convolutions of each critic, as those of pix2pixHD count; the authors' program says one more.
        scales: critics, each of half the side.
        features: weight of the critics' features of what is made against those of what is real.
        kl: weight of the divergence of the code from a normal distribution, in nats a picture.
        lr: learning rate; the generator has half of it, the critics twice as much.
    """

    card = Card(
        "spade",
        title="SPADE",
        family="translation",
        year=2019,
        paper="1903.07291",
        needs={"layout"},
        accepts={"style"},
        knobs=("temperature",),
        departures=(
            "No perceptual loss, which needs a network trained on ImageNet (the authors' --no_vgg_loss).",
            "The divergence of the code is a mean over pictures, where the program adds those of a batch.",
            "The encoder has as many layers as bring its picture to 4x4: six of 256 pixels, as published.",
            "One generated batch serves both players, the generator first.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        layout_names: tuple[str, ...],
        ngf: int = 64,
        nz: int = 256,
        doublings: int = 6,
        hidden: int = 128,
        style_side: int = 256,
        ndf: int = 64,
        layers: int = 3,
        scales: int = 2,
        features: float = 10.0,
        kl: float = 0.05,
        lr: float = 2e-4,
    ) -> None:
        super().__init__()
        self.shape, self.classes = Shape(*shape), len(layout_names)
        if not self.classes:
            raise UsageError("'spade' paints layouts, and the data name no classes: use data that give layout")
        check_counts("spade", 1, {"doublings": doublings, "scales": scales})
        check_counts("spade", 0, {"layers": layers, "nz": nz})
        check_sides("spade", self.shape, 2**doublings, keyword="doublings")
        self.nz, self.features, self.kl, self.lr = nz, features, kl, lr
        self.generator = SpadeGenerator(
            self.shape, self.classes, ngf=ngf, nz=nz, doublings=doublings, hidden=hidden
        )  # G
        self.encoder = StyleEncoder(self.shape, ngf=ngf, nz=nz, most=style_side) if nz else None  # E
        self.critic = MultiScaleCritic(
            self.classes + self.shape.channels, scales=scales, ndf=ndf, layers=layers, spectral=True
        )  # D
        self.loss = Hinge()

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"layout", "style"} if self.nz else {"layout"})

    @property
    def optional(self) -> frozenset[str]:
        return frozenset({"style"})

    def players(self) -> tuple[Player, ...]:
        # section 3: two rates (Heusel et al. 2017), the same for half of the training, then linearly to zero
        makers = (self.generator,) if self.encoder is None else (self.generator, self.encoder)
        return (
            Player("generator", makers, lr=self.lr / 2, betas=(0.0, 0.9), decay="linear-after-half"),
            Player("critic", (self.critic,), lr=2 * self.lr, betas=(0.0, 0.9), decay="linear-after-half"),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("generator", self.paint), Move("critic", self.criticise))

    def paint(self, turn: Turn) -> Tensor:
        """The loss of pix2pixHD with a hinge in place of squares (section 3), and the code's divergence (A)."""
        m, x = one_hot(turn.batch.condition, self.classes, "spade"), turn.batch.image
        loss, z = torch.zeros((), device=x.device), None
        if self.encoder is not None:
            mean, log_variance = self.encoder(x)  # (B, nz) each
            z = mean + (0.5 * log_variance).exp() * turn.rng.normal(*mean.shape, device=x.device)
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()  # Eq. 3 of A
            turn.note(divergence=divergence)
            loss = loss + self.kl * divergence
        fake = self.generator(m, z)
        turn.memo["fake"] = fake.detach()
        judged = self.critic(torch.cat([m, fake], 1))
        adversarial = torch.stack([self.loss.generator(maps[-1]) for maps in judged]).mean()
        turn.note(adversarial=adversarial)
        loss = loss + adversarial
        if self.features:
            with torch.no_grad():
                real = self.critic(torch.cat([m, x], 1))
            matched = [feature_distance(a[:-1], b[:-1]) for a, b in zip(judged, real, strict=True)]
            turn.note(features=torch.stack(matched).mean())
            loss = loss + self.features * torch.stack(matched).mean()
        return loss

    def criticise(self, turn: Turn) -> Tensor:
        """The hinge loss of every scale."""
        m = one_hot(turn.batch.condition, self.classes, "spade")
        real, fake = (self.critic(torch.cat([m, image], 1)) for image in (turn.batch.image, turn.memo["fake"]))
        loss = torch.stack([self.loss.critic(a[-1], b[-1]) for a, b in zip(real, fake, strict=True)]).mean()
        turn.note(critic=loss)
        return loss

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        m = one_hot(condition, self.classes, "spade")
        made: Tensor = self.generator(m, self.code(condition, rng, how) if self.nz else None)
        return made

    def code(self, condition: Condition, rng: ImageRng, how: Sampling) -> Tensor:
        """z ``(B, nz)``: about the style's where one is given."""
        z: Tensor = self.settings(how).temperature * rng.normal(len(rng), self.nz, device=self.device)
        if condition.style is None or self.encoder is None:
            return z
        mean, log_variance = self.encoder(resized(condition.style, self.shape.height, self.shape.width))
        return mean + (0.5 * log_variance).exp() * z
