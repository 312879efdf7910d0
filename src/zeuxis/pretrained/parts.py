"""The parts of a published Stable Diffusion, from a folder in the hub's layout or from one file; nothing is run.

A **folder** has ``model_index.json`` and, each in a folder of its own, ``unet``, ``vae``, ``text_encoder``,
``tokenizer`` and ``scheduler`` (XL also ``text_encoder_2``, ``tokenizer_2``): safetensors, in shards or not, in full
precision or in a variant of a name of its own (``*.fp16.safetensors``). Programs in it are never imported, and names
that its files mention are never opened but as files right inside their folder.

**One file** of safetensors has all of them under the names of CompVis' programs: ``model.diffusion_model.``,
``first_stage_model.`` and ``cond_stage_model.`` (1.x, 2.x) or ``conditioner.embedders.`` (XL).

Tensors stay in their files, mapped, until they are touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.escaping import word
from zeuxis.files import require_regular, why_no_tensors
from zeuxis.pretrained.json_table import read_json
from zeuxis.pretrained.kind import unwrapped

INDEX = "model_index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
AUTO_MAP = b'"auto_map"'  # the key under which a table names programs
AUTOENCODER = "AutoencoderKL"  # the class that a table of a first stage names
STEMS = ("diffusion_pytorch_model", "model")  # of the weights of a part
# Of a file of textual inversion (zeuxis.pretrained.embedding_file): the vectors of a token, for one tower and for XL's.
INVERSION, OF_TOWERS = "emb_params", ("clip_l", "clip_g")
# Of one file: what lies under which prefix, and what of it has no place in a model that draws.
UNET, STAGE = "model.diffusion_model.", "first_stage_model."
SCALE, CHAIN = "scale_factor", "alphas_cumprod"  # what latents are multiplied by; alpha-bar of every step
TOWERS = (  # prefixes of one tower's tensors in a CLIP, and whether it is XL's
    ("cond_stage_model.transformer.", False),
    ("cond_stage_model.model.", False),
    ("conditioner.embedders.0.transformer.", True),
    ("conditioner.embedders.1.model.", True),
)
IDLE = (  # the chain's constants, copies of the weights, and what only training needs
    "betas",
    "alphas_cumprod",
    "sqrt_",
    "log_one_minus_alphas_cumprod",
    "posterior_",
    "logvar",
    "denoiser.",
    "model_ema.",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "loss.",
)
REFINER = "conditioner.embedders.0.model."


@dataclass(frozen=True)
class PublishedPart:
    """The tensors of one part under its program's names, and its ``config.json`` (empty where there is none)."""

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class PublishedParts:
    """A published model, taken apart. ``unused`` are the tensors of its files that belong to no part."""

    where: Path
    unet: PublishedPart
    stage: PublishedPart
    towers: tuple[PublishedPart, ...]
    tokenisers: tuple[Path, ...]  # folders, one for each tower; none of a single file
    scheduler: Mapping[str, Any] | None
    index: Mapping[str, Any]
    files: tuple[Path, ...]  # that hold the weights
    programs: tuple[str, ...] = ()  # that lie in the folder, or that its tables name; never run
    unused: tuple[str, ...] = ()
    chain: Tensor | None = None  # alpha-bar (T,) of every step, of a single file that has it


def is_published(path: Path) -> bool:
    """Whether ``path`` is a folder in the hub's layout, or a single file of weights."""
    return (path / INDEX).is_file() or (path.is_file() and path.suffix == ".safetensors")


def holds_unet(file: Path) -> bool:
    """Whether a file of safetensors, or a folder in the hub's layout, has a U-Net under a whole model's name of it."""
    if file.is_dir():
        return (file / "unet").is_dir()
    try:
        require_regular(file)
        with safe_open(file, "pt") as found:
            return any(UNET in key for key in found.keys())  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError):
        return False


def require_settings(config: Mapping[str, Any], fixed: Mapping[str, Any], what: str) -> None:
    """Refuse what ``config``, the table of the part called ``what``, says otherwise than the one value known here."""
    for key, value in fixed.items():
        if key in config and config[key] != value:
            raise WeightsError(f"its {what} has {key} = {config[key]!r}, which is not known here: {value!r} is")


