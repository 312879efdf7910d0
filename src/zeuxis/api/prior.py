"""Priors over the codes of a model: fitted when first asked for, kept beside it, and models like any other.

What is fitted is the system ``latent-prior``, as one of its recipes describes it, to the codes of some training
pictures. N pictures that are coded, Z numbers in the code of each.
"""

from __future__ import annotations

import hashlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from zeuxis.api.reporting import Report
from zeuxis.batch import Batch
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import locate, shipped
from zeuxis.data.array_files import array_file
from zeuxis.data.batches import Batches
from zeuxis.data.bit_depth import bits_and_folder
from zeuxis.data.cache import cache_dir
from zeuxis.data.entries import ENTRIES, clean_name
from zeuxis.data.library import open_source, pinned
from zeuxis.data.source import Source
from zeuxis.data.tables_name import tables_named
from zeuxis.errors import DataError, Stopped, UnknownName, UsageError, WeightsError
from zeuxis.fetching import named_by
from zeuxis.game import System
from zeuxis.recipe import Recipe, Train, load_recipe
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec, Shape
from zeuxis.systems.autoencoder.latent_prior import LatentPrior, code_width
from zeuxis.training.checkpoint import read_folder, write_model
from zeuxis.training.trainer import Clock, Trainer

CODES = 10_000  # pictures whose codes a prior is fitted to
CHUNK = 256  # pictures that are coded at a time
RECIPES: Mapping[str, str | None] = {  # by kind; of N(0, I), for which nothing is fitted, none
    "normal": None,
    "gaussian": "latent-prior-gaussian",
    "mixture": "latent-prior",
    "flow": "latent-prior-flow",
}
KINDS = tuple(RECIPES)


def prior_folder(
    name: str,
    system: System,
    card: Mapping[str, Any],
    kind: str,
    data: str | None = None,
    report: Report = lambda message, fraction: None,
    *,
    apart: Path | None = None,
) -> Path:
    """The model folder of the prior called ``kind`` over the codes of the model ``name``: kept, or fitted now.

    The codes are those of the training split of ``data``, by default the model's own. One that is fitted now
    replaces what was kept. With a folder ``apart`` nobody but a picture's record asks for it: none is fitted then, and
    N(0, I), for which nothing is fitted, goes there.

    Raises UnknownName for another kind; Unsupported where the codes are no vectors; UsageError without data, and where
    a record asks for a prior that is not kept.
    """
    if kind not in KINDS:
        raise UnknownName("prior", kind, KINDS)
    code_width(system)
    only_a_file = data is None or apart is not None
    with named_by(f"the card of '{name}'", "--prior-data does") if only_a_file else nullcontext():
        return _folder(name, system, card, kind, data, report, apart)


def _folder(
    name: str, system: System, card: Mapping[str, Any], kind: str, data: str | None, report: Report, apart: Path | None
) -> Path:
    own = RECIPES[kind]
    recipe = None if own is None else load_recipe(own)
    from_data = data or card.get("data")
    if recipe is not None and not from_data:
        raise UsageError(f"'{name}' does not say what data it was trained on: give --prior-data")
    plan = None if recipe is None else {"density": recipe.model["density"], "codes": CODES, **_train(recipe.train)}
    facts = {
        "recipe": own,
        "data": card.get("data") if recipe is None else pinned(str(from_data)),
        "prior": kind,
        "plan": plan,
        "built_upon": {"autoencoder": {"model": name, "sha256": card["sha256"]}},
    }
    folder = _place(name, card["sha256"]) / kind
    if apart is not None and recipe is not None and not _kept(folder, facts):  # before any picture is looked at
        raise _not_fitted(name, kind, str(from_data))
    if recipe is not None and is_folder(str(from_data)):  # its pictures may be others by now
        facts["reference"] = _opened(name, system, str(from_data)).fingerprint()
    if not _kept(folder, facts):
        if apart is not None and recipe is not None:
            raise _not_fitted(name, kind, str(from_data))
        folder = folder if apart is None else apart / kind
        source = None if recipe is None else _opened(name, system, str(from_data))
        prior = build("latent-prior", system.spec, {"autoencoder": system, **_density(recipe)})
        assert isinstance(prior, LatentPrior)
        if recipe is not None and source is not None:
            _fit(prior, source, recipe.train, report)
        write_model(folder, prior, facts)
    return folder


def _not_fitted(name: str, kind: str, data: str) -> UsageError:
    command = shlex.join(["zeuxis", "sample", name, "--prior", kind, "--prior-data", data, "-n", "1"])
    return UsageError(
        f"the picture was drawn from the prior '{kind}' over the codes of '{name}', fitted to '{data}', which is not "
        f"kept here as those pictures are now, and a replay fits none: fit it with {command}, then replay it again"
    )


def is_folder(data: str) -> bool:
    """Whether ``data`` are pictures that lie in a folder of the user's, in tables, or in a file of arrays."""
    name = clean_name(data)
    in_file = tables_named(name) is not None or array_file(name) is not None
    return name not in ENTRIES and (in_file or bits_and_folder(name)[1] is not None)


