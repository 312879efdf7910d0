"""Linear probes: of codes by hand, and of models that encode, discriminate or denoise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zeuxis.api import probes
from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import Model
from zeuxis.api.probes import code_of, pixels, untrained_like
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.data.source import ArraySource
from zeuxis.errors import Unsupported, UsageError
from zeuxis.knobs import Sampling
from zeuxis.metrics.probe import probe
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec

SIDE = 8


def separable(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Codes (N, 3) and values (N, 2): the first is the sign of one number, the second is chance."""
    codes = Stream(seed).normal(n, 3)
    return codes, torch.stack([(codes[:, 1] > 0).long(), Stream(seed, "chance").integers(4, n)], 1)


def test_what_is_linear_is_found_and_chance_is_not() -> None:
    codes, known = separable(400, 0)
    test, wanted = separable(400, 1)
    found = probe(codes, known, test, wanted, ("sign", "chance"))
    assert found.factors["sign"] > 0.97 and abs(found.factors["chance"] - 0.25) < 0.08
    assert found.accuracy == pytest.approx(sum(found.factors.values()) / 2) and found.parts == found.factors
    assert (len(found), found.training, found.numbers) == (400, 400, 3)
    scaled = probe(1e4 * codes + 7, known, 1e4 * test + 7, wanted, ("sign", "chance"))
    assert scaled.factors["sign"] == pytest.approx(found.factors["sign"], abs=0.01)


def test_a_constant_number_and_open_values_do_no_harm() -> None:
    codes, known = separable(200, 0)
    known[::2, 0] = -1
    codes[:, 2] = 5.0
    found = probe(codes, known[:, :1], codes, known[:, :1], ("sign",))
    assert found.accuracy > 0.93 and found.parts == {}
    with pytest.raises(UsageError, match="two values or more"):
        probe(codes, torch.zeros(200, 1).long(), codes, known[:, :1], ("sign",))
    with pytest.raises(UsageError, match="give more, and alike"):
        probe(codes[:5], known[:5], codes, known, ("sign",))


# -- of models ----------------------------------------------------------------------------------------


def halves(n: int, seed: int) -> ArraySource:
    """Noise, brighter in the left half or in the right one, which is the label."""
    r = np.random.default_rng(seed)
    label = r.integers(0, 2, n)
    images = r.integers(0, 150, (n, 1, SIDE, SIDE), dtype=np.uint8)
    for image, side in zip(images, label, strict=True):
        image[0, :, 4 * side : 4 * side + 4] += 60
    return ArraySource("halves", images, fields={"label": label}, class_names=("left", "right"))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {"train": halves(300, 0), "test": halves(120, 1)}
    monkeypatch.setattr("zeuxis.data.library.open_source", lambda name, size, split, fit: sources[split])
    monkeypatch.setattr(probes, "CHUNK", 64)


SMALL: dict[str, dict[str, Any]] = {
    "autoencoder": {"latent": 4, "widths": [8]},
    "dcgan": {"ngf": 8, "ndf": 8},
    "ddpm": {"width": 8, "multiples": [1, 2], "blocks": 1, "attention": [], "chain": 20},
    "flow-matching": {"network": {"kind": "dit", "width": 16, "depth": 2, "heads": 2}},
    "vq-vae": {},
    "pca": {"components": 8},
}


def model(system: str, **more: Any) -> Model:
    spec = DataSpec(Shape(1, SIDE, SIDE), class_names=("left", "right"), provides=frozenset({"label"}))
    made = build(system, spec, {**SMALL.get(system, {}), **more}).eval()
    return Model(system, made, {"data": "halves", "config": {}, "sha256": ""})


@pytest.mark.parametrize("system", ["autoencoder", "dcgan", "ddpm", "flow-matching"])
@pytest.mark.usefixtures("data")
def test_three_figures_of_a_model(system: str) -> None:
    figures = {f.name: f for f in evaluate(model(system), metrics=["linear-probe"], samples=120)}
    assert set(figures) == {"linear-probe", "linear-probe-pixels", "linear-probe-untrained"}
    assert {f.samples for f in figures.values()} == {120} and {f.better for f in figures.values()} == {"higher"}
    assert all(0 <= f.value <= 1 for f in figures.values()) and figures["linear-probe-pixels"].value > 0.97
    again = {f.name: f for f in evaluate(model(system), metrics=["linear-probe"], samples=120)}
    assert {k: f.value for k, f in again.items()} == {k: f.value for k, f in figures.items()}


