"""What the contract is checked on: a system in its smallest instance, a toy source, and some rounds of its game."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.card import LatentKind
from zeuxis.catalog.assemble import build_for, load_given, trained_by
from zeuxis.data.batches import Batches, epoch_batches
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.entries import ENTRIES
from zeuxis.data.pairing import paired, parse_pairing
from zeuxis.data.source import Source
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import ZeuxisError
from zeuxis.game import Player, System, Turn, play_round
from zeuxis.knobs import Sampling
from zeuxis.recipe import Recipe, merged
from zeuxis.rng import Stream
from zeuxis.spec import height_width
from zeuxis.testing.toy import toy_source
from zeuxis.training.optimiser import optimiser_of

BATCH = 6
LARGE = 256 * 256  # pixels of a picture, beyond which few are made
STEPS = 3  # of drawing, where it takes any
LR = 2e-3  # a learning rate at which few rounds show, where a player has a lower one


class ContractBroken(AssertionError, ZeuxisError):
    """A system does not do what every system does."""


def require(holds: bool | Tensor, message: str) -> None:
    """Raise :class:`ContractBroken` with ``message`` unless ``holds``."""
    if not holds:
        raise ContractBroken(message)


@dataclass(frozen=True)
class Case:
    """A recipe's system in its smallest instance (the recipe's ``[tiny]``), on ``device``."""

    recipe: Recipe
    device: str = "cpu"

    @cached_property
    def source(self) -> Source:
        """Toy pictures of the recipe's size, grey where its data is grey, degraded where its data is."""
        height, width = height_width(self.recipe.size or 32)
        return self.toy(48 if height * width <= LARGE else BATCH)

    def toy(self, n: int = 48) -> Source:
        """``n`` of those pictures."""
        clean, bar, degradations = self.recipe.data.partition("|")
        known = ENTRIES.get(clean.strip())
        grey = known is not None and known.spec.shape[0] == 1
        found = toy_source(1 if grey else 3, self.recipe.size or 32, n)
        found.sides = found.sides if known is None else known.sides
        if not bar:
            return found
        pairing = parse_pairing(degradations)
        return DegradedSource(found, parse_chain(degradations)) if pairing is None else paired(found, pairing)

    @cached_property
    def _built(self) -> System:
        """The instance itself.

        A model that the recipe names and that is to be trained first has learnt a little of the same data, for
        networks begin with layers of zeros, through which nothing that is built upon one would learn.
        """
        return self._build(lambda below: below.fitted(rounds=20)).to(self.device)

    @cached_property
    def _outline(self) -> System:
        """What is read without being run, with parameters that have shapes alone: nothing is trained for it."""
        return self._build(Case.built, on_meta=True)

    def _build(self, below: Callable[[Case], System], on_meta: bool = False) -> System:
        """The recipe's system; ``below`` makes one that the recipe names and that is to be trained first."""

        def given(name: str) -> System:
            recipe = trained_by(name)
            if recipe is None:
                return load_given(name)
            return below(Case(recipe.model_copy(update={"data": self.recipe.data, "size": self.recipe.size})))

        recipe = self.recipe.model_copy(update={"model": merged(self.recipe.model, self.recipe.tiny)})
        return build_for(recipe, self.source, given=given, on_meta=on_meta)

    def built(self) -> System:
        """A freshly initialised instance, the same each time."""
        return copy.deepcopy(self._built)

    @property
    def kind(self) -> type[System]:
        """The class of the instance."""
        return type(self._outline)

    @property
    def can(self) -> frozenset[str]:
        """The verbs of the instance."""
        return self._outline.can

    @property
    def latents(self) -> LatentKind:
        """What the instance decodes, if it does."""
        if self._outline.codes is not None:
            return "entries"
        return "styles" if self._outline.style_layers else "numbers"

    @cached_property
    def players(self) -> int:
        """How many play; 0 where it is learnt in closed form, or not at all."""
        return len(self._outline.players())

    @property
    def flows(self) -> bool:
        """Whether the instance is a flow: an invertible map of pictures to latents."""
        return self._outline.flow is not None

    @property
    def short(self) -> Sampling:
        """How it draws: as its recipe does, in few steps where it takes any."""
        return Sampling(**{**self.recipe.sample, **({"steps": STEPS} if "steps" in self._outline.knobs else {})})

    @cached_property
    def network(self) -> tuple[object, ...]:
        """What tells two cases of one system apart: other layers or other choices, not other numbers."""
        system = self._outline
        layers = tuple((name, type(part).__qualname__) for name, part in system.named_modules())
        choices = tuple((k, v) for k, v in sorted(system.config.items()) if isinstance(v, (str, bool)))
        return (self.recipe.system, layers, choices, system.can, system.conditions)

    def batch(self, n: int) -> Batch:
        """The first ``n`` examples."""
        return self.source.batch(torch.arange(n)).to(self.device)

    def fitted(self, rounds: int = 3) -> System:
        """An instance that has learnt a little, in evaluation mode: some rounds, or its closed form."""
        if rounds not in self._fitted:
            self._fitted[rounds] = self._fit(rounds)
        return copy.deepcopy(self._fitted[rounds])

    @cached_property
    def _fitted(self) -> dict[int, System]:
        return {}

    def _fit(self, rounds: int) -> System:
        system = self.built()
        if self.players:
            harness = Harness(system, Batches(self.source, BATCH, 0), self.device)
            harness.hurry()
            harness.rounds(rounds)
        else:
            system.fit(batch.to(self.device) for batch in epoch_batches(self.source, 16))
        return system.eval()


