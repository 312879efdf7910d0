"""The models that the worker holds: the newest few, and none that nobody has asked for in a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from pathlib import Path

from zeuxis.api.model import Model, load

MOST = 3
IDLE = 300.0  # seconds after which a model leaves the memory


class ModelCache:
    """Models by the path that they are loaded from; one whose files have changed is read again."""

    def __init__(self, device: str = "cpu", most: int = MOST, idle: float = IDLE) -> None:
        self.device, self.most, self.idle = device, most, idle
        self._held: OrderedDict[str, tuple[Model, int, float]] = OrderedDict()  # model, stamp of its card, last used

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, path: str) -> bool:
        held = self._held.get(path)
        return held is not None and held[1] == _stamp(path)

    def get(self, path: str) -> Model:
        """The model at ``path``, loaded if it must be; raises as :func:`zeuxis.api.model.load`."""
        stamp = _stamp(path)
        held = self._held.pop(path, None)
        if held is not None and held[1] != stamp:  # let go before it is read again, so that there is room
            held = None
        while held is None and len(self._held) >= self.most:  # before it is read, so that there is room
            self._held.popitem(last=False)
        model = load(path, self.device) if held is None else held[0]
        self._held[path] = (model, stamp, time.monotonic())
        return model

    def drop_idle(self) -> None:
        """Let go of models that were last asked for long ago."""
        now = time.monotonic()
        for path in [path for path, (_, _, last) in self._held.items() if now - last > self.idle]:
            del self._held[path]

    def drop_all(self) -> None:
        """Let go of all: memory ran out."""
        self._held.clear()


def _stamp(path: str) -> int:
    """What changes when a training writes its model anew; 0 of models that come with the package."""
    cards = (Path(path) / "model" / "model.json", Path(path) / "model.json")
    return next((card.stat().st_mtime_ns for card in cards if card.is_file()), 0)
