"""Every method is a game: read this file first.

A :class:`System` is a method. Its training is a game of one or more **players** (parameters
with an optimiser) who make **moves** (a loss to lower). A VAE or a diffusion model has one
player, a GAN two, CycleGAN two of two networks each; lazy regularisation is one player with
two moves. :func:`play_round` plays any of them and never learns which method it plays.

The rules:
    1. The moves of a round share one batch. Each repeat of a move (``times``) draws afresh.
    2. ``turn.memo`` lasts as long as its batch, so a later move can reuse an earlier forward pass.
    3. While a player moves, only its own parameters require gradients. Players may overlap.
    4. What was frozen when the game began stays frozen.
    5. A loss that returns ``None`` passes: no gradient, no step.
    6. What a round leaves is the same however its batch was cut into parts, or shared out to processes:
       ``after_round`` sees all of it.
A method with a closed form has no players: it implements :meth:`System.fit`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from zeuxis.batch import Batch
from zeuxis.errors import Unsupported
from zeuxis.held_out import held_out_of
from zeuxis.rng import Rng
from zeuxis.spec import DataSpec
from zeuxis.verbs import Verbs

Decay = Literal["constant", "linear", "linear-after-half", "cosine"]


@dataclass(frozen=True)
class Group:
    """Some of a player's parameters, with a learning rate (and a weight decay) of their own."""

    nets: tuple[nn.Module | nn.Parameter, ...]
    rate: float = 1.0  # times the player's learning rate
    weight_decay: float | None = None  # None: the player's


@dataclass(frozen=True)
class Player:
    """Parameters and how they are optimised. A recipe's ``[players.NAME]`` table replaces fields.

    ``groups`` add networks, or take some parameters out of ``nets``, to give them a rate of their own.

    Args:
        lr: learning rate.
        betas: decays of the running means of gradients and of their squares (Adam's); "sgd" takes the first as its
            momentum, "rmsprop" the second as its smoothing.
        weight_decay: how fast weights shrink; apart from the gradient under "adamw", added to it otherwise.
        optimiser: "adam", "adamw", "radam", "rmsprop", "sgd", or "muon": orthogonal steps for matrices, AdamW's for the
            rest, of like size, so that the learning rate is AdamW's.
        clip: largest norm of the player's gradient, above which it is scaled down; none leaves it alone.
        bound: largest size of a weight, to which each is clamped after every step; none leaves them alone.
        warmup: rounds in which the learning rate rises linearly to ``lr``.
        decay: what the learning rate is multiplied by over the budget: "constant", or down to 0 as "linear",
            "linear-after-half" or "cosine". A system may give a function of the progress in [0, 1].
    """

    name: str
    nets: tuple[nn.Module | nn.Parameter, ...]
    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    optimiser: Literal["adam", "adamw", "radam", "rmsprop", "sgd", "muon"] = "adam"
    clip: float | None = None
    bound: float | None = None
    warmup: int = 0
    decay: Decay | Callable[[float], float] = "constant"
    groups: tuple[Group, ...] = ()

    def parameters(self) -> list[nn.Parameter]:
        """Its trainable parameters, each once, in a fixed order: those that were trainable when first asked for."""
        return self._trainable

    @cached_property
    def _trainable(self) -> list[nn.Parameter]:
        return trainable([*self.nets, *(net for group in self.groups for net in group.nets)])


def trainable(nets: Iterable[nn.Module | nn.Parameter]) -> list[nn.Parameter]:
    """The parameters of ``nets`` that require gradients, each once, in order."""
    found: dict[int, nn.Parameter] = {}
    for net in nets:
        for p in [net] if isinstance(net, nn.Parameter) else net.parameters():
            if p.requires_grad:
                found.setdefault(id(p), p)
    return list(found.values())