def distinct(cases: Iterable[Case]) -> list[Case]:
    """One case for each network: the contract costs seconds, and recipes often differ in their data alone."""
    found: dict[tuple[object, ...], Case] = {}
    for case in cases:
        found.setdefault(case.network, case)
    return list(found.values())


@torch.no_grad()
def _side_by_side(tensors: Iterable[Tensor]) -> Tensor:
    """A copy of all numbers of ``tensors`` in one row."""
    rows = [t.flatten() for t in tensors]
    return torch.cat(rows) if rows else torch.zeros(0)


class Harness:
    """Plays rounds with plain optimisers; ``watches`` sees to it that no move changes another player, and who moved."""

    def __init__(self, system: System, stream: Batches, device: str = "cpu", watches: bool = False) -> None:
        self.watches = watches
        self.system, self.players = system.train(), system.players()
        self.optimisers = {p.name: optimiser_of(p) for p in self.players}
        self.stream, self.device, self.rng, self.round = stream, device, Stream(0, "moves"), 0
        self.losses: list[float] = []
        self.moved: set[int] = set()  # the parameters, by id, that had a gradient other than zero

    def draw(self) -> list[Turn]:
        return [Turn(self.stream.next().to(self.device), self.rng, self.round, min(1.0, self.round / 4))]

    def step(self, player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> None:
        own = {id(p) for p in player.parameters()} if self.watches else set()
        others = [(n, p) for n, p in self.system.named_parameters() if id(p) not in own] if self.watches else []
        before = _side_by_side(p for _, p in others)
        self.optimisers[player.name].zero_grad()
        value = loss(turns[0])
        if value is None:
            return
        require(value.ndim == 0, f"the loss of '{player.name}' has the shape {tuple(value.shape)}: it is one number")
        require(torch.isfinite(value), f"the loss of '{player.name}' is {value.item()} in round {self.round}")
        require(value.requires_grad, f"the loss of '{player.name}' depends on none of its parameters")
        value.backward()
        if self.watches:
            waiting = ((id(p), p.grad) for p in player.parameters() if id(p) not in self.moved)
            self.moved |= {which for which, grad in waiting if grad is not None and grad.count_nonzero()}
        self.optimisers[player.name].step()
        if not torch.equal(before, _side_by_side(p for _, p in others)):
            was = before.split([p.numel() for _, p in others])
            changed = [n for (n, p), old in zip(others, was, strict=True) if not torch.equal(old, p.detach().flatten())]
            raise ContractBroken(f"'{player.name}' moved and changed {', '.join(changed[:3])} of another")
        self.losses.append(float(value.detach()))

    def hurry(self) -> None:
        """A learning rate at which few rounds show."""
        for group in (g for o in self.optimisers.values() for g in o.param_groups):
            group["lr"] = max(LR, group["lr"])

    def rounds(self, n: int) -> None:
        for _ in range(n):
            play_round(self.system, self.players, self.draw, self.step)
            self.round += 1
