"""Degradations: are they what they say, and is the adjoint the adjoint?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.library import open_source
from zeuxis.degrade.blur import Blur
from zeuxis.degrade.language import DEGRADATIONS, parse_chain
from zeuxis.degrade.mask import Hole, Mask, Outpaint, Strokes, Uncrop
from zeuxis.degrade.resize import Bicubic, Shrink
from zeuxis.degrade.tone import LUMA, Film, Grey
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.rng import ImageRng, Stream


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(*shape).double()


@pytest.mark.parametrize(
    "line",
    [
        "grey",
        "shrink:2",
        "shrink:4",
        "blur:0.6",
        "blur:2",
        "blur:30",
        "mask:0.5",
        "mask:1",
        "outpaint:0.3",
        "bicubic:2",
        "bicubic:4",
        "subsample:2",
        "smear:2,0.7,20",
        "smear:9,1,80",
        "motion:5,0",
        "motion:40,65",
        "defocus:2.5",
        "film:blue",
        "grey | blur:1.5 | shrink:4 | mask:0.3",
    ],
)
@pytest.mark.parametrize("size", [(8, 12), (16, 8)])
def test_adjoint(line: str, size: tuple[int, int]) -> None:
    chain = parse_chain(line)
    x = pictures(2, 3, *size)
    y = chain.apply(x)
    other = pictures(*y.shape, seed=1)
    back = chain.adjoint(other)
    assert back.shape == x.shape
    torch.testing.assert_close((y * other).sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "line",
    ["grey", "shrink:2", "blur:1.3", "mask:0.5", "outpaint", "bicubic", "subsample", "smear", "motion", "defocus"],
)
def test_linear(line: str) -> None:
    chain = parse_chain(line)
    x, z = pictures(2, 3, 8, 8), pictures(2, 3, 8, 8, seed=1)
    torch.testing.assert_close(chain.apply(2 * x - 3 * z), 2 * chain.apply(x) - 3 * chain.apply(z))


def test_grey_is_the_luma() -> None:
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    expected = LUMA[0] - LUMA[1] - LUMA[2]
    torch.testing.assert_close(Grey().apply(red), torch.full((1, 3, 4, 4), expected))
    one = pictures(1, 1, 4, 4)
    assert torch.equal(Grey().apply(one), one)


def test_shrink_is_the_mean() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(Shrink(2).apply(x), torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
    with pytest.raises(UsageError, match="5x4"):
        Shrink(2).apply(torch.zeros(1, 1, 4, 5))
    with pytest.raises(UsageError, match="30x5 pixels cannot be divided by 4 evenly, 28x4 can"):
        Bicubic(4).apply(torch.zeros(1, 1, 5, 30))


def test_blur_is_gaussian() -> None:
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    spread = Blur(2.0).apply(point)[0, 0]
    x = torch.arange(41, dtype=torch.float64) - 20
    assert spread.sum().item() == pytest.approx(1)
    assert (spread.sum(0) * x).sum().item() == pytest.approx(0, abs=1e-12)
    assert (spread.sum(0) * x**2).sum().item() == pytest.approx(4, rel=0.05)  # the tails beyond 3 sigma are cut
    torch.testing.assert_close(spread[20, 22] / spread[20, 20], torch.tensor(0.5, dtype=torch.float64).exp() ** -1)


@pytest.mark.parametrize("line", ["blur:3", "smear:4,1,30", "motion:12,50", "defocus:3", "bicubic:1"])
def test_a_plain_picture_stays_plain_up_to_its_edges(line: str) -> None:
    plain = torch.full((1, 3, 9, 5), 0.7)
    torch.testing.assert_close(parse_chain(line).apply(plain), plain)


def moments(spread: Tensor) -> tuple[float, float, float]:
    """The variances along x and y, and the covariance, of a point that was spread (H, W)."""
    at = torch.arange(len(spread), dtype=spread.dtype) - len(spread) // 2
    x, y = at[None], at[:, None]
    return tuple((spread * moment).sum().item() for moment in (x * x, y * y, x * y))


def spread(line: str) -> Tensor:
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    out = parse_chain(line).apply(point)[0, 0]
    assert out.sum().item() == pytest.approx(1)
    torch.testing.assert_close(out, out.flip(0, 1))
    return out


def test_kernels_have_the_stated_size_and_direction() -> None:
    xx, yy, xy = moments(spread("smear:4,2,0"))
    assert (xx, yy, xy) == (pytest.approx(16, rel=0.05), pytest.approx(4, rel=0.05), pytest.approx(0, abs=1e-9))
    xx, yy, xy = moments(spread("smear:4,2,45"))  # turned from x towards y, which points down
    assert xx == pytest.approx(yy) and xy == pytest.approx(6, rel=0.1)
    xx, yy, _ = moments(spread("motion:13,0"))
    assert xx == pytest.approx(13**2 / 12, rel=0.15) and yy == pytest.approx(0, abs=0.1)
    torch.testing.assert_close(spread("motion:13,90"), spread("motion:13,0").T)
    xx, yy, _ = moments(spread("defocus:6"))
    assert xx == pytest.approx(36 / 4, rel=0.1) and yy == pytest.approx(xx)


def test_a_blind_blur_is_as_wide_as_it_says_whatever_its_kind() -> None:
    """A point spreads: the covariance of where it lands has the square of the deviation as its larger eigenvalue."""
    point = torch.zeros(24, 1, 41, 41)
    point[:, :, 20, 20] = 1
    spread = parse_chain("blind-blur:2,2")(point, ImageRng.counting(0, 24))[:, 0].double()
    assert spread.sum((1, 2)) == pytest.approx(1, abs=1e-5)
    x = torch.arange(-20.0, 21.0, dtype=torch.float64)
    xx, yy = (spread.sum(1) * x**2).sum(1), (spread.sum(2) * x**2).sum(1)
    xy = (spread * x[:, None] * x).sum((1, 2))
    widest, narrowest = (
        (xx + yy) / 2 + way * (((xx - yy) / 2) ** 2 + xy**2).sqrt() for way in (1, -1)
    )  # of a symmetric 2 x 2 matrix
    assert widest.sqrt() == pytest.approx(2, rel=0.06)
    lines = narrowest.clamp(min=0).sqrt() < 0.7
    assert 3 <= int(lines.sum()) <= 15, "a third are movements"
    assert narrowest[~lines].sqrt() == pytest.approx(2, rel=0.06), "the others are round"
    wider = parse_chain("blind-blur:0.5,3")(point, ImageRng.counting(0, 24))[:, 0].amax((1, 2))
    assert wider.min() < 0.05 and wider.max() > 0.15


def test_bicubic_is_pillow_s() -> None:
    x = pictures(1, 1, 24, 36).float()
    theirs = Image.fromarray(x[0, 0].numpy()).resize((9, 6), Image.Resampling.BICUBIC)
    torch.testing.assert_close(Bicubic(4).apply(x)[0, 0], torch.from_numpy(np.array(theirs)), rtol=1e-4, atol=1e-5)


def test_old_films_are_blind_to_red() -> None:
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert torch.equal(Film("orthochromatic").apply(red), torch.full((1, 3, 4, 4), -1.0))
    assert torch.equal(Film("panchromatic").apply(red), Grey().apply(red))
    with pytest.raises(UnknownName, match="did you mean blue"):
        parse_chain("film:bleu")


def test_mask_hides_what_its_mask_says() -> None:
    x = torch.ones(1, 3, 8, 8)
    assert torch.equal(Mask(0.5).apply(x), 1 - Mask(0.5).place(x).expand(1, 3, 8, 8))
    assert Mask(0.5).place(x).sum() == 16
    assert Mask(0.5).place(x)[0, 0, 2:6, 2:6].all()


def test_hole_is_a_box_that_moves() -> None:
    x = torch.ones(200, 1, 8, 8)
    lost = Hole(0.5).mask(x, Stream(0))
    assert (lost.sum((1, 2, 3)) == 16).all()
    assert (lost.sum(0) > 0).all(), "some pixel is never hidden"
    corners = torch.stack([lost[:, 0, 0, 0], lost[:, 0, -1, -1]])
    assert (corners.sum(1) > 0).all()
    assert torch.equal(Hole(0.5)(x, Stream(0)), 1 - lost)


def test_every_way_to_hide_hides_what_it_says() -> None:
    x = torch.rand(64, 3, 16, 16) + 1
    for part in (Mask(0.5), Outpaint(0.5), Uncrop(0.25), Hole(0.3), Strokes(2)):
        hidden = part.mask(x, ImageRng.counting(0, 64))
        worse = part(x, ImageRng.counting(0, 64))
        assert hidden.shape == (64, 1, 16, 16) and set(hidden.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(worse == 0, hidden.bool().expand_as(worse))
        assert torch.equal(worse[hidden.expand_as(x) == 0], x[hidden.expand_as(x) == 0])
    sides = Uncrop(0.25).mask(x, ImageRng.counting(0, 64))
    assert (sides.sum((1, 2, 3)) == 4 * 16).all()
    corners = sides[:, 0, [0, 0, 15], [7, 15, 7]]  # upper edge's middle, a corner, lower edge's middle
    assert corners.any(0).all() and not corners.all(0).any()
    painted = Strokes(3).mask(x, ImageRng.counting(0, 64)).mean((1, 2, 3))
    assert (painted > 0.01).all() and painted.std() > 0.02 and painted.mean() < 0.6


def test_pairs_tell_what_is_hidden() -> None:
    source = open_source("digits | hole:0.5 | noise:0.1", size=16)
    assert source.spec.provides == {"label", "source", "mask"}
    batch = source.batch(torch.arange(4))
    assert batch.condition.mask is not None and (batch.condition.mask.sum((1, 2, 3)) == 64).all()
    with pytest.raises(UsageError, match="before the mask"):
        open_source("digits | hole | shrink:2", size=16).batch(torch.arange(4))
    assert open_source("digits | shrink:2 | hole", size=16).batch(torch.arange(2)).condition.mask.shape[-1] == 8


def test_noise_has_the_stated_deviation_and_no_bias() -> None:
    x = torch.full((4, 3, 64, 64), 0.25)
    added = parse_chain("noise:0.1")(x, Stream(0)) - x
    assert added.std().item() == pytest.approx(0.1, rel=0.02)
    assert added.mean().item() == pytest.approx(0, abs=0.003)


def test_a_chain_applies_from_left_to_right() -> None:
    x = pictures(1, 3, 8, 8)
    assert torch.equal(parse_chain("mask:0.5 | blur:1").apply(x), Blur(1).apply(Mask(0.5).apply(x)))
    assert not torch.allclose(parse_chain("mask:0.5 | blur:1").apply(x), parse_chain("blur:1 | mask:0.5").apply(x))


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_every_kind_is_seeded_finite_and_alone_in_its_row(name: str) -> None:
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = x.clone()
    chain = parse_chain(name)
    together = chain(x, ImageRng.counting(5, 4))
    assert torch.equal(x, before), "the clean picture was changed"
    assert together.isfinite().all() and together.dtype == x.dtype and together.shape[:2] == x.shape[:2]
    assert torch.equal(together, chain(x, ImageRng.counting(5, 4)))
    torch.testing.assert_close(together[2:3], chain(x[2:3], ImageRng([7])), rtol=1e-5, atol=1e-6)
    assert together.shape != x.shape or not torch.equal(together, x)
    assert chain(x, Stream(3)).isfinite().all()  # in training one stream serves all


def test_a_line_spells_what_was_parsed() -> None:
    line = "grey | shrink:2 | blur:1.25 | mask:0.5 | hole:0.3333333 | noise:0.05 | film:blue"
    assert str(parse_chain(line)) == line
    for name in DEGRADATIONS:
        assert parse_chain(str(parse_chain(name))) == parse_chain(name), "defaults are spelt out"
    assert parse_chain("motion:15") == parse_chain("motion:15,30")
    assert parse_chain(" blur : 2".replace(" : ", ":")) == parse_chain("blur:2.0")


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("blurr:2", UnknownName, "did you mean blur"),
        ("", UnknownName, "known: age, bicubic"),
        ("blur:2 |", UnknownName, "known"),
        ("motion:1,2,3", UsageError, "write motion:LENGTH,DEGREES"),
        ("jpeg:0", UsageError, "1 to 100"),
        ("shot:0", UsageError, "photons"),
        ("outpaint:1", UsageError, "nothing is left"),
        ("sensor:0.1,0.01", UsageError, "least"),
        ("defocus:-1", UsageError, "above 0"),
        ("strokes:0", UsageError, "at least 1"),
        ("age:2", UsageError, "amount"),
        ("grey:1", UsageError, "write grey"),
        ("blur:1,2", UsageError, "write blur:SIGMA"),
        ("blur:much", UsageError, "sigma is 'much'"),
        ("blur:0", UsageError, "above 0"),
        ("blur:nan", UsageError, "above 0"),
        ("blur:inf", UsageError, "above 0"),
        ("shrink:2.5", UsageError, "int"),
        ("shrink:0", UsageError, "at least 1"),
        ("noise:-1", UsageError, "below 0"),
        ("noise:25", UsageError, "in units of .* of levels of 255 write noise:0.196"),
        ("blind-noise:0,50", UsageError, "write blind-noise:0,0.392"),
        ("grain:12.75", UsageError, "write grain:0.1"),
        ("mask:2", UsageError, "share"),
        ("hole:0", UsageError, "share"),
    ],
)
def test_a_wrong_line_is_explained(line: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        parse_chain(line)


def test_what_is_not_linear_has_no_adjoint() -> None:
    with pytest.raises(Unsupported, match=r"noise:0\.1"):
        parse_chain("blur:1 | noise:0.1").adjoint(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UsageError, match="4 channels"):
        Grey().apply(torch.zeros(1, 4, 8, 8))


def test_pairs_from_any_source() -> None:
    source = open_source("digits | blur:1 | noise:0.1", size=16)
    assert isinstance(source, DegradedSource)
    assert source.spec.provides == {"label", "source"}
    index = torch.tensor([3, 11, 5])
    batch: Batch = source.batch(index)
    clean = open_source("digits", size=16).batch(index)
    assert torch.equal(batch.image, clean.image)
    assert batch.condition.source is not None and clean.condition.label is not None
    assert torch.equal(batch.condition.label, clean.condition.label)
    assert 0.05 < (batch.condition.source - Blur(1).apply(clean.image)).std() < 0.15
    again = source.batch(torch.tensor([5])).condition.source
    torch.testing.assert_close(again, batch.condition.source[2:])  # an example's damage does not depend on its company
    assert source.fingerprint() != open_source("digits | blur:2", size=16).fingerprint()
    with pytest.raises(UnknownName, match="digits"):
        open_source("digitz | blur:1")
