"""Fetching official files: checked, and whole or not at all."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from zeuxis.data.cache import cache_dir, new_file
from zeuxis.data.entries import DatasetEntry, RemoteFile
from zeuxis.errors import DataError
from zeuxis.fetching import require_asked
from zeuxis.files import file_hash

WAIT = 30  # seconds without an answer before giving up


def fetch(entry: DatasetEntry) -> Path:
    """The folder in the cache that holds every official file of ``entry``, downloaded where missing, and checked.

    Raises:
        DataError: no official address, no connection, or a file whose checksum is not the published one.
    """
    if not entry.remote:
        raise DataError(
            f"'{entry.name}' has no official download: get it from {entry.homepage} and set ZEUXIS_DATA to the "
            f"folder that holds '{entry.folder}/' with {', '.join(f.name for f in entry.local)}"
        )
    folder = cache_dir() / "downloads" / entry.name
    for file in entry.remote:
        if not (folder / file.name).is_file():
            _download(entry, file, folder / file.name)
        elif (found := file_hash(folder / file.name, "md5")) != file.md5:  # it may have been put there by hand
            raise DataError(
                f"'{folder / file.name}' has MD5 {found}, not the published {file.md5}: delete it to fetch it again"
            )
    return folder


def _download(entry: DatasetEntry, file: RemoteFile, final: Path) -> None:
    require_asked(f"'{entry.name}'")
    with new_file(final) as made:
        try:
            with urllib.request.urlopen(file.url, timeout=WAIT) as answer, made.open("wb") as out:
                shutil.copyfileobj(answer, out)
        except urllib.error.URLError as error:
            raise DataError(
                f"cannot download '{entry.name}' from {file.url}: {error.reason}; try again later, "
                f"put the file into '{final.parent}' yourself, or set ZEUXIS_DATA to a folder with '{entry.folder}/'"
            ) from error
        found = file_hash(made, "md5")
        if found != file.md5:
            raise DataError(
                f"{file.url} gave a file with MD5 {found}, not the published {file.md5}: it is damaged or replaced; "
                "try again, and if it stays so report it"
            )
