"""The distributions of pixels of variational autoencoders."""

import itertools

import pytest
import torch

from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.autoencoder._pixels import LIKELIHOODS
from zeuxis.verbs import Likelihood


def test_the_probabilities_of_all_black_and_white_pictures_sum_to_one() -> None:
    every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4))).view(-1, 1, 2, 2)
    logits = torch.tensor([0.3, -2.0, 1.5, 0.0]).view(1, 1, 2, 2).expand_as(every)
    p = (-LIKELIHOODS["black-and-white"]().nll(logits, every)).exp()
    torch.testing.assert_close(p.sum(), torch.tensor(1.0))


def test_grey_is_binarised_at_the_middle() -> None:
    pixels = LIKELIHOODS["black-and-white"]()
    logits = torch.full((3, 1, 1, 1), 2.0)
    grey, plain = (torch.tensor(x).view(3, 1, 1, 1) for x in ([-0.01, 0.01, 0.9], [-1.0, 1.0, 1.0]))
    torch.testing.assert_close(pixels.nll(logits, grey), pixels.nll(logits, plain))


@pytest.mark.parametrize(
    ("likelihood", "of"), [("black-and-white", Likelihood.BLACK_AND_WHITE), ("bernoulli", Likelihood.DENSITY)]
)
def test_only_black_and_white_pixels_have_a_probability(likelihood, of) -> None:
    config = {"latent": 2, "widths": (), "hidden": 8, "likelihood": likelihood, "importance": 1}
    system = build("vae", DataSpec(Shape(1, 4, 4)), config)
    assert system.likelihood_of is of
    assert (system.log_prob(torch.rand(3, 1, 4, 4) * 2 - 1, Stream(0)) < 0).all()
