"""The frame predictor: its networks, losses and figure, and frames at the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from zeuxis.batch import Condition
from zeuxis.catalog.build import build
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling
from zeuxis.losses.gradient_difference import gradient_difference
from zeuxis.metrics.similarity import sharpness
from zeuxis.nn.frame_pyramid import FramePyramid, PyramidCritic, levels
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec, Shape
from zeuxis.training.checkpoint import write_model

SPEC = DataSpec(Shape(3, 32, 32), source_shape=Shape(9, 32, 32), provides=frozenset({"source"}))
SMALL = {"width": 4, "critic_width": 2, "scales": 3}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 2 * Stream(seed, "frames").uniform(*shape) - 1


# -- losses and the figure ----------------------------------------------------------------------------


def test_the_gradient_difference_is_the_published_sum() -> None:
    x, y = noise(1, 1, 4, 5), noise(1, 1, 4, 5, seed=1)
    a, b = x[0, 0], y[0, 0]
    for alpha in (1.0, 2.0):
        rows = [float(((a[i, j] - a[i - 1, j]).abs() - (b[i, j] - b[i - 1, j]).abs()).abs()) ** alpha
                for i in range(1, 4) for j in range(5)]  # fmt: skip
        columns = [float(((a[i, j] - a[i, j - 1]).abs() - (b[i, j] - b[i, j - 1]).abs()).abs()) ** alpha
                   for i in range(4) for j in range(1, 5)]  # fmt: skip
        wanted = np.mean(rows) + np.mean(columns)
        assert float(gradient_difference(x, y, alpha)) == pytest.approx(wanted, rel=1e-5)


def test_blur_costs_slopes_and_a_shift_of_brightness_none() -> None:
    image = noise(1, 3, 16, 16)
    assert gradient_difference(image + 0.3, image) < 1e-6 < gradient_difference(avg_pool2d(image, 3, 1, 1), image)
    assert sharpness(image + 0.3, image) > 60 > sharpness(avg_pool2d(image, 3, 1, 1), image)


def test_sharpness_is_the_papers_figure() -> None:
    x, y = noise(2, 1, 4, 5), noise(2, 1, 4, 5, seed=1)

    def slope(image: Tensor, i: int, j: int) -> float:
        return float((image[i, j] - image[i - 1, j]).abs() + (image[i, j] - image[i, j - 1]).abs())

    for k, found in enumerate(sharpness(x, y)):
        away = [abs(slope(x[k, 0], i, j) - slope(y[k, 0], i, j)) for i in range(1, 4) for j in range(1, 5)]
        assert float(found) == pytest.approx(10 * np.log10(4 / np.mean(away)), rel=1e-6)
    with pytest.raises(UsageError, match="2 pixels"):
        sharpness(x[..., :1], y[..., :1])


# -- the networks -------------------------------------------------------------------------------------


def test_the_networks_are_those_of_the_table() -> None:
    """Table 1 of the paper, for four frames in colour: widths and kernels."""
    net, critic = FramePyramid(12, 3), PyramidCritic(12, 3)
    made = [[(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in each.children()]
            for each in net.nets]  # fmt: skip
    assert made == [
        [(12, 128, 3), (128, 256, 3), (256, 128, 3), (128, 3, 3)],
        [(15, 128, 5), (128, 256, 3), (256, 128, 3), (128, 3, 5)],
        [(15, 128, 5), (128, 256, 3), (256, 512, 3), (512, 256, 3), (256, 128, 3), (128, 3, 5)],
        [(15, 128, 7), (128, 256, 5), (256, 512, 5), (512, 256, 5), (256, 128, 5), (128, 3, 7)],
    ]
    judged = [[(conv.out_channels, conv.kernel_size[0]) for conv in each.convs] for each in critic.nets]  # type: ignore[union-attr]
    assert judged == [
        [(64, 3)],
        [(64, 3), (128, 3), (128, 3)],
        [(128, 5), (256, 5), (256, 5)],
        [(128, 7), (256, 7), (512, 5), (128, 5)],
    ]
    whole = [[(conv.in_channels * conv.kernel_size[0] ** 2, conv.out_channels) for conv in each.whole]
             for each in critic.nets]  # type: ignore[union-attr]  # fmt: skip
    assert whole == [
        [(64 * 4, 512), (512, 256), (256, 1)],
        [(128 * 4, 1024), (1024, 512), (512, 1)],
        [(256 * 16, 1024), (1024, 512), (512, 1)],
        [(128 * 36, 1024), (1024, 512), (512, 1)],
    ]


def test_what_is_made_is_the_equation_of_the_paper() -> None:
    net = FramePyramid(6, 3, scales=2, width=4)
    x = noise(2, 6, 16, 16)

    def through(convs: nn.Module, h: Tensor) -> Tensor:
        layers = list(convs.children())
        for k, conv in enumerate(layers):
            assert isinstance(conv, nn.Conv2d)
            h = conv2d(h, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2)
            h = h.clamp_min(0) if k < len(layers) - 1 else h
        return h

    coarse = torch.tanh(through(net.nets[0], avg_pool2d(x, 2)))
    enlarged = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    fine = torch.tanh(enlarged + through(net.nets[1], torch.cat([x, enlarged], 1)))
    found = net(x)
    torch.testing.assert_close(found[0], coarse)
    torch.testing.assert_close(found[1], fine)


def test_critics_judge_every_patch_of_32_pixels() -> None:
    critic = PyramidCritic(6, 3, scales=4, width=2)
    small, large = noise(1, 9, 32, 32), noise(1, 9, 40, 32)
    for picture, rows in ((small, {1}), (large, {2, 3, 5, 9})):
        found = critic(levels(picture[:, :6], 4), levels(picture[:, 6:], 4))
        assert {each.shape[2] for each in found} <= rows and all(each.shape[3] == 1 for each in found)
    one = critic(levels(large[:, :6, :32], 4), levels(large[:, 6:, :32], 4))
    torch.testing.assert_close(one[0][0, 0, 0], critic(levels(large[:, :6], 4), levels(large[:, 6:], 4))[0][0, 0, 0])


# -- the systems --------------------------------------------------------------------------------------


def test_the_last_frame_is_the_last_of_the_source() -> None:
    batch = open_source("motion", 32, split="test").batch(torch.arange(3))
    source = batch.condition.source
    assert source is not None
    made = build("last-frame", SPEC, {}, 0).sample(Condition(source=source), ImageRng.counting(0, 3))
    assert torch.equal(made, source[:, 6:]) and not torch.equal(made, batch.image)


def test_two_frames_ahead_goes_on_from_what_it_made() -> None:
    system, frames = build("frame-predictor", SPEC, SMALL, 0).eval(), noise(2, 9, 32, 32)
    rng = ImageRng.counting(0, 2)
    first = system.sample(Condition(source=frames), rng)
    wanted = system.sample(Condition(source=torch.cat([frames[:, 3:], first], 1)), rng)
    torch.testing.assert_close(system.sample(Condition(source=frames), rng, Sampling(ahead=2)), wanted)
    assert not torch.allclose(first, wanted)


def test_sources_that_are_no_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="no whole number"):
        build("frame-predictor", DataSpec(Shape(3, 32, 32), source_shape=Shape(4, 32, 32)), SMALL, 0)
    with pytest.raises(UsageError, match="multiples of 4"):
        build("frame-predictor", DataSpec(Shape(3, 30, 32), source_shape=Shape(9, 30, 32)), SMALL, 0)
    with pytest.raises(UsageError, match=r"model\.power=3"):
        build("frame-predictor", SPEC, {**SMALL, "power": 3}, 0)


@pytest.mark.parametrize("given", ["names", "folder"])
def test_several_frames_in_one_out_at_the_command_line(given: str, tmp_path: Path) -> None:
    system = build("frame-predictor", SPEC, {**SMALL, "adversarial": 0.0}, 0).eval()
    system.spec = SPEC
    write_model(tmp_path / "run" / "model", system, {"data": "motion"})
    frames = tmp_path / "frames"
    frames.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    names = [frames / f"{k}.png" for k in (8, 9, 10)]  # in the order of time, which the alphabet's is not
    (frames / "._8.png").write_bytes(b"what a Mac leaves beside a file")
    for shown, name in zip(pixels, names, strict=True):
        Image.fromarray(shown).save(name)
    path = ",".join(map(str, names)) if given == "names" else str(frames)
    out = tmp_path / "next.png"
    assert main(["translate", str(tmp_path / "run"), path, "--out", str(out)]) == 0
    assert (tmp_path / "next-before-after.png").is_file(), "or the next result's sheet would replace it"
    source = torch.from_numpy(pixels).permute(0, 3, 1, 2).reshape(1, 9, 32, 32).float() / 127.5 - 1
    with torch.no_grad():
        wanted = (system.sample(Condition(source=source), ImageRng([0])) + 1) * 127.5
    found = torch.from_numpy(np.array(Image.open(out))).permute(2, 0, 1)[None].float()
    assert float((found - wanted).abs().max()) < 1.01
