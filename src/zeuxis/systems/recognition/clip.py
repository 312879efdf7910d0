"""CLIP: pictures and their captions in one space, where each is nearest to its own.

Radford et al. 2021, "Learning transferable visual models from natural language supervision" (arXiv:2103.00020).
Symbols (figure 3) -> code:
    image_encoder, W_i -> image    text_encoder, W_t -> text    I_e -> encode    T_e -> encode_text    t -> log_scale
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import CaptionLimit, Group, Move, Player, System, Turn
from zeuxis.losses.contrastive import info_nce
from zeuxis.nn.augment import color_jitter, random_shift
from zeuxis.nn.clip_text import ClipTextTower
from zeuxis.nn.clip_tokeniser import END, ClipTokeniser, EndedWords
from zeuxis.nn.clip_vision import build_image_tower
from zeuxis.nn.reword import reworded

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of colours in [0, 1]
LARGEST = math.log(100.0)  # of log_scale (section 2.5)
TEXT = {
    "width": 512,
    "depth": 12,
    "heads": 8,
    "length": 77,
    "hidden": None,
    "activation": "quick-gelu",
    "init_std": 0.02,
}
"""The keys of ``[model.text]`` and their defaults, those of the published B models.

Args:
    width: channels of a token, a multiple of ``heads``.
    depth: transformer blocks.
    heads: of each attention.
    length: of the window in tokens, those of begin and end included; longer captions are refused.
    hidden: width of the MLPs; none is four times ``width``.
    activation: of the MLPs, "quick-gelu" (OpenAI's) or "gelu" (OpenCLIP's).
    init_std: deviation of the tokens' initial vectors; places have half of it. In a small tower 1 learns the order of
        words sooner.
"""
BPE = {"vocabulary": {}, "merges": (), "pad": END, "added": ()}
"""The keys of ``[model.tokeniser]``, a published byte-pair tokeniser.

Args:
    vocabulary: the id of every piece.
    merges: "first second", in order.
    pad: the piece that fills the window after the end.
    added: pieces that were learnt later, and stand for themselves in a text.
