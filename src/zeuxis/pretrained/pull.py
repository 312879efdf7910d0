"""Published models fetched from the hub, when a user asks: safetensors, JSON and text alone, and each file's hash.

Programs and pickles stay where they are. What is fetched goes to ``models/OWNER/NAME`` in the cache, whole or not at
all; an interrupted fetch goes on with the files that had not come whole (and, where the hub's client keeps what it has
of one, within that: those of 2025 and before do). From then on ``OWNER/NAME`` is the model's name, and nothing asks the
hub again.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zeuxis.data import hub_files
from zeuxis.data.cache import pulled_models
from zeuxis.errors import DataError, UsageError, WeightsError
from zeuxis.files import file_hash
from zeuxis.pretrained.parts import INDEX, PICKLES

NAME = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^\s@]+))?")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
PLAIN = (".json", ".txt")
WEIGHTS = ".safetensors"
PROGRAM = ".py"
RECORD = "pulled.json"
NOTES = ".cache"  # the client's own, with the files that it has begun
BEGUN = ".incomplete"  # after their hash; newer clients put a name of the process between, and fetch them anew


@dataclass(frozen=True)
class ModelFile:
    """A file of a repository; ``sha256`` where the hub tells it."""

    path: str
    bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Pulled:
    """What was fetched."""

    folder: Path
    commit: str
    files: int
    bytes: int
    programs: tuple[str, ...] = ()  # of the repository, which were not fetched


def pull(
    name: str,
    *,
    variant: str | None = None,
    file: str | None = None,
    report: Callable[[str, float | None], None] = lambda message, fraction: None,
) -> Pulled:
    """Fetch the repository ``OWNER/NAME`` or ``OWNER/NAME@REVISION``.

    Args:
        variant: of the weights, such as "fp16"; by default those in full, or the only one that there is.
        file: the one file of safetensors to take, of a repository without the hub's layout.

    Raises:
        UsageError: it is not spelled like a repository, is here already, or has several files and none was chosen.
        DataError: the hub cannot be reached, there is no room, or a file is not what the hub says.
        WeightsError: the repository has no safetensors.
    """
    found = NAME.fullmatch(name.strip())
    if found is None:
        raise UsageError(f"'{name}': write OWNER/NAME or OWNER/NAME@REVISION, as the hub spells a repository")
    folder = pulled_models() / found["repo"]
    if folder.exists():
        raise UsageError(f"{found['repo']} is here already, in {folder}: remove that folder to fetch it again")
    commit, there = _look(found["repo"], found["revision"])
    files = chosen(found["repo"], there, variant, file)
    draft = folder.with_name(f".{folder.name}-part")
    draft.mkdir(parents=True, exist_ok=True)
    _keep(draft, {each.path for each in files}, notes=True)  # an interrupted fetch may have been of other files
    _forget_lost(draft, files)
    total, held, free = sum(f.bytes for f in files), _held(draft, files), shutil.disk_usage(draft).free
    if total - held > free:
        here = f", {held / 1e9:.1f} GB of them here already," if held else ""
        raise DataError(
            f"{found['repo']} has {total / 1e9:.1f} GB of files{here} and {draft.parent} has {free / 1e9:.1f} GB free: "
            "set ZEUXIS_CACHE to a folder with more"
        )
    hashes, done = {}, 0
    for each in files:
        report(f"fetching {each.path}", done / max(total, 1))
        hashes[each.path] = _fetch(found["repo"], commit, each, draft)
        done += each.bytes
    _keep(draft, set(hashes))
    facts = {"repository": found["repo"], "commit": commit, "sha256": hashes}
    (draft / RECORD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    draft.rename(folder)
    return Pulled(folder, commit, len(files), total, tuple(f.path for f in there if f.path.endswith(PROGRAM)))


def _keep(draft: Path, paths: Set[str], *, notes: bool = False) -> None:
    """Delete every file of a draft but those at ``paths``, and the client's ``notes`` if they are still of use."""
    for path in sorted(draft.rglob("*"), reverse=True):  # what is in a folder before the folder
        inside = path.relative_to(draft)
        if inside.as_posix() in paths or (notes and inside.parts[0] == NOTES):
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()


def _forget_lost(draft: Path, files: Sequence[ModelFile]) -> None:
    """Delete what a client had begun that was killed, and that none goes on with: it would take its room twice."""
    names = tuple(f"{each.sha256}{BEGUN}" for each in files if each.sha256 is not None)
    for path in (draft / NOTES).rglob(f"*{BEGUN}"):
        if not path.name.endswith(names):
            path.unlink()


def _held(draft: Path, files: Sequence[ModelFile]) -> int:
    """Bytes of ``files`` that a draft holds: whole ones, and the begun ones of which the client says what they are."""
    begun = {path: path.stat().st_size for path in (draft / NOTES).rglob(f"*{BEGUN}")}
    held = 0
    for each in files:
        if (draft / each.path).is_file():
            held += min(each.bytes, (draft / each.path).stat().st_size)
        elif each.sha256 is not None:
            held += min(each.bytes, sum(size for path, size in begun.items() if each.sha256 in path.name))
    return held


