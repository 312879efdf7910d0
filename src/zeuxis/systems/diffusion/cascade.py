"""Cascaded diffusion (Ho, Saharia, Chan, Fleet, Norouzi & Salimans 2021, arXiv:2106.15282).

A model that is given draws small pictures under a condition; a second one, trained here, draws large pictures beside
small ones. Its small pictures are made worse in training, by noise of a strength that it is told, so that it bears what
the first model makes of them (conditioning augmentation, section 4.2).

Paper -> code: x_0 -> image, z_0 -> small, s -> strength, z_s -> worse, x_t -> noisy, x_theta -> network.

Parts: the given model, diffusion/path.py (``Straight``), diffusion/straight.py, diffusion/schedule.py,
diffusion/sampler.py (``euler``), nn/networks.py (the U-Net that is chosen).

Axes: h and w rows and columns of a small picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.held_out import errors_at_levels
from zeuxis.diffusion.path import Level, Straight, add_noise, append_dims, for_each
from zeuxis.diffusion.precondition import to_x0
from zeuxis.diffusion.sampler import ByLevel, Denoise, euler
from zeuxis.diffusion.schedule import flow_times, shift_timesteps
from zeuxis.diffusion.straight import ERRORS, StraightPrediction, coefficients
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.game import CaptionLimit, Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling, knob_table
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.networks import UNETS, Ends, build_network
from zeuxis.rng import ImageRng, Rng, normal_like
from zeuxis.spec import DataSpec


class Cascade(System):
    """The first model obeys what it was trained to obey, and has its own knobs; the second enlarges what it draws.

    Args:
        base: a trained system that draws pictures whose sides are a whole part of those here, by name or run folder;
            never trained here.
        network: a table of :data:`zeuxis.nn.networks.UNETS`: the network that enlarges; DDPM's U-Net where none is
            named.
        strongest: largest deviation of the noise that training adds to small pictures in [-1, 1].
        predicts: what the network predicts: the large picture, "x0", the noise, "epsilon", or the "velocity".
        shift: above 1, training and sampling spend more of their time near noise.
        enlarging_steps: default of the knob.
        lr: learning rate.
    """

    card = Card(
        "cascade",
        title="Cascaded diffusion",
        family="diffusion",
        year=2021,
        paper="2106.15282",
        verbs={"sample"},
        accepts={"label", "caption"},
        knobs=(
            "steps",
            "guidance",
            "sampler",
            Knob("enlarging_steps", "int", "calls of the network that enlarges", least=1, most=100_000),
            Knob(
                "augmentation",
                "float",
                "deviation of the noise on small pictures that are enlarged",
                0.0,
                least=0,
                most=1,
            ),
        ),
        departures=(
            "Pictures lie on straight lines to noise (flow matching), and the network predicts the picture; the paper's"
            " chain has the cosine schedule, and predicts noise.",
            "The network that enlarges is not told the condition: it sees the small picture alone.",
            "Small pictures are averages of boxes of pixels, and their augmentation is noise without blur.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        base: System,
        network: Mapping[str, Any] | None = None,
        strongest: float = 0.2,
        predicts: StraightPrediction = "x0",
        shift: float = 1.0,
        enlarging_steps: int = 4,
        lr: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.scale = _scale(base, self.shape)
        if not 0 <= strongest <= 1:
            raise UsageError(
                f"strongest {strongest:g}: the deviation of noise on pictures in [-1, 1]; give one from 0 to 1"
            )
        if not shift > 0:
            raise UsageError(f"shift {shift:g}: give a number above 0; 1 moves no time")
        self.base, self.strongest, self.shift = base, strongest, shift
        self.draw_batch = base.draw_batch
        limit = base.caption_limit
        self.caption_limit = None if limit is None else CaptionLimit(limit.words)  # its key is another training's
        self.freeze(base)
        self.path, self.predicts = Straight(), predicts
        self.error = lookup("prediction", predicts, ERRORS)
        self.network = build_network(network, Ends(self.shape, self.shape.channels + 1), UNETS)
        self.player = Player("network", (self.network,), lr=lr)

    @classmethod
    def part_spec(cls, key: str, spec: DataSpec, parts: Mapping[str, System]) -> DataSpec:
        """A base that a recipe describes draws pictures half as large."""
        shape = Shape(*spec.shape)
        return replace(spec, shape=Shape(shape.channels, shape.height // 2, shape.width // 2))

    @property
    def conditions(self) -> frozenset[str]:
        return self.base.conditions

    @property
    def knobs(self) -> Mapping[str, Knob]:
        own = self.card.knobs_as_built(self.config)
        return knob_table([*self.base.knobs.values(), own["enlarging_steps"], own["augmentation"]])

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.enlarge),)

    def enlarge(self, turn: Turn) -> Tensor:
        """The error of a large picture at a random time, beside the small one made worse (section 4.2)."""
        image = turn.batch.image  # (B, C, H, W)
        strength = self.strongest * turn.rng.uniform(len(image), device=image.device)  # s, (B,)
        beside = self.beside(self.small(image), strength, turn.rng)
        noise = normal_like(image, turn.rng)
        t = shift_timesteps(turn.rng.uniform(len(image), device=image.device), self.shift)  # (B,)
        prediction = self._network(add_noise(self.path, image, noise, t), t, beside)
        return self.error(prediction, image, noise, t).mean()

    def small(self, image: Tensor) -> Tensor:
        """What the base would have to draw, ``(B, C, h, w)``, of pictures ``(B, C, H, W)``."""
        return avg_pool2d(image, self.scale)

    def beside(self, small: Tensor, strength: Level, rng: Rng | ImageRng) -> Tensor:
        """What the network sees of small pictures ``(B, C, h, w)``: worse by noise of deviation ``strength`` (B,), or
        one for all, enlarged, and how strong the noise is, ``(B, C + 1, H, W)``."""
        s = append_dims(for_each(strength, small), small)
        worse = small + s * rng.normal(*small.shape, device=small.device)  # z_s
        large = interpolate(worse, tuple(self.shape[1:]), mode="bilinear", align_corners=False)
        return torch.cat([large, s.expand(-1, 1, *large.shape[2:])], 1)

    def _network(self, x: Tensor, t: Level, beside: Tensor) -> Tensor:
        prediction: Tensor = self.network(torch.cat([x, beside.to(x.dtype)], 1), for_each(t * TIME_SCALE, x))
        return prediction.float()

    def enlarger(self, beside: Tensor) -> Denoise:
        """The expected large pictures beside what :meth:`beside` shows: x and t on the straight path."""

        def denoise(x: Tensor, t: Level) -> Tensor:
            return to_x0(coefficients(self.predicts, t), self._network(x, t, beside), x)

        return ByLevel(denoise)

    def held_out(self, batch: Batch, rng: Rng) -> Mapping[str, Tensor]:
        """The error of the network that enlarges, beside small pictures as they are, at eight fixed levels."""
        straight = self.enlarger(self.beside(self.small(batch.image), 0.0, rng))

        def in_ve(x: Tensor, sigma: Tensor) -> Tensor:
            return straight(x / append_dims(1 + sigma, x), self.path.time(sigma))

        return errors_at_levels(in_ve, batch.image, rng)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The base's pictures as it draws them, enlarged from noise in ``enlarging_steps`` steps of Euler's method."""
        knobs = self.settings(how)
        asked = Sampling(**{name: value for name, value in how.items() if name in self.base.knobs})
        small = self.base.sample(condition, rng, asked)
        beside = self.beside(small, knobs.augmentation, rng)
        noise = rng.normal(len(rng), *self.shape, device=self.device)
        times = flow_times(knobs.enlarging_steps, self.shift)
        return euler(self.enlarger(beside), noise, times, rng).clamp(-1, 1)


def _scale(base: System, shape: Shape) -> int:
    """How many times as large pictures of ``shape`` are as those of ``base``.

    Raises :class:`Unsupported` for a base that draws none, or beside a source, and :class:`UsageError` for one of
    another size.
    """
    name = base.card.id
    if "sample" not in base.can or base.card.needs:
        raise Unsupported(
            f"'{name}' draws no pictures of its own: give a base that does, such as flow-matching or ddpm"
        )
    scale = shape.height // base.shape.height
    wanted = base.shape.channels, scale * base.shape.height, scale * base.shape.width
    if scale < 2 or wanted != tuple(shape):
        raise UsageError(
            f"the base '{name}' draws pictures of {tuple(base.shape)}, which are not enlarged to {tuple(shape)} "
            "(channels, rows, columns): set size to a whole multiple of its own, 2 or more"
        )
    return scale