@dataclass
class Turn:
    """What a move sees: the batch, or a part of it where gradients are accumulated over several."""

    batch: Batch
    rng: Rng  # for every random draw of the move
    round: int  # 0, 1, 2, ...
    progress: float  # of the budget, in [0, 1]; it stays where it was when a larger budget is given
    notes: dict[str, float | Tensor] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0  # earlier rounds that left nothing, because a step of theirs was not finite
    spent: float | None = None  # of the larger budget, which rates follow; None where it is the progress
    linked: Sequence[Turn] = field(default=(), repr=False, compare=False)  # see ``parts``
    gather: Callable[[Tensor], Sequence[Tensor]] | None = field(default=None, repr=False, compare=False)
    common: Rng | None = field(default=None, repr=False, compare=False)  # see ``shared_rng``

    def note(self, **scalars: float | Tensor) -> None:
        """Record scalars for the log."""
        self.notes.update({k: v.detach() if isinstance(v, Tensor) else v for k, v in scalars.items()})

    @property
    def first(self) -> bool:
        """Whether no earlier round has left anything."""
        return self.round == self.skipped

    @property
    def parts(self) -> Sequence[Turn]:
        """The turns of all parts of the batch, in order, itself among them."""
        return self.linked or (self,)

    @property
    def alone(self) -> bool:
        """Whether the batch is in one part: then a later move may go on with what this one computed."""
        return not self.linked

    @property
    def offset(self) -> int:
        """How many examples of the batch are in the parts before this one."""
        return sum(len(part.batch) for part in takewhile(lambda part: part is not self, self.parts))

    def among_first(self, count: int) -> int:
        """How many of this part's examples are among the first ``count`` of the batch."""
        return min(max(count - self.offset, 0), len(self.batch))

    @property
    def images(self) -> int:
        """How many examples the batch has, in all its parts."""
        return sum(len(part.batch) for part in self.parts)

    @property
    def shared_rng(self) -> Rng:
        """For what every process must draw alike: what follows a round, or begins from its data."""
        return self.rng if self.common is None else self.common

    def whole(self, key: str) -> Any:
        """What the parts left in their memos under ``key``, :meth:`joined`."""
        return self.joined([part.memo[key] for part in self.parts])

    def joined(self, of_parts: Sequence[Any]) -> Any:
        """What there is of every part, tensors or tuples of them, along the batch; then that of other processes.

        What follows a round must be the same however the batch was cut. Where there are several processes, all of them
        must ask, for tensors of one shape.
        """
        here = _joined(of_parts)
        return here if self.gather is None else _gathered(here, self.gather)

    def denominator(self, counts: Sequence[Tensor]) -> Tensor:
        """What a sum over what is in this part (its words, say) is divided by, so that the loss of the batch is the
        mean over all that is in it: a batch's loss is the mean over its parts, weighed by their examples, and of these
        some have more words than others.

        ``counts`` are those of every part, tensors of one shape. Where there are several processes, all must ask.
        """
        if self.alone and self.gather is None:
            return counts[0]
        here = torch.stack(list(counts)).sum(0).float()
        everywhere = [here] if self.gather is None else [count.to(here.device) for count in self.gather(here)]
        return torch.stack(everywhere).sum(0) * (len(self.batch) / (self.images * len(everywhere)))


