"""AlignDRAW (Mansimov, Parisotto, Ba & Salakhutdinov 2015, "Generating images from captions with attention",
arXiv:1511.02793).

A picture is drawn in T steps by DRAW (Gregor et al. 2015, 1502.04623), each of which attends to the words.
Symbols -> code:
    x -> image    y -> caption    h^lang -> context    s_t -> text_features    r_t -> glimpse    p_t, write -> writer
    z_t -> z    P -> prior_of    Q -> posterior    LSTM^infer -> inference
    LSTM^gen -> generative    h^infer, h^gen -> infer.h, gen.h    c_t -> canvas    T -> steps
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.normal import Normal
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import CaptionLimit, Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn import draw
from zeuxis.nn.align import Alignment, BagOfWords, BidirectionalLSTM, TextContext
from zeuxis.nn.text import WordTokeniser
from zeuxis.rng import ImageRng
from zeuxis.steps import each_step, show
from zeuxis.systems.autoencoder._pixels import pixels

TEXT_ENCODERS: dict[str, type[BidirectionalLSTM] | type[BagOfWords]] = {
    "aligned": BidirectionalLSTM,
    "bag": BagOfWords,
}


class LSTMState(NamedTuple):
    """The state of an LSTM."""

    h: Tensor  # (B, D)
    c: Tensor  # (B, D)


class AlignDraw(System):
    """A decoder that attends to the caption, and in training an encoder of the picture; both are recurrent.

    Their initial states and the initial canvas are learnt. A picture's likelihood is not among the verbs, for no verb
    has a caption to condition it on; the log has the bound.

    Args:
        text_encoder: "aligned", the words' vectors in order, which every step attends to; or "bag": the sum of the
            words is the decoder's whole context, as the label is a conditional VAE's.
        length: of the longest caption in words; longer ones are refused.
        text: width of each direction of the text encoder.
        align: width of the alignment, the layer that scores words.
        hidden: units of each recurrent network.
        latent: latent numbers of a step.
        steps: in which a picture is drawn, T.
        patch: side in filters of what is read or written in a step.
        likelihood: of pixels: "bernoulli"; "black-and-white", which binarises them at mid-grey; or "gaussian" with one
            learnt deviation.
        least: standard deviation below which Gaussian pixels do not fall (pixels lie in [-1, 1]); idle with the others.
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
            "Words are embedded before the LSTM that encodes them, Adam replaces RMSProp.",
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
        text_encoder: str = "aligned",
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
        if text_encoder not in TEXT_ENCODERS:
            raise UnknownName("text_encoder", text_encoder, TEXT_ENCODERS)
        self.shape, self.latent, self.steps = Shape(*shape), latent, steps
        self.tokeniser = WordTokeniser(words, length)
        self.caption_limit = CaptionLimit(length, "length")
        self.text_encoder = TEXT_ENCODERS[text_encoder](len(self.tokeniser), text)
        self.align = Alignment(2 * text, hidden, align)
        if text_encoder == "bag":
            self.align.requires_grad_(False)  # of one vector the weight is 1, whatever its score
        self.glimpse = draw.Glimpse(hidden, patch)
        self.inference = nn.LSTMCell(2 * self.shape.channels * patch**2 + hidden, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.prior = nn.Linear(hidden, 2 * latent)
        self.generative = nn.LSTMCell(latent + 2 * text, hidden)
        self.writer = draw.Writer(hidden, patch, self.shape)
        self.first = nn.Parameter(torch.zeros(4, hidden))  # h and c of both LSTMs
        self.blank = nn.Parameter(torch.zeros(self.shape))  # c_0
        self.likelihood = pixels(likelihood, least)

    def players(self) -> tuple[Player, ...]:
        return (Player("autoencoder", (self,), lr=1e-3, clip=10.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.bound),)

    def bound(self, turn: Turn) -> Tensor:
        """-L, the mean over the batch: the distortion of c_T, and the rate of all z_t (section 3.3)."""
        image, context = turn.batch.image, self.context_of(turn.batch.condition)
        gen, infer, canvas = self.initial(len(image))
        rate = image.new_zeros(len(image))
        for t in range(self.steps):
            missing = image - self.likelihood.mean(canvas)  # x - sigma(c_(t-1)), on the scale of the image
            glimpse = self.glimpse(torch.cat([image, missing], 1), gen.h)
            infer = LSTMState(*self.inference(torch.cat([glimpse, gen.h], 1), infer))
            posterior = Normal(*self.posterior(infer.h).float().chunk(2, dim=1))  # (B, Z)
            rate = rate + posterior.kl(self.prior_of(gen.h, t))  # KL(Q(z_t | ..) || P(z_t | ..))
            gen, canvas = self.step(posterior.sample(turn.rng), gen, canvas, context)
        distortion = self.likelihood.nll(canvas, image).mean()
        turn.note(distortion=distortion, rate=rate.mean(), elbo=-distortion - rate.mean())
        return distortion + rate.mean()

    def context_of(self, condition: Condition) -> TextContext:
        """h^lang (section 3.1)."""
        assert condition.caption is not None  # the card needs it
        ids, mask = (x.to(self.device) for x in self.tokeniser.encode(condition.caption))  # (B, N)
        if not mask.any(1).all():
            raise UsageError("align-draw was given an empty caption: give one")
        context: TextContext = self.text_encoder(ids, mask)
        return context

    def initial(self, n: int) -> tuple[LSTMState, LSTMState, Tensor]:
        """The states of the generative and the inference LSTM and the canvas ``(B, C, H, W)`` before the first step."""
        first = self.first[:, None].expand(-1, n, -1)
        return LSTMState(first[0], first[1]), LSTMState(first[2], first[3]), self.blank.expand(n, -1, -1, -1)

    def prior_of(self, h: Tensor, t: int) -> Normal:
        """P(z_t | z_1 .. z_(t-1), y), ``(B, Z)``; the first is N(0, I)."""
        if t == 0:
            return Normal(h.new_zeros(len(h), self.latent), h.new_zeros(len(h), self.latent))
        mean, log_sigma = self.prior(h).float().tanh().chunk(2, dim=1)  # mu = tanh(W h), sigma = exp(tanh(W' h))
        return Normal(mean, 2 * log_sigma)

    def step(self, z: Tensor, gen: LSTMState, canvas: Tensor, context: TextContext) -> tuple[LSTMState, Tensor]:
        """The next state and canvas of the generative network (section 3.2)."""
        text_features, _ = self.align(context, gen.h)  # s_t = align(h^gen_(t-1), h^lang)
        # h^gen_t = LSTM^gen(h^gen_(t-1), [z_t, s_t])
        gen = LSTMState(*self.generative(torch.cat([z, text_features], 1), gen))
        return gen, canvas + self.writer(gen.h)  # c_t = c_(t-1) + write(h^gen_t)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The mean of p(x | c_T) ``(B, C, H, W)``; ``temperature`` scales the deviation of every z_t."""
        return self.draw_steps(condition, rng, how)[:, -1]

    def draw_steps(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The means of p(x | c_1) .. p(x | c_T), ``(B, T, C, H, W)`` in [-1, 1]."""
        temperature = self.settings(how).temperature
        context = self.context_of(condition)
        gen, _, canvas = self.initial(len(rng))
        shown = []
        for t in each_step(range(self.steps)):
            z = self.prior_of(gen.h, t).sample(rng, temperature)
            gen, canvas = self.step(z, gen, canvas, context)
            shown.append(self.likelihood.mean(canvas))
            show(lambda: shown[-1])
        return torch.stack(shown, 1)
