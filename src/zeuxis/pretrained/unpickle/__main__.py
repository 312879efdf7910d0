"""Where the isolated interpreter begins: it knows neither this package nor any other, so the folder is named to it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    FOLDER = Path(__file__).resolve().parent
    # Behind the standard library, so that nothing here stands in for a part of it.
    sys.path[:] = [*(place for place in sys.path if Path(place).resolve() != FOLDER), str(FOLDER.parent)]
    importlib.import_module(f"{FOLDER.name}.program").main(sys.argv[1:])
