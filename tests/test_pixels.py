"""The distributions of pixels of variational autoencoders."""

import itertools
import math

import pytest
import torch

from zeuxis.api.collectors import Chunk, Likelihoods
from zeuxis.api.evaluate import default_metrics
from zeuxis.api.model import Model
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System, Turn
from zeuxis.metrics.table import Evidence, measure
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.autoencoder._pixels import BernoulliPixels, BinaryPixels, GaussianPixels
from zeuxis.systems.autoencoder._pixels import pixels as pixels_of
from zeuxis.verbs import Likelihood


def test_the_probabilities_of_all_black_and_white_pictures_sum_to_one() -> None:
    every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4))).view(-1, 1, 2, 2)
    logits = torch.tensor([0.3, -2.0, 1.5, 0.0]).view(1, 1, 2, 2).expand_as(every)
    p = (-pixels_of("black-and-white").nll(logits, every)).exp()
    torch.testing.assert_close(p.sum(), torch.tensor(1.0))


def test_grey_is_binarised_at_the_middle() -> None:
    pixels = pixels_of("black-and-white")
    logits = torch.full((3, 1, 1, 1), 2.0)
    grey, plain = (torch.tensor(x).view(3, 1, 1, 1) for x in ([-0.01, 0.01, 0.9], [-1.0, 1.0, 1.0]))
    torch.testing.assert_close(pixels.nll(logits, grey), pixels.nll(logits, plain))


GREY = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


def vae(likelihood: str) -> System:
    config = {"latent": 2, "widths": (), "hidden": 8, "likelihood": likelihood, "importance": 1}
    return build("vae", DataSpec(Shape(1, 4, 4)), config).eval()


def measured(system: System, metric: str, image: torch.Tensor) -> float:
    with torch.no_grad():
        seen = Likelihoods(Model("", system, {}), seed=0)
        seen.add(Chunk(Batch(image), None))
    return measure([metric], Evidence(**seen.evidence()))[0].value


def test_cross_entropy_with_grey_is_no_likelihood_and_is_not_offered() -> None:
    system = vae("bernoulli")
    assert system.can == {"sample", "encode", "decode", "draw_latents", "latent_weights"}
    assert not {"nll", "bits-per-dim"} & set(default_metrics(Model("", system, {})))
    with pytest.raises(Unsupported, match="'black-and-white'"):
        system.log_prob(GREY, Stream(0))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("vae", {"latent": 2, "widths": (), "hidden": 8, "likelihood": "black-and-white", "importance": 1}),
        ("rbm", {"hidden": 3}),
        ("dbn", {"hidden": (3, 2), "draws": 1}),
    ],
)
def test_likelihoods_of_binarised_pixels_are_measured_in_nats_and_never_in_bits_of_grey(name, config) -> None:
    system = build(name, DataSpec(Shape(1, 4, 4)), config).eval()
    assert system.likelihood_of is Likelihood.BLACK_AND_WHITE
    assert default_metrics(Model("", system, {}))[-1] in {"nll", "ssim", "psnr"}
    nats = measured(system, "nll", GREY)
    assert nats > 0 and nats == pytest.approx(measured(system, "nll", GREY.sign()), rel=0.2)
    with pytest.raises(UsageError, match="'bits-per-dim' needs dims"):
        measured(system, "bits-per-dim", GREY)


def test_a_density_is_measured_in_bits_of_the_dequantised_levels() -> None:
    """With networks that say 0: the nats of N(0, I) over a level, log2 127.5 bits of it."""
    system = vae("gaussian")
    assert system.likelihood_of is Likelihood.DENSITY
    with torch.no_grad():
        for p in system.parameters():
            p.zero_()
    expected = 0.5 * math.log2(2 * math.pi) + math.log2(127.5)
    assert measured(system, "bits-per-dim", torch.zeros(8, 1, 4, 4)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("likelihood", "kind"),
    [("bernoulli", BernoulliPixels), ("black-and-white", BinaryPixels), ("gaussian", GaussianPixels)],
)
@pytest.mark.parametrize("name", ["vae", "cvae", "align-draw"])
def test_a_system_has_the_pixels_that_it_was_asked_for(name, likelihood, kind) -> None:
    spec = DataSpec(Shape(1, 4, 4), class_names=("a", "b"), words=("red",))
    size = {"patch": 2, "steps": 2, "hidden": 8} if name == "align-draw" else {"widths": (), "hidden": 8}
    system = build(name, spec, {"latent": 2, "likelihood": likelihood, **size})
    assert type(system.likelihood) is kind
    with pytest.raises(UsageError, match="gausian"):
        build(name, spec, {"latent": 2, "likelihood": "gausian", **size})


def test_an_align_draw_of_black_and_white_learns_the_nats_of_binarised_pixels() -> None:
    """With a canvas of nothing a pixel costs log 2, whatever its grey."""
    spec = DataSpec(Shape(1, 4, 4), words=("red",))
    config = {"latent": 2, "likelihood": "black-and-white", "patch": 2, "steps": 1, "hidden": 8}
    system = build("align-draw", spec, config)
    with torch.no_grad():
        for p in system.parameters():
            p.zero_()
        turn = Turn(Batch(GREY, Condition(caption=("red",) * 3)), Stream(0), 0, 0.0)
        system.bound(turn)
    assert float(turn.notes["distortion"]) == pytest.approx(16 * math.log(2), rel=1e-5)
