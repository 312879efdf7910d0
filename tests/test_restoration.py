"""What is particular to the restorers that are trained; the contract that all systems share is tested elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zeuxis.api.restore import restore
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Turn
from zeuxis.nn.sr_resnet import SubPixelSRResNet, bilinear
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.restoration._family import RegressionRestorer, scale_between
from zeuxis.testing.case import Case
from zeuxis.training.checkpoint import write_model

SMALL = {"sr-resnet": {"blocks": 1, "width": 4}, "dncnn": {"depth": 3, "width": 4}}


def built(system: str, scale: int = 1, **sized: object) -> RegressionRestorer:
    spec = DataSpec(Shape(3, 8 * scale, 12 * scale), source_shape=Shape(3, 8, 12))
    found = build(system, spec, SMALL[system] | sized)
    assert isinstance(found, RegressionRestorer)
    return found


def turn(scale: int) -> Turn:
    rng = Stream(0)
    image = rng.uniform(2, 3, 8 * scale, 12 * scale) * 2 - 1
    return Turn(Batch(image, Condition(source=rng.uniform(2, 3, 8, 12) * 2 - 1)), Stream(1), 0, 0.0)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("upsampler", ["pixelshuffle", "pixelshuffledirect"])
def test_the_scale_is_that_of_the_data(scale: int, upsampler: str) -> None:
    system = built("sr-resnet", scale, upsampler=upsampler)
    assert system.network.scale == scale
    condition = turn(scale).batch.condition
    assert system.sample(condition, ImageRng.counting(0, 2)).shape == (2, 3, 8 * scale, 12 * scale)


def test_scales_that_are_none_are_refused() -> None:
    for source in (Shape(3, 8, 8), Shape(1, 8, 12), Shape(3, 40, 60)):
        with pytest.raises(UsageError, match="by a whole number"):
            scale_between(Shape(3, 16, 24), source, "sr-resnet")
    with pytest.raises(UsageError, match="give 'pixelshuffle' or 'pixelshuffledirect'"):
        built("sr-resnet", upsampler="pixelshuffledirekt")
    with pytest.raises(UsageError, match="keeps a picture's size"):
        built("dncnn", 2)
    with pytest.raises(Unsupported, match="give it a source"):
        built("dncnn").sample(Condition(), ImageRng.counting(0, 1))


def test_networks_see_pictures_as_published_ones_do() -> None:
    """In [0, 1], so that a checkpoint of either can be the other's."""
    system, source = built("sr-resnet", 2), torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(system.made_of(Condition(source=2 * source - 1)), 2 * system.network(source) - 1)


def test_the_losses_are_those_of_the_papers() -> None:
    one = turn(1)
    source, image = one.batch.condition.source, one.batch.image
    assert source is not None
    dncnn = built("dncnn")
    noise = (source - image) / 2  # in [0, 1]
    predicted = (source + 1) / 2 - dncnn.network((source + 1) / 2)  # R(y)
    torch.testing.assert_close(dncnn.regress(one), 4 * (predicted - noise).square().mean())
    resnet = built("sr-resnet")
    torch.testing.assert_close(resnet.regress(one), (resnet.made_of(Condition(source=source)) - image).abs().mean())


@pytest.mark.parametrize("system", ["sr-resnet", "dncnn"])
def test_a_run_restores_pictures_of_any_size(system: str, tmp_path: Path) -> None:
    found = built(system, 2 if system == "sr-resnet" else 1)
    write_model(tmp_path / "model", found, {})
    values = np.random.default_rng(0).integers(0, 256, (20, 33, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    made = restore([tmp_path / "a.png"], tmp_path / "model")
    assert Image.open(made.done[0]).size == (33 * found.network.scale, 20 * found.network.scale)
    with torch.inference_mode():
        wanted = found.network(torch.from_numpy(values / np.float32(255)).permute(2, 0, 1)[None]).clamp(0, 1) * 255
    apart = np.asarray(Image.open(made.done[0])) - wanted[0].permute(1, 2, 0).numpy()
    assert np.abs(apart).max() < 0.51


def test_other_systems_are_not_restorers(tmp_path: Path) -> None:
    system = build("gaussian", DataSpec(Shape(3, 8, 8)), {})
    write_model(tmp_path / "model", system, {})
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="a 'gaussian', which does not restore"):
        restore([tmp_path / "a.png"], tmp_path / "model")


def test_the_contract_gives_a_system_the_damage_of_its_recipe() -> None:
    from zeuxis.recipe import load_recipe

    batch = Case(load_recipe("sr-resnet")).batch(2)
    assert batch.condition.source is not None
    assert batch.condition.source.shape[-1] * 4 == batch.image.shape[-1]


def test_one_convolution_makes_the_large_picture() -> None:
    """Shi et al. 2016, Eq. 4: of a pixel's ``C r^2`` numbers the r x r pixels of the large one, beside the bilinear."""
    network = SubPixelSRResNet(1, blocks=1, width=4, scale=3)
    for value in network.parameters():
        value.data.zero_()
    small = torch.rand(1, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    network.last.bias.data.copy_(torch.arange(9.0))  # type: ignore[union-attr, operator]
    added = network(small) - bilinear(small, 3)
    torch.testing.assert_close(added, torch.arange(9.0).view(3, 3).repeat(5, 4)[None, None])
    assert sum(p.numel() for p in SubPixelSRResNet(3, blocks=12, width=64, scale=4).parameters()) == 915_760
