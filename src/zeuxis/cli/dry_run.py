"""``zeuxis train --dry-run``: what would be trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zeuxis.cli.output import emit, say

if TYPE_CHECKING:
    from zeuxis.api.dry_run import DryRun, Moves, Network
    from zeuxis.recipe import Recipe

MIB = 2**20
RUN = {
    "new": "a new run",
    "goes on": "gone on with from its newest checkpoint",
    "finished": "this training, finished: nothing is left to do",
}


def show_dry_run(recipe: Recipe, out: Path | None, fresh: bool, suit: bool, vary: bool, as_json: bool) -> None:
    """Print it; ``out`` is the run folder or, where it ends in ``.png``, the sheet of the first batch."""
    from zeuxis.api.dry_run import dry_run

    sheet = out if out is not None and out.suffix.lower() == ".png" else None
    found = dry_run(recipe, out=None if sheet else out, fresh=fresh, suit=suit, vary=vary, sheet_path=sheet)
    if as_json:
        emit({**asdict(found), "memory": {**asdict(found.memory), "total": found.memory.total}})
        return
    before = ""
    for title, line in _lines(recipe, found):
        say(f"{'' if title == before else title:>8}  {line}")
        before = title


def _lines(recipe: Recipe, found: DryRun) -> list[tuple[str, str]]:
    """What there is to say, each with a title."""
    data, memory = found.data, found.memory
    lines = [("recipe", f"{recipe.name}: {recipe.about}"), ("system", found.system)]
    channels, rows, columns = data.shape
    lines.append(
        ("data", f"{data.name}: {data.examples:,} examples, {data.held_out:,} held out; {channels}x{rows}x{columns}")
    )
    if data.provides:
        classes = f" ({data.classes} classes)" if data.classes else ""
        lines.append(("", f"provides {', '.join(data.provides)}{classes}"))
    lines += [("", remark) for remark in data.remarks]
    if data.skipped:
        lines.append(("", f"{data.skipped:,} pictures are not used: {'; '.join(data.why)}"))
    names = [each.name for each in found.networks] + [each.name for each in found.players]
    named = max(map(len, names), default=0)
    lines += [("network", f"{network.name:<{named}}  {_size(network)}") for network in found.networks]
    for each in found.players:
        first, *more = _player(each)
        lines.append(("player", f"{each.name:<{named}}  {first}"))
        lines += [("player", f"{'':<{named}}  {line}") for line in more]
    if not found.players:
        how = "learns in closed form" if found.learns else "follows rules, and learns nothing"
        lines.append(("player", f"none: the system {how}"))
    parts = {"weights": memory.weights, "gradients": memory.gradients, "optimiser": memory.optimiser}
    parts |= {"average": memory.average}
    spelled = " + ".join(f"{name} {size / MIB:,.1f}" for name, size in parts.items() if size)
    lines.append(("memory", f"{memory.total / MIB:,.1f} MiB = {spelled}" if spelled else "none for weights"))
    lines.append(("", "activations come on top: they grow with the batch and are not estimated"))
    lines.append(("budget", _budget(found)))
    lines.append(("run", f"{found.folder} ({RUN[found.state]})"))
    lines.append(("sheet", f"{found.sheet}, of the first batch"))
    return [*lines, *(("", f"  {text}") for text in found.first)]


def _size(network: Network) -> str:
    """Parameters of a network, and whether they are trained."""
    parts = {"trained": network.trainable, "frozen": network.frozen}
    spelled = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
    return f"{spelled} (given as model.{network.given})" if network.given else spelled


def _player(player: Moves) -> list[str]:
    """How a player is optimised, and what it does."""
    warm = f"warm-up of {player.warmup:,} iterations, then " if player.warmup else ""
    options = [f"{player.optimiser}, lr {player.lr:g}", f"betas {player.betas[0]:g} and {player.betas[1]:g}"]
    options += [f"weight decay {player.weight_decay:g}"] if player.weight_decay else []
    options += [f"clip {player.clip:g}"] if player.clip is not None else []
    options += [f"bound {player.bound:g}"] if player.bound is not None else []
    moves = ", ".join(player.moves) or "none"
    first = f"{player.parameters:,} parameters; moves: {moves}"
    return [first, ", ".join(options), f"rate: {warm}{player.decay}", *player.groups]


def _budget(found: DryRun) -> str:
    """How long, and how often the data are met where that is known."""
    if not found.players:
        return "one pass over the data" if found.learns else "none"
    bounds = [f"{found.iterations:,} iterations"] if found.iterations is not None else []
    bounds += [f"{found.minutes:g} min"] if found.minutes is not None else []
    text = f"{' or '.join(bounds)}, in batches of {found.batch:,}"
    if found.iterations is None:
        return text
    return f"{text}: {found.iterations * found.batch / found.data.examples:,.1f} passes over the data"