def read_parts(path: Path) -> PublishedParts:
    """The parts of a folder or of a file; raises :class:`WeightsError` where some are missing or in another form."""
    return _of_folder(path) if path.is_dir() else _of_file(path)


def read_stage(path: Path) -> tuple[PublishedPart, tuple[Path, ...]]:
    """The first stage that is by itself in a folder of the hub's layout (``vae/``) or in a file, or that is a whole
    model's; and its files.

    Raises :class:`WeightsError` where there is none.
    """
    if (path / INDEX).is_file():
        path = path / "vae"
    files = tuple(weights_of(path))
    whole = {key: tensor for file in files for key, tensor in open_tensors(file).items()}
    place, inside = unwrapped(whole)
    tensors = {key.removeprefix(place): whole[key] for key in inside}
    if any(key.startswith(STAGE) for key in tensors):
        tensors = {key.removeprefix(STAGE): t for key, t in tensors.items() if key.startswith(STAGE)}
    tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(IDLE)}
    beside = files[0].with_name("config.json")
    config = read_json(beside) if beside.is_file() else {}
    return PublishedPart(tensors, config if config.get("_class_name") == AUTOENCODER else {}), files


# -- a folder -----------------------------------------------------------------------------------------


def _of_folder(folder: Path) -> PublishedParts:
    index = read_json(folder / INDEX)
    files: list[Path] = []
    for name in ("unet", "vae", "text_encoder"):
        if not (folder / name).is_dir():
            kind = index.get("_class_name", "of no kind that it names")
            raise WeightsError(
                f"{folder} has no {name}/: it is a {kind}, and known here is Stable Diffusion 1.x, 2.x, XL"
            )
    names = [name for name in ("text_encoder", "text_encoder_2") if (folder / name).is_dir()]
    tokenisers = []
    for name in names:
        place = folder / name.replace("text_encoder", "tokenizer")
        if not place.is_dir():
            raise WeightsError(f"{folder} has {name}/ and no {place.name}/: put the tokeniser's files there")
        tokenisers.append(place)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    return PublishedParts(
        where=folder,
        unet=_part(folder / "unet", files),
        stage=_part(folder / "vae", files),
        towers=tuple(_part(folder / name, files) for name in names),
        tokenisers=tuple(tokenisers),
        scheduler=read_json(scheduler) if scheduler.is_file() else None,
        index=index,
        files=tuple(files),
        programs=programs_in(folder),
    )


def _part(folder: Path, files: list[Path]) -> PublishedPart:
    config = folder / "config.json"
    tensors: dict[str, Tensor] = {}
    for file in weights_of(folder):
        files.append(file)
        found = open_tensors(file)
        if twice := sorted(tensors.keys() & found.keys()):
            raise WeightsError(f"{folder} holds {twice[0]} twice: leave one set of shards there")
        tensors |= found
    return PublishedPart(tensors, read_json(config) if config.is_file() else {})


def programs_in(folder: Path) -> tuple[str, ...]:
    """The programs of a published folder and of its parts: files of Python, and tables that name some (``auto_map``).

    They are never imported; this is to say so.
    """
    files = [path for pattern in ("*.py", "*/*.py") for path in folder.glob(pattern)]
    tables = [path for pattern in ("*config.json", "*/*config.json") for path in folder.glob(pattern)]
    tables = [path for path in tables if AUTO_MAP in path.read_bytes()]
    return tuple(str(path.relative_to(folder)) for path in (*sorted(files), *sorted(tables)))


