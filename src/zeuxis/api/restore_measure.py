"""How good a restorer is: pictures are damaged, restored, and compared with what they were, as the field does it.

Or they are damaged already, and what they truly are is given beside them (:mod:`zeuxis.api.restore_against`).

What is compared has 256 levels. ``psnr-y`` and ``ssim-y`` are of luminance (BT.601), and of what is enlarged by n the
outermost n pixels do not count. ``consistency`` asks whether the restored picture, damaged again, is what was given:
the PSNR of the two, of damage that is linear alone. Beside each figure stands that of the damaged picture itself,
enlarged by cubic interpolation where it is smaller. ``perceptual`` and ``frechet-imagenet``, where they are asked for,
are in the features of EfficientNet-Lite0: see :mod:`zeuxis.api.photograph_features`. The latter is of all pictures, cut
to windows, and stands with the means alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.api.features import IMAGENET, Features, features_of
from zeuxis.api.photograph_features import MAPS, perceptual, windows
from zeuxis.api.restore import BUDGET, Report
from zeuxis.api.restore_against import truths_of
from zeuxis.api.restore_models import restorer_for
from zeuxis.api.restore_paths import errands_of
from zeuxis.api.restore_picture import for_network, from_network, header_of, open_for_restoring
from zeuxis.data.cache import data_dir
from zeuxis.data.pairing import parse_pairing
from zeuxis.data.picture import PictureRefused
from zeuxis.degrade.degradation import Chain, Linear
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import DataError, UnknownName, UsageError
from zeuxis.metrics.frechet import Moments, frechet
from zeuxis.metrics.record import Figure
from zeuxis.metrics.similarity import WINDOW, cropped, psnr, psnr_y, ssim_y
from zeuxis.metrics.table import CALLED
from zeuxis.metrics.table import METRICS as TABLE
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.streamed_tiles import Place, in_rows, tiling_for
from zeuxis.nn.whole_colours import coloured_rows
from zeuxis.pretrained.restorer import Restorer
from zeuxis.rng import ImageRng, derive_seed

TEST_SETS = ("Set5", "Set12", "Set14", "BSD68")  # by name, where they lie under $ZEUXIS_DATA/restoration_test
METRICS = ("psnr", "psnr-y", "ssim-y", "consistency")  # without others being asked for
PERCEPTUAL, FRECHET = "perceptual", "frechet-imagenet"
KNOWN = (*METRICS, PERCEPTUAL, FRECHET)
LEAST = TABLE[PERCEPTUAL].side  # pixels a side


@dataclass(frozen=True)
class Measured:
    """The figures of a restored picture, by name, and those of the damaged one."""

    name: str
    restored: Mapping[str, float]
    damaged: Mapping[str, float]
    notes: tuple[str, ...] = ()  # what the figures must be read with


def measure_restorer(
    paths: Sequence[str | Path],
    model: str | Path | None,
    pair: str | None,
    task: str | None = None,
    *,
    against: str | Path | None = None,
    metrics: Sequence[str] = (),
    knobs: Sequence[str] = (),
    fidelity: float | None = None,
    ensemble: bool = False,
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> list[Measured]:
    """The figures of each picture damaged by ``pair``, then restored; the last are their means.

    Without ``pair`` the pictures are damaged already, and ``against`` is the folder (of one picture also the file) of
    what they truly are: see :func:`zeuxis.api.restore_against.truths_of`.

    What is random about the damage follows from the number of the picture. ``paths`` are pictures, folders, or one of
    :data:`TEST_SETS`; ``metrics`` some of :data:`KNOWN`, by default :data:`METRICS`.

    Raises as :func:`zeuxis.api.restore.restore`; :class:`UsageError` where the damage is not what the model undoes;
    :class:`Unsupported` where a metric needs a network that is not at hand.
    """
    for metric in metrics:
        if metric not in KNOWN:
            here = CALLED.get(metric.casefold())
            raise UnknownName(
                "metric of what is restored", metric, KNOWN, f"(it is {here} here)" if here in KNOWN else ""
            )
    if (pair is None) == (against is None):
        raise UsageError("give either how the pictures are to be damaged, or what they truly are: --pair or --against")
    if against is not None and "consistency" in metrics:
        raise UsageError("--metric consistency damages what was restored again, by --pair: leave it or --against out")
    gauge = Gauge.of(metrics or METRICS, device)
    places = [_place(path) for path in paths]
    errands, chain = errands_of(places, None, "restored").each, None if pair is None else _chain(pair)
    restorer = restorer_for(model, task, knobs, fidelity, ensemble=ensemble)
    if restorer.network.side is not None:
        raise UsageError(f"'{restorer.name}' restores faces alone: zeuxis evaluate measures a run of it")
    if restorer.factor is not None:
        option = "--against" if pair is None else "--pair"
        raise UsageError(f"--task {task}: there is nothing to compare a panorama's sides with: leave {option} out")
    if restorer.mask is not None:
        raise UsageError(f"'{restorer.name}' makes what a mask hides, which is measured by zeuxis evaluate")
    network = restorer.network.placed_on(device)
    if chain is None:
        assert against is not None
        truths = truths_of(errands, _place(against), network.scale, places)
        pairs, notes = truths.each, truths.notes
    else:
        pairs, notes = tuple((errand, errand.source) for errand in errands), ()
    for _, truth in pairs:  # before the first is restored, or all that was measured would be lost to the last
        _require_measurable(truth, network)
    found = []
    for k, (errand, truth) in enumerate(pairs):
        report(errand.name, k / len(pairs))
        image = _opened(truth)
        if chain is None:
            source, image = _alike(_opened(errand.source), image)
        height, width = (side - side % network.scale for side in image.shape[2:])
        image = image[..., :height, :width].to(device)
        if chain is None:
            source = source[..., : height // network.scale, : width // network.scale].to(device)
        with torch.inference_mode():
            if chain is not None:
                source = _levels(chain(image, ImageRng([derive_seed(0, "measured", k)])))
            found.append(_measured(errand.name, image, source, restorer, chain, gauge))
    mean = gauge.of_all(_mean(found))
    return [*found, replace(mean, notes=(*notes, *mean.notes))]


def _chain(pair: str) -> Chain:
    """How pictures are damaged; raises :class:`UsageError` where that is not by a damage that hides nothing."""
    if parse_pairing(pair) is not None:
        raise UsageError(
            f"--pair {pair}: what is damaged here is whole pictures; of pairs that a folder holds zeuxis evaluate RUN "
            f"--data FOLDER --pair {pair} measures a run, and zeuxis restore LOW --against HIGH any model"
        )
    chain = parse_chain(pair)
    if chain.masks:
        raise UsageError(f"--pair {pair}: what a mask hides is measured by zeuxis evaluate")
    return chain


def _require_measurable(file: Path, network: PictureNetwork) -> None:
    """Refuse a picture that cannot be read, and one of which nothing is left without its border."""
    try:
        header = header_of(file)
    except PictureRefused as reason:
        raise DataError(f"{file}: {reason}: leave it out, of all others a mean is wanted") from None
    height, width = (side - side % network.scale for side in (header.height, header.width))
    if min(height, width) <= 2 * _border(network):
        raise UsageError(
            f"{file}: {header.width}x{header.height} pixels are too few to measure what enlarges by {network.scale}: "
            "leave it out"
        )


def _opened(file: Path) -> Tensor:
    """The colours ``(1, C, H, W)`` in [-1, 1], in 256 levels."""
    given = open_for_restoring(file)
    return _levels(torch.from_numpy(given.colours.astype(np.float32) / given.most * 2 - 1).permute(2, 0, 1)[None])


def _alike(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both pictures in colour where one of them is."""
    channels = max(one.shape[1], other.shape[1])
    return one.expand(-1, channels, -1, -1), other.expand(-1, channels, -1, -1)


