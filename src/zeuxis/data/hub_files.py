"""The hub's side of a dataset: which commit is meant, which files hold the rows, and fetching them.

Only Parquet files are ever taken: those of the repository, or where it has none those that the hub itself made of
it (the branch ``refs/convert/parquet``). A repository's programs are neither fetched nor run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from zeuxis.data.cache import cache_dir
from zeuxis.data.hub_name import HubName
from zeuxis.data.table_files import TableFile, of_config
from zeuxis.errors import DataError
from zeuxis.fetching import require_asked

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CONVERTED = "refs/convert/parquet"


def client() -> HfApi:
    """The hub's own client, imported only when it is asked: that takes a fifth of a second."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    return HfApi()


def settled(name: HubName) -> HubName:
    """``name`` at the commit that its revision means now.

    Raises:
        DataError: no such dataset or revision, no right to it, no connection, or nothing there that is read.
    """
    if name.pinned:
        return name
    commit, files = _look(name.repo, name.revision)
    if not files and name.revision is None:
        commit, files = _look(name.repo, CONVERTED)
    if not files:
        raise DataError(
            f"'{name}' holds no Parquet files, which are all that is read of the hub: leave out the revision to use "
            f"what the hub made of it, or put its pictures into a folder"
        )
    return replace(name, revision=commit)


def files_of(name: HubName) -> list[TableFile]:
    """The files of the config that is meant, at the commit of ``name``, by path."""
    return of_config(name, _look(name.repo, name.revision)[1])


def fetched(name: HubName, files: Sequence[TableFile]) -> list[Path]:
    """``files`` on this machine, downloaded where they are not."""
    require_asked(f"'{name}'")
    home = cache_dir() / "hub"
    home.mkdir(parents=True, exist_ok=True)
    needed, free = sum(file.bytes for file in files), shutil.disk_usage(home).free
    if needed > free:
        raise DataError(
            f"'{name}' has {needed / 1e6:,.0f} MB of files and '{home}' has {free / 1e6:,.0f} MB free: set "
            "ZEUXIS_CACHE to a folder with more, or take a smaller split (hub:OWNER/NAME:SPLIT)"
        )
    try:
        hub = client()
        return [
            Path(
                hub.hf_hub_download(name.repo, f.path, repo_type="dataset", revision=name.revision, cache_dir=str(home))
            )
            for f in files
        ]
    except Exception as error:  # those of whichever network library the hub's client was built on
        raise _explained(str(name), error) from error


def _look(repo: str, revision: str | None) -> tuple[str, list[TableFile]]:
    """The commit that ``revision`` means, and its Parquet files."""
    require_asked(f"'hub:{repo}'")
    try:
        info = client().dataset_info(repo, revision=revision, files_metadata=True)
    except Exception as error:  # as above
        raise _explained(f"hub:{repo}{f'@{revision}' if revision else ''}", error) from error
    if info.sha is None:
        raise DataError(f"the hub names no commit of '{repo}': try again later")
    siblings = info.siblings or []
    files = [
        TableFile(s.rfilename, s.size or 0)
        for s in siblings
        if s.rfilename.endswith(".parquet")
        and ".." not in PurePosixPath(s.rfilename).parts  # it names a local file too
    ]
    return info.sha, files


def _explained(what: str, error: Exception) -> DataError:
    why = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"cannot read '{what}' from the hub ({type(error).__name__}: {why[:200]}): check its name, your connection "
        "and, for a private or gated one, that you are logged in; with the commit that a run recorded "
        "(hub:OWNER/NAME@COMMIT) a dataset that was prepared before needs no connection"
    )
