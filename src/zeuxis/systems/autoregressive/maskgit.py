"""MaskGIT (Chang, Zhang, Jiang, Liu & Freeman 2022, "Masked generative image transformer", arXiv:2202.04200).

All codes of a picture are foretold at once from those that are known; the surest are kept, the others asked again.
The other order is that of Besnier et al. 2025, "Halton scheduler for masked generative image transformer",
arXiv:2503.17076: kept are those that lie furthest apart.
Symbols -> code:
    Y -> codes    M, m_i -> hidden    r -> r    gamma(r) = cos(pi r / 2) -> share_hidden    N -> length
    T -> steps    n = ceil(gamma(t / T) N) -> left_hidden    c_i -> sure
"""

from __future__ import annotations

import math
from functools import cache
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.categorical import Categorical
from zeuxis.nn.embed import LabelEmbedding
from zeuxis.nn.sequence import SequenceTransformer, init_std
from zeuxis.rng import ImageRng
from zeuxis.systems.autoregressive._codes import classes_of, layout, read, show


class MaskedTransformer(nn.Module):
    """Logits ``(B, N, K)`` of all codes of a picture, from ``(B, N)`` of which some are K, the mask.

    With ``classes`` a token of the class stands in front; its place foretells nothing. Codes that lie on a map,
    ``grid`` (h, w), also see their neighbours there.
    """

    def __init__(
        self, codes: int, grid: tuple[int, ...], width: int, depth: int, heads: int, *, classes: int = 0
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(codes + 1, width)
        self.label = LabelEmbedding(classes, width) if classes else None
        length = prod(grid) + (classes > 0)
        near = (grid[0], grid[1]) if len(grid) == 2 else None
        self.body = SequenceTransformer(length, width, depth, heads, causal=False, grid=near)
        self.head = nn.Linear(width, codes, bias=False)
        nn.init.normal_(self.token.weight, std=init_std(width))
        nn.init.zeros_(self.head.weight)

    def forward(self, codes: Tensor, told: Tensor | None = None) -> Tensor:
        """``told`` is the embedded class ``(B, D)``."""
        x = self.token(codes)  # (B, N, D)
        if told is not None:
            x = torch.cat([told[:, None], x], 1)
        logits: Tensor = self.head(self.body(x)[:, -codes.shape[1] :])
        return logits


class MaskGIT(System):
    """``depth`` blocks of ``width`` channels and ``heads`` heads, over the codes of ``tokeniser``.

    ``steps`` is T; ``choice`` scales Gumbel's noise on the sureness at the first step, which falls to 0 at the last.
    ``smoothing`` is the share of probability that training spreads over all codes. With ``condition`` ``"label"``
    a share ``drop`` of the labels is hidden in training, so that ``guidance`` can exaggerate them.
    """

    card = Card(
        "maskgit",
        title="MaskGIT",
        family="autoregressive",
        year=2022,
        paper="2202.04200",
        accepts={"label"},
        knobs=(
            "steps",
            "guidance",
            Knob(
                "sampler",
                "choice",
                "which codes a step keeps: the surest, or those far from each other",
                "sure",
                choices=("sure", "spread"),
            ),
            "temperature",
        ),
        departures=(
            "The transformer is that of image-gpt, looking both ways: norms come first, and the output is not tied.",
            "Depthwise convolutions before attention and MLP show every code its neighbours, which attention is slow "
            "to learn.",
            "No dropout, and Adam without weight decay.",
            "Classifier-free guidance, which the paper does not have, as its successor Muse does it.",
            "As in the authors' program the number left hidden is rounded down, and one is revealed at every step.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        tokeniser: System,
        classes: int = 0,
        condition: str = "none",
        width: int = 128,
        depth: int = 6,
        heads: int = 4,
        steps: int = 8,
        choice: float = 4.5,
        smoothing: float = 0.1,
        drop: float = 0.1,
        guidance: float = 1.0,
        lr: float = 3e-3,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise UsageError(f"maskgit decodes in 1 step or more, not {steps}: change model.steps")
        self.shape, self.lr = Shape(*shape), lr
        self.choice, self.smoothing = choice, smoothing
        self.drop = drop
        self.classes = classes_of(condition, classes, "maskgit")
        self.tokeniser = tokeniser
        self.layout = layout(tokeniser, self.shape)
        self.freeze(tokeniser)
        self.mask = self.layout.codes  # the number that stands for what is hidden
        self.network = MaskedTransformer(self.mask, self.layout.grid, width, depth, heads, classes=self.classes)

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.classes else ())

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=self.lr, betas=(0.9, 0.96), clip=1.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.recover),)

    def recover(self, turn: Turn) -> Tensor:
        """L_mask = -E[sum over hidden i of log p(y_i | Y_M)] (Eq. 1), the mean over what is hidden."""
        codes = read(self.tokeniser, turn.batch.image)  # (B, N)
        n, length = codes.shape
        r = turn.rng.uniform(n, device=codes.device)
        count = (share_hidden(r) * length).ceil().clamp(1, length)  # (B,): ceil(gamma(r) N)
        order = turn.rng.uniform(n, length, device=codes.device).argsort(1).argsort(1)  # a random rank for each place
        hidden = order < count[:, None]
        dropped = turn.rng.uniform(n, device=codes.device) < self.drop
        logits = self.network(codes.masked_fill(hidden, self.mask), self._told(turn.batch.condition.label, dropped))
        loss = F.cross_entropy(logits[hidden].float(), codes[hidden], label_smoothing=self.smoothing)
        turn.note(right=(logits.argmax(-1) == codes)[hidden].float().mean())
        return loss

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Iterative decoding (section 3.2) in ``steps`` steps: ``(B, C, H, W)``.

        ``sampler`` says which codes a step keeps. With ``"sure"``, as published, the surest: which keeps what is
        likely anyway, so that pictures are more alike. With ``"spread"`` those that a sequence scatters over the map:
        codes far from each other depend less on each other, and none is rejected. ``temperature`` divides the
        logits, ``guidance`` is the scale of classifier-free guidance.
        """
        knobs = self.settings(how)
        steps, temperature = knobs.steps, knobs.temperature
        n, length = len(rng), self.layout.length
        rank = self._ranks(rng) if knobs.sampler == "spread" else None
        codes = torch.full((n, length), self.mask, device=self.device)
        for t in range(1, steps + 1):
            hidden = codes == self.mask
            told = Categorical(self._guided(codes, condition.label, knobs.guidance))
            u = rng.uniform(n, 2, length, device=self.device)
            codes = torch.where(hidden, told.sample(u[:, 0], temperature), codes)
            if t == steps:
                break
            if rank is None:
                noise = -(-u[:, 1].clamp(1e-7, 1 - 1e-7).log()).log()  # Gumbel's
                sure = told.log_prob(codes) + self.choice * (1 - t / steps) * noise  # c_i
            else:
                sure = -rank
            sure = sure.masked_fill(~hidden, torch.inf)  # what is known stays
            unsure = sure.topk(left_hidden(t, steps, length, int(hidden[0].sum())), largest=False).indices
            codes = codes.scatter(1, unsure, self.mask)
        return show(self.tokeniser, codes, self.layout.grid)

    def _ranks(self, rng: ImageRng) -> Tensor:
        """When each code of each picture is kept, ``(B, N)``: the map's sequence, turned over and moved at random."""
        if len(self.layout.grid) != 2:
            raise UsageError(f"the codes of '{self.tokeniser.card.id}' lie on no map to spread over: use sampler sure")
        h, w = self.layout.grid
        plain, turned = scattered(h, w), scattered(w, h).T
        u = rng.uniform(len(rng), 3)
        moved = [
            (turned if flip < 0.5 else plain).roll((int(down * h), int(right * w)), (0, 1)).flatten()
            for down, right, flip in u.tolist()
        ]
        return torch.stack(moved).to(self.device)

    def _guided(self, codes: Tensor, label: Tensor | None, guidance: float) -> Tensor:
        """Logits ``(B, N, K)``: those without a class, moved ``guidance`` times as far as the class moves them."""
        if not self.classes or guidance == 1:
            logits: Tensor = self.network(codes, self._told(label))
            return logits
        nobody = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
        both = [self.network(codes, self._told(label, dropped)) for dropped in (None, nobody)]
        return both[1].lerp(both[0], guidance)

    def _told(self, label: Tensor | None, dropped: Tensor | None = None) -> Tensor | None:
        """The embedded classes ``(B, D)``, of those that are ``dropped`` (B,) no class; None for models without."""
        if self.network.label is None:
            return None
        assert label is not None  # the conditions say so
        told: Tensor = self.network.label(label, dropped)
        return told


