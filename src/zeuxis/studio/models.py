"""Models by name: those that ship, generators, those that were pulled, and the runs in one folder.

A name is looked up, never made a path.

Imports no torch: what a model takes is read off its card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from zeuxis.api.shipped_restorers import SHIPPED
from zeuxis.card import LatentKind
from zeuxis.catalog.listing import Entry, entries
from zeuxis.catalog.weights import shipped
from zeuxis.data.cache import pulled_models
from zeuxis.errors import UnknownName, WeightsError
from zeuxis.files import at_home, why_no_name, without_home
from zeuxis.knobs import Knob
from zeuxis.pretrained.upscalers import UPSCALERS
from zeuxis.studio.abilities import CHANNELS, drawn_field, edits_of, obeyed
from zeuxis.training.exchange import read_card
from zeuxis.training.legacy import upgraded_card

MODEL, CARD = "model", "model.json"
PULLED = "pulled.json"  # in the folder of a published model that was fetched whole
PUBLISHED = "stable-diffusion"  # the system of all that can be pulled


@dataclass(frozen=True)
class KnownModel:
    """A model that may be asked for; ``path`` is what :func:`zeuxis.api.model.load` and the command line take."""

    name: str
    path: str
    origin: Literal["shipped", "generator", "pulled", "run"]
    system: Entry
    card: Mapping[str, Any]  # as it would be written now; of a generator and of a published model, empty

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """What may be turned when it draws."""
        return self.system.card.knobs_as_built(self.card.get("config", {}))

    @property
    def painted(self) -> bool:
        """Whether its sources are layouts drawn as pictures, so that ``zeuxis paint`` takes a layout for it."""
        _, bar, pairing = str(self.card.get("data") or "").partition("|")
        return bool(bar) and pairing.strip() in ("layout", "outlines") and bool(self._spec.get("layout_names"))

    @property
    def obeyed(self) -> tuple[frozenset[str], frozenset[str]]:
        """The fields that it obeys as it was built, and those that it cannot do without."""
        config, classes = self.card.get("config", {}), len(self._spec.get("class_names", ()))
        obeys, required = obeyed(self.system.card, config, classes, [part.obeyed[0] for part in _parts(config)])
        # what is pulled has no ControlNet: one is named beside it (zeuxis sample --with)
        return (obeys - {"control"} if self.origin == "pulled" else obeys), required

    @property
    def draws(self) -> str | None:
        """The field that a drawing is for it; None where it turns none into a picture, as what mends photographs."""
        if self.system.card.family == "restoration":
            return None
        shape = self._spec.get("source_shape") or self._spec.get("shape")
        return drawn_field(self.system.card.verbs, *self.obeyed, None if shape is None else shape[0], self.painted)

    @property
    def _strange(self) -> frozenset[str]:
        """``source`` where that is no single picture: several in its channels, or a layout drawn as one."""
        source = self._spec.get("source_shape")
        several = source is not None and source[0] not in CHANNELS
        return frozenset({"source"} if several or self.painted else ())

    @property
    def _spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.card.get("spec", {})
        return found

    @property
    def latents(self) -> LatentKind | None:
        """What it decodes, by its card; None where it decodes nothing."""
        return self.system.card.latents if "decode" in self.system.card.verbs else None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        card, spec, (obeys, required) = self.system.card, self._spec, self.obeyed
        return {
            "name": self.name,
            "path": self.path,
            "recorded": without_home(self.path),
            "origin": self.origin,
            "system": card.id,
            "title": card.title,
            "family": card.family,
            "verbs": sorted(card.verbs),
            "latents": self.latents,
            "needs": sorted(required),
            "accepts": sorted(obeys - required),
            "knobs": [knob_dict(knob) for knob in self.knobs.values()],
            "shape": spec.get("shape"),
            "classes": list(spec.get("class_names", ())),
            "source_shape": spec.get("source_shape"),
            "layouts": list(spec.get("layout_names", ())),
            "factors": [list(factor) for factor in spec.get("factors", ())],
            "data": self.card.get("data"),
            "sha256": self.card.get("sha256"),
            "draws": self.draws,
            "edits": [asdict(one) for one in edits_of(card.verbs, obeys - self._strange, required, self.knobs.keys())],
        }


def knob_dict(knob: Knob) -> dict[str, Any]:
    """A knob ready for JSON, with its range in numbers and in words."""
    return {
        "name": knob.name,
        "type": knob.type,
        "meaning": knob.meaning,
        "range": knob.range,
        "default": knob.default,
        "least": knob.least,
        "most": knob.most,
        "choices": list(knob.choices),
    }


def known_models(runs: Path) -> dict[str, KnownModel]:
    """Every model that may be asked for, by name: of the package, pulled, and the runs in the folder ``runs``."""
    found = {name: made for name, folder in shipped().items() if (made := _read(name, name, "shipped", folder, 0))}
    for name, entry in entries().items():
        if not entry.card.learns and name not in found:
            found[name] = KnownModel(name, name, "generator", entry, {})
    for record in pulled_models().glob(f"*/*/{PULLED}"):
        name = record.parent.relative_to(pulled_models()).as_posix()
        found.setdefault(name, KnownModel(name, name, "pulled", entries()[PUBLISHED], {}))
    inside = runs.resolve()
    for path in sorted(runs.iterdir()) if runs.is_dir() else ():
        folder = path / MODEL if (path / MODEL / CARD).is_file() else path
        if path.name in found or why_no_name(path.name) is not None or not (folder / CARD).is_file():
            continue
        if any(not each.resolve().is_relative_to(inside) for each in (path, folder, *folder.iterdir())):
            continue  # a link that leads elsewhere
        stamp = (folder / CARD).stat().st_mtime_ns  # a training that goes on writes another
        if (made := _read(path.name, str(path), "run", folder, stamp)) is not None:
            found[path.name] = made
    return found


@lru_cache(maxsize=4096)
def _read(name: str, path: str, origin: Literal["shipped", "run"], folder: Path, stamp: int) -> KnownModel | None:
    """The model in a folder; None where its card cannot be read, or names a system that there is not."""
    try:
        card = upgraded_card(read_card(folder))
    except (WeightsError, KeyError, TypeError, ValueError, AttributeError):  # a damaged card is no model
        return None
    entry = entries().get(str(card.get("system")))
    return None if entry is None else KnownModel(name, path, origin, entry, card)


def _parts(config: Mapping[str, Any]) -> list[KnownModel]:
    """The systems that a model was given, as its card has them: whole, or by where they are kept."""
    found = list[KnownModel]()
    for name, part in config.items():
        match part:
            case {"given": {"model": str() as kept}}:
                folder = shipped().get(kept, Path(kept))
                folder = folder / MODEL if (folder / MODEL / CARD).is_file() else folder
                made = _read(name, kept, "run", folder, 0) if (folder / CARD).is_file() else None
            case {"system": str(), "config": {}}:
                entry = entries().get(part["system"])
                made = None if entry is None else KnownModel(name, name, "run", entry, part)
            case _:
                continue
        found += [] if made is None else [made]
    return found


def model_called(name: str, runs: Path) -> KnownModel:
    """The model of that name; raises :class:`UnknownName` where it is none of :func:`known_models`."""
    known = known_models(runs)
    if name not in known:
        raise UnknownName("model", name, known, "(GET /api/models lists them)")
    return known[name]


def model_recorded(record: Mapping[str, Any], runs: Path) -> KnownModel:
    """The model that drew a picture: by the name or the path that it was loaded by, or by its weights."""
    known, path, sha256 = known_models(runs), str(record["model"]), record["weights_sha256"]
    if path in known:
        return known[path]
    try:
        place = at_home(path).resolve()
    except (OSError, ValueError, RuntimeError):  # no name of a file
        raise UnknownName("model", path, known) from None
    for one in known.values():
        if one.origin == "run" and Path(one.path).resolve() == place:
            return one
    for one in known.values():  # one that was moved since: its weights tell
        if sha256 is not None and one.card.get("sha256") == sha256:
            return one
    raise UnknownName("model", path, known, "(the picture was made by a model that is not here)")


def restorer_called(name: str | None, runs: Path) -> str | None:
    """What ``zeuxis restore --model`` takes for a published restorer or a run of that name; None for None."""
    if name is None or name in UPSCALERS or name in SHIPPED:
        return name
    known = {one.name: one for one in known_models(runs).values() if one.origin == "run"}
    if name not in known:
        raise UnknownName("restorer", name, [*SHIPPED, *UPSCALERS, *known])
    return known[name].path
