"""Windows that read and write pictures exactly, and words that are read in order or in a bag and aligned with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.nn.align import Alignment, BagOfWords, BidirectionalLSTM, TextContext
from zeuxis.nn.draw import Window, filter_bank, read, window, write
from zeuxis.nn.text import WordTokeniser
from zeuxis.rng import Stream

WORDS = ("a", "red", "blue", "circle", "square", "above")
LONG = "a red circle above a blue square"
SHAPE = Shape(3, 12, 10)


def pictures(n: int, shape: Shape = SHAPE) -> Tensor:
    return Stream(1).uniform(n, *shape) * 2 - 1


# -- windows ------------------------------------------------------------------------------------------


def test_filters_sum_to_one_wherever_they_lie() -> None:
    centre = torch.tensor([-300.0, -0.5, 4.3, 11.0, 1000.0])
    for variance in (1e-6, 1.0, 1e4):
        bank = filter_bank(centre, torch.full((5,), 2.5), torch.full((5,), variance), 7, 12)
        assert bank.shape == (5, 7, 12) and (bank >= 0).all()
        assert torch.allclose(bank.sum(2), torch.ones(5, 7))


def test_a_filter_is_the_normalised_gaussian_of_the_paper() -> None:
    bank = filter_bank(torch.tensor([3.2]), torch.tensor([1.5]), torch.tensor([0.7]), 4, 9)[0]
    for i in range(1, 5):
        # Eq. 19 counts filters and pixels from 1; the centre 3.2 from 0 is 4.2 so counted.
        mu = 4.2 + (i - 4 / 2 - 0.5) * 1.5
        weights = torch.tensor([torch.tensor(-((a - mu) ** 2) / (2 * 0.7)).exp() for a in range(1, 10)])
        assert torch.allclose(bank[i - 1], weights / weights.sum(), atol=1e-6)


def test_a_narrow_window_at_stride_one_reads_the_patch_as_it_is() -> None:
    image = pictures(2)
    at = Window(
        torch.tensor([3.5, 6.5]), torch.tensor([4.5, 2.5]), torch.ones(2), torch.full((2,), 0.01), torch.ones(2)
    )
    patch = read(image, at, 4)
    assert torch.allclose(patch[0], image[0, :, 2:6, 3:7], atol=1e-6)
    assert torch.allclose(patch[1], image[1, :, 5:9, 1:5], atol=1e-6)


def test_what_a_whole_window_reads_it_writes_back() -> None:
    shape = Shape(2, 6, 6)
    middle, one = torch.full((3,), 2.5), torch.ones(3)
    image, at = pictures(3, shape), Window(middle, middle, one, 0.01 * one, 2.5 * one)  # a filter on every pixel
    patch = read(image, at, 6)
    assert torch.allclose(patch, 2.5 * image, atol=1e-5)
    assert torch.allclose(write(patch, at, shape), image, atol=1e-5)


def test_writing_is_the_transpose_of_reading() -> None:
    context = Stream(2).normal(3, 5)
    at = window(context, 4, SHAPE)
    image, patch = pictures(3), Stream(3).normal(3, 3, 4, 4)
    one = (read(image, at, 4) * patch).sum((1, 2, 3))
    other = (image * write(patch, at, SHAPE)).sum((1, 2, 3))
    assert torch.allclose(one, at.strength.square() * other, rtol=1e-4, atol=1e-5)


def test_a_silent_network_looks_at_the_whole_picture_and_a_loud_one_stays_finite() -> None:
    at = window(torch.tensor([[0.0] * 5, [1e9] * 5, [-1e9] * 5]), 4, SHAPE)
    row, column, stride, variance, strength = (x[0] for x in at)
    assert (row, column) == (5.5, 4.5) and stride == 11 / 3 and (variance, strength) == (1, 1)
    assert all(torch.isfinite(x).all() for x in at)
    patch = read(pictures(3), at, 4)
    assert torch.isfinite(patch).all() and torch.isfinite(write(patch, at, SHAPE)).all()
    ends = [(row + (i - 1.5) * stride).item() for i in (0, 3)]
    assert ends == pytest.approx([0, 11])


# -- words --------------------------------------------------------------------------------------------


def encoded(*captions: str, length: int = 8) -> tuple[Tensor, Tensor]:
    return WordTokeniser(WORDS, length).encode(captions)


def test_alignment_weighs_words_and_never_padding() -> None:
    align = Alignment(12, 16, 5)
    context = BidirectionalLSTM(len(WORDS), 6)(*encoded(LONG, "a circle"))
    state = Stream(0).normal(2, 16)
    attended, weights = align(context, state)
    assert torch.allclose(weights.sum(1), torch.ones(2)) and (weights[context.mask] > 0).all()
    assert (weights[~context.mask] == 0).all()
    assert torch.allclose(attended, (weights[..., None] * context.vectors).sum(1), atol=1e-6)
    noisy = TextContext(context.vectors + 100 * ~context.mask[..., None], context.mask)
    assert torch.equal(align(noisy, state)[1], weights)


def test_a_caption_reads_the_same_beside_a_longer_one_and_in_a_longer_frame() -> None:
    words = BidirectionalLSTM(len(WORDS), 6)
    alone, beside = words(*encoded("a red circle", length=3)), words(*encoded(LONG, "a red circle"))
    assert torch.allclose(alone.vectors[0], beside.vectors[1, :3], atol=1e-6)
    assert (beside.vectors[1, 3:] == 0).all()


def test_each_word_knows_those_before_and_after_it() -> None:
    words = BidirectionalLSTM(len(WORDS), 6)
    base, early, late = words(*encoded("a red circle", "blue red circle", "a red square")).vectors[:, 1]
    assert torch.equal(base[6:], early[6:]) and not torch.allclose(base[:6], early[:6], atol=1e-4)  # forward, backward
    assert torch.equal(base[:6], late[:6]) and not torch.allclose(base[6:], late[6:], atol=1e-4)


def test_a_bag_is_the_sum_of_its_words_over_the_root_of_their_number() -> None:
    bag = BagOfWords(len(WORDS), 6)
    ids, mask = encoded("a red circle")
    context = bag(ids, mask)
    assert torch.allclose(context.vectors[0, 0], bag.token.weight[ids[0, :3]].sum(0) / 3**0.5) and context.mask.all()
