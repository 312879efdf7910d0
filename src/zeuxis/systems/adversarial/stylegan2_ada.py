"""StyleGAN2-ADA: the discriminator only ever sees augmented pictures, as often as overfitting asks for.

Karras, Aittala, Hellsten, Laine, Lehtinen and Aila 2020, "Training generative adversarial networks with limited data"
(arXiv:2006.06676). Symbols -> code: p -> augmentation.p    r_t -> what its update is given the signs of    T -> shown
The rest: see :mod:`zeuxis.systems.adversarial._path_lengths`, the game that it shares.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError, lookup
from zeuxis.game import Turn
from zeuxis.knobs import Knob
from zeuxis.nn.adaptive_probability import AdaptiveProbability
from zeuxis.nn.augment_adaptive import augmented_adaptively
from zeuxis.systems.adversarial._path_lengths import PathLengthGame

PIPES = {"blit": (False, False), "bg": (True, False), "bgc": (True, True)}  # geometry, colour


class StyleGAN2ADA(PathLengthGame):
    """The game of ``stylegan2``; real and made pictures alike are augmented before every look at them.

    Pictures are square, 8 or more and a power of two a side.

    Args:
        condition: "none", or "label": the mapping is given the class, and the discriminator projects on it.
        nz: numbers, normally distributed, that drive a picture.
        width: numbers of a style code.
        mapping: layers from latent to code.
        judge_mapping: layers from class to the code that the discriminator projects on; none: as many as mapping.
        channel_base: channels of a resolution times its side, for both networks.
        channel_max: channels of a resolution at most.
        group: pictures whose variety the discriminator sees at once.
        clamp: magnitude beyond which activations are cut off, which half precision needs; none leaves them alone.
        gamma: weight of R1; 0 leaves it out.
        r1_every: rounds from one R1 to the next.
        path_weight: of the penalty on path lengths; 0 leaves it out.
        path_every: rounds from one of those to the next.
        mixing: how often a picture's later layers are given the code of another latent.
        mean_decay: a round, of the mean code towards which truncation draws.
        lr: learning rate of both players, before it is corrected for the steps of the penalties.
        augment: "blit", whole pixels moved; "bg", and geometry; "bgc", and colour.
        target: the mean sign of the discriminator's logits of real pictures that p is led to.
        every: rounds from one move of p to the next.
        speed: pictures in which p can go from 0 to 1.
        start: what p begins at.
    """

    card = Card(
        "stylegan2-ada",
        title="StyleGAN2-ADA",
        family="adversarial",
        year=2020,
        paper="2006.06676",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        latents="styles",
        accepts={"label"},
        knobs=(
            "truncation",
            Knob(
                "noise",
                "choice",
                "of the details: drawn for each picture, the same for all, or none",
                "random",
                choices=("random", "constant", "none"),
            ),
        ),
        departures=(
            "The generator moves first, and the discriminator judges the same pictures, drawn and augmented once.",
            "The mean code is moved once a round, by the generator's codes; the authors' program also by others.",
            "A batch that the group does not divide is compared in smaller groups; the authors' program refuses it.",
            "p stays within 1; the authors' program lets it run on, and it comes back later for that.",
            "No filtering, noise or cut-outs, which the paper found of no use.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: Literal["none", "label"] = "none",
        nz: int = 512,
        width: int = 512,
        mapping: int = 8,
        judge_mapping: int | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        group: int = 4,
        clamp: float | None = None,
        gamma: float = 10.0,
        r1_every: int = 16,
        path_weight: float = 2.0,
        path_every: int = 4,
        mixing: float = 0.9,
        mean_decay: float = 0.995,
        lr: float = 2e-3,
        augment: Literal["blit", "bg", "bgc"] = "bgc",
        target: float = 0.6,
        every: int = 4,
        speed: float = 500_000,
        start: float = 0.0,
    ) -> None:
        super().__init__(
            shape,
            classes=classes,
            condition=condition,
            nz=nz,
            width=width,
            mapping=mapping,
            judge_mapping=judge_mapping,
            channel_base=channel_base,
            channel_max=channel_max,
            group=group,
            clamp=clamp,
            gamma=gamma,
            r1_every=r1_every,
            path_weight=path_weight,
            path_every=path_every,
            mixing=mixing,
            mean_decay=mean_decay,
            lr=lr,
        )
        self.geometry, self.colour = lookup("augment", augment, PIPES)
        if self.colour and self.shape.channels not in (1, 3):
            raise UsageError(f"pictures of {self.shape.channels} channels have no hue: set model.augment to 'bg'")
        self.augmentation = AdaptiveProbability(target=target, every=every, speed=speed, start=start)

    def shown(self, image: Tensor, turn: Turn) -> Tensor:
        """T(x): what leads to ``image`` leads through it."""
        return augmented_adaptively(image, turn.rng, self.augmentation.p, geometry=self.geometry, colour=self.colour)

    def after_round(self, turn: Turn) -> None:
        """The running means, and p (section 3)."""
        super().after_round(turn)
        heuristic = self.augmentation.update(turn.whole("sign"))
        turn.note(p=self.augmentation.p, **({} if heuristic is None else {"overfitting": heuristic}))
