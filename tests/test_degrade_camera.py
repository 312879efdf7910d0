"""What coders, sensors, films and the years do to a picture."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from zeuxis.data.library import open_source
from zeuxis.degrade.blind import Blind
from zeuxis.degrade.jpeg import BlindJpeg, Jpeg, SoftJpeg, coded, soft_round
from zeuxis.degrade.language import parse_chain
from zeuxis.degrade.noise import Shot
from zeuxis.degrade.sensor import CAMERAS, Sensor
from zeuxis.degrade.tone import FILMS, Expose, Film, from_light, to_light
from zeuxis.errors import UsageError
from zeuxis.rng import ImageRng, Stream


@pytest.fixture(scope="module")
def scenes() -> Tensor:
    return open_source("scenes", 64).batch(torch.arange(6)).image


def psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(4 / (a - b).square().mean()))


@pytest.mark.parametrize("quality, least", [(95, 43), (75, 43), (50, 43), (20, 40), (5, 34)])
def test_the_soft_jpeg_draws_what_the_real_one_does(scenes: Tensor, quality: int, least: float) -> None:
    real, soft = Jpeg(quality)(scenes, Stream(0)), SoftJpeg(quality)(scenes, Stream(0))
    assert psnr(real, soft) > least
    assert psnr(real, soft) > psnr(real, scenes) + 3, "the clean picture is as near to the coded one"
    grey = scenes[:, :1, :37, :45]  # sides that no block divides
    assert psnr(Jpeg(quality)(grey, Stream(0)), SoftJpeg(quality)(grey, Stream(0))) > least


def test_blind_jpeg_is_jpeg_whose_blocks_begin_anywhere(scenes: Tensor) -> None:
    few = scenes[:6]
    back = BlindJpeg(30, 30)(few, ImageRng.counting(0, len(few)))
    corners = set()
    for one, made in zip(few, back, strict=True):
        for y, x in itertools.product(range(8), range(8)):
            whole = torch.nn.functional.pad(one[None], (x, 0, y, 0), mode="replicate")[0]
            if torch.equal(coded(whole, 30)[:, y:, x:], made):
                corners.add((y, x))
    assert len(corners) >= 4, "each is a corner of a larger picture, and they differ"
    errors = torch.stack([(BlindJpeg(q, q)(few, Stream(0)) - few).square().mean() for q in (10, 40, 90)])
    assert errors[0] > errors[1] > errors[2]
    drawn = (BlindJpeg()(few[:1].expand(64, -1, -1, -1), Stream(0)) - few[:1]).square().mean((1, 2, 3))
    assert drawn.max() > 2 * drawn.min(), "qualities differ from picture to picture"


def test_gradients_pass_the_soft_jpeg() -> None:
    x = (torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8).double().requires_grad_()
    (g,) = torch.autograd.grad(SoftJpeg(50)(x, Stream(0)).square().sum(), x)
    assert g.isfinite().all() and g.abs().max() > 0
    t = torch.tensor([0.2, 0.49, 1.3], dtype=torch.float64, requires_grad=True)
    assert torch.allclose(soft_round(t), t.round() + (t - t.round()) ** 3)
    assert torch.autograd.gradcheck(soft_round, t)


def test_shot_noise_has_the_variance_of_counting() -> None:
    x = torch.full((1, 1, 200, 200), 0.5)  # 3/4 of white
    noisy = Shot(50)(x, Stream(0))
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.01)
    assert noisy.var().item() == pytest.approx(4 * 0.75 / 50, rel=0.05)  # var(count / n) = rate / n, range [-1, 1]


def test_exposure_is_in_stops_of_light() -> None:
    x = torch.linspace(-1, 1, 9).view(1, 1, 3, 3)
    torch.testing.assert_close(Expose(0)(x, Stream(0)), x, atol=1e-5, rtol=0)
    darker = Expose(-2)(x, Stream(0))
    torch.testing.assert_close(to_light((darker + 1) / 2), to_light((x + 1) / 2) / 4, atol=1e-6, rtol=1e-4)
    assert (Expose(3)(x, Stream(0)) > 0.9999).sum() == 5  # what was above an eighth of white's light
    value = torch.linspace(0, 1, 101)
    torch.testing.assert_close(from_light(to_light(value)), value, atol=1e-6, rtol=1e-5)


def test_a_sensor_without_noise_costs_only_the_mosaic(scenes: Tensor) -> None:
    flat = torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1).expand(3, 3, 8, 8)
    torch.testing.assert_close(Sensor(0, 0)(flat, ImageRng.counting(0, 3)), flat, atol=1e-4, rtol=0)
    assert psnr(Sensor(0, 0)(scenes, Stream(0)), scenes) > 25


def test_sensor_noise_grows_with_its_level_and_is_coloured_and_soft() -> None:
    x = torch.full((8, 3, 64, 64), -0.4)

    def residue(level: float) -> Tensor:
        out = Sensor(level, level)(x, ImageRng.counting(0, 8))
        return out - out.mean((2, 3), keepdim=True)

    quiet, loud = residue(0.0005), residue(0.01)
    assert loud.std() > 2 * quiet.std()
    neighbours = (loud[..., 1:] * loud[..., :-1]).mean() / loud.square().mean()
    assert neighbours > 0.2, "developing mixes neighbours"
    levels = torch.cat([Sensor()(x[:1], ImageRng([k])) for k in range(20)]).flatten(1).std(1)
    assert levels.max() > 2 * levels.min(), "the level is drawn for each picture"
    assert len(CAMERAS) == 4
    with pytest.raises(UsageError, match="even sides"):
        Sensor()(torch.zeros(1, 3, 7, 8), Stream(0))


def test_age_takes_the_colour_and_leaves_the_picture(scenes: Tensor) -> None:
    old = parse_chain("age")(scenes, ImageRng.counting(0, 6))
    tinted = (old[:, 0] - old[:, 2]).flatten(1)  # red over blue: the same tint all over, where scenes have many colours
    assert (tinted.mean(1) > 0).all()
    assert tinted.std(1).mean() < 0.5 * (scenes[:, 0] - scenes[:, 2]).flatten(1).std(1).mean()
    seen = torch.stack([Film(kind).apply(scenes)[:, 0] for kind in FILMS], 1).flatten(2)  # (B, films, pixels)
    for films, aged in zip(seen, old, strict=True):
        table = torch.corrcoef(torch.cat([aged.mean(0).flatten()[None], films]))
        assert table[0, 1:].max() > 0.3  # dark scenes hold little but scratches


def test_blind_damage_differs_from_picture_to_picture(scenes: Tensor) -> None:
    same = scenes[:1].expand(12, -1, -1, -1)
    worse = Blind(2)(same, ImageRng.counting(0, 12))
    assert worse.shape == (12, 3, 32, 32) and worse.abs().max() < 1.5
    plain = parse_chain("shrink:2").apply(same)
    errors = (worse - plain).square().mean((1, 2, 3))
    assert errors.max() > 2 * errors.min() > 0
    with pytest.raises(UsageError, match="evenly"):
        Blind(3)(scenes, Stream(0))
