"""Training pictures flipped, turned, and with their channels exchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zeuxis.data.augmented import ORDERS, augmented
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.library import open_source
from zeuxis.data.source import ArraySource
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import UsageError
from zeuxis.recipe import load_recipe

N = 500
INDEX = torch.arange(N)


def numbered(height: int = 4, width: int = 4, channels: int = 3, **fields: np.ndarray | list[str]) -> ArraySource:
    """The same picture many times, no two of whose values are equal."""
    one = np.arange(channels * height * width, dtype=np.uint8).reshape(1, channels, height, width)
    return ArraySource("numbered", np.repeat(one, N, 0), fields=fields)


def ways(images: torch.Tensor) -> set[bytes]:
    return {one.numpy().tobytes() for one in images}


def symmetries(image: torch.Tensor) -> set[bytes]:
    turned = [image.rot90(k, (1, 2)) for k in range(4)]
    return ways(torch.stack([*turned, *(one.flip(2) for one in turned)]))


def test_the_ways_are_the_symmetries_and_the_orders() -> None:
    source = numbered()
    image = source.pixels(INDEX[:1]).image[0]
    assert ways(augmented(source, ["flips"]).pixels(INDEX).image) == ways(torch.stack([image, image.flip(2)]))
    assert ways(augmented(source, ["turns"]).pixels(INDEX).image) == symmetries(image)
    orders = ways(torch.stack([image[list(order)] for order in ORDERS]))
    assert ways(augmented(source, ["channels"]).pixels(INDEX).image) == orders
    assert len(ways(augmented(source, ["turns", "channels"]).pixels(INDEX).image)) == 48


def test_what_lies_beside_a_picture_turns_with_it() -> None:
    image = numbered().pixels(INDEX).image.numpy()
    source = augmented(numbered(source=image, layout=image[:, 0], mask=image[:, :1] / 255), ["turns", "channels"])
    batch = source.batch(INDEX)
    assert torch.equal(batch.image, batch.condition.source)
    assert ways(batch.condition.layout) == symmetries(torch.arange(16).view(1, 4, 4))
    assert torch.equal((batch.condition.mask * 255).round().long()[:, 0], batch.condition.layout)


def test_each_epoch_varies_anew_and_an_example_is_the_same_in_any_company() -> None:
    source = augmented(numbered(), ["turns"])
    first, again, later = source.pixels(INDEX).image, source.at(0).pixels(INDEX).image, source.at(1).pixels(INDEX).image
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert torch.equal(source.pixels(INDEX[7:9]).image, first[7:9])
    assert source.fingerprint() == numbered().fingerprint()


def test_pictures_are_varied_before_their_damage() -> None:
    degraded = augmented(DegradedSource(numbered(8, 8), parse_chain("shrink:2")), ["turns"])
    batch = degraded.batch(INDEX[:20])
    assert len(ways(batch.image)) > 4
    small = parse_chain("shrink:2").apply(batch.image)
    torch.testing.assert_close(batch.condition.source, small)
    assert degraded.spec.source_shape == (3, 4, 4)


def test_what_would_become_untrue_is_refused() -> None:
    with pytest.raises(UsageError, match=r"comes with caption and factors.*leave augment out"):
        augmented(open_source("scenes", 32), ["flips"])
    with pytest.raises(UsageError, match="no squares: take flips"):
        augmented(numbered(4, 6), ["turns"])
    with pytest.raises(UsageError, match="leave channels out"):
        augmented(numbered(channels=1), ["channels"])
    augmented(numbered(4, 6, channels=1), ["flips"])


def test_a_recipe_names_the_ways() -> None:
    assert load_recipe("jpeg").augment == ("turns", "channels")
    with pytest.raises(UsageError, match=r"augment.*flips"):
        load_recipe("jpeg", ('augment=["spins"]',))


def test_without_any_it_is_the_source_itself() -> None:
    source = numbered()
    assert augmented(source, ()) is source
