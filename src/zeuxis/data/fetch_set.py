"""Making a copy of a published set: its archives fetched, checked, unpacked, and the folder there whole or not at all.

An archive that a person has already, in ``$ZEUXIS_DATA`` or the working folder, is taken instead of being fetched. From
archives come regular files alone, to places that are formed here: what a name in an archive says leads nowhere else.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from zeuxis.data.cache import data_dir, explained, new_folder
from zeuxis.data.download import Checksum, Report, download
from zeuxis.data.picture import SUFFIXES
from zeuxis.data.published import Archive, PublishedSet, copy_of, fetched_to
from zeuxis.errors import DataError
from zeuxis.files import file_hash, why_no_name

Member = tuple[str, int, Callable[[], IO[bytes] | None]]  # name, bytes, and how it is opened

MOST_FILES = 1_000_000
MOST_BYTES = 64 << 30  # of a set, unpacked
BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError)  # the last of encrypted ones
RECEIPT = "fetched.json"  # in the folder: what it was made of


def fetch_set(entry: PublishedSet, report: Report = lambda message, share: None) -> Path:
    """The copy of ``entry`` on this machine, fetched where there is none.

    Raises:
        DataError: no connection, archives that are not the published ones or hold something else, no room.
    """
    if (found := copy_of(entry)) is not None:
        return found
    final = fetched_to(entry)
    if final.is_dir():
        raise DataError(f"'{final}' lacks what '{entry.name}' holds ({', '.join(entry.holds)}): delete it, fetch again")
    archives = [_archive(entry, archive, report) for archive in entry.archives]
    with new_folder(final) as made:
        for path in archives:
            report(f"unpacking {path.name}", None)
            _unpack(entry, path, made)
        if lacks := [part for part in entry.holds if not (made / part).is_dir()]:
            raise DataError(
                f"{' and '.join(path.name for path in archives)} hold no {lacks[0]}/, which '{entry.name}' does: the "
                f"set may have changed; unpack it yourself into $ZEUXIS_DATA/{entry.name}"
            )
        hashes = {path.name: file_hash(path) for path in archives}
        facts = {"set": entry.name, "licence": entry.licence, "homepage": entry.homepage, "sha256": hashes}
        (made / RECEIPT).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    for path in archives:
        if path.parent == _downloads(entry):
            path.unlink(missing_ok=True)
    return final


def _downloads(entry: PublishedSet) -> Path:
    return fetched_to(entry).parent / f"{entry.name}-archives"


def _archive(entry: PublishedSet, archive: Archive, report: Report) -> Path:
    """The archive on this machine, checked."""
    root = data_dir()
    for path in [*([] if root is None else [root / archive.name]), Path(archive.name)]:
        if path.is_file():
            if archive.sha256 is not None and (found := file_hash(path)) != archive.sha256:
                raise DataError(
                    f"'{path}' has SHA-256 {found}, not the published {archive.sha256}: move it away to fetch another"
                )
            return path
    path = _downloads(entry) / archive.name
    if not path.is_file():
        checksum = None if archive.sha256 is None else Checksum("sha256", archive.sha256)
        mend = f"put {archive.name} into the working folder, and it is taken from there"
        download(f"'{entry.name}'", archive.urls, path, checksum, mend=mend, report=report)
    return path


def _unpack(entry: PublishedSet, archive: Path, folder: Path) -> None:
    """The members that are used, each at its place below ``folder``."""
    try:
        with _opened(archive) as members:
            count = size = 0
            for name, length, open_member in members:
                place = _place(entry, name)
                if place is None:
                    continue
                count, size = count + 1, size + length
                if count > MOST_FILES or size > MOST_BYTES:
                    raise DataError(f"'{archive}' holds more than {MOST_FILES:,} files or {MOST_BYTES >> 30} GiB")
                final = folder.joinpath(*place.parts)
                with explained(final):
                    final.parent.mkdir(parents=True, exist_ok=True)
                    source = open_member()
                    assert source is not None  # it is a regular file
                    with source, final.open("xb") as out:
                        shutil.copyfileobj(source, out)
    except BROKEN as error:
        raise DataError(f"'{archive}' cannot be unpacked ({error}): delete it, and fetch it again") from error


def _place(entry: PublishedSet, name: str) -> PurePosixPath | None:
    """Where a member of that name goes, below the folder of the set; None for one that is not used."""
    if entry.take:
        for pattern, form in entry.take:
            if (match := re.fullmatch(pattern, name)) is not None:
                place = PurePosixPath(form.format(*match.groups()))
                break
        else:
            return None
    else:
        parts = PurePosixPath(name).parts
        place = PurePosixPath(*parts[1:])  # below the folder that all share
    if place.suffix.lower() not in SUFFIXES or any(part == ".." or why_no_name(part) for part in place.parts):
        return None
    return None if place.is_absolute() or not place.parts else place


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    """The regular files of a zip or tar file."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            yield ((i.filename, i.file_size, partial(packed.open, i)) for i in packed.infolist() if not i.is_dir())
    else:
        with tarfile.open(archive) as stream:
            yield ((i.name, i.size, partial(stream.extractfile, i)) for i in stream if i.isfile())
