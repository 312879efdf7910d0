"""What files hold, as hashes of their bytes; hashed again only where a file may have changed.

A file counts as unchanged while its place, its inode, its size and the times of its last change (``mtime`` and
``ctime``, which no program can set) are as they were when it was hashed. Where a change could have come within the
same tick of the clock, the hashes are not kept, as in Git's index. (On Windows ``ctime`` is the time of creation, so a
file of the same size that is rewritten with its date set back is not noticed there.)
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zeuxis.data.cache import cache_dir, new_file
from zeuxis.errors import DataError
from zeuxis.files import file_hash

TICK = 2.0  # seconds: the coarsest clock of a file system in use
READERS = 4  # files at a time
HASH = re.compile("[0-9a-f]{64}")


class Contents:
    """The bytes of ``files``, as they lie under ``home`` at this moment."""

    def __init__(self, home: Path, files: Sequence[Path]) -> None:
        self.home, self.files = home, list(dict.fromkeys(files))
        self.seen = time.time()
        self.newest, self.state = self._look()

    def _look(self) -> tuple[float, str]:
        """When the newest change was, and a hash of all by which a change is noticed."""
        digest, newest = hashlib.sha256(ascii(str(self.home)).encode()), 0.0
        for file in self.files:
            try:
                s = file.stat()
            except OSError as error:
                raise self._unreadable(file, error) from error
            digest.update(ascii((str(file), s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)).encode())
            newest = max(newest, s.st_mtime, s.st_ctime)
        return newest, digest.hexdigest()

    def digest(self) -> str:
        """SHA-256 of the files' bytes, in order: the same for the same bytes, wherever they lie."""
        kept = cache_dir() / "contents" / self.state[:32]
        if kept.is_file() and HASH.fullmatch(known := kept.read_text(encoding="ascii", errors="replace")):
            return known
        with ThreadPoolExecutor(READERS) as pool:
            found = hashlib.sha256("".join(pool.map(self._hash, self.files)).encode()).hexdigest()
        self.require_unchanged()
        if self.newest < self.seen - TICK:
            with new_file(kept) as made:
                made.write_text(found, encoding="ascii")
        return found

    def _hash(self, file: Path) -> str:
        try:
            return file_hash(file)
        except OSError as error:
            raise self._unreadable(file, error) from error

    def _unreadable(self, file: Path, error: OSError) -> DataError:
        return DataError(f"'{file}' cannot be read ({error.strerror}): mend that, or remove it, and start again")

    def require_unchanged(self) -> None:
        """Raise :class:`DataError` where a file was changed since this was made."""
        if self._look()[1] != self.state:
            raise DataError(f"files in '{self.home}' were changed while they were read: start again when all is copied")