@pytest.mark.usefixtures("data")
def test_what_is_learnt_in_closed_form_has_no_untrained_twin() -> None:
    found = model("pca")
    found.system.fit(halves(300, 0).batch(rows) for rows in torch.arange(300).split(100))
    figures = {f.name: f.value for f in evaluate(found, metrics=["linear-probe"], samples=120)}
    assert set(figures) == {"linear-probe", "linear-probe-pixels"} and figures["linear-probe"] > 0.97


def test_an_untrained_twin_has_the_same_shapes_and_other_numbers() -> None:
    one = model("autoencoder").system
    other, same = untrained_like(one, 1), untrained_like(one, 1)
    assert other is not None and same is not None
    weights = {name: p for name, p in one.named_parameters() if p.ndim > 1}
    twins, again = dict(other.named_parameters()), dict(same.named_parameters())
    assert all(twins[k].shape == p.shape and not torch.equal(twins[k], p) for k, p in weights.items())
    assert all(torch.equal(twins[k], again[k]) for k in weights)


@pytest.mark.parametrize("system", ["dcgan", "ddpm", "flow-matching"])
def test_inner_features_do_not_depend_on_company(system: str) -> None:
    found = model(system).system
    image = Stream(3).uniform(4, 1, SIDE, SIDE) * 2 - 1
    with torch.no_grad():
        together = found.inner_features(image, ImageRng.counting(5, 4))
        alone = torch.cat([found.inner_features(image[k : k + 1], ImageRng([5 + k])) for k in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert together.ndim == 2 and len(together) == 4


def test_features_of_a_denoiser_are_read_at_a_noise_level() -> None:
    found, image = model("ddpm").system, Stream(3).uniform(2, 1, SIDE, SIDE)
    for p in found.parameters():
        torch.nn.init.normal_(p, std=0.2) if p.ndim > 1 else None
    with torch.no_grad():
        low, high = (found.inner_features(image, ImageRng([0, 1]), Sampling(noise=x)) for x in (0.05, 5.0))
    assert low.shape == (2, 16) and not torch.allclose(low, high, atol=1e-3)


def test_discrete_codes_are_spread_out() -> None:
    found = model("vq-vae").system
    assert found.codes is not None
    image = Stream(3).uniform(2, 1, SIDE, SIDE)
    with torch.no_grad():
        code = code_of(found, image, ImageRng([0, 1]), Sampling())
        places = found.encode(image)
    assert code.shape == (2, found.codes * math.prod(places.shape[1:])) and (code.sum(1) == places[0].numel()).all()


def test_large_pictures_are_averaged() -> None:
    image = torch.arange(2 * 64 * 64).float().view(2, 1, 64, 64)
    small = pixels(image)
    assert small.shape == (2, 1024) and float(small[0, 0]) == pytest.approx(float(image[0, 0, :2, :2].mean()))


@pytest.mark.usefixtures("data")
def test_what_cannot_be_probed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no codes and no features"):
        evaluate(model("parzen"), metrics=["linear-probe"], samples=20)
    monkeypatch.setattr(probes, "MOST", 3)
    with pytest.raises(UsageError, match="3 at most"):
        evaluate(model("autoencoder"), metrics=["linear-probe"], samples=20)


def test_a_class_that_only_the_chosen_by_have_is_fitted_all_the_same() -> None:
    """One code in five chooses the penalty; the others may all be of one class."""
    known = torch.zeros(20, 1, dtype=torch.int64)
    known[::5] = 1
    codes = known.double() + 0.01 * torch.arange(20)[:, None].remainder(3)
    assert probe(codes, known, codes, known, ["label"]).accuracy >= 0.8
