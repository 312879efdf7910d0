"""ControlNet (Zhang, Rao & Agrawala 2023, "Adding conditional control to text-to-image diffusion models", 2302.05543).

A trained denoiser with a U-Net is locked, and a trainable copy of half of it is shown a picture of what is wanted
(edges, a layout, a mask); zero convolutions add what it makes. At first nothing changes, bit for bit.

Paper -> code: epsilon_theta with Theta locked -> base, Theta_c and Z -> branch, c_f -> ``branch.hint`` of
``control_picture``, c_t -> the base's own condition, Eq. 5 -> follow.

Parts: nn/controlnet.py (the branch), nn/spatial.py (what is shown).

Axes: V channels of the U-Net at its finest level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.sampler import ByLevel, Denoise, Sampler
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import CaptionLimit, Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.controlnet import ControlBranch, controlled_by, unet_of
from zeuxis.nn.spatial import control_channels, control_picture
from zeuxis.nn.unet import UNet
from zeuxis.rng import ImageRng
from zeuxis.spec import DataSpec


class ControlNet(System):
    """A locked base with a branch that makes it follow a picture.

    Args:
        base: a trained diffusion model that has a U-Net (ddpm, flow-matching, latent-diffusion), by name or run folder;
            never trained here, nor copied into this model's file.
        condition: what the branch is shown: "layout" (a class for every pixel), "source" (a picture, such as the edges
            that ``--pair edges`` makes), or "mask".
        control_strength: how strongly it is followed: default of the knob. 1 is as it was trained, 0 the base alone.
    """

    card = Card(
        "controlnet",
        title="ControlNet",
        family="diffusion",
        year=2023,
        paper="2302.05543",
        verbs={"sample", "encode", "decode", "denoiser"},
        accepts={"layout", "source", "mask", "label", "caption"},
        knobs=(
            Knob("control_strength", "float", "how much the control picture counts; 0 is not at all", least=0, most=2),
        ),
        departures=(
            "The base is any diffusion model with a U-Net, and the loss is its own, at the noise levels it visits.",
            "Its own condition is dropped as often as in its own training, not from half of the examples.",
            "For a model of pixels the control picture is read at its own resolution, without strides.",
            "A layout is shown as one plane for each class.",
            "Pictures are not flipped, also where the base's own training flips them: what is shown beside is not.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        base: System,
        layout_names: tuple[str, ...] = (),
        source_shape: Shape | None = None,
        condition: Literal["layout", "source", "mask"] = "layout",
        control_strength: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape, self.field = Shape(*shape), condition
        name = base.card.id
        if tuple(base.shape) != tuple(self.shape):
            raise UsageError(
                f"the base '{name}' draws pictures of {tuple(base.shape)}, the data has {tuple(self.shape)} "
                "(channels, rows, columns): set size to its own, or train a base on this data"
            )
        if len(base.moves()) != 1 or "denoiser" not in base.can:
            raise Unsupported(
                f"the base '{name}' is no denoiser with one loss: give ddpm, flow-matching, latent-diffusion"
            )
        if condition in base.conditions:
            raise UsageError(
                f"the base '{name}' obeys a {condition} already: choose another condition, or another base"
            )
        self.facts = DataSpec(
            self.shape, None if source_shape is None else Shape(*source_shape), layout_names=tuple(layout_names)
        )
        channels = control_channels(condition, self.facts)
        self.base = base
        self.freeze(base)
        self.predicts_noise = base.predicts_noise
        limit = base.caption_limit
        self.caption_limit = None if limit is None else CaptionLimit(limit.words)  # its key is another training's
        base.flips = False  # its loss would be of a flipped picture beside a control picture that is not
        self.branch = ControlBranch(self.unet, channels, factor=_factor(base))

    @property
    def unet(self) -> UNet:
        """The base's U-Net."""
        return unet_of(self.base, f"the base '{self.base.card.id}'")

    def players(self) -> tuple[Player, ...]:
        return (Player("branch", (self.branch,), lr=1e-4),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("branch", self.follow),)

    def follow(self, turn: Turn) -> Tensor:
        """Eq. 5: the base's own loss, its U-Net being controlled."""
        (move,) = self.base.moves()
        with controlled_by(self.unet, self.branch, self._features(turn.batch.condition)):
            loss = move.loss(turn)
        assert loss is not None  # a denoiser passes no round
        return loss

    # -- verbs ------------------------------------------------------------------------------------

    @property
    def can(self) -> frozenset[str]:
        return super().can & self.base.can

    @property
    def conditions(self) -> frozenset[str]:
        return self.base.conditions | {self.field}

    @property
    def optional(self) -> frozenset[str]:
        return self.base.optional

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """The base's and its own."""
        return {**self.base.knobs, **super().knobs}

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """The base's."""
        return self.base.levels(self._of_base(how))

    def solver(self, how: Sampling = Sampling()) -> Sampler:
        """The base's."""
        return self.base.solver(self._of_base(how))

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """The base's, controlled."""
        unet, strength = self.unet, self.settings(how).control_strength
        inner = self.base.denoiser(condition.only(self.base.conditions), n, self._of_base(how))
        features = self._features(condition)
        plain: Callable[[Tensor, Any], Tensor] = inner.of if isinstance(inner, ByLevel) else inner

        def controlled(x: Tensor, sigma: Any) -> Tensor:
            with controlled_by(unet, self.branch, features, strength):
                return plain(x, sigma)

        return ByLevel(controlled) if isinstance(inner, ByLevel) else controlled

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """As the base draws, controlled."""
        with controlled_by(self.unet, self.branch, self._features(condition), self.settings(how).control_strength):
            return self.base.sample(condition.only(self.base.conditions), rng, self._of_base(how))

    def encode(self, image: Tensor) -> Tensor:
        """The base's latents, where it denoises some."""
        return self.base.encode(image)

    def decode(self, latent: Tensor) -> Tensor:
        """The base's pictures of such latents."""
        return self.base.decode(latent)

    def _features(self, condition: Condition) -> Tensor:
        """c_f ``(B, V, h, w)`` of a condition: E of section 3.3."""
        features: Tensor = self.branch.hint(control_picture(self.field, condition, self.facts).to(self.device))
        return features

    def _of_base(self, how: Sampling) -> Sampling:
        """What is asked of the base's knobs."""
        return Sampling(**{name: value for name, value in how.items() if name in self.base.knobs})


def _factor(base: System) -> int:
    """f: a picture's rows over those of what ``base`` denoises, which is what it encodes where it does."""
    if "encode" not in base.can:
        return 1
    with torch.no_grad():
        latent = base.encode(torch.zeros(1, *base.shape, device=base.device))
    return base.shape.height // latent.shape[2]
