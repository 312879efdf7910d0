"""A language model of captions: the next word as a classifier over the vocabulary.

Bengio, Ducharme, Vincent & Jauvin 2003, "A neural probabilistic language model", JMLR 3, 1137-1155. Symbols -> code:
    w_t -> a word's id    n - 1 -> context    C (|V| x m) -> feature    x -> the features of the words before, in a row
    H, d -> hidden        U, b -> output      W -> direct               y -> logits of the next word

It models text; pictures play no part:
    system, card = zeuxis.catalog.weights.load_system("runs/00000-caption-lm-scenes")
    system.write(ImageRng.counting(0, 8))       # eight captions
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.distributions.categorical import Categorical
from zeuxis.errors import UsageError
from zeuxis.game import CaptionLimit, Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.text import PAD, WordTokeniser
from zeuxis.nn.words import words_of
from zeuxis.rng import ImageRng

END = PAD  # what follows the last word is predicted like a word


class CaptionLM(System):
    """p(caption) as a product over its words and its end, each given some words before it.

    The context before the first word is filled with a start token. Case and punctuation are ignored.

    Args:
        context: words that the next one depends on: 1 is a bigram model, as many as ``longest`` are all.
        features: numbers that embed a word (the paper's m).
        hidden: units that combine the words.
        longest: caption in words; longer ones are refused.
    """

    card = Card(
        "caption-lm",
        title="Neural language model of captions",
        family="autoregressive",
        year=2003,
        paper="Bengio et al. 2003, JMLR 3, 1137-1155",
        verbs={"write", "log_prob_caption"},
        needs={"caption"},
        knobs=("temperature",),
        departures=(
            "Each caption is a text of its own, with a beginning and a predicted end; the paper reads one long text.",
            "Adam and minibatches in place of stochastic gradient ascent word by word with weight decay.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        words: Sequence[str] = (),
        context: int = 12,
        features: int = 24,
        hidden: int = 256,
        longest: int = 16,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        if not words:
            raise UsageError("a caption-lm needs data with captions, and their words: choose captioned data")
        if not 1 <= context <= longest:
            raise UsageError(f"caption-lm: context {context} must be from 1 to the longest caption, {longest} words")
        self.shape = Shape(*shape)
        self.context, self.lr = context, lr
        self.tokeniser = WordTokeniser(words, longest)
        self.caption_limit = CaptionLimit(longest, "longest")
        vocabulary = len(self.tokeniser) + 1  # the words, and the end
        self.start = vocabulary  # the id of the start token
        self.feature = nn.Embedding(vocabulary + 1, features)  # C
        self.hidden = nn.Linear(context * features, hidden)  # H, d
        self.output = nn.Linear(hidden, vocabulary)  # U, b
        self.direct = nn.Linear(context * features, vocabulary, bias=False)  # W

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset()  # captions are its data, not its condition

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.feature, self.hidden, self.output, self.direct), lr=self.lr, clip=1.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.nll),)

    def nll(self, turn: Turn) -> Tensor:
        """-log p in nats a word, the ends counted as words: the log of the perplexity."""
        captions = turn.batch.condition.caption
        assert captions is not None  # the card needs it
        nats, words = self._log_prob(captions)
        turn.note(perplexity=(-nats.sum() / words.sum()).exp())
        return -nats.sum() / turn.denominator([self._predictions(part) for part in turn.parts])

    def log_prob_caption(self, captions: Sequence[str]) -> Tensor:
        """log p(w_1, ..., w_T, end) in nats ``(B,)``: exact."""
        return self._log_prob(captions)[0]

    def write(self, rng: ImageRng, how: Sampling = Sampling()) -> tuple[str, ...]:
        """``len(rng)`` captions, word by word, the k-th from the k-th stream of ``rng`` alone.

        ``temperature`` divides the logits: below 1 likely words get likelier, and at 0 the likeliest follows always. A
        caption is cut at ``longest``.
        """
        temperature = self.settings(how).temperature
        ids = torch.full((len(rng), self.context), self.start, device=self.device)
        for _ in range(self.tokeniser.length):
            logits = self(ids[:, -self.context :]).double()  # (B, |V|)
            u = rng.uniform(len(rng), 1, device=self.device)
            word = Categorical(logits).from_uniform(u[:, 0], temperature)
            ended = ids[:, -1] == END
            ids = torch.cat([ids, word.masked_fill(ended, END)[:, None]], 1)
        return tuple(self._text(row) for row in ids[:, self.context :].tolist())

    def forward(self, before: Tensor) -> Tensor:
        """y = b + W x + U tanh(d + H x): logits ``(..., |V|)`` after the words ``before`` (..., context) (Eq. 1)."""
        x = self.feature(before).flatten(-2)
        y: Tensor = self.output(torch.tanh(self.hidden(x))) + self.direct(x)
        return y

    def _log_prob(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """log p of captions in nats ``(B,)``, and how many predictions each took ``(B,)``: its words and its end."""
        ids, mask = (t.to(self.device) for t in self.tokeniser.encode(captions))  # (B, T)
        longest = int(mask.sum(1).max())
        ids, counted = ids[:, :longest], F.pad(mask[:, :longest], (1, 0), value=True)  # the first is always predicted
        before = F.pad(ids, (self.context, 0), value=self.start).unfold(1, self.context, 1)  # (B, T + 1, context)
        logits = self(before).float()
        nats = -F.cross_entropy(logits.transpose(1, 2), F.pad(ids, (0, 1), value=END), reduction="none")
        return (nats * counted).sum(1), counted.sum(1)

    def _predictions(self, turn: Turn) -> Tensor:
        """How many words and ends of captions are predicted in a part of the batch, int64 ``()``."""
        captions = turn.batch.condition.caption
        assert captions is not None  # the card needs it
        return torch.tensor(sum(len(words_of(caption)) + 1 for caption in captions), device=self.device)

    def _text(self, ids: Sequence[int]) -> str:
        return " ".join(self.tokeniser.words[i - 1] for i in ids if i != END)
