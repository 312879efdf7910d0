"""How what takes long tells its caller where it is."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, float | None], None]  # a line for the user, and how much of the work is done, in [0, 1]
