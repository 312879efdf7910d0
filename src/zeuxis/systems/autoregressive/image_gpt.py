"""Image GPT (Chen et al. 2020, "Generative pretraining from pixels", ICML): the transformer of language, over pixels.

Over the codes of a tokeniser it is the second stage of VQGAN (Esser et al. 2020, 2012.09841, section 3.2).
Symbols -> code (section 2):
    x_pi_i -> codes[:, i], in the order of a page    p(x) = prod_i p(x_pi_i | x_pi_1 .. x_pi_(i-1)) -> log_prob
    L_AR -> nll    sos -> network.start    wte, wpe, wtet of the program -> token, body.pos_embed, head
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.categorical import Categorical
from zeuxis.errors import Unsupported
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.causal_transformer import CausalTransformer
from zeuxis.nn.code_cache import CodeCache, tokenise
from zeuxis.nn.palette import Greys, Palette
from zeuxis.rng import ImageRng, Rng
from zeuxis.steps import each_step, show
from zeuxis.systems.autoregressive._codes import Layout, classes_of, code_layout, detokenise
from zeuxis.verbs import Likelihood

LEVELS = 256  # of a grey pixel: nothing is lost
COLOURS = 512  # of the paper's 9-bit palette


class ImageGPT(System):
    """A transformer that predicts a picture code by code.

    Without a ``tokeniser`` a code is a pixel.

    Args:
        tokeniser: a trained system with codes (vq-vae, vqgan, ...), by name or run folder; none has pixels for codes.
        colours: values of a pixel: even greys or, in colour, a palette found in the first batch; none is all 256 greys,
            or 512 colours. With a tokeniser it is what that has.
        width: channels of a token, a multiple of ``heads``.
        depth: transformer blocks.
        heads: of each attention.
        gelu: how it is approximated: "sigmoid", x sigmoid(1.702 x) as published, or "tanh", closer to it.
    """

    likelihood_of = Likelihood.GREY_LEVELS
    card = Card(
        "image-gpt",
        title="Image GPT",
        family="autoregressive",
        year=2020,
        paper="Chen et al. 2020, Generative pretraining from pixels, ICML",
        verbs={"sample", "log_prob"},
        accepts={"label"},
        knobs=("temperature",),
        departures=(
            "Grey pictures keep even levels, all 256 by default: their likelihood is then that of the pixels.",
            "The palette is the k-means of the first batch and not of the whole data: round 0 trains nothing else.",
            "Under a palette, under fewer levels and over codes no likelihood is given: none would be of the pixels.",
            "A class, where there is one, takes the place of the start of the sequence.",
            "The deviation of initial weights falls with the root of the width, from about 0.02 at 768.",
            "Gradients are clipped to the norm 1.",
            "The objective is the autoregressive one alone, and no classifier is trained on the features.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: str = "none",
        tokeniser: System | None = None,
        colours: int | None = None,
        width: int = 128,
        depth: int = 6,
        heads: int = 4,
        gelu: str = "sigmoid",
        lr: float = 3e-3,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        self.classes = classes_of(condition, classes, "image-gpt")
        self.tokeniser: System | Greys | Palette
        if tokeniser is not None:
            self.layout = code_layout(tokeniser, self.shape, colours)
            self.tokeniser = tokeniser
            self.freeze(tokeniser)
        elif self.shape.channels in (1, 3):
            pixels = Greys(colours or LEVELS) if self.shape.channels == 1 else Palette(colours or COLOURS)
            self.layout = Layout(pixels.codes, (self.shape.height, self.shape.width))
            self.tokeniser = pixels
        else:
            raise Unsupported(
                f"image-gpt models pixels of 1 or 3 channels, not {self.shape.channels}: give a tokeniser"
            )
        codes, length = self.layout.codes, self.layout.length
        self.cache = CodeCache(self.shape, length)
        self.network = CausalTransformer(codes, length, width, depth, heads, classes=self.classes, gelu=gelu)

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.classes else ())

    @property
    def can(self) -> frozenset[str]:
        """Its likelihood is of the pixels only where these are kept as they are, and there is no condition."""
        exact = isinstance(self.tokeniser, Greys) and self.tokeniser.codes == LEVELS and not self.classes
        return frozenset(self.card.verbs if exact else self.card.verbs - {"log_prob"})

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=self.lr, betas=(0.9, 0.95), clip=1.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.nll),)

    def nll(self, turn: Turn) -> Tensor | None:
        """L_AR = -log p(x) in nats a code, the mean over the batch; passes until there is a palette."""
        if isinstance(self.tokeniser, Palette) and not self.tokeniser.learnt:
            return None
        codes = self._codes(turn.batch)
        loss = -self._log_probs(codes, turn.batch.condition.label).mean()
        turn.note(bits_per_code=loss / math.log(2))
        return loss

    def after_round(self, turn: Turn) -> None:
        """Find the palette, if there is to be one, before all else."""
        if isinstance(self.tokeniser, Palette) and not self.tokeniser.learnt:
            self.tokeniser.learn(turn.joined([part.batch.image for part in turn.parts]), turn.shared_rng)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log P(x) in nats ``(B,)`` of grey images on 256 levels: exact. Only of models of those."""
        if "log_prob" not in self.can:
            raise Unsupported(
                "this image-gpt models codes, a palette, fewer greys than 256, or a picture of a known class: the "
                "likelihood of pixels alone is not defined; train one of grey pictures without tokeniser and label"
            )
        return self._log_probs(tokenise(self.tokeniser, image), None).sum(1)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Code by code, each given all before it: ``(B, C, H, W)``; ``temperature`` divides the logits."""
        temperature = self.settings(how).temperature
        n, length = len(rng), self.layout.length
        u = rng.uniform(n, length, device=self.device)
        codes = torch.zeros(n, length, dtype=torch.int64, device=self.device)
        caches = self.network.caches(n)
        last = self.network.begin(n, condition.label if self.classes else None)  # (B, D)
        for i in each_step(range(length)):
            codes[:, i] = Categorical(self.network.step(last, caches)).from_uniform(u[:, i], temperature)
            last = self.network.token(codes[:, i])
            show(lambda: detokenise(self.tokeniser, codes, self.layout.grid))
        return detokenise(self.tokeniser, codes, self.layout.grid)

    def _codes(self, batch: Batch) -> Tensor:
        """The codes ``(B, N)`` of pictures to learn from; only a trained tokeniser is worth a cache."""
        if isinstance(self.tokeniser, System):
            return self.cache.tokenise(self.tokeniser, batch)
        return tokenise(self.tokeniser, batch.image)

    def _log_probs(self, codes: Tensor, label: Tensor | None) -> Tensor:
        """log p of each code ``(B, N)``, given those before it."""
        return Categorical(self.network(codes, label if self.classes else None)).log_prob(codes)