@dataclass(frozen=True)
class Gauge:
    """The figures that are asked for, and what those of the ImageNet network need: the score, and the features."""

    metrics: tuple[str, ...]
    score: Callable[[Tensor, Tensor], Tensor] | None
    space: Features | None
    seen: dict[str, list[Tensor]] = field(default_factory=lambda: {"whole": [], "restored": [], "damaged": []})

    @classmethod
    def of(cls, metrics: Sequence[str], device: str) -> Gauge:
        score = perceptual() if PERCEPTUAL in metrics else None
        space = features_of("", IMAGENET, device=device) if FRECHET in metrics else None
        return cls(tuple(dict.fromkeys(metrics)), score, space)

    def figures(self, made: Tensor, image: Tensor, border: int) -> dict[str, float]:
        """Of a picture ``(1, C, H, W)`` and what it was, without ``border`` pixels where papers leave them out."""
        inner = cropped(made, border), cropped(image, border)
        found = {}
        if "psnr" in self.metrics:
            found["psnr"] = psnr(*inner)
        if "psnr-y" in self.metrics:
            found["psnr-y"] = psnr_y(*inner)
        if "ssim-y" in self.metrics and min(inner[0].shape[2:]) >= WINDOW:
            found["ssim-y"] = ssim_y(*inner)
        if self.score is not None and min(made.shape[2:]) >= LEAST:
            found[PERCEPTUAL] = self.score(made, image)
        return {name: float(value) for name, value in found.items()}

    def see(self, **pictures: Tensor) -> None:
        """Keep the features of what a picture was, of it restored, and of it damaged."""
        if self.space is not None:
            for name, picture in pictures.items():
                self.seen[name] += [self.space.of(window).cpu() for window in windows(picture)]

    def of_all(self, mean: Measured) -> Measured:
        """The means, with the figures that are of all pictures at once, and what they must be read with."""
        notes = [f"{PERCEPTUAL}: in the maps of {MAPS}, unweighted; not LPIPS"] if self.score is not None else []
        if self.space is None:
            return replace(mean, notes=tuple(notes))
        count = len(self.seen["whole"])
        if count < 2:
            raise UsageError(f"{FRECHET} is of two windows or more: give more pictures, or another --metric")
        whole = torch.cat(self.seen["whole"])
        real = Moments.of(whole) if 2 * count >= whole.shape[1] else whole  # whose root is then found once
        restored, damaged = (frechet(torch.cat(self.seen[name]), real) for name in ("restored", "damaged"))
        warning = Figure(FRECHET, restored, count, "lower", of_distribution=True).warning
        notes += [
            f"{FRECHET}: in the features of {self.space.hash}, of windows; not FID",
            *([warning] if warning else []),
        ]
        return replace(
            mean,
            restored={**mean.restored, FRECHET: restored},
            damaged={**mean.damaged, FRECHET: damaged},
            notes=tuple(notes),
        )