def weights_of(folder: Path) -> list[Path]:
    """The files of a part's weights: in full where they are, otherwise the one variant that there is; a file itself.

    Raises :class:`WeightsError` where there are none, several variants, or pickles.
    """
    if folder.is_file():
        if folder.suffix != ".safetensors":
            raise WeightsError(_no_safetensors(folder))
        return [folder]
    if not folder.is_dir():
        raise WeightsError(f"there is no {folder}: give a file of safetensors, or a folder of the hub's layout")
    for stem in STEMS:
        if (whole := folder / f"{stem}.safetensors").is_file():
            return [whole]
        if (shards := folder / f"{stem}.safetensors.index.json").is_file():
            return _shards(shards)
    variants = {f.name.split(".")[-2]: [f] for f in folder.glob("*.*.safetensors") if "-of-" not in f.name}
    for table in folder.glob("*.safetensors.index.*.json"):
        variants[table.name.split(".")[-2]] = _shards(table)
    if len(variants) == 1:
        return next(iter(variants.values()))
    if variants:
        raise WeightsError(f"{folder} holds several variants ({', '.join(sorted(variants))}): leave one there")
    pickles = sorted(f for f in folder.iterdir() if f.suffix in PICKLES)
    if pickles:
        raise WeightsError(
            f"{folder} holds {pickles[0].name}, a pickle, which could run any program: "
            f"zeuxis convert {pickles[0]} makes safetensors of it; name that {STEMS[0]}.safetensors (of a text encoder "
            f"{STEMS[1]}.safetensors)"
        )
    raise WeightsError(f"{folder} holds no weights: {STEMS[0]}.safetensors or {STEMS[1]}.safetensors is wanted there")


def _shards(table: Path) -> list[Path]:
    """The files that an index names, all of them plain names in its folder."""
    names = read_json(table).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise WeightsError(f"{table} is damaged: it has no weight_map")
    files = []
    for name in sorted(set(map(str, names.values()))):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise WeightsError(f"{table} names '{name}', which is no file of safetensors in its own folder")
        if not (table.parent / name).is_file():
            raise WeightsError(f"{table.parent} lacks {name}, one of the shards of {table.name}: fetch it again")
        files.append(table.parent / name)
    return files


# -- one file -----------------------------------------------------------------------------------------


def _of_file(file: Path) -> PublishedParts:
    if file.suffix != ".safetensors":
        raise WeightsError(_no_safetensors(file))
    every = open_tensors(file)
    place, inside = unwrapped(every)  # of a converted checkpoint
    tensors = {key.removeprefix(place): every[key] for key in inside}
    if any(key.startswith(REFINER) for key in tensors):
        raise WeightsError(f"{file} is the refiner of XL, which is not known here: give the base")
    prefixes = [prefix for prefix, _ in TOWERS if any(key.startswith(prefix) for key in tensors)]
    if not any(key.startswith(UNET) for key in tensors) and any("lora_" in key for key in tensors):
        raise WeightsError(
            f"{file} is a LoRA, and no whole model: give the base that it is for, with --lora {word(file)}"
        )
    if tensors and tensors.keys() <= {INVERSION, *OF_TOWERS}:
        raise WeightsError(
            f"{file} is a token of textual inversion: give the model that it is for, with --embedding {word(file)}"
        )
    for prefix, what in ((UNET, "a U-Net"), (STAGE, "a first stage")):
        if not any(key.startswith(prefix) for key in tensors):
            raise WeightsError(
                f"{file} holds no {what[2:]} under {prefix}*: it is no whole Stable Diffusion (zeuxis convert tells "
                "what kinds of part are known)"
            )
    if not prefixes:
        raise WeightsError(f"{file} holds no text tower ({', '.join(prefix + '*' for prefix, _ in TOWERS)})")
    idle = {key for key in tensors if key.startswith(IDLE)}
    places = (UNET, STAGE, *prefixes)
    unused = sorted(key for key in tensors if key in idle or not (key.startswith(places) or key == SCALE))
    unused += sorted(every.keys() - set(inside))

    def part(prefix: str, **told: Any) -> PublishedPart:
        mine = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix) and k not in idle}
        return PublishedPart(mine, told)

    # CompVis' programs keep it where they measured it of the first batch, and the published models have none.
    own = tensors.get(SCALE)
    scale = {} if own is None or own.numel() != 1 else {"scaling_factor": float(own)}

    return PublishedParts(
        where=file,
        unet=part(UNET),
        stage=part(STAGE, **scale),
        towers=tuple(part(prefix) for prefix in prefixes),
        tokenisers=(),
        scheduler=None,
        index={},
        files=(file,),
        unused=tuple(unused),
        chain=tensors.get(CHAIN),
    )


# -- files --------------------------------------------------------------------------------------------


def _no_safetensors(file: Path) -> str:
    return f"{file} is no safetensors: zeuxis convert {word(file)} makes a file of them, without running it"


def open_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped; raises :class:`WeightsError` where it cannot be read."""
    try:
        require_regular(file)
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {why_no_tensors(file, error)}") from None
