"""Directions in the latent space of one generator: found, kept in a file with its hash, and moved along.

The file is safetensors: ``directions`` ``(K, ...)``, each as long as latents spread along it, so that a strength counts
standard deviations; or ``latents`` ``(N, ...)``, what adding and subtracting means left. Its metadata say by which
generator: on another they mean nothing, and are refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from zeuxis.api.array_file import is_array_file, rows_of
from zeuxis.api.card_file import KEY, read_card_file
from zeuxis.api.latent_steps import Moved
from zeuxis.api.latents import Latents
from zeuxis.api.model import Model
from zeuxis.api.pictures import Pictures
from zeuxis.api.reporting import Report
from zeuxis.data.library import data_of
from zeuxis.editing import directions as procedures
from zeuxis.editing.styles import layers_of
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError, WeightsError, ZeuxisError
from zeuxis.escaping import json_text, word
from zeuxis.fetching import named_by
from zeuxis.files import without_home
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import versions, write_whole
from zeuxis.rng import Stream

SUFFIX = ".safetensors"
FORMAT = 1
Kind = Literal["directions", "latents"]
KINDS: tuple[Kind, ...] = ("directions", "latents")
MOST_NUMBERS = 4096  # of a latent whose principal directions are found
STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # on a sheet
METHODS = ("sefa", "pca")
CHUNK = 64


@dataclass(frozen=True)
class Directions:
    """``vectors`` ``(K, ...)`` by name, of the generator with the weights ``weights_sha256``.

    ``layers`` are those of style codes that they are for, None for all. ``found`` says how.
    """

    vectors: Tensor
    names: tuple[str, ...]
    model: str
    system: str
    weights_sha256: str
    kind: Kind = "directions"
    layers: tuple[int, int] | None = None
    found: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """All but the numbers, ready for JSON."""
        return {
            "format": FORMAT, "kind": self.kind, "names": list(self.names), "model": self.model, "system": self.system,
            "weights_sha256": self.weights_sha256, "layers": None if self.layers is None else list(self.layers),
            "found": dict(self.found),
        }  # fmt: skip

    def save(self, path: Path) -> Path:
        """Write them to ``path``, whole or not at all."""
        if path.suffix.lower() != SUFFIX:
            raise UsageError(f"{path}: directions are kept as safetensors: give {path.with_suffix(SUFFIX)}")
        kept = self.vectors.detach().cpu().float().contiguous()
        card = {**self.facts(), "model": without_home(self.model), "sha256": _hash(kept), "versions": versions()}
        write_whole(path, save_tensors({self.kind: kept}, {KEY: json_text(card, sort_keys=True)}))
        return path

    def alone(self) -> tuple[str, str]:
        """What of another generator it cannot mean, and the command that finds the like on ``{model}``."""
        if self.kind == "directions":
            return "a direction means", "zeuxis directions {model}"
        projected = self.found.get("by") == "projection"
        return (
            "a latent means",
            f"zeuxis {'project {model} PICTURE' if projected else 'directions {model} --sum TERMS'}",
        )

    @classmethod
    def read(cls, path: Path, model: Model, kind: Kind = "directions") -> Directions:
        """What :meth:`save` wrote, for ``model``; WeightsError where it was found on another generator.

        Arrays of numpy are of whatever ``kind`` is asked for, their numbers as they stand; which generator they were
        found on they do not say.
        """
        if is_array_file(path):
            rows = rows_of(path, Latents(model).space)
            names = tuple(str(k) for k in range(1, len(rows) + 1))
            return found_on(model, rows, names, {"by": "array"}, kind=kind)
        found = cls.open(path)
        if found.weights_sha256 != model.weights_sha256:
            means, mend = found.alone()
            raise WeightsError(
                f"{path} was found on the weights {found.weights_sha256[:16]} of '{found.model}', and '{model.name}' "
                f"has {model.weights_sha256[:16]}: {means} nothing on another generator; find it on this one "
                f"({mend.format(model=word(model.name))}), or give that one"
            )
        return found

    @classmethod
    def open(cls, path: Path) -> Directions:
        """What :meth:`save` wrote, for whatever model.

        Raises:
            UsageError: no such file, or one of another kind.
            DataError: damaged.
        """
        tensors, card = read_card_file(path, "find the directions again")
        if card is None or len(tensors) != 1 or not set(tensors) <= set(KINDS):
            raise UsageError(f"{path} holds neither directions nor latents: write one with zeuxis directions MODEL")
        ((kind, kept),) = tensors.items()
        try:
            return _checked(json.loads(card), kind, kept)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            why = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path} is damaged: {why}; find the directions again") from None

    @classmethod
    def latents_of(cls, path: Path, known: Latents) -> list[int]:
        """The places in ``known`` of the latents that a file holds."""
        held = cls.read(path, known.model, "latents")
        if held.kind != "latents":
            raise UsageError(
                f"{path} holds directions, which are no latents by themselves: move pictures along them with zeuxis "
                f"sample {word(known.model.name)} --direction {word(f'{path}*2')}"
            )
        return [
            known.hold(row, {"file": path.name, "latent": name}, f"{path}, {name},")
            for name, row in zip(held.names, held.vectors, strict=True)
        ]

    def place(self, name: str | None, known: Latents, path: str) -> int:
        """The place in ``known`` of the direction called ``name``, or of the only one."""
        if name is None and len(self.names) > 1:
            raise UsageError(f"{path} holds {len(self.names)} directions: say which, as {path}:{self.names[0]}*2")
        chosen = self.names[0] if name is None else name
        if chosen not in self.names:
            raise UnknownName(f"direction of {path}:", chosen, self.names)
        origin = {"file": Path(path).name, "direction": chosen, **self.found}
        return known.hold(self.vectors[self.names.index(chosen)], origin, f"{path}, direction {chosen},")


def _checked(card: Mapping[str, Any], kind: Any, kept: Tensor) -> Directions:
    if card["format"] != FORMAT or card["kind"] != kind:
        raise ValueError(f"it is of format {card['format']}, and this version reads {FORMAT}")
    if card["sha256"] != _hash(kept):
        raise ValueError("its numbers are not those that were written")
    names = tuple(map(str, card["names"]))
    if kept.dtype != torch.float32 or kept.ndim < 2 or len(names) != len(kept) or not kept.isfinite().all():
        raise ValueError(f"it holds {tuple(kept.shape)} numbers of {kept.dtype} for {len(names)} names")
    layers = card["layers"]
    if layers is not None:
        start, stop = (int(k) for k in layers)
        layers = (start, stop)
    model, system, sha256 = (str(card[key]) for key in ("model", "system", "weights_sha256"))
    return Directions(kept, names, model, system, sha256, kind, layers, dict(card["found"]))


def _hash(kept: Tensor) -> str:
    return hashlib.sha256(str(tuple(kept.shape)).encode() + kept.numpy().tobytes()).hexdigest()


def must_take_directions(path: Path) -> None:
    """Raise UsageError for another ending, or for a file that is there and holds something else: it may be somebody's
    weights."""
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"{path}: directions and latents are kept as safetensors: give {path.with_suffix(SUFFIX)}")
    if not path.is_file():
        return
    try:
        Directions.open(path)
    except ZeuxisError:
        raise UsageError(f"{path} is there and holds no directions: give another name, or move it away") from None


# -- finding ------------------------------------------------------------------------------------------


def find(
    model: Model,
    by: str = "sefa",
    count: int = 6,
    *,
    layers: str | None = None,
    samples: int = 2000,
    seed: int = 0,
    report: Report = lambda message, fraction: None,
) -> Directions:
    """The ``count`` strongest directions of a generator: by "sefa", in closed form from its weights, or by "pca", the
    principal components of ``samples`` latents (of normal ones: those that the components of their pictures follow).

    ``layers`` of style codes, as "0-3" or "coarse", restrict SeFa and what it moves.
    """
    if by not in METHODS:
        raise UnknownName("way to find directions", by, METHODS)
    if samples < 2:
        raise UsageError(f"{samples} samples: how far latents spread is seen of 2 or more, better of 2000")
    known = Latents(model)
    space, system = known.space, model.system
    chosen = None
    if layers is not None:
        space.must_have_styles()
        chosen = layers_of(layers, space.layers)
    report(f"{samples} latents", None)
    drawn = spread(known, samples, seed, report)
    flat = (drawn[:, 0] if space.layers else drawn).flatten(1)
    width = flat.shape[1] - space.told  # what it was told is not drawn, and is no direction of its own
    flat = flat[:, :width]
    if by == "sefa":
        if "latent_weights" not in model.verbs:
            raise Unsupported(
                f"'{model.name}' does not say which weights its latents meet first, which SeFa is read from: find its "
                "directions by pca"
            )
        unit, _ = procedures.in_closed_form(system.latent_weights().detach().cpu(), count, chosen)
    elif width > MOST_NUMBERS:
        raise Unsupported(f"a latent of {width:,} numbers has too many directions: at most {MOST_NUMBERS:,}")
    elif space.layers:
        unit, _ = procedures.principal(flat, count)
    else:
        report("pictures of the latents", None)
        shown = torch.cat([model.decode_images(part).flatten(1) for part in drawn.split(CHUNK)])
        unit = procedures.explaining(flat, shown, count)
    vectors = unit * procedures.deviations(flat, unit)[:, None]
    vectors = torch.cat([vectors, vectors.new_zeros(len(vectors), space.told)], 1)
    vectors = vectors if space.layers else vectors.unflatten(1, space.shape)
    span = None if chosen is None else (chosen.start, chosen.stop)
    found = {"by": by, "samples": samples, "seed": seed}
    return found_on(model, vectors, tuple(str(k) for k in range(1, count + 1)), found, span)


def found_on(
    model: Model,
    vectors: Tensor,
    names: tuple[str, ...],
    found: Mapping[str, Any],
    layers: tuple[int, int] | None = None,
    kind: Kind = "directions",
) -> Directions:
    """Directions, or latents, of ``model``."""
    system = model.system.card.id
    return Directions(vectors, names, model.name, system, model.weights_sha256, kind, layers, found)


def spread(known: Latents, n: int, seed: int, report: Report, **asked: Any) -> Tensor:
    """``n`` latents ``(n, ...)`` as they are drawn, under what is ``asked`` of all as in ``Model.sample``; or those of
    training pictures, where none are drawn."""
    model = known.model
    if "draw_latents" in model.verbs:
        parts = [range(seed + k, seed + min(k + CHUNK, n)) for k in range(0, n, CHUNK)]
        return torch.cat([model.draw_latents(model.condition(len(part), **asked), part) for part in parts])
    named = model.card.get("data")
    if not named:
        raise UsageError(f"'{model.name}' draws no latents, and does not say what data it was trained on")
    with named_by(f"the card of '{model.name}'", "train it on data that is here"):
        source = data_of(named).open(model.system.spec.size, "train")
    rows = Stream(seed, "directions").permutation(len(source))[:n]
    return torch.cat([model.encode(source.batch(part).image) for part in rows.split(CHUNK)])


# -- moving along -------------------------------------------------------------------------------------

ASKED = re.compile(r"(?P<file>.+?)(?::(?P<name>[^:*/\\]+))?(?:\*(?P<strength>[^*]+))?")


def moved(
    model: Model,
    n: int,
    seed: int,
    along: Sequence[str],
    how: Sampling = Sampling(),
    *,
    pictures: Sequence[str | Path] = (),
    latents: Sequence[Path] = (),
    **asked: Any,
) -> Pictures:
    """``n`` pictures as ``Model.sample`` would draw them, or in their place one's own ``pictures`` and those of the
    files ``latents``, their latents moved ``along`` directions, each ``FILE[:NAME]*STRENGTH`` in standard deviations.

    Raises UsageError for knobs or conditions beside pictures of one's own, which are drawn by nobody.
    """
    own = bool(pictures or latents)
    if own and (how or any(value is not None for value in asked.values())):
        raise UsageError("knobs and conditions are for pictures that are drawn: leave them out, or the pictures")
    known = Latents(model)
    ways = [_asked(text, known) for text in along]
    places = [] if own else known.draw(range(seed, seed + n), how, **asked)
    places += known.encode(pictures) if pictures else []
    for file in latents:
        places += Directions.latents_of(file, known)
    for held, place, strength in ways:
        start, stop = held.layers or (0, 0)
        places = [known.add(Moved(k, place, strength, start, stop)) for k in places]
    return known.pictures(places)


def _asked(text: str, known: Latents) -> tuple[Directions, int, float]:
    """``FILE[:NAME]*STRENGTH``, read: its file, the place of its direction, and the strength."""
    match = ASKED.fullmatch(text)
    name, strength = (match["name"], match["strength"] or "1") if match else (None, "1")
    file = match["file"] if match else text
    if name is not None and not Path(file).exists() and Path(f"{file}:{name}").exists():
        file, name = f"{file}:{name}", None
    try:
        number = float(strength)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"--direction {text}: the strength {strength} is no number: write FILE:NAME*2.5")
    held = Directions.read(Path(file), known.model)
    if held.kind != "directions":
        raise UsageError(
            f"{file} holds latents, no direction: go there with zeuxis walk {word(known.model.name)} --latents"
        )
    return held, held.place(name, known, file), number


def show(
    model: Model, found: Directions, seed: int = 0, path: Path = Path("directions.png"), strengths: Sequence[float] = ()
) -> Path:
    """Write a sheet: a row for each direction, the picture of ``seed`` moved along it by ``strengths``."""
    known = Latents(model)
    (start,) = known.draw([seed]) if "draw_latents" in model.verbs else [_mean(known)]
    columns = tuple(strengths) or STRENGTHS
    shown: list[int | None] = []
    span = found.layers or (0, 0)
    for name in found.names:
        along = found.place(name, known, path.with_suffix(SUFFIX).name)
        shown += [start if s == 0 else known.add(Moved(start, along, s, *span)) for s in columns]
    return known.save_sheet(path, shown, len(columns))


def _mean(known: Latents) -> int:
    mean = spread(known, CHUNK, 0, lambda message, fraction: None).mean(0)
    return known.hold(mean, {"mean of": CHUNK})