"""


class CLIP(System):
    """One player with two towers. Captions are read word by word, with the words of the data, or by ``tokeniser``.

    Args:
        embedding: numbers of the vectors that are compared.
        image: a table of :data:`zeuxis.nn.clip_vision.IMAGE_TOWERS`: the tower of pictures.
        text: a table of :data:`TEXT`: the tower of captions.
        tokeniser: a table of :data:`BPE`: that of published weights; without it the words of the data are the tokens.
        vocabulary: how many token ids there are, at least as many as the tokeniser has; 0 is just as many.
        temperature: what cosines are divided by at the start; it is learnt, and is never below 0.01.
        shift: pixels, at most, by which training pictures are shifted along either axis.
        color_jitter: by how much, at most, the contrast of training pictures is multiplied (1 plus or minus it) and
            their brightness changed.
        reword: from how many captions that are almost right each picture is told besides: its own with a word replaced
            or two exchanged. Captions of other pictures differ in so much that some words need not be read.
        source_share: of training pictures that are replaced by their ``source``, where data draw each thing twice.
        weight_decay: of matrices; gains and biases have none.
    """

    card = Card(
        "clip",
        title="Contrastive language-image pretraining",
        family="recognition",
        year=2021,
        paper="2103.00020",
        verbs={"encode", "encode_text"},
        needs={"caption"},
        departures=(
            "Of one caption twice in a batch neither picture counts as a negative of the other.",
            "With `reword`, captions that are almost right are negatives too (Yuksekgonul et al. 2022).",
            "Training pictures are shifted and jittered where the paper's are random square crops.",
            "The small image tower is a plain convolutional network in place of the paper's modified ResNets.",
            "The temperature starts at 0.07 as in the paper, or as told.",
        ),
    )

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        words: tuple[str, ...] = (),
        embedding: int = 512,
        image: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
        tokeniser: Mapping[str, Any] | None = None,
        vocabulary: int = 0,
        temperature: float = 0.07,
        shift: int = 0,
        color_jitter: float = 0.0,
        reword: int = 0,
        source_share: float = 0.0,
        weight_decay: float = 0.2,
        lr: float = 5e-4,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.shift, self.color_jitter, self.source_share, self.reword = shift, color_jitter, source_share, reword
        self.lr, self.weight_decay = lr, weight_decay
        sizes = _table("text", text, TEXT)
        self.tokeniser = _tokeniser(words, tokeniser, sizes["length"])
        if isinstance(self.tokeniser, EndedWords):
            self.caption_limit = CaptionLimit(self.tokeniser.length - 2, "text.length", beside=2)
        ids = len(self.tokeniser)
        if reword < 0:
            raise UsageError(f"model.reword is {reword}: how many captions that are almost right, 0 for none")
        if vocabulary and vocabulary < ids:
            raise UsageError(f"model.vocabulary = {vocabulary}, and the tokeniser has {ids} ids: give as many, or 0")
        self.image = build_image_tower(image, self.shape, embedding)
        self.text = ClipTextTower(vocabulary=vocabulary or ids, projection=embedding, end=self.tokeniser.end, **sizes)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        colour = self.shape.channels == len(MEAN)
        self.register_buffer("mean", torch.tensor(MEAN if colour else [0.5])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD if colour else [0.25])[:, None, None], persistent=False)

    def players(self) -> tuple[Player, ...]:
        nets = (self.image, self.text, self.log_scale)
        plain = tuple(p for p in self.parameters() if p.ndim < 2)  # gains, biases and the temperature
        return (
            Player(
                "towers",
                nets,
                lr=self.lr,
                betas=(0.9, 0.98),
                weight_decay=self.weight_decay,
                optimiser="adamw",
                clip=1.0,
                warmup=100,
                decay="cosine",
                groups=(Group(plain, weight_decay=0.0),),
            ),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("towers", self.contrast),)

    def contrast(self, turn: Turn) -> Tensor:
        """(loss_i + loss_t) / 2 of figure 3."""
        captions = turn.batch.condition.caption
        assert captions is not None  # the card needs it
        I_e, T_e = self.encode(self._augmented(turn)), self.encode_text(captions)  # (B, embedding)
        which = torch.tensor([captions.index(caption) for caption in captions], device=I_e.device)
        wrong, lacking = self._almost_right(captions, turn) if self.reword else (None, None)
        loss = info_nce(I_e, T_e, self.log_scale.exp(), which[:, None] == which, wrong, lacking)
        found = which[(I_e @ T_e.T).argmax(1)]
        turn.note(matched=(found == which).float().mean(), scale=self.log_scale.exp())
        return loss

    def _almost_right(self, captions: Sequence[str], turn: Turn) -> tuple[Tensor, Tensor]:
        """T_e ``(B, K, embedding)`` of K such captions of each, and ``(B, K)`` where there is none: that is its own."""
        made = reworded(captions, turn.rng, self.reword)
        texts = [(*new, *[caption] * (self.reword - len(new))) for new, caption in zip(made, captions, strict=True)]
        lacking = torch.tensor([[text == own for text in row] for row, own in zip(texts, captions, strict=True)])
        T_e = self.encode_text([text for row in texts for text in row])
        return T_e.view(len(captions), self.reword, -1), lacking.to(T_e.device)

    def after_round(self, turn: Turn) -> None:
        self.log_scale.clamp_(max=LARGEST)  # "clipped to prevent scaling the logits by more than 100"

    def encode(self, image: Tensor) -> Tensor:
        """I_e ``(B, embedding)`` of length 1, float32."""
        x = ((image + 1) / 2 - self.mean) / self.std
        embedded: Tensor = self.image.embed(x)
        return F.normalize(embedded.float(), dim=1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """T_e ``(B, embedding)`` of length 1, float32."""
        ids, _ = self.tokeniser.encode(texts)
        projected = self.text(ids.to(self.device)).projected
        assert projected is not None  # it was built with one
        return F.normalize(projected.float(), dim=1)

    @property
    def logit_scale(self) -> float:
        """e^t."""
        return float(self.log_scale.detach().exp())

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset()  # captions are its data, not its condition

    def _augmented(self, turn: Turn) -> Tensor:
        image, source = turn.batch.image, turn.batch.condition.source
        if self.source_share:
            if source is None or source.shape != image.shape:
                raise UsageError("model.source_share needs data that draw each thing twice: choose such data, or 0")
            other = turn.rng.uniform(len(image), 1, 1, 1, device=image.device) < self.source_share
            image = torch.where(other, source, image)
        return color_jitter(random_shift(image, turn.rng, self.shift), turn.rng, self.color_jitter)


def _table(name: str, given: Mapping[str, Any] | None, known: Mapping[str, Any]) -> dict[str, Any]:
    """The table ``[model.name]`` with the defaults of ``known``. Raises :class:`UnknownName`."""
    if not isinstance(given or {}, Mapping):
        raise UsageError(f"model.{name} is a table, not '{given}'")
    for key in given or {}:
        if key not in known:
            raise UnknownName(f"key of [model.{name}]:", key, known)
    return {**known, **(given or {})}


def _tokeniser(words: Sequence[str], bpe: Mapping[str, Any] | None, length: int) -> ClipTokeniser | EndedWords:
    if bpe is not None:
        table = _table("tokeniser", bpe, BPE)
        merges = [(first, second) for first, second in (pair.split(" ") for pair in table["merges"])]
        return ClipTokeniser(table["vocabulary"], merges, length=length, pad=table["pad"], added=table["added"])
    if not words:
        raise UsageError("clip learns from captions and these data have none: choose captioned data")
    return EndedWords(words, length)
