"""MaskGIT (Chang, Zhang, Jiang, Liu & Freeman 2022, "Masked generative image transformer", arXiv:2202.04200).

All codes of a picture are predicted at once from those that are known; the most confident predictions are kept, the
others masked again. The other order is that of Besnier et al. 2025, "Halton scheduler for masked generative image
transformer", arXiv:2503.17076: kept are those that lie furthest apart.
Symbols -> code:
    Y -> codes    M, m_i -> masked    r -> r    gamma(r) = cos(pi r / 2) -> mask_ratio    N -> length
    T -> steps    n = ceil(gamma(t / T) N) -> masked_after    c_i -> confidence
"""

from __future__ import annotations

import math
from functools import cache, partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.categorical import Categorical
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.nn.code_cache import CodeCache
from zeuxis.nn.conditioner import drop_mask
from zeuxis.nn.embed import LabelEmbedding, check_labels
from zeuxis.nn.sequence import SequenceTransformer, init_std
from zeuxis.rng import ImageRng
from zeuxis.steps import each_step, show
from zeuxis.systems.autoregressive._codes import classes_of, code_layout, detokenise


class MaskedTransformer(nn.Module):
    """Logits ``(B, N, K)`` of all codes of a picture, from ``(B, N)`` of which some are K, the mask token.

    With ``classes`` a token of the class stands in front, whose output is dropped. Codes that lie on a map,
    ``grid`` (h, w), are also convolved with their neighbours there.
    """

    def __init__(
        self, codes: int, grid: tuple[int, ...], width: int, depth: int, heads: int, *, classes: int = 0
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(codes + 1, width)
        self.label = LabelEmbedding(classes, width) if classes else None
        length = prod(grid) + (classes > 0)
        map_grid = (grid[0], grid[1]) if len(grid) == 2 else None
        self.body = SequenceTransformer(length, width, depth, heads, causal=False, grid=map_grid)
        self.head = nn.Linear(width, codes, bias=False)
        nn.init.normal_(self.token.weight, std=init_std(width))
        nn.init.zeros_(self.head.weight)

    def forward(self, codes: Tensor, context: Tensor | None = None) -> Tensor:
        """``context`` is the embedded class ``(B, D)``."""
        x = self.token(codes)  # (B, N, D)
        if context is not None:
            x = torch.cat([context[:, None], x], 1)
        logits: Tensor = self.head(self.body(x)[:, -codes.shape[1] :])
        return logits


class MaskGIT(System):
    """A bidirectional transformer over the codes of a tokeniser, many of which are drawn at once.

    Args:
        tokeniser: a trained system with codes (vq-vae, vqgan, ...), by name or run folder.
        width: channels of a token, a multiple of ``heads``.
        depth: transformer blocks.
        heads: of each attention.
        steps: in which all codes are drawn, T: default of the knob.
        choice_temperature: scale of the Gumbel noise on the confidence at the first step; it falls to 0 at the last.
            More is more varied.
        smoothing: of the target codes in training, in [0, 1).
        drop: share of labels hidden in training, for classifier-free guidance; idle without labels.
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
                "which codes a step keeps: the most confident, or those far from each other (a Halton sequence)",
                "confidence",
                choices=("confidence", "halton"),
                aliases=(("sure", "confidence"), ("spread", "halton")),
            ),
            "temperature",
        ),
        departures=(
            "The transformer is that of image-gpt, bidirectional: norms come first, and the output is not tied.",
            "Depthwise convolutions before attention and MLP mix every code with its neighbours, which attention is "
            "slow to learn.",
            "No dropout, and Adam without weight decay.",
            "Classifier-free guidance, which the paper does not have, as its successor Muse does it.",
            "As in the authors' program the number left masked is rounded down; every step keeps at least one code.",
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
        choice_temperature: float = 4.5,
        smoothing: float = 0.1,
        drop: float = 0.1,
        guidance: float = 1.0,
        lr: float = 3e-3,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise UsageError(f"maskgit decodes in 1 step or more, not {steps}: change model.steps")
        self.shape, self.lr = Shape(*shape), lr
        self.choice_temperature, self.smoothing = choice_temperature, smoothing
        self.drop = drop
        self.classes = classes_of(condition, classes, "maskgit")
        self.tokeniser = tokeniser
        self.layout = code_layout(tokeniser, self.shape)
        self.freeze(tokeniser)
        self.cache = CodeCache(self.shape, self.layout.length)
        self.mask = self.layout.codes  # the number that stands for what is masked
        self.network = MaskedTransformer(self.mask, self.layout.grid, width, depth, heads, classes=self.classes)

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.classes else ())

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=self.lr, betas=(0.9, 0.96), clip=1.0),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.nll),)

    def nll(self, turn: Turn) -> Tensor:
        """L_mask = -E[sum over masked i of log p(y_i | Y_M)] (Eq. 1), the mean over what is masked."""
        codes = self.cache.tokenise(self.tokeniser, turn.batch)  # (B, N)
        n, length = codes.shape
        r = turn.rng.uniform(n, device=codes.device)
        count = (mask_ratio(r) * length).ceil().clamp(1, length)  # (B,): ceil(gamma(r) N)
        order = turn.rng.uniform(n, length, device=codes.device).argsort(1).argsort(1)  # a random rank for each place
        masked = order < count[:, None]
        dropped = drop_mask(n, self.drop, turn.rng, codes.device)
        logits = self.network(codes.masked_fill(masked, self.mask), self._context(turn.batch.condition.label, dropped))
        loss = F.cross_entropy(logits[masked].float(), codes[masked], label_smoothing=self.smoothing)
        turn.note(accuracy=(logits.argmax(-1) == codes)[masked].float().mean())
        return loss

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Iterative decoding (section 3.2) in ``steps`` steps: ``(B, C, H, W)``.

        ``sampler`` chooses the codes that a step keeps. With ``"confidence"``, as published, the most probable ones,
        so that pictures are less varied. With ``"halton"`` those that a Halton sequence scatters over the map:
        codes far from each other depend less on each other, and none is rejected. ``temperature`` divides the
        logits, ``guidance`` is the scale of classifier-free guidance.
        """
        knobs = self.settings(how)
        steps, temperature = knobs.steps, knobs.temperature
        n, length = len(rng), self.layout.length
        rank = self._ranks(rng) if knobs.sampler == "halton" else None
        codes = torch.full((n, length), self.mask, device=self.device)
        for t in each_step(range(1, steps + 1)):
            masked = codes == self.mask
            p = Categorical(self._guided(codes, condition.label, knobs.guidance))
            u = rng.uniform(n, 2, length, device=self.device)
            codes = torch.where(masked, p.from_uniform(u[:, 0], temperature), codes)
            if t == steps:
                break
            show(partial(detokenise, self.tokeniser, codes, self.layout.grid))
            if rank is None:
                noise = -(-u[:, 1].clamp(1e-7, 1 - 1e-7).log()).log()  # Gumbel's
                confidence = p.log_prob(codes) + self.choice_temperature * (1 - t / steps) * noise  # c_i
            else:
                confidence = -rank
            confidence = confidence.masked_fill(~masked, torch.inf)  # codes kept before stay
            lowest = confidence.topk(masked_after(t, steps, length, int(masked[0].sum())), largest=False).indices
            codes = codes.scatter(1, lowest, self.mask)
        return detokenise(self.tokeniser, codes, self.layout.grid)

    def _ranks(self, rng: ImageRng) -> Tensor:
        """When each code of each picture is kept, ``(B, N)``: the map's sequence, turned over and moved at random."""
        if len(self.layout.grid) != 2:
            raise UsageError(f"the codes of '{self.tokeniser.card.id}' lie on no map: use sampler confidence")
        h, w = self.layout.grid
        plain, turned = halton_ranks(h, w), halton_ranks(w, h).T
        u = rng.uniform(len(rng), 3)
        moved = [
            (turned if flip < 0.5 else plain).roll((int(down * h), int(right * w)), (0, 1)).flatten()
            for down, right, flip in u.tolist()
        ]
        return torch.stack(moved).to(self.device)

    def _guided(self, codes: Tensor, label: Tensor | None, guidance: float) -> Tensor:
        """Logits ``(B, N, K)``: those without a class, moved ``guidance`` times as far as the class moves them."""
        if not self.classes or guidance == 1:
            logits: Tensor = self.network(codes, self._context(label))
            return logits
        all_dropped = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
        both = [self.network(codes, self._context(label, dropped)) for dropped in (None, all_dropped)]
        return both[1].lerp(both[0], guidance)

    def _context(self, label: Tensor | None, dropped: Tensor | None = None) -> Tensor | None:
        """The embedded classes ``(B, D)``, of those that are ``dropped`` (B,) no class; None for models without."""
        if self.network.label is None:
            return None
        assert label is not None  # the conditions say so
        check_labels(label, self.network.label.classes)
        context: Tensor = self.network.label(label, dropped)
        return context


def mask_ratio(r: Tensor) -> Tensor:
    """gamma: the share of codes that is masked at ``r`` in [0, 1] of the way, from 1 to 0."""
    return torch.cos(math.pi / 2 * r)


def masked_after(t: int, steps: int, length: int, masked: int) -> int:
    """How many of ``masked`` codes stay so after step ``t`` of ``steps``: by the cosine, one fewer at the least."""
    count = math.floor(length * math.cos(math.pi / 2 * t / steps))
    return max(1, min(masked - 1, count))


@cache
def halton_ranks(h: int, w: int) -> Tensor:
    """The rank ``(h, w)`` of each place of a map in a sequence that leaves no region out for long: float, from 0.

    Halton's, of bases 2 and 3 (Besnier et al.); places that it visits again are skipped.
    """
    rank = torch.full((h, w), -1.0)
    filled = point = 0
    while filled < h * w:
        point += 1
        row, column = int(halton(point, 2) * h), int(halton(point, 3) * w)
        if rank[row, column] < 0:
            rank[row, column] = filled
            filled += 1
    return rank


def halton(k: int, base: int) -> float:
    """The k-th number of the sequence, in [0, 1): the digits of k in ``base``, mirrored at the point."""
    out, digit = 0.0, 1 / base
    while k:
        out += digit * (k % base)
        k, digit = k // base, digit / base
    return out
