"""``--fidelity``: how near what is restored stays to what was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from restorers import UNET, built
from torch import Tensor

from zeuxis.api.restore import restore
from zeuxis.api.restore_measure import measure_restorer
from zeuxis.api.restore_models import restorer_for
from zeuxis.errors import DataError, UsageError
from zeuxis.game import System
from zeuxis.metrics.similarity import psnr
from zeuxis.nn.fidelity import Fidelity, luminance
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import write_model

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def smooth(side: int = 32) -> Tensor:
    """A picture ``(1, 3, S, S)`` in [0, 1] with coarse and fine parts."""
    coarse = torch.nn.functional.interpolate(Stream(0).uniform(1, 3, 6, 6), (side, side), mode="bicubic")
    return (0.8 * coarse + 0.1 + 0.1 * Stream(1).uniform(1, 3, side, side)).clamp(0, 1)


def photo(folder: Path, mode: str = "RGB") -> Path:
    values = (smooth()[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    Image.fromarray(values).convert(mode).save(folder / "a.png")
    return folder / "a.png"


def run_of(folder: Path, system: System, data: str) -> Path:
    write_model(folder / "run" / "model", system.eval(), {"data": data})
    return folder / "run"


def test_what_the_damage_left_is_taken_from_the_given() -> None:
    made, given = Stream(2).uniform(1, 3, 32, 32), smooth()
    small = torch.nn.functional.interpolate(given, (16, 16), mode="bicubic", antialias=True)
    again = torch.nn.functional.interpolate(Fidelity(1.0)(made, small), (16, 16), mode="bicubic", antialias=True)
    torch.testing.assert_close(again, small, atol=2 / 255, rtol=0)
    coloured = Fidelity(1.0, "luminance")(made, given)
    torch.testing.assert_close(luminance(coloured), luminance(given))
    hue, wanted = coloured - luminance(coloured), made - luminance(made)
    torch.testing.assert_close(hue, wanted)  # its colours are as they were made
    assert torch.equal(Fidelity(0.0)(made, given), made)
    fine = Stream(3).normal(1, 3, 32, 32)
    fine = fine - torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(fine, 8), (32, 32), mode="bicubic")
    kept = Fidelity(1.0)(given + 0.1 * fine, given) - given  # what is fine is the restorer's
    assert kept.square().mean() > 0.5 * (0.1 * fine).square().mean()


@pytest.mark.parametrize(
    ("system", "scale", "model", "pair"),
    [
        ("sr-resnet", 2, {"blocks": 1, "width": 4}, "bicubic:2"),
        ("sr3", 2, {"network": UNET, "steps": 3}, "bicubic:2"),
        ("sr-resnet", 1, {"blocks": 1, "width": 4}, "blur:1"),
    ],
)
def test_the_nearer_it_is_held_the_more_consistent_it_is(
    system: str, scale: int, model: dict[str, object], pair: str, tmp_path: Path
) -> None:
    found = built(system, scale, **model)
    with torch.no_grad():
        for p in found.network.parameters():  # type: ignore[union-attr]
            p.add_(0.1 * Stream(4).normal(*p.shape))  # a bold restorer, which changes what it should not
    run, picture = run_of(tmp_path, found, f"x | {pair}"), photo(tmp_path)
    figures = [measure_restorer([picture], run, pair, fidelity=share)[0].restored["consistency"] for share in SHARES]
    assert figures == sorted(figures) and figures[-1] > figures[0] + 3, figures
    assert figures[0] == measure_restorer([picture], run, pair)[0].restored["consistency"]


def test_a_picture_that_is_held_says_so(tmp_path: Path) -> None:
    from zeuxis.provenance.record import read_record

    run, picture = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2"), photo(tmp_path)
    bold = restore([picture], run, out=tmp_path / "bold.png").done[0]
    held = restore([picture], run, out=tmp_path / "held.png", fidelity=1.0).done[0]
    assert "fidelity" not in read_record(bold)["sampling"] and read_record(held)["sampling"]["fidelity"] == 1.0
    with pytest.raises(DataError, match="not this picture restored"):
        restore([picture], run, out=held, fidelity=0.5)
    small = torch.from_numpy(np.asarray(Image.open(picture)) / 255).permute(2, 0, 1)[None]

    def agreement(file: Path) -> float:
        made = torch.from_numpy(np.asarray(Image.open(file)) / 255).permute(2, 0, 1)[None]
        return float(psnr(torch.nn.functional.interpolate(made, (32, 32), mode="bicubic", antialias=True), small, 1.0))

    assert agreement(held) > agreement(bold) + 3


def test_there_is_no_fidelity_outside_its_range_or_under_a_mask(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2")
    with pytest.raises(UsageError, match=r"give a number from 0 .bold. to 1"):
        restorer_for(run, None, fidelity=1.5)
    coloured = run_of(tmp_path / "coloured", built("palette", network=UNET, steps=1), "x | grey")
    with pytest.raises(UsageError, match="the lightness stays"):
        restorer_for(coloured, None, fidelity=0.5)
    masked = run_of(tmp_path / "masked", built("palette", network=UNET, condition="mask", steps=1), "x | strokes:3")
    Image.new("L", (8, 8)).save(tmp_path / "mask.png")
    with pytest.raises(UsageError, match="bit for bit"):
        restorer_for(masked, f"inpaint:{tmp_path / 'mask.png'}", fidelity=0.5)
