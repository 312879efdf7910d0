"""Faults planted in real pictures, each of which a headline figure must see; and real pictures, which none may accuse.

Training pictures take the place of generated ones: damaged, repeated, or with one class left out.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zeuxis.api.features import GRAIN, UNTRAINED, Features, features_of
from zeuxis.batch import to_float, to_uint8
from zeuxis.data.library import open_source
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import UsageError
from zeuxis.metrics.distance import nearest
from zeuxis.metrics.frechet import Moments, frechet
from zeuxis.metrics.neighbours import copying, thumbnails
from zeuxis.metrics.precision import precision_recall
from zeuxis.metrics.two_sample import two_sample, views
from zeuxis.rng import Stream

N, SIDE = 300, 24


def pictures(split: str, n: int = N) -> Tensor:
    return open_source("scenes", SIDE, split).batch(torch.arange(n)).image


@pytest.fixture(scope="module")
def held_out() -> Tensor:
    return pictures("test")


@pytest.fixture(scope="module")
def training() -> Tensor:
    return pictures("train")


@pytest.fixture(scope="module")
def seen(held_out: Tensor) -> Moments:
    """Of the space that sees grain."""
    return Moments.of(features_of("scenes", GRAIN).of(held_out))


def noise(image: Tensor) -> Tensor:
    """Of six grey levels."""
    return to_float(to_uint8(image + 6 / 127.5 * Stream(1).normal(*image.shape)))


def blur(image: Tensor) -> Tensor:
    return parse_chain("blur:0.7")(image, Stream(2))


def jpeg(image: Tensor) -> Tensor:
    found = []
    for picture in to_uint8(image):
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=75)
        found.append(torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1))
    return to_float(torch.stack(found))


def checkerboard(image: Tensor) -> Tensor:
    """Every second pixel of every second row eight grey levels brighter, as transposed convolutions leave it."""
    image = image.clone()
    image[..., ::2, ::2] += 8 / 127.5
    return image.clamp(-1, 1)


DAMAGES = (noise, blur, jpeg, checkerboard)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_space_that_sees_grain_sees_it(damage, seen: Moments, training: Tensor) -> None:
    space = features_of("scenes", GRAIN)
    floor, found = frechet(space.of(training), seen), frechet(space.of(damage(training)), seen)
    assert found > 2 * floor, f"{found:.3f} beside a floor of {floor:.3f}"


@pytest.mark.parametrize("damage", DAMAGES[:3])
def test_the_two_sample_test_sees_grain(damage, held_out: Tensor, training: Tensor) -> None:
    half = slice(N // 2)  # the deviations of 75 pictures a side
    real, fake = (views(x[half], Stream(3)) for x in (held_out, damage(training)))
    found = two_sample(real, fake, Stream(4))
    assert found.auroc > 0.5 + 4 * found.error and found.auroc > 0.75, found


def test_the_two_sample_test_accuses_no_real_picture(held_out: Tensor, training: Tensor) -> None:
    found = two_sample(views(held_out, Stream(5)), views(training, Stream(5)), Stream(6))
    assert abs(found.auroc - 0.5) < 4 * found.error and found.samples == N


def test_memorised_pictures_that_repeat_themselves_are_seen(held_out: Tensor, training: Tensor) -> None:
    memorised = training[: N // 10].repeat(10, 1, 1, 1)
    bank, real = thumbnails(training), nearest(thumbnails(held_out), thumbnails(training), 1)[0][:, 0]
    for seen_as in (memorised, noise(memorised)):
        found = copying(nearest(thumbnails(seen_as), bank, 1)[0][:, 0], real)
        assert found.share == 1 and found.expected == 0.01 and found.nearer > 0.99, found
    new = copying(nearest(thumbnails(pictures("val")), bank, 1)[0][:, 0], real)
    assert new.share < 0.05 and abs(new.nearer - 0.5) < 4 * new.error
    space: Features = features_of("scenes", UNTRAINED)
    support = precision_recall(space.of(held_out), space.of(memorised))
    assert support.recall == 0, "balls around copies have no radius"
    assert precision_recall(space.of(held_out), space.of(training)).recall > 0.5


def test_a_class_left_out_is_seen() -> None:
    space, source = features_of("digits"), open_source("digits", None, "train")
    batch, label = source.batch(torch.arange(1200)), source.batch(torch.arange(1200)).condition.label
    assert label is not None
    features = space.of(batch.image)
    real, fake, of_fake = features[:600], features[600:], label[600:]
    floor, without = frechet(fake, real), frechet(fake[of_fake != 3], real)
    assert without > 2 * floor
    recall, full = precision_recall(real, fake[of_fake != 3]).recall, precision_recall(real, fake).recall
    assert recall < full - 0.05


def test_views_show_grain_and_arrangement_of_larger_pictures() -> None:
    image = to_float(Stream(7).integers(256, 3, 3, 64, 48).byte())
    seen = views(image, Stream(8))
    assert seen.shape == (3, 6, 32, 32) and seen.dtype == torch.uint8
    inside = to_uint8(image).unfold(2, 32, 1).unfold(3, 32, 1)  # every part of that size
    assert (inside == seen[:, :3, None, None]).all(-1).all(-1).all(1).any()
    assert torch.equal(views(image[..., :32, :32], Stream(8)), to_uint8(image[..., :32, :32]))


def test_the_two_sample_test_is_seeded_and_refuses_what_it_cannot_halve(held_out: Tensor) -> None:
    some = views(held_out[:12], Stream(9))
    assert two_sample(some, some.flip(0), Stream(1)) == two_sample(some, some.flip(0), Stream(1))
    with pytest.raises(UsageError, match="3 pictures a side cannot be halved"):
        two_sample(some[:3], some, Stream(1))
    with pytest.raises(UsageError, match="told apart by their shape"):
        two_sample(some, some[:, :1], Stream(1))
    with pytest.raises(UsageError, match="not finite"):
        views(held_out[:2] * torch.nan, Stream(1))
