"""How good a restorer is: pictures are damaged, restored, and compared with what they were, as the field does it.

What is compared has 256 levels. ``psnr-y`` and ``ssim-y`` are of luminance (BT.601), and of what is enlarged by n the
outermost n pixels do not count. ``consistency`` asks whether the restored picture, damaged again, is what was given:
the PSNR of the two, of damage that is linear alone. Beside each figure stands that of the damaged picture itself,
enlarged by cubic interpolation where it is smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.api.restore import BUDGET, Report
from zeuxis.api.restore_models import restorer_for
from zeuxis.api.restore_paths import errands_of
from zeuxis.api.restore_picture import for_network, from_network, open_for_restoring
from zeuxis.data.cache import data_dir
from zeuxis.degrade.degradation import Chain, Linear
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import UsageError
from zeuxis.metrics.similarity import WINDOW, cropped, psnr, psnr_y, ssim_y
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.streamed_tiles import Place, in_rows, tiling_for
from zeuxis.rng import ImageRng, derive_seed

TEST_SETS = ("Set5", "Set12", "Set14", "BSD68")  # by name, where they lie under $ZEUXIS_DATA/restoration_test
METRICS = ("psnr", "psnr-y", "ssim-y", "consistency")


@dataclass(frozen=True)
class Measured:
    """The figures of a restored picture, by name, and those of the damaged one."""

    name: str
    restored: Mapping[str, float]
    damaged: Mapping[str, float]


def measure_restorer(
    paths: Sequence[str | Path],
    model: str | Path | None,
    pair: str,
    task: str | None = None,
    *,
    knobs: Sequence[str] = (),
    fidelity: float | None = None,
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> list[Measured]:
    """The figures of each picture damaged by ``pair``, then restored; the last are their means.

    What is random about the damage follows from the number of the picture. ``paths`` are pictures, folders, or one of
    :data:`TEST_SETS`.

    Raises as :func:`zeuxis.api.restore.restore`; :class:`UsageError` where the damage is not what the model undoes.
    """
    errands, chain = errands_of([_place(path) for path in paths], None, "restored"), parse_chain(pair)
    if chain.masks:
        raise UsageError(f"--pair {pair}: what a mask hides is measured by zeuxis evaluate")
    restorer = restorer_for(model, task, knobs, fidelity)
    if restorer.network.side is not None:
        raise UsageError(f"'{restorer.name}' restores faces alone: zeuxis evaluate measures a run of it")
    if restorer.mask is not None:
        raise UsageError(f"'{restorer.name}' makes what a mask hides, which is measured by zeuxis evaluate")
    network = restorer.network.to(device)
    found = []
    for k, errand in enumerate(errands.each):
        report(errand.name, k / len(errands.each))
        given = open_for_restoring(errand.source)
        whole = _levels(torch.from_numpy(given.colours.astype(np.float32) / given.most * 2 - 1).permute(2, 0, 1)[None])
        height, width = (side - side % network.scale for side in whole.shape[2:])
        if min(height, width) <= 2 * _border(network):
            raise UsageError(f"{errand.source}: {whole.shape[3]}x{whole.shape[2]} pixels are too few to measure what "
                             f"enlarges by {network.scale}: leave it out")  # fmt: skip
        with torch.inference_mode():
            found.append(_measured(errand.name, whole[..., :height, :width].to(device), network, chain, k))
    return [*found, _mean(found)]


def _place(path: str | Path) -> Path:
    root = data_dir()
    known = None if root is None or str(path) not in TEST_SETS else root / "restoration_test" / str(path)
    return known if known is not None and known.is_dir() and not Path(path).exists() else Path(path)


def _measured(name: str, image: Tensor, network: PictureNetwork, chain: Chain, k: int) -> Measured:
    """Of one picture ``(1, C, H, W)`` in [-1, 1]."""
    source = _levels(chain(image, ImageRng([derive_seed(0, "measured", k)])))
    height, width = source.shape[2:]
    if (height * network.scale, width * network.scale) != tuple(image.shape[2:]):
        raise UsageError(f"'{chain}' leaves {width}x{height} of {image.shape[3]}x{image.shape[2]} pixels, which the "
                         f"model enlarges by {network.scale}: give another --pair")  # fmt: skip

    def read(place: Place) -> Tensor:
        top, bottom, left, right = place
        return for_network((source[0, :, top:bottom, left:right] + 1) / 2, network.channels)

    tiling = tiling_for(network, BUDGET)
    rows = [
        from_network(part, image.shape[1])
        for part in in_rows(network, read, height, width, tiling, lambda place, before, after: None)
    ]
    restored = _levels(2 * torch.cat(rows).permute(2, 0, 1)[None] - 1)
    plain = source
    if network.scale > 1:
        plain = interpolate(source, image.shape[2:], mode="bicubic", antialias=True)
    linear = all(isinstance(part, Linear) for part in chain.parts)
    return Measured(
        name,
        *(
            _figures(made, image, _border(network)) | _consistency(made, source, chain, linear)
            for made in (restored, _levels(plain))
        ),
    )


def _border(network: PictureNetwork) -> int:
    """How many of the outermost pixels do not count."""
    return network.scale if network.scale > 1 else 0


def _figures(made: Tensor, image: Tensor, border: int) -> dict[str, float]:
    made, image = cropped(made, border), cropped(image, border)
    found = {"psnr": psnr(made, image), "psnr-y": psnr_y(made, image)}
    if min(image.shape[2:]) >= WINDOW:
        found["ssim-y"] = ssim_y(made, image)
    return {name: float(value) for name, value in found.items()}


def _consistency(made: Tensor, source: Tensor, chain: Chain, linear: bool) -> dict[str, float]:
    return {"consistency": float(psnr(_levels(chain.apply(made)), source))} if linear else {}


def _levels(image: Tensor) -> Tensor:
    """The same in 256 levels, as a file has it."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def _mean(found: Sequence[Measured]) -> Measured:
    """Of the figures that every picture has: one may be too small for some."""

    def mean(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
        shared = [name for name in tables[0] if all(name in table for table in tables)]
        return {name: float(np.mean([table[name] for table in tables])) for name in shared}

    return Measured("mean", mean([one.restored for one in found]), mean([one.damaged for one in found]))
