"""``A -> B``: how two collections are named of which no two pictures belong together. Imports nothing heavy."""

from __future__ import annotations

from zeuxis.errors import UsageError

ARROW = " -> "


def two_collections(name: str) -> tuple[str, str] | None:
    """The two of ``A -> B``, the sources and the images; None where ``name`` is one.

    An arrow behind a bar is part of a pairing. Raises :class:`UsageError` for more or fewer than two, and for two that
    are to be paired by what follows a bar.
    """
    names, bar, pairing = name.partition("|")
    parts = [part.strip() for part in names.split(ARROW)]
    if len(parts) == 1:
        return None
    if len(parts) > 2 or not all(parts):
        raise UsageError(f"data '{name}': write A -> B, the sources and the pictures that they are to become")
    if bar:
        raise UsageError(
            f"data '{name}': no two of them belong together: leave out '{pairing.strip()}' (--pair), and use cyclegan, "
            "which learns of two collections; what learns of pairs needs A/ and B/ with the same names in one folder"
        )
    return parts[0], parts[1]
