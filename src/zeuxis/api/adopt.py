"""Published checkpoints to model folders, of any kind in the table ``zeuxis.pretrained.kinds``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from zeuxis.api.adopt_style import KIND as STYLE
from zeuxis.api.adopt_style import adopt_style, facts_of, holds_style_network
from zeuxis.api.reporting import Report
from zeuxis.catalog.build import build
from zeuxis.errors import UsageError, WeightsError, paths_near
from zeuxis.escaping import word
from zeuxis.files import draft_folder, file_hash, require_regular, why_no_tensors
from zeuxis.game import System
from zeuxis.pretrained import convert
from zeuxis.pretrained.convert import Conversion
from zeuxis.pretrained.kind import CheckpointKind, Found, from_public, recognise, told_of_wrapper, unwrapped
from zeuxis.pretrained.kinds import KINDS, kinds_called
from zeuxis.pretrained.style_files import SYSTEMS as STYLE_SYSTEMS
from zeuxis.pretrained.style_files import is_style_file
from zeuxis.training.checkpoint import write_model

AS_THEY_ARE = "--out FILE.safetensors writes its tensors as they are"  # the mend of a file that makes no model


@dataclass(frozen=True)
class Adoption:
    """What came of a published checkpoint."""

    folder: Path
    system: str
    kind: str
    architecture: str | None  # the published one that it has, if it has one of them
    parameters: int  # of the system, with parts that the file did not hold
    dropped: tuple[str, ...]  # keys of the model that have no place here
    outside: int  # tensors of the file that are not the model's
    as_initialised: tuple[str, ...]  # tensors of ours that it did not hold
    programs: tuple[str, ...] = ()  # that lay beside it, or that its tables name; never run
    stripped: str | None = None  # in words, what its names were read without, and which tensors that left unused


@dataclass(frozen=True)
class Plain(Conversion):
    """A checkpoint whose tensors were written as they are, because the whole of it is of no known kind."""

    holds: Mapping[str, str]  # prefixes in it at which a model of a known kind lies, each with the kind's name
    stripped: str | None  # as of an adoption, where a restorer is read from it


def adopt(
    file: str | Path,
    kind: str | None = None,
    out: str | Path | None = None,
    size: int | None = None,
    report: Report = lambda message, fraction: None,
) -> Adoption:
    """Make the model folder ``out`` (beside ``file`` by default) of a published checkpoint.

    ``kind`` is the name of a kind, or of the system that it becomes; without it the file must hold exactly one model of
    a known kind. ``size`` is the height and width of the model's images in pixels, which the tensors do not tell; by
    default that of the published models.

    Raises:
        UsageError: there is no such file, the folder exists, or there is no such kind.
        WeightsError: the file holds no model of that kind, several, or one of an architecture that is not known.
    """
    source = Path(file)
    if kind in STYLE_SYSTEMS:
        return _styled(source, kind, out, size, report)
    kinds = KINDS if kind is None else kinds_called(kind)
    _check_file(source)
    folder = _folder(source, out)
    tensors = _read(source, report)
    held = recognise(unwrapped(tensors)[1], KINDS)
    wanted = {prefix: one for prefix, one in held.items() if one in kinds}
    if len(wanted) != 1:
        several = ", ".join(f"{one.name} at {prefix or 'the top'}" for prefix, one in (wanted or held).items())
        holds = f"it holds several: {several}" if wanted else f"it holds {several or 'none'}"
        what = kind or "one of a known kind"
        mend = f": use --as {next(iter(held.values())).system}" if held and not wanted else ""
        raise WeightsError(f"{source} must hold one model, '{what}'; {holds}{mend}")
    ((prefix, one),) = wanted.items()
    return _make(source, one, prefix, tensors, folder, size, report)


def convert_file(
    file: str | Path,
    out: str | Path | None = None,
    size: int | None = None,
    report: Report = lambda message, fraction: None,
) -> Adoption | Plain:
    """Make the most of a checkpoint: a model folder if all of it is a model of a known kind, otherwise safetensors.

    An ``out`` that ends in ``.safetensors`` asks for the latter. Beside the tensors of the model a file may hold the
    state of its training (under other keys than ``state_dict.``). A model that is a part of a larger one is not taken
    out of it, but named in :attr:`Plain.holds`.

    Raises:
        UsageError: there is no such file, the result exists, or a file of safetensors is of no known kind.
        DataError: it is damaged, or holds what only a program could make.
        WeightsError: it is marked as a kind and is not of an architecture that is known.
    """
    source = Path(file)
    _check_file(source)
    plain = source.with_suffix(".safetensors") if out is None else Path(out)
    if source.suffix == ".safetensors":
        held, place = _held(source)
        if is_style_file(None, _keys(source)):
            return _style(source, None, _folder(source, out), size, report)
        if set(held) != {place}:
            raise UsageError(f"{source} is safetensors already; {hint(_names(held))}")
        return _make(source, held[place], place, load_file(source), _folder(source, out), size, report)
    plain.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(plain) as draft:
        found = convert.convert(source, draft / "read.safetensors", report)
        styled = holds_style_network(found, _keys(found.weights))
        if styled and (out is None or plain.suffix != ".safetensors"):
            try:
                return _style(source, found, _folder(source, out), size, report)
            except WeightsError as error:
                raise WeightsError(f"{error}; {AS_THEY_ARE}") from None
        held, place = _held(found.weights)
        if set(held) == {place} and (out is None or plain.suffix != ".safetensors"):
            folder = _folder(source, out)
            try:
                return _make(source, held[place], place, load_file(found.weights), folder, size, report)
            except WeightsError as error:
                raise WeightsError(f"{error}; {AS_THEY_ARE}") from None
        if size is not None:
            raise UsageError(f"--size is that of a model's images, and {source} gives none; {hint(_names(held))}")
        if plain.suffix != ".safetensors":
            file = word(plain.with_name(f"{plain.name}.safetensors"))
            raise UsageError(
                f"{source} makes no model folder: {hint(_names(held))}; --out {file} writes its tensors as they are"
            )
        holds = _names(held) | ({"": STYLE} if styled else {})
        kept = convert.moved(found, plain)
    stripped = told_of_wrapper(_keys(kept.weights))
    return Plain(kept.weights, kept.facts, kept.tensors, kept.parameters, kept.not_made, holds, stripped)


def _styled(source: Path, system: str, out: str | Path | None, size: int | None, report: Report) -> Adoption:
    """The model folder of a network file that is to hold ``system``."""
    _check_file(source)
    folder = _folder(source, out)
    unknown = f"{source} is no network file of ProGAN, StyleGAN, StyleGAN2, StyleGAN2-ADA or StyleGAN3"
    if source.suffix == ".safetensors":
        if not is_style_file(None, _keys(source)):
            raise WeightsError(unknown)
        return _style(source, None, folder, size, report, system)
    with tempfile.TemporaryDirectory(prefix="zeuxis-") as draft:
        found = convert.convert(source, Path(draft, "read.safetensors"), report)
        if not holds_style_network(found, _keys(found.weights)):
            raise WeightsError(unknown)
        return _style(source, found, folder, size, report, system)


def _style(
    source: Path, read: Conversion | None, folder: Path, size: int | None, report: Report, wanted: str | None = None
) -> Adoption:
    """The model folder of a network file that was ``read``, or of safetensors of the same names, which tell no more."""
    facts, weights = (None, source) if read is None else (facts_of(read), read.weights)
    found, parameters, absent = adopt_style(source, facts, weights, folder, size, report, wanted)
    side = found.shape.height
    return Adoption(
        folder=folder,
        system=found.system,
        kind=found.system,
        architecture=f"{side}x{side}",
        parameters=parameters,
        dropped=found.dropped,
        outside=len(_keys(weights)) - (len(found.public) - len(found.made)) - len(found.dropped),
        as_initialised=absent,
        programs=() if read is None else read.not_made,
    )


def hint(holds: Mapping[str, str]) -> str:
    """How to make a model of a file that ``holds`` kinds at prefixes, or which kinds are known where it holds none."""
    if STYLE in holds.values():
        return "it holds the networks of a StyleGAN or ProGAN: --out FOLDER makes a model folder of them"
    if holds:
        prefix, name = next(iter(holds.items()))
        return f"it holds a model at {prefix or 'the top'}: --as {name} makes a model folder of it"
    return (
        f"it is of no kind of published checkpoint that is known here ({', '.join(kind.name for kind in KINDS)}, and "
        "the network files (.pkl) of ProGAN, StyleGAN, StyleGAN2, StyleGAN2-ADA and StyleGAN3, and stylegan2-pytorch's)"
    )


def _names(held: Mapping[str, CheckpointKind[Any]]) -> dict[str, str]:
    return {prefix: kind.name for prefix, kind in held.items()}


def _check_file(source: Path) -> None:
    if not source.is_file():
        if near := paths_near(str(source)):
            raise UsageError(f"there is no file {source}: did you mean {' or '.join(near)}?")
        raise UsageError(f"there is no file {source}: give a checkpoint (.safetensors, .pt, .pth, .ckpt, .bin or .pkl)")


def _folder(source: Path, out: str | Path | None) -> Path:
    """Where the model goes; raises :class:`UsageError` if something is there."""
    folder = source.with_suffix("") if out is None else Path(out)
    if folder.suffix == ".safetensors":
        raise UsageError(f"--out {folder} is the name of a file, and the result is a folder: give another")
    if folder.exists():
        raise UsageError(f"{folder} exists already: remove it, or give another --out")
    return folder


def _held(file: Path) -> tuple[dict[str, CheckpointKind[Any]], str]:
    """The models of known kinds in a file of safetensors, by prefix, and the prefix of its whole state."""
    place, inside = unwrapped(_keys(file))
    return recognise(inside, KINDS), place


def _keys(file: Path) -> tuple[str, ...]:
    """The names of the tensors in a file of safetensors."""
    try:
        require_regular(file)
        with safe_open(file, "pt") as found:
            return tuple(found.keys())
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {why_no_tensors(file, error)}") from None


def _read(source: Path, report: Report) -> dict[str, Tensor]:
    """All the tensors of a file, by their path in it."""
    try:
        require_regular(source)
        if source.suffix == ".safetensors":
            return load_file(source)
        with tempfile.TemporaryDirectory(prefix="zeuxis-") as draft:
            return load_file(convert.convert(source, Path(draft, "read.safetensors"), report).weights)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{source} cannot be read as safetensors: {why_no_tensors(source, error)}") from None


def _make(
    source: Path,
    kind: CheckpointKind[Any],
    prefix: str,
    tensors: Mapping[str, Tensor],
    folder: Path,
    size: int | None,
    report: Report,
) -> Adoption:
    """The model folder of the checkpoint of ``kind`` whose keys begin with ``prefix``."""
    public = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    found = from_public(kind, public)
    report("building the system", None)
    side = size or kind.size
    made = build(kind.system, found.architecture.spec(side), dict(found.architecture.arguments))
    absent = _fill(made, found, source)
    report(f"writing {folder}", None)
    write_model(folder, made, {"source": source.name, "source_sha256": file_hash(source), "kind": kind.name})
    return Adoption(
        folder=folder,
        system=kind.system,
        kind=kind.name,
        architecture=kind.published_name(found.architecture),
        parameters=sum(p.numel() for p in made.parameters()),
        dropped=found.dropped,
        outside=len(tensors) - len(public),
        as_initialised=absent,
        stripped=told_of_wrapper(tensors) if prefix == unwrapped(tensors)[0] else None,
    )


def _fill(system: System, found: Found[Any], source: Path) -> tuple[str, ...]:
    """Give ``system`` the tensors; returns the names of those that were not among them."""
    own = system.state_dict()
    absent = tuple(name for name in own if name not in found.tensors)
    wrong = [name for name, value in found.tensors.items() if name not in own or own[name].shape != value.shape]
    may_miss = (*found.kind.optional, *found.kind.not_stored)
    ends = found.kind.absent_endings
    if wrong or not all(name.startswith(may_miss) or name.endswith(ends) for name in absent):
        raise WeightsError(f"{source}: {', '.join((wrong or list(absent))[:5])} is not as the rest of it says")
    system.load_state_dict(own | found.tensors)
    return absent
