"""CycleGAN: translate between two sets of pictures of which no two belong together.

Zhu, Park, Isola and Efros 2017, "Unpaired image-to-image translation using cycle-consistent
adversarial networks" (arXiv:1703.10593). Symbols -> code:
    x in X, y in Y -> source, image    G: X -> Y -> to_image    F: Y -> X -> to_source
    D_Y -> image_critic    D_X -> source_critic    lambda -> cycle
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.adversarial import LeastSquares
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.image_pool import ImagePool
from zeuxis.nn.patch_gan import PatchCritic, must_fit_patches, patch_critic
from zeuxis.nn.resnet_generator import ResNetGenerator
from zeuxis.rng import ImageRng
from zeuxis.systems.translation._family import check_counts, check_patch, check_sides, source_at

STRIDE = 4  # by which the translators halve the sides and double them again


class CycleGAN(System):
    """Two players of two networks each: the translators there and back, and a critic for either side.

    Sampling turns ``condition.source`` into its like among the images; with the knob ``back`` what is given there is
    like the images, and its like among the sources is made.

    Args:
        ngf: channels of the translators at the picture's side.
        blocks: residual blocks of each translator; the paper has 9 for 256 pixels and up, 6 below.
        ndf: channels of the critic's first layer, at half the picture's side; they double from layer to layer, up to 8
            times.
        layers: strided convolutions of the critic: one of its logits sees 16 (1), 34 (2) or 70 pixels (3) a side.
        cycle: weight of the loss of a picture that is translated there and back; with it and ``identity`` at 0 nothing
            ties a translation to its source.
        identity: weight, times ``cycle``, of the loss of a picture that is already there and should be left alone.
        pool: past fakes that each critic is shown again; 0 shows the newest alone.
        one_way: whether the weights are those of G alone, as public files hold them: there is no way back then.
        patch: pixels a side that each of the critics' logits sees (1, 16, 34, 70, 142 or 286), in place of ``layers``.

    Sources may have other channels than the images; those of another size are brought to theirs.
    """

    card = Card(
        "cyclegan",
        title="CycleGAN",
        family="translation",
        year=2017,
        paper="1703.10593",
        needs={"source"},
        knobs=(Knob("back", "switch", "the other way: from what is like the images to the sources", False),),
        departures=(
            "The identity loss is on by default, as in the authors' program; the paper adds it for paintings alone.",
        ),
    )

    unpaired = True

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        ngf: int = 64,
        blocks: int = 9,
        ndf: int = 64,
        layers: int = 3,
        cycle: float = 10.0,
        identity: float = 0.5,
        pool: int = 50,
        patch: int | None = None,
        one_way: bool = False,
        lr: float = 2e-4,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        check_counts("cyclegan", 0, {"blocks": blocks, "layers": layers, "pool": pool})
        check_sides("cyclegan", self.shape, STRIDE, least=2)
        given = self.shape if source_shape is None else Shape(*source_shape)
        self.source = given.at(self.shape.height, self.shape.width)
        images, sources = self.shape.channels, self.source.channels
        if identity and cycle and images != sources:
            raise UsageError(
                f"the identity loss shows a translator what it makes, and sources have {sources} channels where images "
                f"have {images}: give model.identity=0"
            )
        self.cycle, self.identity, self.lr, self.stride = cycle, identity, lr, STRIDE
        self.one_way, self.critic_layers = one_way, layers if patch is None else None
        self.to_image = ResNetGenerator(sources, images, ngf=ngf, blocks=blocks)  # G
        self.to_source = ResNetGenerator(images, sources, ngf=ngf, blocks=blocks)  # F
        if patch is None:
            self.image_critic: nn.Module = PatchCritic(images, ndf=ndf, layers=layers)  # D_Y
            self.source_critic: nn.Module = PatchCritic(sources, ndf=ndf, layers=layers)  # D_X
        else:
            check_patch("cyclegan", self.shape, patch)
            self.image_critic = patch_critic(images, patch, ndf=ndf)
            self.source_critic = patch_critic(sources, patch, ndf=ndf)
        self.image_pool, self.source_pool = ImagePool(pool, self.shape), ImagePool(pool, self.source)
        self.loss = LeastSquares()

    def players(self) -> tuple[Player, ...]:
        if self.critic_layers is not None:  # said as a training begins: models that were trained before still load
            must_fit_patches(self.shape, self.critic_layers)
        # appendix 7.1: the same rate for half of the training, then linearly to zero
        translators, critics = (self.to_image, self.to_source), (self.image_critic, self.source_critic)
        return (
            Player("translators", translators, lr=self.lr, betas=(0.5, 0.999), decay="linear-after-half"),
            Player("critics", critics, lr=self.lr, betas=(0.5, 0.999), decay="linear-after-half"),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("translators", self.translate), Move("critics", self.criticise))

    def translate(self, turn: Turn) -> Tensor:
        """Eq. 3, as G and F see it."""
        x, y = self.both_sides(turn.batch)
        n, same = len(x), bool(self.cycle and self.identity)
        # One pass of each translator over all that it is given first: instances are normalised one by one.
        at_image = self.to_image(torch.cat([x, y]) if same else x)  # (B, C, H, W), or twice as many
        at_source = self.to_source(torch.cat([y, x]) if same else y)
        fake_y, fake_x = at_image[:n], at_source[:n]
        turn.memo["fakes"] = fake_x.detach(), fake_y.detach()
        # Eq. 1 in the least-squares form of section 4, which halves the critics' share only
        loss = 2 * self.loss.generator(self.image_critic(fake_y)) + 2 * self.loss.generator(self.source_critic(fake_x))
        turn.note(adversarial=loss)
        if self.cycle:
            home = l1(self.to_source(fake_y), x) + l1(self.to_image(fake_x), y)  # Eq. 2
            loss = loss + self.cycle * home
            turn.note(cycle=home)
        if same:
            identity = l1(at_image[n:], y) + l1(at_source[n:], x)  # section 5.2
            loss = loss + self.cycle * self.identity * identity
            turn.note(identity=identity)
        return loss

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 1 for both sides, as D_Y and D_X see it."""
        x, y = self.both_sides(turn.batch)
        fake_x, fake_y = turn.memo["fakes"]
        old_x, old_y = self.source_pool.swap(fake_x, turn.rng), self.image_pool.swap(fake_y, turn.rng)
        image = self.loss.critic(self.image_critic(y), self.image_critic(old_y))
        source = self.loss.critic(self.source_critic(x), self.source_critic(old_x))
        turn.note(image_critic=image, source_critic=source)
        return image + source

    def both_sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """x and y, each ``(B, C, H, W)``, which do not belong together."""
        if self.image_pool.size and batch.image.shape[2:] != self.shape[1:]:
            raise UsageError("the pool of past fakes holds pictures of one shape: use --fit crop, or model.pool=0")
        return source_at(batch.condition, self.shape.at(*batch.image.shape[2:]), "cyclegan"), batch.image

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        given = source_at(condition, self.shape, "cyclegan")
        translated: Tensor = self.to_source(given) if self._goes_back(how) else self.to_image(given)
        return translated

    def _goes_back(self, how: Sampling) -> bool:
        """Whether F is asked for; raises :class:`UsageError` where it makes no pictures like the model's."""
        back: bool = self.settings(how).back
        if back and self.one_way:
            raise UsageError(
                "knob 'back': these weights are of one direction: convert the file of the other direction's generator"
            )
        if back and self.source.channels != self.shape.channels:
            raise UsageError(
                f"knob 'back': sources have {self.source.channels} channels and images {self.shape.channels}: train a "
                "model the other way round"
            )
        return back