def _place(path: str | Path) -> Path:
    root = data_dir()
    known = None if root is None or str(path) not in TEST_SETS else root / "restoration_test" / str(path)
    return known if known is not None and known.is_dir() and not Path(path).exists() else Path(path)


def _measured(
    name: str, image: Tensor, source: Tensor, restorer: Restorer, chain: Chain | None, gauge: Gauge
) -> Measured:
    """Of one picture ``(1, C, H, W)`` in [-1, 1], and of it damaged, by ``chain`` if that is known."""
    network, at = restorer.network, restorer.colours_at
    height, width = source.shape[2:]
    if (height * network.scale, width * network.scale) != tuple(image.shape[2:]):
        raise UsageError(f"'{chain}' leaves {width}x{height} of {image.shape[3]}x{image.shape[2]} pixels, which the "
                         f"model enlarges by {network.scale}: give another --pair")  # fmt: skip

    def read(place: Place) -> Tensor:
        top, bottom, left, right = place
        return for_network((source[0, :, top:bottom, left:right] + 1) / 2, network.channels)

    def seen(_place: Place, _before: Tensor, _after: Tensor) -> None:
        """Nothing is checked: what is wrong shows in the figures."""

    tiling = tiling_for(network, BUDGET)
    if at is None:
        parts = in_rows(network, read, height, width, tiling, seen)
    else:
        parts = coloured_rows(network, at, read, height, width, tiling, seen)
    rows = [from_network(part, image.shape[1]) for part in parts]
    restored = _levels(2 * torch.cat(rows).permute(2, 0, 1)[None] - 1)
    plain = source
    if network.scale > 1:
        plain = interpolate(source, image.shape[2:], mode="bicubic", antialias=True)
    plain = _levels(plain)
    gauge.see(whole=image, restored=restored, damaged=plain)
    known = "consistency" in gauge.metrics and chain is not None and all(isinstance(p, Linear) for p in chain.parts)
    after, before = (
        gauge.figures(made, image, _border(network)) | _consistency(made, source, chain if known else None)
        for made in (restored, plain)
    )
    return Measured(name, after, before)


def _border(network: PictureNetwork) -> int:
    """How many of the outermost pixels do not count."""
    return network.scale if network.scale > 1 else 0


def _consistency(made: Tensor, source: Tensor, chain: Chain | None) -> dict[str, float]:
    return {} if chain is None else {"consistency": float(psnr(_levels(chain.apply(made)), source))}


def _levels(image: Tensor) -> Tensor:
    """The same in 256 levels, as a file has it."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def _mean(found: Sequence[Measured]) -> Measured:
    """Of the figures that every picture has: one may be too small for some."""

    def mean(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
        shared = [name for name in tables[0] if all(name in table for table in tables)]
        return {name: float(np.mean([table[name] for table in tables])) for name in shared}

    return Measured("mean", mean([one.restored for one in found]), mean([one.damaged for one in found]))
