"""Codes that are kept: those of the tokeniser, at one call for each picture, and never those of another picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.nn import code_cache
from zeuxis.nn.code_cache import CodeCache
from zeuxis.rng import Stream

SHAPE = Shape(1, 4, 4)
PICTURES = Stream(0).integers(256, 10, *SHAPE).float() / 127.5 - 1


class Tokeniser:
    """Says of each quarter how many of its values are positive, and counts the batches."""

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, image: Tensor) -> Tensor:
        self.calls += 1
        return (image > 0).unflatten(2, (2, 2)).unflatten(4, (2, 2)).sum((1, 3, 5))

    def decode(self, latent: Tensor) -> Tensor:
        raise NotImplementedError


def batch(rows: list[int], pictures: Tensor = PICTURES) -> Batch:
    return Batch(pictures[rows], index=torch.tensor(rows))


def test_a_picture_is_coded_once_in_whatever_order_it_comes_again() -> None:
    cache, tokeniser = CodeCache(SHAPE, 4), Tokeniser()
    for rows in ([0, 1, 2, 3], [4, 5, 6, 7], [7, 0, 2], [1, 1, 5, 4, 6, 3]):
        found = cache.tokenise(tokeniser, batch(rows))
        assert found.dtype == torch.int64
        assert torch.equal(found, Tokeniser().encode(PICTURES[rows]).flatten(1))
    assert tokeniser.calls == 2


def test_a_batch_with_one_unknown_picture_is_coded_whole() -> None:
    """So that its codes come of the same computation whether or not the others were seen before."""
    cache, tokeniser = CodeCache(SHAPE, 4), Tokeniser()
    cache.tokenise(tokeniser, batch([0, 1, 2, 3]))
    assert torch.equal(cache.tokenise(tokeniser, batch([2, 9])), Tokeniser().encode(PICTURES[[2, 9]]).flatten(1))
    assert tokeniser.calls == 2 and len(cache.rows) == 5


def test_an_example_whose_picture_is_another_now_is_coded_anew() -> None:
    cache, tokeniser = CodeCache(SHAPE, 4), Tokeniser()
    cache.tokenise(tokeniser, batch([0, 1]))
    for changed in (PICTURES.flip(3), PICTURES + 2 / 255 * (torch.arange(16).view(SHAPE) == 5)):
        found = cache.tokenise(tokeniser, batch([0, 1], changed))
        assert torch.equal(found, Tokeniser().encode(changed[:2]).flatten(1))
    assert tokeniser.calls == 3


def test_pictures_without_a_number_are_coded_every_time() -> None:
    cache, tokeniser = CodeCache(SHAPE, 4), Tokeniser()
    for _ in range(2):
        cache.tokenise(tokeniser, Batch(PICTURES[:2]))
    assert tokeniser.calls == 2 and not cache.rows


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "MOST", 16)
    cache, tokeniser = CodeCache(SHAPE, 4), Tokeniser()
    for rows in ([0, 1, 2], [3, 4], [5], [3, 4], [0, 5]):
        assert torch.equal(cache.tokenise(tokeniser, batch(rows)), Tokeniser().encode(PICTURES[rows]).flatten(1))
    assert len(cache.rows) == 4 and cache.codes.numel() <= 32


def test_fingerprints_of_pictures_one_level_apart_differ() -> None:
    cache = CodeCache(SHAPE, 4)
    grey = torch.zeros(16, *SHAPE)
    apart = grey + 2 / 255 * torch.eye(16).view(16, *SHAPE)
    assert len(cache.fingerprints(torch.cat([grey[:1], apart, PICTURES])).unique()) == 27