def chosen(repo: str, there: Sequence[ModelFile], variant: str | None, file: str | None) -> list[ModelFile]:
    """The files of a repository that a model is made of; raises as :func:`pull`."""
    names = {f.path: f for f in there}
    if file is not None or INDEX not in names:
        return [_single(repo, there, file)]
    wanted = [names[INDEX]]
    for part in PARTS:
        inside = [f for f in there if str(PurePosixPath(f.path).parent) == part]
        weights = [f for f in inside if f.path.endswith(WEIGHTS)]
        if not weights and (pickle := _pickle(inside)):
            raise WeightsError(
                f"{repo} has no safetensors in {part}/, and {pickle}: take a repository with safetensors"
            )
        sets: dict[str | None, list[ModelFile]] = {}
        for each in weights:
            sets.setdefault(_variant(each.path), []).append(each)
        if sets:
            key = variant if variant in sets else None if None in sets else next(iter(sets)) if len(sets) == 1 else ""
            if key == "" or (variant is not None and key != variant):
                known = ", ".join(sorted(name or "in full" for name in sets))
                raise UsageError(f"{repo} has {part}/ as {known}: choose one with --variant")
            wanted += _one_form(sets[key])
        wanted += [f for f in inside if f.path.endswith(PLAIN) and _fits(f.path, variant)]
    return wanted


def _one_form(files: list[ModelFile]) -> list[ModelFile]:
    """The whole file where there is one, not its shards too."""
    whole = [f for f in files if "-of-" not in f.path]
    return whole[:1] if whole else files


def _variant(path: str) -> str | None:
    """``fp16`` of x.fp16.safetensors and x.fp16-00001-of-00002.safetensors; None of the weights in full."""
    parts = PurePosixPath(path).name.removesuffix(WEIGHTS).split(".")
    found = re.sub(r"-\d+-of-\d+$", "", parts[-1]) if len(parts) > 1 else ""
    return found or None


def _fits(path: str, variant: str | None) -> bool:
    """Whether a table is of that variant, or of none."""
    name = PurePosixPath(path).name
    return ".index." not in name or (f".{variant}." in name if variant else name.endswith(f"{WEIGHTS}.index.json"))


def _single(repo: str, there: Sequence[ModelFile], file: str | None) -> ModelFile:
    alone = [f for f in there if f.path.endswith(WEIGHTS) and "/" not in f.path]
    if file is not None:
        match = [f for f in there if f.path == file and file.endswith(WEIGHTS)]
        if not match:
            raise UsageError(
                f"{repo} has no {file} of safetensors; it has {', '.join(f.path for f in alone) or 'none'}"
            )
        return match[0]
    if len(alone) != 1:
        known = ", ".join(f.path for f in alone)
        if not alone:
            why = _pickle(there) or "nothing of it can be read"
            raise WeightsError(f"{repo} has neither {INDEX} nor a file of safetensors: {why}")
        raise UsageError(f"{repo} has several files: choose one with --file ({known})")
    return alone[0]


def _pickle(files: Sequence[ModelFile]) -> str:
    """What is to be said of a pickle among files; "" where there is none."""
    for each in files:
        if each.path.endswith(PICKLES):
            name = PurePosixPath(each.path).name
            return (
                f"{each.path} is a pickle, which could run any program and is not fetched (zeuxis convert {name} reads "
                "one that you have, without running it)"
            )
    return ""


def _look(repo: str, revision: str | None) -> tuple[str, list[ModelFile]]:
    """The commit that ``revision`` means, and the files there that may be taken."""
    try:
        info = hub_files.client().model_info(repo, revision=revision, files_metadata=True)
    except Exception as error:  # those of whichever network library the hub's client was built on
        raise _explained(repo, error) from error
    if info.sha is None:
        raise DataError(f"the hub names no commit of '{repo}': try again later")
    safe = [s for s in info.siblings or [] if ".." not in PurePosixPath(s.rfilename).parts]
    return info.sha, [ModelFile(s.rfilename, s.size or 0, None if s.lfs is None else s.lfs.sha256) for s in safe]


def _fetch(repo: str, commit: str, file: ModelFile, folder: Path) -> str:
    """Fetch one file into ``folder``; its SHA-256."""
    try:
        made = Path(hub_files.client().hf_hub_download(repo, file.path, revision=commit, local_dir=str(folder)))
    except Exception as error:  # as above
        raise _explained(repo, error) from error
    found = file_hash(made)
    if file.sha256 is not None and found != file.sha256:
        made.unlink()
        raise DataError(
            f"{file.path} of {repo} came with the hash {found[:12]}, not {file.sha256[:12]}: fetch it again"
        )
    return found


def _explained(repo: str, error: Exception) -> DataError:
    why = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"cannot fetch '{repo}' from the hub ({type(error).__name__}: {why[:200]}): check its name, your connection "
        "and, for a private or gated one, that you are logged in; the same command goes on, and keeps what came whole"
    )
