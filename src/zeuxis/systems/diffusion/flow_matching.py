"""Flow matching (Lipman et al. 2022, arXiv:2210.02747) on straight lines: rectified flow (Liu et al. 2022, 2209.03003).

A network learns the velocity that carries noise to data along straight lines; an ordinary differential
equation is then solved from noise to image.

Paper -> code: x_1 (data) -> image, x_0 (noise) -> noise, t -> 1 - t (here time grows with noise, as in every
other diffusion model), u_t -> velocity, v_t(x; theta) -> network, psi_t(x_0) -> noisy.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.guidance import Signal
from zeuxis.diffusion.path import Straight, add_noise, append_dims, to_x0
from zeuxis.diffusion.sampler import SAMPLERS
from zeuxis.diffusion.schedule import flow_times, shift_timesteps
from zeuxis.diffusion.weighting import TimeDensity, density
from zeuxis.errors import Unsupported
from zeuxis.game import Move, Player, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.rng import ImageRng, normal_like
from zeuxis.systems.diffusion._family import (
    ConditionalDiffusion,
    ConditionKind,
    NetworkKind,
    Plan,
    TextPlan,
    build_network,
    build_reader,
    squared_error,
)

TIME_SCALE = 1000  # the time embedding's frequencies were made for steps out of 1000
LEAST_TIME = 0.1  # the loss divides by the time: below this one it divides by this, or near-clean images would rule


class FlowMatching(ConditionalDiffusion):
    """Unconditional, or obeying labels or captions with classifier-free guidance.

    Args:
        condition: what it obeys; "label" needs data with classes and "caption" data with captions.
        network: a transformer on patches ("dit"), a U-Net ("unet"), or convolutions with a transformer in the
            middle ("uvit"). ``width``, ``depth`` (blocks; of a U-Net, those of a level) and ``heads`` size any;
            ``patch`` the transformers; ``fine`` and ``fine_depth`` (channels, blocks) the convolutions around one;
            ``multiples`` (of the width, level by level) and ``attention`` (the downsampling factors with attention)
            the U-Net.
        text_width, text_depth, text_heads, text_length: the caption reader, and the longest caption in words.
        sketch: the side of a coarse picture that the caption reader draws from the words alone, and that the network
            sees beside the noisy one; 0 for none. Where things go is decided at noise levels at which pictures hold
            almost nothing, so a short training hardly learns it from them; the sketch learns it at every level.
        times: which of them training visits; "logit-normal" favours the middle (Esser et al. 2024, 2403.03206).
        predicts: what the network says: the velocity, or the image, from which the velocity follows. The image lies
            on a thin set that noise does not, so coarse patches and narrow networks do better with it (Li & He 2025,
            "Back to basics: let denoising generative models denoise"). The loss is on the velocity either way.
        drop: how often training hides the condition.
        shift: above 1, training and sampling spend more of their time near noise, where the layout is decided.
        steps, guidance, sampler: the defaults of sampling.
    """

    card = Card(
        "flow-matching",
        title="Flow matching",
        family="diffusion",
        year=2022,
        paper="2210.02747",
        accepts={"label", "caption"},
        knobs=("steps", "guidance", Knob("sampler", "choice", "how the flow is solved", choices=("euler", "heun"))),
        departures=(
            "sigma_min is 0: the path ends in the image itself, as in rectified flow.",
            "The network is a diffusion transformer unless a U-Net is asked for.",
            "Euler's or Heun's method with fixed steps, not an adaptive solver.",
            "The sketch (of the recipe `scenes`) is in no paper: a coarse picture regressed from the words alone.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        words: tuple[str, ...] = (),
        condition: ConditionKind = "none",
        network: NetworkKind = "dit",
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        patch: int = 2,
        fine: int = 64,
        fine_depth: int = 3,
        multiples: tuple[int, ...] = (1, 2, 2, 2),
        attention: tuple[int, ...] = (2,),
        text_width: int = 128,
        text_depth: int = 2,
        text_heads: int = 4,
        text_length: int = 16,
        sketch: int = 0,
        times: TimeDensity = "uniform",
        predicts: Literal["velocity", "x0"] = "velocity",
        drop: float = 0.1,
        steps: int = 50,
        guidance: float = 1.0,
        sampler: str = "euler",
        shift: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.stride = 2 ** (len(multiples) - 1) if network == "unet" and not sketch else None
        self.density, self.drop = density(times), drop
        self.shift = shift
        self.predicts = predicts
        if sketch and condition != "caption":
            raise Unsupported("a sketch is drawn from a caption: set condition 'caption', or sketch 0")
        self.path = Straight()
        plan = Plan(
            self.shape,
            width=width,
            depth=depth,
            heads=heads,
            patch=patch,
            multiples=tuple(multiples),
            attention=tuple(attention),
            text_width=text_width if condition == "caption" else 0,
            beside=self.shape.channels if sketch else 0,
            fine=fine,
            fine_depth=fine_depth,
        )
        self.network, vector = build_network(network, plan)
        text = TextPlan(tuple(words), text_length, text_width, text_depth, text_heads, sketch)
        self.reader = build_reader(condition, vector, classes, text, self.shape.channels)
        self.player = Player("network", (self.network, self.reader), lr=1e-4)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.match),)

    def match(self, turn: Turn) -> Tensor:
        """Conditional flow matching (Eq. 23): the velocity at a random time on a random line."""
        image = turn.batch.image  # (B, C, H, W)
        noise = normal_like(image, turn.rng)
        t = shift_timesteps(self.density(turn.rng, len(image), image.device), self.shift)  # (B,)
        noisy = add_noise(self.path, image, noise, t)  # Eq. 22 with sigma_min = 0
        dropped = self.drop_mask(len(image), turn.rng)
        signal = self.reader(turn.batch.condition, len(image), dropped)
        x0 = self.denoise(noisy, t, signal)
        # velocity - (noise - image) is (image - x0) / t, whichever of the two the network predicts.
        scale = append_dims(t.clamp(min=LEAST_TIME), image)
        loss = squared_error(x0 / scale, image / scale).mean()
        if "sketch" in signal:
            sketch = signal["sketch"]  # (B, C, s, s)
            likeness = (squared_error(sketch, adaptive_avg_pool2d(image, sketch.shape[-1])) * ~dropped).mean()
            turn.note(sketch=likeness)
            loss = loss + likeness
        return loss

    def denoise(self, x: Tensor, t: Tensor, signal: Signal) -> Tensor:
        """The expected image (B, C, H, W) given ``x`` on the straight path at times ``t`` (B,)."""
        heard = dict(signal)
        seen = x
        if "sketch" in heard:
            # Detached: the sketch stays what its own loss makes it, the average picture of its caption.
            sketch = heard.pop("sketch").detach().to(x.dtype)
            seen = torch.cat([x, interpolate(sketch, x.shape[2:], mode="bilinear")], 1)  # (B, 2 C, H, W)
        said = self.network(seen, t * TIME_SCALE, **heard).float()
        return to_x0(self.predicts, self.path, said, x, t)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Solve the flow from noise to image in ``steps`` steps (Heun calls the network twice a step)."""
        n = len(rng)
        knobs = self.settings(how)
        guided = self.guide(self.denoise, condition, n, knobs.guidance)
        solve = SAMPLERS[knobs.sampler]
        noise = rng.normal(n, *self.shape, device=self.device)
        return solve(guided, noise, flow_times(knobs.steps, self.shift), rng).clamp(-1, 1)
