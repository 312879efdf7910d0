"""PixelCNN: a picture's probability as a product over its pixels, each given those before it.

The gated network of van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders" (1606.05328),
with the discretised mixture of logistics of Salimans et al. 2017, "PixelCNN++" (1701.05517). Symbols -> code:
    x_i -> a pixel with all its channels    h -> label    p(x | h) = prod_i p(x_i | x_1 .. x_(i-1), h) -> log_prob
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.losses.logistic_mixture import LogisticMixture, parameters
from zeuxis.nn.causal import GatedLayer, gate
from zeuxis.rng import ImageRng, Rng
from zeuxis.verbs import Sampling

CONDITIONS = ("none", "label")


class PixelCNN(System):
    """``depth`` gated layers of ``width`` channels; the first sees ``first_kernel`` columns, the others ``kernel``.

    ``condition`` is ``"none"`` or ``"label"``. ``components`` are those of the mixture of logistics.
    """

    discrete = True
    card = Card(
        "pixel-cnn",
        title="Gated PixelCNN",
        family="autoregressive",
        year=2016,
        paper="1606.05328",
        verbs={"sample", "log_prob"},
        accepts={"label"},
        knobs={"temperature"},
        departures=(
            "A mixture of logistics over a pixel's channels (PixelCNN++) in place of 256 classes a channel.",
            "Channels are not split into groups: all of a pixel's are drawn at once, by the mixture's own coupling.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: str = "none",
        width: int = 64,
        depth: int = 8,
        first_kernel: int = 7,
        kernel: int = 5,
        components: int = 5,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if self.shape.channels not in (1, 3):
            raise Unsupported(
                f"a pixel-cnn draws pictures of 1 or 3 channels, not {self.shape.channels}: choose others"
            )
        if condition not in CONDITIONS:
            raise UsageError(f"condition '{condition}': a pixel-cnn knows {', '.join(CONDITIONS)}")
        if first_kernel % 2 == 0 or kernel % 2 == 0 or depth < 1:
            raise UsageError(f"kernels {first_kernel} and {kernel} must be odd, depth {depth} at least 1")
        self.components, self.lr, self.condition = components, lr, condition
        self.classes = classes if condition == "label" else 0
        if condition == "label" and classes < 2:
            raise UsageError("condition 'label' needs data with 2 classes or more: choose labelled data")
        layers: list[GatedLayer] = [
            GatedLayer(self.shape.channels + 1, width, first_kernel, vector=self.classes, first=True)
        ]
        layers += [GatedLayer(width, width, kernel, vector=self.classes) for _ in range(depth - 1)]
        self.layers = nn.ModuleList(layers)
        told = parameters(self.shape.channels, components)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, told, 1))

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.classes else ())

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.layers, self.head), lr=self.lr, clip=1.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.surprise),)

    def surprise(self, turn: Turn) -> Tensor:
        """-log p(x | h) in nats per number, the mean over the batch (Eq. 1)."""
        image = turn.batch.image
        nats = -self._mixture(image, turn.batch.condition.label).log_prob(image).flatten(1).sum(1)  # (B,)
        per_number = nats.mean() / image[0].numel()
        turn.note(bits=per_number / torch.log(torch.tensor(2.0)))
        return per_number

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log P(x) in nats ``(B,)`` of images on 256 levels: exact. Only of models without a condition."""
        if self.classes:
            raise Unsupported("this pixel-cnn was trained by label: the likelihood of a picture alone is not defined")
        return self._mixture(image, None).log_prob(image).flatten(1).sum(1)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Pixel by pixel: ``(B, C, H, W)`` on 256 levels; ``how.temperature`` scales the logistics.

        What is above a row is looked at once for all its pixels; for each of them, only its row is.
        """
        temperature = 1.0 if how.temperature is None else how.temperature
        c, height, width = self.shape
        u = rng.uniform(len(rng), self.components + c, height, width, device=self.device)
        vector = self._vector(condition.label)
        image = torch.zeros(len(rng), c, height, width, device=self.device)
        layers = [layer for layer in self.layers if isinstance(layer, GatedLayer)]
        for row in range(height):
            v, hints = _with_ones(image[:, :, : row + 1]), []
            for layer in layers:
                above = layer.look_up(v, vector)
                hints.append(layer.hint(above)[:, :, row:])
                v = gate(above)
            for column in range(width):
                h = _with_ones(image[:, :, row : row + 1])
                for layer, hint in zip(layers, hints, strict=True):
                    h = layer.look_left(h, hint, vector)
                told = LogisticMixture.of(self.head(h[..., column : column + 1]), c, self.components)
                here = (slice(None), slice(None), slice(row, row + 1), slice(column, column + 1))
                image[here] = told.sample(u[here], temperature)
        return image

    def _vector(self, label: Tensor | None) -> Tensor | None:
        """The label as the layers are told it, ``(B, K)``."""
        if not self.classes:
            return None
        assert label is not None  # the conditions say so
        return F.one_hot(label, self.classes).float()

    def _mixture(self, image: Tensor, label: Tensor | None) -> LogisticMixture:
        """The distribution of every pixel of ``image`` (B, C, H, W), given those before it."""
        vector = self._vector(label)
        v = h = _with_ones(image)
        for layer in self.layers:
            v, h = layer(v, h, vector)
        return LogisticMixture.of(self.head(h), self.shape.channels, self.components)


def _with_ones(image: Tensor) -> Tensor:
    """A channel of ones beside the others tells where the picture ends."""
    return torch.cat([image, torch.ones_like(image[:, :1])], 1)
