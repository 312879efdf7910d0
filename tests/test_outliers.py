"""Outliers: each kind is what it says, and no longer of the pictures' distribution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zeuxis.data.foreign import Foreign
from zeuxis.errors import UnknownName, UsageError
from zeuxis.nn.outliers import CLASSIC, KINDS, MADE, Kind, damaged, kinds_of, make_outliers, partners
from zeuxis.rng import Stream
from zeuxis.spec import Shape


def pictures(n: int = 6, shape: tuple[int, int, int] = (3, 16, 16)) -> Tensor:
    """Every value of every picture another: what is moved can be found again."""
    size = n * shape[0] * shape[1] * shape[2]
    return (torch.arange(size).view(n, *shape) + 0.5) * 1.8 / size - 0.9


def made(kind: Kind, image: Tensor, seed: int = 0) -> Tensor:
    return kind(image, image.roll(1, 0), Stream(seed))


@pytest.mark.parametrize("kind", dict.fromkeys((*KINDS, *CLASSIC)), ids=lambda kind: kind.__name__)
def test_each_kind_is_seeded_and_leaves_no_picture_as_it_was(kind: Kind) -> None:
    for shape in ((3, 16, 16), (1, 8, 8), (12, 20, 36)):
        image = pictures(6, shape)
        kept = image.clone()
        once, again = made(kind, image), made(kind, image)
        assert once.shape == image.shape and once.isfinite().all() and torch.equal(image, kept)
        assert torch.equal(once, again)
        if kind not in {damaged.halved, damaged.negative}:  # these draw nothing
            assert any(not torch.equal(once, made(kind, image, seed)) for seed in range(1, 9))
        assert (once != image).flatten(1).any(1).all()


def test_an_outlier_is_made_for_each_picture_within_range() -> None:
    image = 4 * pictures(64)
    found = make_outliers(image, Stream(3))
    assert found.shape == image.shape and found.abs().max() == 1
    assert (found != image).flatten(1).any(1).float().mean() > 0.95
    assert torch.equal(make_outliers(image.half(), Stream(3)).float(), make_outliers(image.half(), Stream(3)).float())
    assert make_outliers(image.half(), Stream(3)).dtype == torch.float16


def test_the_classic_kinds_are_mixtures_negatives_and_paint_in_thirds() -> None:
    image = pictures(300)
    found = make_outliers(image, Stream(12), CLASSIC)
    negative = (found == -image).flatten(1).all(1)
    mixed = (found == (image + image.roll(1, 0)) / 2).flatten(1).all(1)
    for share in (negative, mixed, ~(negative | mixed)):
        assert float(share.float().mean()) == pytest.approx(1 / 3, abs=0.1)


def test_partners_are_other_pictures_half_of_them_the_most_alike() -> None:
    image = torch.arange(100.0)[:, None, None, None].expand(100, 3, 4, 4).clone() / 100
    image[1::2] -= 1 / 300  # 0 and 1 are most alike, and 2 and 3, ...
    found = partners(image, Stream(4))
    which = torch.cdist(found[:, 0, 0, :1], image[:, 0, 0, :1]).argmin(1)
    assert (which != torch.arange(100)).all()
    alike, before = torch.arange(100) ^ 1, torch.arange(100).roll(1)
    assert ((which == alike) | (which == before)).all()
    assert float((which == alike)[::2].float().mean()) == pytest.approx(0.5, abs=0.15)


def test_joined_pictures_are_one_beside_the_other() -> None:
    image = pictures(40)
    others = image.roll(1, 0)
    found = made(damaged.joined, image)
    from_other = (found == others).all(1)
    assert torch.equal(from_other, (found != image).all(1))
    share = from_other.float().mean((1, 2))
    assert share.min() > 0.15 and share.max() < 0.85
    assert (from_other.float().diff(dim=2).abs().sum(2) <= 1).all(), "one straight border: crossed once in a row"


@pytest.mark.parametrize("kind", [damaged.shuffled, damaged.rolled, damaged.turned])
def test_pixels_that_change_places_are_all_there(kind: Kind) -> None:
    image = pictures(6)
    for seed in range(6):
        found = made(kind, image, seed)
        assert torch.equal(found.flatten(2).sort(2).values, image.flatten(2).sort(2).values)


def test_what_is_pasted_is_one_shape_of_one_colour_and_the_rest_stays() -> None:
    image = pictures(200, (3, 32, 32))
    found = made(damaged.pasted, image)
    touched = (found != image).any(1).float().mean((1, 2))
    assert touched.min() > 0 and touched.max() < 0.6 and 0.03 < touched.median() < 0.3
    patch = made(damaged.patched, image)
    assert ((patch != image).any(1).float().mean((1, 2)) < 0.7).all()


def test_pictures_of_numbers_owe_nothing_to_the_picture() -> None:
    image = pictures(8)
    for kind in MADE:
        assert torch.equal(made(kind, image), made(kind, -image))


def test_foreign_pictures_have_the_shape_that_is_asked_for() -> None:
    scene = Foreign(("scenes",), Shape(3, 16, 16)).pictures(5, Stream(1))
    assert scene.shape == (5, 3, 16, 16) and scene.abs().max() <= 1
    assert torch.equal(scene, Foreign(("scenes",), Shape(3, 16, 16)).pictures(5, Stream(1)))
    grey = Foreign(("scenes",), Shape(1, 16, 16)).pictures(5, Stream(1))
    torch.testing.assert_close(grey, scene.mean(1, keepdim=True))
    clip = Foreign(("scenes",), Shape(12, 16, 16)).pictures(5, Stream(1))
    assert torch.equal(clip, scene.repeat(1, 4, 1, 1))
    assert Foreign(("phantoms",), Shape(3, 16, 16)).pictures(2, Stream(1)).shape == (2, 3, 16, 16)
    assert Foreign((), Shape(3, 16, 20)).names == ()


def test_unknown_worlds_are_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="scenes"):
        Foreign(("scens",), Shape(3, 16, 16))
    with pytest.raises(UsageError, match="worlds draw squares, not 20x16"):
        Foreign(("scenes",), Shape(3, 16, 20))


def test_clips_lose_their_order_and_nothing_else() -> None:
    """Frames of one value each: 0, 1, 2, 3 in the first clip, 4 to 7 in the second."""
    image = torch.arange(8.0).view(2, 4, 1, 1, 1).expand(2, 4, 3, 5, 5).flatten(1, 2)
    exchanged, late, still = (
        kind(image, image.flip(0), Stream(2)).view(2, 4, 3, 5, 5) for kind in kinds_of(4)[len(KINDS) :][:3]
    )
    for found in (exchanged, late, still):
        assert torch.equal(found, found[:, :, :1, :1, :1].expand_as(found)), "frames stay whole"
    order = late[:, :, 0, 0, 0]
    assert order[0].sort().values.tolist() == [0, 1, 2, 3] and sum(order[0].diff() != 1) == 1
    assert len(set(still[0, :, 0, 0, 0].tolist())) == 1
    foreign = exchanged[:, :, 0, 0, 0] != torch.arange(8.0).view(2, 4)
    assert foreign.sum(1).tolist() == [1, 1]
    assert kinds_of(1) == KINDS