def _joined(values: Sequence[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    if isinstance(values[0], Tensor):
        return torch.cat(list(values))
    return tuple(_joined(items) for items in zip(*values, strict=True))


def _gathered(value: Any, gather: Callable[[Tensor], Sequence[Tensor]]) -> Any:
    if isinstance(value, Tensor):
        return torch.cat([other.to(value.device) for other in gather(value)])
    return tuple(_gathered(item, gather) for item in value)


@dataclass(frozen=True)
class Move:
    """``player`` lowers ``loss``: ``times`` in a row, in every ``every``-th round."""

    player: str
    loss: Callable[[Turn], Tensor | None]
    times: int = 1
    every: int = 1


@dataclass(frozen=True)
class Origin:
    """Where a loaded system is kept, so that the systems it is given to need not hold a copy."""

    name: str  # a shipped name, or the absolute path of a model folder
    sha256: str  # of its weights


class CaptionLimit(NamedTuple):
    """The most words of a caption that a system reads, and the key of ``[model]`` that says so, if one does: with so
    many ``beside`` them."""

    words: int
    key: str = ""
    beside: int = 0


class System(Verbs):
    """A method: its networks, its game and its verbs.

    A subclass sets ``card``, builds its networks in ``__init__`` (whose keywords are the recipe's
    ``[model]`` schema; ``shape``, ``classes`` and ``words`` come from the data), and implements
    either :meth:`players` and :meth:`moves`, or :meth:`fit`, and the verbs that its card claims.
    It never handles devices, optimiser loops, train/eval mode or logging.
    """

    config: dict[str, Any]  # the constructor's arguments, recorded so that a checkpoint can rebuild it
    origin: Origin | None = None  # set on loading; None for a system that was built and is kept nowhere yet
    stride: int | None = None  # it may also be trained on other shapes, sides multiples of this; None: on its own only
    unpaired: bool = False  # it learns of sources that do not belong to the images beside them
    flips: bool = False  # its own training shows every second picture from left to right, and nothing beside it
    predicts_noise: bool = False  # its network says what noise is there, and so nothing of a picture at pure noise
    distils: bool = False  # it learns what a system that it is given makes, whatever the pictures are
    started_parts: frozenset[str] = frozenset()  # networks that training may start from alone, all else being fresh
    started_keys: tuple[str, ...] = ()  # keywords that size its networks, taken from a model that training starts from
    started_with: Mapping[str, Any] = MappingProxyType({})  # keywords that suit a start from a model of its own kind
    caption_limit: CaptionLimit | None = None  # None: it reads captions of any length, or none
    draw_batch: int | None = None  # how many images at a time it draws fastest; None: as many as the device suggests

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        object.__setattr__(self, "config", {k: v for k, v in bound.arguments.items() if k != "self"})
        return self

    @property
    def spec(self) -> DataSpec:
        """The facts of the data that it was built for; where it was built by hand, what its arguments state of them."""
        kept: DataSpec | None = self.__dict__.get("_spec")
        return DataSpec.of_arguments({"shape": self.shape, **self.config}) if kept is None else kept

    @spec.setter
    def spec(self, spec: DataSpec) -> None:
        self.__dict__["_spec"] = spec

    @classmethod
    def part_spec(cls, key: str, spec: DataSpec, parts: Mapping[str, System]) -> DataSpec:
        """The facts that the system which a recipe describes for the keyword ``key`` is built for.

        ``spec`` are those of the data, ``parts`` the systems that are there already, by keyword.
        """
        return spec

    @classmethod
    def sizes_of(cls, network: nn.Module) -> Mapping[str, Any]:
        """Keywords of the constructor with which it has a network like a published one that training starts from."""
        return {}

    def players(self) -> tuple[Player, ...]:
        return ()

    def moves(self) -> tuple[Move, ...]:
        return ()

    def after_round(self, turn: Turn) -> None:
        """What follows a round without a gradient: target networks, adaptive probabilities, growth.

        ``turn`` is that of the batch's last part; ``turn.whole(key)`` is what all parts left in their memos, and
        ``turn.shared_rng`` what it draws from. It is not called after a round in which a step was not finite.
        """

    def held_out(self, batch: Batch, rng: Rng) -> Mapping[str, Tensor]:
        """What the log plots of pictures that training never sees, scalars by name, less being better.

        By default what :func:`~zeuxis.held_out.held_out_of` finds by its verbs. It is asked now and then, always with
        the same batch and a fresh ``rng`` of the same seed, without gradients.
        """
        return held_out_of(self, batch, rng)

    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn in closed form from one pass over the data."""
        raise Unsupported(f"'{self.card.id}' is learnt by playing rounds, not in closed form: use the trainer")

    # -- parts that are never trained -------------------------------------------------------------

    def freeze(self, part: nn.Module) -> nn.Module:
        """Mark a part as never trained: no gradients, evaluation mode for ever, tensors shared by averages.

        What is put into the part afterwards (an adapter) is trained and averaged like anything else.
        """
        part.requires_grad_(False).eval()
        self.__dict__.setdefault("_frozen", []).append(part)
        return part

    @property
    def frozen(self) -> tuple[nn.Module, ...]:
        """The parts given to :meth:`freeze`."""
        return tuple(self.__dict__.get("_frozen", ()))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self


Step = Callable[[Player, Callable[[Turn], Tensor | None], Sequence[Turn]], bool | None]


def play_round(system: System, players: Sequence[Player], draw: Callable[[], list[Turn]], step: Step) -> list[Turn]:
    """Play one round: every due move, in order.

    ``draw()`` returns the turns of one fresh batch (several, when gradients are accumulated over
    parts of it). ``step(player, loss, turns)`` lowers the mean of ``loss`` over the turns once; it returns False
    where it could not, and then nothing is learnt from the round without gradients either.
    Returns the last turns, whose notes the log wants.
    """
    by_name = {p.name: p for p in players}
    turns = _link(draw())
    sound = True
    for move in system.moves():
        if turns[0].round % move.every:
            continue
        for repeat in range(move.times):
            if repeat:
                _unlink(turns)
                turns = _link(draw())
            with only_moves(by_name[move.player], players):
                sound &= step(by_name[move.player], move.loss, turns) is not False
    if sound:
        with torch.no_grad():
            system.after_round(turns[-1])
    _unlink(turns)
    return turns


def _link(turns: list[Turn]) -> list[Turn]:
    if len(turns) > 1:
        for turn in turns:
            turn.linked = turns
    return turns


def _unlink(turns: list[Turn]) -> None:
    """Turns that know each other would hold their tensors until the garbage collector comes round."""
    for turn in turns:
        turn.linked = ()


@contextmanager
def only_moves(player: Player, players: Sequence[Player]) -> Iterator[None]:
    """Within this context no parameter of another player requires gradients, unless shared with ``player``."""
    own = {id(p) for p in player.parameters()} if len(players) > 1 else set()
    others = [p for other in players if other is not player for p in other.parameters() if id(p) not in own]
    for p in others:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in others:
            p.requires_grad_(True)
