"""The program of the process in which a checkpoint is read."""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

from .bounds import MAX_SECONDS, Refused
from .files import read_pickles, read_zip
from .tree import Tree
from .writing import write_tensors

WATCHED = "watched"


def limit(size: int) -> None:
    """Bounds that hold even against a mistake in this file; systems without them rely on the parent's clock."""
    with suppress(ImportError):
        import resource  # noqa: PLC0415  (POSIX only)

        bounds = {
            resource.RLIMIT_AS: 2 * size + (1 << 30),
            resource.RLIMIT_CPU: MAX_SECONDS,
            resource.RLIMIT_FSIZE: 4 * size + (192 << 20),
            resource.RLIMIT_CORE: 0,
        }
        for kind, bound in bounds.items():
            with suppress(ValueError, OSError):  # some systems do not let themselves be limited so
                resource.setrlimit(kind, (bound, bound))


def to_safetensors(source: Path, weights: Path, facts: Path) -> None:
    """Read ``source``; write its tensors and its facts."""
    size = source.stat().st_size
    if size == 0:
        raise Refused("it is empty")
    limit(size)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            value, places = read_zip(data) if data[:4] == b"PK\3\4" else read_pickles(data)
            tree = Tree(value)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError, OverflowError,
                zipfile.BadZipFile, struct.error, NotImplementedError) as error:  # fmt: skip
            detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise Refused(f"it is damaged or no checkpoint ({detail})") from None
        except (MemoryError, RecursionError):
            raise Refused("it unfolds to more than there is room for") from None
        if not tree.tensors:
            raise Refused("there are no tensors in it")
        with memoryview(data) as view:
            write_tensors(tree.tensors, view, places, weights)
    found = {"facts": tree.facts, "not_made": sorted(tree.unmade)}
    facts.write_text(json.dumps(found, indent=1), encoding="ascii")


def end_with_parent() -> None:
    """End this process when whoever started it has ended: its end of the pipe on our standard input is closed then."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> None:
    """Read as ``CHECKPOINT WEIGHTS.safetensors FACTS.json [watched]`` say; what is refused ends with the reason."""
    if arguments[3:] == [WATCHED]:
        end_with_parent()
    try:
        to_safetensors(*map(Path, arguments[:3]))
    except Refused as reason:
        sys.exit(str(reason))
