"""Published models by folder, file or the name that they were pulled by: built without memory, given their tensors."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zeuxis.catalog.build import build
from zeuxis.catalog.loading import parameters_on_meta
from zeuxis.data.cache import cache_dir, pulled_models
from zeuxis.errors import UsageError, WeightsError, ZeuxisError
from zeuxis.files import file_hash
from zeuxis.nn.controlnet import unet_of
from zeuxis.nn.footprint import weights
from zeuxis.nn.residence import Residence
from zeuxis.pretrained.controlnet_keys import CLASS, LoadedControlNet, load_controlnet
from zeuxis.pretrained.embedding_file import read_embedding, teach
from zeuxis.pretrained.hub_export import layers_of
from zeuxis.pretrained.json_table import read_json
from zeuxis.pretrained.lora import lora_file, merge, places
from zeuxis.pretrained.parts import is_published, open_tensors, weights_of
from zeuxis.pretrained.stable_diffusion import PublishedModel, read_published, with_stage
from zeuxis.provenance.record import write_whole
from zeuxis.spec import DataSpec, Shape
from zeuxis.training.fit import misfit
from zeuxis.training.room import free_memory

if TYPE_CHECKING:
    from torch import Tensor

    from zeuxis.game import System

SYSTEM = "stable-diffusion"
VAE, LORA, EMBEDDING, CONTROL = " | vae:", " | lora:", " | embedding:", " | control:"  # between the parts of a name
OF_OTHERS = re.compile(r"(?P<file>.+\.\w+):(?P<scale>[+-]?\d*\.?\d+)")  # as other programs write a LoRA


@dataclass(frozen=True)
class PublishedName:
    """What a name of a published model says: ``BASE | vae:FILE | lora:FILE*SCALE | embedding:FILE=TOKEN |
    control:FILE``."""

    base: str
    loras: tuple[tuple[Path, float], ...] = ()
    embeddings: tuple[tuple[Path, str | None], ...] = ()
    control: Path | None = None
    vae: Path | None = None


def spelt(
    base: str,
    loras: Sequence[str] = (),
    control: str | None = None,
    embeddings: Sequence[str] = (),
    vae: str | None = None,
) -> str:
    """The name of a model with another first stage, LoRA files merged into it, each perhaps with ``*SCALE`` after it,
    tokens of textual inversion, each perhaps with ``=TOKEN``, and a ControlNet."""
    told = [f"{VAE}{vae}"] * (vae is not None)
    told += [*(f"{LORA}{lora}" for lora in loras), *(f"{EMBEDDING}{embedding}" for embedding in embeddings)]
    return "".join([base, *told, *([f"{CONTROL}{control}"] if control else [])])


def parsed(name: str | Path) -> PublishedName:
    """The inverse of :func:`spelt`; raises :class:`UsageError` for a scale that is no number or two of what there is
    one of."""
    rest, *controls = str(name).split(CONTROL)
    if len(controls) > 1:
        raise UsageError(f"'{name}' has {len(controls)} ControlNets: give one")
    rest, *taught = rest.split(EMBEDDING)
    rest, *texts = rest.split(LORA)
    base, *stages = rest.split(VAE)
    if len(stages) > 1:
        raise UsageError(f"'{name}' has {len(stages)} autoencoders: give one")
    loras = []
    for text in texts:
        if (found := OF_OTHERS.fullmatch(text.strip())) and not Path(text.strip()).exists():
            raise UsageError(f"--lora {text}: how much it counts is written {found['file']}*{found['scale']}")
        file, star, scale = text.strip().rpartition("*")
        try:
            loras.append((Path(file), float(scale)) if star else (Path(scale), 1.0))
        except ValueError:
            raise UsageError(f"--lora {text}: write FILE.safetensors or FILE.safetensors*0.8") from None
        if not math.isfinite(loras[-1][1]):
            raise UsageError(f"--lora {text}: a scale is a number, such as 0.8")
    control = Path(controls[0].strip()) if controls else None
    vae = Path(stages[0].strip()) if stages else None
    return PublishedName(base.strip(), tuple(loras), tuple(map(_embedding, taught)), control, vae)


def _embedding(text: str) -> tuple[Path, str | None]:
    """The file of ``FILE`` or ``FILE=TOKEN``, and the token."""
    file, sign, token = text.strip().rpartition("=")
    if not sign or Path(text.strip()).exists():
        return Path(text.strip()), None
    return Path(file), token


def published_path(name: str | Path) -> Path | None:
    """The folder or file of a published model that ``name`` means, apart from LoRA files; None where it means none.

    ``OWNER/NAME`` is one that was pulled (``zeuxis pull``), if there is no such folder here.
    """
    path = Path(parsed(name).base)
    if is_published(path):
        return path
    if path.exists() or path.is_absolute() or len(path.parts) != 2:
        return None
    here = pulled_models() / path
    single = sorted(here.rglob("*.safetensors"))
    return here if is_published(here) else single[0] if len(single) == 1 else None


def load_published(
    path: Path,
    asked: PublishedName | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
    staged: bool | None = None,
) -> tuple[System, dict[str, Any]]:
    """The system of a published model, in evaluation mode, and its card.

    Its parts are brought to ``device`` in ``dtype``, or with ``staged`` each only while it computes: by default where
    all of them would take more than half of the memory that is free. A first stage is kept in float32 where ``dtype``
    is float16, in which it would overflow.

    Raises as :func:`zeuxis.pretrained.stable_diffusion.read_published`.
    """
    from zeuxis.game import Origin  # noqa: PLC0415  (the catalogue lists without torch)

    found = read_published(path)
    sizes, towers = layers_of(found.arguments)
    asked = asked or PublishedName("")
    added: list[dict[str, Any]] = []
    if asked.vae is not None:
        found, of_stage = with_stage(found, asked.vae)
        added.append({"kind": "vae", "files": _hashes(of_stage)})
    for file, scale in asked.loras:
        merged = merge(lora_file(file), found.tensors, places(sizes, towers), scale)
        added.append({"kind": "lora", "files": _hashes(merged.files), "scale": scale, "layers": merged.layers})
    for file, token in asked.embeddings:
        embedding = read_embedding(file, token)
        text = teach(embedding, found.arguments["text"], found.tensors, f"--embedding {file}")
        found = replace(found, arguments={**found.arguments, "text": text})
        added.append({"kind": "embedding", "files": _hashes([file]), "token": embedding.token})
    spec = DataSpec(Shape(3, found.side, found.side), provides=frozenset({"caption"}))
    with parameters_on_meta({}):
        system = build(SYSTEM, spec, found.arguments)
    put(system, found.tensors, f"the weights in {path}")
    if asked.control is not None:
        files, control = _control(asked.control, system)
        system.branch = control.branch
        added.append({"kind": "control", "files": _hashes(files), "unused": list(control.unused)})
    system.requires_grad_(False).eval()
    residence = Residence(torch.device(device), dtype)
    if staged is None:
        free = free_memory(device)
        staged = free is not None and sum(weights(part, dtype) for part in system.children()) > free // 2
    if staged:
        system.__dict__["residence"] = residence
    else:
        for name, part in system.named_children():
            whole = name == "first_stage" and dtype == torch.float16
            residence.bring(part, torch.float32 if whole else None)
        system.to(device)  # buffers of its own
    card = {**_card(system, found, added), "staged": staged}
    system.origin = Origin(str(path.resolve()), card["sha256"])
    return system, card


def put(system: System, tensors: dict[str, Tensor], what: str) -> None:
    """Make ``tensors`` the parameters of a system without memory, as they are: mapped, in their file's dtype.

    Raises :class:`WeightsError` where names or shapes differ; ``what`` begins the message.
    """
    why = misfit(dict(system.named_parameters()), tensors)
    if why is not None:
        raise WeightsError(f"{what} do not fit '{system.card.id}' as it was built: {why}")
    for prefix, module in system.named_modules():
        for name, parameter in tuple(module._parameters.items()):
            if parameter is not None:
                tensor = tensors[f"{prefix}.{name}" if prefix else name]
                module._parameters[name] = torch.nn.Parameter(tensor, requires_grad=False)


def _control(path: Path, system: System) -> tuple[list[Path], LoadedControlNet]:
    """A published ControlNet (a file, or a folder of the hub's) for the U-Net of ``system``, and its files."""
    files = weights_of(path)
    tensors = {name: tensor for file in files for name, tensor in open_tensors(file).items()}
    beside = files[0].with_name("config.json")
    config = read_json(beside) if beside.is_file() else {}
    if config.get("_class_name") != CLASS:  # another model's
        return files, load_controlnet(tensors, unet_of(system, f"'{system.card.id}'"))
    return [*files, beside], load_controlnet(tensors, unet_of(system, f"'{system.card.id}'"), config=config)


def _hashes(files: Iterable[Path]) -> dict[str, str]:
    return {str(file): hash_of(file) for file in files}


def _card(system: System, found: PublishedModel, added: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a model's card holds, how its files were read, and what was ``added``: LoRA files, tokens, a ControlNet."""
    hashes = _hashes(found.files)
    more = [f"{sha256}*{one['scale']:g}" if "scale" in one else sha256
            for one in added for sha256 in one["files"].values()]  # fmt: skip
    whole = hashlib.sha256("".join([*sorted(hashes.values()), *more]).encode()).hexdigest()
    return {
        "system": SYSTEM,
        "config": system.config,
        "spec": system.spec.as_dict(),
        "version": found.version,
        "sha256": next(iter(hashes.values())) if len(hashes) == 1 and not more else whole,
        "files": hashes,
        "added": list(added),
        "unused": list(found.unused),
        "notes": list(found.notes),
    }


def hash_of(file: Path) -> str:
    """The SHA-256 of a file, which is remembered for as long as its size and its date stay: reading gigabytes takes
    seconds."""
    facts = file.stat()
    known = {"path": str(file.resolve()), "bytes": facts.st_size, "changed": facts.st_mtime_ns}
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    kept = cache_dir() / "hashes" / key
    if kept.is_file() and len(text := kept.read_text(encoding="ascii")) == 64:
        return text
    found = file_hash(file)
    try:
        write_whole(kept, found.encode("ascii"))
    except ZeuxisError:  # a cache that cannot be written to costs time alone
        return found
    return found
