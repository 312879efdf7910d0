"""PixelCNN: a picture's probability as a product over its pixels, each given those before it.

The gated network of van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders" (1606.05328),
with the discretised mixture of logistics of Salimans et al. 2017, "PixelCNN++" (1701.05517). Over the codes of a
tokeniser it is the prior of VQ-VAE (van den Oord et al. 2017, 1711.00937, section 3.3). Symbols -> code:
    x_i -> a pixel with all its channels, or a code    h -> label    p(x | h) = prod_i p(x_i | x_1 .. x_(i-1), h)

Axes: P parameters of a pixel.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.categorical import Categorical
from zeuxis.distributions.logistic_mixture import LogisticMixture, parameter_count
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.causal import GatedLayer, gate
from zeuxis.nn.code_cache import CodeCache
from zeuxis.rng import ImageRng, Rng
from zeuxis.steps import each_step, show
from zeuxis.systems.autoregressive._codes import classes_of, code_layout, detokenise
from zeuxis.verbs import Likelihood


class PixelCNN(System):
    """Gated convolutions that see only what lies above and to the left.

    Pixels are a mixture of logistics; over the codes of a ``tokeniser``, which must come as a map, the distribution is
    categorical.

    Args:
        tokeniser: a trained system with codes (vq-vae, vqgan, ...), by name or run folder; none has pixels.
        width: channels of a layer.
        depth: gated layers, 1 or more.
        first_kernel: side of the first layer's kernel in pixels, odd.
        kernel: side of the others' kernels in pixels, odd.
        components: logistics of a pixel's mixture; idle with a tokeniser.
    """

    likelihood_of = Likelihood.GREY_LEVELS
    card = Card(
        "pixel-cnn",
        title="Gated PixelCNN",
        family="autoregressive",
        year=2016,
        paper="1606.05328",
        verbs={"sample", "log_prob"},
        accepts={"label"},
        knobs=("temperature",),
        departures=(
            "A mixture of logistics over a pixel's channels (PixelCNN++) in place of 256 classes a channel.",
            "Channels are not split into groups: all of a pixel's are drawn at once, by the mixture's own coupling.",
            "Over codes no likelihood is given: it would not be that of the pixels.",
            "The recipe of pixels, and what ships of it, is far smaller than the paper's networks and good for its "
            "likelihood alone: its samples are worse than those of one Gaussian. Those over codes are not.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: str = "none",
        tokeniser: System | None = None,
        width: int = 64,
        depth: int = 8,
        first_kernel: int = 7,
        kernel: int = 5,
        components: int = 5,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if first_kernel % 2 == 0 or kernel % 2 == 0 or depth < 1:
            raise UsageError(f"kernels {first_kernel} and {kernel} must be odd, depth {depth} at least 1")
        self.components, self.lr, self.tokeniser = components, lr, tokeniser
        self.classes = classes_of(condition, classes, "a pixel-cnn")
        channels = self.shape.channels
        self.embedding: nn.Embedding | None = None
        if tokeniser is not None:
            codes, grid = code_layout(tokeniser, self.shape)
            if len(grid) != 2:
                raise Unsupported(
                    f"a pixel-cnn models a map of codes, and '{tokeniser.card.id}' makes a sequence: use image-gpt"
                )
            self.freeze(tokeniser)
            self.cache = CodeCache(self.shape, math.prod(grid))
            self.embedding = nn.Embedding(codes, width)
            inputs, outputs, self.draws, self.grid = width, codes, 1, grid
        elif channels in (1, 3):
            inputs, outputs = channels, parameter_count(channels, components)
            self.draws, self.grid = components + channels, (self.shape.height, self.shape.width)
        else:
            raise Unsupported(f"a pixel-cnn draws pictures of 1 or 3 channels, not {channels}: choose others")
        layers: list[GatedLayer] = [GatedLayer(inputs + 1, width, first_kernel, vector=self.classes, first=True)]
        layers += [GatedLayer(width, width, kernel, vector=self.classes) for _ in range(depth - 1)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, outputs, 1))

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.classes else ())

    @property
    def can(self) -> frozenset[str]:
        not_of_pixels = self.tokeniser is not None or self.classes
        return frozenset(self.card.verbs - {"log_prob"} if not_of_pixels else self.card.verbs)

    def players(self) -> tuple[Player, ...]:
        ours = (self.layers, self.head, *(() if self.embedding is None else (self.embedding,)))
        return (Player("network", ours, lr=self.lr, clip=1.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.nll),)

    def nll(self, turn: Turn) -> Tensor:
        """-log p(x | h) in nats per number, the mean over the batch (Eq. 1)."""
        x = self._targets(turn.batch)
        nats = -self._predicted(x, turn.batch.condition.label).log_prob(x).flatten(1).sum(1)  # (B,)
        per_number = nats.mean() / x[0].numel()
        turn.note(bits=per_number / torch.log(torch.tensor(2.0)))
        return per_number

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log P(x) in nats ``(B,)`` of images on 256 levels: exact. Only of models of pixels without a condition."""
        if self.tokeniser is not None:
            raise Unsupported("this pixel-cnn models codes: the likelihood of pixels is not defined; train without")
        if self.classes:
            raise Unsupported("this pixel-cnn was trained by label: the likelihood of a picture alone is not defined")
        return self._predicted(image, None).log_prob(image).flatten(1).sum(1)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Pixel by pixel: ``(B, C, H, W)`` on 256 levels, or code by code and then decoded.

        ``temperature`` scales the logistics, or divides the codes' logits. The vertical stack is
        evaluated once a row, the horizontal one once a pixel.
        """
        temperature = self.settings(how).temperature
        height, width = self.grid
        u = rng.uniform(len(rng), self.draws, height, width, device=self.device)
        vector = self._vector(condition.label)
        coded = self.tokeniser is not None
        made = torch.zeros(len(rng), *((height, width) if coded else self.shape), device=self.device)
        made = made.to(torch.int64) if coded else made  # (B, h, w), or (B, C, H, W)
        layers = [layer for layer in self.layers if isinstance(layer, GatedLayer)]
        for row in each_step(range(height)):
            v, rows_above = self._inputs(made[..., : row + 1, :]), []
            for layer in layers:
                above = layer.vertical(v, vector)
                rows_above.append(layer.from_above(above)[:, :, row:])
                v = gate(above)
            for column in range(width):
                h = self._inputs(made[..., row : row + 1, :])
                for layer, from_above in zip(layers, rows_above, strict=True):
                    h = layer.horizontal(h, from_above, vector)
                here = (..., slice(row, row + 1), slice(column, column + 1))
                p = self._distribution(self.head(h[..., column : column + 1]))
                made[here] = p.from_uniform(u[:, 0][here] if coded else u[here], temperature)
            show(lambda: self._picture(made))
        return self._picture(made)

    def _picture(self, made: Tensor) -> Tensor:
        """The images ``(B, C, H, W)`` that were drawn, or of the codes that were."""
        return made if self.tokeniser is None else detokenise(self.tokeniser, made.flatten(1), self.grid)

    def _vector(self, label: Tensor | None) -> Tensor | None:
        """The one-hot label, ``(B, K)``."""
        if not self.classes:
            return None
        assert label is not None  # the conditions say so
        return F.one_hot(label, self.classes).float()

    def _targets(self, batch: Batch) -> Tensor:
        """What is learnt: the images ``(B, C, H, W)`` themselves, or their codes ``(B, h, w)``."""
        if self.tokeniser is None:
            return batch.image
        return self.cache.tokenise(self.tokeniser, batch).unflatten(1, self.grid)

    def _inputs(self, x: Tensor) -> Tensor:
        """Inputs of the first layer; a channel of ones beside the others marks where the picture ends."""
        x = x if self.embedding is None else self.embedding(x).movedim(-1, 1)
        return torch.cat([x, torch.ones_like(x[:, :1])], 1)

    def _distribution(self, output: Tensor) -> LogisticMixture | Categorical:
        """Those of the network's output ``(B, P, h, w)``."""
        if self.tokeniser is not None:
            return Categorical(output.movedim(1, -1))
        return LogisticMixture.of(output, self.shape.channels, self.components)

    def _predicted(self, x: Tensor, label: Tensor | None) -> LogisticMixture | Categorical:
        """The distribution of every pixel or code of ``x``, given those before it."""
        vector = self._vector(label)
        v = h = self._inputs(x)
        for layer in self.layers:
            v, h = layer(v, h, vector)
        return self._distribution(self.head(h))
