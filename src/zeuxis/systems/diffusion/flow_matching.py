"""Flow matching (Lipman et al. 2022, arXiv:2210.02747) on straight lines: rectified flow (Liu et al. 2022, 2209.03003).

A network learns the velocity that carries noise to data along straight lines; an ordinary differential
equation is then solved from noise to image.

Paper -> code: x_1 (data) -> image, x_0 (noise) -> noise, t -> 1 - t (here time grows with noise, as in every
other diffusion model), u_t -> velocity, v_t(x; theta) -> network, psi_t(x_0) -> noisy.

Parts: diffusion/path.py (``Straight``), diffusion/straight.py (velocity, image or noise), diffusion/schedule.py and
diffusion/sampler.py, diffusion/likelihood.py, diffusion/guidance.py, nn/networks.py (and the one network that is
chosen), nn/conditioner.py and, for captions, nn/caption_conditioner.py; of options diffusion/coupling.py,
diffusion/snapshot.py, losses/dispersive.py and _sketch.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.coupling import Coupling, coupling_under
from zeuxis.diffusion.guidance import Conditioning, autoguided, bind_condition, classifier_free
from zeuxis.diffusion.likelihood import differentiable, draw_probe, straight_log_prob
from zeuxis.diffusion.path import Level, Straight, add_noise, append_dims, for_each
from zeuxis.diffusion.precondition import to_x0
from zeuxis.diffusion.sampler import ON_STRAIGHT, ByLevel, Denoise, with_knobs
from zeuxis.diffusion.schedule import flow_levels, flow_times, shift_timesteps
from zeuxis.diffusion.snapshot import Snapshot
from zeuxis.diffusion.straight import ERRORS, StraightPrediction, coefficients
from zeuxis.diffusion.weighting import TimeDensity, density
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.game import CaptionLimit, Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.dispersive import dispersive as dispersive_loss
from zeuxis.nn.caption_conditioner import caption_conditioner, text_options
from zeuxis.nn.centre import centre_features
from zeuxis.nn.conditioner import (
    Conditioner,
    ConditionKind,
    LabelConditioner,
    NoCondition,
    check_guidance,
    check_null,
    drop_mask,
)
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.networks import Ends, build_network
from zeuxis.nn.watched import watched
from zeuxis.rng import ImageRng, Rng, normal_like
from zeuxis.systems.diffusion._sketch import shown_with_sketch, sketch_error


class FlowMatching(System):
    """Unconditional, or obeying labels or captions with classifier-free guidance.

    Args:
        condition: what it obeys: "none", "label" (of data with classes) or "caption" (of data with captions).
        network: a table of :data:`zeuxis.nn.networks.NETWORKS`: the network, a transformer on patches, a U-Net, or
            convolutions with a transformer in the middle.
        text: a table of :data:`zeuxis.nn.caption_conditioner.TEXT`: the text encoder, of condition "caption" alone.
        times: which of them training visits: "uniform"; "logit-normal" favours the middle (Esser et al. 2024,
            2403.03206).
        predicts: what the network predicts: the "velocity", or the image ("x0") or the noise ("epsilon"), from which it
            follows. The image lies on a thin set that noise does not, so coarse patches and narrow networks do better
            with it (Li & He 2025, 2511.13720). The loss is on the velocity either way.
        drop: how often training hides the condition, for classifier-free guidance; idle without one.
        coupling: which noise each picture of a batch gets: "independent", or "ot", that with which the lines are
            shortest in all (optimal transport within the batch), so that they cross less.
        snapshot: share of the training at which the network is copied, as the weaker guide of the knob "autoguidance";
            0: none.
        dispersive: weight of a loss that keeps what the network's middle makes of different pictures apart (Wang & He
            2025, 2506.09027); 0: none.
        shift: above 1, training and sampling spend more of their time near noise, where the layout is decided.
        tolerance: of the solver of the likelihood's equation, a step and a dimension; larger is quicker.
    """

    card = Card(
        "flow-matching",
        title="Flow matching",
        family="diffusion",
        year=2022,
        paper="2210.02747",
        verbs={"sample", "log_prob", "denoiser", "inner_features"},
        accepts={"label", "caption"},
        knobs=(
            "steps",
            "guidance",
            "sampler",
            "eta",
            "churn",
            Knob(
                "noise",
                "float",
                "deviation of the noise on pictures whose inner features are read",
                0.2,
                least=0.01,
                most=100,
            ),
            Knob("autoguidance", "float", "scale of guidance by the model's own snapshot", 1.0, least=-100, most=1000),
        ),
        departures=(
            "sigma_min is 0: the path ends in the image itself, as in rectified flow.",
            "The network is a diffusion transformer unless a U-Net is asked for.",
            "Pictures are drawn with fixed steps; the adaptive solver serves the likelihood alone.",
            "The likelihood is that of the flow left at the noise that dequantising adds, not at none.",
            "The sketch (of the recipe `scenes`) is in no paper: a coarse picture regressed from the words alone.",
        ),
    )

    taken: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        words: tuple[str, ...] = (),
        condition: ConditionKind = "none",
        network: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
        times: TimeDensity = "uniform",
        predicts: StraightPrediction = "velocity",
        drop: float = 0.1,
        coupling: Coupling = "independent",
        snapshot: float = 0.0,
        dispersive: float = 0.0,
        steps: int = 50,
        guidance: float = 1.0,
        sampler: str = "euler",
        shift: float = 1.0,
        tolerance: float = 1e-4,
    ) -> None:
        super().__init__()
        if not shift > 0:
            raise UsageError(f"shift {shift:g}: give a number above 0; 1 moves no time")
        if not 0 <= snapshot < 1:
            raise UsageError(
                f"snapshot {snapshot:g} is a share of the training: give one above 0 and below 1, or 0 for none"
            )
        self.shape = Shape(*shape)
        self.density, self.drop = density(times), drop
        self.shift, self.tolerance = shift, tolerance
        self.coupling, self.snapshot, self.dispersive = coupling_under(condition, coupling), snapshot, dispersive
        self.predicts, self.error = predicts, lookup("prediction", predicts, ERRORS)
        self.predicts_noise = predicts == "epsilon"
        self.compares = dispersive != 0 or coupling != "independent"
        self.path = Straight()
        if text and condition != "caption":
            raise Unsupported(
                f"condition '{condition}' has no text to encode: set condition 'caption' or no model.text"
            )
        options = text_options(text)
        channels, captions = self.shape.channels, condition == "caption"
        self.caption_limit = CaptionLimit(options["length"], "text.length") if captions else None
        sketched = captions and options["sketch"] > 0
        ends = Ends(self.shape, channels if sketched else 0, options["width"] if captions else 0)
        self.network = build_network(network, ends)
        self.stride = None if sketched else self.network.stride
        vector = self.network.vector_width
        conditioners: dict[str, Callable[[], Conditioner]] = {
            "none": NoCondition,
            "label": lambda: LabelConditioner(classes, vector),
            "caption": lambda: caption_conditioner(words, options, vector, channels),
        }
        self.conditioner = lookup("condition", condition, conditioners)()
        self.guide = Snapshot((self.network, self.conditioner)) if snapshot else None
        if self.guide is not None:
            self.freeze(self.guide)
            self.register_buffer("taken", torch.zeros((), dtype=torch.bool))  # whether the snapshot has been made
        self.player = Player("network", (self.network, self.conditioner), lr=1e-4)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.conditioner.fields

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.match),)

    def match(self, turn: Turn) -> Tensor:
        """Conditional flow matching (Eq. 23): the velocity at a random time on a random line."""
        image = turn.batch.image  # (B, C, H, W)
        if len(image) < 2 and self.compares:
            raise UsageError(
                "coupling and dispersive compare the pictures of a batch: set train.batch to 2 or more for each part"
            )
        noise = self.coupling(image, normal_like(image, turn.rng))
        t = shift_timesteps(self.density(turn.rng, len(image), image.device), self.shift)  # (B,)
        noisy = add_noise(self.path, image, noise, t)  # Eq. 22 with sigma_min = 0
        dropped = drop_mask(len(image), self.drop, turn.rng, image.device)
        conditioning = self.conditioner(turn.batch.condition, len(image), dropped)
        with watched(self.network.centre if self.dispersive else None) as centre:
            prediction = self._network(noisy, t, conditioning)
        loss = self.error(prediction, image, noise, t).mean()
        for name, weight, term in self._beside(centre, conditioning, image, dropped):
            turn.note(**{name: term})
            loss = loss + weight * term
        return loss

    def _beside(
        self, centre: Sequence[Tensor], conditioning: Conditioning, image: Tensor, dropped: Tensor
    ) -> Iterator[tuple[str, float, Tensor]]:
        """What options add to the loss: names, weights and values."""
        for features in centre:
            yield "dispersive", self.dispersive, dispersive_loss(features.flatten(1))
        if "sketch" in conditioning:
            yield "sketch", 1.0, sketch_error(conditioning["sketch"], image, dropped)

    def after_round(self, turn: Turn) -> None:
        """The snapshot is made once, when it is due."""
        if self.guide is not None and not self.taken and turn.progress >= self.snapshot:
            self.guide.take((self.network, self.conditioner))
            self.taken.fill_(True)

    def denoise(self, x: Tensor, t: Level, conditioning: Conditioning, network: nn.Module | None = None) -> Tensor:
        """The expected image (B, C, H, W) given ``x`` on the straight path at times ``t`` (B,), or one for all."""
        return to_x0(coefficients(self.predicts, t), self._network(x, t, conditioning, network), x)

    def _network(self, x: Tensor, t: Level, conditioning: Conditioning, network: nn.Module | None = None) -> Tensor:
        """What the network, or another of its kind, predicts (B, C, H, W)."""
        shown, given = shown_with_sketch(x, conditioning)
        net = self.network if network is None else network
        prediction: Tensor = net(shown, for_each(t * TIME_SCALE, x), **given)
        return prediction.float()

    def straight_denoiser(self, condition: Condition, n: int, scale: float, autoguidance: float = 1.0) -> ByLevel:
        """:meth:`denoise` under ``condition`` with guidance of those scales: x and t on the straight path."""
        check_guidance(scale, self.drop, self.conditioner)
        guided = classifier_free(self.denoise, self.conditioner(condition, n), self.conditioner.null(n), scale)
        if autoguidance == 1:
            return ByLevel(guided)
        if self.guide is None:
            raise UsageError("this model has no earlier snapshot to be guided by: train it with model.snapshot = 0.25")
        network, conditioner = self.guide
        weaker = bind_condition(partial(self.denoise, network=network), conditioner(condition, n))
        return ByLevel(autoguided(guided, weaker, autoguidance))

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """In VE space: x there is ``1 + sigma`` times the straight path's x at ``t = sigma / (1 + sigma)``."""
        knobs = self.settings(how)
        guided = self.straight_denoiser(condition, n, knobs.guidance, knobs.autoguidance).of

        def in_ve(x: Tensor, sigma: Level) -> Tensor:
            return guided(x / append_dims(1 + sigma, x), self.path.time(sigma))

        return ByLevel(in_ve)

    def inner_features(self, image: Tensor, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The network's middle, the mean over its places ``(B, D)``: of noisy pictures, without a condition."""
        sigma, null = self.settings(how).noise, self.conditioner.null(len(image))
        x = (image + sigma * rng.normal(*image.shape, device=image.device)) / (1 + sigma)  # on the straight path
        return centre_features(self.network, lambda: self.denoise(x, sigma / (1 + sigma), null))

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """t / (1 - t) of the times of :meth:`sample`, then 0.

        The first, which starts at pure noise, would be infinite: in its place is a large level, 1000 or more. So
        samplers come as close to :meth:`sample`, which walks the straight path itself, as a thousandth of the picture.
        """
        return flow_levels(self.settings(how).steps, self.shift)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Solve the flow from noise to image in ``steps`` steps, some samplers with two calls of the network each.

        Euler's, Heun's and the midpoint method walk the straight path itself, from pure noise; all others, and what is
        churned, go through VE space along :meth:`levels`.
        """
        n, knobs = len(rng), self.settings(how)
        solve = with_knobs(knobs.sampler, how)
        noise = rng.normal(n, *self.shape, device=self.device)
        if knobs.sampler in ON_STRAIGHT and not knobs.churn:
            guided = self.straight_denoiser(condition, n, knobs.guidance, knobs.autoguidance)
            return solve(guided, noise, flow_times(knobs.steps, self.shift), rng).clamp(-1, 1)
        levels = self.levels(how)
        return solve(self.denoiser(condition, n, how), float(levels[0]) * noise, levels, rng).clamp(-1, 1)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """The flow's exact log-likelihood in nats (B,), but for its divergence, estimated without bias by one probe.

        Of images (B, C, H, W), under no condition.
        """
        check_null(self.drop, self.conditioner, "a likelihood")
        with differentiable():
            null = bind_condition(self.denoise, self.conditioner.null(len(image)), conditional=False)
            probes = [draw_probe(image, rng)]
            return straight_log_prob(null, image, probes=probes, tolerance=self.tolerance).log_prob
