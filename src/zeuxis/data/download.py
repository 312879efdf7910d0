"""Fetching official files: checked, whole or not at all, and going on where a broken attempt ended.

What has come so far lies beside the file as ``NAME.part``, with ``NAME.part.json``: the address, the size, and what the
server calls this version of the file (ETag or date). The next attempt asks for the rest of that version (RFC 9110,
sections 13.1.5 and 14.2); a server that has another one sends it whole.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zeuxis.data.cache import cache_dir, explained, new_file
from zeuxis.data.entries import DatasetEntry
from zeuxis.errors import DataError
from zeuxis.fetching import require_asked
from zeuxis.files import file_hash, read_text
from zeuxis.version import __version__

WAIT = 30  # seconds without an answer before giving up
CHUNK = 1 << 20  # bytes
AGENT = f"zeuxis/{__version__}"  # some servers answer Python's own name with 403
MOST_NOTED = 1 << 16  # bytes of a note of what has come
Report = Callable[[str, float | None], None]  # a message, and the share of the file that has come


@dataclass(frozen=True)
class Checksum:
    """What a file is known by: the kind of hash ("md5", "sha256") and its hexadecimal digits."""

    kind: str
    value: str


@dataclass(frozen=True)
class Begun:
    """What has come so far: of which address, of how many bytes (None: unsaid), of which version ("": unsaid)."""

    url: str
    total: int | None
    version: str


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
            mend = f"set ZEUXIS_DATA to a folder with '{entry.folder}/'"
            download(f"'{entry.name}'", [file.url], folder / file.name, Checksum("md5", file.md5), mend=mend)
        elif (found := file_hash(folder / file.name, "md5")) != file.md5:  # it may have been put there by hand
            raise DataError(
                f"'{folder / file.name}' has MD5 {found}, not the published {file.md5}: delete it to fetch it again"
            )
    return folder


def download(
    what: str,
    urls: Sequence[str],
    final: Path,
    checksum: Checksum | None,
    *,
    mend: str,
    report: Report = lambda message, share: None,
) -> None:
    """Fetch one file of ``what`` to ``final``, from the first of ``urls`` that answers.

    ``mend`` is what a person can do instead. Where nobody made a ``checksum`` known, the size that the server says is
    what is checked.

    Raises:
        DataError: no connection, a broken one (the same command goes on), or a file that is not the published one.
        Unasked: nobody named ``what``.
    """
    require_asked(what)
    part = final.with_name(f"{final.name}.part")
    with explained(final):
        final.parent.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []
    for url in urls:
        held = _size(part)
        try:
            _take(url, part, report)
            break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error or type(error).__name__}")
        if _size(part) > held or url == urls[-1]:  # a mirror would begin anew: first what has come is gone on with
            kept = f" ({_size(part) / 1e6:.1f} MB have come, and are kept)" if _size(part) else ""
            raise DataError(
                f"cannot download {what} from {'; nor from '.join(reasons)}{kept}: the same command goes on where it "
                f"stopped; or put the file into '{final.parent}' yourself, or {mend}"
            )
    report(f"checking {final.name}", None)
    if checksum is not None and (found := file_hash(part, checksum.kind)) != checksum.value:
        _forget(part)
        raise DataError(
            f"{url} gave a file with {checksum.kind.upper()} {found}, not the published {checksum.value}: it is "
            "damaged or replaced; try again, and if it stays so report it"
        )
    with explained(final):
        part.replace(final)
    _forget(part)


def _take(url: str, part: Path, report: Report) -> None:
    """Add to ``part`` what it lacks of the file at ``url``."""
    begun = _begun(part)
    held = part.stat().st_size if begun is not None and begun.url == url and begun.version else 0
    if begun is not None and held and held == begun.total:
        return
    asked = urllib.request.Request(url, headers={"User-Agent": AGENT})
    if begun is not None and held:
        asked.add_header("Range", f"bytes={held}-")
        asked.add_header("If-Range", begun.version)
    with _answered(asked) as answer:
        if answer is None or _is_elsewhere(answer, held):  # what is held is of no use: the whole, from its beginning
            _forget(part)
            return _take(url, part, report)
        if answer.status != http.client.PARTIAL_CONTENT:  # the whole: nothing was held, or of another version
            held = 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else held + int(length)
        if not held:
            version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            part.unlink(missing_ok=True)
            with new_file(_note(part)) as made:
                made.write_text(json.dumps(asdict(Begun(url, total, version))), encoding="utf-8")
        _append(answer, part, held, total, report)
    if total is not None and (came := part.stat().st_size) != total:
        raise ConnectionError(f"the connection ended after {came:,} of {total:,} bytes")


@contextmanager
def _answered(asked: urllib.request.Request) -> Iterator[Any]:
    """What the server sends; None where it has none of the part that is asked for, as where all has come."""
    try:
        answer = urllib.request.urlopen(asked, timeout=WAIT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not asked.has_header("Range"):
            raise
        error.close()
        yield None
        return
    with answer:
        yield answer


def _is_elsewhere(answer: Any, held: int) -> bool:
    """Whether a part was sent that does not go on where what is held ends."""
    begins = f"bytes {held}-"
    is_part = answer.status == http.client.PARTIAL_CONTENT
    return is_part and not str(answer.headers.get("Content-Range", begins)).startswith(begins)


def _append(answer: Any, part: Path, held: int, total: int | None, report: Report) -> None:
    """What comes, at the end of ``part``, as it comes."""
    name = part.name.removesuffix(".part")
    while chunk := answer.read(CHUNK):
        with explained(part), part.open("ab") as out:
            out.write(chunk)
        held += len(chunk)
        of = "" if total is None else f" of {total / 1e6:,.0f}"
        report(f"fetching {name}: {held / 1e6:,.0f}{of} MB", None if not total else min(1.0, held / total))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _begun(part: Path) -> Begun | None:
    """What is noted of ``part``; None where there is nothing to go on from."""
    if not part.is_file() or not _note(part).is_file():
        return None
    try:
        return Begun(**json.loads(read_text(_note(part), MOST_NOTED)))
    except (ValueError, TypeError):  # it was torn: the file is fetched from its beginning
        return None


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