def share_hidden(r: Tensor) -> Tensor:
    """gamma: the share of codes that is hidden at ``r`` in [0, 1] of the way, from 1 to 0."""
    return torch.cos(math.pi / 2 * r)


def left_hidden(t: int, steps: int, length: int, hidden: int) -> int:
    """How many of ``hidden`` codes stay so after step ``t`` of ``steps``: by the cosine, one fewer at the least."""
    wanted = math.floor(length * math.cos(math.pi / 2 * t / steps))
    return max(1, min(hidden - 1, wanted))


@cache
def scattered(h: int, w: int) -> Tensor:
    """The rank ``(h, w)`` of each place of a map in a sequence that leaves no region out for long: float, from 0.

    Halton's, of bases 2 and 3 (Besnier et al.); places that it visits again are skipped.
    """
    rank = torch.full((h, w), -1.0)
    seen = point = 0
    while seen < h * w:
        point += 1
        row, column = int(halton(point, 2) * h), int(halton(point, 3) * w)
        if rank[row, column] < 0:
            rank[row, column] = seen
            seen += 1
    return rank


def halton(k: int, base: int) -> float:
    """The k-th number of the sequence, in [0, 1): the digits of k in ``base``, mirrored at the point."""
    out, digit = 0.0, 1 / base
    while k:
        out += digit * (k % base)
        k, digit = k // base, digit / base
    return out
