"""AlignDRAW (Mansimov, Parisotto, Ba & Salakhutdinov 2015, "Generating images from captions with attention",
arXiv:1511.02793).

A picture is drawn in T steps by DRAW (Gregor et al. 2015, 1502.04623), which looks at the words at each of them.
Symbols -> code:
    x -> image    y -> caption    h^lang -> context    s_t -> text_features    r_t -> glimpsed    p_t, write -> writer
    z_t -> z    mu, sigma of P -> prior    mu, sigma of Q -> posterior    LSTM^infer -> inference
    LSTM^gen -> generative    h^infer, h^gen -> infer.h, gen.h    c_t -> canvas    T -> steps
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.likelihood import kl_normals
from zeuxis.nn import draw
from zeuxis.nn.align import Alignment, TextContext, WordsInABag, WordsInOrder
from zeuxis.nn.text import WordTokeniser
from zeuxis.rng import ImageRng
from zeuxis.systems.autoencoder._pixels import LIKELIHOODS, Bernoulli, SharedGaussian

READERS: dict[str, type[WordsInOrder] | type[WordsInABag]] = {"aligned": WordsInOrder, "bag": WordsInABag}


class LSTMState(NamedTuple):
    """The state of an LSTM."""

    h: Tensor  # (B, D)
    c: Tensor  # (B, D)


class AlignDraw(System):
    """A drawer that hears the caption, and in training a watcher who sees the picture and tells it what to draw.

    Their first states and the first canvas are learnt. A picture's likelihood is not among the verbs, for no verb
    has a caption to condition it on; the log has the bound.

    ``reader`` is ``"aligned"``, or ``"bag"``: a drawer that is told the sum of the words once and for all, as a
    conditional VAE is told a label. ``text`` is the width of each direction of the reader, ``align`` that of the
    alignment, ``length`` the longest caption in words, ``patch`` the side of what is read or written in a step,
    ``least`` the standard deviation below which Gaussian pixels do not fall.
    """

    card = Card(
        "align-draw",
        title="AlignDRAW",
        family="autoencoder",
        year=2015,
        paper="1511.02793",
        verbs={"sample", "draw_steps"},
        needs={"caption"},
        knobs=("temperature",),
        departures=(
            "Words are embedded before the LSTM that reads them, Adam replaces RMSProp.",
            "Pixels may also be Gaussian, with one variance (Rybkin et al. 2020) learnt above a given one.",
            "sample shows the mean of p(x | z), without its pixel noise.",
            "The logarithms of a window's variance, stride and strength are held within 4 by a soft bound.",
            "Samples are not sharpened by a second, adversarial network.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        words: tuple[str, ...] = (),
        reader: str = "aligned",
        length: int = 16,
        text: int = 128,
        align: int = 512,
        hidden: int = 550,
        latent: int = 275,
        steps: int = 32,
        patch: int = 9,
        likelihood: str = "bernoulli",
        least: float = 0.0,
    ) -> None:
        super().__init__()
        if not words:
            raise UsageError("align-draw draws from captions and these data have none: choose captioned data")
        for kind, name, table in (("reader", reader, READERS), ("likelihood", likelihood, LIKELIHOODS)):
            if name not in table:
                raise UnknownName(kind, name, table)
        self.shape, self.latent, self.steps = Shape(*shape), latent, steps
        self.tokeniser = WordTokeniser(words, length)
        self.reader = READERS[reader](len(self.tokeniser), text)
        self.align = Alignment(2 * text, hidden, align)
        if reader == "bag":
            self.align.requires_grad_(False)  # of one vector the weight is 1, whatever its score
        self.glimpse = draw.Glimpse(hidden, patch)
        self.inference = nn.LSTMCell(2 * self.shape.channels * patch**2 + hidden, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.prior = nn.Linear(hidden, 2 * latent)
        self.generative = nn.LSTMCell(latent + 2 * text, hidden)
        self.writer = draw.Writer(hidden, patch, self.shape)
        self.first = nn.Parameter(torch.zeros(4, hidden))  # h and c of both LSTMs
        self.blank = nn.Parameter(torch.zeros(self.shape))  # c_0
        plain = likelihood == "bernoulli"
        self.likelihood: Bernoulli | SharedGaussian = Bernoulli() if plain else SharedGaussian(least)

    def players(self) -> tuple[Player, ...]:
        return (Player("drawer", (self,), lr=1e-3, clip=10.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("drawer", self.bound),)

    def bound(self, turn: Turn) -> Tensor:
        """-L, the mean over the batch: the distortion of c_T, and what the watcher told in T steps (section 3.3)."""
        image, context = turn.batch.image, self.read(turn.batch.condition)
        gen, infer, canvas = self.begin(len(image))
        rate = image.new_zeros(len(image))
        for t in range(self.steps):
            missing = image - self.likelihood.picture(canvas)  # x - sigma(c_(t-1)), on the scale of the image
            glimpsed = self.glimpse(torch.cat([image, missing], 1), gen.h)
            infer = LSTMState(*self.inference(torch.cat([glimpsed, gen.h], 1), infer))
            mean, logvar = self.posterior(infer.h).float().chunk(2, dim=1)
            rate = rate + kl_normals(mean, logvar, *self.prior_of(gen.h, t))  # KL(Q(z_t | ..) || P(z_t | ..))
            z = mean + (0.5 * logvar).exp() * turn.rng.normal(*mean.shape, device=mean.device)
            gen, canvas = self.step(z, gen, canvas, context)
        distortion = self.likelihood.nll(canvas, image).mean()
        turn.note(distortion=distortion, rate=rate.mean(), elbo=-distortion - rate.mean())
        return distortion + rate.mean()

    def read(self, condition: Condition) -> TextContext:
        """h^lang (section 3.1)."""
        assert condition.caption is not None  # the card needs it
        ids, mask = (x.to(self.device) for x in self.tokeniser.encode(condition.caption))  # (B, N)
        if not mask.any(1).all():
            raise UsageError("align-draw was given an empty caption: say what to draw")
        context: TextContext = self.reader(ids, mask)
        return context

    def begin(self, n: int) -> tuple[LSTMState, LSTMState, Tensor]:
        """The drawer's memory, the watcher's, and the canvas ``(B, C, H, W)``, before the first step."""
        first = self.first[:, None].expand(-1, n, -1)
        return LSTMState(first[0], first[1]), LSTMState(first[2], first[3]), self.blank.expand(n, -1, -1, -1)

    def prior_of(self, h: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Mean and log variance of P(z_t | z_1 .. z_(t-1), y), ``(B, Z)`` each; the first is N(0, I)."""
        if t == 0:
            return h.new_zeros(len(h), self.latent), h.new_zeros(len(h), self.latent)
        mean, log_sigma = self.prior(h).float().tanh().chunk(2, dim=1)  # mu = tanh(W h), sigma = exp(tanh(W' h))
        return mean, 2 * log_sigma

    def step(self, z: Tensor, gen: LSTMState, canvas: Tensor, context: TextContext) -> tuple[LSTMState, Tensor]:
        """Listen, think, write: the drawer's next memory and canvas (section 3.2)."""
        text_features, _ = self.align(context, gen.h)  # s_t = align(h^gen_(t-1), h^lang)
        gen = LSTMState(
            *self.generative(torch.cat([z, text_features], 1), gen)
        )  # h^gen_t = LSTM^gen(h^gen_(t-1), [z_t, s_t])
        return gen, canvas + self.writer(gen.h)  # c_t = c_(t-1) + write(h^gen_t)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The mean of p(x | c_T) ``(B, C, H, W)``; ``temperature`` scales the spread of every z_t."""
        return self.draw_steps(condition, rng, how)[:, -1]

    def draw_steps(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The means of p(x | c_1) .. p(x | c_T), ``(B, T, C, H, W)`` in [-1, 1]."""
        temperature = self.settings(how).temperature
        context = self.read(condition)
        gen, _, canvas = self.begin(len(rng))
        shown = []
        for t in range(self.steps):
            mean, logvar = self.prior_of(gen.h, t)
            z = mean + temperature * (0.5 * logvar).exp() * rng.normal(*mean.shape, device=mean.device)
            gen, canvas = self.step(z, gen, canvas, context)
            shown.append(self.likelihood.picture(canvas))
        return torch.stack(shown, 1)