def _density(recipe: Recipe | None) -> dict[str, Any]:
    return {} if recipe is None else {"density": recipe.model["density"]}


def _train(config: Train) -> dict[str, Any]:
    """What of a budget the result depends on."""
    return {"iterations": config.iterations, "batch": config.batch, "ema": config.ema}


def _place(name: str, sha256: str) -> Path:
    """The folder of a model's priors: beside it, or in the cache for those that lie in the package."""
    if name in shipped():
        return cache_dir() / "priors" / sha256[:16]
    folder = locate(name)
    return (folder.parent if folder.name == "model" else folder) / "priors"


def _kept(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a whole prior of just these ``facts`` is there, by whatever name its model was called."""
    try:
        card = read_folder(folder, "model")[1]
    except WeightsError:  # none yet, or a damaged one
        return False

    def upon(of: Mapping[str, Any]) -> Any:
        return of.get("built_upon", {}).get("autoencoder", {}).get("sha256")

    same = all(card.get(key) == value for key, value in facts.items() if key != "built_upon")
    return card.get("system") == "latent-prior" and same and upon(card) == upon(facts)


def _opened(name: str, system: System, data: str) -> Source:
    """The training split of ``data``, in the model's shape."""
    try:
        source = open_source(data, system.spec.size)
    except (UsageError, DataError) as error:
        raise UsageError(f"the codes of '{name}' need its data, '{data}': {error}; or give --prior-data") from None
    if tuple(source.spec.shape) != tuple(system.shape):
        raise UsageError(
            f"'{name}' codes {tuple(system.shape)}, '{data}' holds {tuple(source.spec.shape)}: give other --prior-data"
        )
    return source


def _fit(prior: LatentPrior, source: Source, config: Train, report: Report) -> None:
    """Fit ``prior`` to the codes of some of ``source``, in closed form or by the density's game."""
    report(f"coding pictures of {source.name} for a prior", None)
    batches = pictures(source, CODES, prior.autoencoder.device)
    if prior.players():
        codes = codes_of(prior, batches)
        prior.measure(codes)
        play(prior, Codes(source.name, prior.standardised(codes)), config, report)
    else:
        prior.fit(batches)
    prior.eval()


def pictures(source: Source, n: int, device: torch.device) -> Iterator[Batch]:
    """The first ``n`` pictures (fewer, where there are fewer) in a fixed random order."""
    for part in Stream(0, "codes").permutation(len(source))[:n].split(CHUNK):
        yield source.batch(part).to(device)


def codes_of(system: System, batches: Iterator[Batch]) -> Tensor:
    """The codes ``(N, Z)`` of some pictures, float32 on the CPU."""
    with torch.no_grad():
        return torch.cat([system.encode(batch.image) for batch in batches]).float().cpu()


class Codes(Source):
    """Codes ``(N, Z, 1, 1)`` as pictures of which nothing else is known, so that each picture is coded once."""

    def __init__(self, name: str, codes: Tensor) -> None:
        self.name, self.codes = name, codes
        self.spec = DataSpec(Shape(codes.shape[1], 1, 1))

    def __len__(self) -> int:
        return len(self.codes)

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.codes[index], index=index.clone())

    def fingerprint(self) -> str:
        return hashlib.sha256(self.codes.numpy().tobytes()).hexdigest()[:16]


def play(prior: LatentPrior, codes: Codes, config: Train, report: Report) -> None:
    """Train the density of ``prior`` by its own game on ``codes``, which were standardised."""
    assert prior.density is not None
    config = config.model_copy(update={"save_minutes": 1e6, "preview_minutes": 1e6})
    report(f"fitting a prior to {len(codes)} codes: {prior.density.card.id}", None)

    def played(clock: Clock) -> None:
        report("fitting a prior", clock.progress)

    with tempfile.TemporaryDirectory(prefix="zeuxis-") as folder:
        order = Batches(codes, config.batch, config.seed)
        trainer = Trainer(prior.density, order, config, Path(folder), report=played, track=("none",))
        trainer.run()
    if trainer.stop_asked:
        raise Stopped(trainer.stop_asked)
    prior.density.load_state_dict(trainer.best.state_dict())


# -- records of 0.1.0, which named a model and a prior over its codes ----------------------------------


def recorded(made: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Kind and data of the prior that a picture's record names; None of none."""
    match made.get("prior"):
        case None:
            return None
        case {"kind": str(kind), "data": str() | None as data}:
            return kind, data
        case _:
            raise DataError("this picture's record is damaged: its prior has no kind, or no data")


def is_as_recorded(system: System, card: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether the prior ``system`` is the one that a picture's record names, by its density's hash."""
    entry = made["prior"]
    density = system.config["density"]
    if density is None:
        return entry == {"kind": "normal", "sha256": None, "data": None}
    tensors = {name: tensor.cpu().clone().contiguous() for name, tensor in density.state_dict().items()}
    own = {"kind": card["prior"], "sha256": hashlib.sha256(save(tensors)).hexdigest(), "data": card["data"]}
    return bool(entry == own)
