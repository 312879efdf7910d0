"""What a training would be, without any of it: data, networks, players, memory, budget, run folder, first batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from zeuxis.api.few import varied_where_few
from zeuxis.api.going_on import place
from zeuxis.api.pictures import panes, sheet, to_pil
from zeuxis.api.suited import not_learnt, sized_by_start, suited, suited_to_start
from zeuxis.batch import Batch, Shape
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.weights import start_from
from zeuxis.data.augmented import augmented
from zeuxis.data.bucketed import endless
from zeuxis.data.library import Data, data_of
from zeuxis.data.source import Source
from zeuxis.data.subset import subset
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, trainable
from zeuxis.recipe import Recipe
from zeuxis.training.ema import ema_copy, own_state
from zeuxis.training.given import given_systems
from zeuxis.training.optimiser import OPTIMISERS, flat_state, overridden
from zeuxis.training.posthoc import STORED

SHOWN = 64  # examples of the first batch that its sheet shows, at most
WIDEST = 2048  # pixels of the sheet, about: large pictures are fewer
TEXTS = 4  # of its captions and labels that are named
TILE = 64  # pixels a side that small pictures are enlarged to, about


@dataclass(frozen=True)
class Examples:
    """The data of a training."""

    name: str
    examples: int
    held_out: int  # examples that previews and validation are made of
    shape: Shape
    provides: tuple[str, ...]  # fields of Condition
    classes: int
    skipped: int  # files that cannot be used
    why: tuple[str, ...]  # of the first of them
    remarks: tuple[str, ...] = ()  # how a folder was read, and what is odd about it


@dataclass(frozen=True)
class Network:
    """A part of the system, under the attribute that holds it."""

    name: str
    trainable: int  # parameters
    frozen: int
    given: str | None  # the keyword of the trained system that it is, if it is one


@dataclass(frozen=True)
class Moves:
    """A player, with the recipe's changes, and what it does in an iteration."""

    name: str
    parameters: int
    optimiser: str
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float | None
    bound: float | None
    warmup: int
    decay: str
    groups: tuple[str, ...]  # of parameters that have a rate of their own
    moves: tuple[str, ...]


@dataclass(frozen=True)
class Memory:
    """Bytes that training holds throughout. Activations come on top: they depend on the batch and are not estimated."""

    weights: int  # and buffers
    gradients: int
    optimiser: int
    average: int  # of the weights (EMA), beyond what it shares with them

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.average


@dataclass(frozen=True)
class DryRun:
    """What would be trained. ``players`` are none where the system learns in closed form."""

    recipe: str
    system: str
    learns: bool  # false for a generator that follows rules alone
    data: Examples
    networks: tuple[Network, ...]
    players: tuple[Moves, ...]
    memory: Memory
    iterations: int | None
    minutes: float | None
    batch: int
    folder: Path
    state: Literal["new", "goes on", "finished"]  # of the run in that folder
    sheet: Path
    first: tuple[str, ...]  # texts and labels of the first examples


