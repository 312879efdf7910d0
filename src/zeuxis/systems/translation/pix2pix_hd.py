"""pix2pixHD: large pictures from layouts, coarse to fine, judged at several scales.

Wang, Liu, Zhu, Tao, Kautz and Catanzaro 2018, "High-resolution image synthesis and semantic manipulation with
conditional GANs" (arXiv:1711.11585). Symbols -> code:
    s -> the layout, one-hot, and the boundaries beside it    x -> image    G1, G2 -> generator.coarse, .enhancers
    D_k -> critic.critics[k], k = 0 the finest    D_k^(i) -> the maps of each    lambda -> features
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import LeastSquares
from zeuxis.losses.perceptual import feature_distance
from zeuxis.nn.coarse_to_fine import CoarseToFine
from zeuxis.nn.norm import initialise_normal
from zeuxis.nn.patch_gan import MultiScaleCritic, halved
from zeuxis.nn.resnet_generator import to_picture
from zeuxis.rng import ImageRng
from zeuxis.systems.translation._family import check_counts, check_sides, one_hot, source_at


class Pix2PixHD(System):
    """Two players: a generator of layouts, and critics of the picture at several scales, whose features it matches.

    Where the data give a source as well, such as the boundaries of instances, it stands beside the layout. With
    enhancers, G1 is first trained alone, on pictures of the side that it makes, then all together (section 3.1).

    Args:
        ngf: channels at the finest resolution: 64 without enhancers, 32 with one in the paper.
        downs: how often G1 halves the side.
        blocks: residual blocks of G1.
        enhancers: local enhancers, each of which doubles the side.
        enhancer_blocks: residual blocks of each.
        coarse: share of the training in which G1 learns alone, where there are enhancers.
        ndf: channels of the critics' first layers.
        layers: strided convolutions of each critic; 3 are 70x70 patches.
        scales: critics; the paper has 3, the authors' program 2.
        features: weight of the critics' features of what is made against those of what is real.
    """

    card = Card(
        "pix2pix-hd",
        title="pix2pixHD",
        family="translation",
        year=2018,
        paper="1711.11585",
        needs={"layout"},
        accepts={"source"},
        departures=(
            "No perceptual loss, which needs a network trained on ImageNet (the authors' --no_vgg_loss).",
            "No encoder of instance features: one picture for each layout.",
            "One generated batch serves both players, the generator first.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        layout_names: tuple[str, ...],
        source_shape: Shape | None = None,
        ngf: int = 64,
        downs: int = 4,
        blocks: int = 9,
        enhancers: int = 0,
        enhancer_blocks: int = 3,
        coarse: float = 0.5,
        ndf: int = 64,
        layers: int = 3,
        scales: int = 3,
        features: float = 10.0,
        lr: float = 2e-4,
    ) -> None:
        super().__init__()
        self.shape, self.classes = Shape(*shape), len(layout_names)
        if not self.classes:
            raise UsageError("'pix2pix-hd' paints layouts, and the data name no classes: use data that give layout")
        check_counts("pix2pix-hd", 1, {"scales": scales})
        check_counts(
            "pix2pix-hd",
            0,
            {
                "downs": downs,
                "blocks": blocks,
                "enhancers": enhancers,
                "enhancer_blocks": enhancer_blocks,
                "layers": layers,
            },
        )
        if not 0 <= coarse < 1:
            raise UsageError(f"model.coarse={coarse:g}: the enhancers would learn nothing: give 0, or a share below 1")
        self.stride = 2 ** (downs + enhancers)
        check_sides("pix2pix-hd", self.shape, self.stride, least=2, keyword="downs")
        self.beside = None if source_shape is None else Shape(*source_shape).channels
        self.coarse, self.features, self.lr = coarse, features, lr
        inputs, channels = self.classes + (self.beside or 0), self.shape.channels
        self.generator = CoarseToFine(
            inputs,
            channels,
            ngf=ngf,
            downs=downs,
            blocks=blocks,
            enhancers=enhancers,
            enhancer_blocks=enhancer_blocks,
        )  # G
        self.coarse_picture = nn.Sequential(*to_picture(ngf * 2**enhancers, channels)) if enhancers else None
        if self.coarse_picture is not None:
            initialise_normal(self.coarse_picture)
        self.critic = MultiScaleCritic(inputs + channels, scales=scales, ndf=ndf, layers=layers)  # D_k
        self.loss = LeastSquares()

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"layout"} if self.beside is None else {"layout", "source"})

    def players(self) -> tuple[Player, ...]:
        # section 4: the same rate for half of the training, then linearly to zero
        made = (self.generator,) if self.coarse_picture is None else (self.generator, self.coarse_picture)
        return (
            Player("generator", made, lr=self.lr, betas=(0.5, 0.999), decay="linear-after-half"),
            Player("critic", (self.critic,), lr=self.lr, betas=(0.5, 0.999), decay="linear-after-half"),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("generator", self.paint), Move("critic", self.criticise))

    def paint(self, turn: Turn) -> Tensor:
        """Eq. 5, as G sees it."""
        s, x = self.given(turn.batch.condition, turn.batch.image.shape), turn.batch.image
        if self.coarse_picture is not None and turn.progress < self.coarse:  # G1 alone
            fake = self.coarse_picture(self.generator.coarsest(s))
            for _ in self.generator.enhancers:
                s, x = halved(s), halved(x)
        else:
            fake = self.generator(s)
        turn.memo["seen"] = s, x, fake.detach()
        judged = self.critic(torch.cat([s, fake], 1))
        adversarial = 2 * torch.stack([self.loss.generator(maps[-1]) for maps in judged]).sum()
        turn.note(adversarial=adversarial)
        if not self.features:
            return adversarial
        with torch.no_grad():
            real = self.critic(torch.cat([s, x], 1))
        # Eq. 4; the authors' program weighs layers by 4 / (their number) and scales by 1 / (theirs)
        alike = [
            feature_distance(ours[:-1], theirs[:-1]) / len(ours[1:]) for ours, theirs in zip(judged, real, strict=True)
        ]
        matching = 4 * torch.stack(alike).mean()
        turn.note(features=matching)
        return adversarial + self.features * matching

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 3 in the least-squares form of the program, as the D_k see it."""
        s, x, fake = turn.memo["seen"]
        real, made = self.critic(torch.cat([s, x], 1)), self.critic(torch.cat([s, fake], 1))
        loss = torch.stack([self.loss.critic(a[-1], b[-1]) for a, b in zip(real, made, strict=True)]).sum()
        turn.note(critic=loss)
        return loss

    def given(self, condition: Condition, like: torch.Size) -> Tensor:
        """s: the layout ``(B, K, H, W)``, and what stands beside it."""
        s = one_hot(condition, self.classes, "pix2pix-hd")
        if self.beside is None:
            return s
        beside = source_at(condition, self.shape.at(*like[2:]), "pix2pix-hd")
        return torch.cat([s, (beside + 1) / 2], 1)  # 1 on a boundary, 0 elsewhere

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        made: Tensor = self.generator(self.given(condition, torch.Size((0, *self.shape))))
        return made
