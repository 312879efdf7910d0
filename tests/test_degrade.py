"""Degradations: are they what they say, and is the adjoint the adjoint?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.library import open_source
from zeuxis.degrade.language import KINDS, parse
from zeuxis.degrade.linear import LUMA, Blur, Grey, Mask, Shrink
from zeuxis.degrade.random import Hole
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
        "grey | blur:1.5 | shrink:4 | mask:0.3",
    ],
)
@pytest.mark.parametrize("size", [(8, 12), (16, 8)])
def test_adjoint(line: str, size: tuple[int, int]) -> None:
    chain = parse(line)
    x = pictures(2, 3, *size)
    y = chain.apply(x)
    other = pictures(*y.shape, seed=1)
    back = chain.adjoint(other)
    assert back.shape == x.shape
    torch.testing.assert_close((y * other).sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("line", ["grey", "shrink:2", "blur:1.3", "mask:0.5"])
def test_linear(line: str) -> None:
    chain = parse(line)
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


def test_blur_is_gaussian() -> None:
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    spread = Blur(2.0).apply(point)[0, 0]
    x = torch.arange(41, dtype=torch.float64) - 20
    assert spread.sum().item() == pytest.approx(1)
    assert (spread.sum(0) * x).sum().item() == pytest.approx(0, abs=1e-12)
    assert (spread.sum(0) * x**2).sum().item() == pytest.approx(4, rel=0.05)  # the tails beyond 3 sigma are cut
    torch.testing.assert_close(spread[20, 22] / spread[20, 20], torch.tensor(0.5, dtype=torch.float64).exp() ** -1)


def test_blur_keeps_a_plain_picture_up_to_its_edges() -> None:
    plain = torch.full((1, 3, 9, 5), 0.7)
    torch.testing.assert_close(Blur(3.0).apply(plain), plain)


def test_mask_hides_what_its_mask_says() -> None:
    x = torch.ones(1, 3, 8, 8)
    assert torch.equal(Mask(0.5).apply(x), 1 - Mask(0.5).mask(x).expand(1, 3, 8, 8))
    assert Mask(0.5).mask(x).sum() == 16
    assert Mask(0.5).mask(x)[0, 0, 2:6, 2:6].all()


def test_hole_is_a_box_that_moves() -> None:
    x = torch.ones(200, 1, 8, 8)
    lost = Hole(0.5).mask(x, Stream(0))
    assert (lost.sum((1, 2, 3)) == 16).all()
    assert (lost.sum(0) > 0).all(), "some pixel is never hidden"
    corners = torch.stack([lost[:, 0, 0, 0], lost[:, 0, -1, -1]])
    assert (corners.sum(1) > 0).all()
    assert torch.equal(Hole(0.5)(x, Stream(0)), 1 - lost)


def test_noise_has_the_stated_deviation_and_no_bias() -> None:
    x = torch.full((4, 3, 64, 64), 0.25)
    added = parse("noise:0.1")(x, Stream(0)) - x
    assert added.std().item() == pytest.approx(0.1, rel=0.02)
    assert added.mean().item() == pytest.approx(0, abs=0.003)


def test_a_chain_applies_from_left_to_right() -> None:
    x = pictures(1, 3, 8, 8)
    assert torch.equal(parse("mask:0.5 | blur:1").apply(x), Blur(1).apply(Mask(0.5).apply(x)))
    assert not torch.allclose(parse("mask:0.5 | blur:1").apply(x), parse("blur:1 | mask:0.5").apply(x))


def test_same_seed_same_damage_in_any_company() -> None:
    x = torch.ones(4, 3, 8, 8)
    chain = parse("hole:0.4 | noise:0.2")
    together = chain(x, ImageRng.counting(5, 4))
    assert torch.equal(together[2:3], chain(x[:1], ImageRng([7])))
    assert not torch.equal(together[0], together[1])


def test_a_line_spells_what_was_parsed() -> None:
    line = "grey | shrink:2 | blur:1.25 | mask:0.5 | hole:0.3333333 | noise:0.05"
    assert str(parse(line)) == line
    assert parse(str(parse(line))) == parse(line)
    assert {part.split(":")[0] for part in line.split(" | ")} == set(KINDS), "a kind is missing from this test"
    assert parse(" blur : 2".replace(" : ", ":")) == parse("blur:2.0")


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("blurr:2", UnknownName, "did you mean blur"),
        ("", UnknownName, "known: blur"),
        ("blur:2 |", UnknownName, "known"),
        ("blur", UsageError, "write blur:SIGMA"),
        ("grey:1", UsageError, "write grey"),
        ("blur:1,2", UsageError, "write blur:SIGMA"),
        ("blur:much", UsageError, "sigma is 'much'"),
        ("blur:0", UsageError, "above 0"),
        ("blur:nan", UsageError, "above 0"),
        ("blur:inf", UsageError, "above 0"),
        ("shrink:2.5", UsageError, "int"),
        ("shrink:0", UsageError, "at least 1"),
        ("noise:-1", UsageError, "below 0"),
        ("mask:2", UsageError, "share"),
        ("hole:0", UsageError, "share"),
    ],
)
def test_a_wrong_line_is_explained(line: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        parse(line)


def test_what_is_not_linear_has_no_adjoint() -> None:
    with pytest.raises(Unsupported, match=r"noise:0\.1"):
        parse("blur:1 | noise:0.1").adjoint(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UsageError, match="4 channels"):
        Grey().apply(torch.zeros(1, 4, 8, 8))


def test_pairs_from_any_source() -> None:
    source = open_source("digits | blur:1 | noise:0.1", size=16)
    assert isinstance(source, DegradedSource)
    assert source.gives == {"label", "source"}
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