def dry_run(
    recipe: Recipe,
    *,
    data: Data | None = None,
    out: Path | None = None,
    fresh: bool = False,
    suit: bool = False,
    vary: bool = False,
    sheet_path: Path | None = None,
) -> DryRun:
    """All that :func:`zeuxis.api.runs.train` would do before its first iteration, but for the run folder.

    The networks are built without memory. A sheet of the first batch is written to ``sheet_path`` or a new temporary
    file. Raises what recipe, data or run folder would make the training raise before its first iteration.
    """
    data = data_of(recipe.data) if data is None else data
    recipe = recipe.model_copy(update={"data": data.name})
    source = subset(augmented(data.open(recipe.size, "train", recipe.fit), recipe.augment), recipe.subset)
    recipe, line = suited(recipe, source) if suit else (recipe, None)
    line = line or (not_learnt(recipe, source) if suit else None)
    recipe, _ = suited_to_start(recipe) if suit else (recipe, None)
    recipe, varied = varied_where_few(recipe, source) if vary else (recipe, None)
    recipe, _ = sized_by_start(recipe)
    held_out = data.open(recipe.size, "val", recipe.fit)
    system = build_for(recipe, source, on_meta=True)
    if recipe.train.start is not None:
        start_from(system, recipe.train.start)
    players = overridden(system.players(), recipe.players)
    if players and recipe.train.iterations is None and recipe.train.minutes is None:
        raise UsageError(
            "training needs a bound: set train.iterations or train.minutes in the recipe, or give --budget"
        )
    where = place(recipe, out, fresh, longer=True)
    batch = endless(source, recipe.train.batch, recipe.train.seed).next()
    path = sheet_path or Path(tempfile.mkstemp(prefix=f"zeuxis-{recipe.name}-", suffix=".png")[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    batch_sheet(batch, source).save(path)
    return DryRun(
        recipe=recipe.name,
        system=system.card.id,
        learns=system.card.learns,
        data=_examples(source, len(held_out), line, varied),
        networks=networks(system),
        players=tuple(_moves(player, system.moves()) for player in players),
        memory=memory(system, players, average=recipe.train.ema > 0, posthoc=recipe.train.posthoc > 0),
        iterations=recipe.train.iterations if players else 1,
        minutes=recipe.train.minutes if players else None,
        batch=recipe.train.batch,
        folder=where.folder,
        state="new" if where.before is None else "finished" if where.finished else "goes on",
        sheet=path,
        first=_first(batch, source),
    )


def _examples(source: Source, held_out: int, *lines: str | None) -> Examples:
    spec = source.spec
    return Examples(
        name=source.name,
        examples=len(source),
        held_out=held_out,
        shape=spec.shape,
        provides=tuple(sorted(spec.provides)),
        classes=spec.classes,
        skipped=len(source.skipped),
        remarks=(*source.remarks, *(line for line in lines if line is not None)),
        why=tuple(f"{file.path}: {file.reason}" for file in source.skipped[:TEXTS]),
    )


def networks(system: System) -> tuple[Network, ...]:
    """The parts of a system that have parameters; those that parts share count in each."""
    given = {id(part): keyword for keyword, part in given_systems(system).items()}
    parts = [(name, list(part.parameters()), given.get(id(part))) for name, part in system.named_children()]
    parts += [(name, [parameter], None) for name, parameter in system.named_parameters(recurse=False)]
    return tuple(
        Network(name, _numbers(p for p in own if p.requires_grad), _numbers(p for p in own if not p.requires_grad), key)
        for name, own, key in parts
        if own
    )


def _numbers(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in {id(t): t for t in tensors}.values())


def _moves(player: Player, moves: Sequence[Move]) -> Moves:
    return Moves(
        name=player.name,
        parameters=_numbers(player.parameters()),
        optimiser=player.optimiser,
        lr=player.lr,
        betas=player.betas,
        weight_decay=player.weight_decay,
        clip=player.clip,
        bound=player.bound,
        warmup=player.warmup,
        decay="a function of the system's" if callable(player.decay) else player.decay,
        groups=tuple(f"{_numbers(trainable(g.nets)):,} parameters at {g.rate:g} of the rate" for g in player.groups),
        moves=tuple(_spelled(move) for move in moves if move.player == player.name),
    )


def _spelled(move: Move) -> str:
    """A move by the name of its loss, and how often it is made."""
    known = str(getattr(move.loss, "__name__", "<"))  # "<lambda>" of those without a name; a partial has none at all
    name = "a function" if known.startswith("<") else known
    times = f"{move.times} times an iteration" if move.times > 1 else ""
    every = f"every {move.every} iterations" if move.every > 1 else ""
    often = ", ".join(filter(None, (times, every)))
    return f"{name} ({often})" if often else name


def memory(system: System, players: Sequence[Player], *, average: bool, posthoc: bool = False) -> Memory:
    """What training a system that was built on the meta device would hold: the very tensors, without their memory."""
    trained = [p for player in players for p in player.parameters()]
    kept = 0
    for player in players:
        for parameter in player.parameters():
            parameter.grad = torch.zeros_like(parameter)  # on meta, unless it is copied from a given system
        optimiser = OPTIMISERS[player.optimiser](player)
        optimiser.step()
        kept += _bytes(flat_state(optimiser).values())
    for parameter in trained:
        parameter.grad = None
    averages = _bytes(own_state(ema_copy(system), system).values()) if average and players else 0
    if posthoc:
        averages += 4 * len(STORED) * _numbers(trained)  # in float32
    return Memory(
        weights=_bytes([*system.parameters(), *system.buffers()]),
        gradients=_bytes(trained),
        optimiser=kept,
        average=averages,
    )


def batch_sheet(batch: Batch, source: Source) -> Image.Image:
    """The first examples of a batch, each with what it is conditioned on to its left, where that can be seen."""
    some = batch[slice(max(1, min(SHOWN, (WIDEST // max(batch.image.shape[2:])) ** 2)))]
    shown = _pictures(some, len(source.spec.layout_names))
    tiles = [to_pil(images[k]) for k in range(len(some)) for images in shown]
    columns = max(1, round(len(some) ** 0.5)) * len(shown)
    return sheet(tiles, columns, max(1, TILE // max(tile.width for tile in tiles)))


def _pictures(batch: Batch, layout_classes: int) -> list[Tensor]:
    """Everything of a batch that can be looked at, ``(B, C, H, W)`` in [-1, 1]; a layout's classes as greys."""
    condition = batch.condition
    found: list[Tensor] = []
    for pictures in (condition.source, condition.style):
        found += [] if pictures is None else panes(pictures)
    if condition.mask is not None:
        found.append(2 * condition.mask.float() - 1)
    if condition.layout is not None:
        found.append(2 * condition.layout[:, None].float() / max(1, layout_classes - 1) - 1)
    return [*found, *panes(batch.image)]


def _first(batch: Batch, source: Source) -> tuple[str, ...]:
    """Captions, instructions or labels of the first examples of a batch, in words."""
    condition: Any = batch.condition[slice(TEXTS)]
    texts = condition.caption or condition.instruction
    if texts:
        return tuple(texts)
    return () if condition.label is None else tuple(source.spec.class_names[k] for k in condition.label.tolist())
