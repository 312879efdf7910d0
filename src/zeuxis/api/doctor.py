"""Whether this machine is fit for work: every finding, and the mend of every problem."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from zeuxis.catalog.weights import shipped
from zeuxis.data.cache import cache_dir, data_dir
from zeuxis.data.datasets import find_local
from zeuxis.data.entries import ENTRIES
from zeuxis.errors import ZeuxisError
from zeuxis.training.checkpoint import read_folder
from zeuxis.training.precision import chosen
from zeuxis.training.processor import processor
from zeuxis.training.threads import VARIABLE
from zeuxis.training.threads import chosen as chosen_threads

LEAST_DISK, LEAST_MEMORY = 2, 4  # GiB
EXTRAS = {
    "metrics": "torchmetrics",
    "data": "pyarrow",
    "track": "tensorboard",
    "wandb": "wandb",
    "provenance": "c2pa-python",
    "peers": "diffusers",
}  # and a package that tells


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at. A finding with a ``mend`` is a problem."""

    what: str
    found: str
    mend: str | None = None


def examine() -> list[Diagnosis]:
    """Look at everything; changes nothing but a temporary file made and removed."""
    return [finding for look in LOOKS for finding in look()]


def _programs() -> Iterator[Diagnosis]:
    yield Diagnosis("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield Diagnosis("torch", torch.__version__)


def _processor() -> Iterator[Diagnosis]:
    cores = processor().cores
    told = " ".join(processor().instructions)
    yield Diagnosis("processor", f"{processor().name}: {told or 'it does not tell its instruction sets'}")
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        auto = chosen(device)
        yield Diagnosis(f"precision on {device}", f"auto is {auto.precision}: {auto.why}")
    threads = chosen_threads()
    mend = f"unset {VARIABLE}, or set it to {cores}" if threads.number > cores else None
    yield Diagnosis("threads", f"{threads.number} of {cores} cores: {threads.why}", mend)
    waiting = os.environ.get("OMP_WAIT_POLICY", "not said")
    yield Diagnosis("waiting threads", f"OMP_WAIT_POLICY is {waiting}; the command has them sleep unless it is set")
    names = ["cpu"]
    names += [f"cuda:{k} ({torch.cuda.get_device_name(k)})" for k in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    yield Diagnosis("devices", ", ".join(names))


def _room() -> Iterator[Diagnosis]:
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # POSIX
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        mend = f"below {LEAST_MEMORY} GiB use smaller batches: --batch 16" if memory < LEAST_MEMORY else None
        yield Diagnosis("memory", f"{memory:.1f} GiB", mend)
    for what, place in (("disk here", Path.cwd()), ("disk of the cache", _existing(cache_dir()))):
        free = shutil.disk_usage(place).free / 2**30
        mend = f"a run may need {LEAST_DISK} GiB: free some, or work elsewhere (--out, ZEUXIS_CACHE)"
        yield Diagnosis(what, f"{free:.1f} GiB free ({place})", mend if free < LEAST_DISK else None)


def _writable() -> Iterator[Diagnosis]:
    for what, place in (("writing here", Path.cwd()), ("writing to the cache", _existing(cache_dir()))):
        try:
            with tempfile.TemporaryFile(dir=place):
                yield Diagnosis(what, f"allowed ({place})")
        except OSError as error:
            yield Diagnosis(
                what, f"{error.strerror} ({place})", "change its permissions, or set --out and ZEUXIS_CACHE"
            )


def _existing(path: Path) -> Path:
    """The nearest folder above ``path`` that is there."""
    return next(p for p in (path, *path.parents) if p.is_dir())


def _datasets() -> Iterator[Diagnosis]:
    root = data_dir()
    if root is not None and not root.is_dir():
        yield Diagnosis("ZEUXIS_DATA", f"{root} is no folder", "set it to the folder of datasets, or unset it")
        return
    yield Diagnosis("ZEUXIS_DATA", str(root) if root else "not set")
    for entry in ENTRIES.values():
        try:
            local = find_local(entry) if entry.folder else None
        except ZeuxisError as error:
            yield Diagnosis(f"data {entry.name}", "incomplete", str(error))
            continue
        embedded = "needs no files" if not entry.folder else None
        absent = "fetched when first used" if entry.remote else "not here; zeuxis data tells where it is from"
        yield Diagnosis(f"data {entry.name}", embedded or (str(local) if local else absent))


def _weights() -> Iterator[Diagnosis]:
    for name, folder in shipped().items():
        try:
            read_folder(folder, "model")
            yield Diagnosis(f"weights {name}", "whole")
        except ZeuxisError as error:
            yield Diagnosis(f"weights {name}", "damaged", f"install Zeuxis again ({error})")


def _extras() -> Iterator[Diagnosis]:
    for extra, package in EXTRAS.items():
        try:
            yield Diagnosis(f"extra {extra}", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Diagnosis(f"extra {extra}", f"not installed; pip install {package} adds it")


LOOKS: tuple[Callable[[], Iterator[Diagnosis]], ...] = (
    _programs,
    _processor,
    _room,
    _writable,
    _datasets,
    _weights,
    _extras,
)
